"""A functional node and a hospital that is its member, on one net."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.nodes import HOSPITAL, REGION, Net, Node, joined
from yunhe.kernel.clock import ManualClock


@pytest.fixture
def net(tmp_path: Path, clock: ManualClock) -> Iterator[Net]:
    made = Net(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def office(net: Net) -> Node:
    return net.node("office", REGION, "functional-node")


@pytest.fixture
def hospital(net: Net, office: Node) -> Node:
    return joined(net, net.node("hospital", HOSPITAL, parent=office))
