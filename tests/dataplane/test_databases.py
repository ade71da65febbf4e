"""Databases through the whole door: one use, one charge, no word and no row too many."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from dataplane.hospital import ROWS
from dataplane.test_service import PEER, Desk
from dataplane.twins import CLEAR, fill, frames
from yunhe.contracts import Terms, Watermark
from yunhe.control import Control
from yunhe.dataplane import (
    Databases,
    DataPlane,
    DataUnavailable,
    Pool,
    Query,
    QueryFailed,
    TableBinding,
    govern,
)
from yunhe.evidence import EvidenceLog
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.keys import KeyStore
from yunhe.sources import Connections, SourceAway, SourceDrifted, open_live, parse


class Node:
    """A provider whose only tables lie in a PostgreSQL."""

    def __init__(self, db: Database, pool: Pool, folder: Path, url: str) -> None:
        self.url = url
        found = fill("postgresql", folder, url, frames())
        table = {"kind": "postgresql", "password": "env:YUNHE_TEST_PASSWORD", **found.values}
        self.connections = Connections({"his": table})
        self.folder = folder / "pulled"
        databases = Databases(self.open, self.folder)
        self.log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "hospital.example/log")
        self.log.install()
        self.desk = Desk(db)
        self.tables = {
            name: TableBinding(
                {c.name: c.type for c in self.open(f"postgresql:his/{name}").shape()},
                (),
                "id",
                (f"postgresql:his/{name}",),
            )
            for name in ("patients", "labs")
        }
        self.control = Control(db, self.log)
        self.plane = DataPlane(
            db=db,
            evidence=self.log,
            contracts=self.desk,
            control=self.control,
            tables=lambda contract: self.tables,
            pool=pool,
            mask_secret=b"secret",
            crash=CrashPoints(),
            databases=databases,
        )

    def open(self, source: str):
        return open_live(parse(source), self.connections)

    def do(self, sql: str) -> None:
        engine = sa.create_engine(
            sa.make_url(self.url).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
        )
        with engine.connect() as con:
            con.exec_driver_sql(sql)
        engine.dispose()

    def ask(self, sql: str, use_id: str = "u1") -> pa.Table:
        with self.plane.query(PEER, Query("c1", use_id, sql, "research")) as stream:
            return pa.ipc.open_stream(b"".join(stream)).read_all()

    def kinds(self) -> list[str]:
        return [entry.kind for entry in reversed(self.log.find(limit=1000))]


@pytest.fixture
def node(
    tmp_path: Path,
    clock: ManualClock,
    pool: Pool,
    pg_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Node]:
    monkeypatch.setenv("YUNHE_TEST_PASSWORD", "CANARY-PASSWORD")
    db = open_database(f"sqlite:///{tmp_path / 'node.db'}", clock)
    create_all(db)
    yield Node(db, pool, tmp_path, pg_url)
    db.close()


def _open(node: Node, terms: Terms = CLEAR) -> None:
    node.desk.open(terms)


def test_the_database_says_nothing_to_the_caller(node: Node) -> None:
    _open(node)
    node.do("ALTER TABLE labs RENAME TO gone")
    with pytest.raises((QueryFailed, DataUnavailable)) as refused:
        node.ask("SELECT count(*) FROM labs")
    assert "gone" not in str(refused.value.problem())
    assert "relation" not in str(refused.value)


def test_a_column_gone_or_changed_refuses_before_anything_is_charged(node: Node) -> None:
    _open(node)
    assert node.ask("SELECT count(*) n FROM labs", "a").to_pylist() == [{"n": 900}]
    node.do("ALTER TABLE labs ALTER COLUMN code TYPE text")
    time.sleep(1.2)  # what was seen counts that long
    with pytest.raises(SourceDrifted):
        node.ask("SELECT code, count(*) FROM labs GROUP BY code", "b")
    assert node.ask("SELECT count(*) n FROM labs", "c").to_pylist() == [{"n": 900}]


def test_a_database_away_is_no_fault_of_the_consumer(node: Node) -> None:
    node.connections = Connections(
        {"his": {"kind": "postgresql", "host": "/nowhere", "database": "x", "user": "yunhe"}}
    )
    _open(node)
    with pytest.raises(DataUnavailable) as refused:
        node.ask("SELECT count(*) FROM labs")
    assert "nowhere" not in str(refused.value)
    with pytest.raises(SourceAway):
        node.open("postgresql:his/labs").profile()


def test_what_was_shipped_is_gone_after_the_use(node: Node) -> None:
    _open(node)
    assert node.ask("SELECT id, lower(name) x FROM patients WHERE id < 9").num_rows == 8
    assert not [each for each in node.folder.iterdir() if each.is_dir()]


def test_a_masked_or_filtered_row_never_leaves_the_database(node: Node) -> None:
    """The policy's filter runs there, for every way a query can be done."""
    _open(node)
    node.do("SELECT pg_stat_reset()")
    for at, sql in enumerate(
        (
            "SELECT * FROM patients",
            "SELECT count(*) FROM patients",
            "SELECT max(name) FROM patients",
        )
    ):
        governed = node.plane.explain(PEER, "c1", sql)
        plan = node.plane._databases.planned(governed, node.tables)
        assert all("\"region\" = 'east'" in fetch.sql for fetch in plan.fetches)
        assert "CANARY" not in str(node.ask(sql, f"m{at}").to_pylist())


