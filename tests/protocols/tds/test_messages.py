"""Two nodes talking TDS: what arrives, what is refused, and that nothing is stored for it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from identity.nodes import REVIEWER, World
from yunhe.identity import ApplicationNotFound, ConnectorForm, Identity, Peer, SubjectForm
from yunhe.kernel import canonical
from yunhe.protocols.tds import (
    AnswerUntrusted,
    PeerRefused,
    PeerUnavailable,
    TdsClient,
    did_router,
    framing,
    router,
)

SEQUENCE = "0123456789abcdef0123456789abcdef"


class Door:
    """Requests to an app in this process, as from the address 198.51.100.7."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app, client=("198.51.100.7", 4711))

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport) as client:
                return await client.request(method, f"http://office.example{path}", **more)

        return asyncio.run(go())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


class Office:
    """A functional node with its router, and what its handlers saw."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.identity = world.node("office", role="functional-node", review="auto")
        self.seen: list[tuple[str, dict[str, Any], Peer]] = []
        app = FastAPI()
        app.include_router(
            router(
                self.identity,
                {
                    "GetApplication": self._get_application,
                    "ListDataProduct": self._list,
                    "SearchDataCatalog": self._fails,
                },
            )
        )
        app.include_router(did_router(self.identity))
        self.app = app
        self.http = Door(app)

    def _get_application(self, body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        self.seen.append(("GetApplication", body, peer))
        if body.get("applicationId") == "none":
            raise ApplicationNotFound
        return {"echo": body}

    def _list(self, body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        self.seen.append(("ListDataProduct", body, peer))
        return {}

    def _fails(self, body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        raise RuntimeError("secret detail of the inside")

    def transport(
        self, change: Callable[[httpx.Response], httpx.Response] = lambda got: got
    ) -> httpx.MockTransport:
        def pass_on(request: httpx.Request) -> httpx.Response:
            got = self.http.request(
                request.method,
                request.url.raw_path.decode(),
                content=request.read(),
                headers=dict(request.headers),
            )
            return change(
                httpx.Response(got.status_code, headers=got.headers, stream=Raw(got.content))
            )

        return httpx.MockTransport(pass_on)


class Raw(httpx.SyncByteStream):
    """A body that arrives as it is."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Any:
        yield self.content


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


@pytest.fixture
def hospital(world: World, office: Office) -> Identity:
    return world.node("hospital")


def call(hospital: Identity, office: Office, name: str, body: dict[str, Any], **more: Any) -> Any:
    client = TdsClient(hospital, office.transport(**more))
    try:
        return client.call("http://office.example/", office.identity.own_did, name, body)
    finally:
        client.close()


def post(
    office: Office,
    sender: Identity,
    body: bytes = b"{}",
    name: str = "GetApplication",
    token: str | None = None,
    **headers: str,
) -> httpx.Response:
    """A message by hand, framed well unless told otherwise."""
    try:
        signed = json.loads(body) if body else {}
    except ValueError:
        signed = {}
    signed = signed if isinstance(signed, dict) else {}
    now = sender.clock.now()
    frame = framing.sign(sender.key, signed, headers.get("msgcode", name), SEQUENCE, now)
    token = sender.mint(office.identity.own_did) if token is None else token
    sent = {"authorization": f"Bearer {token}", **frame.headers(), **headers}
    return office.http.post(f"/tds/{name}", content=body, headers=sent)


def code_of(got: httpx.Response) -> tuple[int, str, str]:
    said = got.json()
    return got.status_code, said["code"], said["data"]["problem"]["code"]


def test_a_message_and_its_answer(office: Office, hospital: Identity) -> None:
    body = {"applicationId": "一", "deep": {"n": [1, 2.5, None, True]}}
    assert call(hospital, office, "GetApplication", body) == {"echo": body}
    name, seen, peer = office.seen[0]
    assert (name, seen, peer.did) == ("GetApplication", body, hospital.own_did)


def test_the_answer_on_the_wire(office: Office, hospital: Identity) -> None:
    got = post(office, hospital, b'{"applicationId":"1"}')
    assert got.status_code == 200
    assert got.headers["content-type"] == "application/json;charset=UTF-8"
    assert got.json() == {
        "code": "000000",
        "message": "ok",
        "data": {"echo": {"applicationId": "1"}},
    }
    assert got.headers["msgcode"] == "GetApplication"
    assert got.headers["sequencenum"] == SEQUENCE
    frame = framing.read(got.headers, office.identity.clock.now())
    framing.check_signature(frame, got.json(), [office.identity.key.public_jwk()])


def test_the_did_document_is_served(office: Office) -> None:
    got = office.http.get("/.well-known/did.json")
    assert got.json() == office.identity.did_document()


def admit(world: World, office: Office, node: Identity) -> str:
    """Make the node a member; its code."""
    peer = office.identity.authenticate_peer(f"Bearer {node.mint(office.identity.own_did)}")
    form = SubjectForm("91330100MA00000665", "医院")
    office.identity.apply_subject(form, peer)
    made = office.identity.apply_connector(
        ConnectorForm(form.subject_code, "连接器", "http://hospital.example"), peer
    )
    world.keep(node, made.credential)
    return made.code


