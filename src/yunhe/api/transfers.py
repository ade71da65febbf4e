"""`/transfers`: look, halt, go on; ask for a push and fetch what it brought."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import FileResponse, Response

from yunhe import contracts, identity
from yunhe.api.deps import AnyCaller, Parts, Trader, User, face
from yunhe.api.forms import Empty, Form, ReasonForm, when, why_json
from yunhe.kernel.errors import Invalid
from yunhe.kernel.tongues import in_both

router = face("contracts")

ARROW = "application/vnd.apache.arrow.stream"


class TransferForm(Form):
    """Ask the provider to push: the whole product, or what `sql` says; else to open for pulls."""

    contract_id: Annotated[str, Field(min_length=1, max_length=255)]
    push: bool
    sql: Annotated[str, Field(max_length=16_384)] = ""
    purpose: Annotated[str, Field(max_length=64)] = ""
    use_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,80}$")] | None = None


@router.get("/contracts/{key}/transfers")
def transfers(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The latest transfers of a contract first; never a token."""
    found = parts.contracts.transfers(parts.contracts.contract(key).id)
    return {"items": [_transfer(parts, each) for each in found]}


@router.post("/transfers", status_code=202)
def push(form: TransferForm, parts: Parts, who: User) -> dict[str, Any]:
    """Ask for a push to this node; it arrives in the background and is signed for as a use.

    Without `push` the provider is asked to open its data address; a query does so by itself.
    """
    if not form.push:
        if form.sql or form.purpose or form.use_id:
            raise Invalid(why="sql, purpose and use_id belong to a push")
        return _transfer(parts, parts.contracts.request_transfer(form.contract_id))
    use_id = form.use_id or str(uuid.uuid4())
    # A carriage return is no character of a DSP text.
    sql = form.sql.replace("\r\n", "\n").strip()
    wish = contracts.Wish(form.purpose, use_id, sql, who.name)
    return _transfer(parts, parts.inbox.open(form.contract_id, wish))


@router.get("/transfers/{key}")
def transfer(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One transfer; of a push also how far it is."""
    return _transfer(parts, parts.contracts.transfer(key))


@router.get(
    "/transfers/{key}/content",
    response_class=Response,
    responses={200: {"content": {ARROW: {}}}},
)
def content(key: str, parts: Parts, _who: User) -> Response:
    """What a push brought: an Arrow IPC stream."""
    path = parts.inbox.file(key)
    return FileResponse(path, media_type=ARROW, filename="push.arrows")


@router.delete("/transfers/{key}/content")
def discard(key: str, parts: Parts, _who: User) -> dict[str, Any]:
    """Remove what a push brought from this node; its receipt stays."""
    parts.inbox.discard(key)
    return _transfer(parts, parts.contracts.transfer(key))


@router.post("/transfers/{key}/suspend")
def suspend(key: str, form: ReasonForm, parts: Parts, who: Trader) -> dict[str, Any]:
    """Halt a transfer; the peer is told why."""
    speaks_for(who, parts.contracts.transfer(key))
    verb = contracts.TransferVerb.SUSPEND
    return _transfer(parts, parts.contracts.act_transfer(key, verb, form.reason))


@router.post("/transfers/{key}/resume")
def resume(key: str, parts: Parts, who: Trader, _body: Empty | None = None) -> dict[str, Any]:
    """Let a suspended transfer go on."""
    found = parts.contracts.transfer(key)
    speaks_for(who, found)
    if found.state is not contracts.TransferState.SUSPENDED:
        # A start is also the answer to a fresh request, which is the decider's to give.
        raise contracts.VerbOutOfOrder(message="resume", what="transfer", state=found.state.value)
    return _transfer(parts, parts.contracts.act_transfer(key, contracts.TransferVerb.START))


@router.post("/transfers/{key}/terminate")
def terminate(key: str, form: ReasonForm, parts: Parts, who: Trader) -> dict[str, Any]:
    """End a transfer for good; the contract stays."""
    speaks_for(who, parts.contracts.transfer(key))
    verb = contracts.TransferVerb.TERMINATE
    return _transfer(parts, parts.contracts.act_transfer(key, verb, form.reason))


def speaks_for(
    who: identity.Principal,
    found: contracts.Negotiation | contracts.Contract | contracts.Transfer,
) -> None:
    """Who buys data for this node does not sell the node's own, nor the other way."""
    sells = found.role is contracts.Side.PROVIDER
    identity.require(who, "provider" if sells else "user")


def _transfer(parts: Parts, t: contracts.Transfer) -> dict[str, Any]:
    runs = t.state in (contracts.TransferState.REQUESTED, contracts.TransferState.STARTED)
    push = parts.contracts.pushes.find(t.id) if t.format == contracts.PUSH else None
    return {
        "id": t.id,
        "contract_id": t.contract_id,
        "role": t.role.value,
        "peer_did": t.peer_did,
        "format": t.format,
        "state": t.state.value,
        "created_at": when(t.created_at),
        "updated_at": when(t.updated_at),
        "error": None if runs or t.error is None else why_json(t.error),
        "push": None if push is None else _push(parts, t, push),
    }


def _push(parts: Parts, t: contracts.Transfer, push: contracts.Push) -> dict[str, Any]:
    """How far a push is: bytes sent by this node, or come to it."""
    provides = t.role is contracts.Side.PROVIDER
    now = parts.sent(t.id) if provides else parts.inbox.come(t.id)
    return {
        "state": push.state.value,
        "use_id": push.use,
        "purpose": push.purpose or None,
        "sql": push.sql or None,
        "bytes": max(0, push.sent) if now is None else now,
        "bytes_total": push.total or None,
        "rows": push.rows if push.digest else None,
        "sha256": push.digest or None,
        "failures": push.failures,
        "last_error": in_both(push.last_error) or None,
        "next_retry_at": when(push.next_at),
    }