@pytest.mark.parametrize(
    "text",
    ["a'' OR ''1''=''1", "\\'' OR 1=1 --", "$$; DROP TABLE labs; $$", "%s {0} :x ?", "/* */ \\x27"],
)
def test_a_text_is_a_text(node: Node, text: str) -> None:
    _open(node)
    sql = f"SELECT count(*) n FROM patients WHERE name = '{text}' OR name IN ('{text}')"
    assert node.ask(sql).to_pylist() == [{"n": 0}]
    assert node.ask("SELECT count(*) n FROM labs", "u2").to_pylist() == [{"n": 900}]


def test_nothing_that_can_raise_on_a_row_is_said_to_the_database(node: Node) -> None:
    """Else a hidden row would be noticed by the error it makes there."""
    _open(node)
    for sql in (
        "SELECT count(*) FROM patients WHERE 1 / (id - 10) > 0",
        "SELECT count(*) FROM patients WHERE CAST(name AS INT) > 0",
        "SELECT count(*) FROM patients WHERE id * 9223372036854775807 > 0",
        "SELECT sum(id * 4611686018427387904) FROM patients WHERE name LIKE '%a'",
    ):
        governed = node.plane.explain(PEER, "c1", sql)
        (fetch,) = node.plane._databases.planned(governed, node.tables).fetches
        assert "GROUP" not in fetch.sql
        assert not any(sign in fetch.sql for sign in ("/", "*", "CAST", "LIKE"))
        node.ask(sql, f"r{len(sql)}")


def test_nothing_can_be_written(node: Node) -> None:
    """Not even by SQL of ours: the session is read only at the server."""
    from yunhe.sources import Bounds, Failed, Stop

    table = node.open("postgresql:his/labs")
    for sql in ("DELETE FROM labs", "CREATE TABLE x (a int)", "SELECT pg_sleep(5)"):
        with pytest.raises(Failed):
            table.fetch(sql, [("a", "BIGINT")], node.folder / "x.parquet", Bounds(0.5), Stop())


def test_the_end_of_a_contract_cancels_the_query_in_the_database(node: Node) -> None:
    _open(node)
    node.do("CREATE TABLE slow AS SELECT i::bigint AS id FROM generate_series(1, 3000) i")
    node.tables["slow"] = TableBinding({"id": "BIGINT"}, (), "id", ("postgresql:his/slow",))
    node.desk.open(replace(ROWS, columns=("slow.id",), row_filters=(), masks=()), "c2")
    timer = threading.Timer(1.0, lambda: node.desk.terminate("c2"))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Exception) as refused:
        node.plane.query(
            PEER,
            Query("c2", "u1", "SELECT count(*) FROM slow a, slow b, slow c", "research"),
        )
    timer.join()
    assert time.monotonic() - begun < 6
    assert refused.value.code == "CONTRACT_TERMINATED"


def test_a_use_of_a_database_is_one_use(node: Node) -> None:
    _open(node)
    node.ask("SELECT sex, count(*) FROM patients GROUP BY sex")
    assert node.kinds() == ["use.admitted", "use.released", "use.posted"]


def test_the_schema_is_told_without_asking_the_database(node: Node) -> None:
    _open(node)
    shapes = node.plane.shapes(PEER, "c1")
    schema = pa.ipc.read_schema(pa.py_buffer(shapes["labs"]))
    assert schema.names == ["id", "value", "code", "big", "seen", "rare"]
    said = node.plane.describe(PEER, "c1", "SELECT code, sum(big) s FROM labs GROUP BY code")
    assert pa.ipc.read_schema(pa.py_buffer(said)).names == ["code", "s"]


