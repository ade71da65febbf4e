"""`yunhe search`: find data products of all nodes, in Chinese or English."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer()


@command(app)
def search(
    desk: Desk,
    words: Annotated[list[str], typer.Argument(help="Chinese or English words.")],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    offset: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Find data products of all nodes."""
    with desk.space() as space:
        hits = space.search(" ".join(words), limit, offset)
    title = desk.say("title_en", "title_zh")
    heads = desk.say("CODE TITLE PROVIDER", "代码 名称 提供方").split()
    desk.rows(hits, dict(zip(("code", title, "provider_name"), heads, strict=True)))
