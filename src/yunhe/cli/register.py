"""`yunhe register`: register this node's subject and connector at its parent."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli import words
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import Exit
from yunhe.cli.waiting import until
from yunhe.kernel import tongues
from yunhe.sdk import Registration

app = typer.Typer()

_STOPPED = ("returned", "rejected", "cancelled", "suspended")


@command(app)
def register(
    desk: Desk,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Wait so many seconds for the review.")
    ] = 0,
    show: Annotated[bool, typer.Option("--show", help="Only show how far it is.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send it once more after it was returned.")
    ] = False,
) -> int:
    """Register this node at its parent, or see how far that is."""
    with desk.space() as space:
        found = space.registration()
        stopped = found.state in _STOPPED and not again
        if not show and not stopped:
            found = space.register_self()
        if wait and not stopped:
            found = until(
                desk,
                space.registration,
                done=lambda now: bool(now.connector_code) or now.state in _STOPPED,
                wait_s=wait,
                again="yunhe register --wait 600",
            )
    desk.show(found, lambda: _print(desk, found))
    if show or found.state not in _STOPPED:
        return Exit.OK
    desk.note(
        "nothing was sent; mend it, then: yunhe register --again"
        if stopped
        else "mend it, then: yunhe register --again",
        "未重新提交；更正后请执行 yunhe register --again"
        if stopped
        else "更正后请执行 yunhe register --again",
    )
    return Exit.REFUSED


def _print(desk: Desk, found: Registration) -> None:
    codes = f"{found.subject_code or '–'}  {found.connector_code or '–'}"
    state = words.shown(desk.lang, "state", found.state)
    desk.out.print(f"{state}  {codes}", markup=False)
    lines = {
        desk.say("step", "步骤"): words.shown(desk.lang, "kind", found.step),
        desk.say("parent", "上级节点"): found.parent_did,
        desk.say("last contact", "最近联系"): desk.instant(found.last_contact_at),
        desk.say("last error", "最近错误"): tongues.of(found.last_error or "", desk.lang),
    }
    for name, value in lines.items():
        desk.out.print(desk.labelled(name, value or "–"), markup=False)
    for reason in found.reasons:
        desk.err.print(f"  - {desk.reason(reason)}", markup=False)
