"""Clients that send or take nothing do not hold what others wait for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import anyio
import pytest

from yunhe.kernel import limits
from yunhe.kernel.asgi import Hands, StreamedResponse, StrictBody, Threads


class Endless:
    """A source without an end; it knows whether it was let go."""

    closed = False

    def __next__(self) -> bytes:
        return b"x"

    def close(self) -> None:
        self.closed = True


async def silence() -> Any:
    await anyio.sleep_forever()


def test_a_reader_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALL_S_MAX", 0.05)
    source, sent = Endless(), []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 3:  # its buffers are full
            await anyio.sleep_forever()

    async def main() -> None:
        with anyio.fail_after(5):
            answer = StreamedResponse(source, Threads(1), {}, "text/plain")
            await answer({"type": "http"}, silence, send)

    anyio.run(main)
    assert source.closed
    assert sent[-1]["more_body"]  # no end mark: the client is not told that it was all


def test_a_body_that_does_not_come_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S_MAX", 0.05)
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise AssertionError("the body was never whole")

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        with anyio.fail_after(5):
            scope = {"type": "http", "method": "POST", "path": "/tds/X", "query_string": b""}
            await StrictBody(app)({**scope, "headers": []}, silence, send)

    anyio.run(main)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("path", ["/tds/X", "/dsp/2025-1/x", "/api/v1/sql", "/data/v1/query"])
def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes(path: str) -> None:
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise AssertionError("the body was refused")

    async def receive() -> Any:
        raise AssertionError("it was waited for")

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        for method in ("POST", "PUT", "PATCH"):
            length = (b"content-length", b"%d" % (limits.JSON_BYTES_MAX + 1))
            scope = {"type": "http", "method": method, "path": path, "query_string": b""}
            await StrictBody(app)({**scope, "headers": [length]}, receive, send)

    anyio.run(main)
    assert [each["status"] for each in sent if "status" in each] == [413] * 3


def test_hands_run_calls_at_once_up_to_their_number_and_give_back_what_comes() -> None:
    hands, together = Hands(2), threading.Barrier(2, timeout=10)

    def fail() -> None:
        raise LookupError("why")

    async def use() -> None:
        met = await asyncio.gather(*(hands.run(together.wait) for _ in range(2)))
        assert sorted(met) == [0, 1]
        with pytest.raises(LookupError):
            await hands.run(fail)
        assert await asyncio.gather(*(hands.run(lambda i=i: i) for i in range(9))) == list(range(9))

    before = threading.active_count()
    asyncio.run(use())
    assert threading.active_count() <= before + 2


def test_who_is_cancelled_leaves_its_call_to_end_by_itself() -> None:
    hands, ended = Hands(1), threading.Event()

    async def use() -> None:
        task = asyncio.create_task(hands.run(lambda: (time.sleep(0.1), ended.set())))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await hands.run(lambda: 7) == 7

    asyncio.run(use())
    assert ended.is_set()
