"""Status lists as text: both alphabets, the edges, and what an attacker would send instead."""

from __future__ import annotations

import base64
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.identity import bits
from yunhe.kernel import limits


def squeeze(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.sets(st.integers(0, limits.STATUS_BITS - 1), max_size=20), st.booleans())
def test_what_is_set_is_set_and_nothing_else(indices: set[int], multibase: bool) -> None:
    found = bits.decode(bits.encode(indices, multibase))
    assert len(found) == limits.STATUS_BITS
    assert all(found.at(index) for index in indices)
    assert sum(bin(byte).count("1") for byte in found.packed) == len(indices)


def test_the_first_bit_is_the_leftmost() -> None:
    assert bits.decode(bits.encode([0], True)).packed[0] == 0x80
    assert bits.decode(bits.encode([7], True)).packed[0] == 0x01


def test_both_base64_alphabets_and_padding_are_read() -> None:
    packed = gzip.compress(bytes(range(256)) * 4)
    standard = base64.b64encode(packed).decode()
    assert bits.decode(standard).packed == bits.decode("u" + squeeze(packed)).packed


@pytest.mark.parametrize("index", [-1, limits.STATUS_BITS, 10**11])
def test_an_index_outside_the_list_is_refused(index: int) -> None:
    with pytest.raises(bits.BitsUnreadable, match="outside"):
        bits.decode(bits.encode([], True)).at(index)


def test_a_gzip_bomb_ends_at_the_bound() -> None:
    bomb = gzip.compress(bytes(256 << 20), mtime=0)
    assert len(bomb) < 300_000
    with pytest.raises(bits.BitsUnreadable, match="too long"):
        bits.decode("u" + squeeze(bomb))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "not text"),
        ("", "not text"),
        (17, "not text"),
        ("uéé", "not text"),
        ("u!!!!", "base64"),
        ("u" + squeeze(b"no gzip"), "not gzip"),
        ("u" + squeeze(gzip.compress(bytes(64), mtime=0)[:-9]), "cut short"),
        ("u" + squeeze(gzip.compress(bytes(64), mtime=0) + b"more"), "more behind"),
        ("u" + squeeze(gzip.compress(bytes(8), mtime=0) * 2), "more behind"),
        ("u" + squeeze(gzip.compress(b"", mtime=0)), "too short"),
    ],
)
def test_what_is_no_list_is_refused(text: object, why: str) -> None:
    with pytest.raises(bits.BitsUnreadable, match=why):
        bits.decode(text)


def test_a_list_below_the_asked_length_is_refused() -> None:
    with pytest.raises(bits.BitsUnreadable, match="too short"):
        bits.decode("u" + squeeze(gzip.compress(bytes(64), mtime=0)), bits_min=limits.STATUS_BITS)
