"""Connections that are kept between two requests.

In: the socket of one. Out: whether the next request may be written to it.
"""

from __future__ import annotations

import select
import socket


def quiet(sock: socket.socket | None) -> bool:
    """Whether a kept connection stands: a readable one was closed, or says what none asked.

    A request written to such a one would be in doubt for nothing.
    """
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)  # type: ignore[arg-type]  # None is a TypeError below
        return not poll.poll(0)
    except (OSError, ValueError, TypeError):
        return False
