"""`/negotiations`, `/contracts`: ask, answer, sign, look, end."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic_core import to_json
from starlette.responses import Response

from yunhe import contracts
from yunhe.api.deps import AnyCaller, Parts, Trader, User, face
from yunhe.api.forms import (
    CounterForm,
    Empty,
    NegotiationForm,
    ReasonForm,
    terms_json,
    when,
    why_json,
)
from yunhe.api.transfers import speaks_for
from yunhe.kernel import limits
from yunhe.kernel.tongues import in_both

router = face("contracts")


Wait = Annotated[float, Query(ge=0, le=limits.LONG_POLL_S_MAX)]


@router.post("/negotiations", status_code=202)
async def negotiate(
    form: NegotiationForm, parts: Parts, _who: User, wait_s: Wait = 0, settled: bool = False
) -> Response:
    """Ask a provider for a product; what is not `accept`ed by strategy waits for the user.

    Held for up to `wait_s` as a look at the negotiation that it begins.
    """
    asked = await parts.hands.run(lambda: _asked(parts, form))
    if not wait_s:
        return _answer(_shown(asked, None), 202)
    await _until(parts, asked.id, wait_s, asked.version, settled)
    return _answer(await parts.hands.run(lambda: _look(parts, asked.id)), 202)


def _asked(parts: Parts, form: NegotiationForm) -> contracts.Negotiation:
    parts.identity.check_address(form.provider_did, form.address)
    strategy = contracts.Strategy(accept=None if form.accept is None else form.accept.terms())
    return parts.contracts.request(
        form.provider_did,
        parts.dsp_base(form.address),
        form.product_code,
        form.offer_id,
        form.terms.terms(),
        strategy,
    )


@router.get("/negotiations")
def negotiations(parts: Parts, _who: Trader) -> dict[str, Any]:
    """The latest negotiations first."""
    return {"items": [negotiation_json(each) for each in parts.contracts.negotiations()]}


@router.get("/negotiations/{key}")
async def negotiation(
    key: str,
    parts: Parts,
    _who: Trader,
    wait_s: Wait = 0,
    since_version: Annotated[int, Query(ge=0)] = 0,
    settled: bool = False,
) -> Response:
    """One negotiation, held until its version exceeds `since_version` or `wait_s` passes.

    `settled`: held on while only the peer's word is next.
    """
    if wait_s:
        await _until(parts, key, wait_s, since_version, settled)
    return _answer(await parts.hands.run(lambda: _look(parts, key)))


async def _until(parts: Parts, key: str, wait_s: float, since_version: int, settled: bool) -> None:
    await parts.waiters.until(
        key,
        wait_s,
        lambda: parts.hands.run(lambda: parts.contracts.standing(key)),
        lambda now: now[0] > since_version and not (settled and now[1] == "peer"),
    )


def _look(parts: Parts, key: str) -> dict[str, Any]:
    """A negotiation with its contract, where it has come to one: what is asked for next."""
    n, made = parts.contracts.outcome(key)
    return _shown(n, None if made is None else _contract(parts, made))


def _shown(n: contracts.Negotiation, contract: dict[str, Any] | None) -> dict[str, Any]:
    return {**negotiation_json(n), "contract": contract}


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    # Of plain JSON values: nothing for FastAPI to look at.
    return Response(to_json(body, inf_nan_mode="null"), status, media_type="application/json")


@router.post("/negotiations/{key}/accept")
def accept(key: str, parts: Parts, who: Trader, _body: Empty | None = None) -> dict[str, Any]:
    """Take the other's terms."""
    speaks_for(who, parts.contracts.negotiation(key))
    return negotiation_json(parts.contracts.accept(key))


@router.post("/negotiations/{key}/counter")
def counter(key: str, form: CounterForm, parts: Parts, who: Trader) -> dict[str, Any]:
    """Answer with own terms."""
    speaks_for(who, parts.contracts.negotiation(key))
    return negotiation_json(parts.contracts.counter(key, form.terms.terms()))


