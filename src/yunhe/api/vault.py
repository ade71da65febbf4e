"""`/vault`: sealed deliveries, read as the contract says, destroyed with a proof."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response, StreamingResponse

from yunhe import contracts, identity, vault
from yunhe.api.deps import AnyCaller, Parts, Services, User, face
from yunhe.api.forms import Form, ReasonForm, when
from yunhe.kernel.errors import Unauthenticated, YunheError

router = face("use")

ARROW = "application/vnd.apache.arrow.stream"


class SealForm(Form):
    """What is delivered sealed: the whole product, or what `sql` says; one use."""

    contract_id: Annotated[str, Field(min_length=1, max_length=255)]
    sql: Annotated[str, Field(max_length=16_384)] = ""
    purpose: Annotated[str, Field(max_length=64)] = ""
    use_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,80}$")] | None = None


class ReadForm(Form):
    """For which purpose (empty: the contract's only one), and by which application.

    The application is the caller, where its token has that role, or whose `application_token` it
    shows; `application` only says which is meant.
    """

    purpose: Annotated[str, Field(max_length=64)] = ""
    application: Annotated[str, Field(max_length=256)] = ""
    application_token: Annotated[str, Field(max_length=256)] = ""


class QueryForm(ReadForm):
    """SQL over a delivery: its table is the product's, where it came whole, else `delivery`."""

    sql: Annotated[str, Field(min_length=1, max_length=16_384)]


@router.post("/vault", status_code=202)
def seal(form: SealForm, parts: Parts, who: User) -> dict[str, Any]:
    """Ask for a sealed delivery to this node's vault; it comes in the background."""
    sql = form.sql.replace("\r\n", "\n").strip()
    asks = contracts.Wish(form.purpose, form.use_id or str(uuid.uuid4()), sql, who.name)
    wish = parts.vault.wish(form.contract_id, asks)
    try:
        asked = parts.inbox.open(form.contract_id, wish)
    except YunheError:
        parts.vault.forget(wish)
        raise
    return _item(parts.vault.item(asked.id))


@router.get("/vault")
def items(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The sealed deliveries of this node, latest first."""
    return {"items": [_item(each) for each in parts.vault.items()]}


@router.get("/vault/{key}")
def item(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One sealed delivery."""
    return _item(parts.vault.item(key))


@router.post(
    "/vault/{key}/read", response_class=Response, responses={200: {"content": {ARROW: {}}}}
)
def read(key: str, form: ReadForm, parts: Parts, who: User) -> Response:
    """Open a delivery once more: an Arrow stream, a use as any, billed before its first byte."""
    return _stream(parts.vault.read(key, _ask(form, parts, who)))


@router.post("/vault/{key}/sql", response_class=Response, responses={200: {"content": {ARROW: {}}}})
async def query(key: str, form: QueryForm, parts: Parts, who: User) -> Response:
    """Run SQL over a delivery, in a worker's memory: an Arrow stream, one use."""

    def run() -> vault.Opened:
        return parts.sealed.query(key, form.sql.strip(), _ask(form, parts, who))

    return _stream(await parts.queries.run(run))


def _stream(opened: vault.Opened) -> Response:
    headers = {"X-Yunhe-Read-Id": opened.read_id}
    return StreamingResponse(opened.chunks, headers=headers, media_type=ARROW)


def _ask(form: ReadForm, parts: Services, who: identity.Principal) -> vault.Ask:
    """Who asks; raises ApplicationUnproven for a name that no token proves."""
    by = who
    if form.application_token:
        try:
            by = parts.identity.authenticate(form.application_token)
        except Unauthenticated:  # the caller's own token is good: a 401 would mislead
            raise vault.ApplicationUnproven(name=form.application or "?") from None
    proven = by.name if "application" in by.roles else ""
    said = form.application or (by.name if form.application_token else "")
    if said and said != proven:
        raise vault.ApplicationUnproven(name=said)
    return vault.Ask(form.purpose, who.name, proven)


@router.post("/vault/{key}/destroy")
def destroy(key: str, form: ReasonForm, parts: Parts, _who: User) -> dict[str, Any]:
    """Destroy the key of a delivery; the signed proof goes to the provider."""
    return _item(parts.vault.destroy(key, form.reason))


@router.get("/contracts/{key}/vault")
def notes(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """Every read and destruction under a contract, signed by the receiver, on either side."""
    found = parts.vault.notes(parts.contracts.contract(key).id)
    return {"items": [_note(each) for each in found]}


@router.get("/contracts/{key}/vault/proofs")
def proofs(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The proofs that keys are gone: at the provider those it is owed since the contract ended,
    verified now; at the receiver its own, and when the provider said that it verified them."""
    contract = parts.contracts.contract(key)
    if contract.role is contracts.Side.PROVIDER:
        return {"items": [_owed(*each) for each in parts.vault.provider.proofs(contract.id)]}
    mine = [each for each in parts.vault.items() if each.transfer.contract_id == contract.id]
    return {"items": [_shown(each) for each in mine]}


def _owed(due: vault.Due, note: vault.Note | None, verified: bool) -> dict[str, Any]:
    return {
        "use_id": due.use_id,
        "key": due.key,
        "state": due.state,
        "due_at": when(due.due_at),
        "proved_at": when(due.proved_at),
        "verified": verified,
        "proof": None if note is None else _note(note),
    }


def _shown(each: vault.Item) -> dict[str, Any]:
    gone = each.destroyed
    acknowledged = None if gone is None else gone.acknowledged_at
    return {
        "use_id": each.push.use,
        "key": each.push.seal,
        "state": "held" if gone is None else "proved",
        "due_at": None,
        "proved_at": None if gone is None else when(gone.at),
        "verified": acknowledged is not None,
        "proof": None if gone is None else _note(gone),
    }


def _item(each: vault.Item) -> dict[str, Any]:
    return {
        "id": each.transfer.id,
        "contract_id": each.transfer.contract_id,
        "provider": each.transfer.peer_did,
        "state": each.state,
        "use_id": each.push.use,
        "rows": each.push.rows if each.push.digest else None,
        "bytes": each.push.total or None,
        "reads": each.reads,
        "created_at": when(each.push.created_at),
        "destroyed": None if each.destroyed is None else _note(each.destroyed),
    }


def _note(each: vault.Note) -> dict[str, Any]:
    return {
        "id": each.id,
        "kind": each.kind,
        "use_id": each.use_id,
        "at": when(each.at),
        "body": each.body,
        "jws": each.jws,
        "entry_id": each.entry_id,
        "acknowledged_at": when(each.acknowledged_at),
    }
