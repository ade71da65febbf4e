"""A Spark Connect engine through the whole door: one use, one charge, only words of ours."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dataplane.sail import Lake, lake
from dataplane.test_service import PEER, Desk
from yunhe.contracts import Aggregates, Privacy, Terms, Watermark
from yunhe.control import Control, QueryOverlap
from yunhe.dataplane import (
    Binding,
    DataPlane,
    DataUnavailable,
    GroupTooSmall,
    Job,
    Pool,
    Query,
    QueryFailed,
    govern,
)
from yunhe.dataplane.errors import EngineCannot
from yunhe.dataplane.pushdown_prints import key_of
from yunhe.evidence import EvidenceLog
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import KeyStore
from yunhe.kernel.settings import BadSetting
from yunhe.sources import (
    Bounds,
    Connections,
    Failed,
    LocatorNotValid,
    SourceAway,
    SourceExtraMissing,
    Stop,
    open_live,
    parse,
    spark_connect,
)

PAY = """
    SELECT i AS pid, 20 + i % 60 AS age, i % 7 AS dept, 5000 + (i * 7919) % 900 AS salary,
        CASE WHEN i % 10 = 0 THEN 'west' ELSE 'east' END AS region,
        CASE WHEN i % 10 = 0 THEN 'CANARY' ELSE i::VARCHAR END AS code,
        CASE WHEN i % 10 = 0 THEN DATE '5000000-01-01' ELSE DATE '2020-01-01' END AS day,
        (CASE WHEN i % 10 = 0 THEN 0 ELSE 3 END)::DOUBLE AS part, 'x' AS "it`s ${HOME} odd"
    FROM range(420) t(i)
