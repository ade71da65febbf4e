"""The consumer's inbox: a pushed stream comes onto our disk, counted and signed for.

In: a wish for a push; then HTTP bodies with the one token of its address. Out: a whole Arrow IPC
stream in a file, this node's receipt for it, exactly as for a pull; what ends without being whole
is in doubt and settled with the provider (`exchange.doubts`). A broken body goes on where it broke.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Final, Protocol

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
from yunhe.dataplane import (
    IpcCount,
    PushNeedsSql,
    StreamMalformed,
    count_file,
    one_purpose,
)
from yunhe.kernel import limits
from yunhe.kernel.db import Database
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from yunhe.protocols.arrow import wire
from yunhe.protocols.arrow.relay import Books, Consumed
from yunhe.protocols.arrow.sender import DIGEST

PATH: Final = "/data/v1/inbox"
_KEY: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_SHA256: Final = re.compile(r"sha-256=:([A-Za-z0-9+/=]{1,64}):")
_OPEN: Final = (TransferState.REQUESTED, TransferState.STARTED)


class InboxClosed(Unauthenticated):
    code = "INBOX_CLOSED"
    en = "No push is awaited here under this token."
    zh = "此处没有使用该令牌的待接收推送。"
    mend_en = "A token counts for one transfer and once; ask for a new push."
    mend_zh = "令牌仅对一次传输有效且只能使用一次；请重新请求推送。"


class InboxTaken(Conflict):
    code = "INBOX_TAKEN"
    en = "All of this push has come already."
    zh = "该推送已全部接收。"
    mend_en = "A token counts once; ask for a new push."
    mend_zh = "令牌只能使用一次；请重新请求推送。"


class InboxHalted(Conflict):
    code = "INBOX_HALTED"
    en = "The push takes no bytes now: {why}."
    zh = "推送暂不接收数据：{why_zh}。"
    mend_en = "Ask with HEAD how much has come, and go on from there when the transfer runs."
    mend_zh = "请用 HEAD 查询已接收的字节数，待传输恢复后从该处继续。"


class InboxMalformed(Invalid):
    code = "INBOX_MALFORMED"
    en = "The pushed body is not what was agreed: {why}."
    zh = "推送内容不符合约定：{why_zh}。"
    mend_en = "Send one whole Arrow IPC stream, in ranges that follow one another."
    mend_zh = "请发送一个完整的 Arrow IPC 流，各分段须前后相接。"


class InboxTooLarge(TooLarge):
    code = "INBOX_TOO_LARGE"
    en = "The push is larger than what is taken here: {limit} bytes."
    zh = "推送超过此处的接收上限：{limit} 字节。"
    mend_en = "Push it in parts, with SQL that selects each."
    mend_zh = "请用 SQL 分批推送。"


class InboxFull(Unavailable):
    code = "INBOX_FULL"
    en = "The receiver's disk has no room for the push."
    zh = "接收方磁盘空间不足。"
    mend_en = "The receiver's operator makes room; the push is tried again."
    mend_zh = "请接收方运维释放空间；推送将自动重试。"


class NothingReceived(NotFound):
    code = "NOTHING_RECEIVED"
    en = "This transfer has brought no file, or it was removed."
    zh = "该传输没有收到文件，或文件已被删除。"
    mend_en = "See the state of the transfer; ask for a new push."
    mend_zh = "请查看传输状态，或重新请求推送。"


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
            self._arrived(t, push, count_file(self._path(t.id)))
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
            raise _halted(t)
        self._contracts.in_force(t.contract_id)
        final = self._path(t.id)
        if final.is_file():  # it died between the rename and the receipt
            with self._alone(t.id):
                return self._arrived(t, push, count_file(final)).total, True
        have = _size(self._part(t.id)) or 0
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
            raise _halted(t)
        self._contracts.in_force(t.contract_id)
        self._claim(t.id)
        try:
            return Sink(self, t, self._named(t, push, headers.get(wire.USE_ID, "")), headers)
        except BaseException:
            self._let_go(t.id)
            raise

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

    def _arrived(self, t: Transfer, push: Push, count: IpcCount) -> Push:
        def signed(_tx: object, p: Push) -> None:
            told = (p.use, t.contract_id, p.purpose)
            self._receipt(Consumed(*told, count.rows, count.bytes, count.digest))

        return self._pushes.arrived(push.transfer_id, count.rows, count.bytes, count.digest, signed)

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
        return _size(self._part(transfer_id))

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


class Sink:
    """One body on its way onto the disk; one writer a transfer. `write`, then `finish`."""

    def __init__(self, box: Inbox, t: Transfer, push: Push, headers: Mapping[str, str]) -> None:
        self._box, self._transfer, self._push = box, t, push
        self._part = box._part(t.id)
        have = _size(self._part) or 0
        start, self._end, self._total = _range(headers, have)
        if self._total > limits.PUSH_BYTES_MAX:
            raise InboxTooLarge(limit=limits.PUSH_BYTES_MAX)
        self._digest = _digest(headers.get(DIGEST, ""))
        self._part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = max(0, self._total - start) + limits.SPARE_BYTES
        if shutil.disk_usage(self._part.parent).free < wanted:
            raise InboxFull
        # What is there already is counted anew: the figures we sign are those of our disk.
        self._count = count_file(self._part, start) if start else IpcCount()
        self._file = self._opened(start)
        self._checked = monotonic()
        self._closed = False
        self._push = replace(push, total=self._total)
        box._pushes.arriving(t.id, push.use, self._count.bytes, self._total)

    def _opened(self, start: int) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        file = os.fdopen(os.open(self._part, flags, 0o600), "wb")
        file.truncate(start)
        file.seek(start)
        return file

    @property
    def come(self) -> int:
        """Bytes on the disk, of the whole."""
        return self._count.bytes

    def write(self, chunk: bytes) -> None:
        """Take more; raises InboxMalformed, InboxTooLarge, InboxFull, InboxHalted, and why the
        contract does not bind any more."""
        now = monotonic()
        if now - self._checked >= limits.STREAM_CHECK_S:
            self._checked = now
            self._check()
        end = self._end or limits.PUSH_BYTES_MAX
        if self._count.bytes + len(chunk) > end:
            self._drop()
            raise InboxTooLarge(limit=end)
        try:
            self._count.feed(chunk)
        except StreamMalformed as error:
            self._drop()
            raise _malformed(str(error)) from error
        # A body need not say how long it is, and others come beside it.
        if shutil.disk_usage(self._part.parent).free < limits.SPARE_BYTES:
            raise InboxFull
        try:
            self._file.write(chunk)
        except OSError as error:
            raise InboxFull(str(error)) from error

    def _check(self) -> None:
        self._box._contracts.in_force(self._transfer.contract_id)
        t, _ = self._box._pushes.both(self._transfer.id)
        if t.state not in _OPEN:
            raise _halted(t)

    def finish(self) -> bool:
        """The body is over: sign for it if it is whole; whether it was.

        Raises InboxMalformed, InboxHalted, InboxFull.
        """
        whole = self._total in (0, self._count.bytes)
        if not whole:
            self.close()
            return False
        self._check()
        if not self._count.complete or self._digest not in ("", self._count.digest):
            self._drop()
            raise _malformed("no end mark" if not self._count.complete else "its digest differs")
        try:
            settle_file(self._file)
            final = self._box._path(self._transfer.id)
            self._part.replace(final)
            settle_folder(final.parent)
        except OSError as error:
            raise InboxFull(str(error)) from error
        self._box._arrived(self._transfer, self._push, self._count)
        self.close()
        return True

    def _drop(self) -> None:
        """What came is worth nothing: the next attempt begins anew."""
        self._file.truncate(0)

    def close(self) -> None:
        """Keep what came; another body may go on. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(OSError):
                self._file.close()
        finally:
            self._box._let_go(self._transfer.id)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _halted(t: Transfer) -> InboxHalted:
    state = t.state.value
    return InboxHalted(why=f"the transfer is {state}", why_zh=f"传输状态为 {state}")


