from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.nodes import World
from yunhe.kernel.clock import ManualClock


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    made = World(tmp_path, clock)
    yield made
    made.close()
