"""Every verb of the API as a value: what to send and how to read the answer. No I/O here.

In: arguments of a verb. Out: a `Call` (or, for a negotiation, a flow of calls) that `Space` and
`AsyncSpace` carry out, so both clients share every rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from yunhe.sdk import model
from yunhe.sdk.errors import NegotiationEnded, NegotiationHeld, NegotiationTimeout
from yunhe.sdk.model import (
    Application,
    Bill,
    Contract,
    Hit,
    Me,
    Negotiation,
    Offer,
    OwnProduct,
    Progress,
    Registration,
    Resource,
    Statement,
    Terms,
    Token,
    Use,
)

T = TypeVar("T")
R = TypeVar("R")

POLL_S_MAX = 20  # one held request of a wait; the node allows 30
PAUSE_S = 0.2  # when a node answers a held request at once


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to `/api/v1` and the reader of its answer."""

    method: str
    path: str
    read: Callable[[Any], T]
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    wait_s: float = 0.0  # how long the node may hold it beyond the usual timeout


@dataclass(frozen=True)
class Pause:
    """A flow asks its driver to wait."""

    seconds: float


Flow = Generator["Call[Any] | Pause", Any, T]


def _one(record: type[R]) -> Callable[[Any], R]:
    return lambda data: model.read(record, data)


def _items(record: type[R]) -> Callable[[Any], list[R]]:
    return lambda data: [model.read(record, item) for item in data["items"]]


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("an object was expected")
    return data


def _list_of_objects(data: Any) -> list[dict[str, Any]]:
    return [_object(item) for item in data["items"]]


def _nothing(_data: Any) -> None:
    return None


def _key(thing: Any) -> str:
    # A record or its id, made safe as one path segment.
    return quote(str(thing if isinstance(thing, str) else thing.id), safe="")


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None and value != ""}


def _form(form: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.to_json() if isinstance(v, Terms) else v for k, v in form.items()}


# node and tokens


def health() -> Call[dict[str, Any]]:
    """Whether the node is up: status, name, did, version, roles."""
    return Call("GET", "/health", _object)


def doctor() -> Call[dict[str, Any]]:
    """What the node's machine lacks (admin): its versions, and which walls of its sandbox stand."""
    return Call("GET", "/doctor", _object)


def me() -> Call[Me]:
    """Who this token speaks for."""
    return Call("GET", "/me", _one(Me))


def create_token(name: str, roles: Sequence[str], ttl_s: int | None = None) -> Call[Token]:
    """Make an API token (admin); its secret is in the answer and nowhere else."""
    body = {"name": name, "roles": [*roles], "ttl_s": ttl_s}
    return Call("POST", "/tokens", _one(Token), body=body)


def tokens() -> Call[list[dict[str, Any]]]:
    """The API tokens of the node (admin), without their secrets."""
    return Call("GET", "/tokens", _list_of_objects)


def revoke_token(token_id: str) -> Call[None]:
    """End an API token at once (admin)."""
    return Call("DELETE", f"/tokens/{_key(token_id)}", _nothing)


def members() -> Call[list[dict[str, Any]]]:
    """Every connector ever registered at this registrar (reviewer), with its standing."""
    return Call("GET", "/connectors", _list_of_objects)


def change_standing(code: str, step: str, reasons: Sequence[str]) -> Call[dict[str, Any]]:
    """Suspend, resume or revoke a member (reviewer); refused everywhere within five seconds."""
    body = {"step": step, "reasons": [*reasons]}
    return Call("POST", f"/connectors/{_key(code)}/standing", _object, body=body)


def rotate_key(purpose: str) -> Call[dict[str, Any]]:
    """Replace a key of the node, did or dcp (admin): purpose, old and new; it signs at once."""
    return Call("POST", "/keys/rotation", _object, body={"purpose": purpose})


def register_self() -> Call[Registration]:
    """Register this node's subject and connector at its parent (admin)."""
    return Call("POST", "/registration", _one(Registration), body={})


def registration() -> Call[Registration]:
    """How far this node's own registration is."""
    return Call("GET", "/registration", _one(Registration))


# review


def applications(state: str | None = None) -> Call[list[Application]]:
    """Subjects and connectors that applied here (reviewer)."""
    return Call("GET", "/applications", _items(Application), params=_given(state=state))