def test_the_peers_error_comes_with_its_code(
    world: World, office: Office, hospital: Identity
) -> None:
    admit(world, office, hospital)
    with pytest.raises(PeerRefused) as refused:
        call(hospital, office, "GetApplication", {"applicationId": "none"})
    assert (refused.value.peer_code, refused.value.result) == ("APPLICATION_NOT_FOUND", "300001")
    (entry,) = world.logs[0].find("identity.refused")
    assert entry.body == {
        "peer": hospital.own_did,
        "what": "GetApplication",
        "code": "APPLICATION_NOT_FOUND",
    }


def test_refusals_of_strangers_are_only_counted(office: Office, hospital: Identity) -> None:
    for _ in range(3):
        with pytest.raises(PeerRefused):
            call(hospital, office, "GetApplication", {"applicationId": "none"})
    assert office.world.logs[0].find() == []
    (row,) = office.identity.refusals.recent()
    assert (row.source, row.reason, row.count) == (hospital.own_did, "APPLICATION_NOT_FOUND", 3)


def test_an_unknown_message(office: Office, hospital: Identity) -> None:
    with pytest.raises(PeerRefused) as refused:
        call(hospital, office, "GetToken", {})
    assert refused.value.result == "200007"
    assert code_of(post(office, hospital, name="a" * 50)) == (400, "200007", "TDS_MESSAGE_UNKNOWN")


def test_strangers_may_only_register(world: World, office: Office, hospital: Identity) -> None:
    with pytest.raises(PeerRefused) as refused:
        call(hospital, office, "ListDataProduct", {})
    assert refused.value.peer_code == "MEMBER_ONLY"
    assert office.seen == []
    code = admit(world, office, hospital)
    call(hospital, office, "ListDataProduct", {})
    office.identity.registrar.suspend(code, ("核查",), REVIEWER)
    with pytest.raises(PeerRefused) as refused:
        call(hospital, office, "ListDataProduct", {})
    assert (refused.value.peer_code, refused.value.result) == ("PEER_SUSPENDED", "308002")


def test_a_failing_handler_tells_nothing(office: Office, world: World) -> None:
    hospital = world.node("hospital")
    admit(world, office, hospital)
    got = post(office, hospital, name="SearchDataCatalog")
    assert code_of(got) == (500, "108000", "INTERNAL_ERROR")
    assert "secret" not in got.text
    assert "Traceback" not in got.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b'{"a":1,"a":2}', 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        (b'{"a":"' + b"x" * (1 << 20) + b'"}', 400),
        (b'{"a":1e999}', 400),
        (b'{"a":9007199254740993}', 400),
        (b'{"a":"\\ud800"}', 400),
        (b"\x00\xff", 400),
    ],
    ids=["open", "list", "double", "deep", "oversize", "inf", "bigint", "surrogate", "binary"],
)
def test_unreadable_bodies_leave_nothing(
    office: Office, hospital: Identity, body: bytes, status: int
) -> None:
    token = hospital.mint(office.identity.own_did)
    now = hospital.clock.now()
    frame = framing.sign(hospital.key, {}, "GetApplication", SEQUENCE, now)
    got = office.http.post(
        "/tds/GetApplication",
        content=body,
        headers={"authorization": f"Bearer {token}", **frame.headers()},
    )
    assert code_of(got) == (status, "200008", "TDS_MESSAGE_UNREADABLE")
    assert "Traceback" not in got.text
    assert office.seen == []
    assert office.world.logs[0].find() == []
    # Not even the token: the very same one still works for a good message.
    assert post(office, hospital, token=token).status_code == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"signValue": "0" * 128}, (401, "100006", "TDS_SIGNATURE")),
        ({"signValue": "zz"}, (401, "100006", "TDS_SIGNATURE")),
        ({"timestamp": "1000000000000"}, (400, "200006", "TDS_TIMESTAMP")),
        ({"msgversion": "9.9"}, (400, "200005", "TDS_VERSION_UNKNOWN")),
        ({"msgcode": "ListDataProduct"}, (400, "200002", "TDS_HEADER_INVALID")),
        ({"sequenceNum": "x" * 65}, (400, "200003", "TDS_HEADER_TOO_LONG")),
        ({"sequenceNum": "another"}, (401, "100006", "TDS_SIGNATURE")),
        ({"authorization": ""}, (401, "100004", "TOKEN_MISSING")),
        ({"authorization": "Bearer x"}, (401, "100004", "TOKEN_MALFORMED")),
    ],
)
def test_bad_frames(
    office: Office, hospital: Identity, headers: dict[str, str], expected: tuple[int, str, str]
) -> None:
    got = post(office, hospital, **headers)
    assert code_of(got) == expected
    assert office.seen == []
    assert [row.reason for row in office.identity.refusals.recent()] == [expected[2]]


