"""`yunhe statement`: statements of account; the provider issues, both sides see."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.arguments import Contract
from yunhe.cli.desk import Desk, command, plain
from yunhe.kernel.money import yuan
from yunhe.sdk import Statement

app = typer.Typer(help="Statements of account.", no_args_is_help=True)


def _rows(desk: Desk, found: list[Statement]) -> None:
    columns = desk.columns(
        "id contract_id state uses rows total issued differences",
        "ID CONTRACT STATE USES ROWS YUAN ISSUED DIFFERENCES",
        "编号 合约 状态 次数 行数 金额(元) 出具时间 差异",
    )
    rows = [
        {**plain(each), "total": yuan(each.total_fen), "issued": desk.instant(each.issued_at)}
        for each in found
    ]
    desk.show(found, lambda: desk.table(rows, columns))


@command(app, "list")
def list_(
    desk: Desk,
    contract: Annotated[str, typer.Option(help="Only this contract's.")] = "",
) -> None:
    """List statements, sent and received."""
    with desk.space() as space:
        key = desk.whole(contract, space.contracts) if contract else None
        found = space.statements(key)
    _rows(desk, found)


@command(app)
def issue(desk: Desk, contract: Contract) -> None:
    """Close the open period of a contract and send its statement (provider)."""
    with desk.space() as space:
        found = space.issue_statement(desk.whole(contract, space.contracts))
    _rows(desk, [found])