def _malformed(detail: str) -> InboxMalformed:
    why_zh = "不是完整的 Arrow IPC 流或摘要不符"
    return InboxMalformed(detail, why="it is not the whole Arrow IPC stream", why_zh=why_zh)


def _range(headers: Mapping[str, str], have: int) -> tuple[int, int, int]:
    """(where the body begins, where it ends, the whole's size); 0 where that is not said."""
    said = headers.get("Content-Range", "")
    if not said:
        length = headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
        return 0, size, size
    found = _RANGE.fullmatch(said)
    if found is None:
        raise InboxMalformed(why="its Content-Range is unreadable", why_zh="Content-Range 无法读取")
    start, last, total = (int(part) for part in found.groups())
    if not start <= last < total:
        raise InboxMalformed(why="its Content-Range is no range", why_zh="Content-Range 不是区间")
    if start > have:
        raise InboxHalted(why=f"{have} bytes have come", why_zh=f"已接收 {have} 字节")
    return start, last + 1, total


def _digest(said: str) -> str:
    """The SHA-256 of a Repr-Digest (RFC 9530), hex; empty where none is said."""
    found = _SHA256.search(said)
    if found is None:
        return ""
    try:
        return base64.b64decode(found.group(1), validate=True).hex()
    except (binascii.Error, ValueError) as error:
        why_zh = "Repr-Digest 无法读取"
        raise InboxMalformed(why="its Repr-Digest is unreadable", why_zh=why_zh) from error
