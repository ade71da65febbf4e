"""A file that takes over the process which reads it reaches itself, a folder, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sources.strangers import TRIED, crafted
from yunhe.kernel import sandbox
from yunhe.kernel.walls import REQUIRE, SandboxMissing
from yunhe.sources import Sources, parse, snapshots
from yunhe.sources.local import Roots


@pytest.mark.skipif(not sandbox.available().whole, reason="no Landlock or no seccomp here")
def test_who_takes_the_ingest_over_reaches_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, kept = crafted(tmp_path, "evil.csv")
    monkeypatch.setattr(snapshots, "_INGEST", (str(Path(__file__).with_name("hostile_ingest.py")),))
    made = snapshots.Snapshots(kept.parent, REQUIRE)
    found = made.fresh(Roots([root]).open(parse("evil.csv")), None, "evil.csv")
    said = [name for name, _ in found.columns]
    assert dict(zip((code for code, _ in TRIED), said, strict=True)) == dict(TRIED)


def test_a_machine_without_walls_reads_no_file_where_they_are_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    bare = tmp_path / "bare.py"
    bare.write_text(
        "from yunhe.kernel import sandbox\n"
        "from yunhe.sources import ingest\n"
        "sandbox.confine = lambda *_, **__: sandbox.Report()\n"
        "ingest.main()\n"
    )
    monkeypatch.setattr(snapshots, "_INGEST", (str(bare),))
    with pytest.raises(SandboxMissing, match="landlock"):
        Sources([tmp_path], tmp_path / "kept", walls=REQUIRE).profile("a.csv")
    assert Sources([tmp_path], tmp_path / "kept").profile("a.csv").rows == 1  # "best": as it can


def test_an_ingest_dies_with_its_node(tmp_path: Path) -> None:
    """It was told another parent than it has: its node is gone."""
    job = b'{"pieces": [], "work": "/", "out": "", "options": {}, "parent": 1, "required": true}'
    done = subprocess.run(
        [sys.executable, "-I", *snapshots._INGEST], input=job, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"")
