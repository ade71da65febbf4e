"""`yunhe init`: write the settings and the keys of a new node.

In: flags, or answers at a terminal. Out: `node.toml`, the data directory with its keys (0600).
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.kernel import settings
from yunhe.kernel.keys import PURPOSES, KeyStore

app = typer.Typer()

Text = Annotated[str, typer.Option()]
Texts = Annotated[list[str] | None, typer.Option()]

_ASKED = ("name", "subject_code", "subject_name", "subject_name_en", "address")


@command(app, options=("json", "lang"))
def init(
    desk: Desk,
    folder: Annotated[Path, typer.Argument(help="Where the node lives.")] = Path(),
    name: Text = "",
    subject_code: Annotated[str, typer.Option(help="Unified social credit code.")] = "",
    subject_name: Text = "",
    subject_name_en: Text = "",
    address: Annotated[str, typer.Option(help="Public base URL of the node.")] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="connector, functional-node; repeatable.")
    ] = None,
    region: Text = "3301",
    listen_host: Text = "127.0.0.1",
    listen_port: Annotated[int, typer.Option(min=1, max=65535)] = 8100,
    database_url: Annotated[str, typer.Option(help="Default: SQLite in the folder.")] = "",
    parent_address: Text = "",
    parent_did: Text = "",
    trust_root: Texts = None,
    data_root: Annotated[
        list[str] | None, typer.Option(help="Folders the node may read data from.")
    ] = None,
    review: Annotated[str, typer.Option(help="manual or auto (functional node).")] = "manual",
    development: Annotated[bool, typer.Option("--development", help="Allow plain http.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing node.toml.")] = False,
) -> None:
    """Write node.toml and the keys of a new node; asks for what is missing at a terminal."""
    given = locals()
    values = {key: given[key] for key in _ASKED}
    values = {key: value or _ask(desk, key) for key, value in values.items()}
    values |= {
        "data_dir": "data",
        "roles": role or ["connector"],
        "region": region,
        "listen_host": listen_host,
        "listen_port": listen_port,
        "database_url": database_url,
        "parent_address": parent_address,
        "parent_did": parent_did,
        "data_roots": data_root or [],
        "review": review,
        "development": development,
        "trust_roots": [{"did": did} for did in trust_root or []],
    }
    _write(desk, folder, values, force)


def _ask(desk: Desk, key: str) -> str:
    if desk.json or not sys.stdin.isatty():
        raise BadArgument(what=f"--{key.replace('_', '-')}", why="it is required")
    answer: str = typer.prompt(key.replace("_", " "), err=True)
    return answer


def _write(desk: Desk, folder: Path, values: dict[str, Any], force: bool) -> None:
    path = folder / "node.toml"
    text = _toml({key: value for key, value in values.items() if value not in ("", [])})
    config = settings.build(tomllib.loads(text), {}, folder)
    if path.exists() and not force:
        raise BadArgument(what=str(path), why="it exists; --force replaces it and keeps the keys")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The database URL may hold a password.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        config.data_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise BadArgument(what=str(path), why=error.strerror or "not writable") from error
    keys = KeyStore(config.data_dir / "keys")
    public = {purpose: keys.key(purpose).public_jwk() for purpose in PURPOSES}
    facts = {"file": str(path), "did": config.did, "keys": public}
    desk.show(facts, f"{path}\n{config.did}\n{desk.say('next', '下一步')}: yunhe serve {path}")


def _toml(values: dict[str, Any]) -> str:
    tables = {key: value for key, value in values.items() if key == "trust_roots"}
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if key not in tables]
    for key, rows in tables.items():
        for row in rows:
            lines += [
                "",
                f"[[{key}]]",
                *(f"{name} = {_value(value)}" for name, value in row.items()),
            ]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    # A JSON text, number, boolean or list of texts is also one in TOML, but for one control.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
