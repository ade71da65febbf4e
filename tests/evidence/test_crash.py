"""A power cut at each point of the sequencer: what was acknowledged is there, and the log holds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yunhe import evidence
from yunhe.kernel.db import open_database
from yunhe.kernel.keys import KeyStore

WRITER = """
import sys
from pathlib import Path
from yunhe.evidence import EvidenceLog
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import create_all, open_database
from yunhe.kernel.keys import KeyStore
folder = Path(sys.argv[1])
db = open_database(f"sqlite:///{folder / 'node.db'}", crash=CrashPoints(sys.argv[2]))
create_all(db)
log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "a.example/log")
log.install()
for number in range(600):
    receipt = db.write(lambda tx: log.record(tx, "use.posted", {"number": number}))
    print(receipt.entry_id, flush=True)
"""


@pytest.mark.parametrize(
    "armed",
    [
        "before_tile:2",
        "after_tile:1",
        "before_checkpoint:3",
        "after_checkpoint:3",
        "before_commit:4",
        "after_commit:4",
    ],
)
def test_after_a_crash_the_log_holds_and_goes_on(tmp_path: Path, armed: str) -> None:
    died = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), armed],
        capture_output=True,
        check=False,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    acknowledged = died.stdout.split()

    db = open_database(f"sqlite:///{tmp_path / 'node.db'}")
    log = evidence.EvidenceLog(db, KeyStore(tmp_path / "keys").key("log"), "a.example/log")
    log.install()
    for entry_id in acknowledged[-3:]:
        assert log.proof(entry_id).text()
    size = log.verify_all()
    # One verb may have been durable without its caller hearing of it; none the other way.
    assert size - len(acknowledged) in (0, 1)
    receipt = db.write(lambda tx: log.record(tx, "use.posted", {"after": armed}))
    assert log.proof(receipt.entry_id).index == size
    assert log.verify_all() == size + 1
    db.close()