"""
BIG = "SELECT i AS pid, i % 300 AS k, hash(i)::DOUBLE AS v FROM range(300000) t(i)"
COLUMNS = tuple(f"pay.{name}" for name in ("pid", "age", "dept", "salary", "code", "day", "part"))
ROWS = Terms(("research",), COLUMNS, row_filters=(("pay", "region = 'east'"),))
GROUPS = replace(ROWS, minimum_group=10)


class Node:
    """A provider whose only tables lie in a lake."""

    def __init__(self, db: Database, pool: Pool, found: Lake, folder: Path) -> None:
        self.lake = found
        self.log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "hospital.example/log")
        self.log.install()
        self.desk = Desk(db)
        self.plane = DataPlane(
            db=db,
            evidence=self.log,
            contracts=self.desk,
            control=Control(db, self.log),
            tables=lambda contract: found.stored,
            pool=pool,
            mask_secret=b"secret",
            crash=CrashPoints(),
            databases=found.databases,
        )

    def ask(self, sql: str, use_id: str = "u1") -> pa.Table:
        with self.plane.query(PEER, Query("c1", use_id, sql, "research")) as stream:
            return pa.ipc.open_stream(b"".join(stream)).read_all()

    def kinds(self) -> list[str]:
        return [entry.kind for entry in reversed(self.log.find(limit=1000))]


@pytest.fixture(scope="module")
def sail() -> Iterator[Lake]:
    with lake() as found:
        found.add("pay", duckdb.sql(PAY).to_arrow_table(), "pid")
        found.add("big", duckdb.sql(BIG).to_arrow_table(), "pid")
        yield found


@pytest.fixture
def node(tmp_path: Path, clock: ManualClock, pool: Pool, sail: Lake) -> Iterator[Node]:
    db = open_database(f"sqlite:///{tmp_path / 'node.db'}", clock)
    create_all(db)
    yield Node(db, pool, sail, tmp_path)
    db.close()


def test_the_life_of_a_query_that_an_engine_answers(node: Node) -> None:
    node.desk.open(ROWS)
    asked = "SELECT dept, count(*) AS n, avg(salary) AS mean FROM pay GROUP BY dept ORDER BY dept"
    told = node.plane.explain(PEER, "c1", asked).pushed
    assert told == ("spark: pay: the whole query",)
    answer = node.ask(asked)
    assert answer.equals(node.lake.here(asked, ROWS))
    assert node.kinds() == ["use.admitted", "use.released", "use.posted"]
    assert not [each for each in (node.lake.folder.parent / "pulled").iterdir() if each.is_dir()]
    said = node.plane.describe(PEER, "c1", asked)
    assert pa.ipc.read_schema(pa.py_buffer(said)).equals(answer.schema, check_metadata=False)
    partly = node.plane.explain(PEER, "c1", "SELECT upper(code) AS c FROM pay WHERE age < 30")
    assert partly.pushed[0].startswith("spark: pay: rows with 1 columns; a part; UPPER stays here")


def test_a_minimum_group_is_judged_here_of_what_is_counted_there(node: Node) -> None:
    node.desk.open(GROUPS)
    node.ask("SELECT sum(salary) AS s FROM pay", "all")
    told = node.plane.explain(PEER, "c1", "SELECT sum(salary) AS s FROM pay").pushed
    assert [each.partition(";")[0] for each in told] == ["spark: pay: groups"] * 2
    with pytest.raises(QueryOverlap):
        node.ask("SELECT sum(salary) AS s FROM pay WHERE NOT (age = 37 AND dept = 3)", "less")
    with pytest.raises(GroupTooSmall):
        node.ask("SELECT sum(salary) AS s FROM pay WHERE age = 37 AND dept = 3", "few")
    with pytest.raises(EngineCannot) as refused:
        node.ask("SELECT lower(code) AS c, count(*) AS n FROM pay GROUP BY 1", "odd")
    assert "CANARY" not in str(refused.value.problem())


def test_no_place_in_an_order_is_asked_of_an_engine(node: Node) -> None:
    """Its rows would be shipped and their prints made here: overlaps would not be seen."""
    node.desk.open(replace(GROUPS, aggregates=Aggregates.parse("pay.salary=count,max,sum/100")))
    node.ask("SELECT sum(salary) AS s FROM pay", "all")
    for use, told in (("max", "max(salary)"), ("both", "max(salary), sum(salary)")):
        with pytest.raises(EngineCannot, match="order"):
            node.ask(f"SELECT {told} FROM pay", use)


MARKED = replace(ROWS, watermark=Watermark.parse("key=pay.pid;share=2;pay.salary=2"))


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT pid, salary FROM pay WHERE age < 40",
        "SELECT dept, sum(salary) AS s FROM pay WHERE salary > 5500 GROUP BY dept",
    ],
)
def test_a_mark_is_made_here_and_the_engine_is_told_no_key_of_it(
    sail: Lake, pool: Pool, asked: str
) -> None:
    _, planned = sail.plan(asked, MARKED)
    (fetch,) = planned.fetches
    assert "SIN(" not in fetch.sql
    assert "SHA2" not in fetch.sql
    assert "5500" not in fetch.sql  # a condition on a marked column is one on what is marked
    here = govern(asked, sail.files, MARKED)
    keys = ("5a1f", "77c0", "3c3c")
    with sail.databases.ship(planned, sail.stored, lambda: None, "77c0", "5a1f") as shipped:
        rows = []
        for files, text in (
            (shipped.tables, planned.sql),
            ((("pay", sail.files["pay"].source),), here.sql),
        ):
            stream = pool.run(Binding(f"marks-{len(rows)}", files, *keys), Job(text))
            found = pa.ipc.open_stream(b"".join(stream)).read_all().to_pylist()
            rows.append(sorted(found, key=str))
    plain = sail.here(asked, ROWS).to_pylist()
    assert rows[0] == rows[1] != sorted(plain, key=str)
    with pytest.raises(EngineCannot):  # who stands behind a group of marked values is counted there
        sail.plan("SELECT sum(salary) AS s FROM pay", replace(MARKED, minimum_group=10))


def test_an_engine_is_told_a_key_of_prints_that_opens_nothing_else(
    sail: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prints are compared with its own only; those of files and databases have other keys."""
    asked: list[str] = []
    real = spark_connect.Session.run

    def heard(self: Any, sql: str) -> Any:
        asked.append(sql)
        return real(self, sql)

    monkeypatch.setattr(spark_connect.Session, "run", heard)
    _, planned = sail.plan("SELECT sum(salary) AS s FROM pay", GROUPS)
    secret = "the secret of the data set"
    sail.databases.ship(planned, sail.stored, lambda: None, secret, "").close()
    assert any(key_of(secret) in text for text in asked)
    assert all(secret not in text for text in asked)
    # Keyed for this data set: who knows its key can make no print of another.
    assert key_of(secret) != key_of("the secret of another data set")


