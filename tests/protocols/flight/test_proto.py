"""The codec of strangers' bytes: what the driver sends is read, anything else is refused, fast."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.kernel import limits
from yunhe.protocols.flight import metadata, proto
from yunhe.protocols.flight.errors import MessageMalformed

FIELD = st.tuples(
    st.integers(1, 100),
    st.one_of(st.binary(min_size=1, max_size=50), st.integers(1, (1 << 64) - 1)),
)


@given(st.lists(FIELD, max_size=20))
def test_what_is_written_is_read(parts: list[tuple[int, bytes | int]]) -> None:
    expected: proto.Fields = {}
    for number, value in parts:
        expected.setdefault(number, []).append(value)
    assert proto.fields(proto.message(*parts)) == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (proto.fields, proto.unwrap):
        try:
            read(data)
        except MessageMalformed:
            continue


@given(st.text(max_size=50).map(str.encode) | st.binary(max_size=50), st.integers(1, 8))
def test_a_command_cut_anywhere_is_refused_or_whole(body: bytes, number: int) -> None:
    whole = proto.wrap("CommandStatementQuery", proto.message((number, body)))
    for end in range(len(whole)):
        try:
            proto.unwrap(whole[:end])
        except MessageMalformed:
            continue


def test_bounds() -> None:
    with pytest.raises(MessageMalformed):
        proto.fields(b"\x08\x01" * limits.FLIGHT_COMMAND_BYTES_MAX)
    with pytest.raises(MessageMalformed):
        proto.fields(b"\x08\x01" * (limits.FLIGHT_FIELDS_MAX + 1))
    for bad in (
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x08" + b"\xff" * 11,
        b"\x0b",
        b"\x00\x00",
        b"\x0a\x05abc",
    ):
        with pytest.raises(MessageMalformed):
            proto.fields(bad)
    with pytest.raises(MessageMalformed):
        proto.text(proto.fields(b"\x0a\x01\xff"), 1)
    with pytest.raises(MessageMalformed):
        proto.text(proto.fields(b"\x08\x01"), 1)
    with pytest.raises(MessageMalformed):
        proto.unwrap(proto.message((1, b"type.googleapis.com/google.protobuf.Any"), (2, b"")))


def test_numbers_come_packed_and_plain() -> None:
    assert proto.numbers(proto.fields(b"\x0a\x03\x00\x01\x02"), 1) == (0, 1, 2)
    assert proto.numbers(proto.fields(b"\x08\x00\x08\x01\x08\x02"), 1) == (0, 1, 2)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        (None, "any", True),
        ("%", "", True),
        ("pat%", "patients", True),
        ("p_tients", "patients", True),
        ("%ent%", "patients", True),
        ("ent%", "patients", False),
        ("", "patients", False),
        ("p.*", "patients", False),
        ("%a%b", "aab", True),
        ("%a%c", "aab", False),
    ],
)
def test_patterns_of_names(pattern: str | None, name: str, fits: bool) -> None:
    assert metadata.like(pattern, name) is fits


def test_a_pattern_cannot_be_made_to_take_for_ever() -> None:
    started = time.process_time()
    assert not metadata.like("%a" * 200 + "b", "a" * 300)
    assert time.process_time() - started < 1


def test_sql_info_is_the_exact_dense_union() -> None:
    table = metadata.sql_info(())
    assert table.schema.equals(metadata.SQL_INFO)
    table.validate(full=True)
    found = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert found[0] == "Yunhe"
    assert found[3] is True
    assert metadata.sql_info((8, 8, 99_999)).num_rows == 1
    assert metadata.xdbc_types(12).column("type_name").to_pylist() == ["VARCHAR"]
    assert metadata.xdbc_types(None).num_rows == 13
