"""A marked column as SQL: values are moved to where the recipient's secret code wants them.

In: a column, the term that asks for the mark. Out: an expression over the base table, in place of
the plain column, so that every door shows the same marked values: query, push, sealed delivery.
The two keys are variables of the worker and stand in no text. `vault/watermark.py` reads it back,
and docs/watermark.md says why it is so: parity on a lattice of the agreed step, one value a bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from yunhe.contracts import Terms, Watermark
from yunhe.dataplane.errors import MarkNotEnforceable
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.vault import BIAS_FROM, BIAS_SPAN, KEY_MARK, SLOTS, UNIT

_WHOLE: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", re.IGNORECASE)
_FRACTION: Final = re.compile(r"DOUBLE|FLOAT|REAL|DECIMAL\(\d+, ?(\d+)\)", re.IGNORECASE)
_FAR: Final = "1e12"  # beyond, a DOUBLE does not tell neighbours of the lattice


def marked(raw: str, key: str, field: str, kind: str, said: Watermark) -> str:
    """SQL of `raw` (a column of DuckDB type `kind`) as its recipient gets it; `key`: SQL of the
    row's key. Raises MarkNotEnforceable."""
    step = said.step(field)
    assert step is not None  # noqa: S101 - asked for marked columns only
    digits = _digits(field, kind, step)
    group, slot = divmod(said.place(field), SLOTS)
    row = "'" + said.key.replace("'", "''") + f"\x1f{group}\x1f' || CAST({key} AS TEXT)"
    shared = f"SHA256(GETVARIABLE('mark_key') || {row})"
    own = f"SHA256(GETVARIABLE('audit_key') || '{KEY_MARK}' || {row})"
    chosen = f"{_number(shared, 1, 8)} % {said.share} = 0"
    sine = f"SIN({BIAS_FROM!r} + {_number(shared, 9, 13)} / {UNIT} * {BIAS_SPAN!r})"
    code = f"({_number(own, 1 + 13 * slot, 13)} / {UNIT} < {sine} * {sine})"
    bit = f"CASE WHEN {code} = (SUBSTRING({shared}, {22 + slot}, 1) < '8') THEN 1 ELSE 0 END"
    value = f"(CAST({raw} AS DOUBLE) / {step})"
    half = f"({value} - {bit}) / 2"
    # A value midway goes either way, as the row's hash says, but never to the other sign.
    down = f"SUBSTRING({shared}, {22 + SLOTS + slot}, 1) < '8' AND ABS({value}) >= 1"
    place = f"CASE WHEN {down} THEN CEIL({half} - 0.5) ELSE FLOOR({half} + 0.5) END"
    moved = f"ROUND((2 * {place} + {bit}) * {step}, {digits})"
    held = f"COALESCE(TRY_CAST({moved} AS {kind}), {raw})"
    return f"CASE WHEN {chosen} AND ABS({value}) < {_FAR} THEN {held} ELSE {raw} END"


def _number(text: str, start: int, size: int) -> str:
    return f"CAST('0x' || SUBSTRING({text}, {start}, {size}) AS BIGINT)"


def _digits(field: str, kind: str, step: str) -> int:
    """Decimal places of the lattice; raises MarkNotEnforceable where the type has not as many."""
    exponent = Decimal(step).normalize().as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    fraction = _FRACTION.fullmatch(kind)
    if fraction is None and not _WHOLE.fullmatch(kind):
        raise MarkNotEnforceable(column=field, why=f"the column is {kind}")
    scale = int(fraction[1]) if fraction and fraction[1] else (9 if fraction else 0)
    if digits > scale:
        raise MarkNotEnforceable(column=field, why=f"{step} is finer than the column's values")
    return digits


def marks(terms: Terms, governed: Governed) -> Watermark | None:
    """The watermark that a governed query's result carries, or None."""
    said = terms.watermark
    return said if said is not None and said.table in governed.tables else None


def mark_faults(
    terms: Terms, tables: Mapping[str, TableBinding], *, whole: bool
) -> Iterator[MarkNotEnforceable]:
    """Why the watermark of `terms` cannot be embedded in these tables.

    The key must be shown as it is, whole numbers or text, so that a copy can be held against it.
    """
    said = terms.watermark
    if said is None:
        return
    masked = {mask.column for mask in terms.masks}
    for field in (said.key, *(mark.column for mark in said.marks)):
        table, _, column = field.partition(".")
        kind = tables[table].columns.get(column) if table in tables else None
        if field not in terms.columns or (whole and kind is None):
            yield MarkNotEnforceable(column=field, why="it is not shown")
        elif field in masked:
            yield MarkNotEnforceable(column=field, why="it is masked")
        elif kind is not None and field == said.key:
            if not _WHOLE.fullmatch(kind) and kind.upper() not in ("VARCHAR", "TEXT"):
                yield MarkNotEnforceable(column=field, why=f"a key of type {kind}")
        elif kind is not None:
            try:
                marked("x", "k", field, kind, said)
            except MarkNotEnforceable as why:
                yield why
