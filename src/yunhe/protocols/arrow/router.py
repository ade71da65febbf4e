"""The provider's door to its data: `POST /data/v1/query`, one governed use a request.

`POST /data/v1/describe` tells the schema of a query's result, or the tables, `POST /data/v1/left`
what is left of the contract; neither is a use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from yunhe.contracts import Contracts
from yunhe.dataplane import DataPlane, Query, Stream
from yunhe.identity import Identity, Peer, require_member
from yunhe.kernel import limits
from yunhe.kernel.asgi import StreamedResponse, Threads, json_body
from yunhe.kernel.errors import Invalid, Unauthenticated
from yunhe.kernel.routes import Bare
from yunhe.protocols.arrow import wire

ENDPOINT: Final = wire.PATH


class _Desk:
    """What the calls do, once their bodies are there."""

    def __init__(
        self,
        identity: Identity,
        contracts: Contracts,
        plane: DataPlane,
        authenticate: Callable[[str], Peer],
    ) -> None:
        self._identity, self._contracts, self._plane = identity, contracts, plane
        self._authenticate = authenticate

    def _entered(self, request: Request) -> tuple[str, str]:
        """The peer and the contract it may ask under."""
        source = request.client.host if request.client else "?"
        bearers = request.headers.getlist(wire.PEER)
        if len(bearers) > 1:
            raise Invalid(why=f"the header {wire.PEER} stands twice")
        try:
            peer = self._authenticate("".join(bearers))
            token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
            claims = self._contracts.authenticate_data_token(token, peer.did)
        except Unauthenticated as refused:
            self._identity.refusals.refused(source, refused.code)
            raise
        # A data token outlives a revocation by minutes; without its credential, the status of
        # which was just asked, a member that was put out would still read.
        require_member(peer)
        return peer.did, claims.contract_id

    def stream(self, request: Request, body: bytes) -> Stream:
        """One governed use up to its first bytes."""
        peer_did, contract_id = self._entered(request)
        asked = wire.read(body)
        query = Query(
            contract_id=contract_id,
            use_id=asked.use_id,
            sql=asked.sql,
            purpose=asked.purpose,
            principal=asked.principal,
        )
        return self._plane.query(peer_did, query)

    def left(self, request: Request) -> dict[str, Any]:
        """What is left of the contract of the data token."""
        return self._plane.left(*self._entered(request)).to_json()

    def told(self, request: Request, body: bytes) -> dict[str, bytes]:
        """The schema of a query under the name "", or of each table."""
        peer_did, contract_id = self._entered(request)
        if sql := wire.read_describe(body):
            return {"": self._plane.describe(peer_did, contract_id, sql)}
        return self._plane.shapes(peer_did, contract_id)


def router(
    identity: Identity,
    contracts: Contracts,
    plane: DataPlane,
    authenticate: Callable[[str], Peer] | None = None,
) -> APIRouter:
    """The data plane's HTTP face; queries and streams have threads of their own.

    `authenticate` knows the node behind a header, foreign ones too; by default our own kind only.
    """
    desk = _Desk(identity, contracts, plane, authenticate or identity.authenticate_peer)
    made = APIRouter(tags=["data"], route_class=Bare)
    queries, streams = Threads(limits.QUERY_THREADS), Threads(limits.STREAM_THREADS)

    @made.post(
        wire.PATH,
        summary="One governed query (Arrow IPC stream)",
        response_class=Response,
        openapi_extra=json_body(),
    )
    async def query(request: Request) -> Response:
        body = await request.body()
        stream = await queries.run(lambda: desk.stream(request, body))
        headers = {
            wire.USE_ID: stream.use_id,
            wire.WITHHELD: "true" if stream.groups_withheld else "false",
        }
        return StreamedResponse(stream, streams, headers, wire.MEDIA_TYPE)

    @made.post(
        wire.DESCRIBE,
        summary="The Arrow schema of a governed query, or of each table; no use",
        openapi_extra=json_body(),
    )
    async def describe(request: Request) -> Response:
        body = await request.body()
        schemas = await queries.run(lambda: desk.told(request, body))
        return JSONResponse(wire.described(schemas))

    @made.post(
        wire.LEFT,
        summary="What is left of a contract: uses, volume, privacy budget, when; no use",
        openapi_extra=json_body(),
    )
    async def left(request: Request) -> Response:
        await request.body()
        return JSONResponse(await queries.run(lambda: desk.left(request)))

    return made
