"""Watermarks read back: whose copy is this, and how sure is that.

In: keys and values of a suspected file, the recipients there were. Out: for each a score and the
probability that an innocent recipient's would be as high, whatever was done to the file by people
who do not know its code: a Chernoff bound over the codes that might have been drawn, no estimate.
Codes are Tardos' with symmetric scores: one value a bit, so that parts of several copies still
name those whose they were.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yunhe.contracts import Watermark
from yunhe.kernel import limits

KEY_MARK: Final = "mark"
UNIT: Final = f"{2**52}.0"
SLOTS: Final = 4  # columns that share the two hashes of a row
_CUTOFF: Final = 0.005  # of the biases: colluders gain nothing at positions nearly all share
BIAS_FROM: Final = math.asin(math.sqrt(_CUTOFF))
BIAS_SPAN: Final = math.pi / 2 - 2 * BIAS_FROM


class Marker:
    """The keys of marks: one a product, one a product and recipient. All from one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def product(self, product_code: str) -> str:
        """The key that says which values are marked and how their codes are biased, hex."""
        return self._key(f"watermark\n{product_code}")

    def recipient(self, product_code: str, did: str) -> str:
        """The key of one recipient's code, hex; the audit's of the same party and data set."""
        return self._key(f"audit\n{did}\n{product_code}")

    def mark_id(self, product_code: str, did: str) -> str:
        """What evidence calls the mark: tells nothing of the code."""
        return hashlib.sha256(f"mark id\n{self.recipient(product_code, did)}".encode()).hexdigest()[
            :32
        ]

    def _key(self, name: str) -> str:
        return hmac.digest(self._secret, name.encode(), "sha256").hex()


@dataclass(frozen=True)
class Recipient:
    """Somebody who was given marked copies, with the term they were marked by."""

    did: str
    key: str  # Marker.recipient
    watermark: Watermark


@dataclass(frozen=True)
class Score:
    """How well a recipient's code fits. `z`: in standard deviations over `values` marked values;
    `p`: at most this share of innocents scores as high; `named`: that is small enough."""

    did: str
    values: int
    z: float
    p: float
    named: bool


@dataclass(frozen=True)
class _Cell:
    """One marked value of the suspect: the bias of its position, and whether it reads 1."""

    row: str
    slot: int
    bias: float
    read: bool


def detect(
    product_key: str,
    recipients: Sequence[Recipient],
    keys: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
    false_positive: float = limits.WATERMARK_FALSE_POSITIVE,
) -> list[Score]:
    """The recipients by score, the likeliest first.

    `keys`: of the rows; `columns`: "table.column" -> their values, None where there is none. A
    recipient is named where the chance to name anybody innocent at all is below `false_positive`.
    """
    found: list[Score] = []
    read: dict[Watermark, list[_Cell]] = {}
    for each in recipients:
        if each.watermark not in read:
            read[each.watermark] = list(_cells(product_key, each.watermark, keys, columns))
        found.append(_score(each, read[each.watermark], false_positive / len(recipients)))
    return sorted(found, key=lambda score: (score.p, -score.z, score.did))


def _cells(
    product_key: str,
    said: Watermark,
    keys: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
) -> Iterable[_Cell]:
    names = [_plain(key) for key in keys]
    kept: dict[str, str] = {}
    for place, mark in enumerate(said.marks):
        step, seen = float(mark.step), set()
        group, slot = divmod(place, SLOTS)
        for key, value in zip(names, columns.get(mark.column, ()), strict=False):
            number = _number(value)
            if key is None or number is None or key in seen:
                continue  # a row that stands there twice tells nothing more
            seen.add(key)
            row = f"{said.key}\x1f{group}\x1f{key}"
            shared = kept.get(row) or _hash(product_key + row)
            kept[row] = shared
            if int(shared[:8], 16) % said.share:
                continue
            share = int(shared[8:21], 16) / 2**52
            sine = math.sin(BIAS_FROM + share * BIAS_SPAN)
            bias = sine * sine
            odd = round(number / step) % 2 == 1
            yield _Cell(row, slot, bias, odd == (shared[21 + slot] < "8"))


def _score(who: Recipient, cells: Sequence[_Cell], most: float) -> Score:
    total = 0.0
    kept: dict[str, str] = {}
    for cell in cells:
        own = kept.get(cell.row) or _hash(f"{who.key}{KEY_MARK}{cell.row}")
        kept[cell.row] = own
        code = int(own[13 * cell.slot : 13 * cell.slot + 13], 16) / 2**52 < cell.bias
        total += _weight(cell.bias if code else 1 - cell.bias, code == cell.read)
    if not cells:
        return Score(who.did, 0, 0.0, 1.0, False)
    z = total / math.sqrt(len(cells))
    p = _chance(cells, total) if z > 2 else 1.0
    return Score(who.did, len(cells), z, p, p < most)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _weight(likely: float, same: bool) -> float:
    """What one position adds: more where the code's bit is rare; mean 0, variance 1."""
    weight = math.sqrt((1 - likely) / likely)
    return weight if same else -weight


def _chance(cells: Sequence[_Cell], total: float) -> float:
    """At most this share of all codes that might have been drawn scores `total` or more.

    Chernoff: exp(-t total) times the product of E[exp(t weight)], the least over t. It holds for
    every reading of the cells, so for everything that can be done without knowing the code.
    """
    sides = []
    for cell in cells:
        one, none = _weight(cell.bias, cell.read), _weight(1 - cell.bias, not cell.read)
        sides.append((cell.bias, one, none))

    def log_bound(t: float) -> float:
        grown = sum(
            math.log(bias * math.exp(t * one) + (1 - bias) * math.exp(t * none))
            for bias, one, none in sides
        )
        return grown - t * total

    low, high = 0.0, 1.0
    for _ in range(limits.WATERMARK_BOUND_STEPS):  # convex in t: thirds
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if log_bound(a) < log_bound(b) else (a, high)
    return min(1.0, math.exp(log_bound((low + high) / 2)))


def _plain(key: Any) -> str | None:
    """A key as the mark was made of it, also where its type was changed since."""
    if key is None or isinstance(key, bool):
        return None
    if isinstance(key, float):
        return str(int(key)) if key.is_integer() else None
    text = str(key).strip()
    whole, dot, rest = text.partition(".")
    return whole if dot and whole.lstrip("-").isdigit() and not rest.strip("0") else text


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e18 else None
