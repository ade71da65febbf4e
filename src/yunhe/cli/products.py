"""`yunhe products`: the products of this node; take a listing back."""

from __future__ import annotations

import typer

from yunhe.cli.arguments import Id
from yunhe.cli.desk import Desk, command
from yunhe.cli.resources import GONE, Every

app = typer.Typer(help="The data products of this node.", no_args_is_help=True)


@command(app, "list")
def list_(desk: Desk, every: Every = False) -> None:
    """List the products of this node."""
    with desk.space() as space:
        found = [each for each in space.products() if every or each.state != GONE]
    columns = desk.columns(
        f"id code state title_{desk.lang}",
        "ID CODE STATE TITLE",
        "编号 代码 状态 名称",
    )
    desk.rows(found, columns)


@command(app)
def withdraw(
    desk: Desk,
    product: Id,
) -> None:
    """Take a listing back on every node; running contracts stay."""
    with desk.space() as space:
        found = space.withdraw(desk.whole(product, space.products))
    desk.show(found, f"{found.code or found.id}  {desk.state(found.state)}")
