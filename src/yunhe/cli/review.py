"""`yunhe review`: what waits for review at a functional node, and the decisions."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
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
    heads = desk.say("ID KIND STATE NAME TITLE CODE", "编号 类型 状态 主体 名称 代码").split()
    title = desk.say("title_en", "title_zh")
    desk.rows(found, dict(zip(("id", "kind", "state", "name", title, "code"), heads, strict=True)))


@command(app)
def decide(
    desk: Desk,
    item: Annotated[str, typer.Argument(metavar="ID")],
    decision: Annotated[str, typer.Argument(help="approve, return or reject")],
    reason: Annotated[list[str] | None, typer.Option(help="Say why; may be repeated.")] = None,
) -> None:
    """Decide about one of them."""
    if decision not in DECISIONS:
        raise BadArgument(what=repr(decision), why=f"choose from {', '.join(DECISIONS)}")
    with desk.space() as space:
        registered = {found.id for found in space.registrations()}
        act = space.review_registration if item in registered else space.review
        found = act(item, decision, reason or [])
    desk.show(found, f"{found.id}  {found.state}  {found.code or '–'}")
