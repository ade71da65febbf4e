"""A Sail server as a process of its own, for benchmarks and tests; killed at the end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Its url; its log lies in `folder`. Raises FileNotFoundError where pysail is not installed."""
    program = Path(sys.executable).with_name("sail")
    if not program.exists():
        raise FileNotFoundError("pysail is missing: pip install -c constraints.txt 'yunhe[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "spark", "server", "--port", str(port)]
    with (folder / "sail.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"sc://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
