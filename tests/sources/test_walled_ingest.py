"""A file that takes over the process which reads it reaches itself, a folder, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yunhe.kernel import sandbox
from yunhe.kernel.walls import REQUIRE, SandboxMissing
from yunhe.sources import Sources, parse, snapshots
from yunhe.sources.local import Roots

NO, NEVER = "Permission denied", "Operation not permitted"
TRIED = [
    ("open('/etc/passwd')", NO),
    ("open({other!r})", NO),  # of another table, under the same root
    ("open({other!r}, 'w')", NO),
    ("open(job['pieces'][0]['file'], 'a')", NO),
    ("import os; os.unlink(job['pieces'][0]['file'])", NO),
    ("import os; os.listdir({root!r})", NO),
    ("open({kept!r})", NO),  # another table's snapshot
    ("open({kept!r}, 'w')", NO),
    ("open('/proc/%d/environ' % parent)", NO),
    ("open('/proc/self/mem', 'r+b')", NO),
    ("import socket; socket.socket()", NEVER),
    ("import socket; socket.socket(socket.AF_UNIX)", NEVER),
    ("import os; os.fork()", NEVER),
    ("import os; os.execv('/bin/sh', ['sh'])", NEVER),
    ("import os; os.kill(parent, 9)", NEVER),
    ("import os; os.chmod(job['work'], 0o777)", NEVER),
    ("import os; os.symlink('/etc', job['work'] + '/a')", NO),
    ("bytearray(8 << 30)", "MemoryError"),
    (
        "import os; assert not {{*os.environ}} - {{'LC_ALL', 'TZ', *{known!r}}}, os.environ",
        "NOTHING",
    ),
    ("open(job['work'] + '/mine', 'w').write('x')", "NOTHING"),
]


@pytest.mark.skipif(not sandbox.available().whole, reason="no Landlock or no seccomp here")
def test_who_takes_the_ingest_over_reaches_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, kept = tmp_path / "data", tmp_path / "snapshots" / "other.parquet"
    for folder in (root, kept.parent):
        folder.mkdir()
    (root / "other.csv").write_text("secret\n")
    kept.write_bytes(b"secret")
    told = {"other": str(root / "other.csv"), "root": str(root), "kept": str(kept)}
    told["known"] = [*sandbox.environment()]
    (root / "evil.csv").write_text("\n".join(code.format(**told) for code, _ in TRIED))
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
