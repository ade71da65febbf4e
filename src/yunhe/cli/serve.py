"""`yunhe serve`: run the node that a `node.toml` describes, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import ExtraMissing
from yunhe.kernel.settings import load

app = typer.Typer()


@command(app, options=("json", "lang"))
def serve(
    desk: Desk,  # noqa: ARG001 - every command has one
    config: Annotated[Path, typer.Argument(help="The node's settings.")] = Path("node.toml"),
) -> None:
    """Run a node in the foreground."""
    settings = load(config)
    try:
        from yunhe import node
    except ModuleNotFoundError as error:
        raise ExtraMissing(extra="node", module=error.name) from error
    node.serve(settings)
