"""Volume, hours and region where they bite: at the admission, in a stream, over protocols."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from dataplane.hospital import ROWS, Hospital
from dataplane.test_protocols import FlightSql, Http, Refused
from dataplane.test_service import BIG, PEER, Plane
from yunhe.contracts import Frequency, Hours
from yunhe.control import UseDeniedError
from yunhe.dataplane import BytesOverLimit, DataPlane, Query, RowsOverLimit
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError

# The test's clock starts on Thursday 2026-01-01 00:00 UTC, 08:00 in Shanghai.
MORNING = Hours("Thu 08:00-09:00")
ALL = "SELECT id FROM patients"  # 270 rows


@pytest.fixture
def node(db: Database, hospital: Hospital, tmp_path: Path) -> Plane:
    return Plane(db, hospital, tmp_path)


def refused(node: Plane, sql: str, use_id: str) -> YunheError:
    with pytest.raises(YunheError) as refusal:
        list(node.query(sql, use_id))
    return refusal.value


# --- volume ------------------------------------------------------------------------------------


def test_rows_of_all_uses_are_counted_and_their_rest_is_given_back(node: Plane) -> None:
    node.desk.open(replace(ROWS, rows_total=300))
    assert node.read(ALL).num_rows == 270
    assert node.control.quota("c1").rows_left == 30
    with pytest.raises(RowsOverLimit, match="30"):  # nothing has left: not charged
        node.query(ALL, "u2")
    assert node.control.quota("c1").rows_left == 30
    assert node.read(f"{ALL} LIMIT 30", "u3").num_rows == 30
    error = refused(node, f"{ALL} LIMIT 1", "u4")
    assert (error.code, error.facts["expected"]) == ("TOTAL_ROWS_SPENT", "300")
    assert [use.rows for use in node.control.uses("c1", ["posted"])] == [270, 30]


def test_a_running_stream_is_cut_at_exactly_the_last_row(node: Plane) -> None:
    node.desk.open(replace(ROWS, rows_total=100_000))
    stream = node.query(BIG)
    with pytest.raises(RowsOverLimit):
        for _ in stream:
            pass
    use = node.use()
    assert (use.state, use.rows, use.complete) == ("posted", 100_000, False)
    assert node.control.quota("c1").rows_left == 0


def test_a_receipt_for_less_of_a_cut_delivery_gives_no_volume_back(node: Plane) -> None:
    """Else who asks for more than may be, and signs for none of it, has all data in the end."""
    node.desk.open(replace(ROWS, rows_total=100_000, bytes_total=50_000_000))
    with pytest.raises(RowsOverLimit):
        for _ in node.query(BIG):
            pass
    before = node.control.quota("c1")
    node.control.correct("u1", 0, 0, {})
    assert node.use().rows == 0  # the price is the receiver's word
    after = node.control.quota("c1")
    assert (after.rows_left, after.bytes_left) == (before.rows_left, before.bytes_left)
    assert (after.rows_left, refused(node, ALL, "u2").code) == (0, "TOTAL_ROWS_SPENT")


def test_bytes_of_a_use_are_never_more_than_agreed(node: Plane) -> None:
    node.desk.open(replace(ROWS, bytes_max=2_000_000))
    stream = node.query(BIG)
    got: list[bytes] = []
    with pytest.raises(BytesOverLimit, match="2000000"):
        got.extend(stream)
    use = node.use()
    assert 1_000_000 < stream.byte_count <= 2_000_000
    assert (use.state, use.bytes, use.complete) == ("posted", stream.byte_count, False)


def test_a_small_result_over_the_bytes_is_a_plain_refusal(node: Plane) -> None:
    node.desk.open(replace(ROWS, bytes_max=1_000, uses_max=1))
    with pytest.raises(BytesOverLimit):
        node.query(ALL)
    assert node.use().state == "void"
    assert node.control.quota("c1").uses_left == 1
    assert node.read("SELECT id FROM patients LIMIT 5", "u2").num_rows == 5


def test_bytes_of_all_uses(node: Plane) -> None:
    node.desk.open(ROWS, "c0")
    size = sum(map(len, node.plane.query(PEER, Query("c0", "u0", ALL, "research"))))
    node.desk.open(replace(ROWS, bytes_total=2 * size + 10))
    for use_id in ("u1", "u2"):
        assert node.read(ALL, use_id).num_rows == 270
    assert node.control.quota("c1").bytes_left == 10
    assert refused(node, ALL, "u3").code == "BYTES_OVER_LIMIT"
    node.desk.open(replace(ROWS, bytes_total=size), "c2")
    assert sum(map(len, node.plane.query(PEER, Query("c2", "u4", ALL, "research")))) == size
    with pytest.raises(UseDeniedError, match=f"TOTAL_VOLUME_SPENT.*{size}"):
        node.plane.query(PEER, Query("c2", "u5", ALL, "research"))


def test_callers_at_once_never_exceed_the_sum(node: Plane) -> None:
    node.desk.open(replace(ROWS, rows_total=100, rows_max=40))
    codes: list[str] = []

    def ask(at: int) -> None:
        try:
            codes.append(str(node.read(f"{ALL} LIMIT 40", f"u{at}").num_rows))
        except YunheError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    given = sum(use.rows for use in node.control.uses("c1", ["posted"]))
    assert given <= 100
    assert node.control.quota("c1").rows_left == 100 - given
    assert set(codes) <= {"40", "ROWS_OVER_LIMIT", "TOTAL_ROWS_SPENT"}


def test_after_a_crash_all_that_was_held_counts(node: Plane) -> None:
    terms = replace(ROWS, rows_total=1_000, rows_max=600, bytes_total=60_000, bytes_max=40_000)
    node.desk.open(terms)
    left = node.query(ALL), node.query(ALL, "u2")
    # As if the process had died here: nothing was posted.
    found = node.control.recover()
    quota = node.control.quota("c1")
    assert set(found.posted) == {"u1", "u2"}
    assert (quota.rows_left, quota.bytes_left) == (0, 0)
    node.control.correct("u1", 0, 0, {})
    assert node.control.quota("c1").rows_left == 600
    for stream in left:
        stream.close()


def test_what_is_left_is_told_with_what_is_held(node: Plane) -> None:
    terms = replace(ROWS, uses_max=3, rows_total=300, bytes_total=100_000, bytes_max=40_000)
    node.desk.open(replace(terms, hours=MORNING))
    stream = node.query(ALL)
    held = node.plane.left(PEER, "c1")
    assert (held.uses_left, held.rows_left, held.held_rows) == (2, 0, 300)
    assert (held.bytes_left, held.held_bytes) == (60_000, 40_000)
    size = sum(map(len, stream))
    left = node.plane.left(PEER, "c1")
    assert (left.uses_left, left.rows_left, left.held_rows) == (2, 30, 0)
    assert (left.bytes_left, left.held_bytes, left.privacy) == (100_000 - size, 0, None)
    assert left.to_json()["next_at"] == "2026-01-01T00:00:00.000000Z"
    with pytest.raises(YunheError):
        node.plane.left("did:web:somebody", "c1")


# --- hours and region --------------------------------------------------------------------------


def test_outside_of_the_hours_it_says_when_again(node: Plane, clock: ManualClock) -> None:
    node.desk.open(replace(ROWS, hours=MORNING))
    assert node.read(ALL).num_rows == 270
    clock.advance(3600)
    error = refused(node, ALL, "u2")
    assert error.code == "OUTSIDE_AGREED_HOURS"
    assert error.facts["again"] == "2026-01-08T00:00:00.000000Z"
    assert "2026-01-08T00:00" in error.remedy("en")
    assert "2026-01-08T00:00" in error.remedy("zh")
    assert node.kinds()[-1] == "use.denied"


def test_too_often_says_when_again(node: Plane, clock: ManualClock) -> None:
    terms = replace(
        ROWS, frequency=Frequency(1, "P1D"), pause="PT1H", hours=Hours("Daily 08:00-12:00")
    )
    node.desk.open(terms)
    node.read(ALL)
    error = refused(node, ALL, "u2")
    assert error.code == "FREQUENCY_EXCEEDED"
    # The next window begins at midnight in Shanghai, the hours at eight.
    assert error.facts["again"] == "2026-01-02T00:00:00.000000Z"


def test_a_stream_is_cut_when_its_hours_end(node: Plane, clock: ManualClock) -> None:
    node.desk.open(replace(ROWS, hours=MORNING))
    stream = node.query(BIG)
    next(stream)
    clock.advance(3600)
    ended = time.monotonic()
    with pytest.raises(UseDeniedError, match="OUTSIDE_AGREED_HOURS"):
        for _ in stream:
            pass
    assert time.monotonic() - ended < 1.5
    assert (node.use().state, node.use().complete) == ("posted", False)
    assert node.use().rows == stream.rows > 0


@pytest.mark.parametrize(
    ("registered", "regions", "allowed"),
    [
        ("3301", ("33",), True),
        ("3301", ("3301", "11"), True),
        ("3301", ("330106",), False),  # finer than a code tells
        ("3301", ("44",), False),
        ("", ("33",), False),  # not known is not agreed
        ("44", (), True),
    ],
)
def test_the_region_is_the_registered_one(
    node: Plane, registered: str, regions: tuple[str, ...], allowed: bool
) -> None:
    node.plane._region_of = lambda did: registered if did == PEER else "33"
    node.desk.open(replace(ROWS, regions=regions))
    if allowed:
        assert node.read(ALL).num_rows == 270
        return
    error = refused(node, ALL, "u1")
    assert error.code == "REGION_NOT_AGREED"
    assert error.facts["expected"] == ", ".join(regions)


# --- over every protocol -----------------------------------------------------------------------


@pytest.fixture(params=[Http, FlightSql], ids=["http", "flight"])
def face(request: pytest.FixtureRequest, node: Plane) -> Iterator[Http | FlightSql]:
    made = request.param(node)
    yield made
    made.close()


def test_the_same_words_over_every_protocol(
    face: Http | FlightSql, node: Plane, clock: ManualClock
) -> None:
    node.desk.open(replace(ROWS, rows_total=300), "rows")
    node.desk.open(replace(ROWS, bytes_max=1_000), "bytes")
    node.desk.open(replace(ROWS, hours=Hours("Thu 09:00-10:00")), "hours")
    node.desk.open(replace(ROWS, regions=("33",)), "region")
    assert face.ask("rows", ALL).num_rows == 270
    codes = {}
    for contract_id, sql in (
        ("rows", ALL),
        ("rows", f"{ALL} LIMIT 30"),
        ("rows", f"{ALL} LIMIT 1"),
        ("bytes", ALL),
        ("hours", ALL),
        ("region", ALL),
    ):
        try:
            codes[contract_id, sql] = str(face.ask(contract_id, sql).num_rows)
        except Refused as refusal:
            codes[contract_id, sql] = refusal.code
    assert list(codes.values()) == [
        "ROWS_OVER_LIMIT",
        "30",
        "TOTAL_ROWS_SPENT",
        "BYTES_OVER_LIMIT",
        "OUTSIDE_AGREED_HOURS",
        "REGION_NOT_AGREED",
    ]
    clock.advance(3600)
    assert face.ask("hours", ALL).num_rows == 270


def test_a_push_is_held_to_the_same(node: Plane, clock: ManualClock, tmp_path: Path) -> None:
    node.desk.open(replace(ROWS, rows_total=300, hours=MORNING))
    plane: DataPlane = node.plane

    def lay(use_id: str, sql: str) -> int:
        query = Query("c1", use_id, sql, "research")
        return plane.spool(PEER, query, tmp_path / use_id, lambda _tx, _laid: None).rows

    assert lay("p1", ALL) == 270
    with pytest.raises(UseDeniedError, match="TOTAL_ROWS_SPENT"):
        lay("p0", ALL)  # what the first may yet deliver is held
    node.control.post_held("p1", "c1", 270, 10_000, True)
    with pytest.raises(RowsOverLimit):
        lay("p2", ALL + " LIMIT 31")
    assert node.control.quota("c1").rows_left == 30
    clock.advance(3600)
    with pytest.raises(UseDeniedError, match="OUTSIDE_AGREED_HOURS"):
        lay("p3", f"{ALL} LIMIT 3")
    with pytest.raises(UseDeniedError, match="OUTSIDE_AGREED_HOURS"):
        plane.stands("c1")  # what the pusher asks while it sends
    assert not (tmp_path / "p3").exists()
    assert pa.ipc.open_stream((tmp_path / "p1").read_bytes()).read_all().num_rows == 270
