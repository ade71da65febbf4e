"""A JSON object off the wire, read field by field; what is wrong is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yunhe.contracts import Why
from yunhe.kernel import canonical, limits
from yunhe.protocols.dsp.errors import BadMessage


class Body:
    """A JSON object off the wire, read field by field."""

    def __init__(self, data: Any, where: str = "") -> None:
        if not isinstance(data, dict):
            raise BadMessage(field=where or "the body", why="is not an object")
        self.data: Mapping[str, Any] = data
        self._where = where

    def _name(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def text(self, name: str, default: str | None = None, chars_max: int = 0) -> str:
        """A text; `{"@id": text}` counts as one. Required unless there is a default."""
        value = self.data.get(name)
        if isinstance(value, dict) and "@id" in value:
            value = value["@id"]
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value:
            raise BadMessage(field=self._name(name), why="is not a text")
        if len(value) > (chars_max or limits.PID_CHARS_MAX):
            raise BadMessage(field=self._name(name), why="is too long")
        if clean(value) != value:
            raise BadMessage(field=self._name(name), why="has characters that no text may have")
        return value

    def object(self, name: str) -> Body:
        """A required object."""
        return Body(self.data.get(name), self._name(name))

    def expect(self, *types: str) -> None:
        """`@type`, where it is given, is one of `types`, bare, prefixed or as a whole IRI."""
        said = self.data.get("@type", types[0])
        said = said[0] if isinstance(said, list) and said else said
        if not isinstance(said, str) or said.replace("/", ":").rpartition(":")[2] not in types:
            raise BadMessage(field=self._name("@type"), why=f"is not {types[0]}")

    def why(self) -> Why:
        """Code and reasons; a reason may be a text or any object."""
        reasons = self.data.get("reason", [])
        reasons = reasons if isinstance(reasons, list) else [reasons]
        texts = tuple(_reason(item) for item in reasons[: limits.REASONS_MAX])
        code = self.data.get("code", "")
        return Why(clean(str(code)[:80]) if isinstance(code, str | int) else "", texts)


def clean(text: str) -> str:
    """The text without what a database cannot keep: control characters, half surrogates."""
    if text.isprintable():  # then it holds neither
        return text
    kept = "".join(c for c in text if c >= " " or c in "\t\n")
    return kept.encode("utf-8", "replace").decode()


def _reason(item: Any) -> str:
    if isinstance(item, dict):
        for name in ("message", "@value", "description"):
            if isinstance(item.get(name), str):
                return clean(str(item[name])[: limits.REASON_CHARS_MAX])
        item = canonical.dumps(item).decode()
    return clean(str(item)[: limits.REASON_CHARS_MAX])
