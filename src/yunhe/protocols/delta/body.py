"""A file on its way out: one range of it, with a length, in bounded pieces.

In: chunks of a synchronous source. Out: an HTTP answer, 200 or 206. Where the source ends early
(the contract is over), the connection is closed: the client sees that bytes are missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from yunhe.kernel import limits
from yunhe.kernel.asgi import Threads
from yunhe.kernel.errors import YunheError

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


def read_range(header: str, size: int) -> tuple[int, int, bool]:
    """(first byte, byte after the last, whether it is a range); what is no range is the whole."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not any(found.groups()):
        return 0, size, False
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size, True
    start = int(first)
    end = min(size, int(last) + 1) if last else size
    return (start, end, True) if start < end else (0, size, False)


class FileBody(Response):
    """Sends `chunks`, which are the bytes from `start` up to `end` of `size`."""

    def __init__(
        self,
        chunks: Iterator[bytes],
        threads: Threads,
        start: int,
        end: int,
        size: int,
        *,
        partly: bool,
    ) -> None:
        self._chunks, self._threads = chunks, threads
        self.status_code = 206 if partly else 200
        self.media_type = MEDIA_TYPE
        self.background = None
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
        if partly:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.init_headers(headers)

    @staticmethod
    def head(size: int) -> Response:
        """The answer to HEAD."""
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(size)}
        return Response(headers=headers, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the range or the right to it ends."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        while True:
            try:
                chunk = await self._threads.run(lambda: next(self._chunks, None))
                if chunk is None:
                    break
                with anyio.fail_after(limits.STALL_S_MAX):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (YunheError, OSError, TimeoutError) as error:
                log.warning("a shared file was cut: %s", error)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
