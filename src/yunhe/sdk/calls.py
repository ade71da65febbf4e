"""The verbs of the API as values: what to send and how to read the answer. No I/O here.

Registering, reviewing, publishing, finding, contracts and their evidence. What came with a noun of
its own has a file of its own: `negotiating`, `transfers`, `vault`, `apps`, `fabric`, `sharing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yunhe.sdk.call import Call, given, id_of, many, nothing, one, plain, plain_list, segment
from yunhe.sdk.model import (
    Application,
    Bill,
    Contract,
    Hit,
    Me,
    Offer,
    OwnProduct,
    Registration,
    Resource,
    Statement,
    Terms,
    Token,
    Use,
)


def _form(form: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.to_json() if isinstance(v, Terms) else v for k, v in form.items()}


# node and tokens


def health() -> Call[dict[str, Any]]:
    """Whether the node is up: status, name, did, version, roles."""
    return Call("GET", "/health", plain)


def ready() -> Call[dict[str, Any]]:
    """Whether the node can take work now; refused by NOT_READY, which names what is wrong."""
    return Call("GET", "/health/ready", plain)


def doctor() -> Call[dict[str, Any]]:
    """What the node lacks or soon will (operator): versions, walls of its sandbox, `checks`."""
    return Call("GET", "/doctor", plain)


def me() -> Call[Me]:
    """Who this token speaks for."""
    return Call("GET", "/me", one(Me))


def create_token(name: str, roles: Sequence[str], ttl_s: int | None = None) -> Call[Token]:
    """Make an API token (admin); its secret is in the answer and nowhere else."""
    body = {"name": name, "roles": [*roles], "ttl_s": ttl_s}
    return Call("POST", "/tokens", one(Token), body=body)


def tokens() -> Call[list[dict[str, Any]]]:
    """The API tokens of the node (admin), without their secrets."""
    return Call("GET", "/tokens", plain_list)


def revoke_token(token_id: str) -> Call[None]:
    """End an API token at once (admin)."""
    return Call("DELETE", f"/tokens/{segment(token_id)}", nothing)


def members() -> Call[list[dict[str, Any]]]:
    """Every connector ever registered at this registrar (reviewer), with its standing."""
    return Call("GET", "/connectors", plain_list)


def change_standing(code: str, step: str, reasons: Sequence[str]) -> Call[dict[str, Any]]:
    """Suspend, resume or revoke a member (reviewer); refused everywhere within five seconds."""
    body = {"step": step, "reasons": [*reasons]}
    return Call("POST", f"/connectors/{segment(code)}/standing", plain, body=body)


def rotate_key(purpose: str) -> Call[dict[str, Any]]:
    """Replace a key of the node, did or dcp (admin): purpose, old and new; it signs at once."""
    return Call("POST", "/keys/rotation", plain, body={"purpose": purpose})


def next_key(purpose: str) -> Call[dict[str, Any]]:
    """The key that the next `rotate_key` takes (admin): purpose, did, jwk; it signs nothing yet."""
    return Call("POST", "/keys/next", plain, body={"purpose": purpose})


def register_self() -> Call[Registration]:
    """Register this node's subject and connector at its parent (admin)."""
    return Call("POST", "/registration", one(Registration), body={})


def registration() -> Call[Registration]:
    """How far this node's own registration is."""
    return Call("GET", "/registration", one(Registration))


# review


def applications(state: str | None = None) -> Call[list[Application]]:
    """Subjects and connectors that applied here (reviewer)."""
    return Call("GET", "/applications", many(Application), params=given(state=state))


def review(
    application: Application | str, decision: str, reasons: Sequence[str] = ()
) -> Call[Application]:
    """Decide an application: `approve`, `return` or `reject` (reviewer)."""
    body = {"decision": decision, "reasons": [*reasons]}
    path = f"/applications/{segment(application)}/review"
    return Call("POST", path, one(Application), body=body)


def registrations(state: str | None = None) -> Call[list[Application]]:
    """Resources, products and listings that were reported here (reviewer)."""
    return Call("GET", "/registrations", many(Application), params=given(state=state))


def review_registration(
    registration: Application | str, decision: str, reasons: Sequence[str] = ()
) -> Call[Application]:
    """Decide a registration: `approve`, `return` or `reject` (reviewer)."""
    body = {"decision": decision, "reasons": [*reasons]}
    path = f"/registrations/{segment(registration)}/review"
    return Call("POST", path, one(Application), body=body)


# supply


def add_resource(form: Mapping[str, Any]) -> Call[Resource]:
    """Point the node at data (provider): titles, tables with paths and entity key; profiled."""
    return Call("POST", "/resources", one(Resource), body=_form(form))


def resources() -> Call[list[Resource]]:
    """The resources of this node."""
    return Call("GET", "/resources", many(Resource))


def resource(resource_id: str) -> Call[Resource]:
    """One resource of this node."""
    return Call("GET", f"/resources/{segment(resource_id)}", one(Resource))


def profile_resource(resource: Resource | str) -> Call[list[dict[str, Any]]]:
    """The tables of a resource measured as their sources are now (provider)."""
    return Call("GET", f"/resources/{segment(resource)}/profile", lambda data: list(data["items"]))


def sample_resource(
    resource: Resource | str, table: str, rows: int = 10
) -> Call[list[dict[str, Any]]]:
    """The first rows of a table of a resource as they are now (provider)."""
    return Call(
        "GET",
        f"/resources/{segment(resource)}/sample",
        lambda data: [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]],
        params={"table": table, "rows": rows},
    )


def edit_resource(resource: Resource | str, changes: Mapping[str, Any]) -> Call[Resource]:
    """Change a draft or returned resource (provider)."""
    return Call("PATCH", f"/resources/{segment(resource)}", one(Resource), body=_form(changes))


