"""The bodies of DSP 2025-1 as we write them: our own strict models of each message and answer.

In: a body. Out: nothing, or an assertion that names what is wrong. Stricter than the
specification's schemas (unknown members are refused), so that whatever passes here passes there;
both were held against each other when these models were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

CONTEXT = ["https://w3id.org/dspace/2025/1/context.jsonld"]
OPERATORS = {
    *("eq", "gt", "gteq", "hasPart", "isA", "isAllOf", "isAnyOf", "isNoneOf", "isPartOf"),
    *("lt", "lteq", "neq", "term-lteq"),
}
Check = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(text(item) for item in value)


def exactly(*values: Any) -> Check:
    return lambda value: value in values


def some(check: Check) -> Check:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def shape(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these members; besides them only absolute IRIs, which are extensions."""

    def check(value: Any) -> bool:
        assert isinstance(value, dict), value
        for name in required:
            assert name in value, f"{name} is missing in {value}"
        known = {**required, **(optional or {})}
        for name, item in value.items():
            if name in known:
                assert known[name](item), f"{name}: {item}"
            else:
                assert ":" in name, f"{name} is no member of {value}"
        return True

    return check


def operand(value: Any) -> bool:
    return isinstance(value, str | list | dict)


CONSTRAINT = shape(
    {"leftOperand": text, "operator": exactly(*OPERATORS), "rightOperand": operand},
)
DUTY = shape({"action": text}, {"constraint": some(CONSTRAINT)})
RULE = shape({"action": text}, {"constraint": some(CONSTRAINT), "duty": some(DUTY)})
RULES = {"permission": some(RULE), "prohibition": some(RULE), "obligation": some(DUTY)}


def ruled(check: Check) -> Check:
    """A policy needs a permission or a prohibition."""
    return lambda value: check(value) and ("permission" in value or "prohibition" in value)


OFFER = ruled(shape({"@id": text, "@type": exactly("Offer"), "target": text}, RULES))
LISTED_OFFER = ruled(shape({"@id": text, "@type": exactly("Offer")}, RULES))
PARTIES = {"target": text, "assigner": text, "assignee": text, "timestamp": text}
AGREEMENT = ruled(shape({"@id": text, "@type": exactly("Agreement"), **PARTIES}, RULES))
PROPERTY = shape({"@type": exactly("EndpointProperty"), "name": text, "value": text})
DATA_ADDRESS = shape(
    {"@type": exactly("DataAddress"), "endpointType": text},
    {"endpoint": text, "endpointProperties": some(PROPERTY)},
)
SERVICE = shape({"@id": text, "@type": exactly("DataService"), "endpointURL": text})
DISTRIBUTION = shape({"@type": exactly("Distribution"), "format": text, "accessService": text})
DATASET = {
    "@id": text,
    "hasPolicy": some(LISTED_OFFER),
    "distribution": some(DISTRIBUTION),
}

BOTH: dict[str, Check] = {"providerPid": text, "consumerPid": text}
WHY: dict[str, Check] = {"code": text, "reason": texts}
STATES = exactly(
    *("REQUESTED", "OFFERED", "ACCEPTED", "AGREED", "VERIFIED", "FINALIZED", "TERMINATED")
)
TRANSFER_STATES = exactly("REQUESTED", "STARTED", "SUSPENDED", "COMPLETED", "TERMINATED")

BODIES: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "ContractRequestMessage": (
        {"consumerPid": text, "offer": OFFER},
        {"providerPid": text, "callbackAddress": text},
    ),
    "ContractOfferMessage": (
        {"providerPid": text, "offer": OFFER},
        {"consumerPid": text, "callbackAddress": text},
    ),
    "ContractAgreementMessage": ({**BOTH, "agreement": AGREEMENT}, {}),
    "ContractAgreementVerificationMessage": (BOTH, {}),
    "ContractNegotiationEventMessage": (
        {**BOTH, "eventType": exactly("ACCEPTED", "FINALIZED")},
        {},
    ),
    "ContractNegotiationTerminationMessage": (BOTH, WHY),
    "ContractNegotiation": ({**BOTH, "state": STATES}, {}),
    "ContractNegotiationError": (BOTH, WHY),
    "TransferRequestMessage": (
        {"consumerPid": text, "agreementId": text, "format": text, "callbackAddress": text},
        {"dataAddress": DATA_ADDRESS},
    ),
    "TransferStartMessage": (BOTH, {"dataAddress": DATA_ADDRESS}),
    "TransferCompletionMessage": (BOTH, {}),
    "TransferSuspensionMessage": (BOTH, WHY),
    "TransferTerminationMessage": (BOTH, WHY),
    "TransferProcess": ({**BOTH, "state": TRANSFER_STATES}, {}),
    "TransferError": (BOTH, WHY),
    "CatalogRequestMessage": ({}, {"filter": lambda value: isinstance(value, list)}),
    "Catalog": (
        {"@id": text, "participantId": text},
        {
            "service": some(SERVICE),
            "dataset": some(shape({"@type": exactly("Dataset"), **DATASET})),
            "catalog": some(lambda value: nested(value)),
        },
    ),
    "Dataset": (DATASET, {}),
    "CatalogError": ({}, WHY),
}
_EITHER = {"ContractRequestMessage": "providerPid", "ContractOfferMessage": "consumerPid"}


def nested(value: Any) -> bool:
    """A catalogue inside another: it has no context of its own."""
    required, optional = BODIES["Catalog"]
    return shape({"@type": exactly("Catalog"), **required}, optional)(value)


def check(body: Any) -> None:
    """One message or answer as it left us."""
    required, optional = BODIES[body["@type"]]
    head: dict[str, Check] = {"@context": lambda said: said == CONTEXT, "@type": text}
    assert shape({**head, **required}, {"@id": text, **optional})(body)
    if (pid := _EITHER.get(body["@type"])) is not None:
        assert (pid in body) != ("callbackAddress" in body), "one of pid and callbackAddress"
