"""`yunhe search`: find data products of all nodes, in Chinese or English."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli import terms
from yunhe.cli.desk import Desk, command
from yunhe.sdk import Hit

app = typer.Typer()


@command(app)
def search(
    desk: Desk,
    words: Annotated[list[str], typer.Argument(help="Chinese or English words.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Products to show.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Products to skip.")] = 0,
) -> None:
    """Find data products of all nodes."""
    with desk.space() as space:
        hits = space.search(" ".join(words), limit, offset)
    columns = desk.columns(
        f"code title_{desk.lang} provider_name cost",
        "CODE TITLE PROVIDER PRICE",
        "代码 名称 提供方 价格",
    )

    def human() -> None:
        rows = [{**vars(hit), "cost": _price(desk, hit)} for hit in hits]
        if rows:
            desk.table(rows, columns)
        else:
            desk.note("nothing found", "没有找到")

    desk.show(hits, human)


def _price(desk: Desk, hit: Hit) -> str:
    if hit.price is None:
        return "–"
    use, row = (hit.price.get(name) for name in ("per_use_fen", "per_row_fen"))
    return terms.price(desk, use or 0, row or 0)
