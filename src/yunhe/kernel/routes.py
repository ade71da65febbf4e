"""Finding a route by the first parts of its path, where a list of sixty would be tried in turn.

In: the routes of an app, as they stand. Out: one route that goes before them and hands a request
to the one they would have found; what it does not find, they answer as ever (404, 405).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property
from inspect import signature
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_PARTS_MAX: Final = 3  # `/api/v1/contracts`: what comes after is told apart by the routes
_FOUND: Final = "yunhe.route"
_LOOKED_UP: Final = "yunhe.looked_up"


def side_by_side(whole: APIRouter, parts: Iterable[APIRouter]) -> APIRouter:
    """`whole` with the routes of routers that already name their full paths.

    An included router would be searched once to see whether it matches and once more to find
    which route does, at every level.
    """
    for part in parts:
        whole.routes.extend(part.routes)
    return whole


class Bare(APIRoute):
    """A route whose `async` function takes the request and gives the answer itself.

    Further parameters are those of the path, as text. FastAPI would open its stacks and solve no
    dependency at all for each request.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function as it is."""
        return self.bare

    @cached_property
    def bare(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function, with the parameters of the path that it asks for."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        named = tuple(signature(handler).parameters)[1:]
        if not named:
            return handler

        async def with_path(request: Request) -> Response:
            path = {name: request.path_params[name] for name in named}
            answer: Response = await self.endpoint(request, **path)
            return answer

        return with_path


class Express:
    """Takes requests for bare routes past what an app wraps around its own; ASGI.

    `around` are the layers that every request passes, `refused` gives the answer to an error.
    """

    def __init__(
        self,
        app: ASGIApp,
        directory: Directory,
        around: Callable[[ASGIApp], ASGIApp],
        refused: Callable[[Request, Exception], Response],
    ) -> None:
        self._app, self._directory, self._refused = app, directory, refused
        self._bare = around(self._served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a bare route, or hand over to the app."""
        match, found = self._directory.matches(scope)
        scope[_LOOKED_UP] = match, found
        if match is Match.FULL and isinstance(found[_FOUND], Bare):
            scope.update(found)
            await self._bare(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        route: Bare = scope[_FOUND]
        try:
            response = await route.bare(request)
        except Exception as error:  # noqa: BLE001  as the layers around an app do
            await self._refused(request, error)(scope, receive, send)
            return
        await response(scope, receive, send)


class Directory(BaseRoute):
    """Stands before `routes`; gives what the first of them that matches fully would give.

    HEAD finds the route of GET where none has it for itself (RFC 9110 §9.3.2); the server leaves
    the body out. Not below `costly`, where to read is to use.
    """

    def __init__(self, routes: Iterable[BaseRoute], costly: tuple[str, ...] = ()) -> None:
        self._costly = costly
        listed = [(_fixed(route.path), route) for route in routes if isinstance(route, Route)]
        # Under each beginning every route whose own beginning it has, in their order: the first
        # match is the one that a walk through all of them would find.
        self._under = {
            beginning: tuple(_Place(route) for own, route in listed if _begins(beginning, own))
            for beginning in {own for own, _ in listed}
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The route in question, or none: half a match is left to the routes themselves."""
        if scope["type"] != "http":
            return Match.NONE, {}
        if _LOOKED_UP in scope:
            return scope[_LOOKED_UP]  # type: ignore[no-any-return]  # written by Express
        match, found = self._looked_up(scope)
        if match is Match.NONE and scope["method"] == "HEAD" and not self._dear(scope["path"]):
            return self._looked_up({**scope, "method": "GET"})
        return match, found

    def _dear(self, path: str) -> bool:
        return path.startswith(self._costly)

    def _looked_up(self, scope: Scope) -> tuple[Match, Scope]:
        parts = scope["path"].split("/", _PARTS_MAX + 1)[: _PARTS_MAX + 1]
        for end in range(len(parts), 0, -1):
            routes = self._under.get("/".join(parts[:end]))
            if routes is not None:
                return _first(routes, scope)
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the route that `matches` found, which may know of GET alone."""
        await scope[_FOUND].app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """The routes behind this one know their addresses."""
        raise NoMatchFound(name, path_params)


class _Place:
    """A route, and what a request must have for it to match: cheaper to look at than its path."""

    __slots__ = ("depth", "methods", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.methods = route.methods  # None: all
        self.depth = None if ":path}" in route.path else route.path.count("/")  # None: any


def _first(places: tuple[_Place, ...], scope: Scope) -> tuple[Match, Scope]:
    method, depth = scope["method"], scope["path"].count("/")
    for place in places:
        if place.methods is not None and method not in place.methods:
            continue
        if place.depth is not None and place.depth != depth:
            continue
        match, found = place.route.matches(scope)
        if match is Match.FULL:
            return match, {**found, _FOUND: place.route}
    return Match.NONE, {}


def _fixed(path: str) -> str:
    """The whole parts of a route's path before its first parameter, at most `_PARTS_MAX`."""
    parts = path.split("/")[: _PARTS_MAX + 1]
    fixed = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
    return "/".join(parts[:fixed])


def _begins(text: str, own: str) -> bool:
    return text == own or text.startswith(f"{own}/")
