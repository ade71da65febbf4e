"""`/delta/v1`: the Delta Sharing protocol for stock clients, and the files they are pointed to.

In: a profile's bearer token; a file's secret address. Out: shares, metadata and governed Parquet
(https://github.com/delta-io/delta-sharing, PROTOCOL.md). A refusal is a problem that also has the
protocol's own members, errorCode and message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from yunhe.contracts import Contract
from yunhe.kernel import limits
from yunhe.kernel.asgi import PROBLEM, Threads
from yunhe.kernel.errors import Unauthenticated, YunheError
from yunhe.kernel.routes import Bare
from yunhe.protocols.delta import wire
from yunhe.protocols.delta.body import FileBody, read_range
from yunhe.protocols.delta.files import Files, SharedFile
from yunhe.protocols.delta.profiles import PATH, Profiles
from yunhe.protocols.delta.shares import SCHEMA, Shares, page
from yunhe.protocols.delta.store import Profile

# Clients on delta-kernel fetch an address by plain HTTP only where it looks signed, by this name.
_SIGNATURE: Final = "X-Amz-Signature"
_TABLE: Final = PATH + "/shares/{share}/schemas/{schema}/tables/{table}"


class Door:
    """The protocol's calls as plain functions of a request; each authenticates for itself."""

    def __init__(self, profiles: Profiles, shares: Shares, files: Files, address: str) -> None:
        self._profiles, self._shares, self._files = profiles, shares, files
        self._address = address

    def shares(self, request: Request) -> Response:
        """GET /shares."""
        _, contract = self._entered(request)
        return _page(request, [{"name": contract.product_code}])

    def share(self, request: Request) -> Response:
        """GET /shares/{share}."""
        contract = self._of_share(request)
        return JSONResponse({"share": {"name": contract.product_code}})

    def schemas(self, request: Request) -> Response:
        """GET /shares/{share}/schemas."""
        contract = self._of_share(request)
        return _page(request, [{"name": SCHEMA, "share": contract.product_code}])

    def tables(self, request: Request) -> Response:
        """GET /shares/{share}/schemas/{schema}/tables and /all-tables."""
        contract = self._of_share(request)
        share = contract.product_code
        found = [
            {"name": name, "schema": SCHEMA, "share": share}
            for name in self._shares.tables(contract)
        ]
        return _page(request, found)

    def version(self, request: Request) -> Response:
        """GET …/version, and HEAD on the table."""
        contract = self._of_share(request)
        self._shares.known(contract, request.path_params["table"])
        return Response(status_code=200, headers={wire.VERSION_HEADER: str(wire.VERSION)})

    def metadata(self, request: Request) -> Response:
        """GET …/metadata."""
        contract, table = self._of_share(request), request.path_params["table"]
        schema = self._shares.schema(contract, table)
        return self._lines(request, contract, table, schema, None)

    def query(self, request: Request, body: bytes) -> Response:
        """POST …/query: one use."""
        profile, contract = self._entered(request)
        table = request.path_params["table"]
        self._shares.share(contract, request.path_params["share"], request.path_params["schema"])
        found = self._shares.query(profile, contract, table, wire.read_query(body))
        return self._lines(request, contract, table, found.laid.schema, found)

    def file(self, request: Request) -> tuple[SharedFile, int, int, bool]:
        """The file and the range that a request asks for, and whether it asked for a range."""
        key = request.query_params.get(_SIGNATURE, "")
        found = self._files.find(request.path_params["name"], key)
        start, end, partly = read_range(request.headers.get("range", ""), found.laid.bytes)
        return found, start, end, partly

    def _entered(self, request: Request) -> tuple[Profile, Contract]:
        return self._profiles.authenticate(request.headers.get("authorization", ""))

    def _of_share(self, request: Request) -> Contract:
        _, contract = self._entered(request)
        given = request.path_params
        self._shares.share(contract, given["share"], given.get("schema", SCHEMA))
        return contract

    def _lines(
        self,
        request: Request,
        contract: Contract,
        table: str,
        schema: object,
        found: SharedFile | None,
    ) -> Response:
        delta = wire.delta_only(request.headers.get(wire.CAPABILITIES, ""))
        address = None
        if found is not None:
            left_s = max(0.0, found.until - monotonic())
            address = wire.Address(
                f"{self._address}{PATH}/files/{found.path.name}?{_SIGNATURE}={found.key}",
                found.path.stem,
                found.laid.bytes,
                found.laid.rows,
                int((time.time() + left_s) * 1000),
            )
        said = "delta" if delta else "parquet"
        headers = {
            wire.VERSION_HEADER: str(wire.VERSION),
            wire.CAPABILITIES: f"responseformat={said}",
        }
        content = wire.lines(f"{contract.id}/{table}", schema, address, delta=delta)
        return Response(content, headers=headers, media_type=wire.NDJSON)


def router(
    profiles: Profiles,
    shares: Shares,
    files: Files,
    address: str,
    refused: Callable[[str, str], None],
) -> APIRouter:
    """The HTTP face; `refused(source, code)` counts what strangers try."""
    made = APIRouter(tags=["data"], route_class=Bare)
    door = Door(profiles, shares, files, address)
    queries, streams = Threads(limits.QUERY_THREADS), Threads(limits.STREAM_THREADS)

    def refusal(request: Request, error: YunheError) -> Response:
        if isinstance(error, Unauthenticated):
            refused(request.client.host if request.client else "?", error.code)
        problem = error.problem()
        said = {"errorCode": problem["code"], "message": f"{problem['detail']} {problem['remedy']}"}
        return JSONResponse(problem | said, problem["status"], media_type=PROBLEM)

    def answering(
        call: Callable[[Request], Response],
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            try:
                return await queries.run(lambda: call(request))
            except YunheError as error:
                return refusal(request, error)

        return handle

    async def query(request: Request) -> Response:
        body = await request.body()
        try:
            return await queries.run(lambda: door.query(request, body))
        except YunheError as error:
            return refusal(request, error)

    async def file(request: Request) -> Response:
        try:
            found, start, end, partly = await streams.run(lambda: door.file(request))
            if request.method == "HEAD":
                return FileBody.head(found.laid.bytes)
            chunks = files.read(found, start, end)
        except YunheError as error:
            return refusal(request, error)
        return FileBody(chunks, streams, start, end, found.laid.bytes, partly=partly)

    def add(path: str, call: Callable[..., Any], *methods: str) -> None:
        # The protocol has a description of its own; ours is docs/delta-sharing.md.
        made.add_api_route(path, call, methods=[*methods], include_in_schema=False)

    add(PATH + "/shares", answering(door.shares), "GET")
    add(PATH + "/shares/{share}", answering(door.share), "GET")
    add(PATH + "/shares/{share}/schemas", answering(door.schemas), "GET")
    add(PATH + "/shares/{share}/all-tables", answering(door.tables), "GET")
    add(PATH + "/shares/{share}/schemas/{schema}/tables", answering(door.tables), "GET")
    add(_TABLE, answering(door.version), "HEAD")
    add(_TABLE + "/version", answering(door.version), "GET")
    add(_TABLE + "/metadata", answering(door.metadata), "GET")
    add(_TABLE + "/query", query, "POST")
    add(PATH + "/files/{name}", file, "GET", "HEAD")
    return made


def _page(request: Request, items: list[dict[str, str]]) -> Response:
    given = request.query_params
    return JSONResponse(page(items, given.get("maxResults", ""), given.get("pageToken", "")))
