"""An Eclipse EDC connector as a process: resolve it, start it, use its management API.

In: a folder, free ports. Out: `Edc`. Its jars come from Maven's repository by the coordinates in
pom.xml or pom-postgresql.xml; Pull.java is compiled beside them. Its vault is in memory.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tck.kit import CannotResolve, resolve

T = TypeVar("T")

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "var" / "edc"
PROTOCOL = "dataspace-protocol-http:2025-1"
MAIN = "org.eclipse.edc.boot.system.runtime.BaseRuntime"
START_S_MAX = 120.0
ANSWER_S_MAX = 10.0  # of a request while it starts, which may come too early to be answered
_EXTENSION = "META-INF/services/org.eclipse.edc.spi.system.ServiceExtension"
_VOCABULARY = {"@vocab": "https://w3id.org/edc/v0.0.1/ns/"}
_ODRL = "http://www.w3.org/ns/odrl.jsonld"


@dataclass(frozen=True)
class Assembly:
    """Where its coordinates are, where its jars go, and where it keeps what it knows."""

    pom: Path
    folder: Path
    store: str

    def __str__(self) -> str:
        found = re.search(r"<edc>(.*)</edc>", self.pom.read_text("utf-8"))
        return f"EDC {found[1] if found else ''} {self.store}"


IN_MEMORY = Assembly(HERE / "pom.xml", FOLDER, "in memory")
ON_POSTGRESQL = Assembly(
    HERE / "pom-postgresql.xml", FOLDER.with_name("edc-postgresql"), "on PostgreSQL"
)


def assemble(assembly: Assembly = IN_MEMORY) -> str:
    """The class path, resolved and compiled on first use; raises CannotResolve."""
    jars = resolve(assembly.folder, assembly.pom)
    classes = assembly.folder / "classes"
    service = classes / _EXTENSION
    service.parent.mkdir(parents=True, exist_ok=True)
    service.write_text("Pull\n", encoding="utf-8")
    command = ["javac", "-cp", f"{jars}/*", "-d", str(classes), str(HERE / "Pull.java")]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotResolve("javac is not installed here") from error
    if done.returncode:
        raise RuntimeError(done.stderr)
    return f"{classes}:{jars}/*"


def until(
    what: str, check: Callable[[], T | None], seconds: float = 30.0, poll_s: float = 0.01
) -> T:
    """Poll `check` until it gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(poll_s)
    raise TimeoutError(f"{what} did not come within {seconds:.0f} s")


class EdcRefused(Exception):
    """EDC's management API did not take what was asked."""


class NegotiationEnded(Exception):
    """A negotiation of EDC's was terminated."""


