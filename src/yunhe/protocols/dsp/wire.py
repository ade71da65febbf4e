"""DSP 2025-1 messages <-> domain messages: strict in what is written, liberal in what is read.

In: domain messages, or JSON bodies with the pid of the path. Out: the other. Nothing of JSON-LD
passes this module; compact form is read as plain JSON (DSP 2025-1 §1.3), extra members and
contexts are ignored, wrong types are refused by name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from yunhe import contracts
from yunhe.contracts import Side, Why
from yunhe.kernel import canonical, limits
from yunhe.protocols.dsp import data_address, odrl
from yunhe.protocols.dsp.body import Body, clean
from yunhe.protocols.dsp.errors import BadMessage

CONTEXT: Final = ["https://w3id.org/dspace/2025/1/context.jsonld"]
SIGNATURE: Final = "urn:yunhe:signature"
CONTRACT: Final = "urn:yunhe:contract"

Json = dict[str, Any]


# --- writing --------------------------------------------------------------------------------


def write(message: contracts.Message) -> Json:
    """The body of a domain message; `@id` is its message id, kept over all retries."""
    body: Json = {"@context": CONTEXT, "@type": _TYPES[type(message)]}
    if message.message_id:
        body["@id"] = message.message_id
    if message.provider_pid:
        body["providerPid"] = message.provider_pid
    if message.consumer_pid:
        body["consumerPid"] = message.consumer_pid
    body.update(_members(message))
    return body


_TYPES: Final[dict[type[contracts.Message], str]] = {
    contracts.ContractRequest: "ContractRequestMessage",
    contracts.ContractOffer: "ContractOfferMessage",
    contracts.ContractAcceptance: "ContractNegotiationEventMessage",
    contracts.ContractFinalization: "ContractNegotiationEventMessage",
    contracts.ContractAgreement: "ContractAgreementMessage",
    contracts.ContractVerification: "ContractAgreementVerificationMessage",
    contracts.ContractTermination: "ContractNegotiationTerminationMessage",
    contracts.TransferRequest: "TransferRequestMessage",
    contracts.TransferStart: "TransferStartMessage",
    contracts.TransferSuspension: "TransferSuspensionMessage",
    contracts.TransferCompletion: "TransferCompletionMessage",
    contracts.TransferTermination: "TransferTerminationMessage",
}


def _members(message: contracts.Message) -> Json:
    match message:
        case contracts.ContractRequest() | contracts.ContractOffer():
            body: Json = {"offer": _offer(message)}
            return {**body, "callbackAddress": message.address} if message.address else body
        case contracts.ContractAcceptance():
            return {"eventType": "ACCEPTED"}
        case contracts.ContractFinalization():
            return {"eventType": "FINALIZED"}
        case contracts.ContractAgreement():
            return {"agreement": canonical.loads_strict(message.document), **_signed(message)}
        case contracts.ContractVerification():
            return _signed(message)
        case contracts.ContractTermination() | contracts.TransferSuspension():
            return _why(message.why)
        case contracts.TransferTermination():
            ended = {CONTRACT: message.contract_id} if message.contract_id else {}
            return {**_why(message.why), **ended}
        case contracts.TransferRequest():
            return {
                "agreementId": message.contract_id,
                "format": message.format,
                "callbackAddress": message.address,
                **data_address.write(message.data_address),
                **data_address.wish(message),
            }
        case contracts.TransferStart():
            return data_address.write(message.data_address)
    return {}


def _signed(message: contracts.ContractAgreement | contracts.ContractVerification) -> Json:
    return {SIGNATURE: message.signature} if message.signature else {}


def _offer(message: contracts.ContractRequest | contracts.ContractOffer) -> Json:
    return {
        "@id": message.offer_id,
        "@type": "Offer",
        "target": message.product_code,
        **odrl.write(message.policy),
    }


def _why(why: Why) -> Json:
    return {"code": why.code, **({"reason": list(why.reasons)} if why.reasons else {})}


def negotiation(n: contracts.Negotiation, state: str = "") -> Json:
    """A ContractNegotiation; `state` where the answer shows the state that a message led to."""
    return _process("ContractNegotiation", n.provider_pid, n.consumer_pid, state or n.state.value)


def transfer(t: contracts.Transfer, state: str = "") -> Json:
    """A TransferProcess."""
    return _process("TransferProcess", t.provider_pid, t.consumer_pid, state or t.state.value)


def process(talk: contracts.Negotiation | contracts.Transfer, state: str = "") -> Json:
    """Either of the two."""
    if isinstance(talk, contracts.Transfer):
        return transfer(talk, state)
    return negotiation(talk, state)


def _process(type_: str, provider_pid: str, consumer_pid: str, state: str) -> Json:
    # Both are required, and the peer's may not be known yet: then ours stands for it, as in errors.
    provider_pid, consumer_pid = provider_pid or consumer_pid, consumer_pid or provider_pid
    return {
        "@context": CONTEXT,
        "@type": type_,
        "providerPid": provider_pid,
        "consumerPid": consumer_pid,
        "state": state,
    }


# --- reading --------------------------------------------------------------------------------


def check_address(url: str, development: bool) -> str:
    """A peer's base URL, without its trailing slash; raises AddressRefused.

    Where it leads is checked again at the moment of connecting (identity.guard).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise contracts.AddressRefused(detail=str(error), why="it is not a URL") from error
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        raise contracts.AddressRefused(why="it is not https")
    if not parts.hostname or parts.username or parts.password:
        raise contracts.AddressRefused(why="it has no host, or a password in it")
    if parts.query or parts.fragment or any(c.isspace() or ord(c) < 32 for c in url):
        raise contracts.AddressRefused(why="it has a query or a fragment")
    return url.rstrip("/")


