"""Arguments that several commands take, each with one name, one help and one meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from yunhe.cli.desk import Desk
from yunhe.cli.errors import BadArgument

PREFIX_HELP = "Its id, or how only that id begins."

Id = Annotated[str, typer.Argument(metavar="ID", help=PREFIX_HELP)]
Contract = Annotated[str, typer.Argument(metavar="CONTRACT", help=PREFIX_HELP)]
Sql = Annotated[
    str, typer.Argument(metavar="SQL", help="One SELECT; tables go by their names in the product.")
]
Purpose = Annotated[str, typer.Option(help="Purpose; default: the only one the contract names.")]


def only_purpose(desk: Desk, agreed: Sequence[str]) -> str:
    """The one purpose agreed, told to people; raises BadArgument where there are several."""
    if len(agreed) != 1:
        named = ", ".join(agreed) or "–"
        en = f"choose one of the purposes agreed: {named}"
        raise BadArgument(what="--purpose", why=en, why_zh=f"请从约定的用途中选择：{named}")
    desk.note(f"purpose: {agreed[0]}", f"用途：{agreed[0]}")
    return agreed[0]
