"""The directory finds exactly what a walk through the routes would find."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yunhe.kernel.routes import Bare, Directory, Express, side_by_side

PATHS = (
    "/",
    "/a",
    "/a/b/c",
    "/a/b/{x}",
    "/a/b/c/{x}",
    "/a/b/c/d",
    "/a/{x}",
    "/a/b/c/d/{rest:path}",
    "/{x}/b/c",
    "/tds/{name}",
    "/pre{x}/b",
    "/a/b/c2",
)
WORDS = ("a", "b", "c", "c2", "d", "tds", "prey", "", "z")


def endpoint(_request: Request) -> Response:
    return PlainTextResponse("")


def scope(path: str, method: str = "GET") -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}


def test_it_finds_what_a_walk_finds() -> None:
    routes: list[BaseRoute] = [
        Route(path, endpoint, methods=[method]) for path in PATHS for method in ("GET", "POST")
    ]
    directory = Directory(routes)
    for length in range(1, 6):
        for words in product(WORDS, repeat=length):
            asked = scope("/" + "/".join(words), "POST")
            walked = next((r for r in routes if r.matches(asked)[0] is Match.FULL), None)
            match, found = directory.matches(asked)
            assert (match is Match.FULL) == (walked is not None), words
            if walked is not None:
                assert found["yunhe.route"] is walked
                assert found["path_params"] == walked.matches(asked)[1]["path_params"]


def test_head_is_get_without_a_body_but_where_to_read_is_to_use() -> None:
    own = Route("/b", endpoint, methods=["HEAD"])
    routes: list[BaseRoute] = [
        Route(path, endpoint, methods=["GET"]) for path in ("/a/{x}", "/b", "/c/d")
    ]
    for route in routes:
        assert isinstance(route, Route)
        route.methods = {"GET"}  # FastAPI adds no HEAD, as Starlette does
    directory = Directory([*routes, own, Route("/p", endpoint, methods=["POST"])], costly=("/c/",))
    match, found = directory.matches(scope("/a/1", "HEAD"))
    assert (match, found["yunhe.route"]) == (Match.FULL, routes[0])
    assert directory.matches(scope("/b", "HEAD"))[1]["yunhe.route"] is own
    for path, method in (("/c/d", "HEAD"), ("/p", "HEAD"), ("/b", "PUT")):
        assert directory.matches(scope(path, method))[0] is Match.NONE, path


def test_half_a_match_is_left_to_the_routes() -> None:
    directory = Directory([Route("/a", endpoint, methods=["GET"])])
    assert directory.matches(scope("/a", "DELETE"))[0] is Match.NONE
    assert directory.matches({**scope("/a"), "type": "websocket"})[0] is Match.NONE
    with pytest.raises(NoMatchFound):
        directory.url_path_for("a")


def test_routers_side_by_side_answer_and_are_documented() -> None:
    part = APIRouter(prefix="/api/part", tags=["part"])

    @part.get("/{number}")
    async def one(number: int) -> dict[str, int]:
        return {"number": number}

    app = FastAPI()
    side_by_side(app.router, [part])
    app.router.routes.insert(0, Directory(app.router.routes))
    assert app.openapi()["paths"]["/api/part/{number}"]["get"]["tags"] == ["part"]
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(app(scope("/api/part/7"), receive, send))
    assert said[1]["body"] == b'{"number":7}'


def asked(app: FastAPI, path: str, method: str = "GET") -> list[Message]:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(app(scope(path, method), receive, send))
    return said


def test_bare_routes_go_past_what_is_for_the_others_and_their_errors_are_answered() -> None:
    part, passed = APIRouter(prefix="/api", route_class=Bare), []

    @part.get("/bare/{number}")
    async def bare(request: Request, number: str) -> Response:
        if number == "0":
            raise LookupError("why")
        return PlainTextResponse(f"{request.path_params['number']} {number}")

    app = FastAPI()
    side_by_side(app.router, [part])

    @app.get("/api/other")
    async def other() -> str:
        return "other"

    def around(inner: ASGIApp) -> ASGIApp:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            passed.append(scope["path"])
            await inner(scope, receive, send)

        return layer

    directory = Directory(app.router.routes)
    app.router.routes.insert(0, directory)
    ordinary = asked(app, "/api/bare/7")  # the walk that FastAPI makes, with no express
    app.middleware_stack = Express(
        app.build_middleware_stack(),
        directory,
        around,
        lambda _request, error: PlainTextResponse(repr(error), 500),
    )
    assert asked(app, "/api/bare/7") == ordinary
    assert ordinary[1]["body"] == b"7 7"
    assert asked(app, "/api/bare/0")[1]["body"] == b"LookupError('why')"
    assert asked(app, "/api/other")[1]["body"] == b'"other"'
    assert asked(app, "/api/bare/7", "POST")[0]["status"] == 405
    assert asked(app, "/api/none")[0]["status"] == 404
    assert passed == ["/api/bare/7", "/api/bare/0"]
    assert app.openapi()["paths"]["/api/bare/{number}"]["get"]["parameters"]
