"""`python -m tck`: run the kit against a fresh node, print its table, exit 0 only if all passed.

`--only-where-possible` (for CI) says plainly where the kit cannot be resolved, and exits 0 there.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn

from tck import kit
from tck.node import US, Cut
from tck.script import read_flows

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "var" / "tck"


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    try:
        jars = kit.resolve(FOLDER)
    except kit.CannotResolve as why:
        print(f"The Dataspace TCK did not run: {why}.")
        return 0 if "--only-where-possible" in arguments else 2
    began = time.monotonic()
    output = against_a_fresh_node(jars)
    return report(output, time.monotonic() - began)


def against_a_fresh_node(jars: Path) -> str:
    """The kit's output."""
    ours, theirs = free_port(), free_port()
    us, them = f"http://localhost:{ours}", f"http://localhost:{theirs}"
    with tempfile.TemporaryDirectory(prefix="yunhe-tck-") as folder:
        properties = Path(folder) / "tck.properties"
        properties.write_text(kit.settings(read_flows(), us, US, them, theirs), encoding="utf-8")
        cut = Cut(Path(folder), us, them)
        cut.start()
        config = uvicorn.Config(cut.app, "localhost", ours, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            return kit.run(jars, properties, FOLDER / "output.txt")
        finally:
            server.should_exit = True
            thread.join()
            cut.stop()


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(output: str, seconds: float) -> int:
    """Print the table; returns the exit code."""
    flows = read_flows()
    found = kit.verdicts(output, flows)
    off = [flow.id for flow in flows if flow.off]
    for verdict in found:
        mark = "passed" if verdict.passed else verdict.outcome
        print(f"{verdict.id:<12} {mark:<8} {verdict.why}".rstrip())
    passed = sum(verdict.passed for verdict in found)
    counted = kit.counts(output)
    print(f"\n{passed} of {len(found)} passed in {seconds:.1f} s", end="")
    print(f" (switched off in the kit: {', '.join(off)})")
    if counted != (len(found), 0):
        print(f"the kit itself counted {counted[0]} passed, {counted[1]} failed")
    if passed == len(found) and counted == (len(found), 0):
        return 0
    print(f"its whole output: {(FOLDER / 'output.txt').relative_to(ROOT)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
