"""A node that is told to stop does so in order: it says so and exits with 0."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from yunhe.demo.nodes import FUNCTIONAL, NodeProcess, free_ports


def test_sigterm_ends_a_node_in_order(tmp_path: Path) -> None:
    node = NodeProcess(FUNCTIONAL, free_ports(1)[0], tmp_path, 1)
    node.start()
    try:
        node.wait_up()
        os.kill(node.pid, signal.SIGTERM)
        assert node._process is not None
        assert node._process.wait(30) == 0
        assert "told to stop" in node.log.read_text("utf-8")
    finally:
        node.kill()
