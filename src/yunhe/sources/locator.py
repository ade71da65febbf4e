"""A `Locator`: where a table lies, as its provider writes it; parsed once, compared as text.

labs.csv  labs/                 a path: its kind by the suffix of what lies there
csv:labs.txt?encoding=gb18030   a path with its kind and options
s3://warehouse/2026/labs/       connection `warehouse` of node.toml, then a key or a prefix
http-json:registry/v1/cases     connection `registry`, then a path below its address
postgresql:his/public.labs      connection `his`, then schema.table
spark:lake/curated.labs         connection `lake`, then schema.table of that engine
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yunhe.kernel import limits
from yunhe.sources.errors import LocatorNotValid

# Kinds whose places are paths of this machine, then those behind a connection of node.toml.
LOCAL: Final = ("parquet", "csv", "json", "arrow", "dicom")
CONNECTED: Final = ("s3", "http-json", "postgresql", "mysql", "sqlite", "spark")
# Kinds that are asked where they are, in their own language; no snapshot is made of them.
IN_PLACE: Final = frozenset({"postgresql", "mysql", "sqlite", "spark"})
OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "parquet": frozenset(),
    "csv": frozenset({"encoding", "likely", "delimiter", "text"}),
    "json": frozenset({"encoding", "likely", "records", "text"}),
    "arrow": frozenset(),
    "dicom": frozenset({"table"}),
    "s3": frozenset({"format", "encoding", "likely", "delimiter", "records", "text"}),
    "spark": frozenset({"format"}),
}
_PREFIX: Final = re.compile(r"([a-z][a-z0-9-]*):(?!\\)(.*)", re.DOTALL)
_CONNECTION: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Locator:
    """Kind (empty: a plain path), connection (empty: this machine), place there, options."""

    kind: str
    path: str
    connection: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_place(self) -> bool:
        """Whether it is asked where it is (a database); else a snapshot of it is."""
        return self.kind in IN_PLACE

    def __str__(self) -> str:
        """The text `parse` reads back."""
        if not self.kind:
            return self.path
        slashes = "//" if self.kind == "s3" else ""
        path = self.path
        if self.kind in OPTIONS:
            path = path.replace("%", "%25").replace("?", "%3F")
        place = f"{self.connection}/{path}" if self.connection else path
        tail = "&".join(f"{name}={self.options[name]}" for name in sorted(self.options))
        return f"{self.kind}:{slashes}{place}" + (f"?{tail}" if tail else "")


def parse(text: str) -> Locator:
    """Read a locator; raises LocatorNotValid naming the part that is wrong."""
    if not text or len(text) > limits.LOCATOR_CHARS_MAX:
        raise _bad(text, "it is empty or too long", "为空或过长")
    match = _PREFIX.fullmatch(text)
    if match is None or match[1] not in (*LOCAL, *CONNECTED):
        if match is not None and match[2].startswith("//"):
            known = ", ".join((*LOCAL, *CONNECTED))
            raise _bad(text, f"the kinds are {known}", f"可用类型为 {known}")
        return Locator("", text)
    kind, rest = match[1], match[2]
    if kind in CONNECTED:
        return _connected(text, kind, rest.removeprefix("//"))
    path, options = _options(text, kind, rest)
    if not path:
        raise _bad(text, "it names no path", "未写路径")
    return Locator(kind, path, "", options)


def _connected(text: str, kind: str, rest: str) -> Locator:
    name, slash, path = rest.partition("/")
    if not _CONNECTION.fullmatch(name) or not slash:
        en = f"after {kind}: comes the name of a connection of node.toml, a slash and the place"
        raise _bad(text, en, f"{kind}: 之后应为 node.toml 中的连接名、斜杠和位置")
    options: dict[str, str] = {}
    if kind in OPTIONS:  # elsewhere a question mark is part of the place
        path, options = _options(text, kind, path)
    return Locator(kind, path, name, options)


def _options(text: str, kind: str, rest: str) -> tuple[str, dict[str, str]]:
    path, mark, tail = rest.partition("?")
    options: dict[str, str] = {}
    for part in tail.split("&") if mark else ():
        name, equals, value = part.partition("=")
        if name not in OPTIONS[kind] or not equals or not value or name in options:
            known = ", ".join(sorted(OPTIONS[kind])) or "-"
            en = f"{part[:64]!r} is no option of {kind} (there are: {known})"
            raise _bad(text, en, f"{part[:64]!r} 不是 {kind} 的选项（可用：{known}）")
        options[name] = value
    return path.replace("%3F", "?").replace("%25", "%"), options


def _bad(text: str, en: str, zh: str) -> LocatorNotValid:
    return LocatorNotValid(locator=text[:200], why=en, why_zh=zh)
