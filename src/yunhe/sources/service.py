"""Resolve a provider's path under the allowed roots and profile what lies there.

In: a path to a `.parquet` file or a folder of them. Out: absolute files, `TableProfile`.
Every link is followed before the check, so neither `..` nor a symlink leaves the roots.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from yunhe.kernel import limits
from yunhe.sources.errors import (
    PathNotAllowed,
    SourceEmpty,
    SourceKindUnknown,
    SourceMissing,
    SourceTooLarge,
    SourceUnreadable,
)
from yunhe.sources.model import ColumnProfile, TableProfile


class Sources:
    """The files this node may read: everything under `roots`, nothing else."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(Path(root).resolve() for root in roots)

    def files(self, path: str | Path) -> tuple[Path, ...]:
        """The Parquet files at `path` (a file, or a folder: all levels, sorted), links resolved.

        A relative path starts from a root. Raises PathNotAllowed (outside the roots also where
        nothing exists: no oracle for the file system), SourceMissing (inside them), SourceEmpty,
        SourceKindUnknown, SourceTooLarge.
        """
        given = str(path)
        top = self._allowed(Path(path), given)
        if top.is_file():
            if top.suffix != ".parquet":
                raise SourceKindUnknown(path=given)
            found = [top]
        else:
            found = sorted(child for child in top.rglob("*.parquet") if child.is_file())
        if not found:
            raise SourceEmpty(path=given)
        if len(found) > limits.SOURCE_FILES_MAX:
            raise SourceTooLarge(what="the files of a table", limit=limits.SOURCE_FILES_MAX)
        return tuple(self._allowed(child, given) for child in found)

    def profile(self, path: str | Path) -> TableProfile:
        """Columns with type, NULL share and approximate distinct count; rows; bytes.

        One pass over the data in DuckDB, memory bounded; raises as `files`, SourceUnreadable.
        """
        files = self.files(path)
        names = [str(file) for file in files]
        try:
            with duckdb.connect(":memory:") as con:
                _harden(con, names)
                columns, rows = _measure(con, names)
        except duckdb.Error as error:
            raise SourceUnreadable(
                str(error), path=str(path), why="a file is no Parquet", why_zh="有文件不是 Parquet"
            ) from error
        size = sum(file.stat().st_size for file in files)
        return TableProfile(columns, rows, size, tuple(names))

    def _allowed(self, path: Path, given: str) -> Path:
        """`path` with its links resolved, if it lies under a root; errors name what was `given`."""
        roots = ", ".join(root.name for root in self._roots) or "-"
        try:
            real = self._found(path)
            if real is None:
                raise SourceMissing(path=given, roots=roots)
        except (OSError, RuntimeError, ValueError) as error:
            raise PathNotAllowed(str(error), path=given, roots=roots) from error
        if not self._inside(real):
            raise PathNotAllowed(str(real), path=given, roots=roots)
        return real

    def _found(self, path: Path) -> Path | None:
        """Where `path` leads; None where it would lead into a root and nothing is there."""
        if path.is_absolute():
            if path.exists():
                return path.resolve(strict=True)
        else:
            # A relative path is meant under a root, never under wherever the node was started.
            for root in self._roots:
                if (root / path).exists():
                    return (root / path).resolve(strict=True)
            here = path.resolve()
            if here.exists() and self._inside(here):
                return here
        # A way up could be walked to ask of the folders it passes: no word about those.
        if ".." in path.parts:
            raise FileNotFoundError
        ends = (
            [path.resolve()] if path.is_absolute() else [(r / path).resolve() for r in self._roots]
        )
        if not all(self._inside(end) for end in ends):
            raise FileNotFoundError
        return None

    def _inside(self, real: Path) -> bool:
        return any(real.is_relative_to(root) for root in self._roots)


def _harden(con: duckdb.DuckDBPyConnection, files: list[str]) -> None:
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET python_enable_replacements = false")
    con.execute("SET temp_directory = ''")
    con.execute(f"SET memory_limit = '{limits.PROFILE_MEMORY_MB_MAX}MB'")
    con.execute(f"SET allowed_paths = [{', '.join(_text(file) for file in files)}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _measure(
    con: duckdb.DuckDBPyConnection, files: list[str]
) -> tuple[tuple[ColumnProfile, ...], int]:
    source = f"read_parquet([{', '.join(_text(file) for file in files)}], union_by_name = false)"
    shape = con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
    if len(shape) > limits.SOURCE_COLUMNS_MAX:
        raise SourceTooLarge(what="the columns of a table", limit=limits.SOURCE_COLUMNS_MAX)
    measures = ["count(*)"]
    for name, *_ in shape:
        measures += [f"count({_name(name)})", f"approx_count_distinct({_name(name)})"]
    got = con.execute(f"SELECT {', '.join(measures)} FROM {source}").fetchone()  # noqa: S608
    if got is None:
        raise duckdb.Error("no answer to the profile query")
    rows = int(got[0])
    columns = tuple(
        ColumnProfile(
            name,
            kind,
            round(1 - got[1 + 2 * at] / rows, 6) if rows else 0.0,
            min(int(got[2 + 2 * at]), rows),
        )
        for at, (name, kind, *_) in enumerate(shape)
    )
    return columns, rows


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