def test_signed_by_another_than_the_token_says(world: World, office: Office) -> None:
    hospital, thief = world.node("hospital"), world.node("thief")
    stolen = hospital.mint(office.identity.own_did)
    assert code_of(post(office, thief, token=stolen)) == (401, "100006", "TDS_SIGNATURE")


def test_replays(office: Office, hospital: Identity) -> None:
    token = hospital.mint(office.identity.own_did)
    assert post(office, hospital, token=token).status_code == 200
    assert code_of(post(office, hospital, token=token)) == (401, "100004", "TOKEN_REPLAYED")
    # A fresh token around an old message: the sequence number gives it away.
    assert code_of(post(office, hospital)) == (401, "100004", "TOKEN_REPLAYED")
    assert len(office.seen) == 1


def test_a_sequence_number_is_remembered_as_long_as_its_timestamp_counts(
    world: World, office: Office, hospital: Identity
) -> None:
    first = framing.sign(hospital.key, {}, "GetApplication", SEQUENCE, hospital.clock.now())
    assert post(office, hospital).status_code == 200
    world.clock.advance(300)
    got = post(office, hospital, **first.headers())
    assert code_of(got) == (401, "100004", "TOKEN_REPLAYED")


def test_strangers_are_counted_by_source(office: Office, hospital: Identity) -> None:
    for _ in range(20):
        office.http.post("/tds/GetApplication", content=b"{}")
    (row,) = office.identity.refusals.recent()
    assert (row.source, row.reason, row.count) == ("198.51.100.7", "TOKEN_MISSING", 20)
    assert office.world.logs[0].find() == []


def test_only_post(office: Office) -> None:
    assert office.http.get("/tds/GetApplication").status_code == 405


# -- what the caller does not believe --------------------------------------------------------


def resealed(office: Office, key_of: Identity, **change: Any) -> Callable[..., httpx.Response]:
    def change_it(got: httpx.Response) -> httpx.Response:
        got.read()
        envelope = {**got.json(), **change}
        sequence = got.headers["sequencenum"]
        now = office.identity.clock.now()
        frame = framing.sign(key_of.key, envelope, got.headers["msgcode"], sequence, now)
        return httpx.Response(200, headers=frame.headers(), stream=Raw(canonical.dumps(envelope)))

    return change_it


def test_an_answer_by_another_key(world: World, office: Office, hospital: Identity) -> None:
    thief = world.node("thief")
    with pytest.raises(AnswerUntrusted):
        call(hospital, office, "GetApplication", {}, change=resealed(office, thief))


def test_an_answer_that_was_changed(office: Office, hospital: Identity) -> None:
    def change(got: httpx.Response) -> httpx.Response:
        got.read()
        content = got.content.replace(b'"echo"', b'"Echo"')
        return httpx.Response(200, headers=dict(got.headers), stream=Raw(content))

    with pytest.raises(AnswerUntrusted):
        call(hospital, office, "GetApplication", {}, change=change)


def test_an_answer_to_another_question(office: Office, hospital: Identity) -> None:
    old = post(office, hospital)

    def change(_got: httpx.Response) -> httpx.Response:
        return httpx.Response(200, headers=dict(old.headers), stream=Raw(old.content))

    with pytest.raises(AnswerUntrusted, match="another message"):
        call(hospital, office, "GetApplication", {}, change=change)


def test_an_unsigned_answer(office: Office, hospital: Identity) -> None:
    def plain(_got: httpx.Response) -> httpx.Response:
        return httpx.Response(200, stream=Raw(b'{"code":"000000","message":"ok","data":{}}'))

    with pytest.raises(AnswerUntrusted):
        call(hospital, office, "GetApplication", {}, change=plain)


def test_a_proxy_that_fails_is_tried_again(office: Office, hospital: Identity) -> None:
    def gateway(_got: httpx.Response) -> httpx.Response:
        return httpx.Response(502, stream=Raw(b"<html>bad gateway</html>"))

    with pytest.raises(PeerUnavailable):
        call(hospital, office, "GetApplication", {}, change=gateway)


def test_nobody_there(office: Office, hospital: Identity) -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client = TdsClient(hospital, httpx.MockTransport(down))
    with pytest.raises(PeerUnavailable):
        client.call("http://office.example", office.identity.own_did, "GetApplication", {})
    client.close()


def test_data_may_be_missing(office: Office, hospital: Identity) -> None:
    change = resealed(office, office.identity, data=None)
    assert call(hospital, office, "GetApplication", {}, change=change) == {}


def test_handlers_are_of_known_messages(office: Office) -> None:
    with pytest.raises(ValueError, match="Nonsense"):
        router(office.identity, {"Nonsense": lambda body, peer: {}})


def test_over_a_real_socket(office: Office, hospital: Identity) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(office.app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    client = TdsClient(hospital)
    started = time.monotonic()
    try:
        for number in range(20):
            got = client.call(address, office.identity.own_did, "GetApplication", {"n": number})
            assert got == {"echo": {"n": number}}
        assert time.monotonic() - started < 10
    finally:
        client.close()
        server.should_exit = True
        thread.join()
        listening.close()
