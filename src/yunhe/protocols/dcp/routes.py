"""The DCP endpoints of a node: credential service of a holder, issuer service of a registrar.

In: HTTP. Out: presentations, stored credentials, issued ones, status lists. Who asks is
established before the body is read; handlers are plain `def`, as the services know no event loop.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as PathParameter

from yunhe import identity
from yunhe.identity import Identity, SelfIssued
from yunhe.kernel.asgi import json_body
from yunhe.kernel.canonical import dumps
from yunhe.kernel.errors import YunheError
from yunhe.kernel.routes import side_by_side
from yunhe.protocols.dcp import wire
from yunhe.protocols.dcp.schema import MEMBERSHIP_SCHEMA

PATH: Final = identity.CLAIMS_PATH
VERSION: Final = "1.0"
Number = Annotated[int, PathParameter(ge=1, le=1_000_000)]


def advertised() -> dict[str, object]:
    """What a version document says of this protocol: `auth` of DSP's VersionResponse."""
    profiles = list(identity.CREDENTIAL_PROFILES)
    return {"protocol": "DCP", "version": VERSION, "profile": profiles}


async def _raw(request: Request) -> bytes:
    return await request.body()  # bounded before it comes here (kernel.asgi.StrictBody)


def router(who: Identity, address: str) -> APIRouter:
    """Everything under `/dcp` that this node's roles open; `address` is its public base URL."""

    def caller(request: Request) -> SelfIssued:
        try:
            return who.foreign.authenticate(request.headers.get("authorization", ""))
        except YunheError as refused:
            source = request.client.host if request.client else "?"
            who.refusals.refused(source, refused.code)
            raise

    holder = _holder(who, caller)
    if not who.registers:
        return holder
    return side_by_side(APIRouter(), (holder, _issuer(who, caller, address), _lists(who)))


def _part(name: str = "") -> APIRouter:
    return APIRouter(prefix=PATH + name, tags=["dcp"])


def _holder(who: Identity, caller: Any) -> APIRouter:
    router = _part("/holder")

    @router.post("/presentations/query", openapi_extra=json_body())
    def query(asker: SelfIssued = Depends(caller), raw: bytes = Depends(_raw)) -> Response:
        found = who.wallet.present(asker, wire.scopes(raw))
        return _json(wire.message("PresentationResponseMessage", presentation=found))

    @router.post("/credentials", openapi_extra=json_body())
    def write(issuer: SelfIssued = Depends(caller), raw: bytes = Depends(_raw)) -> Response:
        who.wallet.write(issuer, wire.credential_message(raw))
        return Response(status_code=200)

    @router.post("/offers", openapi_extra=json_body())
    def offer(issuer: SelfIssued = Depends(caller), raw: bytes = Depends(_raw)) -> Response:
        named, objects = wire.credential_offer(raw)
        if named != issuer.did:
            raise identity.IssuerUntrusted
        who.wallet.offered(issuer, objects)
        return Response(status_code=200)

    return router


def _issuer(who: Identity, caller: Any, address: str) -> APIRouter:
    router = _part("/issuer")
    base = f"{address}{PATH}"

    @router.post("/credentials", openapi_extra=json_body())
    def request(holder: SelfIssued = Depends(caller), raw: bytes = Depends(_raw)) -> Response:
        holder_pid, ids = wire.credential_request(raw)
        id_ = who.issuer.request(holder, holder_pid, ids)
        return Response(status_code=201, headers={"Location": f"{base}/issuer/requests/{id_}"})

    @router.get("/requests/{request_id}")
    def status(request_id: str, holder: SelfIssued = Depends(caller)) -> Response:
        found = who.issuer.status(holder, request_id)
        return _json(
            wire.message(
                "CredentialStatus",
                issuerPid=found.issuer_pid,
                holderPid=found.holder_pid,
                status=found.status,
            )
        )

    @router.get("/metadata")
    def metadata() -> Response:
        return _json(wire.metadata(who.issuer, who.own_did, f"{base}/schemas"))

    return router


def _lists(who: Identity) -> APIRouter:
    """Status lists and schemas are public: they say nothing about anybody by name."""
    router = _part()

    @router.get("/status/{number}")
    def bitstring(number: Number) -> Response:
        return Response(who.book.published(number, old=False), media_type="application/vc+jwt")

    @router.get("/status/{number}/2021")
    def list_2021(number: Number) -> Response:
        return Response(who.book.published(number, old=True), media_type="application/jwt")

    @router.get("/schemas/MembershipCredential.json")
    def schema() -> Response:
        return _json(MEMBERSHIP_SCHEMA)

    return router


def _json(body: dict[str, Any]) -> Response:
    return Response(dumps(body), media_type="application/json")
