"""Every policy over every protocol: the same answer, or the same refusal, as from the core.

The whole corpus of the gate, hostile and good, is asked through the HTTP door and through Flight
SQL by real clients over sockets, against one real data plane with workers.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pyarrow as pa
import pytest
import uvicorn
from fastapi import FastAPI, Request
from pyarrow import flight

from dataplane.hospital import CANARIES, GROUPS, ROWS, Hospital
from dataplane.test_attacks import attacks
from dataplane.test_gate_pairs import cases
from dataplane.test_service import PEER, Plane
from flow.world import until
from yunhe.dataplane import Pool, Query, TableBinding
from yunhe.identity import Peer
from yunhe.kernel.asgi import problem_response
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import create_all, open_database
from yunhe.kernel.errors import YunheError
from yunhe.protocols import arrow
from yunhe.protocols.flight import proto
from yunhe.protocols.flight.callers import Caller, PeerDoor
from yunhe.protocols.flight.desk import Desk
from yunhe.protocols.flight.reading import Watch
from yunhe.protocols.flight.server import Server

CONTRACTS = {"rows": "c1", "groups": "c2"}


class Refused(Exception):
    """A refusal as a client sees it."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(code)
        self.code, self.said = code, said


class Face(Protocol):
    """One protocol."""

    def ask(self, contract_id: str, sql: str) -> pa.Table: ...
    def close(self) -> None: ...


class Http:
    """`POST /data/v1/query` behind uvicorn; who asks is settled, what may be asked is not."""

    def __init__(self, plane: Plane) -> None:
        app = FastAPI()
        app.add_exception_handler(YunheError, _problem)
        who = SimpleNamespace(refusals=SimpleNamespace(refused=lambda *_: None))
        contracts = SimpleNamespace(
            authenticate_data_token=lambda token, _did: SimpleNamespace(contract_id=token)
        )
        app.include_router(arrow.router(who, contracts, plane.plane, lambda _: peer()))  # type: ignore[arg-type]
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )
        self._thread.start()
        until("the server", lambda: self._server.started)
        self._client = httpx.Client(timeout=30)

    def ask(self, contract_id: str, sql: str) -> pa.Table:
        body = {"use_id": str(uuid4()), "sql": sql, "purpose": "research"}
        answer = self._client.post(
            f"http://127.0.0.1:{self._socket.getsockname()[1]}{arrow.ENDPOINT}",
            json=body,
            headers={"authorization": f"Bearer {contract_id}"},
        )
        if answer.status_code != 200:
            raise Refused(answer.json()["code"], answer.text)
        return pa.ipc.open_stream(answer.content).read_all()

    def close(self) -> None:
        self._client.close()
        self._server.should_exit = True
        self._thread.join(10)


@dataclass
class Known:
    """Callers whose header is the contract they ask under."""

    plane: Plane

    def caller(self, headers: Any, _source: str, _certificate: str) -> Caller:
        contract_id = headers["x-agreement-id"][0]
        door = PeerDoor(self.plane.plane, self.plane.desk, PEER, contract_id)  # type: ignore[arg-type]
        return Caller("peer", "ana", door, contract_id)


class FlightSql:
    """GetFlightInfo, then DoGet, by pyarrow's client."""

    def __init__(self, plane: Plane) -> None:
        self._watch = Watch()
        self._watch.start(lambda _peer: None)
        self._server = Server("grpc://127.0.0.1:0", Known(plane), Desk(self._watch))  # type: ignore[arg-type]
        self._client = flight.FlightClient(f"grpc://127.0.0.1:{self._server.port}")

    def ask(self, contract_id: str, sql: str) -> pa.Table:
        options = flight.FlightCallOptions(
            timeout=30, headers=[(b"x-agreement-id", contract_id.encode())]
        )
        body = proto.message((1, sql.encode("utf-8", "surrogatepass")))
        command = proto.wrap("CommandStatementQuery", body)
        try:
            info = self._client.get_flight_info(
                flight.FlightDescriptor.for_command(command), options
            )
            found = self._client.do_get(info.endpoints[0].ticket, options).read_all()
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            said = str(error)
            assert "Traceback" not in said
            raise Refused(said.partition(":")[0], said) from None
        assert found.schema.equals(info.schema), "what was told is what comes"
        return found

    def close(self) -> None:
        self._client.close()
        self._watch.stop()
        self._server.shutdown()


async def _problem(_request: Request, error: Exception) -> Any:
    assert isinstance(error, YunheError)
    return problem_response(error)


def peer() -> Peer:
    """A member, as its tokens would show it."""
    return Peer(PEER, True, "code", "subject", "name", {})


@pytest.fixture(scope="module")
def plane(
    tables: dict[str, TableBinding], pool: Pool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("protocols")
    db = open_database(f"sqlite:///{folder / 'node.db'}", ManualClock())
    create_all(db)
    made = Plane(db, Hospital(tables, pool, folder), folder)
    made.desk.open(ROWS, "c1")
    made.desk.open(GROUPS, "c2")
    yield made
    db.close()


@pytest.fixture(scope="module", params=[Http, FlightSql], ids=["http", "flight"])
def face(request: pytest.FixtureRequest, plane: Plane) -> Iterator[Face]:
    made = request.param(plane)
    yield made
    made.close()


@pytest.mark.parametrize(("mode", "code", "sql"), attacks())
def test_every_attack_over_every_protocol(
    face: Face, plane: Plane, mode: str, code: str, sql: str
) -> None:
    contract_id = CONTRACTS[mode]
    if code == "RUNS":
        shown = str(face.ask(contract_id, sql).to_pydict())
    else:
        with pytest.raises(Refused) as refusal:
            face.ask(contract_id, sql)
        assert refusal.value.code == code
        shown = refusal.value.said
    for canary in CANARIES:
        assert canary in sql or canary not in shown


@pytest.mark.parametrize(("title", "sql", "_texts"), cases(), ids=lambda value: str(value)[:40])
def test_every_policy_over_every_protocol(
    face: Face, plane: Plane, title: str, sql: str, _texts: list[str]
) -> None:
    contract_id = CONTRACTS["groups" if title.startswith("groups") else "rows"]
    try:
        core = plane.plane.query(PEER, _query(contract_id, sql))
        expected = pa.ipc.open_stream(b"".join(core)).read_all()
    except YunheError as refused:
        with pytest.raises(Refused, match=refused.code):
            face.ask(contract_id, sql)
        return
    found = face.ask(contract_id, sql)
    assert found.schema.equals(expected.schema)
    if "ORDER BY" in sql:
        assert found.equals(expected)
    else:
        assert sorted(map(str, found.to_pylist())) == sorted(map(str, expected.to_pylist()))


def _query(contract_id: str, sql: str) -> Query:
    return Query(contract_id, str(uuid4()), sql, "research")
