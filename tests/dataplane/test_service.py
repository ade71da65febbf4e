"""The life of one use: admitted, released before the first byte, streamed, posted or voided."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from dataplane.hospital import GROUPS, ROWS, Hospital
from yunhe.contracts import (
    Agreement,
    Contract,
    ContractEnded,
    ContractInForce,
    ContractTerminated,
    Price,
    Side,
    Terms,
    policy_from_terms,
)
from yunhe.contracts.model import Why
from yunhe.control import Control, UseAlreadySpent
from yunhe.dataplane import (
    ColumnNotAgreed,
    DataPlane,
    GroupTooSmall,
    Job,
    Query,
    QueryFailed,
    RowsOverLimit,
    WorkerLost,
)
from yunhe.evidence import EvidenceLog
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database, StorageFull, Tx
from yunhe.kernel.errors import NotFound, YunheError
from yunhe.kernel.keys import KeyStore

PEER, US = "did:web:research.example", "did:web:hospital.example"
PRICED = replace(ROWS, uses_max=3, price=Price(per_use=100, per_row=2))


class Desk:
    """The contracts of the test: in force until ended, by the events the real slice emits."""

    def __init__(self, db: Database) -> None:
        self.db, self.made, self.ended = db, {}, set()

    def open(self, terms: Terms, contract_id: str = "c1") -> Contract:
        policy = policy_from_terms(terms)
        start = datetime(2026, 1, 1, tzinfo=UTC)
        agreement = Agreement(contract_id, b"{}", "P1", US, PEER, policy, start)
        made = Contract(
            contract_id, Side.PROVIDER, PEER, "http://peer", "P1", policy, "in_force", 1,
            agreement, "n1", start, terms.expires_at,
        )  # fmt: skip
        self.made[contract_id] = made
        self.db.write(lambda tx: tx.emit(ContractInForce(made, tx.now)))
        return made

    def terminate(self, contract_id: str = "c1") -> None:
        made = self.made[contract_id]

        def verb(tx: Tx) -> None:
            why = Why("CONTRACT_TERMINATED", ("over",))
            ended = replace(made, state="terminated", version=2, ended_at=tx.now, end=why)
            tx.emit(ContractEnded(ended, US, tx.now))

        self.db.write(verb)
        self.ended.add(contract_id)

    def in_force(self, contract_id: str, peer_did: str | None = None) -> Contract:
        made = self.made.get(contract_id)
        if made is None or (peer_did is not None and made.peer_did != peer_did):
            raise NotFound(what="contract")
        if contract_id in self.ended:
            raise ContractTerminated(ended_at="now", reason="over")
        return made


class Plane:
    """A provider's node, as far as one query needs it."""

    def __init__(self, db: Database, hospital: Hospital, folder: Path) -> None:
        self.log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "hospital.example/log")
        self.log.install()
        self.control = Control(db, self.log)
        self.desk = Desk(db)
        self.points: list[str] = []
        crash = CrashPoints()
        crash.at = self._at  # type: ignore[method-assign]
        self.on_point: Callable[[str], None] = lambda point: None
        self.plane = DataPlane(
            db=db,
            evidence=self.log,
            contracts=self.desk,
            control=self.control,
            tables=lambda contract: hospital.tables,
            pool=hospital.pool,
            mask_secret=b"secret",
            crash=crash,
        )

    def _at(self, point: str) -> None:
        self.points.append(point)
        self.on_point(point)

    def query(self, sql: str, use_id: str = "u1", **more: object):
        asked = Query("c1", use_id, sql, "research", **more)  # type: ignore[arg-type]
        return self.plane.query(PEER, asked)

    def read(self, sql: str, use_id: str = "u1", **more: object) -> pa.Table:
        return pa.ipc.open_stream(b"".join(self.query(sql, use_id, **more))).read_all()

    def use(self, use_id: str = "u1"):
        return next(use for use in self.control.uses("c1") if use.use_id == use_id)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in reversed(self.log.find(limit=1000))]


@pytest.fixture
def node(db: Database, hospital: Hospital, tmp_path: Path) -> Plane:
    return Plane(db, hospital, tmp_path)


