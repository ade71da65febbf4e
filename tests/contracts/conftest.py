"""Two nodes and the wire between them, for every test of the slice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.nodes import Node, Pair
from yunhe.kernel.clock import ManualClock


@pytest.fixture
def pair(tmp_path: Path, clock: ManualClock) -> Iterator[Pair]:
    pair = Pair(Node(tmp_path, "provider", clock), Node(tmp_path, "consumer", clock))
    yield pair
    pair.provider.close()
    pair.consumer.close()