def _offer_of(body: Body) -> tuple[str, str, contracts.Policy]:
    offer = body.object("offer")
    return offer.text("@id"), offer.text("target", ""), odrl.read(offer.data)


def _common(body: Body) -> dict[str, Any]:
    # Ids that are not texts are no ids: then there is nothing to recognise a duplicate by.
    message_id = body.data.get("@id")
    fits = isinstance(message_id, str) and 0 < len(message_id) <= limits.PID_CHARS_MAX
    return {
        "message_id": clean(str(message_id)) if fits else "",
        "provider_pid": body.text("providerPid", ""),
        "consumer_pid": body.text("consumerPid", ""),
    }


def first_request(body: Body, development: bool) -> contracts.ContractRequest:
    """POST negotiations/request."""
    body.expect("ContractRequestMessage")
    said = _first(body, Side.CONSUMER, "first request", development)
    return contracts.ContractRequest(**said, plain=_plain(body))


def first_offer(body: Body, development: bool) -> contracts.ContractOffer:
    """POST negotiations/offers."""
    body.expect("ContractOfferMessage")
    return contracts.ContractOffer(**_first(body, Side.PROVIDER, "first offer", development))


def _first(body: Body, sender: Side, message: str, development: bool) -> dict[str, Any]:
    """What opens a negotiation: an offer for a product, the sender's own pid and address."""
    offer_id, target, policy = _offer_of(body)
    if not target:
        raise BadMessage(field="offer.target", why="is not a text")
    said = _common(body)
    if said[f"{sender.other.value}_pid"]:
        field = f"{sender.other.value}Pid"
        raise BadMessage(field=field, why=f"does not belong into a {message}")
    body.text(f"{sender.value}Pid")
    address = body.text("callbackAddress", chars_max=limits.CALLBACK_CHARS_MAX)
    return {
        **said,
        "offer_id": offer_id,
        "product_code": target,
        "policy": policy,
        "address": check_address(address, development),
    }


def _plain(body: Body) -> bool:
    return odrl.CONFLICT not in body.object("offer").data


def _addressed(body: Body, receiver: Side, path_pid: str) -> dict[str, Any]:
    """The common members of a later message; the path's pid and the body's must agree."""
    said = _common(body)
    name = f"{receiver.value}_pid"
    if said[name] not in ("", path_pid):
        raise contracts.MessageMisaddressed(field=f"{receiver.value}Pid")
    body.text(f"{receiver.other.value}Pid")
    return {**said, name: path_pid}


def _receiver(body: Body, path_pid: str) -> Side:
    """Whose pid the path names, for messages that either side may send."""
    said = _common(body)
    if said["provider_pid"] == path_pid:
        return Side.PROVIDER
    if said["consumer_pid"] == path_pid:
        return Side.CONSUMER
    raise contracts.MessageMisaddressed(field="providerPid / consumerPid")


def counter_request(body: Body, pid: str) -> contracts.ContractRequest:
    """POST negotiations/{providerPid}/request."""
    body.expect("ContractRequestMessage")
    offer_id, target, policy = _offer_of(body)
    return contracts.ContractRequest(
        **_addressed(body, Side.PROVIDER, pid),
        offer_id=offer_id,
        product_code=target,
        policy=policy,
        plain=_plain(body),
    )