def test_life_of_a_query(node) -> None:
    node.desk.open(PRICED)
    table = node.read("SELECT id, age FROM patients WHERE age < 30")
    use = node.use()
    assert (use.state, use.rows, use.fee_fen) == (
        "posted",
        table.num_rows,
        100 + 2 * table.num_rows,
    )
    assert node.kinds() == ["use.admitted", "use.released", "use.posted"]
    assert node.points[0] == "before_first_byte"
    assert "after_first_byte" in node.points


def test_nothing_leaves_before_the_release_is_durable(node) -> None:
    node.desk.open(PRICED)
    states: list[str] = []
    node.on_point = lambda point: states.append(node.use().state)
    node.read("SELECT id FROM patients")
    assert set(states) == {"released"}


def test_count_star_touches_no_column_and_is_admitted(node) -> None:
    node.desk.open(PRICED)
    assert node.read("SELECT count(*) AS n FROM patients").to_pylist() == [{"n": 270}]


def test_a_refusal_of_the_gate_is_evidence_and_costs_nothing(node) -> None:
    node.desk.open(PRICED)
    with pytest.raises(ColumnNotAgreed):
        node.query("SELECT diag FROM patients")
    assert node.kinds() == ["use.denied"]
    assert node.control.quota("c1").uses_left == 3


def test_a_group_too_small_is_given_back(node) -> None:
    node.desk.open(replace(GROUPS, uses_max=1))
    with pytest.raises(GroupTooSmall):
        node.query("SELECT count(*) FROM patients WHERE age = 999")
    assert node.use().state == "void"
    assert node.control.quota("c1").uses_left == 1
    stream = node.query("SELECT sex, count(*) AS n FROM patients GROUP BY sex", "u2")
    assert stream.groups_withheld is False
    assert len(list(stream)) >= 1


def test_an_engine_failure_is_given_back(node) -> None:
    node.desk.open(PRICED)
    with pytest.raises(QueryFailed):
        node.query("SELECT CASE WHEN name = 'x' THEN name ELSE 5 END FROM patients")
    assert node.use().state == "void"
    with pytest.raises(UseAlreadySpent):  # the id is used up all the same
        node.query("SELECT id FROM patients")


def test_one_use_too_many_another_purpose_another_peer(node) -> None:
    node.desk.open(replace(PRICED, uses_max=1))
    node.read("SELECT id FROM patients")
    codes = []
    for attempt in (
        lambda: node.query("SELECT id FROM patients", "u2"),
        lambda: node.plane.query(PEER, Query("c1", "u3", "SELECT id FROM patients", "marketing")),
        lambda: node.plane.query("did:web:x", Query("c1", "u4", "SELECT id FROM labs", "research")),
    ):
        with pytest.raises(YunheError) as refusal:
            attempt()
        codes.append(refusal.value.code)
    assert len(set(codes)) == 3
    assert codes[2] == "NOT_FOUND"
    assert len(node.control.uses("c1")) == 1


def test_rows_over_the_grant(node) -> None:
    node.desk.open(replace(PRICED, rows_max=100))
    with pytest.raises(RowsOverLimit):
        node.query("SELECT id FROM labs")
    assert node.use().state == "void"
    assert node.read("SELECT id FROM labs LIMIT 100", "u2").num_rows == 100
    with pytest.raises(RowsOverLimit):  # the caller may lower it
        node.query("SELECT id FROM labs LIMIT 100", "u3", rows_max=99)


BIG = "SELECT a.id, b.value, c.value AS v, 'text ' || a.id AS t FROM labs a, labs b, labs c"


def test_a_client_that_leaves_pays_for_what_left(node) -> None:
    node.desk.open(PRICED)
    stream = node.query(BIG)
    for _ in range(3):
        next(stream)
    stream.close()
    stream.close()
    use = node.use()
    assert (use.state, use.rows, use.bytes) == ("posted", stream.rows, stream.byte_count)
    assert use.rows > 0
    assert not use.complete
    with pytest.raises(StopIteration):
        next(stream)


