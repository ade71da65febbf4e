"""Pushes: the provider sends the result of one governed use to the consumer's data address.

In: a consumer's wish; what the sender and the inbox of the edges did. Out: pushes along their
states, each step in one transaction with the transfer, and with what `settle` adds (the meter at
the provider, the receipt at the consumer). Why a use is never charged twice: docs/transfers.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from yunhe.contracts import rules, store, store_push, transfers
from yunhe.contracts.desk import Desk
from yunhe.contracts.errors import TransferUnknown
from yunhe.contracts.model import Side, Transfer, TransferState, Why
from yunhe.contracts.rules import TransferVerb
from yunhe.contracts.store_push import OPEN, Push, PushState, Wish
from yunhe.kernel.db import Tx

Settle = Callable[[Tx, Push], object]

_FINAL: Final = (TransferState.COMPLETED, TransferState.TERMINATED)


class Pushes:
    """The verbs of pushes of one node, for the edges that move the bytes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._db = desk.db

    def request(self, contract_id: str, wish: Wish, inbox: str, token_s: int) -> Transfer:
        """As consumer, ask for a push to a fresh address under `inbox` (a URL).

        The token counts for this transfer alone, and `token_s` seconds. Raises ContractUnknown,
        -Terminated, -Expired.
        """
        return self._db.write(
            lambda tx: transfers.request_push(self._desk, tx, contract_id, wish, inbox, token_s)
        )

    def find(self, transfer_id: str) -> Push | None:
        """The push of a transfer; None where the transfer is no push."""
        return self._db.read(lambda tx: store_push.find(tx, transfer_id))

    def both(self, transfer_id: str) -> tuple[Transfer, Push]:
        """Transfer and push, of one moment; raises TransferUnknown."""

        def read(tx: Tx) -> tuple[Transfer, Push]:
            t, push = store.transfer(tx, transfer_id), store_push.find(tx, transfer_id)
            if t is None or push is None:
                raise TransferUnknown
            return t, push

        return self._db.read(read)

    def unfinished(self, role: Side) -> list[tuple[Transfer, Push]]:
        """The pushes of one side whose end is not written down yet, the oldest first."""

        def read(tx: Tx) -> list[tuple[Transfer, Push]]:
            pairs = [
                (store.transfer(tx, p.transfer_id), p) for p in store_push.unfinished(tx, role)
            ]
            return [(t, push) for t, push in pairs if t is not None]

        return self._db.read(read)

    def sealed(self) -> list[tuple[Transfer, Push]]:
        """The pushes sealed to this node, the latest first."""

        def read(tx: Tx) -> list[tuple[Transfer, Push]]:
            pairs = [(store.transfer(tx, p.transfer_id), p) for p in store_push.sealed(tx)]
            return [(t, push) for t, push in pairs if t is not None]

        return self._db.read(read)

    def sealed_under(self, tx: Tx, contract_id: str) -> list[Push]:
        """What under a contract was asked for, or came, sealed; one row a delivery."""
        return store_push.sealed_under(tx, contract_id)

    def held_uses(self) -> frozenset[str]:
        """Uses of the provider that a restart goes on with: released, their result on disk."""
        return frozenset(
            push.use for _, push in self.unfinished(Side.PROVIDER) if push.state is PushState.READY
        )

    # -- the provider's steps -----------------------------------------------------------------

    def claim(self, transfer_id: str, owner: str) -> bool:
        """Whether this replica goes on with the push: the first that takes it up keeps it."""
        taken = self._change(transfer_id, lambda push: replace(push, owner=push.owner or owner))
        return taken.owner == owner

    def begin(self, transfer_id: str) -> Push:
        """Another query begins: `use` of the answer names it."""
        return self._change(transfer_id, lambda push: replace(push, attempt=push.attempt + 1))

    def ready(self, tx: Tx, transfer_id: str, rows: int, total: int, digest: str) -> Push:
        """The whole result lies on disk; call it in the verb that releases the use."""
        push = self._locked(tx, transfer_id)
        push = replace(push, rows=rows, total=total, digest=digest, failures=0, next_at=None)
        return self._save(tx, replace(push, state=PushState.READY))

    def sending(self, transfer_id: str) -> Push:
        """Bytes are about to leave; how many is not known (-1) until `halted` says it."""
        return self._change(transfer_id, lambda push: replace(push, sent=-1))

    def halted(
        self, transfer_id: str, sent: int, why: str = "", at: datetime | None = None
    ) -> Push:
        """An attempt ended after `sent` bytes; with `why` it failed, and the next is `at`."""

        def change(push: Push) -> Push:
            failures = push.failures + 1 if why else push.failures
            return replace(push, sent=sent, failures=failures, last_error=why, next_at=at)

        return self._change(transfer_id, change)

    def delivered(self, transfer_id: str, settle: Settle) -> Push:
        """The other end has all: post the use, and complete the transfer as soon as it runs."""

        def verb(tx: Tx) -> Push:
            push = self._locked(tx, transfer_id)
            if push.state is PushState.READY:
                push = replace(push, state=PushState.DELIVERED, sent=push.total, last_error="")
                settle(tx, push)
            t = transfers.ours(tx, transfer_id)
            if t.state is TransferState.STARTED:
                transfers.say(self._desk, tx, t, TransferVerb.COMPLETE)
            if t.state is TransferState.STARTED or t.state in _FINAL:
                push = replace(push, state=PushState.DONE)
            return self._save(tx, push)

        return self._db.write(verb)

    # -- the consumer's steps -----------------------------------------------------------------

    def arriving(self, transfer_id: str, use_id: str, sent: int, total: int) -> Push:
        """So much has come, of the use that the provider names."""
        return self._change(
            transfer_id, lambda push: replace(push, use_id=use_id, sent=sent, total=total)
        )

    def arrived(self, transfer_id: str, rows: int, total: int, digest: str, settle: Settle) -> Push:
        """All has come and lies on our disk; the address is spent. Again: no effect."""

        def verb(tx: Tx) -> Push:
            push = self._locked(tx, transfer_id)
            if push.state is not PushState.WAITING:
                return push
            push = replace(push, rows=rows, total=total, sent=total, digest=digest)
            push = self._save(tx, replace(push, state=PushState.DONE))
            settle(tx, push)
            tx.after_commit(self._desk.bell.ring)
            return push

        return self._db.write(verb)

    # -- both -----------------------------------------------------------------------------------

    def cut(self, transfer_id: str, settle: Settle, why: Why | None = None) -> Push:
        """It ends without being whole; with `why` our side ends the transfer."""

        def verb(tx: Tx) -> Push:
            push = self._locked(tx, transfer_id)
            t = transfers.ours(tx, transfer_id)
            ends = rules.transfer_after(t.state, TransferVerb.TERMINATE, t.role) is not None
            if why is not None and ends:
                transfers.say(self._desk, tx, t, TransferVerb.TERMINATE, why)
            if push.state not in OPEN:
                return push
            settle(tx, push)
            said = why.code if why else push.last_error
            return self._save(tx, replace(push, state=PushState.CUT, last_error=said))

        return self._db.write(verb)

    def _change(self, transfer_id: str, change: Callable[[Push], Push]) -> Push:
        def verb(tx: Tx) -> Push:
            push = self._locked(tx, transfer_id)
            return self._save(tx, change(push)) if push.state in OPEN else push

        return self._db.write(verb)

    @staticmethod
    def _locked(tx: Tx, transfer_id: str) -> Push:
        push = store_push.find(tx, transfer_id, lock=True)
        if push is None:
            raise TransferUnknown
        return push

    @staticmethod
    def _save(tx: Tx, push: Push) -> Push:
        store_push.save(tx, push)
        return push
