"""The official kit as a program: resolve it, run it, read its verdicts.

In: a folder, addresses. Out: one `Verdict` a test. Its jars come from Maven's repository by the
coordinates in pom.xml; its exit code says nothing, so its output is parsed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tck.script import Flow

HERE = Path(__file__).parent
RESOLVE_S_MAX = 480
RUN_S_MAX = 900
WAIT_S = 7  # how long the kit waits for one step
_DONE = re.compile(r"^(?:\[[^\]]*\] )?(SUCCESSFUL|FAILED|ABORTED): (\S+:\d\d-\d\d)", re.MULTILINE)
_COUNT = re.compile(r"^(?:\[[^\]]*\] )?(Passed|Failed) tests: (\d+)", re.MULTILINE)
_WHY = re.compile(r"\[(\S+:\d\d-\d\d): [^\n]*\]\n([^\n]*)")


class CannotResolve(Exception):
    """There is no Java or Maven here, or Maven's repository does not give the kit."""


@dataclass(frozen=True)
class Verdict:
    """What the kit says of one test; `outcome` SUCCESSFUL, FAILED, ABORTED or MISSING."""

    id: str
    outcome: str
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.outcome == "SUCCESSFUL"


def resolve(folder: Path, pom: Path = HERE / "pom.xml") -> Path:
    """The folder of the kit's jars, fetched on first use; raises CannotResolve."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise CannotResolve(f"{program} is not installed here")
    jars, stamp = folder / "lib", folder / "pom.xml"
    if stamp.is_file() and stamp.read_bytes() == pom.read_bytes():
        return jars
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(jars, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    command = ["mvn", "-q", "-B", "-f", str(pom), *goal]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=RESOLVE_S_MAX,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotResolve(f"Maven's repository gave nothing in {RESOLVE_S_MAX} s") from error
    if done.returncode:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        said = [line for line in plain.splitlines() if "ERROR" in line]
        raise CannotResolve(re.sub(r" \(\S+://\S+\)", "", said[0]) if said else "Maven failed")
    shutil.copyfile(pom, stamp)
    return jars


def settings(flows: Iterable[Flow], us: str, our_id: str, kit: str, port: int) -> str:
    """The kit's properties file for our addresses and the table's ids."""
    lines = {
        "dataspacetck.launcher": "org.eclipse.dataspacetck.dsp.system.DspSystemLauncher",
        "dataspacetck.host": "127.0.0.1",
        "dataspacetck.port": str(port),
        "dataspacetck.callback.address": kit,
        "dataspacetck.dsp.local.connector": "false",
        "dataspacetck.dsp.connector.agent.id": our_id,
        "dataspacetck.dsp.connector.http.url": f"{us}/dsp/2025-1",
        "dataspacetck.dsp.connector.http.base.url": us,
        "dataspacetck.dsp.connector.negotiation.initiate.url": f"{us}/tck/negotiations/requests",
        "dataspacetck.dsp.connector.transfer.initiate.url": f"{us}/tck/transfers/requests",
        "dataspacetck.dsp.default.wait": str(WAIT_S),
    }
    for flow in flows:
        name = flow.id.replace(":", "_").replace("-", "_")
        if flow.group in ("TP", "TP_C"):
            lines[f"{name}_AGREEMENTID"] = flow.key
            lines[f"{name}_FORMAT"] = "HttpData-PULL"
        elif flow.group != "MET":
            lines[f"{name}_DATASETID"] = flow.key
            lines[f"{name}_OFFERID"] = f"CD123:{flow.key}:456"
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def run(jars: Path, properties: Path, log: Path) -> str:
    """Run every suite; returns what the kit printed, which is also in `log`."""
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
    with log.open("w", encoding="utf-8") as out:
        subprocess.run(
            [*command, str(HERE / "Run.java"), str(properties)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=RUN_S_MAX,
        )
    return log.read_text(encoding="utf-8", errors="replace")


def verdicts(output: str, flows: Iterable[Flow]) -> list[Verdict]:
    """One verdict a test of the table that the kit has switched on, in the table's order."""
    outcome = {id_: said for said, id_ in _DONE.findall(output)}
    why = {id_: text.strip() for id_, text in _WHY.findall(output)}
    return [
        Verdict(flow.id, outcome.get(flow.id, "MISSING"), why.get(flow.id, ""))
        for flow in flows
        if not flow.off
    ]


def counts(output: str) -> tuple[int, int]:
    """Passed and failed tests by the kit's own count; (-1, -1) if it never came to counting."""
    said = {name: int(number) for name, number in _COUNT.findall(output)}
    return said.get("Passed", -1), said.get("Failed", -1)
