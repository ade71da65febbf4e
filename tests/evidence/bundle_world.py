"""A whole life of a contract, made with fresh keys: the bundle that the attacks work on.

Both parties' documents, the registrar's credentials and the provider's log are real; only the
slices that produce them in a node are not needed here.
"""

from __future__ import annotations

import copy
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from yunhe import evidence
from yunhe.evidence import bundle as bundles
from yunhe.evidence.model import leaf_bytes
from yunhe.evidence.note import Checkpoint, verifier_key
from yunhe.kernel.canonical import dumps, sha256_hex
from yunhe.kernel.keys import SigningKey, jws_detached, jwt, thumbprint

ROOT, PROVIDER, CONSUMER = (f"did:web:{name}.example" for name in ("root", "hospital", "lab"))
ORIGIN = "hospital.example/log"
AT = "2026-01-02T00:00:00.000000Z"
CONTRACT = "urn:uuid:0b5c"
ROWS = (3, 10, 3)
PER_USE, PER_ROW = 200, 5


def key(purpose: str = "did") -> SigningKey:
    private = Ed25519PrivateKey.generate()
    draft = SigningKey(purpose, private, "")
    return SigningKey(purpose, private, thumbprint(draft.public_jwk()))


@dataclass
class World:
    """The actors' keys, and what an outsider trusts."""

    root: SigningKey = field(default_factory=key)
    provider: SigningKey = field(default_factory=key)
    consumer: SigningKey = field(default_factory=key)
    log: SigningKey = field(default_factory=lambda: key("log"))
    entries: list[bytes] = field(default_factory=lambda: [b"an older entry"])
    pending: list[dict[str, Any]] = field(default_factory=list)

    def trust(self) -> dict[str, Any]:
        return {
            "roots": [{"did": ROOT, "jwk": self.root.public_jwk()}],
            "parties": {
                PROVIDER: self.provider.public_jwk(),
                CONSUMER: self.consumer.public_jwk(),
            },
            "logs": {ORIGIN: str(verifier_key(ORIGIN, self.log))},
        }

    def credential(self, did: str, holder: SigningKey, **changed: Any) -> str:
        claims = {
            "iss": ROOT,
            "sub": did,
            "nbf": 1767225600,
            "exp": 1798761600,
            "cnf": {"jwk": {k: holder.public_jwk()[k] for k in ("kty", "crv", "x")}},
            "vc": {"credentialSubject": {"id": did, "name": did}},
        }
        return jwt(self.root, claims | changed)

    def record(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """An entry of the log; its proof follows with `prove`."""
        entry: dict[str, Any] = {
            "leaf": {"c": "", "id": str(uuid.uuid4()), "k": kind, "t": AT},
            "salt": hashlib.sha256(uuid.uuid4().bytes).hexdigest(),
            "body": body,
            "proof": "",
        }
        recommit(entry)
        leaf = entry["leaf"]
        self.entries.append(leaf_bytes(leaf["id"], kind, AT, leaf["c"]))
        self.pending.append(entry)
        return entry

    def prove(self) -> None:
        leaves = [evidence.merkle.leaf_hash(entry) for entry in self.entries]
        head = Checkpoint(ORIGIN, len(leaves), evidence.merkle.root_of(leaves)).sign(self.log)
        first = len(leaves) - len(self.pending)

        def node(level: int, index: int) -> bytes:
            return evidence.merkle.root_of(leaves[index << level : (index + 1) << level])

        for place, entry in enumerate(self.pending):
            path = evidence.merkle.inclusion_path(first + place, len(leaves), node)
            entry["proof"] = str(evidence.TlogProof(first + place, tuple(path), head))


def recommit(entry: dict[str, Any]) -> None:
    """What needs no key: the commitment to a body."""
    try:
        salt = bytes.fromhex(entry["salt"])
    except (ValueError, TypeError, KeyError):
        return
    entry["leaf"]["c"] = hashlib.sha256(salt + dumps(entry.get("body"))).hexdigest()


def agreement() -> dict[str, Any]:
    def price(amount: str, per: str) -> dict[str, Any]:
        constraints = [
            {"term": "payAmount", "operator": "eq", "value": amount},
            {"term": "payPer", "operator": "eq", "value": per},
        ]
        return {"action": "compensate", "phase": "post", "constraints": constraints}

    rule = {
        "kind": "permission",
        "action": "read",
        "constraints": [
            {"term": "purpose", "operator": "isAnyOf", "value": ["research", "teaching"]},
            {"term": "count", "operator": "lteq", "value": "10"},
        ],
        "duties": [price("2.00 CNY", "use"), price("0.05 CNY", "row")],
    }
    return {
        "@id": CONTRACT,
        "@type": "Agreement",
        "target": "691330100MA0000066533010F3K8T1W9",
        "assigner": PROVIDER,
        "assignee": CONSUMER,
        "timestamp": AT,
        "urn:yunhe:policy": {"rules": [rule]},
    }


def parts(
    world: World,
    rows: tuple[int, ...] = ROWS,
    signed: dict[str, Any] | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """The parts of a bundle of one contract with its uses, one statement for every two."""
    signed = signed or agreement()
    contract_body = {"contract": CONTRACT, "document_sha256": sha256_hex(signed)}
    contract = {
        "agreement": signed,
        "provider_jws": jws_detached(world.provider, dumps(signed)),
        "consumer_jws": jws_detached(world.consumer, dumps(signed)),
        "entry": world.record("contract.finalized", contract_body),
    }
    uses = [use(world, number, count) for number, count in enumerate(rows)]
    settled = [
        settlement(world, number, uses[number : number + 2]) for number in range(0, len(uses), 2)
    ]
    world.prove()
    return {
        "exporter": PROVIDER,
        "exported_at": AT,
        "credentials": [
            world.credential(PROVIDER, world.provider),
            world.credential(CONSUMER, world.consumer),
        ],
        "contract": contract,
        "uses": uses,
        "settlements": settled,
    } | changed


def use(world: World, number: int, rows: int) -> dict[str, Any]:
    said = {"use_id": f"use-{number}", "contract_id": CONTRACT, "rows": rows}
    receipt = {**said, "purpose": "research", "digest": "ab" * 32, "at": AT}
    meter = {
        **said,
        "purpose": "research",
        "bytes": 1000 * rows,
        "fee_fen": PER_USE + PER_ROW * rows,
        "at": AT,
        "complete": True,
    }
    return {
        "receipt": receipt,
        "receipt_jws": jws_detached(world.consumer, dumps(receipt)),
        "entry": world.record("use.posted", meter),
    }


def settlement(world: World, number: int, uses: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [
        {name: part["entry"]["body"][name] for name in ("use_id", "rows", "fee_fen")}
        for part in uses
    ]
    total = sum(line["fee_fen"] for line in lines)
    statement = {
        "id": f"statement-{number}",
        "contract_id": CONTRACT,
        "lines": lines,
        "total_fen": total,
    }
    transfer = {
        "id": f"t-{number}",
        "debit": f"{CONSUMER}#settlement",
        "credit": f"{PROVIDER}#settlement",
        "amount_fen": total,
    }
    body = {"statement_sha256": sha256_hex(statement), "transfer": transfer}
    return {
        "statement": statement,
        "provider_jws": jws_detached(world.provider, dumps(statement)),
        "consumer_jws": jws_detached(world.consumer, dumps(statement)),
        "entry": world.record("statement.settled", body),
    }


def whole(world: World, **changed: Any) -> dict[str, Any]:
    """A bundle in which everything holds."""
    return copy.deepcopy(evidence.make_bundle(parts(world, **changed), world.provider))


def recompute(bundle: dict[str, Any], world: World | None = None) -> dict[str, Any]:
    """Recompute every hash that no key protects; with `world`, re-sign the manifest too."""
    binding = [(bundle.get("contract"), "agreement", "document_sha256")]
    binding += [(part, "statement", "statement_sha256") for part in bundle.get("settlements", [])]
    for part, document, digest in binding:
        body = part.get("entry", {}).get("body") if isinstance(part, dict) else None
        if isinstance(body, dict) and digest in body and document in part:
            body[digest] = sha256_hex(part[document])
    holders = [bundle.get("contract"), *bundle.get("uses", []), *bundle.get("settlements", [])]
    for part in holders:
        entry = part.get("entry") if isinstance(part, dict) else None
        if isinstance(entry, dict) and isinstance(entry.get("leaf"), dict) and "salt" in entry:
            recommit(entry)
    if world is not None:
        bundle.pop("manifest", None)
        bundle["manifest"] = bundles.manifest(bundle, world.provider)
    return bundle
