"""Reading what people type: `name=value` members of terms, and form files.

In: command-line text and TOML or JSON files. Out: plain values for the SDK, or BadArgument.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from yunhe.cli.errors import BadArgument
from yunhe.kernel import canonical
from yunhe.kernel.clock import iso
from yunhe.kernel.errors import YunheError

FILE_BYTES_MAX = 64 << 20


def members(pairs: Sequence[str]) -> dict[str, Any]:
    """`uses_max=20`, `price={"per_use_fen":100}`, `expires_at=2027-01-01T00:00:00Z` as a dict."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadArgument(what=repr(pair), why="the form is name=value")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text  # a plain word is a text
    return found


def form(path: Path) -> dict[str, Any]:
    """A form from a `.toml` or `.json` file, dates as ISO text."""
    try:
        data = path.read_bytes()
        found = tomllib.loads(data.decode()) if path.suffix == ".toml" else json.loads(data)
    except (OSError, ValueError) as error:
        raise BadArgument(detail=str(error), what=str(path), why=_why(error)) from error
    if not isinstance(found, dict):
        raise BadArgument(what=str(path), why="it is not an object")
    return {name: _dated(value) for name, value in found.items()}


def json_file(path: Path) -> dict[str, Any]:
    """A JSON object read strictly: no duplicate members, bounded size and depth."""
    try:
        found = canonical.loads_strict(path.read_bytes(), bytes_max=FILE_BYTES_MAX)
    except (OSError, YunheError) as error:
        why = error.sentence() if isinstance(error, YunheError) else _why(error)
        raise BadArgument(detail=str(error), what=str(path), why=why.rstrip(".")) from error
    if not isinstance(found, dict):
        raise BadArgument(what=str(path), why="it is not an object")
    return found


def _why(error: Exception) -> str:
    return (error.strerror or "not readable") if isinstance(error, OSError) else str(error)


def _dated(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadArgument(what=str(value), why="the time zone is missing")
        return iso(value)
    if isinstance(value, dict):
        return {name: _dated(member) for name, member in value.items()}
    return [_dated(member) for member in value] if isinstance(value, list) else value
