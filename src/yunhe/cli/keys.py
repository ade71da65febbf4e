"""`yunhe keys`: the keys this node goes by (admin)."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer(help="Keys of this node (admin).", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keys of this node (admin)."""


@command(app)
def rotate(
    desk: Desk,
    purpose: Annotated[str, typer.Argument(metavar="did|dcp", help="Which key to replace.")],
) -> None:
    """Make a new key; it signs at once, the old one goes on verifying for 90 days."""
    with desk.space() as space:
        found = space.rotate_key(purpose)
    old, new = found["old"], found["new"]
    desk.show(found, desk.say(f"{purpose}: {old} -> {new}", f"{purpose}：{old} -> {new}"))
