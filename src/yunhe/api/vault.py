"""`/vault`: sealed deliveries, read as the contract says, destroyed with a proof."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response, StreamingResponse

from yunhe import contracts, vault
from yunhe.api.deps import AnyCaller, Parts, User, face
from yunhe.api.forms import Form, ReasonForm, when
from yunhe.kernel.errors import YunheError

router = face("use")

ARROW = "application/vnd.apache.arrow.stream"


class SealForm(Form):
    """What is delivered sealed: the whole product, or what `sql` says; one use."""

    contract_id: Annotated[str, Field(min_length=1, max_length=255)]
    sql: Annotated[str, Field(max_length=16_384)] = ""
    purpose: Annotated[str, Field(max_length=64)] = ""
    use_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{8,80}$")] | None = None


class ReadForm(Form):
    """For which purpose (empty: the contract's only one), and by which application."""

    purpose: Annotated[str, Field(max_length=64)] = ""
    application: Annotated[str, Field(max_length=128)] = ""


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
    """Open a delivery once more: an Arrow stream, counted and reported before its first byte."""
    opened = parts.vault.read(key, form.purpose, who.name, form.application)
    headers = {"X-Yunhe-Read-Id": opened.read_id}
    return StreamingResponse(opened.chunks, headers=headers, media_type=ARROW)


@router.post("/vault/{key}/destroy")
def destroy(key: str, form: ReasonForm, parts: Parts, _who: User) -> dict[str, Any]:
    """Destroy the key of a delivery; the signed proof goes to the provider."""
    return _item(parts.vault.destroy(key, form.reason))


@router.get("/contracts/{key}/vault")
def notes(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """Every read and destruction under a contract, signed by the receiver, on either side."""
    found = parts.vault.notes(parts.contracts.contract(key).id)
    return {"items": [_note(each) for each in found]}


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
    }
