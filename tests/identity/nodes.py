"""A small world of nodes for tests: databases, keys, DID documents served from memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from yunhe.evidence import EvidenceLog
from yunhe.identity import Identity, Principal
from yunhe.identity.did import url_of
from yunhe.identity.errors import DidUnresolvable
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.keys import KeyStore
from yunhe.kernel.settings import NodeConfig, TrustRoot

HOSPITAL = "91330100MA00000665"
RESEARCH = "91320500MA0000074G"
REGION = "123301000000000276"
REVIEWER = Principal("r1", "Reviewer", ("reviewer",), None)


@dataclass
class World:
    """Nodes that can resolve each other's did:web documents."""

    folder: Path
    clock: ManualClock
    documents: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)  # what an address answers instead
    away: set[str] = field(default_factory=set)  # addresses whose status lists do not answer
    fetched: list[str] = field(default_factory=list)
    opened: list[Database] = field(default_factory=list)
    databases: dict[str, Database] = field(default_factory=dict)
    made: list[Identity] = field(default_factory=list)
    logs: list[EvidenceLog] = field(default_factory=list)
    root: TrustRoot | None = None

    def fetch(self, url: str) -> bytes:
        """What a DID document fetch answers here."""
        self.fetched.append(url)
        if url in self.served:
            return self.served[url]
        for node in self.made:
            address = node.address_of(node.own_did)
            if url.startswith(f"{address}/dcp/status/") and address not in self.away:
                number, *old = url.removeprefix(f"{address}/dcp/status/").split("/")
                return node.book.published(int(number), bool(old)).encode()
        if url not in self.documents:
            raise DidUnresolvable(why="its address does not answer")
        return self.documents[url]

    def publish(self, node: Identity) -> None:
        """Serve a node's document."""
        self.documents[url_of(node.own_did, True)] = json.dumps(node.did_document()).encode()

    def node(
        self,
        name: str,
        subject_code: str = HOSPITAL,
        role: str = "connector",
        review: str = "manual",
        development: bool = True,
        db: Database | None = None,
    ) -> Identity:
        """A node with its own database and keys; functional nodes become the trust root."""
        scheme = "http" if development else "https"
        config = NodeConfig(
            name=name,
            subject_code=subject_code,
            subject_name=f"{name} 单位",
            subject_name_en=name,
            address=f"{scheme}://{name}.example",
            data_dir=self.folder / name,
            roles=(role,),
            development=development,
            review=review,
            trust_roots=(self.root,) if self.root and role == "connector" else (),
        )
        if db is None:
            db = open_database(f"sqlite:///{self.folder / name / 'node.db'}", self.clock)
            create_all(db)
            self.opened.append(db)
        self.databases[f"{scheme}://{name}.example"] = db
        keys = KeyStore(config.data_dir / "keys")
        evidence = EvidenceLog(db, keys.key("log"), f"{name}.example")
        evidence.install()
        self.logs.append(evidence)
        made = Identity(db, evidence, keys, self.clock, config, self.fetch)
        if role == "functional-node":
            self.root = TrustRoot(made.own_did, made.key.public_jwk())
        self.publish(made)
        self.made.append(made)
        return made

    def keep(self, node: Identity, credential: str) -> None:
        """Store a credential at its holder, as the federation does."""
        db = self.databases[url_of(node.own_did, True).removesuffix("/.well-known/did.json")]
        db.write(lambda tx: node.store_credential(tx, credential))

    def close(self) -> None:
        """Close every node and database."""
        for node in self.made:
            node.close()
        for db in self.opened:
            db.close()