def test_noise_is_made_here(node: Node) -> None:
    text = "epsilon=1;delta=0.000001;query=0.5;groups=1;rows=2;pay.salary=0..20000"
    node.desk.open(replace(GROUPS, privacy=Privacy.parse(text)))
    answer = node.ask("SELECT count(*) AS n, sum(salary) AS s FROM pay")
    assert abs(answer.to_pylist()[0]["n"] - 378) < 100
    assert b"yunhe.noise" in answer.schema.metadata


@pytest.mark.parametrize(
    "condition",
    [
        "1 / (age - 20) > 0.01",
        "CAST(code AS INT) >= 0",
        "year(day) > 2000",
        "date_trunc('month', day) > '2000-01-01'",
        "salary * 9223372036854775807 < 0 OR salary > 0",
        "1 / part < 1 AND CAST(part * 1e300 AS BIGINT) IS NULL",
        "-salary < 0 AND abs(pid) >= 0 AND pid % 5 < 5",
    ],
)
def test_no_hidden_row_can_make_the_engine_raise(sail: Lake, condition: str) -> None:
    """The rows of the west would divide by zero, be no number, or lie beyond the calendar."""
    asked = f"SELECT count(*) AS n FROM pay WHERE {condition}"
    assert sail.there(asked, ROWS)[0].equals(sail.here(asked, ROWS))


@pytest.mark.parametrize(
    "text",
    [
        "a'' OR ''1''=''1", "\\'' OR 1=1 --", "$$; DROP TABLE x; $$", "${spark.master} :p ? {0}",
        "/* */ \\x27 \\u0027", "'') UNION SELECT * FROM parquet.`/etc` --", "中''文\\",
    ],
)  # fmt: skip
def test_a_text_of_a_users_is_bytes_to_the_engine(sail: Lake, text: str) -> None:
    asked = (
        f'SELECT count(*) AS "{text}" FROM pay AS "x`y ${{z}}" '
        f"WHERE code = '{text}' OR code LIKE '%union%' OR code IN ('{text}', 'b')"
    )
    governed, planned = sail.plan(asked, ROWS)
    (fetch,) = planned.fetches
    for part in ("DROP", "UNION", "spark.master", "x`y", "--", "$", "\\", "/*"):
        assert part not in fetch.sql.replace("/tmp/", "")
    assert sail.there(asked, ROWS)[0].column(0).to_pylist() == [0]
    assert governed.names[0] not in fetch.sql


@pytest.mark.parametrize(
    "place",
    [
        "pay.parquet", "parquet./etc", "default.pay", "curated.pa`y", "curated.pay;x", "a.b.c.d",
        "../pay.parquet?format=parquet", "/etc/x?format=parquet", "a/../../b?format=parquet",
        "pay`.parquet?format=parquet", "pay*?format=parquet", "pay{a,b}?format=parquet",
        "pay.csv?format=csv", "curated.'pay'", "csv.pay", "curated.pay x", "${x}?format=parquet",
    ],
)  # fmt: skip
def test_a_locator_reaches_nothing_but_what_the_operator_named(sail: Lake, place: str) -> None:
    url, files = "sc://127.0.0.1:1", str(sail.folder)
    table = {"kind": "spark", "url": url, "files": files, "schemas": ["curated", "csv"]}
    with pytest.raises(LocatorNotValid):
        open_live(parse(f"spark:lake/{place}"), Connections({"lake": table}))


def test_a_column_with_an_unspeakable_name_is_not_there(sail: Lake) -> None:
    assert not any("odd" in column for column in sail.stored["pay"].columns)
    assert len(sail.stored["pay"].columns) == 8


@pytest.mark.parametrize(
    "url",
    ["http://x", "sc://u:p@x", "sc://x:1/;token=t", "sc://x:99999", "sc://x/;use_ssl=true;a=b"],
)
def test_an_address_is_a_host_and_a_port(url: str) -> None:
    def opened() -> None:
        table = {"kind": "spark", "url": url, "files": "/x"}
        open_live(parse("spark:lake/a?format=parquet"), Connections({"lake": table}))

    with pytest.raises((LocatorNotValid, BadSetting)):
        opened()


def test_a_token_goes_nowhere_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_TOKEN", "CANARY-TOKEN")
    url = "sc://lake.example:1"
    table = {"kind": "spark", "url": url, "files": "/x", "token": "env:LAKE_TOKEN"}
    live = open_live(parse("spark:lake/a?format=parquet"), Connections({"lake": table}))
    with pytest.raises(Failed) as refused:
        live.shape()
    assert refused.value.why == "away"
    assert "CANARY" not in repr(refused.value)


