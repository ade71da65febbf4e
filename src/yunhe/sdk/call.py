"""What a verb is: a `Call` to send or a `Flow` of calls, and what all verbs are made with.

In: records or their ids, arguments, answers. Out: values; no I/O here. `Space` and `AsyncSpace`
carry the same values out, so both clients share every rule.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from yunhe.kernel.errors import Invalid
from yunhe.sdk import model

T = TypeVar("T")
R = TypeVar("R")

PAUSE_S = 0.2  # between two looks at what is not there yet


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to `/api/v1` and the reader of its answer."""

    method: str
    path: str
    read: Callable[[Any], T]
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    wait_s: float = 0.0  # how long the node may hold it beyond the usual timeout


@dataclass(frozen=True)
class Pause:
    """A flow asks its driver to wait."""

    seconds: float


Flow = Generator["Call[Any] | Pause", Any, T]


# what is asked


def id_of(thing: Any) -> str:
    """The id of a record; an id is its own. Raises Invalid for what has none."""
    found = thing if isinstance(thing, str) else getattr(thing, "id", None)
    if not isinstance(found, str):
        kind = type(thing).__name__
        raise Invalid(
            why=f"a {kind} is no id, and has none",
            why_zh=f"{kind} 不是编号，也不含编号",
        )
    return found


def segment(thing: Any) -> str:
    """A record or its id, made safe as one segment of a path."""
    return quote(id_of(thing), safe="")


def given(**params: Any) -> dict[str, Any]:
    """The parameters that were given: neither None nor empty."""
    return {name: value for name, value in params.items() if value is not None and value != ""}


# what is answered: readers, whose KeyError, TypeError and ValueError mean an unexpected answer


def one(record: type[R]) -> Callable[[Any], R]:
    """The reader of a record."""
    return lambda data: model.read(record, data)


def many(record: type[R]) -> Callable[[Any], list[R]]:
    """The reader of a list of records."""
    return lambda data: [model.read(record, item) for item in data["items"]]


def plain(data: Any) -> dict[str, Any]:
    """An object as it came."""
    if not isinstance(data, dict):
        raise ValueError("an object was expected")
    return data


def plain_list(data: Any) -> list[dict[str, Any]]:
    """A list of objects as they came."""
    return [plain(item) for item in data["items"]]


def nothing(_data: Any) -> None:
    """An answer that says nothing."""
    return


def why_ended(error: Mapping[str, Any] | None, otherwise: str) -> dict[str, str]:
    """What a record's `error` says in English and in Chinese, as members of our own errors."""
    told = error or {}
    why = str(told.get("detail") or told.get("code") or otherwise)
    return {"why": why, "why_zh": str((told.get("zh") or {}).get("detail") or why)}