class _Laid:
    """A supply that has laid the files of one table down elsewhere than the form says."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def files(self, resource, table, origins, columns, needed) -> tuple[str, ...]:
        return (self.file,) if table == "notes" else tuple(origins)


def test_a_schema_beside_a_snapshot_is_told_of_the_snapshot(node: Node, tmp_path: Path) -> None:
    _open(node, replace(CLEAR, columns=(*CLEAR.columns, "notes.id", "notes.grade")))
    pq.write_table(pa.table({"id": [1], "grade": ["a"]}), tmp_path / "laid.parquet")
    types = {"id": "BIGINT", "grade": "VARCHAR"}
    node.tables["notes"] = TableBinding(types, ("/gone/notes.csv",), "id", ("csv:notes.csv",), "r")
    node.plane._supply = _Laid(tmp_path / "laid.parquet")
    shapes = node.plane.shapes(PEER, "c1")
    assert pa.ipc.read_schema(pa.py_buffer(shapes["notes"])).names == ["id", "grade"]
    said = node.plane.describe(PEER, "c1", "SELECT count(*) AS n FROM patients")
    assert pa.ipc.read_schema(pa.py_buffer(said)).names == ["n"]


def test_explain_says_what_the_database_does(node: Node) -> None:
    _open(node)
    told = node.plane.explain(PEER, "c1", "SELECT sex, count(*) FROM patients GROUP BY sex").pushed
    assert told == ("postgresql: patients: groups",)
    told = node.plane.explain(PEER, "c1", "SELECT lower(name) FROM patients").pushed
    assert told[0].startswith("postgresql: patients: rows with 3 columns and 2 conditions")


def test_aggregate_only_withholds_small_groups(node: Node) -> None:
    _open(node, replace(CLEAR, minimum_group=10))
    answer = node.ask("SELECT sex, count(*) n FROM patients GROUP BY sex ORDER BY n")
    assert answer.num_rows == 3
    assert min(answer["n"].to_pylist()) >= 10
    with pytest.raises(Exception) as refused:
        node.ask('SELECT count(*) FROM patients WHERE "Age" = 20', "u2")
    assert refused.value.code == "GROUP_TOO_SMALL"
    asked = "SELECT sex, count(*) n FROM patients GROUP BY sex ORDER BY n"
    groups, places = node.plane.explain(PEER, "c1", asked).pushed
    assert groups == "postgresql: patients: groups; 3 rows shipped the last time"
    found = re.fullmatch(r"postgresql: patients: (.*); (\d+) rows shipped the last time", places)
    assert found is not None
    assert found[1] == "groups, entities by their places"
    assert int(found[2]) < 270, "fewer than there are entities"


def test_a_difference_of_few_is_refused_whichever_way_either_query_is_done(node: Node) -> None:
    """One is made in the database, the other here: their prints are compared all the same."""
    _open(node, replace(CLEAR, minimum_group=10))
    asked = 'SELECT count(*) n, sum("Age") s FROM patients'
    assert node.ask(asked).num_rows == 1
    few = "phone IN ('44-3', '44-63', '44-123')"
    all_but_a_few = f"{asked} WHERE length(name) < 10 AND NOT ({few} AND smoker)"
    plan = node.plane._databases.planned(
        govern(all_but_a_few, node.tables, node.desk.made["c1"].terms),
        node.tables,
    )
    assert not any("GROUP BY" in fetch.sql for fetch in plan.fetches)
    with pytest.raises(Exception) as refused:
        node.ask(all_but_a_few, "u2")
    assert refused.value.code == "QUERY_OVERLAP"


def test_profile_and_sample(node: Node) -> None:
    profile = node.open("postgresql:his/labs").profile()
    assert profile.rows == 900
    assert profile.types()["value"] == "DOUBLE"
    rare = next(c for c in profile.columns if c.name == "rare")
    assert rare.null_fraction == 0.2
    assert len(node.open("postgresql:his/labs").sample(3)) == 3
    with pytest.raises(SourceAway):
        node.open("postgresql:his/nothing").profile()


def test_what_comes_from_a_database_is_marked_too(node: Node) -> None:
    said = Watermark.parse("key=labs.id;share=1;labs.value=0.5")
    queries = ("SELECT id, value FROM labs", "SELECT id, value FROM labs ORDER BY id LIMIT 50")
    _open(node)
    plain = [node.ask(sql, f"p{at}").sort_by("id") for at, sql in enumerate(queries)]
    _open(node, replace(CLEAR, watermark=said))
    for at, sql in enumerate(queries):
        marked = node.ask(sql, f"m{at}").sort_by("id")
        assert marked["value"].to_pylist() != plain[at]["value"].to_pylist()
    assert node.kinds().count("use.marked") == 2
