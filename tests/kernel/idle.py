"""What a process of the tests does; a module of its own, for the process imports it by its name."""

from __future__ import annotations

import signal
import socket


def idle(_given: None, _number: int, _sockets: list[socket.socket]) -> None:
    """Nothing, until SIGTERM ends it."""
    signal.pause()
