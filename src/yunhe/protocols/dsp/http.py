"""What every DSP endpoint does alike: who calls, a bounded body, errors in DSP's own shape.

In: requests. Out: `DspRoute`, dependencies and answers. Errors carry both pids by schema; an
unknown pid is echoed, so another participant's pid cannot be told from one that does not exist.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import TooLarge, YunheError
from yunhe.protocols.dsp.body import Body
from yunhe.protocols.dsp.errors import BadMessage
from yunhe.protocols.dsp.wire import CONTEXT, Json

_GZIP_FROM_BYTES: Final = 1024


class DspRoute(APIRoute):
    """A route whose refusals are DSP errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with refusals translated."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except YunheError as error:
                return refusal(request, error)

        return handle


async def raw_body(request: Request) -> bytes:
    """The body, never more than the bound in memory; raises TooLarge."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limits.DSP_BODY_BYTES_MAX:
            raise TooLarge(what="the body", limit=f"{limits.DSP_BODY_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def read_body(request: Request, raw: bytes) -> Body:
    """The JSON object of a request; its pids are remembered for a refusal."""
    data = loads_strict(raw, limits.DSP_BODY_BYTES_MAX)
    body = Body(data)
    if b"\\ud" in raw or b"\\uD" in raw:  # half a surrogate is no text: no database keeps it
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadMessage(field="the body", why="has half a surrogate pair") from error
    request.state.pids = {
        name: value
        for name in ("providerPid", "consumerPid")
        if isinstance(value := data.get(name), str) and 0 < len(value) <= limits.PID_CHARS_MAX
    }
    return body


def answer(request: Request, body: Json, status: int = 200, **headers: str) -> Response:
    """A JSON answer, compressed where the caller takes it."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    headers["Vary"] = "Accept-Encoding"
    if len(content) >= _GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, 5)
        headers["Content-Encoding"] = "gzip"
    return Response(content, status, headers, "application/json")


def refusal(request: Request, error: YunheError) -> Response:
    """The DSP error of the endpoint's family (DSP 2025-1 §Error; both pids by schema)."""
    path = request.url.path
    body: dict[str, Any] = {"@context": CONTEXT}
    if "/catalog/" in path:
        body["@type"] = "CatalogError"
    else:
        transfer = "/transfers/" in path
        body["@type"] = "TransferError" if transfer else "ContractNegotiationError"
        pids = getattr(request.state, "pids", {})
        echo = request.path_params.get("pid") or next(iter(pids.values()), "unknown")
        for name in ("providerPid", "consumerPid"):
            body[name] = pids.get(name) or echo
    body["code"] = error.code
    body["reason"] = [error.sentence("en"), error.sentence("zh"), error.remedy("en")]
    # Wrong state or a broken contract is 400 here; DSP names no 403 or 409.
    status = 400 if error.status in (403, 409) else error.status
    return answer(request, body, status)
