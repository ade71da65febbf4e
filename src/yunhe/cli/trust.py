"""`yunhe trust`: gather the keys for `yunhe verify` from nodes whose addresses one knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import unusable
from yunhe.kernel import canonical
from yunhe.sdk import gather_trust

app = typer.Typer()


@command(app, options=("json", "lang"))
def trust(
    desk: Desk,
    root: Annotated[list[str], typer.Option(help="Address of a trust root; repeatable.")],
    node: Annotated[list[str], typer.Option(help="Address of a party's node; repeatable.")],
    out: Annotated[Path, typer.Option(help="The trust file to write.")],
) -> None:
    """Write a trust file: keys of trust roots, parties and logs, from their own addresses."""
    found = gather_trust(root, node)
    try:
        out.write_bytes(canonical.dumps(found))
    except OSError as error:
        raise unusable(out, error) from error
    names = dict.fromkeys([each["did"] for each in found["roots"]] + list(found["parties"]))
    desk.show({"file": str(out), **found}, "\n".join([str(out), *names, *found["logs"]]))
