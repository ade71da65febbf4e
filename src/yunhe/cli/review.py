"""`yunhe review`: what waits for review at a functional node, and the decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

import typer

from yunhe.cli import words
from yunhe.cli.arguments import Id
from yunhe.cli.desk import Desk, command, plain
from yunhe.cli.errors import BadArgument
from yunhe.kernel.errors import NotFound
from yunhe.sdk import Application, Space

app = typer.Typer(help="Review what was submitted to this node.", no_args_is_help=True)

DECISIONS = ("approve", "return", "reject")


# The members of what was submitted, as a reviewer reads them in Chinese.
_NAMES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "id": "编号",
        "kind": "类型",
        "state": "状态",
        "name": "名称",
        "title_zh": "中文名称",
        "title_en": "英文名称",
        "subject_code": "主体代码",
        "did": "DID",
        "provider_did": "提供方 DID",
        "provider_name": "提供方连接器",
        "code": "代码",
        "submitted_at": "提交时间",
        "reasons": "意见",
        "warnings": "需人工审核",
        "manifest": "应用清单",
    }
)


def _waiting(space: Space, state: str | None) -> list[Application]:
    return space.applications(state) + space.registrations(state)


def _subjects(space: Space, found: Sequence[Application]) -> dict[str, str]:
    """The names of the subjects by DID, where anything but a subject waits."""
    if all(each.kind == "subject" for each in found):
        return {}
    known = space.applications(None)
    return {str(each.did): each.name for each in known if each.kind == "subject"}


@command(app, "list")
def list_(
    desk: Desk,
    state: Annotated[str, typer.Option(help="Only this state; `all` for every one.")] = "submitted",
) -> None:
    """List subjects, connectors, resources, products and listings by state."""
    with desk.space() as space:
        found = _waiting(space, None if state == "all" else state)
        subjects = _subjects(space, found)
    columns = desk.columns(
        "id kind state by title code",
        "ID KIND STATE NAME TITLE CODE",
        "编号 类型 状态 主体 名称 代码",
    )
    rows = [
        {
            **plain(each),
            "by": subjects.get(str(each.did or each.provider_did))
            or each.name
            or each.provider_name,
            "title": _title(desk, each),
        }
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
            label = desk.say(name, _NAMES_ZH.get(name, name))
            if isinstance(value, list):
                for each in value:
                    desk.out.print(desk.labelled(label, desk.reason(each)), markup=False)
            elif value:
                known = words.shown(desk.lang, name, value)
                shown = desk.instant(value) if name.endswith("_at") else known
                desk.out.print(desk.labelled(label, shown), markup=False)

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
