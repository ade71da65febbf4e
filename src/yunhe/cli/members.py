"""`yunhe members`: who is a member at this registrar, and what becomes of one (reviewer)."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.sdk import Space

app = typer.Typer(help="Members of this registrar (reviewer).", no_args_is_help=True)

Code = Annotated[
    str, typer.Argument(metavar="CODE", help="Code of the connector, or how only that begins.")
]
Reasons = Annotated[
    list[str], typer.Option("--reason", help="Why, as the member will read it; repeatable.")
]


@command(app, "list")
def list_(desk: Desk) -> None:
    """List every connector ever registered here, with its standing."""
    with desk.space() as space:
        found = space.members()
    columns = desk.columns(
        "code name did state credential_expires_at reasons",
        "CODE NAME DID STATE CREDENTIAL REASONS",
        "编号 名称 DID 状态 凭证到期 原因",
    )
    rows = [
        {
            **each,
            "credential_expires_at": desk.instant(each.get("credential_expires_at")),
            "reasons": "; ".join(each.get("reasons") or ()),
        }
        for each in found
    ]
    desk.show(found, lambda: desk.table(rows, columns))


@command(app)
def suspend(desk: Desk, code: Code, reason: Reasons) -> None:
    """Refuse a member everywhere until it is resumed."""
    _change(desk, code, "suspend", reason)


@command(app)
def resume(desk: Desk, code: Code, reason: Reasons) -> None:
    """Take a suspended member back."""
    _change(desk, code, "resume", reason)


@command(app)
def revoke(desk: Desk, code: Code, reason: Reasons) -> None:
    """Put a member out for good; every node refuses it within five seconds."""
    _change(desk, code, "revoke", reason)


def _change(desk: Desk, code: str, step: str, reasons: list[str]) -> None:
    with desk.space() as space:
        found = space.change_standing(_whole(desk, space, code), step, reasons)
    desk.show(found, f"{found['code']}  {desk.state(found['state'])}")


def _whole(desk: Desk, space: Space, code: str) -> str:
    return desk.whole(code, lambda: [each["code"] for each in space.members()])