def test_a_client_may_leave_while_another_thread_waits_for_bytes(node) -> None:
    node.desk.open(PRICED)
    stream = node.query(BIG)
    ended: list[str] = []

    def read() -> None:
        try:
            for _ in stream:
                pass
            ended.append("end")
        except WorkerLost:
            ended.append("lost")

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.05)
    stream.close()
    reader.join(timeout=5)
    assert ended in (["lost"], ["end"])
    assert node.use().state == "posted"
    assert not node.use().complete


def test_a_client_that_never_reads_pays_the_use_only(node) -> None:
    node.desk.open(PRICED)
    node.query(BIG).close()
    assert (node.use().rows, node.use().fee_fen) == (0, 100)


def test_termination_cuts_a_running_stream_within_a_second(node) -> None:
    node.desk.open(PRICED)
    stream = node.query(BIG)
    next(stream)
    node.desk.terminate()
    ended = time.monotonic()
    with pytest.raises(ContractTerminated):
        for _ in stream:
            pass
    assert time.monotonic() - ended < 1.5
    assert node.use().state == "posted"
    assert not node.use().complete


def test_termination_ends_a_query_that_has_not_answered_yet(node) -> None:
    node.desk.open(PRICED)
    timer = threading.Timer(0.2, node.desk.terminate)
    timer.start()
    with pytest.raises(ContractTerminated):
        node.query(
            "SELECT count(*) AS n FROM labs a, labs b, labs c, labs d WHERE a.value + b.value "
            "+ c.value + d.value < 0"
        )
    timer.join()
    assert node.use().state == "void"
    with pytest.raises(ContractTerminated):
        node.query("SELECT id FROM patients", "u2")


def test_a_worker_lost_in_the_stream_is_posted_as_far_as_it_came(node) -> None:
    node.desk.open(PRICED)
    stream = node.query(BIG)
    next(stream)
    stream._running._process._child.kill()
    with pytest.raises(WorkerLost):
        for _ in stream:
            pass
    assert (node.use().state, node.use().complete) == ("posted", False)


def full(_tx: Tx) -> None:
    """A commit hook: the disk is full."""
    raise StorageFull


def test_a_use_that_could_not_be_posted_is_posted_when_the_disk_has_room(node, db) -> None:
    node.desk.open(PRICED)
    stream = node.query("SELECT id FROM patients")
    db.before_commit.append(full)
    with pytest.raises(StorageFull):
        list(stream)  # all bytes left, but the stream must not end as if all were well
    assert node.plane.catch_up() == 1
    db.before_commit.remove(full)
    assert node.use().state == "released"
    assert node.plane.catch_up() == 0
    use = node.use()
    assert (use.state, use.rows, use.complete) == ("posted", stream.rows, True)
    assert node.plane.catch_up() == 0


def test_a_use_that_could_not_be_voided_is_voided_when_the_disk_has_room(node, db) -> None:
    node.desk.open(PRICED)

    def filling(sql: str) -> None:
        db.before_commit.append(full)
        raise QueryFailed(sql)

    node.plane._run = lambda *_args: filling("the disk fills while the query runs")
    with pytest.raises(QueryFailed):
        node.query("SELECT id FROM patients")
    db.before_commit.remove(full)
    assert (node.use().state, node.control.quota("c1").uses_left) == ("reserved", 2)
    assert node.plane.catch_up() == 0
    assert (node.use().state, node.control.quota("c1").uses_left) == ("void", 3)


def test_explain_charges_nothing(node) -> None:
    node.desk.open(PRICED)
    governed = node.plane.explain(PEER, "c1", "SELECT id FROM patients")
    assert governed.fields == {"patients.id"}
    assert node.kinds() == []


def test_a_pseudonym_belongs_to_one_contract(node, hospital) -> None:
    node.desk.open(PRICED)
    node.desk.open(PRICED, "c2")
    sql = "SELECT name FROM patients WHERE id = 1"
    one = node.read(sql).to_pylist()
    two = pa.ipc.open_stream(
        b"".join(node.plane.query(PEER, Query("c2", "u2", sql, "research")))
    ).read_all()
    assert one != two.to_pylist()
    plain = hospital.run(Job("SELECT name FROM data.patients WHERE id = 1"))[0].to_pylist()
    assert plain not in (one, two.to_pylist())
