"""The door of the inbox: `HEAD`, `PUT` and `POST /data/v1/inbox/{key}`, for whoever pushes to us.

In: a body of any size with the token of one transfer. Out: 204 once all of it is on our disk and
signed for, 202 for a part; `Upload-Offset` says how much has come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from yunhe.kernel import limits
from yunhe.kernel.asgi import Threads, problem_response
from yunhe.kernel.errors import Unauthenticated, YunheError
from yunhe.protocols.arrow.inbox import PATH, Inbox
from yunhe.protocols.arrow.sender import COMPLETE, OFFSET
from yunhe.protocols.arrow.sink import Sink

_GATHER_BYTES = 1 << 20  # what goes to the disk at once


def inbox_router(inbox: Inbox, refused: Callable[[str, str], None]) -> APIRouter:
    """The inbox's HTTP face; `refused(source, code)` counts what strangers try."""
    made = APIRouter(tags=["data"])
    threads = Threads(limits.STREAM_THREADS)

    def note(request: Request, error: YunheError) -> Response:
        if isinstance(error, Unauthenticated):
            refused(request.client.host if request.client else "?", error.code)
        answer = problem_response(error)
        # The rest of a refused body is not waited for.
        answer.headers["Connection"] = "close"
        return answer

    # A HEAD has no problem body, so it stands in docs/transfers.md and not in the schema.
    @made.head(f"{PATH}/{{key}}", status_code=204, include_in_schema=False)
    async def progress(key: str, request: Request) -> Response:
        token = _token(request)
        try:
            have, whole = await threads.run(lambda: inbox.progress(key, token))
        except YunheError as error:
            return note(request, error)
        return _come(204, have, whole)

    async def take(key: str, request: Request) -> Response:
        token = _token(request)
        sink: Sink | None = None
        try:
            opened = sink = await threads.run(lambda: inbox.begin(key, token, request.headers))
            await _body(request, opened, threads)
            whole = await threads.run(opened.finish)
            return _come(204 if whole else 202, opened.come, whole)
        except YunheError as error:
            return note(request, error)
        except (ClientDisconnect, TimeoutError):
            return Response(status_code=408, headers={"Connection": "close"})  # nobody reads it
        finally:
            if sink is not None:
                with anyio.CancelScope(shield=True):
                    await threads.run(sink.close)

    summary = "A pushed Arrow IPC stream, or the rest of one"
    for method in ("PUT", "POST"):
        made.add_api_route(
            f"{PATH}/{{key}}",
            take,
            methods=[method],
            status_code=204,
            response_class=Response,
            summary=summary,
            name=f"take_{method.lower()}",
        )
    return made


async def _body(request: Request, sink: Sink, threads: Threads) -> None:
    """Every byte to the disk, in pieces worth a thread; raises as `Sink.write`."""
    held = bytearray()
    chunks = request.stream().__aiter__()
    while True:
        with anyio.fail_after(limits.STALL_S_MAX):
            chunk = await anext(chunks, b"")
        held += chunk
        if held and (not chunk or len(held) >= _GATHER_BYTES):
            piece = bytes(held)
            held.clear()
            await threads.run(partial(sink.write, piece))
        if not chunk:
            return


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ").strip()


def _come(status: int, have: int, whole: bool) -> Response:
    headers = {OFFSET: str(have), COMPLETE: "?1" if whole else "?0"}
    return Response(status_code=status, headers=headers)
