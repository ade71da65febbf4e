"""`python -m tck.dcp`: run the kit group by group, print its table, exit 0 only if all passed.

`--only-where-possible` (for CI) says plainly where the kit cannot be resolved, and exits 0 there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from tck import kit
from tck.__main__ import free_port
from tck.dcp.node import HOLDER_PID, SECRET, Cut

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
FOLDER: Final = ROOT / "var" / "tck-dcp"
RUN_S_MAX: Final = 300
PACKAGE: Final = "org.eclipse.dataspacetck.dcp.verification."
# Each group plays one part against the kit, which plays the others.
GROUPS: Final = {
    "presentation.cs": "holder",
    "issuance.cs": "holder",
    "issuance.issuer": "issuer",
    "presentation.verifier": "verifier",
}
# What this version of the kit wants otherwise than the specification: docs/dcp.md.
AGAINST_THE_TEXT: Final = ("cs_05_04_01_02_invalidScopeEscalationRequest",)
_FAILURE: Final = re.compile(r"^FAILURE\t(.*)\t(.*)$", re.MULTILINE)
_COUNTS: Final = re.compile(r"^COUNTS\t(\d+)\t(\d+)\t(\d+)\t(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Group:
    """How one group went; `failures` are (test method, why)."""

    name: str
    found: int
    passed: int
    failed: int
    off: int
    seconds: float
    failures: tuple[tuple[str, str], ...]


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    try:
        jars = kit.resolve(FOLDER, HERE / "pom.xml")
    except kit.CannotResolve as why:
        print(f"The DCP TCK did not run: {why}.")
        return 0 if "--only-where-possible" in arguments else 2
    return report([_group(jars, name, part) for name, part in GROUPS.items()])


def _group(jars: Path, name: str, part: str) -> Group:
    """One group against a fresh node."""
    ours, theirs = free_port(), free_port()
    us, kit_did = f"http://localhost:{ours}", f"did:web:localhost%3A{theirs}"
    with tempfile.TemporaryDirectory(prefix="yunhe-tck-") as folder:
        properties = Path(folder) / "tck.properties"
        properties.write_text(_settings(part, us, ours, theirs), encoding="utf-8")
        cut = Cut(Path(folder), us, kit_did, part == "issuer")
        cut.start()
        server = uvicorn.Server(_served(cut, ours))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        began = time.monotonic()
        try:
            return _read(name, _run(jars, properties, name), time.monotonic() - began)
        finally:
            server.should_exit = True
            thread.join()
            cut.stop()


def _served(cut: Cut, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        cut.app,
        "localhost",
        port,
        interface="asgi3",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )


def _settings(part: str, us: str, ours: int, theirs: int) -> str:
    """The kit's properties: its own address, and our node in the part it plays."""
    lines = {
        "dataspacetck.launcher": "org.eclipse.dataspacetck.dcp.system.DcpSystemLauncher",
        "dataspacetck.host": "127.0.0.1",
        "dataspacetck.port": str(theirs),
        "dataspacetck.callback.address": f"http://localhost:{theirs}",
        f"dataspacetck.did.{part}": f"did:web:localhost%3A{ours}",
        "dataspacetck.credentials.correlation.id": HOLDER_PID,
    }
    if part == "holder":
        lines["dataspacetck.sts.url"] = f"{us}/tck/sts"
        lines["dataspacetck.sts.client.id"] = "tck"
        lines["dataspacetck.sts.client.secret"] = SECRET
    if part == "verifier":
        lines["dataspacetck.vpp.trigger.endpoint"] = f"{us}/dsp/2025-1/catalog/request"
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _run(jars: Path, properties: Path, name: str) -> str:
    log = FOLDER / f"{name}.txt"
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
    with log.open("w", encoding="utf-8") as out:
        subprocess.run(
            [*command, str(HERE / "Run.java"), str(properties), PACKAGE + name],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=RUN_S_MAX,
        )
    return log.read_text(encoding="utf-8", errors="replace")


def _read(name: str, output: str, seconds: float) -> Group:
    counts = _COUNTS.search(output)
    found, passed, failed, off = map(int, counts.groups()) if counts else (0, 0, 0, 0)
    failures = tuple((_method(id_), why) for id_, why in _FAILURE.findall(output))
    return Group(name, found, passed, failed, off, seconds, failures)


def _method(unique_id: str) -> str:
    """The name of the test method in the kit's long id of a test."""
    return unique_id.rpartition("[method:")[2].partition("(")[0]


def report(groups: list[Group]) -> int:
    """Print the table; returns the exit code."""
    print(f"{'group':<24}{'found':>7}{'passed':>8}{'failed':>8}{'off':>5}{'seconds':>9}")
    for one in groups:
        counts = f"{one.found:>7}{one.passed:>8}{one.failed:>8}{one.off:>5}"
        print(f"{one.name:<24}{counts}{one.seconds:>9.1f}")
    bad = [name for one in groups for name, _ in one.failures if name not in AGAINST_THE_TEXT]
    for one in groups:
        for name, why in one.failures:
            mark = "against the text" if name in AGAINST_THE_TEXT else "FAILED"
            print(f"\n{mark}: {one.name} {name}\n    {why[:300]}")
    passed, found = sum(one.passed for one in groups), sum(one.found - one.off for one in groups)
    seconds = sum(one.seconds for one in groups)
    print(f"\n{passed} of {found} passed in {seconds:.1f} s")
    silent = [one.name for one in groups if one.passed == 0]
    if bad or silent:
        print(f"its whole output: {FOLDER.relative_to(ROOT)}")
    return 1 if bad or silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
