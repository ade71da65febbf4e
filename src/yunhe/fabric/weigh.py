"""How many bytes a part may bring and how long it may take: guesses, told as such.

In: Arrow schemas, how long binding took, the records of earlier parts. Out: parts with `bytes` and
`seconds`. Rows are `estimate`'s; what stands here follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

import pyarrow as pa

from yunhe.fabric.model import Part

_TEXT_BYTES: Final = 20  # of one text in Arrow, its offset included
_FRAME_BYTES: Final = 600  # of a stream besides its rows: the schema, a batch's head, the end
_LARGE: Final = 1 << 20  # parts above tell how fast bytes come, those below how long asking takes
_ROUNDS: Final = 3  # a use is asked, admitted and released: about so many times a binding


@dataclass(frozen=True)
class Pace:
    """How parts of one contract went: seconds before the bytes, bytes a second; None: unknown."""

    base_s: float | None = None
    rate: float | None = None

    def seconds(self, size: int, bind_s: float) -> float:
        """From asking to the last byte; without a known rate a lower bound."""
        base = bind_s * _ROUNDS if self.base_s is None else self.base_s
        return base + (size / self.rate if self.rate else 0.0)


def paces(parts: Iterable[Mapping[str, Any]]) -> dict[str, Pace]:
    """By contract, of what earlier records tell of their parts."""
    small: dict[str, list[float]] = {}
    large: dict[str, list[tuple[int, float]]] = {}
    for part in parts:
        seconds, size = part.get("seconds"), part["bytes"]
        if part["state"] != "done" or not seconds:
            continue
        if size < _LARGE:
            small.setdefault(part["contract_id"], []).append(seconds)
        else:
            large.setdefault(part["contract_id"], []).append((size, seconds))
    return {
        contract: Pace(
            median(small[contract]) if contract in small else None,
            _rate(large.get(contract, [])),
        )
        for contract in {**small, **large}
    }


def _rate(found: list[tuple[int, float]]) -> float | None:
    return sum(size for size, _ in found) / sum(s for _, s in found) if found else None


def weighed(part: Part, schema: pa.Schema, bind_s: float, pace: Pace | None) -> Part:
    """The part with its bytes and seconds; no bytes where no rows are known."""
    size = None if part.rows is None else _FRAME_BYTES + part.rows * _width(schema)
    seconds = (pace or Pace()).seconds(size or 0, bind_s)
    return replace(part, bytes=size, seconds=seconds, measured=pace is not None)


def _width(schema: pa.Schema) -> int:
    """Bytes of one row in Arrow, about."""
    return sum(_of(each.type) for each in schema)


def _of(kind: pa.DataType) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:  # texts, lists: of no fixed width
        return _TEXT_BYTES
