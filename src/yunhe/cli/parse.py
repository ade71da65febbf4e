"""Reading what people type: `name=value` members of terms, and form files.

In: command-line text and TOML or JSON files. Out: plain values for the SDK, or BadArgument.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from yunhe.cli.errors import BadArgument, unusable
from yunhe.kernel import canonical
from yunhe.kernel.clock import iso
from yunhe.kernel.errors import TooLarge, YunheError

FILE_BYTES_MAX = 64 << 20
_PLACE: Final = re.compile(r"line (\d+),? column (\d+)")


def members(pairs: Sequence[str]) -> dict[str, Any]:
    """`uses_max=20`, `price={"per_use_fen":100}`, `expires_at=2027-01-01T00:00:00Z` as a dict."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadArgument(
                what=repr(pair), why="the form is name=value", why_zh="格式应为 名称=值"
            )
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
    except OSError as error:
        raise unusable(path, error) from error
    except UnicodeDecodeError as error:
        en, zh = "it is not a text; a form is TOML or JSON", "不是文本文件；表单须为 TOML 或 JSON"
        raise BadArgument(str(error), what=str(path), why=en, why_zh=zh) from error
    except ValueError as error:
        en, zh = _syntax(path, error)
        raise BadArgument(str(error), what=str(path), why=en, why_zh=zh) from error
    if not isinstance(found, dict):
        raise _no_object(path)
    return {name: _dated(value) for name, value in found.items()}


def json_file(path: Path) -> dict[str, Any]:
    """A JSON object read strictly: no duplicate members, bounded size and depth."""
    try:
        with path.open("rb") as file:  # a stranger made it: what is too much is not even read
            data = file.read(FILE_BYTES_MAX + 1)
        found = canonical.loads_strict(data, bytes_max=FILE_BYTES_MAX)
    except OSError as error:
        raise unusable(path, error) from error
    except TooLarge as error:
        en, zh = "it is larger than 64 MB", "文件大于 64 MB"
        raise BadArgument(str(error), what=str(path), why=en, why_zh=zh) from error
    except YunheError as error:
        en, zh = "it is not a JSON document", "不是有效的 JSON 文档"
        raise BadArgument(str(error), what=str(path), why=en, why_zh=zh) from error
    if not isinstance(found, dict):
        raise _no_object(path)
    return found


def _no_object(path: Path) -> BadArgument:
    return BadArgument(what=str(path), why="it is not an object", why_zh="内容不是一个对象")


def _syntax(path: Path, error: ValueError) -> tuple[str, str]:
    """What is wrong with the text of a form, and where, in both languages."""
    place = _PLACE.search(str(error))
    where = "第 {} 行第 {} 列".format(*place.groups()) if place else "文件末尾"
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    return f"it is not {kind}: {error}", f"{where}不符合 {kind} 语法"


def _dated(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            en, zh = "the time zone is missing: end it with Z", "缺少时区：请以 Z 结尾"
            raise BadArgument(what=str(value), why=en, why_zh=zh)
        return iso(value)
    if isinstance(value, dict):
        return {name: _dated(member) for name, member in value.items()}
    return [_dated(member) for member in value] if isinstance(value, list) else value
