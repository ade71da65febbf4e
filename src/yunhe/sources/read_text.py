"""CSV and JSON to Parquet of texts: every value as written, its type not yet decided.

In: one UTF-8 file. Out: a `Part`: a Parquet file of VARCHAR columns, and for JSON what kinds of
value each column holds. Deciding types is `types`' work. Runs in the ingest process only.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from yunhe.kernel import limits
from yunhe.sources.look import Fault

_DELIMITERS: Final = ",;\t|"
_BATCH_ROWS: Final = 20_000
_LINE_ENDS: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Part:
    """One file of a table as Parquet. `text`: its columns are texts whose types are to be decided;
    `kinds`: of JSON columns, which of null, bool, int, big, float, str, nested they hold."""

    file: Path
    name: str
    text: bool = False
    kinds: dict[str, frozenset[str]] = field(default_factory=dict)
    encoding: str = ""
    sure: bool = True  # of the encoding
    telling: bool = True  # it has letters that tell one


def checked_names(names: list[str], name: str) -> list[str]:
    """Column names that are unique, present and printable; raises Fault."""
    seen: set[str] = set()
    if not 1 <= len(names) <= limits.SOURCE_COLUMNS_MAX:
        most = limits.SOURCE_COLUMNS_MAX
        raise Fault(f"{name} has no columns, or over {most}", f"{name} 无列或超过 {most} 列", True)
    for at, each in enumerate(names, 1):
        if not each.strip() or len(each) > limits.SOURCE_NAME_CHARS_MAX or _LINE_ENDS.search(each):
            raise Fault(
                f"column {at} of {name} has no usable name", f"{name} 第 {at} 列没有可用名称"
            )
        if each.casefold() in seen:  # the engine does not tell Id from id
            raise Fault(f"{name} has two columns {each!r}", f"{name} 有两个名为 {each!r} 的列")
        seen.add(each.casefold())
    return names


def csv_part(file: Path, name: str, out: Path, delimiter: str) -> Part:
    """Read a CSV file with a header; the first row that does not fit is named in the Fault."""
    names, found = _header(file, name, delimiter)
    checked_names(names, name)
    bad: list[int] = []

    def refuse(row: Any) -> str:
        bad.append(row.number or 0)
        return "error"

    try:
        reader = pa_csv.open_csv(
            str(file),
            pa_csv.ReadOptions(use_threads=False, block_size=limits.SOURCE_LINE_BYTES_MAX),
            pa_csv.ParseOptions(
                delimiter=found, newlines_in_values=True, invalid_row_handler=refuse
            ),
            pa_csv.ConvertOptions(
                column_types={each: pa.string() for each in names},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        with pq.ParquetWriter(out, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
    except pa.ArrowException as error:
        if bad:
            raise Fault(
                f"row {bad[0]} of {name} has not as many fields as its header ({len(names)})",
                f"{name} 第 {bad[0]} 行的字段数与表头（{len(names)}）不符",
            ) from error
        raise Fault(f"{name} is no CSV", f"{name} 不是有效的 CSV") from error
    return Part(out, name, text=True)


def _header(file: Path, name: str, declared: str) -> tuple[list[str], str]:
    tab = {"tab": "\t", "\\t": "\t"}
    declared = tab.get(declared, declared)
    if len(declared) > 1 or declared in ('"', "\n", "\r") or not declared.isascii():
        raise Fault("a delimiter is one character, or tab", "分隔符须为一个字符或 tab")
    with file.open("rb") as stream:
        head = stream.read(_BATCH_ROWS * 50).decode("utf-8-sig", "ignore")
    best: list[str] = []
    found = declared or ","
    for delimiter in declared or _DELIMITERS:
        try:
            names = next(csv.reader(io.StringIO(head), delimiter=delimiter), [])
        except csv.Error:
            continue
        if len(names) > len(best):
            best, found = names, delimiter
    if not best:
        raise Fault(f"{name} has no header", f"{name} 没有表头")
    return best, found


def json_part(file: Path, name: str, out: Path, records: str, lines: bool) -> Part:
    """Read NDJSON, an array of objects, or the one a JSON pointer (`records`) leads to."""
    rows = (
        _lines(file, name) if lines or _is_lines(file, records) else _document(file, name, records)
    )
    columns: dict[str, list[str | None]] = {}
    kinds: dict[str, set[str]] = {}
    batches = Path(f"{out}.rows")
    batches.mkdir()
    at = 0
    for at, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise Fault(f"row {at} of {name} is no object", f"{name} 第 {at} 行不是对象")
        place = (at - 1) % _BATCH_ROWS
        for key, value in row.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = []
                kinds.setdefault(key, set())
                if len(kinds) > limits.SOURCE_COLUMNS_MAX:
                    checked_names(list(kinds), name)
            column.extend([None] * (place - len(column)))
            kind, text = _told(value)
            kinds[key].add(kind)
            column.append(text)
        if place == _BATCH_ROWS - 1:
            _write(batches / f"{at:012}", columns, _BATCH_ROWS)
            columns = {}
    if not kinds:
        raise Fault(f"{name} has no row", f"{name} 没有数据行")
    checked_names(list(kinds), name)
    _write(batches / f"{at:012}", columns, (at - 1) % _BATCH_ROWS + 1 if columns else 0)
    _join(batches, list(kinds), out)
    found = {key: frozenset(each - {"null"}) for key, each in kinds.items()}
    return Part(out, name, text=True, kinds=found)


def _write(file: Path, columns: dict[str, list[str | None]], rows: int) -> None:
    if rows:
        arrays = {
            k: pa.array(v + [None] * (rows - len(v)), pa.string()) for k, v in columns.items()
        }
        pq.write_table(pa.table(arrays), file, compression="zstd")


def _join(batches: Path, names: list[str], out: Path) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for file in sorted(batches.iterdir()):
            table = pq.read_table(file)
            absent = pa.nulls(table.num_rows, pa.string())
            held = set(table.column_names)
            writer.write_table(
                pa.table(
                    {name: table[name] if name in held else absent for name in names}, schema=schema
                )
            )
            file.unlink()


def _told(value: Any) -> tuple[str, str | None]:
    if value is None:
        return "null", None
    if isinstance(value, str):
        return "str", value
    if isinstance(value, bool):
        return "bool", "true" if value else "false"
    if isinstance(value, int):
        return ("int" if -(1 << 63) <= value < 1 << 63 else "big"), str(value)
    if isinstance(value, float):
        return "float", repr(value)
    return "nested", json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member stands twice")
    return made


def _never(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_never)


def _is_lines(file: Path, records: str) -> bool:
    """Whether a file of no telling suffix is one object a line."""
    if records:
        return False
    with file.open(encoding="utf-8-sig") as stream:
        first = next((line for line in _bounded(stream) if line.strip()), "")
        more = any(line.strip() for line in _bounded(stream))
    if not first.lstrip().startswith("{") or not more:
        return False
    try:
        _DECODER.decode(first.strip())
    except (ValueError, RecursionError):
        return False
    return True


def _bounded(stream: io.TextIOWrapper) -> Iterator[str]:
    while line := stream.readline(limits.SOURCE_LINE_BYTES_MAX):
        yield line


def _lines(file: Path, name: str) -> Iterator[Any]:
    with file.open(encoding="utf-8-sig") as stream:
        for at, line in enumerate(_bounded(stream), 1):
            if line.strip():
                yield _parsed(line.strip(), f"line {at} of {name}", f"{name} 第 {at} 行")


def _parsed(text: str, en: str, zh: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Fault(
            f"{en} is no JSON, or says a member twice", f"{zh} 不是 JSON 或成员重复"
        ) from error


def _document(file: Path, name: str, records: str) -> Iterable[Any]:
    if file.stat().st_size > limits.SOURCE_JSON_BYTES_MAX:
        most = limits.SOURCE_JSON_BYTES_MAX
        raise Fault(
            f"{name} is one document of over {most} bytes; write one object a line",
            f"{name} 为超过 {most} 字节的单个文档；请改为每行一个对象",
            bound=True,
        )
    found = _parsed(file.read_text(encoding="utf-8-sig").strip(), name, name)
    for key in records.split("/")[1:] if records else ():
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict) and not records:
        return [found]
    if not isinstance(found, list):
        where = f" at {records}" if records else ""
        raise Fault(f"{name} has no array of rows{where}", f"{name} 中没有行数组 {records}".strip())
    return found
