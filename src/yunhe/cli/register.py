"""`yunhe register`: register this node's subject and connector at its parent."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.waiting import until

app = typer.Typer()

_STOPPED = ("returned", "rejected", "cancelled", "suspended")


@command(app)
def register(
    desk: Desk,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Wait so many seconds for the review.")
    ] = 0,
    show: Annotated[bool, typer.Option("--show", help="Only show how far it is.")] = False,
) -> None:
    """Register this node at its parent, or see how far that is."""
    with desk.space() as space:
        found = space.registration() if show else space.register_self()
        if wait:
            found = until(
                desk,
                space.registration,
                done=lambda now: bool(now.connector_code) or now.state in _STOPPED,
                wait_s=wait,
            )
    desk.show(found, f"{found.state}  {found.subject_code or '–'}  {found.connector_code or '–'}")
    for reason in found.reasons:
        desk.err.print(reason, markup=False)
