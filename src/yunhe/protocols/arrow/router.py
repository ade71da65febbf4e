"""The provider's door to its data: `POST /data/v1/query`, one governed use a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from yunhe.contracts import Contracts
from yunhe.dataplane import DataPlane, Query, Stream
from yunhe.identity import Identity, Peer, require_member
from yunhe.kernel import limits
from yunhe.kernel.asgi import StreamedResponse, Threads, json_body
from yunhe.kernel.errors import Unauthenticated
from yunhe.kernel.routes import Bare
from yunhe.protocols.arrow import wire

ENDPOINT: Final = wire.PATH


def router(
    identity: Identity,
    contracts: Contracts,
    plane: DataPlane,
    authenticate: Callable[[str], Peer] | None = None,
) -> APIRouter:
    """The data plane's HTTP face; queries and streams have threads of their own.

    `authenticate` knows the node behind a header, foreign ones too; by default our own kind only.
    """
    known = authenticate or identity.authenticate_peer
    made = APIRouter(tags=["data"], route_class=Bare)
    queries, streams = Threads(limits.QUERY_THREADS), Threads(limits.STREAM_THREADS)

    def open_stream(request: Request, body: bytes) -> Stream:
        source = request.client.host if request.client else "?"
        try:
            peer = known(request.headers.get(wire.PEER, ""))
            token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
            claims = contracts.authenticate_data_token(token, peer.did)
        except Unauthenticated as refused:
            identity.refusals.refused(source, refused.code)
            raise
        # A data token outlives a revocation by minutes; without its credential, the status of
        # which was just asked, a member that was put out would still read.
        require_member(peer)
        asked = wire.read(body)
        query = Query(
            contract_id=claims.contract_id,
            use_id=asked.use_id,
            sql=asked.sql,
            purpose=asked.purpose,
            principal=asked.principal,
        )
        return plane.query(peer.did, query)

    @made.post(
        wire.PATH,
        summary="One governed query (Arrow IPC stream)",
        response_class=Response,
        openapi_extra=json_body(),
    )
    async def query(request: Request) -> Response:
        body = await request.body()
        stream = await queries.run(lambda: open_stream(request, body))
        headers = {
            wire.USE_ID: stream.use_id,
            wire.WITHHELD: "true" if stream.groups_withheld else "false",
        }
        return StreamedResponse(stream, streams, headers, wire.MEDIA_TYPE)

    return made
