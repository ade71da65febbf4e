"""What a file that takes over the process which reads it tries, and what comes of each try."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from yunhe.kernel import sandbox

NO, NEVER = "Permission denied", "Operation not permitted"
TRIED: Final = [
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


def crafted(folder: Path, name: str) -> tuple[Path, Path]:
    """A root with such a file, called `name`, beside another's; a snapshot of another table."""
    root, kept = folder / "data", folder / "snapshots" / "other.parquet"
    for each in (root, kept.parent):
        each.mkdir()
    (root / "other.csv").write_text("secret\n")
    kept.write_bytes(b"secret")
    told: dict[str, Any] = {"other": str(root / "other.csv"), "root": str(root), "kept": str(kept)}
    told["known"] = [*sandbox.environment()]
    (root / name).write_text("\n".join(code.format(**told) for code, _ in TRIED))
    return root, kept
