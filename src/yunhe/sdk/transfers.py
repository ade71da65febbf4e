"""The verbs of transfers, as values like those of `calls`: look, halt, push, wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from yunhe.sdk.call import PAUSE_S, Call, Flow, Pause, given, id_of, many, one, segment, why_ended
from yunhe.sdk.errors import PushEnded, PushTimeout
from yunhe.sdk.model import Contract, Transfer


def transfers(contract: Contract | str) -> Call[list[Transfer]]:
    """The transfers of a contract, latest first."""
    return Call("GET", f"/contracts/{segment(contract)}/transfers", many(Transfer))


def transfer(transfer_id: str) -> Call[Transfer]:
    """One transfer; of a push also how far it is."""
    return Call("GET", f"/transfers/{segment(transfer_id)}", one(Transfer))


def push(
    contract: Contract | str, sql: str = "", purpose: str = "", use_id: str | None = None
) -> Call[Transfer]:
    """Ask the provider to push to this node: what `sql` says, else the whole product.

    One use as any other; no `purpose`: the contract's only one. `receive` also waits and fetches.
    """
    said = given(sql=sql, purpose=purpose, use_id=use_id)
    body = {"contract_id": id_of(contract), "push": True, **said}
    return Call("POST", "/transfers", one(Transfer), body=body)


def discard(transfer: Transfer | str) -> Call[Transfer]:
    """Remove what a push brought from the node; its receipt stays."""
    return Call("DELETE", f"/transfers/{segment(transfer)}/content", one(Transfer))


def terminate_transfer(transfer: Transfer | str, reason: str) -> Call[Transfer]:
    """End a transfer for good; the contract stays."""
    path = f"/transfers/{segment(transfer)}/terminate"
    return Call("POST", path, one(Transfer), body={"reason": reason})


def arrived(
    asked: Transfer, on_progress: Callable[[Transfer], None] | None, timeout_s: float
) -> Flow[Transfer]:
    """Wait until all of a push has come; raises PushEnded, PushTimeout."""
    until = time.monotonic() + timeout_s
    while True:
        now: Transfer = yield transfer(asked.id)
        state = (now.push or {}).get("state")
        if on_progress is not None:
            on_progress(now)
        if state == "done":
            return now
        if state == "cut" or now.state == "TERMINATED":
            raise PushEnded(transfer_id=now.id, **why_ended(now.error, now.state))
        if time.monotonic() >= until:
            raise PushTimeout(transfer_id=now.id, state=now.state, seconds=round(timeout_s))
        yield Pause(PAUSE_S)


def suspend_transfer(transfer: Transfer | str, reason: str) -> Call[Transfer]:
    """Halt a transfer; no use goes through it until either side resumes it."""
    path = f"/transfers/{segment(transfer)}/suspend"
    return Call("POST", path, one(Transfer), body={"reason": reason})


def resume_transfer(transfer: Transfer | str) -> Call[Transfer]:
    """Let a suspended transfer go on."""
    return Call("POST", f"/transfers/{segment(transfer)}/resume", one(Transfer), body={})
