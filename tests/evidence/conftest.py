"""Keys for the tests of the log; made per session, so nothing private is in the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from yunhe.evidence import EvidenceLog  # noqa: F401  declares its tables before `db` makes them
from yunhe.kernel.keys import KeyStore, SigningKey


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[[str], SigningKey]:
    return lambda name: KeyStore(tmp_path / "keys" / name).key("log")


@pytest.fixture
def log_key(make_key: Callable[[str], SigningKey]) -> SigningKey:
    return make_key("log")