class Edc:
    """One EDC connector. `start` it, use it, `stop` it."""

    def __init__(
        self, folder: Path, ports: list[int], wait_ms: int | None = 50, jdbc: str = ""
    ) -> None:
        """`ports`: six free ones; `wait_ms` of its state machines, None for EDC's default.

        `jdbc`: the URL of a database of its own, for `ON_POSTGRESQL`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        management, protocol, self._pull, *rest = ports
        self.id = f"did:web:127.0.0.1%3A{protocol}"
        self.root = f"http://127.0.0.1:{protocol}/protocol"
        self.address = f"{self.root}/2025-1"
        self.log = folder / "edc.log"
        self._properties = folder / "edc.properties"
        said = {**self._said(management, protocol, rest, wait_ms), **_datasource(jdbc)}
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in said.items()), "utf-8")
        self._api = f"http://127.0.0.1:{management}/management/v3"
        self._http = httpx.Client(trust_env=False, timeout=60)
        self._process: subprocess.Popen[bytes] | None = None

    def _said(
        self, management: int, protocol: int, rest: list[int], wait_ms: int | None
    ) -> dict[str, object]:
        said: dict[str, object] = {
            "edc.participant.id": self.id,
            "edc.hostname": "127.0.0.1",
            "edc.dsp.callback.address": self.root,
            "web.http.management.port": management,
            "web.http.management.path": "/management",
            "web.http.protocol.port": protocol,
            "web.http.protocol.path": "/protocol",
            "web.http.port": rest[0],
            "web.http.path": "/api",
            "web.http.control.port": rest[1],
            "web.http.control.path": "/control",
            "web.http.version.port": rest[2],
            "web.http.version.path": "/version",
            "edc.policy.validation.enabled": "false",  # it knows its own words only
            "edc.data.plane.selector.state-machine.iteration-wait-millis": 50,
            "edc.data.plane.selector.state-machine.check.period": 1,
            "interop.pull.port": self._pull,
            "edc.transfer.proxy.token.signer.privatekey.alias": "private-key",
            "edc.transfer.proxy.token.verifier.publickey.alias": "public-key",
        }
        for machine in () if wait_ms is None else _MACHINES:
            said[f"edc.{machine}.state-machine.iteration-wait-millis"] = wait_ms
        return said

    def start(self, class_path: str) -> None:
        """Start the process; returns when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["java", "-Xmx1g", f"-Dedc.fs.config={self._properties}", "-cp", class_path, MAIN],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        until("EDC", self._answers, START_S_MAX)
        until("EDC's data plane", self._can_serve, START_S_MAX)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"EDC ended; see {self.log}")
        body = {"@context": _VOCABULARY, "@type": "QuerySpec"}
        try:
            got = self._http.post(f"{self._api}/assets/request", json=body, timeout=ANSWER_S_MAX)
            return got.is_success
        except httpx.HTTPError:
            return False

    def _can_serve(self) -> bool:
        return any(plane.get("state") == "AVAILABLE" for plane in self.get("/dataplanes"))

    def stop(self) -> None:
        """End it; its stores go with it."""
        self._http.close()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    # -- management API ----------------------------------------------------------------------

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the management API; raises EdcRefused."""
        got = self._http.post(self._api + path, json={"@context": _VOCABULARY, **body})
        if got.status_code >= 400:
            raise EdcRefused(f"{got.status_code} {got.text}")
        return got.json() if got.content else None

    def get(self, path: str) -> Any:
        """GET from the management API; raises httpx.HTTPStatusError."""
        got = self._http.get(self._api + path)
        got.raise_for_status()
        return got.json()

    def publish(self, asset: str, policy: dict[str, Any], source: str) -> None:
        """Offer one asset, whose data is what a GET of `source` gives, under ODRL rules."""
        self.add_asset(asset, source)
        rules = {"prohibition": [], "obligation": [], **policy}
        body = {"@context": _ODRL, "@type": "Set", **rules}
        self.post("/policydefinitions", {"@id": f"policy-{asset}", "policy": body})
        self.define(asset, f"policy-{asset}", asset)

    def add_asset(self, asset: str, source: str) -> None:
        """One asset, not offered yet."""
        address = {"type": "HttpData", "baseUrl": source}
        self.post("/assets", {"@id": asset, "properties": {"name": asset}, "dataAddress": address})

    def define(self, name: str, policy: str, asset: str | None) -> None:
        """A contract definition: which policy stands for one asset, or for all."""
        mine = {
            "@type": "CriterionDto",
            "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id",
            "operator": "=",
            "operandRight": asset,
        }
        self.post(
            "/contractdefinitions",
            {
                "@id": f"def-{name}",
                "accessPolicyId": policy,
                "contractPolicyId": policy,
                "assetsSelector": [mine] if asset else [],
            },
        )

    def catalog(self, address: str, id_: str, limit: int = 50) -> dict[str, Any]:
        """The catalogue of the provider at `address`, as EDC reads it."""
        asked = {
            "counterPartyAddress": address,
            "counterPartyId": id_,
            "protocol": PROTOCOL,
            "querySpec": {"offset": 0, "limit": limit},
        }
        found: dict[str, Any] = self.post("/catalog/request", asked)
        return found

    def negotiate(self, address: str, id_: str, asset: str, offer: dict[str, Any]) -> str:
        """Ask for what `offer` of a catalogue says; the negotiation's id."""
        policy = {
            **offer,
            "@context": _ODRL,
            "@type": "odrl:Offer",
            "odrl:assigner": {"@id": id_},
            "odrl:target": {"@id": asset},
        }
        asked = {"counterPartyAddress": address, "protocol": PROTOCOL, "policy": policy}
        return str(self.post("/contractnegotiations", asked)["@id"])

    def agreed(self, negotiation: str, seconds: float = 60.0, poll_s: float = 0.01) -> str:
        """Wait for FINALIZED; the agreement's id. Raises NegotiationEnded."""

        def check() -> str | None:
            found = self.get(f"/contractnegotiations/{negotiation}")
            if found["state"] == "TERMINATED":
                raise NegotiationEnded(found.get("errorDetail"))
            return found.get("contractAgreementId") if found["state"] == "FINALIZED" else None

        return until("the agreement", check, seconds, poll_s)

    def transfer(self, address: str, agreement: str) -> dict[str, Any]:
        """Open a pull; the data address once it is STARTED."""
        asked = {
            "counterPartyAddress": address,
            "protocol": PROTOCOL,
            "contractId": agreement,
            "transferType": "HttpData-PULL",
        }
        id_ = self.post("/transferprocesses", asked)["@id"]

        def check() -> bool:
            found = self.get(f"/transferprocesses/{id_}")
            if found["state"] == "TERMINATED":
                raise RuntimeError(found.get("errorDetail"))
            return bool(found["state"] == "STARTED")

        until("the start of the transfer", check)
        found = until("the data address", lambda: self._address(id_))
        return {**found, "transfer": id_}

    def _address(self, transfer: str) -> dict[str, Any] | None:
        """EDC keeps the address a moment after it has said STARTED: until then, None."""
        try:
            found: dict[str, Any] = self.get(f"/edrs/{transfer}/dataaddress")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            return None
        return found

    def state(self, transfer: str) -> str:
        """The state of a transfer of EDC."""
        return str(self.get(f"/transferprocesses/{transfer}")["state"])


def _datasource(jdbc: str) -> dict[str, object]:
    """Its tables are made at the first start; as many connections as its Jetty would use."""
    if not jdbc:
        return {}
    return {
        "edc.sql.schema.autocreate": "true",
        "edc.datasource.default.url": jdbc,
        "edc.datasource.default.pool.connections.max-total": _CONNECTIONS,
        "edc.datasource.default.pool.connections.max-idle": _CONNECTIONS,
        "edc.datasource.default.pool.connection.test.on-borrow": "false",
    }


_CONNECTIONS = 40
_MACHINES = (
    "negotiation.consumer",
    "negotiation.provider",
    "transfer",
    "dataplane",
)
