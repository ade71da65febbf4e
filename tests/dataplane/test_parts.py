"""One result for several readers: one use, one charge, one bound; handles of other processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import flight

from dataplane.hospital import Hospital
from dataplane.test_protocols import FlightSql, Known
from dataplane.test_service import PEER, Plane
from flow.world import until
from yunhe.contracts import Terms
from yunhe.dataplane import PartingPlane, Pool, Query, TableBinding
from yunhe.dataplane.parts import Groups, shares
from yunhe.kernel import limits
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError
from yunhe.protocols.flight import proto
from yunhe.protocols.flight.desk import Desk
from yunhe.protocols.flight.reading import Watch
from yunhe.protocols.flight.server import Server

TERMS = Terms(("research",), ("t.n", "t.word"))
ALL = "SELECT n, word FROM t WHERE n % 7 <> 3"
ROWS = sum(n % 7 != 3 for n in range(40_000))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TableBinding:
    folder = tmp_path_factory.mktemp("files")
    files = []
    for at in range(4):
        file = folder / f"t{at}.parquet"
        span = f"range({at * 10_000}, {at * 10_000 + 10_000}) r(i)"
        rows = f"SELECT i AS n, 'word ' || i AS word FROM {span}"
        duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
        files.append(str(file))
    return TableBinding({"n": "BIGINT", "word": "VARCHAR"}, tuple(files))


@pytest.fixture
def node(db: Database, pool: Pool, table: TableBinding, tmp_path: Path) -> Plane:
    made = Plane(db, Hospital({"t": table}, pool, tmp_path), tmp_path)
    made.plane.__class__ = PartingPlane
    return made


@pytest.fixture
def face(node: Plane) -> Iterator[FlightSql]:
    made = FlightSql(node)
    yield made
    made.close()


def info(face: FlightSql, sql: str) -> Any:
    command = proto.wrap("CommandStatementQuery", proto.message((1, sql.encode())))
    return face._client.get_flight_info(flight.FlightDescriptor.for_command(command), HEAD)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableBinding:
    """One file of twenty row groups, two of them shorter, large enough to be cut."""
    file = tmp_path / "large.parquet"
    rows = "SELECT i AS n, 'word ' || i AS word FROM range(40_000) r(i)"
    duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    monkeypatch.setattr(limits, "PART_BYTES_MIN", 32 << 10)
    return TableBinding({"n": "BIGINT", "word": "VARCHAR"}, (str(file),))


def whole(parted: Any) -> list[int]:
    tables = [
        pa.ipc.open_stream(b"".join(parted.open(at))).read_all() for at in range(parted.count)
    ]
    assert all(table.num_rows for table in tables)
    return sorted(pa.concat_tables(tables)["n"].to_pylist())


def test_one_large_file_is_cut_by_row_groups_into_one_use(node: Plane, large: TableBinding) -> None:
    node.plane._tables = lambda _contract: {"t": large}
    node.desk.open(replace(TERMS, uses_max=1))
    parted = node.plane.parted(PEER, Query("c1", "u1", ALL, "research"))
    assert parted is not None
    assert parted.count == 3
    spans = [share.rows for share in parted.cut.shares]
    assert [end - first for first, end in spans] == [14_336, 14_336, 11_328]
    assert whole(parted) == [n for n in range(40_000) if n % 7 != 3]
    use = node.use()
    assert (use.state, use.rows, use.complete) == ("posted", ROWS, True)
    assert node.control.quota("c1").uses_left == 0


def test_the_bounds_hold_over_the_row_groups_of_one_file(node: Plane, large: TableBinding) -> None:
    node.plane._tables = lambda _contract: {"t": large}
    node.desk.open(replace(TERMS, rows_max=25_000))
    parted = node.plane.parted(PEER, Query("c1", "u1", "SELECT n FROM t", "research"))
    assert parted is not None
    given = 0
    for at in range(parted.count):
        stream = parted.open(at)
        with contextlib.suppress(YunheError):
            for _ in stream:
                pass
        given += stream.rows
    assert 0 < given <= 25_000
    assert (node.use().rows, node.use().complete) == (given, False)


def test_a_file_written_anew_between_asking_and_reading_is_told(
    node: Plane, large: TableBinding
) -> None:
    node.plane._tables = lambda _contract: {"t": large}
    node.desk.open(TERMS)
    asked = [node.plane.parted(PEER, Query("c1", use, ALL, "research")) for use in ("u1", "u2")]
    first, second = asked
    assert first is not None
    assert second is not None
    list(first.open(0))
    (file,) = large.source
    duckdb.execute(f"COPY (SELECT 1 AS n, 'x' AS word) TO '{file}' (FORMAT parquet)")
    for parted, at in ((first, 1), (second, 0)):
        with pytest.raises(YunheError, match="PARTS_CHANGED"):
            parted.open(at)
    first.drop(2)
    uses = {use.use_id: use.state for use in node.control.uses("c1")}
    assert uses == {"u1": "posted"}


def test_a_table_with_the_engines_own_name_for_rows_is_read_as_one(
    node: Plane, large: TableBinding
) -> None:
    (file,) = large.source
    rows = "SELECT i AS n, 'w' || hash(i) AS word, i % 3 AS \"File_Row_Number\""
    span = "FROM range(40_000) r(i)"
    duckdb.execute(f"COPY ({rows} {span}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    node.plane._tables = lambda _contract: {"t": large}
    node.desk.open(TERMS)
    assert node.plane.parted(PEER, Query("c1", "u1", ALL, "research")) is None
    stream = node.plane.query(PEER, Query("c1", "u1", ALL, "research"))
    assert pa.ipc.open_stream(b"".join(stream)).read_all().num_rows == ROWS


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=5),
    st.integers(2, 4),
    st.integers(1, 4),
)
def test_shares_hold_every_row_once(files: list[list[int]], most: int, each: int) -> None:
    names = [f"f{at}" for at in range(len(files))]
    groups = {name: Groups(tuple(of), each) for name, of in zip(names, files, strict=True)}
    made = shares(names, groups, most)
    assert len(made) <= most
    for name, of in zip(names, files, strict=True):
        mine = [share for share in made if name in share.files]
        if mine[0].rows is None:
            assert len(mine) == 1
            continue
        borders = [0, *(share.rows[1] for share in mine if share.rows)]
        assert [share.rows for share in mine] == list(pairwise(borders))
        assert borders[-1] == sum(of)
        assert len(mine) <= each


HEAD = flight.FlightCallOptions(timeout=30, headers=[(b"x-agreement-id", b"c1")])


def test_the_parts_are_the_whole_and_one_use(face: FlightSql, node: Plane) -> None:
    node.desk.open(replace(TERMS, uses_max=1))
    tickets = [each.ticket for each in info(face, ALL).endpoints]
    assert len(tickets) == 3  # as many as there are workers
    read: list[Any] = []
    threads = [
        threading.Thread(target=lambda t=each: read.append(face._client.do_get(t, HEAD).read_all()))
        for each in tickets
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    whole = pa.concat_tables(read).sort_by("n")
    assert whole.num_rows == ROWS
    assert whole["n"].to_pylist() == [n for n in range(40_000) if n % 7 != 3]
    until("the post", lambda: node.control.uses("c1")[0].state == "posted")
    (use,) = node.control.uses("c1")
    assert (use.rows, use.complete) == (ROWS, True)
    assert node.control.quota("c1").uses_left == 0
    for ticket in tickets:
        with pytest.raises(flight.FlightError, match="TICKET_REFUSED"):
            face._client.do_get(ticket, HEAD).read_all()


@pytest.mark.parametrize(
    "sql",
    [
        f"{ALL} ORDER BY n",
        f"{ALL} LIMIT 5",
        "SELECT DISTINCT n FROM t",
        "SELECT count(*) AS c FROM t",
        "SELECT n FROM t UNION ALL SELECT n FROM t",
        "SELECT a.n FROM t a JOIN t b ON a.n = b.n",
        "SELECT n, row_number() OVER (ORDER BY n) AS r FROM t",
        "SELECT n FROM t WHERE n IN (SELECT n FROM t WHERE n < 5)",
    ],
)
def test_what_is_more_than_its_files_is_read_as_one(face: FlightSql, node: Plane, sql: str) -> None:
    node.desk.open(TERMS)
    assert len(info(face, sql).endpoints) == 1


def test_the_bounds_are_of_all_parts_together(node: Plane) -> None:
    node.desk.open(replace(TERMS, rows_max=25_000))
    parted = node.plane.parted(PEER, Query("c1", "u1", "SELECT n FROM t", "research"))
    assert parted is not None
    given, codes = 0, []
    for at in range(parted.count):
        stream = parted.open(at)
        try:
            for _ in stream:
                pass
        except YunheError as cut:
            codes.append(cut.code)
        given += stream.rows
    use = node.use()
    assert (use.state, use.rows, use.complete) == ("posted", given, False)
    assert 0 < given <= 25_000
    assert set(codes) == {"ROWS_OVER_LIMIT"}


def test_a_part_nobody_reads_is_given_up_and_the_rest_is_posted(node: Plane) -> None:
    node.desk.open(TERMS)
    parted = node.plane.parted(PEER, Query("c1", "u1", ALL, "research"))
    assert parted is not None
    rows = pa.ipc.open_stream(b"".join(parted.open(1))).read_all().num_rows
    assert node.use().state == "released"
    parted.drop(0)
    with pytest.raises(YunheError, match="PART_UNKNOWN"):
        parted.open(0)
    with pytest.raises(YunheError, match="PART_UNKNOWN"):
        parted.open(1)
    parted.expire()
    use = node.use()
    assert (use.state, use.rows, use.complete) == ("posted", rows, False)


def test_a_termination_ends_every_part(node: Plane) -> None:
    node.desk.open(TERMS)
    parted = node.plane.parted(PEER, Query("c1", "u1", ALL, "research"))
    assert parted is not None
    list(parted.open(0))
    node.desk.terminate()
    for at in (1, 2):
        with pytest.raises(YunheError, match="CONTRACT_TERMINATED"):
            list(parted.open(at))
    assert (node.use().state, node.use().complete) == ("posted", False)


def test_a_termination_as_the_first_part_begins_leaves_no_use_open(
    node: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late it comes: the use is void or posted, and its worker is free again."""
    release, desk = node.plane._release, node.desk
    for each in ("c1", "c2", "c3", "c4"):  # more than there are workers

        def late(begun: Any, contract_id: str = each) -> None:
            release(begun)
            desk.terminate(contract_id)

        monkeypatch.setattr(node.plane, "_release", late)
        desk.open(TERMS, each)
        parted = node.plane.parted(PEER, Query(each, f"u {each}", ALL, "research"))
        assert parted is not None
        with contextlib.suppress(YunheError):
            list(parted.open(0))
        parted.expire()
        assert [use.state for use in node.control.uses(each)] == ["posted"]


