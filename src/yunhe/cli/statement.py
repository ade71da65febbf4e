"""`yunhe statement`: statements of account; the provider issues, both sides see."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.sdk import Statement

app = typer.Typer(help="Statements of account.", no_args_is_help=True)


def _rows(desk: Desk, found: list[Statement]) -> None:
    names = ("id", "contract_id", "state", "uses", "rows", "total_fen", "differences")
    heads = desk.say(
        "ID CONTRACT STATE USES ROWS FEN DIFFERENCES",
        "编号 合约 状态 次数 行数 金额(分) 差异",
    ).split()
    desk.rows(found, dict(zip(names, heads, strict=True)))


@command(app, "list")
def list_(
    desk: Desk,
    contract: Annotated[str, typer.Option(help="Only this contract's.")] = "",
) -> None:
    """List statements."""
    with desk.space() as space:
        found = space.statements(contract or None)
    _rows(desk, found)


@command(app)
def issue(desk: Desk, contract: Annotated[str, typer.Argument(metavar="CONTRACT")]) -> None:
    """Close the open period of a contract and send its statement (provider)."""
    with desk.space() as space:
        found = space.issue_statement(contract)
    _rows(desk, [found])
