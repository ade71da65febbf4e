"""The consumer's relay: ask the provider under a contract, pass the stream on, sign a receipt.

In: a contract, a query, a purpose. Out: the provider's Arrow IPC stream as it arrives, and, when
it has ended, this node's signed receipt over what it counted. That it will ask is durable before
it asks; what ends without its end mark is in doubt (`exchange.doubts`). The token stays here.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

from yunhe.contracts import Access
from yunhe.control import Consumed, UseAlreadySpent
from yunhe.dataplane import IpcCount
from yunhe.exchange import UseInDoubt
from yunhe.identity import AddressForbidden, guarded_socket
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outlet import Outlet
from yunhe.kernel.sockets import quiet
from yunhe.protocols.arrow import wire
from yunhe.protocols.arrow.line import Answer, Connection


class ProviderUnreachable(Unavailable):
    code = "PROVIDER_UNREACHABLE"
    en = "The provider's data plane does not answer. What it metered it will account for."
    zh = "提供方数据面暂时无应答；已计量的使用将如实入账。"
    mend_en = "Ask again; if this use_id is in doubt, ask under a new one."
    mend_zh = "请重试；若该 use_id 结果未定，请使用新的编号。"

    def __init__(self, detail: str = "", *, asked: bool = True) -> None:
        """`asked`: whether the request may have reached the provider."""
        super().__init__(detail)
        self.asked = asked


class StreamCut(Unavailable):
    code = "STREAM_CUT"
    en = "The provider's stream ended before its end mark."
    zh = "提供方的数据流在结束标记之前中断。"
    mend_en = "See the state of the use and of the contract, then ask again."
    mend_zh = "请查看该次使用与合约的状态后重试。"


class ProviderAnswerInvalid(Unavailable):
    code = "PROVIDER_ANSWER_INVALID"
    en = "The provider's data plane answered what is neither a result nor a refusal: {why}."
    zh = "提供方数据面的应答既不是结果也不是拒绝：{why}。"
    mend_en = "Ask again under a new use_id; if it persists, tell the provider."
    mend_zh = "请使用新的 use_id 重试；若仍如此，请告知提供方。"


class ProviderDescribesNot(Unavailable):
    code = "PROVIDER_DESCRIBES_NOT"
    en = "The provider's connector tells neither the schema of a query nor what is left."
    zh = "提供方连接器不支持说明结果结构或合约剩余额度。"
    mend_en = "Use POST /api/v1/sql, `yunhe sql` or the SDK with this provider."
    mend_zh = "请对该提供方使用 POST /api/v1/sql、yunhe sql 或 SDK。"


class RefusedByProvider(YunheError):
    """The provider's own refusal, passed on word for word."""

    code, status = "REFUSED_BY_PROVIDER", 403
    en = "The provider refused the use."
    zh = "提供方拒绝了该次使用。"

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        # What the provider does not know is our connector's token, never the caller's own: a
        # 401 here would send a user looking for the wrong thing.
        status = 403 if status == 401 else status
        self._problem = problem | {"status": status}
        vars(self).update(code=problem["code"], status=status)
        super().__init__()

    def problem(self) -> dict[str, Any]:
        """The provider's problem body."""
        return self._problem


class Books(Protocol):
    """What the relay keeps of every use, each durable when it returns."""

    def begin_use(self, use_id: str, contract_id: str, purpose: str) -> None:
        """Before the provider is asked; raises where the use_id is spent or in doubt."""
        ...

    def forget_use(self, use_id: str) -> None:
        """The provider refused, or was never asked."""
        ...

    def cut_use(self, use_id: str, rows: int, byte_count: int, digest: str) -> None:
        """No end mark was seen; so much was passed on."""
        ...


class Parts(Protocol):
    """What the relay needs of the contracts slice."""

    def access(self, contract_id: str, wait_s: float = 10.0) -> Access:
        """Where and with which token to fetch, if the contract binds now."""
        ...