def review(
    application: Application | str, decision: str, reasons: Sequence[str] = ()
) -> Call[Application]:
    """Decide an application: `approve`, `return` or `reject` (reviewer)."""
    body = {"decision": decision, "reasons": [*reasons]}
    path = f"/applications/{_key(application)}/review"
    return Call("POST", path, _one(Application), body=body)


def registrations(state: str | None = None) -> Call[list[Application]]:
    """Resources, products and listings that were reported here (reviewer)."""
    return Call("GET", "/registrations", _items(Application), params=_given(state=state))


def review_registration(
    registration: Application | str, decision: str, reasons: Sequence[str] = ()
) -> Call[Application]:
    """Decide a registration: `approve`, `return` or `reject` (reviewer)."""
    body = {"decision": decision, "reasons": [*reasons]}
    path = f"/registrations/{_key(registration)}/review"
    return Call("POST", path, _one(Application), body=body)


# supply


def add_resource(form: Mapping[str, Any]) -> Call[Resource]:
    """Point the node at data (provider): titles, tables with paths and entity key; profiled."""
    return Call("POST", "/resources", _one(Resource), body=_form(form))


def resources() -> Call[list[Resource]]:
    """The resources of this node."""
    return Call("GET", "/resources", _items(Resource))


def resource(resource_id: str) -> Call[Resource]:
    """One resource of this node."""
    return Call("GET", f"/resources/{_key(resource_id)}", _one(Resource))


def profile_resource(resource: Resource | str) -> Call[list[dict[str, Any]]]:
    """The tables of a resource measured as their sources are now (provider)."""
    return Call("GET", f"/resources/{_key(resource)}/profile", lambda data: list(data["items"]))


def sample_resource(
    resource: Resource | str, table: str, rows: int = 10
) -> Call[list[dict[str, Any]]]:
    """The first rows of a table of a resource as they are now (provider)."""
    return Call(
        "GET",
        f"/resources/{_key(resource)}/sample",
        lambda data: [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]],
        params={"table": table, "rows": rows},
    )


def edit_resource(resource: Resource | str, changes: Mapping[str, Any]) -> Call[Resource]:
    """Change a draft or returned resource (provider)."""
    return Call("PATCH", f"/resources/{_key(resource)}", _one(Resource), body=_form(changes))


def submit_resource(resource: Resource | str) -> Call[Resource]:
    """Send a resource to review (provider)."""
    return Call("POST", f"/resources/{_key(resource)}/submit", _one(Resource), body={})


def withdraw_resource(resource: Resource | str) -> Call[Resource]:
    """Take a resource back for good (provider); refused while a product stands on it."""
    return Call("POST", f"/resources/{_key(resource)}/withdraw", _one(Resource), body={})


def add_product(form: Mapping[str, Any]) -> Call[OwnProduct]:
    """Make a product of resources, with terms and how far they may be negotiated (provider)."""
    return Call("POST", "/products", _one(OwnProduct), body=_form(form))


def products() -> Call[list[OwnProduct]]:
    """The products of this node."""
    return Call("GET", "/products", _items(OwnProduct))


def own_product(product_id: str) -> Call[OwnProduct]:
    """One product of this node."""
    return Call("GET", f"/products/{_key(product_id)}", _one(OwnProduct))


def edit_product(product: OwnProduct | str, changes: Mapping[str, Any]) -> Call[OwnProduct]:
    """Change a draft or returned product (provider)."""
    return Call("PATCH", f"/products/{_key(product)}", _one(OwnProduct), body=_form(changes))


def submit_product(product: OwnProduct | str) -> Call[OwnProduct]:
    """Send a product to review (provider)."""
    return Call("POST", f"/products/{_key(product)}/submit", _one(OwnProduct), body={})


def list_product(product: OwnProduct | str) -> Call[OwnProduct]:
    """List an approved product for all nodes (provider)."""
    return Call("POST", f"/products/{_key(product)}/list", _one(OwnProduct), body={})


def withdraw(product: OwnProduct | str) -> Call[OwnProduct]:
    """Take a listing back (provider); running contracts stay."""
    return Call("POST", f"/products/{_key(product)}/withdraw", _one(OwnProduct), body={})


# finding and agreeing


