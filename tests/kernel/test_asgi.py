"""Clients that send or take nothing do not hold what others wait for."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from yunhe.kernel import limits
from yunhe.kernel.asgi import StreamedResponse, StrictBody, Threads


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
