"""A Yunhe connector with its functional node, and an EDC connector, as processes on loopback.

In: a folder, EDC's class path. Out: `World`, with one product of ours and one asset of EDC's
offered on the same typed terms. All data is synthetic.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from interop.edc.runtime import Edc, until
from yunhe.contracts import Policy, policy_from_terms
from yunhe.contracts import Terms as TypedTerms
from yunhe.demo.nodes import FUNCTIONAL, HOSPITAL_A, NodeProcess, free_ports
from yunhe.protocols import dsp
from yunhe.protocols.dsp import odrl
from yunhe.sdk import Space, Terms

ASSET = "asset-1"
PURPOSE = "research"
COLUMNS = ("patients.age", "patients.id")
PATIENTS = 50
TERMS = Terms(purposes=(PURPOSE,), columns=COLUMNS, uses_max=100, per_use_fen=100)


def policy() -> Policy:
    """The terms of EDC's asset."""
    return policy_from_terms(TypedTerms((PURPOSE,), COLUMNS, uses_max=100))


class InteropProcess(NodeProcess):
    """A node that takes EDC's mock identity (interop.edc.node)."""

    peers: tuple[str, ...] = ()

    def start(self, crash: str = "") -> None:
        """As `yunhe serve`, through the interop launcher."""
        env = {**os.environ, "YUNHE_CRASH": crash, "YUNHE_INTEROP_PEERS": " ".join(self.peers)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "interop.edc.node", str(self.home / "node.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=env,
                start_new_session=True,
            )


@dataclass(frozen=True)
class World:
    """`code`: our product; `dsp`: our DSP base URL; `yunhe`: a client of our management API."""

    node: InteropProcess
    edc: Edc
    yunhe: Space
    code: str
    http: httpx.Client

    @property
    def dsp(self) -> str:
        """Where our node takes DSP messages."""
        return self.node.address + dsp.PATH

    def ask(self, path: str, **query: str) -> Any:
        """An answer of the interop launcher."""
        return self.http.get(f"{self.node.address}/interop/{path}", params=query).json()

    def edc_negotiates(self) -> str:
        """EDC's consumer: from our catalogue to an agreement; its id."""
        [dataset] = _listed(self.edc.catalog(self.dsp, self.node.did)["dataset"])
        offer = _listed(dataset["hasPolicy"])[0]
        asked = self.edc.negotiate(self.dsp, self.node.did, dataset["@id"], offer)
        return self.edc.agreed(asked)


def _listed(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


@contextmanager
def world(folder: Path, class_path: str, wait_ms: int | None = 50) -> Iterator[World]:
    """Start all three, publish on both sides; stop at the end."""
    with ExitStack() as stack:
        ports = free_ports(8)
        edc = Edc(folder / "edc", ports[2:], wait_ms)
        functional = NodeProcess(FUNCTIONAL, ports[0], folder / "fn", ports[0])
        node = InteropProcess(HOSPITAL_A, ports[1], folder / "a", ports[0])
        node.peers = (edc.id,)
        _auto_review(functional)
        _synthetic(node.home / "data")
        for each in (functional, node):
            each.start()
            stack.callback(each.stop)
        stack.callback(edc.stop)
        edc.start(class_path)
        for each in (functional, node):
            each.wait_up()
        space = stack.enter_context(node.space())
        http = stack.enter_context(httpx.Client(trust_env=False, timeout=30))
        liveness = f"http://127.0.0.1:{ports[5]}/api/check/liveness"
        rules = {k: v for k, v in odrl.write(policy()).items() if k == "permission"}
        edc.publish(ASSET, rules, liveness)
        yield World(node, edc, space, _publish(space), http)


def _auto_review(node: NodeProcess) -> None:
    file = node.home / "node.toml"
    file.write_text('review = "auto"\n' + file.read_text("utf-8"), "utf-8")


def _synthetic(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = {"id": list(range(PATIENTS)), "age": [20 + i % 60 for i in range(PATIENTS)]}
    pq.write_table(pa.table(rows), folder / "patients.parquet")


def _publish(space: Space) -> str:
    space.register_self()
    until("the connector code", lambda: space.registration().connector_code)
    texts = {
        "title_zh": "合成产品",
        "title_en": "Synthetic product",
        "description_zh": "合成数据",
        "description_en": "Synthetic data",
    }
    tables = [{"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}]
    resource = space.add_resource({**texts, "tables": tables})
    space.submit_resource(resource)
    until("the resource's code", lambda: space.resource(resource.id).code)
    made = space.add_product(
        {**texts, "keywords": ["synthetic"], "resource_ids": [resource.id], "terms": TERMS}
    )
    space.submit_product(made)
    code = until("the product's code", lambda: space.own_product(made.id).code)
    space.list_product(made)
    until("the listing", lambda: space.own_product(made.id).state == "listed")
    return str(code)
