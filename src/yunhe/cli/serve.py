"""`yunhe serve`: run the node that a `node.toml` describes, until it is told to stop.

In: the settings. Out: one block once it listens, with what the next command needs; then the log.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len

from yunhe.cli import words
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import ExtraMissing
from yunhe.kernel.errors import ClockJumped
from yunhe.kernel.settings import NodeConfig, load

if TYPE_CHECKING:
    from yunhe.node import Node

app = typer.Typer()

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - what it stands for
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@command(app, options=("json", "lang"))
def serve(
    desk: Desk,
    config: Annotated[Path, typer.Argument(help="The node's settings.")] = Path("node.toml"),
) -> None:
    """Run a node in the foreground."""
    settings = load(config)
    # Some seconds pass before it listens, on a busy machine many.
    desk.note(f"{settings.name}: starting …", f"{settings.name}：启动中……")
    try:
        from yunhe import doors
    except ModuleNotFoundError as error:
        raise ExtraMissing(extra="node", module=error.name) from error
    while True:
        try:
            doors.serve(settings, lambda up: _say_up(desk, up))
            return
        except ClockJumped:  # its log says so; everything is made anew
            continue


def _say_up(desk: Desk, node: Node) -> None:
    """Say where the node is, who it is, how far it is registered, how to speak to it."""
    config, standing = node.config, node.federation.status()
    token = config.data_dir / "admin.token"
    facts: dict[str, Any] = {
        "url": _local(config),
        "address": config.address,
        "flight": node.flight.address if node.flight is not None else None,
        "did": config.did,
        "roles": list(config.roles),
        "parent_address": config.parent_address or None,
        "parent_did": config.parent_did or None,
        "registration": standing.state if config.parent_did else None,
        "connector_code": standing.connector_code or None,
        "token_file": str(token) if token.exists() else None,
    }
    desk.show(facts, lambda: _block(desk, facts))


def _local(config: NodeConfig) -> str:
    """Where a command on this machine reaches the node: a token goes over loopback or TLS only."""
    host = config.listen_host
    host = _ANY.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{config.listen_port}" if host in _LOOPBACK else config.address


def _block(desk: Desk, facts: dict[str, Any]) -> None:
    none = desk.say("none", "无")
    parent = f"{facts['parent_address']}  {facts['parent_did']}" if facts["parent_did"] else none
    lines = {
        desk.say("Listening", "监听"): facts["url"],
        desk.say("Address", "地址"): facts["address"],
        **({"Flight SQL": facts["flight"]} if facts["flight"] else {}),
        "DID": facts["did"],
        desk.say("Roles", "角色"): ", ".join(facts["roles"]),
        desk.say("Parent", "上级"): parent,
        desk.say("Registered", "登记"): _registration(desk, facts),
        desk.say("Token", "令牌"): facts["token_file"]
        or desk.say("one you made; admin.token is gone", "请使用已签发的令牌；admin.token 已移走"),
    }
    desk.out.print(desk.say("The node is up.", "节点已启动。"), markup=False)
    for heading, text in lines.items():
        label = desk.labelled(heading, "").rstrip()
        desk.out.print(f"  {label}{' ' * (12 - cell_len(label))}{text}", markup=False)
    file = facts["token_file"]
    secret = f"$(cat {shlex.quote(file)})" if file else "…"
    desk.out.print(desk.say("In another terminal:", "在另一个终端中执行："), markup=False)
    desk.out.print(
        f'  export YUNHE_URL={shlex.quote(facts["url"])} YUNHE_TOKEN="{secret}"', markup=False
    )


def _registration(desk: Desk, facts: dict[str, Any]) -> str:
    if facts["registration"] is None:
        return desk.say("no parent to register at", "没有上级，无需登记")
    if facts["registration"] == "none":
        return desk.say("not yet; next: yunhe register", "尚未登记；下一步：yunhe register")
    state = words.shown(desk.lang, "state", facts["registration"])
    return f"{state}  {facts['connector_code'] or ''}".rstrip()
