"""`yunhe verify`: check an evidence bundle offline, with keys from outside the bundle.

In: a bundle file and a trust file. Out: the table of checks, or the refusal that names the field
and exit code 4. The one command that reads evidence itself: an auditor needs no node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe import evidence
from yunhe.cli import parse
from yunhe.cli.desk import Desk, command

app = typer.Typer()


@command(app, options=("json", "lang"))
def verify(
    desk: Desk,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle file.")],
    trust: Annotated[
        Path, typer.Option(metavar="TRUST.json", help="Keys you trust, from elsewhere.")
    ],
) -> None:
    """Check a bundle offline; exits 4 and names the field when it does not hold."""
    report = evidence.verify_bundle(parse.json_file(bundle), parse.json_file(trust))
    heads = desk.say("CHECK RESULT", "检查 结果").split()
    desk.show(
        report, lambda: desk.table(map(vars, report.checks), dict(zip("nd", heads, strict=True)))
    )
