"""Whole nodes in one process: each a real Node behind its own uvicorn thread on loopback.

A functional node that reviews by itself, one provider with a small hospital, one consumer; every
message between them goes over real sockets. `product`, `agree`, `ask` are the tests' verbs.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

from yunhe import node as whole
from yunhe.kernel.settings import NodeConfig, TrustRoot
from yunhe.node import Node
from yunhe.sdk import Contract, Space, Terms, connect

T = TypeVar("T")

SUBJECTS = {
    "fn": ("123301000000000276", "功能节点"),
    "a": ("91330100MA00000665", "甲医院"),
    "r": ("91320500MA0000074G", "研究中心"),
    "b": ("91330100MA00000740", "乙医院"),
    "w": ("91310000MA0000082D", "算法公司"),
}
PURPOSE = "clinical-research"
TERMS = Terms(
    purposes=(PURPOSE,),
    columns=("patients.id", "patients.age", "patients.sex"),
    uses_max=20,
    rows_max=1000,
    row_filters=(("patients", "age >= 18"),),
    masks=(("patients.age", "round:10"),),
    minimum_group=5,
    per_use_fen=100,
    per_row_fen=7,
)
BY_SEX = "SELECT sex, count(*) AS n FROM patients GROUP BY sex ORDER BY sex"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(what: str, check: Callable[[], T], seconds: float = 20.0) -> T:
    """Poll `check` until it gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


def hospital(folder: Path, rows: int = 400) -> None:
    """`patients.parquet`: half men, half women, ages 10 to 89; ages below 18 are never shown."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "age": pa.array([10 + i % 80 for i in range(rows)], pa.int64()),
            "sex": pa.array(["f" if i % 2 else "m" for i in range(rows)]),
            "name": pa.array([f"CANARY-{i}" for i in range(rows)]),
        }
    )
    pq.write_table(table, folder / "patients.parquet")


def settings(key: str, home: Path, port: int, parent: NodeConfig | None, **over: Any) -> NodeConfig:
    """The settings of one node of the world."""
    code, name = SUBJECTS.get(key, SUBJECTS["a"])
    values: dict[str, Any] = {
        "name": key,
        "subject_code": code,
        "subject_name": name,
        "subject_name_en": key,
        "address": f"http://127.0.0.1:{port}",
        "data_dir": home / key / "var",
        "data_roots": (home / key / "data",),
        "roles": ("connector",) if parent else ("functional-node",),
        "listen_port": port,
        "development": True,
        "review": "auto",
        "workers": 1,
        "worker_memory_mb": 512,
    }
    if parent is not None:
        values |= {"parent_address": parent.address, "parent_did": parent.did}
        values["trust_roots"] = (TrustRoot(parent.did),)
    return NodeConfig(**{**values, **over})


class Served:
    """One node behind a uvicorn thread, with an admin's client."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.node = Node(config)
        _, self.token = self.node.identity.create_token("admin", ("admin",))
        self.node.start()
        self.server: uvicorn.Server = whole.server(self.node)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        until("the server", lambda: self.server.started)
        self.space: Space = connect(config.address, self.token, timeout_s=30)

    @property
    def did(self) -> str:
        """The node's DID."""
        return self.config.did

    @property
    def database_file(self) -> Path:
        """The node's SQLite file."""
        return self.config.data_dir / "node.db"

    def close(self) -> None:
        """Stop the server, then the node."""
        self.space.close()
        self.server.should_exit = True
        self.server.force_exit = True
        self._thread.join(20)
        self.node.stop()


class World:
    """The three nodes; `start` brings one up, `close` ends all."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.nodes: dict[str, Served] = {}
        self.root = settings("fn", home, free_port(), None)

    def __getitem__(self, key: str) -> Served:
        return self.nodes[key]

    def start(self, key: str, port: int = 0, name: str = "", **over: Any) -> Served:
        """Start a node; a connector registers itself and waits for its code."""
        parent = None if key == "fn" else self.root
        config = settings(key, self.home, port or free_port(), parent, **over)
        if key == "fn":
            config = self.root
        elif key in ("a", "b"):
            hospital(config.data_roots[0], 400 if key == "a" else 480)
        served = self.nodes[name or key] = Served(config)
        return served

    def join(self, key: str) -> None:
        """Register a connector at the functional node."""
        space = self.nodes[key].space
        space.register_self()

        def approved() -> bool:
            for each in self.nodes["fn"].space.applications(state="submitted"):
                self.nodes["fn"].space.review(each.id, "approve")
            return bool(space.registration().connector_code)

        until("the connector code", approved)

    def product(
        self,
        terms: Terms = TERMS,
        negotiable: Terms | None = None,
        table: str = "patients",
        at: str = "a",
    ) -> str:
        """A listed product of the provider `at`, of `table`.parquet; its code."""
        space = self.nodes[at].space
        texts = {"description_zh": "患者", "description_en": "Patients"}
        resource = space.add_resource(
            {
                "title_zh": "患者队列",
                "title_en": "Patient cohort",
                **texts,
                "tables": [{"name": table, "paths": [f"{table}.parquet"], "entity_key": "id"}],
            }
        )
        space.submit_resource(resource)
        until("the resource's code", lambda: space.resource(resource.id).code)
        form: dict[str, Any] = {
            "title_zh": "患者统计产品",
            "title_en": "Patient statistics",
            **texts,
            "keywords": ["患者", "patients"],
            "resource_ids": [resource.id],
            "terms": terms,
            "negotiable": negotiable,
        }
        made = space.add_product(form)
        space.submit_product(made)
        code = until("the product's code", lambda: space.own_product(made.id).code)
        space.list_product(made)
        until("the listing", lambda: space.own_product(made.id).state == "listed")
        assert code is not None
        return code

    def agree(self, code: str, at: str = "a") -> Contract:
        """A contract on the listed terms, in force at both ends."""
        contract = self.nodes["r"].space.negotiate(self.nodes["r"].space.offer(code))
        until("the provider's copy", lambda: self.copy(contract.id, at))
        return contract

    def copy(self, contract_id: str, at: str = "a") -> bool:
        """Whether the provider's copy is in force."""
        found = [c for c in self.nodes[at].space.contracts() if c.id == contract_id]
        return bool(found) and found[0].state == "in_force"

    def ask(self, contract: Contract, sql: str = BY_SEX, **more: Any) -> Any:
        """The researcher's query."""
        return self.nodes["r"].space.sql(sql, contract, PURPOSE, **more)

    def close(self) -> None:
        """Stop every node, the functional node last."""
        for served in reversed(list(self.nodes.values())):
            served.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def three(home: Path, **over: Any) -> World:
    """A world of three registered nodes; `over` holds settings by node key."""
    world = World(home)
    try:
        for key in ("fn", "a", "r"):
            world.start(key, **over.get(key, {}))
        for key in ("a", "r"):
            world.join(key)
    except BaseException:
        world.close()
        raise
    return world
