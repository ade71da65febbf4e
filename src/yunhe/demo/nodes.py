"""Four operating-system processes, each a sovereign node with its own keys, database and port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from yunhe.demo.errors import NodeDidNotStart
from yunhe.sdk import Space, connect

START_S_MAX = 60.0
LOG_TAIL_CHARS = 2000


@dataclass(frozen=True)
class Party:
    """One organisation of the story; the codes are synthetic but pass GB 32100."""

    key: str
    role: str
    subject_code: str
    name_zh: str
    name_en: str


FUNCTIONAL = Party(
    "fn", "functional-node", "123301000000000276", "杭州区域功能节点", "Hangzhou regional node"
)
HOSPITAL_A = Party("a", "connector", "91330100MA00000665", "甲医院", "Hospital A")
HOSPITAL_B = Party("b", "connector", "91440300MA00000820", "乙医院", "Hospital B")
RESEARCH = Party("r", "connector", "91320500MA0000074G", "肝病研究中心", "Liver Research Centre")
PARTIES = (FUNCTIONAL, HOSPITAL_A, HOSPITAL_B, RESEARCH)


def free_ports(number: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class NodeProcess:
    """One node: its folder, its process, a client with its admin token."""

    def __init__(self, party: Party, port: int, home: Path, parent_port: int) -> None:
        self.party = party
        self.address = f"http://127.0.0.1:{port}"
        self.did = f"did:web:127.0.0.1%3A{port}"
        self.home = home
        self.log = home / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)
        parent = f"http://127.0.0.1:{parent_port}"
        (home / "node.toml").write_text(_toml(self, port, parent), encoding="utf-8")

    @property
    def pid(self) -> int:
        """The process id; 0 when it is not running."""
        return self._process.pid if self._process else 0

    def start(self, crash: str = "") -> None:
        """Start the process; `crash` arms a crash point (kernel.crash)."""
        environment = {**os.environ, "YUNHE_CRASH": crash, "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "yunhe", "serve", str(self.home / "node.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours to pass on
            )

    def wait_up(self, seconds: float = START_S_MAX) -> None:
        """Return when the node answers; raises NodeDidNotStart."""
        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False) as client:
            while time.monotonic() < deadline:
                try:
                    if client.get(f"{self.address}/api/v1/health").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                if self._process is None or self._process.poll() is not None:
                    break
                time.sleep(0.05)
        error = NodeDidNotStart(name=self.party.name_en, log=str(self.log))
        error.add_note(self.log.read_text("utf-8", "replace")[-LOG_TAIL_CHARS:])
        raise error  # whose folder may be gone by the time the log is read

    def died(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is None or self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """How the process ended: minus the signal that killed it; None while it runs."""
        return None if self._process is None else self._process.poll()

    def space(self) -> Space:
        """A client of this node with its admin token."""
        token = (self.home / "var" / "admin.token").read_text(encoding="utf-8").strip()
        return connect(self.address, token)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely, then firmly."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        self._process = None


def _toml(node: NodeProcess, port: int, parent: str) -> str:
    party = node.party
    parent_did = "did:web:" + parent.removeprefix("http://").replace(":", "%3A")
    lines = [
        f'name = "{party.key}"',
        f'subject_code = "{party.subject_code}"',
        f'subject_name = "{party.name_zh}"',
        f'subject_name_en = "{party.name_en}"',
        f'roles = ["{party.role}"]',
        f'address = "{node.address}"',
        f"listen_port = {port}",
        'data_dir = "var"',
        'data_roots = ["data"]',
        "development = true  # plain http on loopback",
    ]
    if party.role == "connector":
        lines += [f'parent_address = "{parent}"', f'parent_did = "{parent_did}"']
    lines += ["", "[[trust_roots]]", f'did = "{parent_did}"', ""]
    return "\n".join(lines)


def lay_out(home: Path, parties: Sequence[Party] = PARTIES) -> dict[str, NodeProcess]:
    """The nodes' folders and settings under `home`, not yet started; the first is their parent."""
    ports = free_ports(len(parties))
    return {
        party.key: NodeProcess(party, port, home / party.key, ports[0])
        for party, port in zip(parties, ports, strict=True)
    }
