"""The ingest: a process of its own that reads strangers' files and writes one typed Parquet.

In (stdin): one job as JSON. Out (stdout): one report as JSON; the snapshot at `job["out"]`. It has
no credential and an empty environment; a hostile file ends it, not the node. Before it opens the
first one it goes behind the walls of `kernel/sandbox.py`: what takes it over reads these files and
writes its own folder, no more (`look.serve`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from yunhe.kernel import limits
from yunhe.sources import types
from yunhe.sources.look import Fault, Json, harden, literal, quoted, serve
from yunhe.sources.read_text import Part, checked_names, csv_part, json_part
from yunhe.sources.read_typed import arrow_part
from yunhe.sources.unpack import plain


def run(job: Json) -> Json:
    """Read every piece, decide or check the types, write the snapshot. Raises Fault.

    The report: `columns` [[name, type]], `rows`, and the drift against `pinned` columns: `gone`,
    `changed` {column: where}, `extra` {column: type}, `partial` {column: files without it}.
    """
    work = Path(job["work"])
    options: Mapping[str, str] = job["options"]
    parts = _parts(job["pieces"], options, work)
    with duckdb.connect(":memory:") as con:
        harden(con, [*(str(part.file) for part in parts)], work)
        shapes = [_shape(con, part) for part in parts]
        forced = frozenset(filter(None, options.get("text", "").split("|")))
        table = _Table(con, parts, shapes, forced)
        pinned = dict(job["pinned"] or ())
        found = table.check(pinned) if pinned else table.decide()
        rows = table.write(found["columns"], {*found["gone"], *found["changed"]}, job["out"])
    encodings = {part.name: part.encoding for part in parts if part.encoding}
    return {**found, "rows": rows, "encodings": sorted(set(encodings.values()))}


def _parts(pieces: Sequence[Json], options: Mapping[str, str], work: Path) -> list[Part]:
    if pieces and pieces[0]["format"] == "dicom":
        from yunhe.sources.read_dicom import dicom_part

        named = [(Path(piece["file"]), piece["name"]) for piece in pieces]
        return [dicom_part(named, work / "0.parquet", options.get("table", "headers"))]
    likely = options.get("likely", "")
    parts = [_part(at, piece, options, work, likely) for at, piece in enumerate(pieces)]
    doubtful = [at for at, part in enumerate(parts) if not part.sure]
    if not doubtful:
        return parts
    # One table is written by one hand: what could be either is what its neighbours are.
    sure = {part.encoding for part in parts if part.sure and part.telling}
    if len(sure) != 1:
        name = parts[doubtful[0]].name
        raise Fault(
            f"{name} could be UTF-8 or GB18030; declare it with the option encoding=",
            f"{name} 既可能是 UTF-8 也可能是 GB18030；请用选项 encoding= 声明",
        )
    if sure == {"gb18030"}:
        for at in doubtful:
            parts[at] = _part(at, pieces[at], options, work, "gb18030")
    return parts


def _part(at: int, piece: Json, options: Mapping[str, str], work: Path, likely: str) -> Part:
    file, name, out = Path(piece["file"]), piece["name"], work / f"{at}.parquet"
    if piece["format"] == "parquet":
        return Part(file, name)
    if piece["format"] == "arrow":
        return arrow_part(file, name, out)
    text = plain(file, name, work, options.get("encoding", ""), likely)
    try:
        if piece["format"] == "csv":
            tab = "tab" if ".tsv" in Path(name).suffixes else ""
            part = csv_part(text.file, name, out, options.get("delimiter", tab))
        else:
            lines = bool({".ndjson", ".jsonl"} & {*Path(name).suffixes})
            part = json_part(text.file, name, out, options.get("records", ""), lines)
    finally:
        if text.file != file:
            text.file.unlink()
    return replace(part, encoding=text.encoding, sure=text.sure, telling=text.telling)


def _shape(con: duckdb.DuckDBPyConnection, part: Part) -> dict[str, str]:
    try:
        source = f"read_parquet({literal(str(part.file))})"
        found = con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
    except duckdb.Error as error:
        raise Fault(f"{part.name} is no Parquet", f"{part.name} 不是 Parquet") from error
    checked_names([name for name, *_ in found], part.name)
    return {name: kind for name, kind, *_ in found}


class _Table:
    """The parts of one table and what becomes of their columns."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        parts: Sequence[Part],
        shapes: Sequence[dict[str, str]],
        forced: frozenset[str],
    ) -> None:
        self._con, self._parts, self._shapes, self._forced = con, parts, shapes, forced
        self._names = list(dict.fromkeys(name for shape in shapes for name in shape))
        checked_names(self._names, "the table")

    def _having(self, name: str) -> list[tuple[Part, str]]:
        pairs = zip(self._parts, self._shapes, strict=True)
        return [(part, shape[name]) for part, shape in pairs if name in shape]

    def _partial(self, names: Sequence[str]) -> dict[str, int]:
        lacking = {name: len(self._parts) - len(self._having(name)) for name in names}
        return {name: n for name, n in lacking.items() if 0 < n < len(self._parts)}

    def decide(self) -> Json:
        """The types, from all values."""
        columns = [[name, self._decided(name)] for name in self._names]
        partial = self._partial(self._names)
        return {"columns": columns, "gone": [], "changed": {}, "extra": {}, "partial": partial}

    def _decided(self, name: str) -> str:
        having = self._having(name)
        if having[0][0].text:
            parts = [part for part, _ in having]
            return types.detect(self._con, name, parts, name in self._forced)
        first, found = having[0]
        for part, kind in having[1:]:
            both = types.wider(found, kind)
            if both is None:
                en = f"column {name!r} is {found} in {first.name} and {kind} in {part.name}"
                raise Fault(
                    en, f"列 {name!r} 在 {first.name} 中为 {found}，在 {part.name} 中为 {kind}"
                )
            first, found = (first if both == found else part), both
        return found if found != '"NULL"' else "VARCHAR"

    def check(self, pinned: Mapping[str, str]) -> Json:
        """What no longer is as pinned."""
        changed = {}
        for name in pinned:
            where = self._changed(name, pinned[name])
            if where:
                changed[name] = where
        return {
            "columns": [[name, kind] for name, kind in pinned.items()],
            "gone": [name for name in pinned if not self._having(name)],
            "changed": changed,
            "extra": {name: self._told(name) for name in self._names if name not in pinned},
            "partial": self._partial(list(pinned)),
        }

    def _told(self, name: str) -> str:
        part, kind = self._having(name)[0]
        return "" if part.text else kind

    def _changed(self, name: str, kind: str) -> str:
        for part, found in self._having(name):
            if part.text:
                row = None
                if name not in self._forced:
                    row = types.misfit(self._con, name, kind, part)
                if row is not None:
                    return f"{part.name}, row {row}: no {kind}"
            elif types.wider(kind, found) != kind:
                return f"{part.name}: {found}, was {kind}"
        return ""

    def write(self, columns: Sequence[Sequence[str]], empty: set[str], out: str) -> int:
        """Write the columns as typed; the `empty` ones as NULL. How many rows there are."""
        groups: dict[tuple[bool, tuple[tuple[str, str], ...]], list[Part]] = {}
        for part, shape in zip(self._parts, self._shapes, strict=True):
            groups.setdefault((part.text, tuple(shape.items())), []).append(part)
        selects = []
        for (text, named), parts in groups.items():
            held = dict(named)
            made = ", ".join(
                f"{_made(name, kind, held, text, empty)} AS {quoted(name)}"
                for name, kind in columns
            )
            files = ", ".join(literal(str(part.file)) for part in parts)
            selects.append(f"SELECT {made} FROM read_parquet([{files}])")  # noqa: S608
        try:
            return int(
                self._con.execute(
                    f"COPY ({' UNION ALL '.join(selects)}) TO {literal(out)} "
                    "(FORMAT parquet, COMPRESSION zstd)"
                ).fetchall()[0][0]
            )
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise Fault("a value does not fit its column", "有值与其列的类型不符") from error


def _made(name: str, kind: str, held: Mapping[str, str], text: bool, empty: set[str]) -> str:
    if name not in held or name in empty:
        return f"CAST(NULL AS {kind})"
    return types.cast(name, kind) if text else f"CAST({quoted(name)} AS {kind})"


def _prepare(job: Json) -> None:
    if job["pieces"] and job["pieces"][0]["format"] == "dicom":
        import yunhe.sources.read_dicom  # noqa: F401 - while the house can still be read


def main() -> None:
    """Read the job, go behind the walls, say the report."""
    serve(run, limits.INGEST_S_MAX, _prepare, (pa.ArrowException,))


if __name__ == "__main__":
    main()
