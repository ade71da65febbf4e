"""The HTTP application of a node: routers, problem answers, limits, headers.

In: the node's services and the routers of its protocols. Out: one ASGI app.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yunhe import __version__
from yunhe.api import apps as apps_face
from yunhe.api import (
    bills,
    evidence_log,
    finding,
    members,
    supply,
    tokens,
    transfers,
    uses,
    watching,
)
from yunhe.api import contracts as contracts_face
from yunhe.api import fabric as fabric_face
from yunhe.api import registration as registration_face
from yunhe.api import sharing as sharing_face
from yunhe.api import vault as vault_face
from yunhe.api import watermark as watermark_face
from yunhe.api.deps import Services
from yunhe.api.errors import MethodNotAllowed, Unexpected, form_fault
from yunhe.api.forms import SPELLED
from yunhe.kernel.asgi import SafeHeaders, StrictBody, problem_response
from yunhe.kernel.db import no_room
from yunhe.kernel.errors import Invalid, NotFound, YunheError
from yunhe.kernel.routes import Directory, Express, side_by_side

log = logging.getLogger(__name__)

_USES: Final = ("/data/", "/delta/")  # there to read is to use; HEAD only as the protocol has it
FACES = (
    watching,
    tokens,
    registration_face,
    members,
    supply,
    finding,
    contracts_face,
    transfers,
    sharing_face,
    vault_face,
    watermark_face,
    apps_face,
    uses,
    fabric_face,
    bills,
    evidence_log,
)


def create_app(parts: Services, routers: Iterable[APIRouter] = ()) -> FastAPI:
    """The app of one node; `routers` are the protocol faces that the node's roles open."""
    app = FastAPI(
        title="Yunhe",
        version=__version__,
        description="Management API of a trusted data space node. 可信数据空间节点管理接口。",
        docs_url=None,  # the stock pages load from a CDN; the schema itself is served
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,  # a client that follows no redirect would see an empty answer
    )
    app.state.services = parts
    side_by_side(app.router, (*(face.router for face in FACES), *routers))
    directory = Directory(app.router.routes, costly=_USES)
    app.router.routes.insert(0, directory)
    app.add_exception_handler(YunheError, _house_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _bad_form)  # type: ignore[arg-type]
    app.add_exception_handler(OSError, _no_room)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(StrictBody)
    app.add_middleware(SafeHeaders)
    around = app.build_middleware_stack()
    app.middleware_stack = _Counted(
        Express(around, directory, _layers, _refused), parts.figures.answered
    )
    return app


class _Counted:
    """ASGI middleware: tells of every answer its path and status; touches neither head nor body."""

    def __init__(self, app: ASGIApp, tell: Callable[[str, int], None]) -> None:
        self._app, self._tell = app, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, and tell how its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._tell(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, told)


def _layers(inner: ASGIApp) -> ASGIApp:
    """What stands around bare routes: the same two that stand around the others."""
    return SafeHeaders(StrictBody(inner))


def _refused(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, YunheError) else no_room(error)
    return problem_response(known) if known else _unexpected(request, error)


def _no_room(_request: Request, error: OSError) -> Response:
    """A file beside the database could not grow; every other failure stays unexpected."""
    full = no_room(error)
    if full is None:
        raise error
    return problem_response(full)


def _house_error(_request: Request, error: YunheError) -> Response:
    return problem_response(error)


def _bad_form(_request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part)[:64] for part in first["loc"] if part not in ("body", "query"))
    en, zh = form_fault(first, SPELLED)
    return problem_response(
        Invalid(
            why=f"{where or 'the body'}: {en}",
            why_zh=f"{where or '请求体'}：{zh}",
            field=where,
        )
    )


def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        path = request.url.path
        return problem_response(NotFound(what=f"path {path}", what_zh=f"路径 {path}"))
    if error.status_code == 405:
        refused = problem_response(MethodNotAllowed(method=request.method))
        refused.headers.update(error.headers or {})
        return refused
    return problem_response(Invalid(why=str(error.detail)))


def _unexpected(_request: Request, error: Exception) -> Response:
    reference = uuid.uuid4().hex[:12]
    log.error("unexpected failure %s: %r", reference, error)
    return problem_response(Unexpected(reference=reference))
