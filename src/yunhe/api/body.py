"""The first gate of every face: request bodies are bounded and, if JSON, well-formed.

Runs before any framework parses a byte, so size, depth and duplicate keys meet a limit and get
a problem answer, whichever router they were for.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import TooLarge, YunheError

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"


def problem_response(error: YunheError) -> JSONResponse:
    """RFC 9457 answer for a house error; the private detail goes to the log only."""
    if error.status >= 500:
        log.error("%s", error)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(error.problem(), error.status, headers, media_type=PROBLEM)


class StrictBody:
    """ASGI middleware: read the body once, bounded; refuse what `loads_strict` refuses.

    `/dsp` and `/tds` must refuse in their own error bodies, so they only get the size bound
    here and do the strict reading themselves.
    """

    def __init__(self, app: ASGIApp, own_errors: tuple[str, ...] = ("/dsp", "/tds")) -> None:
        self._app = app
        self._own_errors = own_errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body replayed, or answer with a problem."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive)
            if body and not scope["path"].startswith(self._own_errors):
                loads_strict(body)
        except YunheError as error:
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, _Replay(body, receive), send)


async def _read(receive: Receive) -> bytes:
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
    """ASGI middleware: no sniffing, no caching of answers; never touches a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to whatever answer starts."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
