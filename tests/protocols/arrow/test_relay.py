"""The consumer's relay against a provider of any temper, over real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from protocols.arrow.providers import Desk, chunked, head, ipc, refusal
from yunhe.control import Consumed
from yunhe.kernel import limits
from yunhe.kernel.db import StorageFull
from yunhe.kernel.errors import YunheError
from yunhe.protocols import arrow


def test_a_whole_stream_is_passed_on_and_receipted(desk: Desk) -> None:
    body = ipc(5)
    desk.provider.answers = [(head("200 OK", body), "keep")]
    assert b"".join(desk.open()) == body
    assert desk.books.told == [("begin", "use-1"), ("receipt", "use-1", 5, len(body))]


def test_a_stream_that_ends_early_is_cut_and_the_books_say_what_passed(desk: Desk) -> None:
    body = ipc(5)
    whole = head("200 OK", body)
    desk.provider.answers = [(whole[:-20], "close")]
    passing = desk.open()
    with pytest.raises(YunheError) as cut:
        list(passing)
    assert cut.value.code == "STREAM_CUT"
    assert desk.books.told[-1][:2] == ("cut", "use-1")
    assert desk.books.told[-1][3] <= len(body) - 20


def test_a_stream_without_its_end_mark_is_no_whole_one(desk: Desk) -> None:
    desk.provider.answers = [(head("200 OK", ipc(5)[:-8]), "keep")]
    with pytest.raises(YunheError) as cut:
        list(desk.open())
    assert cut.value.code == "STREAM_CUT"
    assert desk.books.told[-1][:3] == ("cut", "use-1", 5)


def test_the_receipt_does_not_wait_for_the_providers_goodbye(desk: Desk) -> None:
    body = ipc(5)
    desk.provider.answers = [(chunked(body), "hold")]
    passing, found = desk.open(), []
    reader = threading.Thread(target=lambda: found.extend(passing))
    reader.start()
    until = time.monotonic() + 10
    while len(desk.books.told) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert desk.books.told[1:] == [("receipt", "use-1", 5, len(body))]
    assert reader.is_alive(), "the stream ends with the provider's answer"
    desk.provider.go_on.set()  # and it hangs up without a goodbye
    reader.join(10)
    assert found == [body]
    assert len(desk.books.told) == 2


def test_bytes_after_the_end_are_on_no_receipt(desk: Desk) -> None:
    body = ipc(5)
    desk.provider.answers = [(chunked(body, ipc(90)), "keep"), (head("200 OK", ipc()), "keep")]
    passing = desk.open()
    with pytest.raises(YunheError) as refused:
        list(passing)
    assert refused.value.code == "STREAM_MALFORMED"
    passing.close()
    assert desk.books.told[1:] == [("receipt", "use-1", 5, len(body))]
    assert b"".join(desk.open("use-2")) == ipc()
    assert desk.provider.connections == 2, "a connection with garbage on it is not kept"


def test_a_receipt_that_cannot_be_kept_is_told_and_ends_the_connection(desk: Desk) -> None:
    def full(_consumed: Consumed) -> None:
        raise StorageFull

    desk.relay._receipt = full
    last = chunked(ipc()) + b"0\r\n\r\n"
    desk.provider.answers = [(last, "keep"), (last, "keep")]
    for use_id in ("use-1", "use-2"):
        passing = desk.open(use_id)
        with pytest.raises(StorageFull):
            list(passing)
        passing.close()
    assert desk.provider.connections == 2
    assert desk.relay.live() == set()


@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"\xff" * 4096, b"PAR1" * 40, ipc() + b"x"])
def test_garbage_is_refused_and_never_receipted(desk: Desk, garbage: bytes) -> None:
    desk.provider.answers = [(head("200 OK", garbage), "keep")]
    passing = desk.open()
    with pytest.raises(YunheError):
        list(passing)
    passing.close()
    assert desk.provider.connections == 1
    desk.provider.answers = [(head("200 OK", ipc()), "keep")]
    assert b"".join(desk.open("use-2")) == ipc()
    assert desk.provider.connections == 2, "a connection with garbage on it is not kept"


@pytest.mark.parametrize(
    "answer",
    [
        head("200 OK", b"<html>hello</html>", "text/html"),
        head("200 OK", b'{"ok": true}', "application/json"),
        head("204 No Content", b""),
        head("301 Moved", b"", more="Location: http://127.0.0.1:1/steal\r\n"),
        head("307 Temporary Redirect", b"", more="Location: http://169.254.169.254/\r\n"),
        head("403 Forbidden", b"<html>no</html>", "text/html"),
        head("403 Forbidden", b"[]", "application/problem+json"),
        head("403 Forbidden", b'{"code": 7}', "application/problem+json"),
        head("403 Forbidden", b'{"code": "A", "code": "B"}', "application/problem+json"),
        head("403 Forbidden", b"[" * 50_000, "application/problem+json"),
        head("403 Forbidden", b'{"code": "' + b"x" * 200_000 + b'"}', "application/problem+json"),
        head("500 Oops", b"Traceback (most recent call last)", "text/plain"),
        head("999 What", b"", "text/plain"),
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 500\r\n\r\n{",
    ],
    ids=range(14),
)
def test_what_is_neither_result_nor_refusal_is_said_to_be_so(desk: Desk, answer: bytes) -> None:
    desk.provider.answers = [(answer, "close")]
    error = desk.refused()
    assert (error.code, error.status) == ("PROVIDER_ANSWER_INVALID", 503)
    assert len(json.dumps(error.problem())) < 2000
    # It may have been charged: only the provider's own word can end the doubt.
    assert desk.books.told == [("begin", "use-1"), ("cut", "use-1", 0, 0)]
    assert len(desk.provider.seen) == 1, "nothing is followed or asked again"


@pytest.mark.parametrize("noise", [b"not http at all\r\n\r\n", b"", b"\x00\x01\x02"])
def test_what_is_no_http_is_unreachable(desk: Desk, noise: bytes) -> None:
    desk.provider.answers = [(noise, "close")]
    assert desk.refused().code == "PROVIDER_UNREACHABLE"
    assert desk.books.told[-1] == ("cut", "use-1", 0, 0)


def test_a_refusal_is_passed_on_and_nothing_is_in_doubt(desk: Desk) -> None:
    more = {"zh": {"detail": "不"}, "facts": {"column": "x"}, "surprise": "y" * 50_000}
    desk.provider.answers = [(refusal("COLUMN_NOT_AGREED", **more), "keep")]
    error = desk.refused()
    assert (error.code, error.status) == ("COLUMN_NOT_AGREED", 403)
    assert error.problem()["facts"] == {"column": "x"}
    assert "surprise" not in error.problem()
    assert desk.books.told == [("begin", "use-1"), ("forget", "use-1")]


def test_the_providers_401_is_not_the_callers(desk: Desk) -> None:
    desk.provider.answers = [(refusal("DATA_TOKEN_EXPIRED", "401 Unauthorized"), "keep")]
    error = desk.refused()
    assert (error.code, error.status) == ("DATA_TOKEN_EXPIRED", 403)


def test_a_kept_connection_that_was_closed_is_tried_once_anew(desk: Desk) -> None:
    whole = head("200 OK", ipc())
    desk.provider.answers = [(whole, "close"), (whole, "keep")]
    list(desk.open("use-1"))
    time.sleep(0.05)  # the provider's goodbye arrives
    list(desk.open("use-2"))
    assert desk.provider.connections == 2
    assert [asked["use_id"] for asked in desk.provider.seen] == ["use-1", "use-2"]
    assert desk.books.told[-1][:2] == ("receipt", "use-2")


@pytest.mark.parametrize("chunks", [False, True])
def test_a_kept_connection_takes_the_next_use(desk: Desk, chunks: bool) -> None:
    whole = chunked(ipc()) + b"0\r\n\r\n" if chunks else head("200 OK", ipc())
    desk.provider.answers = [(whole, "keep"), (whole, "keep")]
    list(desk.open("use-1"))
    list(desk.open("use-2"))
    assert desk.provider.connections == 1
    assert [asked["use_id"] for asked in desk.provider.seen] == ["use-1", "use-2"]


def test_a_kept_connection_that_dies_on_the_request_repeats_the_same_use(desk: Desk) -> None:
    whole = head("200 OK", ipc())
    desk.provider.answers = [(whole, "keep"), (b"", "close"), (whole, "keep")]
    list(desk.open("use-1"))
    list(desk.open("use-2"))
    assert desk.provider.connections == 2
    assert [asked["use_id"] for asked in desk.provider.seen] == ["use-1", "use-2", "use-2"]
    assert [told for told in desk.books.told if told[0] == "receipt"][-1][1] == "use-2"


def test_a_fresh_connection_that_dies_is_not_tried_again(desk: Desk) -> None:
    desk.provider.answers = [(b"", "close"), (head("200 OK", ipc()), "keep")]
    assert desk.refused().code == "PROVIDER_UNREACHABLE"
    assert len(desk.provider.seen) == 1


def _unreachable(port: int) -> str:
    return f"http://127.0.0.1:{port}/data/v1/query"


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (_unreachable(1), "PROVIDER_UNREACHABLE"),
        ("http://127.0.0.1:99999/data", "PROVIDER_UNREACHABLE"),
        ("http://127.0.0.1:x/data", "PROVIDER_UNREACHABLE"),
        ("http://169.254.169.254/latest", "ADDRESS_FORBIDDEN"),
        ("http://[fe80::1]/x", "ADDRESS_FORBIDDEN"),
        ("file:///etc/passwd", "ADDRESS_FORBIDDEN"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_leaves_no_doubt(
    desk: Desk, endpoint: str, code: str
) -> None:
    desk.endpoint[0] = endpoint
    assert desk.refused().code == code
    assert desk.books.told == [("begin", "use-1"), ("forget", "use-1")]
    desk.endpoint[0] = _unreachable(desk.provider.port)
    desk.provider.answers = [(head("200 OK", ipc()), "keep")]
    list(desk.open())


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://[::1/data",
        "http://a..b/data",
        "http://" + "a" * 70 + ".example/data",
        "http://\u0000/data",
        "http://\u2100.example/data",
        "http://127.0.0.1:{port}/d\u00e4ta",
        "http://127.0.0.1:{port}/d\ud83d\ude00",
        "http://127.0.0.1:{port}/a b",
        "http://127.0.0.1:{port}/a\x7fb",
        "",
        "data",
    ],
)
def test_an_endpoint_that_is_no_address_is_told_as_such(desk: Desk, endpoint: str) -> None:
    """The provider writes it, and a user reads the refusal: no failure inside this node."""
    desk.endpoint[0] = endpoint.format(port=desk.provider.port)
    assert desk.refused().code in ("PROVIDER_UNREACHABLE", "ADDRESS_FORBIDDEN")
    assert desk.books.told == [("begin", "use-1"), ("forget", "use-1")]
    assert desk.provider.seen == []


@pytest.mark.parametrize("token", ["a\nb: c", "a\r\nb: c", "\u4ee4\u724c", "\ud83d\ude00"])
def test_a_token_that_no_header_holds_is_never_sent(desk: Desk, token: str) -> None:
    desk.token[0] = token
    assert desk.refused().code == "PROVIDER_UNREACHABLE"
    assert desk.books.told == [("begin", "use-1"), ("forget", "use-1")]
    assert desk.provider.seen == []


def test_a_client_that_leaves_wakes_the_thread_that_waits(desk: Desk) -> None:
    body = ipc(5)
    desk.provider.answers = [(head("200 OK", body)[:-30], "hold")]
    passing = desk.open()
    next(passing)
    ended: list[str] = []
    waiting = threading.Thread(target=_drain, args=(passing, ended.append))
    waiting.start()
    time.sleep(0.05)
    passing.close()
    waiting.join(5)
    assert ended, "the thread still waits for the provider"
    assert desk.books.told[-1][:2] == ("cut", "use-1")
    assert len([told for told in desk.books.told if told[0] == "cut"]) == 1


def _drain(passing: arrow.Passing, told: Callable[[str], None]) -> None:
    try:
        list(passing)
        told("end")
    except YunheError as error:
        told(error.code)


def test_the_same_use_is_not_asked_twice_at_once(desk: Desk) -> None:
    desk.provider.answers = [(head("200 OK", ipc())[:-30], "hold")]
    first = desk.open()
    with pytest.raises(YunheError) as refused:
        desk.open()
    assert refused.value.status == 409
    first.close()
    assert desk.relay.live() == set()


def test_kept_connections_are_bounded(desk: Desk) -> None:
    number = limits.RELAY_IDLE_MAX + 3
    desk.provider.answers = [(head("200 OK", ipc()), "keep")] * number
    open_now = [desk.open(f"use-{i}") for i in range(number)]
    for passing in open_now:
        list(passing)
    assert sum(map(len, desk.relay._idle.values())) == limits.RELAY_IDLE_MAX