@router.post("/negotiations/{key}/terminate")
def end(key: str, form: ReasonForm, parts: Parts, who: Trader) -> dict[str, Any]:
    """End a negotiation that is not final yet."""
    speaks_for(who, parts.contracts.negotiation(key))
    return negotiation_json(parts.contracts.terminate_negotiation(key, form.reason))


@router.get("/contracts")
def all_contracts(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The latest contracts first."""
    return {"items": [_contract(parts, each) for each in parts.contracts.contracts()]}


@router.get("/contracts/{key}")
def contract(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One contract in any state."""
    return _contract(parts, parts.contracts.contract(key))


@router.get("/contracts/{key}/budget")
def budget(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """What is left of a contract, as its provider counts it; the consumer's node asks there."""
    found = parts.contracts.contract(key)
    if found.role is contracts.Side.PROVIDER:
        return parts.control.left(found).to_json()
    return parts.left(found.id)


@router.post("/contracts/{key}/terminate")
def terminate(key: str, form: ReasonForm, parts: Parts, who: Trader) -> dict[str, Any]:
    """End a contract now; the peer is told at once."""
    speaks_for(who, parts.contracts.contract(key))
    return _contract(parts, parts.contracts.terminate(key, form.reason))


def _contract(parts: Parts, contract: contracts.Contract) -> dict[str, Any]:
    return {
        "id": contract.id,
        "role": contract.role.value,
        "peer_did": contract.peer_did,
        "product_code": contract.product_code,
        "state": contract.state,
        "version": contract.version,
        "signature_level": contract.signature_level,
        "terms": _terms(contract.policy),
        "uses_left": _uses_left(parts, contract),
        "privacy_left": _privacy_left(parts, contract),
        "signed_at": when(contract.agreement.signed_at),
        "ended_reason": None if contract.end is None else _why(contract.end, "en"),
        "ended_reason_zh": None if contract.end is None else _why(contract.end, "zh"),
        "stuck_because": in_both(contract.stuck_because) or None,
        "next_retry_at": when(contract.next_retry),
    }


def _uses_left(parts: Parts, contract: contracts.Contract) -> int | None:
    """At the provider what the quota says; at the consumer what its own receipts leave."""
    quota = parts.control.quota(contract.id)
    if quota is not None:
        return quota.uses_left
    terms = _read(contract.policy)
    if terms is None or terms.uses_max is None:
        return None
    return max(0, terms.uses_max - len(parts.exchange.receipts(contract.id)))


def _privacy_left(parts: Parts, contract: contracts.Contract) -> dict[str, Any] | None:
    """At the provider, which keeps the ledger, what is left of the privacy budget."""
    terms = _read(contract.policy)
    if terms is None or terms.privacy is None or contract.role != contracts.Side.PROVIDER:
        return None
    peer, dataset = contract.peer_did, contract.product_code
    return parts.control.privacy_left(peer, dataset, terms.privacy).to_json()


def _why(why: contracts.Why, lang: str) -> str:
    return "; ".join(filter(None, (why.code, why.text(lang))))


def negotiation_json(n: contracts.Negotiation) -> dict[str, Any]:
    """A negotiation as the API shows it, with every offer made."""
    return {
        "id": n.id,
        "role": n.role.value,
        "peer_did": n.peer_did,
        "product_code": n.product_code,
        "state": n.state.value,
        "version": n.version,
        "waiting_for": n.waiting_for,
        "offers": [
            {
                "by": offer.by.value,
                "offer_id": offer.id,
                "terms": _terms(offer.policy),
                "at": when(offer.at),
            }
            for offer in n.offers
        ],
        "contract_id": n.contract_id or None,
        "error": None if n.error is None else why_json(n.error),
        "stuck_because": in_both(n.stuck_because) or None,
        "next_retry_at": when(n.next_retry),
    }


def _terms(policy: contracts.Policy) -> dict[str, Any] | None:
    terms = _read(policy)
    return None if terms is None else terms_json(terms)


def _read(policy: contracts.Policy) -> contracts.Terms | None:
    try:
        return policy.terms
    except contracts.TermNotUnderstood:
        return None  # a foreign peer's word; every use under it is denied, and says which
