"""What `make` tells a newcomer whose machine is not ready: another Python, no package index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`make` in a copy of the repository's outside, without what another `make` left here."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(ROOT / name, folder)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "PIP"))}
    return subprocess.run(
        ["make", "-s", *arguments],
        cwd=folder,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18 && exit\nexit 1\n')
    old.chmod(0o755)
    told = make(tmp_path, "demo", f"PYTHON={old}")
    assert told.returncode == 2
    assert "Python 3.11 or newer is needed; found: Python 3.9.18" in told.stderr
    assert "make demo PYTHON=" in told.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.timeout(120)
def test_a_machine_without_an_index_is_told_what_to_do(tmp_path: Path) -> None:
    told = make(
        tmp_path, "demo", f"PYTHON={sys.executable}", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull
    )
    assert told.returncode == 2, told.stdout
    assert "Installing into .venv" in told.stdout  # said before it takes its minute
    assert "PIP_INDEX_URL=" in told.stderr
    assert not (tmp_path / ".venv" / ".demo").exists()
