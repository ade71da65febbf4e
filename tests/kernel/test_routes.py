"""The directory finds exactly what a walk through the routes would find."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import Message

from yunhe.kernel.routes import Directory, side_by_side

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
