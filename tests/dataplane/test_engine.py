"""An engine that was never held against the attacks does not serve."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import duckdb
import pytest

from yunhe.dataplane import Pool
from yunhe.dataplane.engine import TESTED, check_engine
from yunhe.dataplane.errors import EngineUntested

ROOT = Path(__file__).parents[2]


def test_the_pinned_engine_is_tested() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    (pinned,) = (line.partition("==")[2] for line in pins if line.startswith("duckdb=="))
    assert pinned in TESTED
    check_engine()


def test_the_lowest_engine_allowed_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = project["optional-dependencies"]["node"]
    (bounds,) = (line for line in needs if line.startswith("duckdb"))
    assert f"duckdb>={min(TESTED)}," in bounds


def test_another_engine_is_refused_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(duckdb, "__version__", "2.9.9")
    with pytest.raises(EngineUntested) as refused:
        Pool(1, 0).start()
    assert "2.9.9" in str(refused.value.problem())
    assert TESTED[-1] in str(refused.value.problem())
    with caplog.at_level(logging.WARNING), Pool(1, 0, development=True):
        assert "2.9.9" in caplog.text