def test_an_engine_of_an_untested_version_is_not_asked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.desk.open(ROWS)
    monkeypatch.setattr(spark_connect, "TESTED", {"sail": ("0.6.0",), "spark": ("4.2.0",)})
    with pytest.raises(DataUnavailable):
        node.ask("SELECT sum(part) AS never_asked_before FROM pay")
    with pytest.raises(SourceAway) as refused:
        node.lake.open(node.lake.stored["pay"].origins[0]).profile()
    assert "not tested" in str(refused.value)


def test_without_the_extra_the_operator_is_told_its_name(
    sail: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SourceExtraMissing) as refused:
        sail.open(sail.stored["pay"].origins[0]).shape()
    assert "yunhe[spark]" in str(refused.value.problem())


def test_an_operator_may_want_nothing_shipped(node: Node) -> None:
    node.desk.open(ROWS)
    url = node.lake.connections.get("lake", "spark").text("url")
    table = {"kind": "spark", "url": url, "files": str(node.lake.folder), "otherwise": "refuse"}
    strict = Connections({"lake": table})
    was, node.lake.connections = node.lake.connections, strict
    try:
        for each in list(node.lake.databases._tables):
            del node.lake.databases._tables[each]
        node.lake.databases._plans.clear()
        assert node.ask("SELECT sum(age) / sum(part) AS q FROM pay").num_rows == 1
        with pytest.raises(EngineCannot) as refused:
            node.ask("SELECT upper(code) FROM pay", "u2")
        assert refused.value.facts == {"table": "pay", "why": "UPPER stays here"}
    finally:
        node.lake.connections = was
        node.lake.databases._tables.clear()
        node.lake.databases._plans.clear()


def test_what_the_engine_says_reaches_nobody(node: Node) -> None:
    node.desk.open(ROWS)
    asked = "SELECT max(dept) AS m FROM pay"
    node.ask(asked)
    (file,) = node.lake.folder.glob("pay-*")
    hidden = file.with_suffix(".away")
    file.rename(hidden)
    try:
        with pytest.raises((QueryFailed, DataUnavailable)) as refused:
            node.ask(asked, "u2")
    finally:
        hidden.rename(file)
    assert "pay-" not in str(refused.value.problem())
    assert node.kinds()[-1] == "use.voided"


def test_the_end_of_a_contract_ends_the_query_there(node: Node) -> None:
    node.desk.open(Terms(("research",), ("big.pid", "big.k", "big.v")))
    timer = threading.Timer(0.5, node.desk.terminate)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(YunheError) as refused:
        node.ask("SELECT sum(a.v * b.v) AS s FROM big a JOIN big b ON a.k % 100 = b.k % 100")
    assert refused.value.code == "CONTRACT_TERMINATED"
    assert time.monotonic() - begun < 6
    timer.join()


def test_a_bound_ends_the_stream_and_half_an_answer_is_none(sail: Lake, tmp_path: Path) -> None:
    live, out = sail.open(sail.stored["big"].origins[0]), tmp_path / "x.parquet"
    relation = ".".join(f"`{part}`" for part in live.relation)
    asked, columns = f"SELECT pid AS c0 FROM {relation}", [("c0", "BIGINT")]
    with pytest.raises(Failed) as refused:
        live.fetch(asked, columns, out, Bounds(20, rows=1000), Stop())
    assert refused.value.why == "rows"
    stop = Stop()
    with contextlib.closing(_stopped(stop, 0.3)), pytest.raises(Failed) as refused:
        live.fetch(f"{asked} CROSS JOIN range(100)", columns, out, Bounds(20), stop)
    assert refused.value.why == "time"
    with pytest.raises(Failed):
        live.fetch("SELECT raise_error('CANARY') AS c0", columns, out, Bounds(20), Stop())


class _stopped:  # noqa: N801 - reads as what it does
    def __init__(self, stop: Stop, after: float) -> None:
        self._timer = threading.Timer(after, stop.now)
        self._timer.start()

    def close(self) -> None:
        self._timer.join()


def test_profile_and_sample(sail: Lake) -> None:
    live = sail.open(sail.stored["pay"].origins[0])
    assert live.profile().rows == 420
    assert live.profile().types() == dict(sail.stored["pay"].columns)
    assert live.sample(2)[1]["code"] == "1"