def test_a_stock_client_reads_all_parts(face: FlightSql, node: Plane) -> None:
    node.desk.open(TERMS)
    options = {"adbc.flight.sql.rpc.call_header.x-agreement-id": "c1"}
    uri = f"grpc://127.0.0.1:{face._server.port}"
    with (
        flightsql.connect(uri, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(ALL)
        assert cursor.fetch_arrow_table().num_rows == ROWS
    until("the post", lambda: [use.state for use in node.control.uses("c1")] == ["posted"])
    assert node.control.uses("c1")[0].rows == ROWS


def test_a_ticket_of_another_process_says_so(node: Plane) -> None:
    node.desk.open(TERMS)
    faces = []
    for secret in (b"of the node", b"of the node", b"of another node"):
        watch = Watch()
        server = Server("grpc://127.0.0.1:0", Known(node), Desk(watch, secret))  # type: ignore[arg-type]
        faces.append((server, flight.FlightClient(f"grpc://127.0.0.1:{server.port}")))
    try:
        command = proto.wrap("CommandStatementQuery", proto.message((1, ALL.encode())))
        told = faces[0][1].get_flight_info(flight.FlightDescriptor.for_command(command), HEAD)
        for client, code in ((faces[1][1], "HANDLE_ELSEWHERE"), (faces[2][1], "TICKET_REFUSED")):
            with pytest.raises(flight.FlightError, match=code):
                client.do_get(told.endpoints[0].ticket, HEAD).read_all()
        assert not node.control.uses("c1")
    finally:
        for server, client in faces:
            client.close()
            server.shutdown()
