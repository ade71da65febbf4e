"""`yunhe review`: what waits for review at a functional node, and the decisions."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.arguments import Id
from yunhe.cli.desk import Desk, command, plain
from yunhe.cli.errors import BadArgument
from yunhe.kernel.errors import NotFound
from yunhe.sdk import Application, Space

app = typer.Typer(help="Review what was submitted to this node.", no_args_is_help=True)

DECISIONS = ("approve", "return", "reject")


def _waiting(space: Space, state: str | None) -> list[Application]:
    return space.applications(state) + space.registrations(state)


@command(app, "list")
def list_(
    desk: Desk,
    state: Annotated[str, typer.Option(help="Only this state; `all` for every one.")] = "submitted",
) -> None:
    """List subjects, connectors, resources, products and listings by state."""
    with desk.space() as space:
        found = _waiting(space, None if state == "all" else state)
    columns = desk.columns(
        "id kind state by title code",
        "ID KIND STATE NAME TITLE CODE",
        "编号 类型 状态 主体 名称 代码",
    )
    rows = [
        {**plain(each), "by": each.name or each.provider_name, "title": _title(desk, each)}
        for each in found
    ]
    desk.show(found, lambda: desk.table(rows, columns))


def _title(desk: Desk, found: Application) -> str:
    """Its title; a subject or connector is called by its name."""
    return (
        desk.say(found.title_en, found.title_zh) or found.title_zh or found.title_en or found.name
    )


@command(app)
def show(desk: Desk, item: Id) -> None:
    """Show one of them with all that is known: who sent it, when, reasons, warnings."""
    with desk.space() as space:
        every = _waiting(space, None)
    key = desk.whole(item, lambda: every)
    found = next((each for each in every if each.id == key), None)
    if found is None:
        raise NotFound(what=item)

    def human() -> None:
        for name, value in plain(found).items():
            if isinstance(value, list):
                for each in value:
                    desk.out.print(desk.labelled(name, desk.reason(each)), markup=False)
            elif value:
                shown = desk.instant(value) if name.endswith("_at") else value
                desk.out.print(desk.labelled(name, shown), markup=False)

    desk.show(found, human)


@command(app)
def decide(
    desk: Desk,
    item: Id,
    decision: Annotated[str, typer.Argument(help="approve, return or reject")],
    reason: Annotated[
        list[str] | None, typer.Option(help="Why, as the applicant will read it; repeatable.")
    ] = None,
) -> None:
    """Decide about one of them."""
    if decision not in DECISIONS:
        known = ", ".join(DECISIONS)
        raise BadArgument(
            what=repr(decision), why=f"choose from {known}", why_zh=f"请从 {known} 中选择"
        )
    with desk.space() as space:
        registered = [found.id for found in space.registrations()]
        key = desk.whole(item, lambda: [*registered, *(a.id for a in space.applications())])
        act = space.review_registration if key in registered else space.review
        found = act(key, decision, reason or [])
    desk.show(found, f"{found.id}  {desk.state(found.state)}  {found.code or '–'}")
