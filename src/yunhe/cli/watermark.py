"""`yunhe watermark`: whose copy of a product a file is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument, unusable
from yunhe.kernel import limits
from yunhe.sdk import require_arrow

app = typer.Typer(help="Marked copies of this node's products.", no_args_is_help=True)

Product = Annotated[str, typer.Option(help="The product whose copy it may be.")]


@command(app, "list")
def list_(
    desk: Desk,
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
) -> None:
    """List who was given marked copies of a product."""
    with desk.space() as space:
        found = space.marked_for(product)
    columns = desk.columns(
        "did mark at watermark",
        "RECIPIENT MARK SINCE WATERMARK",
        "接收方 标记 起始 水印",
    )
    desk.rows(found, columns)


@command(app)
def detect(
    desk: Desk,
    file: Annotated[Path, typer.Argument(help="A .parquet, .arrow or .csv file.")],
    product: Product,
    original: Annotated[
        Path | None,
        typer.Option(help="The table as it is here: finds rows whose key is gone or changed."),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS, where a column was renamed; repeatable.")
    ] = None,
) -> None:
    """Say whose copy a file is; exit code 1 where nobody can be named."""
    require_arrow()
    table = _read(file)
    for pair in rename or ():
        ours, _, theirs = pair.partition("=")
        if theirs not in table.schema.names:
            raise BadArgument(what=pair, why="the file has no such column", why_zh="文件没有该列")
        table = table.append_column(ours, table[theirs])
    with desk.space() as space:
        given = space.marked_for(product)
        if not given:
            why, why_zh = "nobody was given a marked copy of it", "尚无人取得其带水印的副本"
            raise BadArgument(what=product, why=why, why_zh=why_zh)
        keys, values = _values(table, given, None if original is None else _read(original))
        found = space.whose_copy(product, keys, values)
    shown = [
        {**each, "z": f"{each['z']:.1f}", "p": f"{each['p']:.1e}"} for each in found["recipients"]
    ]
    columns = desk.columns(
        "did named values z p", "RECIPIENT NAMED VALUES Z P", "接收方 指认 值数 Z P"
    )
    desk.show(found, lambda: desk.table(shown, columns))
    if not any(each["named"] for each in found["recipients"]):
        raise typer.Exit(1)


def _values(
    table: Any, given: list[dict[str, Any]], original: Any | None
) -> tuple[list[Any], dict[str, list[Any]]]:
    """Keys and marked values of as many rows as are looked at, drawn at random."""
    said = [part.split("=")[0] for each in given for part in each["watermark"].split(";")[2:]]
    key = given[0]["watermark"].split(";")[0].removeprefix("key=")
    marked = {name: name.partition(".")[2] for name in dict.fromkeys(said)}
    wanted = ", ".join(marked.values())
    marked = {name: column for name, column in marked.items() if column in table.schema.names}
    name = key.partition(".")[2]
    if original is not None:
        table = _aligned(table, original, name, set(marked.values()))
    if name not in table.schema.names or not marked:
        why = f"columns {name} and one of {wanted} are looked for; --rename says which they are"
        why_zh = f"需要键列 {name} 以及 {wanted} 中至少一列；可用 --rename 指明对应列"
        raise BadArgument(what=", ".join(table.schema.names), why=why, why_zh=why_zh)
    if table.num_rows > limits.WATERMARK_ROWS_MAX:
        table = table.take(random.sample(range(table.num_rows), limits.WATERMARK_ROWS_MAX))
    columns = {ours: _plain(table[column]) for ours, column in marked.items()}
    return _plain(table[name]), columns


def _aligned(table: Any, original: Any, key: str, marked: set[str]) -> Any:
    """The rows that only one row of the original can be, with its key again."""
    import pyarrow as pa

    marked = {*marked, key}  # what stands there as the key may be made up
    shared = [n for n in table.schema.names if n in original.schema.names and n not in marked]
    if not shared:
        why, why_zh = "nothing in it is as in the original", "与原表没有可比对的列"
        raise BadArgument(what=", ".join(table.schema.names), why=why, why_zh=why_zh)
    known: dict[tuple[str, ...], Any] = {}
    for row, found in zip(_texts(original, shared), original[key].to_pylist(), strict=True):
        known[row] = None if row in known else found
    keys = [known.get(row) for row in _texts(table, shared)]
    if key in table.schema.names:
        table = table.drop_columns([key])
    return table.append_column(key, pa.array(keys, original.schema.field(key).type))


def _texts(table: Any, names: list[str]) -> list[tuple[str, ...]]:
    columns = [[str(value) for value in table[name].to_pylist()] for name in names]
    return list(zip(*columns, strict=True))


def _plain(column: Any) -> list[Any]:
    kept = (int, float, str, type(None))
    values = column.to_pylist()
    return [each if isinstance(each, kept) else str(each) for each in values]


def _csv(path: Path) -> Any:
    """A CSV in UTF-8 or, as spreadsheets write Chinese, GB18030; raises BadArgument."""
    import pyarrow as pa
    from pyarrow import csv

    for encoding in ("utf8", "gb18030"):
        try:
            table = csv.read_csv(path, csv.ReadOptions(encoding=encoding))
            # What is no UTF-8 comes as bytes, and as names that cannot be said.
            if table.schema.names and not any(map(pa.types.is_binary, table.schema.types)):
                return table
        except UnicodeDecodeError:
            continue
    why, why_zh = "its texts are neither UTF-8 nor GB18030", "编码既非 UTF-8 也非 GB18030"
    raise BadArgument(what=str(path), why=why, why_zh=why_zh)


def _read(path: Path) -> Any:
    import pyarrow as pa

    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path)
        if path.suffix == ".csv":
            return _csv(path)
        if path.suffix == ".arrow":
            with pa.ipc.open_file(str(path)) as file:
                return file.read_all()
    except (OSError, pa.ArrowException) as error:
        raise unusable(path, error) from error
    why, why_zh = "its ending is none of .arrow, .csv, .parquet", "扩展名不符"
    raise BadArgument(what=str(path), why=why, why_zh=why_zh)