class Relay:
    """Fetches under our contracts; one instance a node; thread-safe."""

    def __init__(
        self,
        contracts: Parts,
        mint: Callable[[str], str],
        books: Books,
        receipt: Callable[[Consumed], None],
        egress: Egress,
    ) -> None:
        """`mint(did)` makes our token for a peer; `receipt` signs and keeps what was consumed."""
        self._contracts, self._mint = contracts, mint
        self._books, self._receipt = books, receipt
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._egress = egress
        self._tls = ssl.create_default_context()
        self._idle: dict[str, list[Connection]] = {}

    def open(self, contract_id: str, asked: wire.Asked) -> Passing:
        """Ask the provider; the answer's head has arrived when this returns.

        Raises the provider's refusal, ProviderUnreachable, and why the contract does not bind.
        """
        access = self._contracts.access(contract_id)
        contract = access.contract
        with self._lock:
            if asked.use_id in self._live:
                raise UseInDoubt(use_id=asked.use_id)
            self._live.add(asked.use_id)
        try:
            self._books.begin_use(asked.use_id, contract.id, asked.purpose)
            connection, response = self._answered(access, asked)
        except BaseException:
            self._live.discard(asked.use_id)
            raise

        def consumed(count: IpcCount) -> None:
            try:
                if count.complete:
                    told = (asked.use_id, contract.id, asked.purpose)
                    self._receipt(Consumed(*told, count.rows, count.bytes, count.digest))
                else:
                    self._books.cut_use(asked.use_id, count.rows, count.bytes, count.digest)
            finally:
                self._live.discard(asked.use_id)

        return Passing(
            asked.use_id,
            response,
            connection,
            consumed,
            lambda: self._give_back(access.endpoint, connection),
        )

    def describe(self, contract_id: str, sql: str) -> dict[str, bytes]:
        """The Arrow schema of a query's result under the name ""; no SQL: of each table.

        No use: the provider binds and runs nothing. Raises as `open`.
        """
        return wire.read_described(self._told(contract_id, {"sql": sql}, wire.DESCRIBE))

    def left(self, contract_id: str) -> dict[str, Any]:
        """What the provider says is left of a contract; no use. Raises as `open`, LeftInvalid."""
        return wire.read_left(self._told(contract_id, {}, wire.LEFT))

    def _told(self, contract_id: str, asked: dict[str, Any], call: str) -> bytes:
        """The answer to a call beside the query's; raises the provider's refusal."""
        access = self._contracts.access(contract_id)
        path = _split(access.endpoint).path or wire.PATH
        if not path.endswith(wire.PATH):
            raise ProviderDescribesNot
        path = path.removesuffix(wire.PATH) + call
        connection, response = self._ask(access, asked, path, "application/json")
        response.hurry()
        try:
            body = response.read(limits.DESCRIBED_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ProviderUnreachable(detail=str(error)) from error
        if response.isclosed():
            self._give_back(access.endpoint, connection)
        else:
            connection.close()  # there is more in it than we read
        if response.status == 404:
            raise ProviderDescribesNot
        if response.status == 200:
            return body
        if 400 <= response.status < 600 and (problem := _read_problem(body)) is not None:
            raise RefusedByProvider(problem, response.status)
        raise ProviderAnswerInvalid(why=f"status {response.status}")

    def live(self) -> set[str]:
        """The uses under way in this process."""
        with self._lock:
            return set(self._live)

    def _answered(self, access: Access, asked: wire.Asked) -> tuple[Connection, Answer]:
        """The head of a good answer; else the use is forgotten, or in doubt."""
        try:
            path = _split(access.endpoint).path or wire.PATH
            connection, response = self._ask(access, asked.to_json(), path, wire.MEDIA_TYPE)
        except ProviderUnreachable as error:
            if error.asked:
                self._books.cut_use(asked.use_id, 0, 0, "")
            else:
                self._books.forget_use(asked.use_id)
            raise
        except AddressForbidden:
            self._books.forget_use(asked.use_id)
            raise
        kind = response.headers.get_content_type()
        if response.status == 200 and kind == wire.MEDIA_TYPE:
            return connection, response
        problem = _problem(response) if 400 <= response.status < 600 else None
        if response.isclosed():
            self._give_back(access.endpoint, connection)
        else:
            connection.close()  # there is more in it than a refusal
        if problem is None or response.status >= 500 or problem["code"] == UseAlreadySpent.code:
            # Not a plain refusal: it may have been charged, and we hold no receipt of it.
            self._books.cut_use(asked.use_id, 0, 0, "")
        else:
            self._books.forget_use(asked.use_id)
        if problem is None:
            raise ProviderAnswerInvalid(why=f"status {response.status}, {kind[:80]}")
        raise RefusedByProvider(problem, response.status)

    def _ask(
        self, access: Access, asked: dict[str, Any], path: str, accept: str
    ) -> tuple[Connection, Answer]:
        body = dumps(asked)
        sent = False
        until = time.monotonic() + limits.RELAY_S_MAX  # for both tries
        for fresh in (False, True):
            connection = None if fresh else self._take(access.endpoint)
            if connection is None:
                connection = self._connect(access.endpoint, sent, until)
                fresh = True
            headers = {
                "Authorization": f"Bearer {access.token}",
                wire.PEER: f"Bearer {self._mint(access.contract.peer_did)}",
                "Content-Type": "application/json",
                "Accept": accept,
            }
            sent = True
            try:
                _send(connection, path, body, headers)
                return connection, connection.answer(until)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh or time.monotonic() >= until:
                    raise ProviderUnreachable(detail=str(error)) from error
                # A kept connection may have been closed by the other side: once more, anew. The
                # use_id makes this safe: the same one never charges twice.
        raise ProviderUnreachable

    def _connect(self, endpoint: str, sent: bool, until: float) -> Connection:
        """A new connection, by the instant `until` (monotonic); `sent`: was one asked before?"""
        parts = _split(endpoint)
        tls = parts.scheme == "https"
        try:
            host, port = parts.hostname or "", parts.port or (443 if tls else 80)
            connection = Connection(host, port, timeout=limits.RELAY_S_MAX)
        except (ValueError, http.client.InvalidURL) as error:  # a port or a host that is none
            raise ProviderUnreachable(str(error), asked=sent) from error
        try:
            patience_s = max(until - time.monotonic(), 0.0)
            sock = guarded_socket(host, port, self._egress, patience_s, parts.scheme)
            connection.raw = self._tls.wrap_socket(sock, server_hostname=host) if tls else sock
            connection.raw.settimeout(limits.RELAY_S_MAX)  # from here on for each wait
            connection.sock = connection.raw
        except OSError as error:
            raise ProviderUnreachable(str(error), asked=sent) from error
        return connection

    def _take(self, endpoint: str) -> Connection | None:
        idle = self._idle.get(endpoint, [])
        with contextlib.suppress(IndexError):
            while True:
                connection = idle.pop()
                if quiet(connection.sock):
                    return connection
                connection.close()
        return None

    def _give_back(self, endpoint: str, connection: Connection) -> None:
        idle = self._idle.setdefault(endpoint, [])
        if connection.sock is not None and len(idle) < limits.RELAY_IDLE_MAX:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Passing:
    """The stream on its way through; iterate to the end or `close`, from any thread."""

    def __init__(
        self,
        use_id: str,
        response: Answer,
        connection: Connection,
        consumed: Callable[[IpcCount], None],
        give_back: Callable[[], None],
    ) -> None:
        self.use_id = use_id
        self.groups_withheld = response.headers.get(wire.WITHHELD) == "true"
        self.count = IpcCount()
        self._response, self._connection = response, connection
        self._consumed, self._give_back = consumed, give_back
        self._socket = connection.raw
        self._buffer = memoryview(bytearray(limits.RELAY_CHUNK_BYTES))
        self._settled = self._closed = False
        self._lock = threading.Lock()  # our client may leave while a thread waits for bytes

    def __iter__(self) -> Passing:
        return self

    def __next__(self) -> bytes:
        with self._lock:
            chunk = self._next()
            if chunk is None:
                raise StopIteration
            return bytes(chunk)

    def pour(self, outlet: Outlet) -> bool:
        """As `__next__`, straight to our client's connection; False at the end."""
        with self._lock:
            chunk = self._next()
            if chunk is None:
                return False
            outlet.chunk(chunk, lambda: None)
            return True

    def _next(self) -> memoryview | None:
        """The next bytes, counted; good until the next call. None at the end."""
        if self._closed:
            return None
        if self.count.complete:
            self._goodbye()
            return None
        try:
            chunk = self._read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._finish(reusable=False)
            raise StreamCut(detail=str(error)) from error
        if not chunk:
            self._finish(reusable=False)
            raise StreamCut
        self.count.feed(chunk)
        return chunk

    def _goodbye(self) -> None:
        """All of it came and was passed on: sign for it while the provider does its own books."""
        try:
            self._settle()
        except BaseException:
            self._finish(reusable=False)
            raise
        self._response.hurry()
        try:
            rest = self._read()
        except (OSError, ValueError, http.client.HTTPException):
            self._finish(reusable=False)  # nothing of the data is missing
            return
        if rest:
            self.count.feed(rest)  # raises: bytes after the end
        self._finish(reusable=True)

    def _read(self) -> memoryview:
        """What has come of the provider's present HTTP chunk; empty at the end.

        A chunk is a frame the provider has made whole, so the rest of one is on its way and worth
        the wait: one large piece costs one turn, sixteen small ones sixteen.
        """
        response, view = self._response, self._buffer
        first = response.read1(_FIRST_BYTES if response.chunked else len(view))
        size = len(first)
        view[:size] = first
        with contextlib.suppress(OSError):
            # What breaks here breaks again at the next read; first goes what has come.
            while size < len(view) and (got := _more(response, view[size:])):
                size += got
        return view[:size]

    def close(self) -> None:
        """Stop here; the receipt then says what has passed. Idempotent."""
        if not self._closed and self._socket is not None:
            with contextlib.suppress(OSError):  # wakes the thread that waits for the provider
                self._socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._finish(reusable=False)

    def _finish(self, *, reusable: bool) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._settle()
        finally:
            if reusable:
                self._response.close()  # one of known length stays open at its end, and bars more
                self._give_back()
            else:
                self._connection.close()

    def _settle(self) -> None:
        """The receipt, or the doubt: once."""
        if not self._settled:
            self._settled = True
            self._consumed(self.count)


def _split(endpoint: str) -> SplitResult:
    """An endpoint's parts; the provider wrote it. Raises ProviderUnreachable."""
    try:
        return urlsplit(endpoint)
    except ValueError as error:
        raise ProviderUnreachable(str(error), asked=False) from error


def _send(connection: Connection, path: str, body: bytes, headers: dict[str, str]) -> None:
    """Send the request; a path or a token that HTTP cannot say is refused before a byte leaves."""
    try:
        connection.request("POST", path, body, headers)
    except (ValueError, http.client.InvalidURL) as error:
        connection.close()
        raise ProviderUnreachable(str(error), asked=False) from error


def _more(response: Answer, into: memoryview) -> int:
    """Read on in the present HTTP chunk, straight to where it will lie; 0 where it is over."""
    left = getattr(response, "chunk_left", None)
    if not isinstance(left, int) or not left:  # http.client has a text here for "no chunks"
        return 0
    got = response.fp.readinto1(into[:left])
    vars(response)["chunk_left"] = left - got
    return got


def _problem(response: Answer) -> dict[str, Any] | None:
    """The problem in a refusal: the members of RFC 9457 and of this house, no others."""
    response.hurry()
    try:
        return _read_problem(response.read(limits.PROBLEM_BYTES_MAX))
    except (OSError, http.client.HTTPException):
        return None


def _read_problem(body: bytes) -> dict[str, Any] | None:
    try:
        data = loads_strict(body, limits.PROBLEM_BYTES_MAX)
    except YunheError:
        return None
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in _TEXTS):
        return None
    texts = (*_TEXTS, "type", "title")
    shown = {name: data[name] for name in texts if isinstance(data.get(name), str)}
    return shown | {n: data[n] for n in ("zh", "facts") if isinstance(data.get(n), dict)}


_FIRST_BYTES: Final = 8192  # enough to learn how long a chunk is
_TEXTS: Final = ("code", "detail", "remedy")
