"""Several processes for a node's data, behind one address of their own (`[dataplane]`).

In: the settings. Out: the node as ever, and beside it processes that serve its data door and
nothing else. Grants, uses and limits are rows of the one database, so they hold over all of them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from yunhe import node as nodes
from yunhe.kernel import limits, logs
from yunhe.kernel.asgi import problem_response
from yunhe.kernel.chores import Chores
from yunhe.kernel.errors import NotFound
from yunhe.kernel.premises import listening, settle
from yunhe.kernel.settings import NodeConfig
from yunhe.kernel.several import Several
from yunhe.protocols import arrow

_DATA = arrow.ENDPOINT.rpartition("/")[0] + "/"


def serve(config: NodeConfig, up: Callable[[nodes.Node], object] = lambda _node: None) -> None:
    """As `node.serve`, with the data plane's processes where the settings ask for any."""
    if not config.dataplane_processes:
        nodes.serve(config, up)
        return
    with contextlib.ExitStack() as stack:

        def began(node: nodes.Node) -> None:
            stack.enter_context(opened(node.config))
            up(node)

        nodes.serve(config, began)


@contextlib.contextmanager
def opened(config: NodeConfig) -> Iterator[Several]:
    """The processes of a node that is up: its database is migrated and its keys are made."""
    host, _, port = config.dataplane_listen.rpartition(":")
    with listening(host.strip("[]"), int(port)) as sockets:
        for each in sockets:
            each.listen(limits.DOOR_BACKLOG)
        several = Several(_door, config, sockets, config.dataplane_processes)
        several.start()
        try:
            yield several
        finally:
            several.stop()


def _door(config: NodeConfig, number: int, sockets: list[socket.socket]) -> None:
    """One process: the parts of the node, of which only the data door answers."""
    logs.begin()
    home = _home(config.data_dir, number)
    node = nodes.Node(replace(config, data_dir=home, flight_listen=""), holder=_holder(home))
    node.app = _OnlyData(node.app)
    # Uses that died with the process before this one; then those of other machines that are over
    # by now, not those that may still run there.
    node.control.recover(own=True)
    longest = limits.QUERY_S_MAX + limits.STREAM_S_MAX
    held = node.contracts.pushes.held_uses() | node.apps.host.held()
    node.control.recover(longest, held)
    node.pool.start()
    node.evidence.start()
    chores = Chores(
        "door-timer", limits.NODE_TICK_S, node.plane.catch_up, node.identity.refusals.flush
    )
    chores.start()
    settle()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            nodes.server(node).run(sockets)
    finally:
        chores.stop()
        node.evidence.stop()
        node.pool.stop()
        node.db.close()


def _home(data_dir: Path, number: int) -> Path:
    """What a process keeps for itself lies here; the keys are the node's."""
    home = data_dir / "doors" / str(number)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = home / "keys"
    if not keys.is_symlink():
        os.symlink(data_dir / "keys", keys)
    return home


def _holder(home: Path) -> str:
    """The name of the process in this home among all of its database: its successor has it, too."""
    file = home / "holder"
    if not file.exists():
        part = file.with_suffix(".new")
        part.write_text(secrets.token_hex(16), "ascii")
        part.replace(file)
    return file.read_text("ascii")


class _OnlyData:
    """The data door of an app; every other path is as if it were not there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_DATA):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            await problem_response(NotFound(what="page"))(scope, receive, send)
