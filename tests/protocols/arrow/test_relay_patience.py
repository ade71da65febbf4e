"""Providers that drip, flood or never end, over real sockets: no thread of the relay is theirs."""

from __future__ import annotations

import time

import pytest

from protocols.arrow.providers import Desk, chunked, head, ipc
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNENDED = head("403 Forbidden", b" " * 9000, "application/problem+json")[:-8999]
SLOWLY = pytest.mark.parametrize(
    ("answer", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"", CONTINUE),
        (CONTINUE[:-2], b"a"),
        (UNENDED, b" "),
    ],
    ids=["status", "line", "headers", "continue", "its head", "refusal"],
)


@SLOWLY
def test_an_answer_that_only_drips_holds_no_thread(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: bytes, drop: bytes
) -> None:
    monkeypatch.setattr(limits, "RELAY_S_MAX", 0.5)
    desk.provider.answers = [(answer, drop)] * 2
    began = time.monotonic()
    desk.refused()
    with pytest.raises(YunheError):
        desk.relay.describe("c", "SELECT 1")
    assert time.monotonic() - began < 5
    # It may have been charged.
    assert desk.books.told == [("begin", "use-1"), ("cut", "use-1", 0, 0)]
    assert desk.relay.live() == set()


@pytest.mark.parametrize("drop", [b"a: b\r\n", b"a"])
def test_trailers_without_end_hold_no_thread(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, drop: bytes
) -> None:
    monkeypatch.setattr(limits, "RELAY_S_MAX", 0.5)
    body = ipc()
    desk.provider.answers = [(chunked(body) + b"0\r\n", drop), (head("200 OK", body), "keep")]
    began = time.monotonic()
    assert b"".join(desk.open()) == body
    assert time.monotonic() - began < 5
    assert desk.books.told[1:] == [("receipt", "use-1", 3, len(body))]
    assert b"".join(desk.open("use-2")) == body
    assert desk.provider.connections == 2, "a connection amid trailers is not kept"


@pytest.mark.parametrize(
    "flood",
    [CONTINUE * 9000, b"HTTP/1.1 200 OK\r\n" + (b"a: " + b"b" * 9000 + b"\r\n") * 20],
    ids=["continue", "headers"],
)
def test_a_head_beyond_its_size_is_not_read_on(desk: Desk, flood: bytes) -> None:
    desk.provider.answers = [(flood, "hold")]
    began = time.monotonic()
    assert desk.refused().code == "PROVIDER_UNREACHABLE"
    assert time.monotonic() - began < 5


def test_a_kept_connection_waits_as_long_as_a_fresh_one(desk: Desk) -> None:
    """The time that was left for one head is not the next one's."""
    desk.provider.answers = [(head("200 OK", ipc()), "keep")] * 2
    for use_id in ("use-1", "use-2"):
        list(desk.open(use_id))
    (kept,) = desk.relay._idle[desk.endpoint[0]]
    assert kept.sock is not None
    assert kept.sock.gettimeout() == limits.RELAY_S_MAX
    assert desk.provider.connections == 1


def test_a_kept_connection_that_drips_leaves_no_time_for_a_second_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_S_MAX", 0.5)
    desk.provider.answers = [(head("200 OK", ipc()), "keep"), (b"", b"H"), (b"", b"H")]
    list(desk.open())
    assert desk.refused("use-2").code == "PROVIDER_UNREACHABLE"
    assert desk.provider.connections == 1, "the time was over, and it asked once more"
    assert desk.books.told[-1] == ("cut", "use-2", 0, 0)
