"""Transfers: the consumer asks under a contract; the provider opens its data address, or pushes.

In: contract ids, a peer's transfer messages, data tokens. Out: transfers along the state table,
and `Access` for the connector. A data token is a short JWT by the provider's key; it says who
may read under which contract, and counts only while contract and transfer live.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from yunhe.contracts import lifecycle, rules, store, store_push
from yunhe.contracts.datatokens import TOKEN_TYPE
from yunhe.contracts.desk import Desk, new_pid, tell
from yunhe.contracts.errors import (
    ContractUnknown,
    DataTokenExpired,
    DataTokenForeign,
    DataTokenInvalid,
    DataTokenRevoked,
    MessageOutOfOrder,
    TransferFormatRefused,
    TransfersSuspended,
    TransferUnknown,
    VerbOutOfOrder,
)
from yunhe.contracts.events import TransferMoved
from yunhe.contracts.messages import (
    TransferCompletion,
    TransferMessage,
    TransferRequest,
    TransferStart,
    TransferSuspension,
    TransferTermination,
)
from yunhe.contracts.model import (
    DataAddress,
    DataClaims,
    Party,
    Side,
    Transfer,
    TransferState,
    Why,
)
from yunhe.contracts.openings import one_more_run
from yunhe.contracts.rules import TransferVerb
from yunhe.contracts.store_push import Wish
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.keys import jwt

PULL: Final = "HttpData-PULL"
PUSH: Final = "HttpData-PUSH"

KINDS: Final = {
    TransferVerb.REQUEST: "transfer.requested",
    TransferVerb.START: "transfer.started",
    TransferVerb.SUSPEND: "transfer.suspended",
    TransferVerb.COMPLETE: "transfer.completed",
    TransferVerb.TERMINATE: "transfer.terminated",
}


def ours(tx: Tx, transfer_id: str) -> Transfer:
    """One of our transfers, locked for a change; raises TransferUnknown."""
    transfer = store.transfer(tx, transfer_id, lock=True)
    if transfer is None:
        raise TransferUnknown
    return transfer


def move(desk: Desk, tx: Tx, t: Transfer, verb: TransferVerb, sender: Side, **to: Any) -> Transfer:
    """Move a transfer along the table with the changes `to`; adds evidence and the event."""
    state = rules.transfer_after(t.state, verb, sender)
    if state is None:
        facts = {"message": verb.value, "what": "transfer", "state": t.state.value}
        if sender is t.role:
            raise VerbOutOfOrder(**facts)
        raise MessageOutOfOrder(sender=sender.value, **facts)
    moved = replace(t, state=state, updated_at=tx.now, **to)
    store.save_transfer(tx, moved)
    return _note(desk, tx, moved, verb, sender)


def _note(desk: Desk, tx: Tx, t: Transfer, verb: TransferVerb, sender: Side) -> Transfer:
    body = {
        "transfer": t.id,
        "contract": t.contract_id,
        "peer_did": t.peer_did,
        "role": t.role.value,
        "said_by": sender.value,
        "state": t.state.value,
    }
    desk.evidence.record(tx, KINDS[verb], body)
    tx.emit(TransferMoved(t.id, t.contract_id, t.state, t.role, t.format, tx.now))
    tx.after_commit(desk.bell.ring, key=desk.bell)
    return t


def request(
    desk: Desk,
    tx: Tx,
    contract_id: str,
    format_: str = PULL,
    data_address: DataAddress | None = None,
    wish: Wish | None = None,
    pid: str = "",
) -> Transfer:
    """Ask the provider to open its data address, or to push to ours what `wish` says.

    Earlier pulls whose token ended complete. Raises TransferFormatRefused.
    """
    wish = wish or Wish("", "")
    contract = lifecycle.in_force(tx, contract_id, tx.now)
    if contract.role is not Side.CONSUMER:
        raise ContractUnknown
    _check_address(format_, data_address)
    for old in _open_pulls(tx, contract_id):
        over = old.data_address is None or old.data_address.expires_at <= tx.now
        if old.state is TransferState.STARTED and over:
            say(desk, tx, old, TransferVerb.COMPLETE)
    transfer = Transfer(
        id=pid or new_pid(tx),
        role=Side.CONSUMER,
        peer_did=contract.peer_did,
        peer_pid="",
        address=contract.address,
        contract_id=contract_id,
        format=format_,
        state=TransferState.REQUESTED,
        created_at=tx.now,
        updated_at=tx.now,
        data_address=data_address,
    )
    store.insert_transfer(tx, transfer)
    message = TransferRequest(
        consumer_pid=transfer.id,
        contract_id=contract_id,
        format=format_,
        address=desk.callback,
        sql=wish.sql,
        purpose=wish.purpose,
        principal=wish.principal,
        use_id=wish.use_id,
        seal=wish.seal,
    )
    if data_address is not None:
        store_push.insert(tx, store_push.made(transfer, wish, tx.now, data_address))
    tell(tx, transfer, message)
    return _note(desk, tx, transfer, TransferVerb.REQUEST, Side.CONSUMER)


def request_push(
    desk: Desk, tx: Tx, contract_id: str, wish: Wish, inbox: str, token_s: int
) -> Transfer:
    """Ask for a push to a fresh address under `inbox`, open for this transfer alone."""
    key = tx.new_id()
    token = base64.urlsafe_b64encode(tx.new_secret()).rstrip(b"=").decode()
    ends = tx.now + timedelta(seconds=token_s)
    address = DataAddress(f"{inbox}/{key}", token, ends, method="PUT", ranged=True)
    return request(desk, tx, contract_id, PUSH, address, wish, f"urn:uuid:{key}")


def _check_address(format_: str, data_address: DataAddress | None) -> None:
    """A push goes to an address of the consumer, a pull to none."""
    if (format_ == PUSH) != (data_address is not None):
        why = "a push needs a data address" if format_ == PUSH else "only a push has an address"
        raise TransferFormatRefused(format=format_, why=why)


def _open_pulls(tx: Tx, contract_id: str) -> list[Transfer]:
    found = store.transfers_of(tx, contract_id, open_only=True)
    return [transfer for transfer in found if transfer.format != PUSH]


def hear_request(desk: Desk, tx: Tx, message: TransferRequest, peer: Party) -> Transfer:
    """A consumer asks under a contract.

    Raises ContractUnknown / Terminated / Expired, TransferFormatRefused, TransfersTooMany,
    TransfersSuspended: a fresh request is no way around a suspension.
    """
    contract = lifecycle.in_force(tx, message.contract_id, tx.now, peer.did)
    if contract.role is not Side.PROVIDER:
        raise ContractUnknown
    if message.format not in desk.formats:
        serves = " or ".join(desk.formats)
        raise TransferFormatRefused(format=message.format[:80], why=f"this node serves {serves}")
    _check_address(message.format, message.data_address)
    still_open = store.transfers_of(tx, contract.id, open_only=True)
    for old in still_open:
        if old.state is TransferState.SUSPENDED:
            said = old.error or Why("")
            raise TransfersSuspended(reason=said.text("en"), reason_zh=said.text("zh"))
    for old in still_open[limits.TRANSFERS_OPEN_MAX - 1 :]:
        many = "Too many open transfers; newer ones replace this."
        why = Why("TRANSFER_SUPERSEDED", (many, "未结束的传输过多，本次传输由较新的取代。"))
        say(desk, tx, old, TransferVerb.TERMINATE, why)
    one_more_run(desk, tx, peer.did)
    transfer = Transfer(
        id=new_pid(tx),
        role=Side.PROVIDER,
        peer_did=peer.did,
        peer_pid=message.consumer_pid,
        address=message.address,
        contract_id=contract.id,
        format=message.format,
        state=TransferState.REQUESTED,
        created_at=tx.now,
        updated_at=tx.now,
        data_address=message.data_address,
    )
    store.insert_transfer(tx, transfer)
    if message.data_address is not None:
        asked = (message.purpose, message.use_id, message.sql, message.principal)
        wish = Wish(*asked, message.seal)
        store_push.insert(tx, store_push.made(transfer, wish, tx.now, message.data_address))
    return _note(desk, tx, transfer, TransferVerb.REQUEST, Side.CONSUMER)


def hear(desk: Desk, tx: Tx, t: Transfer, message: TransferMessage) -> Transfer:
    """Any later message of a transfer."""
    changes: dict[str, Any] = {}
    if isinstance(message, TransferSuspension | TransferTermination):
        changes["error"] = message.why
    if message.verb in (TransferVerb.TERMINATE, TransferVerb.COMPLETE):
        changes["data_address"] = None
    if isinstance(message, TransferStart) and t.role is Side.CONSUMER:
        changes["data_address"] = message.data_address or t.data_address
        changes["error"] = None
    moved = move(desk, tx, t, message.verb, message.sender, **changes)
    if isinstance(message, TransferTermination) and message.contract_id == t.contract_id:
        lifecycle.finish(desk, tx, t.contract_id, "terminated", message.why, t.peer_did)
    return moved


def answer(desk: Desk, tx: Tx, t: Transfer) -> Transfer:
    """What our decider says to a fresh request."""
    verb = desk.decider.transfer(t)
    return t if verb is None else say(desk, tx, t, verb)


def say(desk: Desk, tx: Tx, t: Transfer, verb: TransferVerb, why: Why | None = None) -> Transfer:
    """Start, suspend, complete or terminate from our side, and tell the peer."""
    reason = why or Why("BY_CHOICE", ("The participant chose so.", "参与方自行决定。"))
    changes: dict[str, Any] = {}
    if verb in (TransferVerb.SUSPEND, TransferVerb.TERMINATE):
        changes["error"] = reason
    if verb in (TransferVerb.COMPLETE, TransferVerb.TERMINATE):
        changes["data_address"] = None
    moved = move(desk, tx, t, verb, t.role, **changes)
    tell(tx, moved, _message(moved, verb, reason))
    return moved


def _message(t: Transfer, verb: TransferVerb, why: Why) -> TransferMessage:
    pids: dict[str, Any] = {
        "sender": t.role,
        "provider_pid": t.provider_pid,
        "consumer_pid": t.consumer_pid,
    }
    match verb:
        case TransferVerb.START:
            return TransferStart(**pids)
        case TransferVerb.SUSPEND:
            return TransferSuspension(why=why, **pids)
        case TransferVerb.COMPLETE:
            return TransferCompletion(**pids)
        case TransferVerb.TERMINATE:
            return TransferTermination(why=why, **pids)
    raise ValueError(verb)


def told_address(desk: Desk, t: Transfer, now: datetime) -> DataAddress | None:
    """The address that our message about to leave says: a pull's start, or a push's request."""
    if t.role is Side.CONSUMER:
        return t.data_address if t.format == PUSH else None
    return None if t.format == PUSH else open_address(desk, t, now)


def open_address(desk: Desk, t: Transfer, now: datetime) -> DataAddress:
    """Where the consumer of `t` fetches data, with a fresh token; made when the start is sent."""
    issued = int(now.timestamp())
    ends = issued + limits.DATA_TOKEN_S_MAX
    claims = {
        "iss": desk.did,
        "sub": t.peer_did,
        "contract": t.contract_id,
        "transfer": t.id,
        "jti": str(uuid.uuid4()),
        "iat": issued,
        "exp": ends,
    }
    token = jwt(desk.key, claims, typ=TOKEN_TYPE)
    return DataAddress(desk.data_endpoint, token, datetime.fromtimestamp(ends, UTC))


def read_token(tx: Tx, claims: Mapping[str, Any], peer_did: str, now: datetime) -> DataClaims:
    """What a data token of ours says, if `peer_did` may use it now.

    Raises DataTokenInvalid, DataTokenExpired, DataTokenForeign, DataTokenRevoked,
    ContractTerminated, ContractExpired.
    """
    try:
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        said = DataClaims(
            contract_id=str(claims["contract"]),
            transfer_id=str(claims["transfer"]),
            consumer_did=str(claims["sub"]),
            token_id=str(claims["jti"]),
            expires_at=expires_at,
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataTokenInvalid(detail=str(error), why="a claim is missing") from error
    if said.consumer_did != peer_did:
        raise DataTokenForeign
    if expires_at <= now:
        raise DataTokenExpired(ended_at=iso(expires_at))
    lifecycle.in_force(tx, said.contract_id, now, peer_did)
    transfer = store.transfer(tx, said.transfer_id)
    if transfer is None or transfer.contract_id != said.contract_id:
        raise DataTokenInvalid(why="no such transfer")
    if transfer.state is not TransferState.STARTED:
        raise DataTokenRevoked(state=transfer.state.value)
    return said


def usable(tx: Tx, contract_id: str, now: datetime) -> DataAddress | None:
    """The consumer's present data address under a contract, if its token still lives."""
    for transfer in _open_pulls(tx, contract_id):
        data = transfer.data_address
        if transfer.state is TransferState.STARTED and data and data.expires_at > now:
            return data
    return None


def last_refusal(tx: Tx, contract_id: str) -> Why | None:
    """Why the latest transfer of a contract ended, if it did."""
    found = [t for t in store.transfers_of(tx, contract_id) if t.format != PUSH]
    if found and found[0].state is TransferState.TERMINATED:
        return found[0].error
    return None


def awaited(tx: Tx, contract_id: str, now: datetime) -> bool:
    """Whether a request of ours is still under way."""
    since = now - timedelta(seconds=limits.DSP_CALL_S_MAX)
    return any(
        t.state is TransferState.REQUESTED and t.created_at > since
        for t in _open_pulls(tx, contract_id)
    )
