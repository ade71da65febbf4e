"""The ways to a governed query: every case of the corpus can be sent over each of them.

In: a `Target`. Out: faces with one verb, `ask`: contract, SQL, purpose to an `Answer`, which holds
everything the asker gets to see. A new protocol adds its face to FACES and meets all the cases.
"""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pyarrow as pa

from attack import face_flight
from attack.world import Target
from flow.world import PURPOSE
from yunhe.dataplane import Query
from yunhe.kernel.errors import YunheError
from yunhe.protocols import arrow
from yunhe.sdk import Contract, StreamBroken, YunheRefused

RUNS: Final = "RUNS"
PEER: Final = "X-Yunhe-Peer"


@dataclass(frozen=True)
class Answer:
    """`code` is RUNS or the refusal's; `shown` is all text the asker sees, `rows` the result."""

    code: str
    shown: str
    rows: list[dict[str, Any]] = field(default_factory=list)


class Face(Protocol):
    """One protocol."""

    name: str

    def ask(self, contract: Contract, sql: str, purpose: str = PURPOSE) -> Answer:
        """One governed query to its end."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class _Numbered:
    """Gives each use an id of its own."""

    _numbers: Final = itertools.count()
    name = "face"

    def __init__(self, target: Target) -> None:
        self.target = target
        self._provider = target.world["a"]

    def use_id(self) -> str:
        return f"attack-{self.name}-{next(self._numbers)}"

    def close(self) -> None:
        """Nothing is held."""


class PlaneFace(_Numbered):
    """The one enforcement function, called in the provider's process."""

    name = "plane"

    def ask(self, contract: Contract, sql: str, purpose: str = PURPOSE) -> Answer:
        peer = self.target.world["r"].did
        query = Query(contract.id, self.use_id(), sql, purpose)
        try:
            with self._provider.node.plane.query(peer, query) as stream:
                return answer(b"".join(stream))
        except YunheError as refused:
            return Answer(refused.code, json.dumps(refused.problem(), ensure_ascii=False))
        except Exception as fault:  # noqa: BLE001 - a crash is an answer of the attacked, too
            return Answer("FAULT", repr(fault))


class HttpFace(_Numbered):
    """Arrow over HTTP, sent by a consumer who leaves his own connector away."""

    name = "http"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", self._provider.config.listen_port, timeout=60
        )

    def ask(self, contract: Contract, sql: str, purpose: str = PURPOSE) -> Answer:
        body = {"use_id": self.use_id(), "sql": sql, "purpose": purpose}
        return self.send(json.dumps(body).encode(), self.headers(contract))

    def headers(self, contract: Contract) -> dict[str, str]:
        """What an honest consumer sends with a query."""
        consumer = self.target.world["r"].node
        return {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {consumer.contracts.access(contract.id).token}",
            PEER: f"Bearer {consumer.identity.mint(self._provider.did)}",
        }

    def send(self, body: bytes, headers: dict[str, str]) -> Answer:
        """One request as given, its whole answer."""
        try:
            self._connection.request("POST", arrow.ENDPOINT, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, OSError) as broken:
            self._connection.close()
            return Answer("STREAM_BROKEN", str(broken))
        head = str(response.getheaders())
        if response.status == 200:
            got = answer(content)
            return Answer(got.code, head + got.shown, got.rows)
        return Answer(problem_code(content), head + content.decode("utf-8", "replace"))

    def close(self) -> None:
        self._connection.close()


class RelayFace(_Numbered):
    """The consumer's own node and SDK, as an ordinary user would."""

    name = "relay"

    def ask(self, contract: Contract, sql: str, purpose: str = PURPOSE) -> Answer:
        try:
            table = self.target.world["r"].space.sql(sql, contract, purpose)
        except (YunheRefused, StreamBroken) as refused:
            return Answer(refused.code, str(refused))
        return Answer(RUNS, f"{table.schema}{table.to_pydict()}", table.to_pylist())


class FlightFace(_Numbered):
    """Flight SQL at the provider, as a consumer's connector would ask."""

    name = "flight"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._caller = face_flight.Caller(target)

    def ask(self, contract: Contract, sql: str, purpose: str = PURPOSE) -> Answer:
        shown = face_flight.headers(self.target, contract.id, purpose)
        try:
            table = self._caller.read(self._caller.ticket(sql, shown), shown)
        except face_flight.REFUSALS as refused:
            return Answer(face_flight.code(refused), str(refused))
        return Answer(RUNS, f"{table.schema}{table.to_pydict()}", table.to_pylist())

    def close(self) -> None:
        self._caller.close()


def answer(body: bytes) -> Answer:
    """What an Arrow IPC stream shows: schema, metadata, every cell, and the bytes as text."""
    try:
        table = pa.ipc.open_stream(body).read_all()
    except pa.ArrowInvalid:
        return Answer("STREAM_BROKEN", body.decode("utf-8", "replace"))
    raw = body.decode("latin-1")
    return Answer(RUNS, f"{table.schema}{table.to_pydict()}{raw}", table.to_pylist())


def problem_code(content: bytes) -> str:
    """The code of a refusal's body; the body's start where it is none."""
    try:
        return str(json.loads(content)["code"])
    except (ValueError, KeyError, TypeError):
        return f"? {content[:80]!r}"


FACES: Final[dict[str, Callable[[Target], Face]]] = {
    face.name: face for face in (PlaneFace, HttpFace, RelayFace, FlightFace)
}