def submit_resource(resource: Resource | str) -> Call[Resource]:
    """Send a resource to review (provider)."""
    return Call("POST", f"/resources/{segment(resource)}/submit", one(Resource), body={})


def withdraw_resource(resource: Resource | str) -> Call[Resource]:
    """Take a resource back for good (provider); refused while a product stands on it."""
    return Call("POST", f"/resources/{segment(resource)}/withdraw", one(Resource), body={})


def add_product(form: Mapping[str, Any]) -> Call[OwnProduct]:
    """Make a product of resources, with terms and how far they may be negotiated (provider)."""
    return Call("POST", "/products", one(OwnProduct), body=_form(form))


def products() -> Call[list[OwnProduct]]:
    """The products of this node."""
    return Call("GET", "/products", many(OwnProduct))


def own_product(product_id: str) -> Call[OwnProduct]:
    """One product of this node."""
    return Call("GET", f"/products/{segment(product_id)}", one(OwnProduct))


def edit_product(product: OwnProduct | str, changes: Mapping[str, Any]) -> Call[OwnProduct]:
    """Change a draft or returned product (provider)."""
    return Call("PATCH", f"/products/{segment(product)}", one(OwnProduct), body=_form(changes))


def submit_product(product: OwnProduct | str) -> Call[OwnProduct]:
    """Send a product to review (provider)."""
    return Call("POST", f"/products/{segment(product)}/submit", one(OwnProduct), body={})


def list_product(product: OwnProduct | str) -> Call[OwnProduct]:
    """List an approved product for all nodes (provider)."""
    return Call("POST", f"/products/{segment(product)}/list", one(OwnProduct), body={})


def withdraw(product: OwnProduct | str) -> Call[OwnProduct]:
    """Take a listing back (provider); running contracts stay."""
    return Call("POST", f"/products/{segment(product)}/withdraw", one(OwnProduct), body={})


# finding


def search(text: str, limit: int = 20, offset: int = 0) -> Call[list[Hit]]:
    """Products of all nodes by Chinese or English words, best first (user)."""
    params = {"q": text, "limit": limit, "offset": offset}
    return Call("GET", "/search", many(Hit), params=params)


def product(code: str) -> Call[Hit]:
    """One product of any node, with its tables (user)."""
    return Call("GET", f"/catalogue/{segment(code)}", one(Hit))


def offer(product: Hit | str) -> Call[Offer]:
    """What the provider states for a product, from the provider's own catalogue (user)."""
    if isinstance(product, str):
        return Call("GET", f"/offers/{segment(product)}", one(Offer))
    params = given(provider=product.provider_did, address=product.address)
    return Call("GET", f"/offers/{segment(product.code)}", one(Offer), params=params)


# contracts, use, bill, evidence


def contracts() -> Call[list[Contract]]:
    """The contracts of this node, on either side."""
    return Call("GET", "/contracts", many(Contract))


def contract(contract_id: str) -> Call[Contract]:
    """One contract of this node."""
    return Call("GET", f"/contracts/{segment(contract_id)}", one(Contract))


def terminate(contract: Contract | str, reason: str) -> Call[Contract]:
    """End a contract; the next use is refused."""
    path = f"/contracts/{segment(contract)}/terminate"
    return Call("POST", path, one(Contract), body={"reason": reason})


def uses(contract: Contract | str) -> Call[list[Use]]:
    """The uses under a contract, as metered here."""
    return Call("GET", "/uses", many(Use), params={"contract": id_of(contract)})


def bill(contract: Contract | str) -> Call[Bill]:
    """The running bill of a contract."""
    return Call("GET", f"/contracts/{segment(contract)}/bill", one(Bill))


def issue_statement(contract: Contract | str) -> Call[Statement]:
    """Close the open period and send its statement to the peer (provider)."""
    path = f"/contracts/{segment(contract)}/statements"
    return Call("POST", path, one(Statement), body={})


def statements(contract: Contract | str | None = None) -> Call[list[Statement]]:
    """Statements of one contract, or of all; oldest first."""
    path = "/statements" if contract is None else f"/contracts/{segment(contract)}/statements"
    return Call("GET", path, many(Statement))


def statement(contract: Contract | str) -> Call[Statement | None]:
    """The newest statement of a contract, if there is one."""
    whole = statements(contract)
    return Call("GET", whole.path, lambda data: [None, *whole.read(data)][-1])


def bundle(contract: Contract | str, statement: str | None = None) -> Call[dict[str, Any]]:
    """The evidence bundle of a contract, as `yunhe verify` reads it.

    `statement`: the id of a settled statement, for a bundle of its uses alone.
    """
    params = given(statement=statement)
    return Call("GET", f"/contracts/{segment(contract)}/bundle", plain, params=params)


def checkpoint() -> Call[str]:
    """The newest signed checkpoint of the node's log: a signed note."""
    return Call("GET", "/evidence/checkpoint", lambda data: str(data["checkpoint"]))


def log_key() -> Call[str]:
    """The verifier key of the node's log (C2SP signed-note), for a trust file."""
    return Call("GET", "/evidence/checkpoint", lambda data: str(data["vkey"]))


def entries(kind: str | None = None, limit: int = 50) -> Call[list[dict[str, Any]]]:
    """The newest entries of the node's log: id, kind, time, index, leaf hash; not the bodies."""
    params = given(kind=kind, limit=limit)
    return Call("GET", "/evidence/entries", plain_list, params=params)


def proof(entry_id: str) -> Call[dict[str, Any]]:
    """The inclusion proof of an entry of the node's log."""
    return Call("GET", f"/evidence/entries/{segment(entry_id)}/proof", plain)
