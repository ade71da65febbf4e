"""What every HTTP face shares: bounded bodies, problem answers, safe headers, threaded streams.

The services below are synchronous; this is the one place where their results meet an event loop.
Imported by the edges only (it needs starlette, which the base install does not have).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import Invalid, TooLarge, YunheError
from yunhe.kernel.outlet import WIRE, Outlet, Wire

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
_SAFE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_CALLER = "Authorization"
_BEARER = (b"www-authenticate", b"Bearer")


def problem_response(error: YunheError) -> JSONResponse:
    """RFC 9457 answer for a house error; the private detail goes to the log only."""
    if error.status >= 500:
        log.error("%s", error)
    return JSONResponse(error.problem(), error.status, media_type=PROBLEM)


T = TypeVar("T")
_Call = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


def json_body(required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its JSON object itself: any members, its own errors."""
    content = {"application/json": {"schema": {"type": "object"}}}
    return {"requestBody": {"required": required, "content": content}}


class StrictBody:
    """ASGI middleware: read the body once, bounded; refuse what `loads_strict` refuses, and two
    tokens at once.

    `/dsp` and `/tds` must refuse in their own error bodies, so they only get the size bound
    here and do the strict reading themselves.
    """

    def __init__(
        self,
        app: ASGIApp,
        own_errors: tuple[str, ...] = ("/dsp", "/tds"),
        streamed: str = "/data/v1/inbox/",
    ) -> None:
        """Below `streamed` a body is data of any size, which its route bounds and never holds."""
        self._app = app
        self._own_errors = own_errors
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body replayed, or answer with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await problem_response(Invalid(why="the address holds NUL"))(scope, receive, send)
            return
        if [name for name, _ in scope["headers"]].count(b"authorization") > 1:
            # Whoever stands between might have read the other one.
            error = Invalid(why=f"the header {_CALLER} stands twice")
            await problem_response(error)(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(self._streamed):
            await self._app(scope, receive, send)
            return
        try:
            _announced(scope)
            body = await _read(receive)
            if body and not scope["path"].startswith(self._own_errors):
                loads_strict(body)
        except YunheError as error:
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)


def _announced(scope: Scope) -> None:
    """Refuse a body that says itself that it is too long, before any of it is waited for."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limits.JSON_BYTES_MAX:
            raise TooLarge(what="the body", limit=f"{limits.JSON_BYTES_MAX} bytes")


async def _read(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(limits.BODY_S_MAX):  # a fraction of what anyio's costs
            return await _read_all(receive)
    except TimeoutError as error:
        raise Invalid(why="the body comes too slowly") from error


async def _read_all(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.JSON_BYTES_MAX:
            raise TooLarge(what="the body", limit=f"{limits.JSON_BYTES_MAX} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


class _Replay:
    """Gives the buffered body once, then whatever the server says (a disconnect)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is not None:
            message: dict[str, Any] = {"type": "http.request", "body": self._body}
            self._body = None
            return message
        return await self._receive()


class SafeHeaders:
    """ASGI middleware: no sniffing, no caching, how to authenticate; never touches a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to whatever answer starts."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                headers += (each for each in _SAFE if each[0] not in there)
                if message["status"] == 401 and _BEARER[0] not in there:
                    headers.append(_BEARER)
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class Chunks(Protocol):
    """A stream of bytes from a synchronous source; `close` is idempotent."""

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Let go of the source; what was handed out is settled."""
        ...

    def pour(self, outlet: Outlet) -> bool:
        """As `__next__`, but straight to the connection; False at the end."""
        ...


class Threads:
    """A bounded set of threads for one kind of call.

    Queries and streams have their own, so that a terminate never waits behind forty of them
    (DESIGN §4.1). Made lazily: a limiter belongs to the event loop that runs it.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread of this set."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._number)
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)


class Hands:
    """Threads for short calls that are made often: what anyio does around one costs as much.

    Whoever is cancelled leaves its call to end by itself.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._threads = 0
        self._under_way = 0  # changed on the event loop alone

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in one of the threads."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._under_way += 1
        if self._threads < min(self._under_way, self._number):
            self._threads += 1
            threading.Thread(target=self._work, name="hand", daemon=True).start()
        self._calls.put((call, loop, future))
        return await future

    def _work(self) -> None:
        while True:
            call, loop, future = self._calls.get()
            found, error = None, None
            try:
                found = call()
            except BaseException as raised:  # noqa: BLE001  whoever waits for it raises it
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, future, found, error)
            del call, future, found, error

    def _settle(self, future: asyncio.Future[Any], found: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)


class StreamedResponse(Response):
    """Chunks of a synchronous source, one at a time, never buffered; closed whatever happens."""

    def __init__(
        self, chunks: Chunks, threads: Threads, headers: Mapping[str, str], media_type: str
    ) -> None:
        self._chunks, self._threads = chunks, threads
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self._outlet: Outlet | None = None
        self._ended = False  # the source came to its end and settled itself
        self.init_headers({**headers, "Transfer-Encoding": "chunked"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the source ends, fails or the client goes away."""
        # A task of the loop's own: a task group costs a small answer more than its body does.
        watch = asyncio.get_running_loop().create_task(self._until_gone(receive))
        watch.add_done_callback(_tell)
        try:
            wire: Wire | None = scope.get("extensions", {}).get(WIRE)
            await (self._send(send) if wire is None else self._pour(wire, send))
        finally:
            watch.cancel()
            if self._ended:
                self._chunks.close()  # nothing is left to wait for
            else:
                with anyio.CancelScope(shield=True):
                    await self._threads.run(self._chunks.close)

    async def _pour(self, wire: Wire, send: Send) -> None:
        """One thread writes the body to the socket; the loop writes the head and the last chunk."""
        await send(self._start())
        try:
            self._outlet = outlet = await wire.outlet()
        except OSError as error:
            log.warning("a stream was cut: %s", error or "its reader takes nothing")
            return
        try:
            whole = await self._threads.run(lambda: self._poured(outlet))
        finally:
            self._outlet = None
            outlet.close()
        if whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _poured(self, outlet: Outlet) -> bool:
        try:
            while self._chunks.pour(outlet):
                pass
        except (YunheError, OSError) as error:
            log.warning("a stream was cut: %s", error)  # the body stays unfinished, as below
            return False
        self._ended = True
        return True

    def _start(self) -> Message:
        return {"type": "http.response.start", "status": 200, "headers": self.raw_headers}

    async def _send(self, send: Send) -> None:
        await send(self._start())
        while True:
            try:
                chunk = await self._threads.run(self._next)
            except YunheError as error:
                # The status is gone; an unfinished body is the one sign left (the server hangs
                # up), and clients of an Arrow stream see that its end mark is missing.
                log.warning("a stream was cut: %s", error)
                return
            if chunk is None:
                self._ended = True
                break
            try:
                with anyio.fail_after(limits.STALL_S_MAX):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                # Whoever reads nothing holds a worker that others wait for.
                log.warning("a stream was cut: its reader takes nothing")
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _next(self) -> bytes | None:
        # StopIteration cannot cross a coroutine.
        return next(self._chunks, None)

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # A thread may be waiting for the next chunk, for as long as a query runs: closing the
        # source wakes it. In a thread of the common set, as its own may all be waiting so.
        if self._outlet is not None:
            self._outlet.cut()
        await anyio.to_thread.run_sync(self._chunks.close)


def _tell(watch: asyncio.Task[None]) -> None:
    """What went wrong when a stream was closed that its reader had left."""
    if not watch.cancelled() and (error := watch.exception()) is not None:
        log.error("a stream that its reader left could not be settled: %r", error)
