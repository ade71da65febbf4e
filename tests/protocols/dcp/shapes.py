"""The messages of DCP 1.0 as we write them: our own strict models of each, by its `type`.

In: a body. Out: nothing, or an assertion that names what is wrong. Members, types and constants as
the specification's published schemas have them; a member they do not know is refused, so that
whatever passes here passes there. Where a schema and the text of 1.0 differ, the text counts:
`credentials` of a request are objects with an `id`, and a CredentialObject may go without an
`issuancePolicy`.
"""

from __future__ import annotations

from typing import Any

from protocols.dsp.shapes import Check, exactly, shape, some, text, texts

CONTEXT = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"


def context(value: Any) -> bool:
    return texts(value) and CONTEXT in value


def message(kind: str, optional: dict[str, Check] | None = None, **members: Check) -> Check:
    """A message of type `kind` with these members."""
    return shape({"@context": context, "type": exactly(kind), **members}, optional)


def each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def jwt(value: Any) -> bool:
    return text(value) and value.count(".") == 2


CONTAINER = shape({"payload": jwt, "credentialType": text, "format": text})
OBJECT = shape(
    {
        "id": text,
        "type": exactly("CredentialObject"),
        "credentialType": text,
        "offerReason": text,
        "bindingMethods": texts,
        "profile": text,
    },
    {"credentialSchema": text},
)
SHAPES: dict[str, Check] = {
    "PresentationQueryMessage": message("PresentationQueryMessage", scope=texts),
    "PresentationResponseMessage": message("PresentationResponseMessage", presentation=each(jwt)),
    "CredentialRequestMessage": message(
        "CredentialRequestMessage", holderPid=text, credentials=some(shape({"id": text}))
    ),
    "CredentialMessage": message(
        "CredentialMessage",
        {"credentials": each(CONTAINER), "rejectionReason": text},
        issuerPid=text,
        holderPid=text,
        status=exactly("ISSUED", "REJECTED"),
    ),
    "CredentialStatus": message(
        "CredentialStatus",
        issuerPid=text,
        holderPid=text,
        status=exactly("RECEIVED", "REJECTED", "ISSUED"),
    ),
    "IssuerMetadata": message("IssuerMetadata", issuer=text, credentialsSupported=some(OBJECT)),
}


def fits(body: Any) -> str:
    """The type of a body that is as its message should be; asserts."""
    assert isinstance(body, dict), body
    kind = str(body.get("type"))
    assert SHAPES[kind](body), body
    return kind
