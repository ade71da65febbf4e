"""Parquet of strangers is looked at behind the walls: crafted files end the look, not the node."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.strangers import TRIED, crafted
from yunhe.kernel import sandbox
from yunhe.kernel.walls import REQUIRE, SandboxMissing
from yunhe.sources import SourceOverBound, Sources, SourceUnreadable, parquet, walled

REFUSED = (SourceUnreadable, SourceOverBound)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    duckdb.sql("SELECT i AS id, 'n' || i AS name FROM range(500) t(i)").write_parquet(str(path))
    return path


@pytest.mark.skipif(not sandbox.available().whole, reason="no Landlock or no seccomp here")
def test_who_takes_the_look_over_reaches_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, kept = crafted(tmp_path, "evil.parquet")
    monkeypatch.setattr(parquet, "_LOOK", (str(Path(__file__).with_name("hostile_look.py")),))
    found = Sources([root], kept.parent, walls=REQUIRE).profile("evil.parquet")
    said = [column.name.split(" ", 1)[1] for column in found.columns]
    assert dict(zip((code for code, _ in TRIED), said, strict=True)) == dict(TRIED)


def test_a_machine_without_walls_looks_at_nothing_where_they_are_required(
    sound: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.py"
    bare.write_text(
        "from yunhe.kernel import sandbox\n"
        "from yunhe.sources import look\n"
        "sandbox.confine = lambda *_, **__: sandbox.Report()\n"
        "look.serve(look.look, 60)\n"
    )
    monkeypatch.setattr(parquet, "_LOOK", (str(bare),))
    with pytest.raises(SandboxMissing, match="landlock"):
        Sources([tmp_path], tmp_path / "kept", walls=REQUIRE).profile("a.parquet")
    assert Sources([tmp_path], tmp_path / "kept").profile("a.parquet").rows == 500


def test_a_crafted_footer_is_told_and_nothing_more(sound: Path, tmp_path: Path) -> None:
    whole = sound.read_bytes()
    size = int.from_bytes(whole[-8:-4], "little")
    crafted = {
        "longer than the file": whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:],
        "negative": whole[:-8] + b"\xff\xff\xff\xff" + whole[-4:],
        "none": whole[:-8] + bytes(4) + whole[-4:],
        "nested without end": whole[: -8 - size] + b"\x1c" * size + whole[-8:],
        "lists without end": whole[: -8 - size] + b"\x19\xfc" * (size // 2) + whole[-8:],
        "cut": whole[: len(whole) // 2],
    }
    for number, bytes_ in enumerate(crafted.values()):
        (tmp_path / f"evil{number}.parquet").write_bytes(bytes_)
    sources = Sources([tmp_path], tmp_path / "kept")
    for number in range(len(crafted)):
        with pytest.raises(REFUSED):
            sources.profile(f"evil{number}.parquet")
    assert sources.profile("a.parquet").rows == 500


def test_a_flipped_bit_is_told_or_read_and_never_ends_the_node(sound: Path, tmp_path: Path) -> None:
    whole, dice = sound.read_bytes(), random.Random(7)  # noqa: S311
    sources = Sources([tmp_path], tmp_path / "kept")
    for number in range(8):
        bad = bytearray(whole)
        for _ in range(4):  # footers are where a reader is steered from
            bad[dice.randrange(len(bad) - 300, len(bad) - 8)] ^= 1 << dice.randrange(8)
        path = tmp_path / f"bad{number}.parquet"
        path.write_bytes(bad)
        try:
            assert sources.profile(path.name).rows >= 0
        except REFUSED:
            continue


def test_a_page_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    table = pa.table({"v": pa.array([bytes(140 << 20)], pa.large_binary())})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 1 << 20
    packed = bytearray(path.read_bytes())
    # The page's header begins with its type and the size of what it unpacks to (Thrift, compact).
    assert packed[4] == packed[6] == 0x15
    assert [byte >= 0x80 for byte in packed[7:12]] == [True] * 4 + [False]
    packed[7:12] = b"\xfe\xff\xff\xff\x0f"  # 2^31 - 1
    path.write_bytes(packed)
    with pytest.raises(REFUSED):
        Sources([tmp_path], tmp_path / "kept").profile("bomb.parquet")


@pytest.mark.parametrize(
    "says",
    [
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "print('[1]')",
        'print(\'{"alike": 1, "columns": []}\')',
        'print(\'{"alike": true, "columns": [[1, 2]]}\')',
        'print(\'{"alike": true, "columns": [["a", "INTEGER"]], "rows": "x"}\')',
        'print(\'{"fault": {"en": 1}}\')',
        "raise SystemExit(3)",
    ],
)
def test_what_a_look_says_is_bounded_and_read_with_care(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    liar = tmp_path / "liar.py"
    liar.write_text(f"import sys\nsys.stdin.read()\n{says}\n")
    monkeypatch.setattr(parquet, "_LOOK", (str(liar),))
    with pytest.raises(SourceUnreadable):
        Sources([tmp_path], tmp_path / "kept").profile("a.parquet")


def test_a_table_that_nobody_changed_is_looked_at_once(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Sources([tmp_path], tmp_path / "kept").profile("a.parquet")
    looks: list[str] = []
    told = walled.told

    def counted(process: Any, job: Any, given: str, seconds: float) -> Any:
        looks.append(job["verb"])
        return told(process, job, given, seconds)

    monkeypatch.setattr(walled, "told", counted)
    again = Sources([tmp_path], tmp_path / "kept")  # after a restart, say
    fresh = again.fresh((found.origin,), found.types())
    assert fresh.files == (str(sound),)
    assert looks == []
    duckdb.sql("SELECT CAST(1 AS BIGINT) AS id, 'x' AS name").write_parquet(str(sound))
    assert again.fresh((found.origin,), found.types()).files == (str(sound),)
    assert looks == ["shape"]
