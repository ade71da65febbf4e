"""`yunhe resources`: the data resources of this node; look at one, take one back."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer(help="The data resources of this node.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or how only that id begins.")]


@command(app, "list")
def list_(desk: Desk) -> None:
    """List the resources of this node."""
    with desk.space() as space:
        found = space.resources()
    names = ("id", "code", "state", desk.say("title_en", "title_zh"))
    heads = desk.say("ID CODE STATE TITLE", "编号 代码 状态 名称").split()
    desk.rows(found, dict(zip(names, heads, strict=True)))


@command(app)
def show(desk: Desk, resource: Id) -> None:
    """Show one resource: its tables and columns, and why it was returned."""
    with desk.space() as space:
        found = space.resource(desk.whole(resource, space.resources))

    def human() -> None:
        desk.out.print(f"{found.id}  {found.code or '–'}  {found.state}", markup=False)
        desk.out.print(f"{found.title_zh} / {found.title_en}", markup=False)
        for reason in found.reasons:
            desk.out.print(f"  - {desk.reason(reason)}", markup=False)
        columns = (
            {"column": f"{table['name']}.{column['name']}", "type": column["type"]}
            for table in found.tables
            for column in table.get("columns", ())
        )
        heads = desk.say("COLUMN TYPE", "列 类型").split()
        desk.table(columns, dict(zip(("column", "type"), heads, strict=True)))

    desk.show(found, human)


@command(app)
def withdraw(desk: Desk, resource: Id) -> None:
    """Take a resource back for good; refused while a product stands on it."""
    with desk.space() as space:
        found = space.withdraw_resource(desk.whole(resource, space.resources))
    desk.show(found, f"{found.code or found.id}  {found.state}")
