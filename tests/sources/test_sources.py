"""A provider points the node at files: profiled where allowed, refused everywhere else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from yunhe.sources import (
    PathNotAllowed,
    SourceEmpty,
    SourceKindUnknown,
    SourceMissing,
    Sources,
    SourceUnreadable,
)


def parquet(path: Path, query: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_file_is_profiled(root: Path) -> None:
    query = (
        "SELECT i AS id, CASE WHEN i % 4 > 0 THEN 'x' || i END AS \"姓 名\" FROM range(100) t(i)"
    )
    file = parquet(root / "p.parquet", query)
    profile = Sources([root]).profile(file)
    assert profile.rows == 100
    assert profile.bytes == file.stat().st_size
    assert profile.types() == {"id": "BIGINT", "姓 名": "VARCHAR"}
    assert profile.columns[0].null_fraction == 0
    assert profile.columns[1].null_fraction == 0.25
    assert 60 <= profile.columns[1].distinct_approx <= 100


def test_a_folder_is_one_table(root: Path) -> None:
    parquet(root / "t" / "a.parquet", "SELECT 1 AS id")
    parquet(root / "t" / "2024" / "b.parquet", "SELECT 2 AS id")
    profile = Sources([root]).profile(root / "t")
    assert profile.rows == 2
    assert len(profile.files) == 2


def test_an_empty_table_has_a_profile(root: Path) -> None:
    file = parquet(root / "e.parquet", "SELECT 1 AS id WHERE false")
    profile = Sources([root]).profile(file)
    assert profile.rows == 0
    assert profile.columns[0].null_fraction == 0.0


def test_no_value_is_kept(root: Path) -> None:
    file = parquet(root / "s.parquet", "SELECT 'CANARY-7' AS secret")
    assert "CANARY-7" not in repr(Sources([root]).profile(file))


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "../nothing", "a\0b"])
def test_a_path_outside_is_refused(root: Path, path: str) -> None:
    parquet(root.parent / "outside.parquet", "SELECT 1 AS id")
    with pytest.raises(PathNotAllowed) as refusal:
        Sources([root]).files(root / path)
    assert refusal.value.facts == {"path": str(root / path), "roots": "data"}


def test_what_is_missing_inside_is_said_and_outside_is_not(root: Path) -> None:
    (root / "out").symlink_to(root.parent / "away")
    (root.parent / "there.parquet").write_bytes(b"x")
    node = Sources([root])
    for missing in ("nope.parquet", "a/b.parquet", str(root / "nope.parquet")):
        with pytest.raises(SourceMissing) as refusal:
            node.files(missing)
        assert refusal.value.facts == {"path": missing, "roots": "data"}
        assert "data_roots" in refusal.value.remedy("zh")
    outside = [root.parent / "there.parquet", root.parent / "nothing.parquet"]
    told = []
    for path in [*outside, "../there.parquet", "../nothing.parquet", "out", "out/x"]:
        with pytest.raises(PathNotAllowed) as kept:
            node.files(path)
        told.append(kept.value.sentence("en").replace(str(path), ""))
        if not Path(path).is_absolute():
            assert str(root.parent) not in str(kept.value.problem())
    assert len(set(told)) == 1  # the same words, there or not


def test_a_file_beside_the_node_is_no_news(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "beside.parquet").write_bytes(b"x")
    monkeypatch.chdir(root.parent)
    for name in ("beside.parquet", "nothing.parquet"):
        with pytest.raises(SourceMissing):
            Sources([root]).files(name)


def test_a_link_that_leaves_the_root_is_refused(root: Path) -> None:
    outside = parquet(root.parent / "outside.parquet", "SELECT 1 AS id")
    (root / "link.parquet").symlink_to(outside)
    with pytest.raises(PathNotAllowed):
        Sources([root]).files(root / "link.parquet")
    with pytest.raises(PathNotAllowed):  # also inside a folder that is itself allowed
        Sources([root]).files(root)


def test_a_name_that_begins_like_the_root_is_outside(root: Path) -> None:
    outside = parquet(root.parent / "data2" / "p.parquet", "SELECT 1 AS id")
    with pytest.raises(PathNotAllowed):
        Sources([root]).files(outside)


def test_a_folder_without_parquet_is_empty(root: Path) -> None:
    (root / "notes.txt").write_text("x")
    with pytest.raises(SourceEmpty):
        Sources([root]).files(root)
    (root / "t.csv").write_text("a,b")
    with pytest.raises(SourceKindUnknown) as refusal:
        Sources([root]).files("t.csv")
    assert refusal.value.facts == {"path": "t.csv"}
    assert "类型" in refusal.value.sentence("zh")


def test_broken_and_unlike_files_are_named_as_such(root: Path) -> None:
    (root / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceUnreadable) as refusal:
        Sources([root]).profile("broken.parquet")
    assert refusal.value.facts["path"] == "broken.parquet"
    assert str(root) not in str(refusal.value.problem())


def test_a_quote_in_a_name_is_only_a_name(root: Path) -> None:
    (root / "it's").mkdir()
    source = parquet(root / "plain.parquet", 'SELECT 1 AS "a""b"')
    source.rename(root / "it's" / "x.parquet")
    assert Sources([root]).profile(root / "it's").columns[0].name == 'a"b'
