"""Hang up on clients that take nothing: gRPC waits for them for ever, and has no word against it.

In: the port of our server. What is shut are connected sockets of this process at that port; gRPC
sees its peer gone, and whatever wrote to it returns (pyarrow gives no deadline for a shutdown).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

_OPEN = ("/proc/self/fd", "/dev/fd")
_INET = (socket.AF_INET, socket.AF_INET6)


def hang_up(port: int, peer: str = "") -> int:
    """Shut the connections to our `port`; `peer`: only the one gRPC calls so. How many."""
    shut = 0
    for found in _sockets():
        with found, contextlib.suppress(OSError):
            there = found.getpeername()
            if found.getsockname()[1] == port and (not peer or peer.endswith(f":{there[1]}")):
                found.shutdown(socket.SHUT_RDWR)
                shut += 1
    return shut


def _sockets() -> Iterator[socket.socket]:
    """Duplicates of the TCP sockets of this process; the caller closes each."""
    folder = next((Path(name) for name in _OPEN if Path(name).is_dir()), None)
    for number in os.listdir(folder) if folder is not None else ():
        with contextlib.suppress(OSError):  # closed meanwhile
            if not stat.S_ISSOCK(os.fstat(int(number)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(number)))
            if found.family in _INET and found.type == socket.SOCK_STREAM:
                yield found
            else:
                found.close()
