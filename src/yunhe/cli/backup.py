"""`yunhe backup`: copy what a node keeps, while it runs or stands still.

In: its settings and the name of a new folder. Out: the folder; see `kernel/backup.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.kernel import backup as copies
from yunhe.kernel.settings import load

app = typer.Typer()


@command(app, options=("json", "lang"))
def backup(
    desk: Desk,
    to: Annotated[Path, typer.Option(help="The folder to make; it holds the node's keys.")],
    config: Annotated[Path, typer.Argument(help="The node's settings.")] = Path("node.toml"),
) -> None:
    """Copy a node's database, keys and vault into a new folder, while it runs."""
    whole = copies.backup(load(config), config, to)
    desk.show({"folder": str(to), "database": whole}, str(to))
    if not whole:
        desk.note(
            "its PostgreSQL database is not in it: dump that at the same time (pg_dump)",
            "不含其 PostgreSQL 数据库：请同时用 pg_dump 导出",
        )
