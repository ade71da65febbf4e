"""The consumer's inbox: a pushed stream comes onto our disk, counted and signed for.

In: a wish for a push; then HTTP bodies with the one token of its address. Out: a whole Arrow IPC
stream in a file, this node's receipt for it, exactly as for a pull; what ends without being whole
is in doubt and settled with the provider (`exchange.doubts`). A broken body goes on where it broke.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from yunhe.contracts import (
    Contract,
    Push,
    Pushes,
    PushState,
    Side,
    Transfer,
    TransferState,
    TransferUnknown,
    Wish,
)
from yunhe.control import Consumed
from yunhe.dataplane import IpcCount, PushNeedsSql, count_file, one_purpose
from yunhe.kernel import limits
from yunhe.kernel.db import Database
from yunhe.protocols.arrow import wire
from yunhe.protocols.arrow.errors import (
    InboxClosed,
    InboxHalted,
    InboxMalformed,
    InboxTaken,
    NothingReceived,
    halted,
)
from yunhe.protocols.arrow.relay import Books
from yunhe.protocols.arrow.sink import Place, Sink, size_of

PATH: Final = "/data/v1/inbox"
_KEY: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPEN: Final = (TransferState.REQUESTED, TransferState.STARTED)


class InForce(Protocol):
    """What is asked of the contracts slice."""

    def in_force(self, contract_id: str, peer_did: str | None = None) -> Contract:
        """The contract, if it binds now."""
        ...


class Inbox:
    """The awaited and received pushes of one node; thread-safe."""

    def __init__(
        self,
        db: Database,
        pushes: Pushes,
        contracts: InForce,
        books: Books,
        receipt: Callable[[Consumed], None],
        folder: Path,
        address: str,
    ) -> None:
        """`address` is the node's own; `receipt` signs and keeps what was consumed."""
        self._db, self._pushes, self._contracts = db, pushes, contracts
        self._books, self._receipt = books, receipt
        self._folder, self._url = folder, address + PATH
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def open(self, contract_id: str, wish: Wish) -> Transfer:
        """Ask for a push and await it; no purpose: the contract's only one.

        Raises why the contract does not bind, PushNeedsSql, PushNeedsPurpose, UseAlreadySpent.
        """
        terms = self._contracts.in_force(contract_id).terms
        if not wish.sql and terms.minimum_group:
            why_zh = "合约仅允许聚合统计"
            raise PushNeedsSql(why="the contract allows aggregates only", why_zh=why_zh)
        wish = replace(wish, purpose=wish.purpose or one_purpose(terms))

        def verb(_tx: object) -> Transfer:
            self._books.begin_use(wish.use_id, contract_id, wish.purpose)
            return self._pushes.request(contract_id, wish, self._url, limits.PUSH_TOKEN_S)

        return self._db.write(verb)

    def live(self) -> set[str]:
        """The uses still awaited."""
        found = self._pushes.unfinished(Side.CONSUMER)
        return {push.use for t, push in found if t.state in (*_OPEN, TransferState.SUSPENDED)}

    def sweep(self) -> None:
        """Settle the pushes whose transfer ended before all had come."""
        for t, push in self._pushes.unfinished(Side.CONSUMER):
            if t.state in (*_OPEN, TransferState.SUSPENDED):
                continue
            with contextlib.suppress(InboxHalted), self._alone(t.id):
                self._settle_cut(t, push)

    def _settle_cut(self, t: Transfer, push: Push) -> None:
        if self._path(t.id).is_file():
            self._arrived(t, count_file(self._path(t.id)))
            return
        part = self._part(t.id)
        count = count_file(part) if part.is_file() else IpcCount()
        self._pushes.cut(
            t.id,
            lambda _tx, p: self._books.cut_use(p.use, count.rows, count.bytes, count.digest),
        )
        part.unlink(missing_ok=True)

    # -- what the provider does -------------------------------------------------------------------

    def progress(self, key: str, token: str) -> tuple[int, bool]:
        """(bytes that have come, whether that is all); raises InboxClosed, InboxHalted."""
        t, push = self._authenticated(key, token)
        if push.state is PushState.DONE:
            return push.total, True
        if t.state not in _OPEN:
            raise halted(t)
        self._contracts.in_force(t.contract_id)
        final = self._path(t.id)
        if final.is_file():  # it died between the rename and the receipt
            with self._alone(t.id):
                return self._arrived(t, count_file(final)).total, True
        have = size_of(self._part(t.id)) or 0
        # Where all came but nothing was signed, the last byte is asked for again.
        return (have - 1 if have and have == push.total else have), False

    def begin(self, key: str, token: str, headers: Mapping[str, str]) -> Sink:
        """Take a body, or the rest of one; the caller writes, then `finish`es or `close`s it.

        Raises InboxClosed, InboxTaken, InboxHalted, InboxMalformed, InboxTooLarge, InboxFull.
        """
        t, push = self._authenticated(key, token)
        if push.state is PushState.DONE:
            raise InboxTaken
        if t.state not in _OPEN:
            raise halted(t)
        self._contracts.in_force(t.contract_id)
        self._claim(t.id)
        try:
            push = self._named(t, push, headers.get(wire.USE_ID, ""))
            return Sink(self._place(t, push), headers)
        except BaseException:
            self._let_go(t.id)
            raise

    def _place(self, t: Transfer, push: Push) -> Place:
        return Place(
            part=self._part(t.id),
            whole=self._path(t.id),
            check=lambda: self._check(t),
            began=lambda have, total: self._pushes.arriving(t.id, push.use, have, total),
            arrived=lambda count: self._arrived(t, count),
            left=lambda: self._let_go(t.id),
        )

    def _check(self, t: Transfer) -> None:
        self._contracts.in_force(t.contract_id)
        now, _ = self._pushes.both(t.id)
        if now.state not in _OPEN:
            raise halted(now)

    def _authenticated(self, key: str, token: str) -> tuple[Transfer, Push]:
        # An unknown address, a foreign and a spent token look alike from outside.
        if not _KEY.fullmatch(key):
            raise InboxClosed
        try:
            t, push = self._pushes.both(f"urn:uuid:{key}")
        except TransferUnknown as error:
            raise InboxClosed from error
        address = t.data_address
        same = address is not None and hmac.compare_digest(address.token.encode(), token.encode())
        if t.role is not Side.CONSUMER or address is None or not same:
            raise InboxClosed
        if push.state is PushState.CUT or address.expires_at <= self._db.clock.now():
            raise InboxClosed
        return t, push

    def _named(self, t: Transfer, push: Push, use_id: str) -> Push:
        """The use that the provider names: ours, or ours marked after its query had crashed."""
        if use_id in ("", push.use_id):
            return push
        base = push.use_id.partition("~")[0]
        if not re.fullmatch(re.escape(base) + r"~[0-9]{1,6}", use_id):
            raise InboxMalformed(why="it is for another use", why_zh="使用编号不符")
        if push.sent:
            raise InboxMalformed(why="another use has begun here", why_zh="另一次使用已开始接收")

        def verb(_tx: object) -> Push:
            self._books.begin_use(use_id, t.contract_id, push.purpose)
            return self._pushes.arriving(t.id, use_id, 0, push.total)

        return self._db.write(verb)

    # -- the disk -------------------------------------------------------------------------------

    def _path(self, transfer_id: str) -> Path:
        # The key was matched against _KEY, or made here: no part of a path.
        return self._folder / f"{transfer_id.rpartition(':')[2]}.arrow"

    def _part(self, transfer_id: str) -> Path:
        return self._path(transfer_id).with_suffix(".part")

    def _arrived(self, t: Transfer, count: IpcCount) -> Push:
        def signed(_tx: object, p: Push) -> None:
            told = (p.use, t.contract_id, p.purpose)
            self._receipt(Consumed(*told, count.rows, count.bytes, count.digest))

        return self._pushes.arrived(t.id, count.rows, count.bytes, count.digest, signed)

    @contextlib.contextmanager
    def _alone(self, transfer_id: str) -> Iterator[None]:
        self._claim(transfer_id)
        try:
            yield
        finally:
            self._let_go(transfer_id)

    def _claim(self, transfer_id: str) -> None:
        with self._lock:
            if transfer_id in self._busy:
                raise InboxHalted(why="another body is being taken", why_zh="正在接收另一请求")
            self._busy.add(transfer_id)

    def _let_go(self, transfer_id: str) -> None:
        with self._lock:
            self._busy.discard(transfer_id)

    # -- what our users do ----------------------------------------------------------------------

    def come(self, transfer_id: str) -> int | None:
        """Bytes of an unfinished push that have come."""
        return size_of(self._part(transfer_id))

    def file(self, transfer_id: str) -> Path:
        """The received stream; raises TransferUnknown, NothingReceived."""
        t, push = self._pushes.both(transfer_id)
        path = self._path(transfer_id)
        if t.role is not Side.CONSUMER or push.state is not PushState.DONE or not path.is_file():
            raise NothingReceived
        return path

    def discard(self, transfer_id: str) -> None:
        """Remove the received file; raises as `file`."""
        self.file(transfer_id).unlink(missing_ok=True)