def search(text: str, limit: int = 20, offset: int = 0) -> Call[list[Hit]]:
    """Products of all nodes by Chinese or English words, best first (user)."""
    params = {"q": text, "limit": limit, "offset": offset}
    return Call("GET", "/search", _items(Hit), params=params)


def product(code: str) -> Call[Hit]:
    """One product of any node, with its tables (user)."""
    return Call("GET", f"/catalogue/{_key(code)}", _one(Hit))


def offer(product: Hit | str) -> Call[Offer]:
    """What the provider states for a product, from the provider's own catalogue (user)."""
    if isinstance(product, str):
        return Call("GET", f"/offers/{_key(product)}", _one(Offer))
    params = _given(provider=product.provider_did, address=product.address)
    return Call("GET", f"/offers/{_key(product.code)}", _one(Offer), params=params)


def negotiations() -> Call[list[Negotiation]]:
    """The negotiations of this node, on either side."""
    return Call("GET", "/negotiations", _items(Negotiation))


def negotiation(
    negotiation: Negotiation | str,
    wait_s: float = 0.0,
    since_version: int | None = None,
    settled: bool = False,
) -> Call[Negotiation]:
    """One negotiation; held at the node up to `wait_s` for a version after `since_version`.

    `settled`: held on until it is over or waits for us, whatever passes meanwhile.
    """
    waits = {"wait_s": wait_s or None, "since_version": since_version}
    params = _given(**waits, settled=settled or None)
    path = f"/negotiations/{_key(negotiation)}"
    return Call("GET", path, _one(Negotiation), params=params, wait_s=wait_s)


def accept_offer(negotiation: Negotiation | str) -> Call[Negotiation]:
    """Accept the other side's last offer."""
    path = f"/negotiations/{_key(negotiation)}/accept"
    return Call("POST", path, _one(Negotiation), body={})


def counter_offer(negotiation: Negotiation | str, terms: Terms) -> Call[Negotiation]:
    """Answer the other side's last offer with `terms`."""
    path = f"/negotiations/{_key(negotiation)}/counter"
    return Call("POST", path, _one(Negotiation), body={"terms": terms.to_json()})


def end_negotiation(negotiation: Negotiation | str, reason: str) -> Call[Negotiation]:
    """Leave a negotiation without a contract."""
    path = f"/negotiations/{_key(negotiation)}/terminate"
    return Call("POST", path, _one(Negotiation), body={"reason": reason})


def propose(
    offer: Offer,
    terms: Terms | None = None,
    ask: Mapping[str, Any] | None = None,
    accept: Mapping[str, Any] | None = None,
    wait_s: float = 0.0,
) -> Call[Negotiation]:
    """Begin a negotiation; held at the node up to `wait_s`, until it is over or waits for us."""
    wanted = (terms or offer.terms).but(ask)
    body = {
        "provider_did": offer.provider_did,
        "address": offer.address,
        "product_code": offer.product_code,
        "offer_id": offer.offer_id,
        "terms": wanted.to_json(),
        "accept": None if accept is None else wanted.but(accept).to_json(),
    }
    params = {"wait_s": wait_s, "settled": True} if wait_s else {}
    return Call("POST", "/negotiations", _one(Negotiation), params, body, wait_s)


def negotiate(
    offer: Offer,
    terms: Terms | None = None,
    ask: Mapping[str, Any] | None = None,
    accept: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float = 120.0,
) -> Flow[Contract]:
    """Negotiate until there is a contract, and return it.

    `terms` (default: the offer's) with the members of `ask` changed is what we ask for; `accept`
    changes members of that again and is the furthest we go without being asked. `on_progress` is
    told each step. Raises NegotiationEnded, NegotiationHeld (the provider's offer waits for a
    decision: `accept_offer`, `counter_offer`, `end_negotiation`), NegotiationTimeout.
    """
    started = time.monotonic()
    wait_s = max(0.0, round(min(POLL_S_MAX, timeout_s), 3)) if on_progress is None else 0.0
    now: Negotiation = yield propose(offer, terms, ask, accept, wait_s)
    return (yield from _until_contract(now, started, on_progress, timeout_s))


def wait_for_contract(
    negotiation: Negotiation,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float = 120.0,
) -> Flow[Contract]:
    """Go on waiting for the contract of a negotiation; raises as `negotiate`."""
    return (yield from _until_contract(negotiation, time.monotonic(), on_progress, timeout_s))


