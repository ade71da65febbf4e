"""docs/by-hand.md, typed as it stands: four real nodes, one shell, one's own CSV."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from flow.world import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "by-hand.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.timeout(240)
def test_the_page_leads_from_a_csv_to_a_proof(tmp_path: Path) -> None:
    text = "\n".join(["set -e", *BLOCKS])
    for number in range(8201, 8205):
        text = text.replace(str(number), str(free_port()))
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, of in (("yunhe", '-m yunhe "$@"'), ("python", '"$@"')):
        (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {of}\n')
        (bin_ / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("YUNHE_")}
    environ = {**kept, "PATH": f"{bin_}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    shell = subprocess.Popen(
        ["bash", "-c", text],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that its nodes end with it, whatever happens
    )
    try:
        said = shell.communicate(timeout=200)[0].decode()
    finally:
        with suppress(ProcessLookupError):  # it has ended, and its nodes with it
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, said
    for part in ("county", "AGGREGATE_RAW_COLUMN", "refused, exit code 1", "1 use, 3 rows"):
        assert part in said, said
    assert re.search(r"settled: yes", said), said
