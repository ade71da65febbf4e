"""`yunhe sql`: plain SQL under a contract; a table, CSV, JSON or an Arrow file comes out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yunhe.cli.arguments import Contract, Purpose, Sql, only_purpose
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument, unusable
from yunhe.sdk import Batches, require_arrow

if TYPE_CHECKING:
    import pyarrow

app = typer.Typer()

SHOWN_ROWS_MAX = 50


@command(app)
def sql(
    desk: Desk,
    contract: Contract,
    text: Sql,
    purpose: Purpose = "",
    use_id: Annotated[
        str, typer.Option(help="Repeat a use: the same id never charges twice.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write to a .csv, .arrow or .parquet file.")
    ] = None,
) -> None:
    """Run SQL under a contract; the provider's node governs it."""
    require_arrow()
    # A use costs money: where the result goes is certain before the query is sent.
    with place(out) as part, desk.space() as space:
        key = desk.whole(contract, space.contracts)
        purpose = purpose or only_purpose(desk, space.contract(key).terms.purposes)
        with space.sql_stream(text, key, purpose, use_id or None) as batches:
            table = batches.read_all()
        if out is not None and part is not None:
            write_table(table, part, out)
    desk.show(_facts(batches, table, out), lambda: _print(desk, batches, table, out))


@contextmanager
def place(out: Path | None) -> Iterator[Path | None]:
    """A new file beside `out`, made now and gone at the end; raises BadArgument."""
    if out is None:
        yield None
        return
    if out.suffix not in (".csv", ".arrow", ".parquet"):
        en, zh = (
            "its ending is none of .csv, .arrow, .parquet",
            "扩展名须为 .csv、.arrow 或 .parquet",
        )
        raise BadArgument(what=str(out), why=en, why_zh=zh)
    part = out.with_name(f".{out.stem}.{os.getpid()}{out.suffix}")
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        if out.exists() and not os.access(out, os.W_OK):
            raise PermissionError(errno.EACCES, "")
        part.touch(exist_ok=False)
    except OSError as error:
        raise unusable(out, error) from error
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _facts(batches: Batches, table: pyarrow.Table, out: Path | None) -> dict[str, Any]:
    facts = {"use_id": batches.use_id, "groups_withheld": batches.groups_withheld}
    return {**facts, **table_facts(table, out)}


def table_facts(table: pyarrow.Table, out: Path | None) -> dict[str, Any]:
    """A table for programs: its rows, or the file that has them."""
    facts: dict[str, Any] = {"rows": table.num_rows, "columns": table.schema.names}
    return {**facts, "file": str(out)} if out else {**facts, "data": _json_rows(table)}


def _json_rows(table: pyarrow.Table) -> list[list[Any]]:
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return [[_json_cell(cell) for cell in row] for row in rows]


def _json_cell(cell: Any) -> Any:
    return cell if cell is None or isinstance(cell, str | int | float | bool) else str(cell)


def write_table(table: pyarrow.Table, part: Path, out: Path) -> None:
    """Write a table to `part`, then put it in the place of `out`; raises BadArgument."""
    try:
        if part.suffix == ".csv":
            from pyarrow import csv

            csv.write_csv(table, part)
        elif part.suffix == ".parquet":
            from pyarrow import parquet

            parquet.write_table(table, part)
        else:
            from pyarrow import feather

            feather.write_feather(table, str(part), compression="uncompressed")
        part.replace(out)
    except OSError as error:
        raise unusable(out, error) from error


def _print(desk: Desk, batches: Batches, table: pyarrow.Table, out: Path | None) -> None:
    if out is None:
        shown(desk, table)
    use = desk.say(f"use {batches.use_id}", f"使用编号 {batches.use_id}")
    notes = [desk.count(table.num_rows, "row", "行"), use]
    if batches.groups_withheld:
        notes.append(desk.say("groups withheld", "有分组未达最小人数，已隐去"))
    desk.err.print(" · ".join(notes), markup=False)


def shown(desk: Desk, table: pyarrow.Table) -> None:
    """The first rows of a table for people."""
    names = table.schema.names
    rows = _json_rows(table.slice(0, SHOWN_ROWS_MAX))
    desk.table(
        ({str(i): cell for i, cell in enumerate(row)} for row in rows),
        {str(i): name for i, name in enumerate(names)},
    )
    if table.num_rows > SHOWN_ROWS_MAX:
        desk.err.print(desk.say("… (use --out for all)", "……（全部请用 --out）"))
