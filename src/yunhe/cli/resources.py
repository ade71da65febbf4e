"""`yunhe resources`: the data resources of this node; look at one, take one back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yunhe.cli.arguments import Id
from yunhe.cli.desk import Desk, command

app = typer.Typer(help="The data resources of this node.", no_args_is_help=True)

Every = Annotated[bool, typer.Option("--all", help="Also what was withdrawn.")]
GONE = "withdrawn"


@command(app, "list")
def list_(desk: Desk, every: Every = False) -> None:
    """List the resources of this node."""
    with desk.space() as space:
        found = [each for each in space.resources() if every or each.state != GONE]
    columns = desk.columns(
        f"id code state title_{desk.lang}",
        "ID CODE STATE TITLE",
        "编号 代码 状态 名称",
    )
    desk.rows(found, columns)


@command(app)
def show(desk: Desk, resource: Id) -> None:
    """Show one resource: its tables and columns, and why it was returned."""
    with desk.space() as space:
        found = space.resource(desk.whole(resource, space.resources))

    def human() -> None:
        desk.out.print(f"{found.id}  {found.code or '–'}  {desk.state(found.state)}", markup=False)
        desk.out.print(f"{found.title_zh} / {found.title_en}", markup=False)
        for table, drift in found.drift.items():
            desk.out.print(f"  ! {desk.labelled(table, _drift(desk, drift))}", markup=False)
        for reason in found.reasons:
            desk.out.print(f"  - {desk.reason(reason)}", markup=False)
        rows = (
            {"column": f"{table['name']}.{column['name']}", "type": column["type"]}
            for table in found.tables
            for column in table.get("columns", ())
        )
        columns = desk.columns("column type", "COLUMN TYPE", "列 类型")
        desk.table(rows, columns)

    desk.show(found, human)


def _drift(desk: Desk, drift: dict[str, Any]) -> str:
    """What differs from the description, in one line."""
    words = {
        "gone": desk.say("gone", "缺失"),
        "changed": desk.say("of another type", "类型已变"),
        "extra": desk.say("new, ignored", "新增，已忽略"),
        "partial": desk.say("not in every file", "部分文件缺失"),
    }
    told = [desk.labelled(words[kind], ", ".join(drift[kind])) for kind in words if drift.get(kind)]
    since = desk.instant(drift["since"])
    return desk.say("; ", "；").join([*told, desk.say(f"since {since}", f"自 {since} 起")])


@command(app)
def profile(desk: Desk, resource: Id) -> None:
    """Measure the tables of a resource as their sources are now."""
    with desk.space() as space:
        found = space.profile_resource(desk.whole(resource, space.resources))
    rows = [
        {
            "column": f"{table['name']}.{column['name']}",
            "type": column["type"],
            "null": f"{column['null_fraction']:.1%}",
            "distinct": column["distinct_approx"],
        }
        for table in found
        for column in table["columns"]
    ]
    columns = desk.columns(
        "column type null distinct", "COLUMN TYPE NULL DISTINCT", "列 类型 空值 约不同值"
    )

    def human() -> None:
        for table in found:
            count = desk.say(f"{table['rows']} rows", f"{table['rows']} 行")
            desk.out.print(f"{table['name']}  {count}", markup=False)
        desk.table(rows, columns)

    desk.show(found, human)


@command(app)
def sample(
    desk: Desk,
    resource: Id,
    table: Annotated[str, typer.Option(help="The table; the first one if left out.")] = "",
    rows: Annotated[int, typer.Option(min=1, max=100, help="How many rows.")] = 10,
) -> None:
    """Show the first rows of a table as they are now, for the provider's own eyes."""
    with desk.space() as space:
        whole = desk.whole(resource, space.resources)
        named = table or space.resource(whole).tables[0]["name"]
        found = space.sample_resource(whole, named, rows)

    def human() -> None:
        desk.table(
            ({name: "" if v is None else v for name, v in row.items()} for row in found),
            {name: name for name in (found[0] if found else ())},
        )

    desk.show(found, human)


@command(app)
def withdraw(desk: Desk, resource: Id) -> None:
    """Take a resource back for good; refused while a product stands on it."""
    with desk.space() as space:
        found = space.withdraw_resource(desk.whole(resource, space.resources))
    desk.show(found, f"{found.code or found.id}  {desk.state(found.state)}")
