"""The command line: one file a noun, talking through the SDK to one's own node.

In: arguments and YUNHE_URL, YUNHE_TOKEN. Out: tables or JSON, and documented exit codes. Only
`serve` and `demo` build a node; `verify` alone reads evidence itself, so that it works offline.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import yunhe
from yunhe.cli import (
    apps,
    backup,
    contracts,
    demo,
    doctor,
    fabric,
    init,
    keys,
    members,
    negotiate,
    pages,
    products,
    publish,
    register,
    resources,
    review,
    search,
    serve,
    sql,
    statement,
    tokens,
    transfers,
    trust,
    usage,
    vault,
    verify,
    watermark,
)

app = typer.Typer(
    name="yunhe",
    help="Yunhe (运河): an open trusted data space, spoken to at your own node.",
    epilog="Begin with `yunhe demo`: the whole life of a data product, on this machine. "
    "Every option: yunhe COMMAND --help. More, and exit codes: docs/cli.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yunhe {yunhe.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Root options; --version acts in its callback."""


for single in (init, serve, doctor, backup, demo, register, publish, search, negotiate, sql):
    app.add_typer(single.app)
for single in (verify, trust):
    app.add_typer(single.app)
app.add_typer(fabric.lineage_app)
for noun, group in {
    "fabric": fabric.app,
    "resources": resources.app,
    "products": products.app,
    "negotiations": negotiate.held,
    "contracts": contracts.app,
    "transfers": transfers.app,
    "vault": vault.app,
    "apps": apps.app,
    "watermark": watermark.app,
    "statement": statement.app,
    "review": review.app,
    "tokens": tokens.app,
    "members": members.app,
    "keys": keys.app,
}.items():
    app.add_typer(group, name=noun)


def main() -> None:
    """The `yunhe` command, its help in the language of the line or of the environment."""
    words = sys.argv[1:]
    lang = usage.spoken(words)
    pages.fold()
    if lang == "zh":
        pages.retitle()
    sys.exit(usage.run(pages.arrange(typer.main.get_command(app), lang), words))
