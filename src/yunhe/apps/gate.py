"""The release gate: what of a program's output may leave, by the rule of the contract.

In: the rule, what the manifest declares, what the program wrote (JSON: never its own Arrow bytes),
the groups that the data plane counted. Out: the Arrow table that leaves, rebuilt here, or
AppOutputRefused. The order of rows, the spelling of numbers and what was not declared are gone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

from yunhe.apps.errors import AppOutputRefused
from yunhe.apps.manifest import Manifest
from yunhe.contracts import Release, ReleaseKind

_CELL_CHARS_MAX: Final = 10_000
_EXPONENT_BITS: Final = 11  # of a double; the digits come on top, and the sign
_WHOLE: Final = 1 << 53  # below it every whole number is a double of its own


class Bounds(Protocol):
    """The part of a Grant asked here."""

    @property
    def rows_max(self) -> int: ...
    @property
    def bytes_max(self) -> int | None: ...


@dataclass(frozen=True)
class Passed:
    """What leaves. `withheld`: groups that were too small are missing; `bits`: the most that the
    program could say by its choice of numbers, whatever it computed."""

    table: pa.Table
    withheld: bool = False
    bits: int = 0

    def stream(self) -> bytes:
        """As an Arrow IPC stream."""
        out = io.BytesIO()
        with pa.ipc.new_stream(out, self.table.schema) as writer:
            writer.write_table(self.table)
        return out.getvalue()


def judge(
    rule: Release, manifest: Manifest, result: Any, groups: Path | None, grant: Bounds
) -> Passed:
    """What passes `rule`; raises AppOutputRefused with the reason as detail, for the host's log.

    `grant`: what the use was admitted for.
    """
    most = min(rule.rows, grant.rows_max)
    if rule.kind is ReleaseKind.AGGREGATE:
        if groups is None:
            raise AppOutputRefused("no groups were counted")
        passed = _aggregate(rule, manifest, _columns(result), groups, most)
    elif rule.kind is ReleaseKind.METRICS:
        passed = _metrics(rule, manifest, result, most)
    else:
        passed = _rows(manifest, _columns(result), most)
    leaves = 0 if rule.kind is ReleaseKind.PREDICTIONS else len(passed.stream())
    if leaves > min(rule.bytes, rule.bytes if grant.bytes_max is None else grant.bytes_max):
        raise AppOutputRefused("too many bytes")
    return passed


def _columns(result: Any) -> dict[str, list[Any]]:
    """Columns of equal length, of plain values."""
    found = result.get("columns") if isinstance(result, dict) else None
    if found is None and isinstance(result, dict) and isinstance(result.get("numbers"), dict):
        found = {name: [value] for name, value in result["numbers"].items()}
    if not isinstance(found, dict) or not all(isinstance(each, list) for each in found.values()):
        raise AppOutputRefused("it is no table")
    if len({len(each) for each in found.values()}) > 1:
        raise AppOutputRefused("its columns are of different lengths")
    return found


def _aggregate(
    rule: Release, manifest: Manifest, columns: dict[str, list[Any]], groups: Path, most: int
) -> Passed:
    output = manifest.output
    keys = list(output.groups or {})
    if set(columns) != {*keys, *output.numbers}:
        raise AppOutputRefused("its columns are not those declared")
    large, types = _large(groups)
    seen: dict[tuple[Any, ...], list[float | None]] = {}
    withheld = False
    for at in range(len(next(iter(columns.values()), []))):
        key = tuple(_key(columns[name][at]) for name in keys)
        if key not in large:
            withheld = True
            continue
        if key in seen:
            raise AppOutputRefused("a group stands twice")
        seen[key] = [_rounded(columns[name][at], rule.digits) for name in output.numbers]
    if len(seen) > most:
        raise AppOutputRefused("too many rows")
    order = sorted(seen, key=repr)
    arrays = [
        pa.array([large[key][place] for key in order], types[place]) for place in range(len(keys))
    ]
    arrays += [
        pa.array([seen[key][place] for key in order], pa.float64())
        for place in range(len(output.numbers))
    ]
    return Passed(
        pa.table(arrays, names=[*keys, *output.numbers]),
        withheld,
        _bits(len(order) * len(output.numbers), rule.digits) + len(large),
    )


def _large(path: Path) -> tuple[dict[tuple[Any, ...], tuple[Any, ...]], list[pa.DataType]]:
    """The groups of enough entities: as a program spells their keys -> as they are."""
    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()
    keyed = table.drop_columns(["n"])
    rows = [tuple(row.values()) for row in keyed.to_pylist()] if keyed.num_columns else []
    if not keyed.num_columns and table.num_rows:
        rows = [()]
    return {tuple(map(_key, row)): row for row in rows}, [field.type for field in keyed.schema]


def _key(value: Any) -> Any:
    """A key as the data and a program may both spell it: numbers by value, others as text."""
    if value is None or isinstance(value, (bool, str)):
        return (type(value).__name__, value)
    if isinstance(value, (int, float, Decimal)):
        return ("number", float(value) if -_WHOLE < value < _WHOLE else str(value))
    return ("str", str(value))


def _metrics(rule: Release, manifest: Manifest, result: Any, most: int) -> Passed:
    said = result.get("numbers") if isinstance(result, dict) else None
    if not isinstance(said, dict) or not set(said) <= set(manifest.output.numbers):
        raise AppOutputRefused("its numbers are not those declared")
    if len(said) > most:
        raise AppOutputRefused("too many numbers")
    names = sorted(said)
    values = [_rounded(said[name], rule.digits) for name in names]
    table = pa.table(
        {"name": pa.array(names, pa.string()), "value": pa.array(values, pa.float64())}
    )
    # Which of the declared numbers it gives is a choice, too.
    return Passed(table, bits=_bits(len(names), rule.digits) + len(manifest.output.numbers))


def _rows(manifest: Manifest, columns: dict[str, list[Any]], most: int) -> Passed:
    wanted = [*manifest.output.columns, *manifest.output.numbers]
    if set(columns) != set(wanted):
        raise AppOutputRefused("its columns are not those declared")
    arrays = [_array(columns[name]) for name in wanted]
    table = pa.table(arrays, names=wanted)
    if table.num_rows > most:
        raise AppOutputRefused("too many rows")
    return Passed(table, bits=8 * table.nbytes)


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {bool, int, float, str}:
        raise AppOutputRefused("a value is no plain one")
    if kinds <= {int, float} and float in kinds:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if any(isinstance(value, str) and len(value) > _CELL_CHARS_MAX for value in values):
        raise AppOutputRefused("a text is too long")
    try:
        known = {frozenset({bool}): pa.bool_(), frozenset({int}): pa.int64()}
        return pa.array(values, known.get(frozenset(kinds), pa.string()))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise AppOutputRefused("a column has values of several types") from error


def _rounded(value: Any, digits: int) -> float | None:
    """A number with that many significant digits; None for null, which is no number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise AppOutputRefused("a value is no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise AppOutputRefused("a number is too large") from error
    return float(f"{number:.{digits - 1}e}") if math.isfinite(number) else None


def _bits(numbers: int, digits: int) -> int:
    each = math.log2(10) * digits + _EXPONENT_BITS + 1
    return math.ceil(numbers * each)


def count_of(rows: int) -> Passed:
    """What leaves where the rows stay: how many they are."""
    return Passed(pa.table({"rows": pa.array([rows], pa.int64())}), bits=rows.bit_length())


def beside(table: pa.Table, inputs: list[Path]) -> pa.Table:
    """Predictions beside the rows they are for, where they are one a row of one table."""
    if len(inputs) != 1:
        return table
    with inputs[0].open("rb") as file:
        rows = pa.ipc.open_stream(file).read_all()
    if rows.num_rows != table.num_rows:
        return table
    for name in table.schema.names:
        if name not in rows.schema.names:
            rows = rows.append_column(name, table[name])
    return rows


def trimmed(
    chunks: Iterator[bytes],
    rule: Release,
    computed: Collection[int] = (),
    tell: Callable[[int], object] = lambda _bits: None,
) -> Iterator[bytes]:
    """The result of an application's SQL, its inexact numbers at the rule's digits.

    `computed`: the places that are no keys, where only numbers and truth values may stand; `tell`
    hears the most that they can say, in bits. Raises AppOutputRefused otherwise and beyond the
    rule's bytes. The stream is of our own engine.
    """
    held = io.BytesIO()
    for chunk in chunks:
        held.write(chunk)
        if held.tell() > 2 * rule.bytes + (1 << 16):
            raise AppOutputRefused("too many bytes")
    table = pa.ipc.open_stream(held.getvalue()).read_all()
    if rule.digits:
        for at, field in enumerate(table.schema):
            if at in computed and not _is_number(field.type):
                raise AppOutputRefused("what is no key is no number")
            if pa.types.is_floating(field.type) or pa.types.is_decimal(field.type):
                values = [
                    None if v is None else _rounded(float(v), rule.digits)
                    for v in table.column(at).to_pylist()
                ]
                table = table.set_column(at, field.name, pa.array(values, pa.float64()))
    made = Passed(table).stream()
    if len(made) > rule.bytes:
        raise AppOutputRefused("too many bytes")
    tell(_said(table, computed, rule.digits) if rule.digits else 8 * table.nbytes)
    yield made


def _said(table: pa.Table, computed: Collection[int], digits: int) -> int:
    """The most that the numbers of a result of SQL can say: inexact ones at `digits`, whole ones
    by their width; a bit for each group that is there."""
    bits = int(table.num_rows)
    for at in computed:
        kind = table.schema.field(at).type
        if pa.types.is_floating(kind):
            bits += _bits(table.num_rows, digits)
        elif not pa.types.is_null(kind):
            bits += int(kind.bit_width) * table.num_rows
    return bits


def _is_number(kind: pa.DataType) -> bool:
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(each(kind) for each in known) or pa.types.is_null(kind)