def _until_contract(
    now: Negotiation,
    started: float,
    on_progress: Callable[[Progress], None] | None,
    timeout_s: float,
) -> Flow[Contract]:
    told = -1
    while True:
        elapsed = time.monotonic() - started
        if on_progress is not None and now.version != told:
            on_progress(Progress(now, elapsed))
            told = now.version
        if now.contract is not None:
            return now.contract
        if now.state == "FINALIZED" and now.contract_id:
            found: Contract = yield contract(now.contract_id)
            return found
        if now.state == "TERMINATED":
            error = now.error or {}
            why = str(error.get("detail") or error.get("code") or "terminated")
            zh = str((error.get("zh") or {}).get("detail") or why)
            raise NegotiationEnded(negotiation_id=now.id, why=why, why_zh=zh)
        if now.waiting_for == "you":
            raise NegotiationHeld(negotiation_id=now.id)
        left = timeout_s - elapsed
        if left <= 0:
            raise NegotiationTimeout(
                negotiation_id=now.id, state=now.state, seconds=round(timeout_s)
            )
        asked, version = time.monotonic(), now.version
        wait_s = round(min(POLL_S_MAX, left), 3)  # who watches no steps need not hear of each
        now = yield negotiation(now, wait_s, version, settled=on_progress is None)
        if now.version == version and time.monotonic() - asked < PAUSE_S:
            yield Pause(min(PAUSE_S, left))


# contracts, use, bill, evidence


def contracts() -> Call[list[Contract]]:
    """The contracts of this node, on either side."""
    return Call("GET", "/contracts", _items(Contract))


def contract(contract_id: str) -> Call[Contract]:
    """One contract of this node."""
    return Call("GET", f"/contracts/{_key(contract_id)}", _one(Contract))


def terminate(contract: Contract | str, reason: str) -> Call[Contract]:
    """End a contract; the next use is refused."""
    path = f"/contracts/{_key(contract)}/terminate"
    return Call("POST", path, _one(Contract), body={"reason": reason})


def uses(contract: Contract | str) -> Call[list[Use]]:
    """The uses under a contract, as metered here."""
    key = contract if isinstance(contract, str) else contract.id
    return Call("GET", "/uses", _items(Use), params={"contract": key})


def bill(contract: Contract | str) -> Call[Bill]:
    """The running bill of a contract."""
    return Call("GET", f"/contracts/{_key(contract)}/bill", _one(Bill))


def issue_statement(contract: Contract | str) -> Call[Statement]:
    """Close the open period and send its statement to the peer (provider)."""
    path = f"/contracts/{_key(contract)}/statements"
    return Call("POST", path, _one(Statement), body={})


def statements(contract: Contract | str | None = None) -> Call[list[Statement]]:
    """Statements of one contract, or of all; oldest first."""
    path = "/statements" if contract is None else f"/contracts/{_key(contract)}/statements"
    return Call("GET", path, _items(Statement))


def statement(contract: Contract | str) -> Call[Statement | None]:
    """The newest statement of a contract, if there is one."""
    whole = statements(contract)
    return Call("GET", whole.path, lambda data: [None, *whole.read(data)][-1])


def bundle(contract: Contract | str) -> Call[dict[str, Any]]:
    """The evidence bundle of a contract, as `yunhe verify` reads it."""
    return Call("GET", f"/contracts/{_key(contract)}/bundle", _object)


def checkpoint() -> Call[str]:
    """The newest signed checkpoint of the node's log: a signed note."""
    return Call("GET", "/evidence/checkpoint", lambda data: str(data["checkpoint"]))


def log_key() -> Call[str]:
    """The verifier key of the node's log (C2SP signed-note), for a trust file."""
    return Call("GET", "/evidence/checkpoint", lambda data: str(data["vkey"]))


def entries(kind: str | None = None, limit: int = 50) -> Call[list[dict[str, Any]]]:
    """The newest entries of the node's log: id, kind, time, index, leaf hash; not the bodies."""
    params = _given(kind=kind, limit=limit)
    return Call("GET", "/evidence/entries", _list_of_objects, params=params)


def proof(entry_id: str) -> Call[dict[str, Any]]:
    """The inclusion proof of an entry of the node's log."""
    return Call("GET", f"/evidence/entries/{_key(entry_id)}/proof", _object)
