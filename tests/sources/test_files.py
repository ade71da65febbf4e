"""Text and Arrow files become typed tables: types over all values, drift told, bombs bounded."""

from __future__ import annotations

import gzip
import json
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.feather
import pytest

from yunhe.kernel import limits
from yunhe.sources import (
    SourceKindUnknown,
    SourceOverBound,
    Sources,
    SourceUnreadable,
    TableProfile,
)


class Ground:
    """A data root, its sources and short words for both."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.root.mkdir()
        self.kept = folder / "snapshots"
        self.sources = Sources([self.root], self.kept)

    def put(self, name: str, content: str | bytes, encoding: str = "utf-8") -> str:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return name

    def types(self, place: str) -> dict[str, str]:
        return self.sources.profile(place).types()

    def rows(self, profile: TableProfile, pinned: dict[str, str] | None = None) -> list[Any]:
        found = self.sources.fresh((profile.origin,), pinned or profile.types())
        table = duckdb.sql(f"FROM read_parquet({list(found.files)})").to_arrow_table()
        return [tuple(row.values()) for row in table.to_pylist()]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_csv_gets_the_types_all_its_values_are_written_in(ground: Ground) -> None:
    place = ground.put(
        "labs.csv",
        "id,code,big,ratio,at,seen,ok,zone,note,blank\n"
        "1,007,12345678901234567890,0.30000000000000004,2024-02-29,2024-01-01 10:00,true,"
        '2024-01-01T10:00:00+08:00,"a, ""b""\nc",\n'
        '-2,123,1,1e-7,2023-01-01,2024-01-01T10:00:01.5,FALSE,2024-01-01T10:00:00Z,"",\n'
        ",,,,,,,,,\n",
    )
    profile = ground.sources.profile(place)
    assert profile.types() == {
        "id": "BIGINT",
        "code": "VARCHAR",  # 007 is a name
        "big": "VARCHAR",  # no type of the engine holds it without a loss
        "ratio": "DOUBLE",
        "at": "DATE",
        "seen": "TIMESTAMP",
        "ok": "BOOLEAN",
        "zone": "TIMESTAMP WITH TIME ZONE",
        "note": "VARCHAR",
        "blank": "VARCHAR",
    }
    assert (profile.rows, profile.files, profile.columns[0].null_fraction) == (3, (), 0.333333)
    rows = ground.rows(profile)
    assert rows[0][1] == "007"
    assert rows[0][3] == 0.30000000000000004
    assert [row[8] for row in rows] == ['a, "b"\nc', "", None]


def test_a_late_row_decides_too(ground: Ground) -> None:
    rows = "".join(f"{i}\n" for i in range(50_000))
    assert ground.types(ground.put("n.csv", "n\n" + rows + "1.5\n")) == {"n": "DOUBLE"}
    assert ground.types(ground.put("t.csv", "n\n" + rows + "x\n")) == {"n": "VARCHAR"}


@pytest.mark.parametrize(
    ("name", "packed"), [("x.csv", ""), ("x.csv.gz", "gzip"), ("x.csv.zst", "zstd")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16"])
def test_encodings_are_found_plain_and_packed(
    ground: Ground, name: str, packed: str, encoding: str
) -> None:
    content = "姓名,诊断\n张三,脂肪肝\n李四,高血压\n".encode(encoding)
    with (
        pa.CompressedOutputStream(ground.root / name, packed)
        if packed
        else ((ground.root / name).open("wb")) as to
    ):
        to.write(content)
    profile = ground.sources.profile(name)
    assert profile.types() == {"姓名": "VARCHAR", "诊断": "VARCHAR"}
    assert ground.rows(profile) == [("张三", "脂肪肝"), ("李四", "高血压")]


def test_what_is_in_no_sure_encoding_is_refused_with_its_place(ground: Ground) -> None:
    ground.put("latin.csv", "name\nplain\nAndré été\n", "latin-1")
    with pytest.raises(SourceUnreadable) as refusal:
        ground.sources.profile("latin.csv")
    assert "byte 15, line 3" in refusal.value.facts["why"]
    assert "第 15 字节" in refusal.value.sentence("zh")
    assert str(ground.root) not in repr(refusal.value.problem())
    assert ground.types("csv:latin.csv?encoding=latin-1") == {"name": "VARCHAR"}
    ground.put("cut.csv", "名\n张".encode("gb18030") + b"\x81")
    with pytest.raises(SourceUnreadable, match="GB18030 at byte"):
        ground.sources.profile("csv:cut.csv?encoding=gb18030")
    with pytest.raises(SourceUnreadable, match="the encodings are"):
        ground.sources.profile("csv:cut.csv?encoding=rot13")


def test_what_could_be_either_encoding_is_what_its_neighbours_are_or_is_asked(
    ground: Ground,
) -> None:
    ground.put("t/a.csv", "sex\n男\n", "gb18030")
    ground.put("t/b.csv", "sex\n女\n", "gb18030")  # C5 AE: also a letter of Czech in UTF-8
    profile = ground.sources.profile("t")
    assert ground.rows(profile) == [("男",), ("女",)]
    (ground.root / "t/a.csv").unlink()
    assert ground.rows(profile) == [("女",)]  # what was found is kept with the origin
    with pytest.raises(SourceUnreadable, match="could be UTF-8 or GB18030"):
        ground.sources.profile("t")
    assert ground.rows(ground.sources.profile("csv:t?encoding=utf-8")) == [("Ů",)]
    ground.put("u/a.csv", "sex\n男\n")
    ground.put("u/b.csv", "sex\nŮ\n")
    assert ground.rows(ground.sources.profile("u")) == [("男",), ("Ů",)]
    ground.put("french.csv", "name\nAndré été\n")
    assert ground.rows(ground.sources.profile("french.csv")) == [("André été",)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a,b\n1,2\n3\n", "row 3"),
        ("a,b\n1,2,3\n", "row 2"),
        ("", "no header"),
        ("a,A\n1,2\n", "two columns"),
        ("a,\n1,2\n", "column 2"),
        ("a,b\x07\n", "column 2"),
        ('a,b\n"1,2\n', "no CSV|row"),
    ],
)
def test_a_csv_that_is_none_is_refused_by_row(ground: Ground, content: str, why: str) -> None:
    with pytest.raises(SourceUnreadable, match=why):
        ground.sources.profile(ground.put("x.csv", content))


def test_delimiters_are_found_or_said(ground: Ground) -> None:
    for name, content in (("a.csv", "a;b,c;d\n1;2;3\n"), ("b.tsv", "a,b\tb\td\n1\t2\t3\n")):
        assert len(ground.types(ground.put(name, content))) == 3
    ground.put("c.csv", "a,b;c\n1,2;3\n")
    assert list(ground.types("csv:c.csv?delimiter=;")) == ["a,b", "c"]


def test_json_documents_and_lines(ground: Ground) -> None:
    rows = [
        {"id": 1, "x": 1, "who": "007", "on": "2024-01-01", "tags": ["a", {"b": 1}], "no": None},
        {"id": 2, "x": 0.5, "ok": True},
    ]
    expected = {
        "id": "BIGINT",
        "x": "DOUBLE",
        "who": "VARCHAR",  # a text that looks like a number is a text
        "on": "DATE",
        "tags": "VARCHAR",
        "no": "VARCHAR",
        "ok": "BOOLEAN",
    }
    lines = "\n".join(map(json.dumps, rows))
    ground.put("d.json", json.dumps({"data": {"rows": rows}}))
    for place in (
        ground.put("a.json", json.dumps(rows)),
        ground.put("b.ndjson", lines),
        ground.put("c.json", lines),
        "json:d.json?records=/data/rows",
    ):
        profile = ground.sources.profile(place)
        assert profile.types() == expected, place
        assert ground.rows(profile)[0][4] == '["a",{"b":1}]'
        assert ground.rows(profile)[1] == (2, 0.5, None, None, None, None, True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('[{"a":1},{"a":"x"}]', "mixes"),
        ('[{"a":1},2]', "row 2"),
        ('[{"a":1,"a":2}]', "twice"),
        ('[{"a":NaN}]', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no row"),
        ('{"a":1}\n{"a":\n', "line 2"),
        ('"x"', "no array"),
    ],
)
def test_json_that_is_no_table_is_refused(ground: Ground, content: str, why: str) -> None:
    with pytest.raises(SourceUnreadable, match=why):
        ground.sources.profile(ground.put("x.json", content))


def test_a_column_of_many_kinds_may_be_declared_text(ground: Ground) -> None:
    ground.put("x.json", '[{"a":1},{"a":"x"}]')
    profile = ground.sources.profile("json:x.json?text=a")
    assert profile.types() == {"a": "VARCHAR"}
    assert ground.rows(profile) == [("1",), ("x",)]


def test_arrow_files_streams_and_feather(ground: Ground) -> None:
    table = pa.table({"id": [1, 2], "name": pa.array(["a", "a"]).dictionary_encode()})
    pa.feather.write_feather(table, ground.root / "f.feather", compression="zstd")
    for name, made in (("a.arrow", pa.ipc.new_file), ("s.arrows", pa.ipc.new_stream)):
        with made(ground.root / name, table.schema) as to:
            to.write_table(table)
    for name in ("a.arrow", "s.arrows", "f.feather"):
        profile = ground.sources.profile(name)
        assert profile.types() == {"id": "BIGINT", "name": "VARCHAR"}
        assert ground.rows(profile) == [(1, "a"), (2, "a")]
    whole = (ground.root / "a.arrow").read_bytes()
    for at in range(8, len(whole), 97):  # any byte may lie; the node says so and lives
        ground.put("bad.arrow", whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(SourceUnreadable):
            ground.sources.profile("bad.arrow")
        if at > 600:
            break


def test_a_folder_is_joined_by_name_and_what_lacks_is_told(ground: Ground) -> None:
    ground.put("t/a.csv", "id,x\n1,10\n")
    ground.put("t/b.csv", "x,id,y\n20,2,z\n")
    profile = ground.sources.profile("t")
    assert profile.types() == {"id": "BIGINT", "x": "BIGINT", "y": "VARCHAR"}
    assert ground.rows(profile) == [(1, 10, None), (2, 20, "z")]
    found = ground.sources.fresh((profile.origin,), profile.types())
    assert found.drift.partial == {"y": 1}


def test_parquet_files_of_unlike_columns_are_one_table_by_name(ground: Ground) -> None:
    (ground.root / "p").mkdir()
    for name, query in (("a", "1::INTEGER AS id"), ("b", "2::BIGINT AS id, 'x' AS y")):
        duckdb.execute(f"COPY (SELECT {query}) TO '{ground.root}/p/{name}.parquet'")
    profile = ground.sources.profile("p")
    assert profile.types() == {"id": "BIGINT", "y": "VARCHAR"}
    assert ground.rows(profile) == [(1, None), (2, "x")]
    duckdb.execute(f"COPY (SELECT 'z' AS id) TO '{ground.root}/p/c.parquet'")
    with pytest.raises(SourceUnreadable, match=r"BIGINT in b.parquet and VARCHAR in c.parquet"):
        ground.sources.profile("p")


def test_types_are_pinned_and_drift_is_told_never_coerced(ground: Ground) -> None:
    ground.put("t/a.csv", "id,x,y\n1,10,q\n")
    profile = ground.sources.profile("t")
    pinned = profile.types()
    ground.put("t/b.csv", "id,x,z\n2,ten,9\n")
    found = ground.sources.fresh((profile.origin,), pinned)
    assert found.drift.changed == {"x": "b.csv, row 1: no BIGINT"}
    assert found.drift.extra == ("z",)
    assert found.drift.partial == {"y": 1}
    assert found.drift.lost({"x"}) == ("x",)
    assert not found.drift.lost({"id", "y"})
    assert ground.rows(profile, pinned) == [(1, None, "q"), (2, None, None)]
    (ground.root / "t/b.csv").unlink()
    ground.put("t/a.csv", "id,x\n1,11\n")
    found = ground.sources.fresh((profile.origin,), pinned)
    assert found.drift.to_json() == {"gone": ["y"], "changed": {}, "extra": [], "partial": {}}
    assert ground.rows(profile, pinned) == [(1, 11, None)]


def test_parquet_that_drifted_is_read_by_a_snapshot_until_it_is_mended(ground: Ground) -> None:
    file = ground.root / "p.parquet"

    def write(query: str) -> None:
        duckdb.execute(f"COPY (SELECT {query}) TO '{file}'")

    write("1::BIGINT AS id, 'a' AS name")
    profile = ground.sources.profile("p.parquet")
    pinned = profile.types()
    assert ground.sources.fresh((profile.origin,), pinned).files == (str(file),)
    write("7::INTEGER AS id, 'a' AS name, 1 AS more")  # narrower fits, a new column is ignored
    found = ground.sources.fresh((profile.origin,), pinned)
    assert (found.drift.extra, found.drift.changed) == (("more",), {})
    assert ground.rows(profile) == [(7, "a")]
    write("'x' AS id")
    found = ground.sources.fresh((profile.origin,), pinned)
    assert found.drift.lost(pinned) == ("name", "id")
    write("2::BIGINT AS id, 'b' AS name")
    found = ground.sources.fresh((profile.origin,), pinned)
    assert (found.files, bool(found.drift)) == ((str(file),), False)


def test_a_bomb_is_cut_at_its_ratio(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b"a\n" + b"1\n" * (60 << 20)
    with gzip.open(ground.root / "bomb.csv.gz", "wb", 9) as to:
        to.write(bomb)
    assert (ground.root / "bomb.csv.gz").stat().st_size * limits.SOURCE_RATIO_MAX < len(bomb)
    with pytest.raises(SourceOverBound, match="200 times"):
        ground.sources.profile("bomb.csv.gz")
    assert not [name for name in os.listdir(ground.kept) if name != ".keep"]


def test_a_snapshot_is_private_named_by_its_bytes_and_made_once(ground: Ground) -> None:
    profile = ground.sources.profile(ground.put("x.csv", "a\n1\n"))
    first = ground.sources.fresh((profile.origin,), profile.types())
    assert stat.S_IMODE(os.stat(first.files[0]).st_mode) == 0o600
    assert stat.S_IMODE(ground.kept.stat().st_mode) == 0o700
    times = os.stat(first.files[0]).st_ino
    again = Sources([ground.root], ground.kept)  # another life of the node
    assert again.fresh((profile.origin,), profile.types()) == first
    assert os.stat(first.files[0]).st_ino == times
    ground.put("x.csv", "a\n2\n")
    second = ground.sources.fresh((profile.origin,), profile.types())
    assert second.files != first.files
    assert Path(first.files[0]).exists()  # a query may still be reading it


def test_one_refresh_flies_at_a_time(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    from yunhe.sources import snapshots

    profile = ground.sources.profile(ground.put("x.csv", "a\n1\n"))
    runs: list[int] = []
    real = snapshots._ingested

    def counted(job: dict[str, Any], where: str) -> dict[str, Any]:
        runs.append(1)
        return real(job, where)

    monkeypatch.setattr(snapshots, "_ingested", counted)
    ground.put("x.csv", "a\n2\n3\n")
    got: list[Any] = []
    pinned = profile.types()
    threads = [
        threading.Thread(
            target=lambda: got.append(ground.sources.fresh((profile.origin,), pinned).files)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(runs), len(set(got)), len(got)) == (1, 1, 8)


def test_a_broken_source_is_not_read_anew_by_every_query(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yunhe.sources import snapshots

    profile = ground.sources.profile(ground.put("x.csv", "a\n1\n"))
    ground.put("x.csv", b"a\n\xff\xff\n")
    with pytest.raises(SourceUnreadable):
        ground.sources.fresh((profile.origin,), profile.types())
    monkeypatch.setattr(snapshots, "_ingested", None)
    with pytest.raises(SourceUnreadable):
        ground.sources.fresh((profile.origin,), profile.types())


def test_a_file_that_kills_its_reader_kills_only_that(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INGEST_S_MAX", 0.01)
    with pytest.raises(SourceUnreadable, match="ended before"):
        ground.sources.profile(ground.put("x.csv", "a\n1\n"))
    assert os.listdir(ground.kept) == []


def test_folders_of_two_kinds_need_a_word(ground: Ground) -> None:
    ground.put("m/a.csv", "a\n1\n")
    ground.put("m/b.json", '[{"a":1}]')
    with pytest.raises(SourceKindUnknown):
        ground.sources.profile("m")
    assert ground.types("csv:m") == {"a": "BIGINT"}
    assert ground.types("csv:m?text=a") == {"a": "VARCHAR"}
    ground.put("odd?.csv", "a\n1\n")
    profile = ground.sources.profile("odd?.csv")
    assert ground.rows(profile) == [(1,)]


def test_a_sample_is_bounded_and_fit_for_json(ground: Ground) -> None:
    rows = "".join(f"{i},2024-01-01,0.5\n" for i in range(300))
    profile = ground.sources.profile(ground.put("x.csv", "a,d,f\n" + rows))
    found = ground.sources.sample((profile.origin,), profile.types(), 1000)
    assert len(found) == limits.SAMPLE_ROWS_MAX
    assert json.dumps(found[0]) == '{"a": 0, "d": "2024-01-01", "f": 0.5}'