def counter_offer(body: Body, pid: str) -> contracts.ContractOffer:
    """POST negotiations/{consumerPid}/offers."""
    body.expect("ContractOfferMessage")
    offer_id, target, policy = _offer_of(body)
    return contracts.ContractOffer(
        **_addressed(body, Side.CONSUMER, pid),
        offer_id=offer_id,
        product_code=target,
        policy=policy,
    )


def agreement(body: Body, pid: str) -> contracts.ContractAgreement:
    """POST negotiations/{consumerPid}/agreement; the document is its canonical bytes."""
    body.expect("ContractAgreementMessage")
    return contracts.ContractAgreement(
        **_addressed(body, Side.CONSUMER, pid),
        document=canonical.dumps(dict(body.object("agreement").data)),
        signature=body.text(SIGNATURE, "", chars_max=limits.JWS_BYTES_MAX),
    )


def verification(body: Body, pid: str) -> contracts.ContractVerification:
    """POST negotiations/{providerPid}/agreement/verification."""
    body.expect("ContractAgreementVerificationMessage")
    return contracts.ContractVerification(
        **_addressed(body, Side.PROVIDER, pid),
        signature=body.text(SIGNATURE, "", chars_max=limits.JWS_BYTES_MAX),
    )


def event(body: Body, pid: str) -> contracts.NegotiationMessage:
    """POST negotiations/{pid}/events: ACCEPTED by a consumer, FINALIZED by a provider."""
    body.expect("ContractNegotiationEventMessage")
    said = body.text("eventType").rpartition(":")[2]
    if said == "ACCEPTED":
        return contracts.ContractAcceptance(**_addressed(body, Side.PROVIDER, pid))
    if said == "FINALIZED":
        return contracts.ContractFinalization(**_addressed(body, Side.CONSUMER, pid))
    raise BadMessage(field="eventType", why="is neither ACCEPTED nor FINALIZED")


def termination(body: Body, pid: str) -> contracts.ContractTermination:
    """POST negotiations/{pid}/termination, from either side."""
    body.expect("ContractNegotiationTerminationMessage")
    receiver = _receiver(body, pid)
    return contracts.ContractTermination(
        sender=receiver.other, **_addressed(body, receiver, pid), why=body.why()
    )


def transfer_request(body: Body, development: bool, now: datetime) -> contracts.TransferRequest:
    """POST transfers/request; a pull that brings a data address has it left out."""
    body.expect("TransferRequestMessage")
    body.text("consumerPid")
    address = body.text("callbackAddress", chars_max=limits.CALLBACK_CHARS_MAX)
    format_ = body.text("format", chars_max=80)
    push = format_ == contracts.PUSH
    return contracts.TransferRequest(
        **{**_common(body), "provider_pid": ""},
        contract_id=body.text("agreementId"),
        format=format_,
        address=check_address(address, development),
        data_address=data_address.read(body, now) if push else None,
        **data_address.read_wish(body, push),
    )


def transfer_start(body: Body, pid: str, now: datetime) -> contracts.TransferStart:
    """POST transfers/{pid}/start: a provider starts, either side resumes."""
    body.expect("TransferStartMessage")
    receiver = _receiver(body, pid)
    return contracts.TransferStart(
        sender=receiver.other,
        **_addressed(body, receiver, pid),
        data_address=data_address.read(body, now),
    )


def transfer_suspension(body: Body, pid: str) -> contracts.TransferSuspension:
    """POST transfers/{pid}/suspension."""
    body.expect("TransferSuspensionMessage")
    receiver = _receiver(body, pid)
    return contracts.TransferSuspension(
        sender=receiver.other, **_addressed(body, receiver, pid), why=body.why()
    )


def transfer_completion(body: Body, pid: str) -> contracts.TransferCompletion:
    """POST transfers/{pid}/completion."""
    body.expect("TransferCompletionMessage")
    receiver = _receiver(body, pid)
    return contracts.TransferCompletion(sender=receiver.other, **_addressed(body, receiver, pid))


def transfer_termination(body: Body, pid: str) -> contracts.TransferTermination:
    """POST transfers/{pid}/termination; an own member says that the contract ended too."""
    body.expect("TransferTerminationMessage")
    receiver = _receiver(body, pid)
    return contracts.TransferTermination(
        sender=receiver.other,
        **_addressed(body, receiver, pid),
        why=body.why(),
        contract_id=body.text(CONTRACT, ""),
    )
