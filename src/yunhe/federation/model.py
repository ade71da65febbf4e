"""Nouns of the federation, and how found products travel as domain JSON.

Values only, no I/O. Wire names are not here: protocols translate them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from yunhe import catalog
from yunhe.kernel.clock import iso, parse_iso

Payload = dict[str, Any]

# What this node sends through the outbox; `tds.` stands before the names there.
REGISTRATION = ("RegisterSubject", "RegisterConnector", "SubmitCredentialRequest")
UPWARD = {
    "resource": "RegisterDataResource",
    "product": "RegisterDataProduct",
    "application": "RegisterApplication",
    "listing": "ListDataProduct",
    "delist": "DelistDataProduct",
    "revoke": "RevokeDataProduct",  # a resource's is RevokeDataResource
}
KINDS = {name: kind for kind, name in UPWARD.items()} | {"RevokeDataResource": "revoke"}
REVIEW = "ReviewResult"


class Wire(Protocol):
    """Asks another node and waits for its answer, in domain JSON; `protocols.tds` fits.

    Raises YunheError: Unavailable where trying again may help.
    """

    def call(self, address: str, did: str, name: str, payload: Payload) -> Payload: ...


@dataclass(frozen=True)
class Status:
    """How this node stands with its parent.

    `state`: none, submitted, returned, rejected, approved; `step`: what is under way (subject,
    connector, credential, done). `waiting`: catalogue submissions the parent has not decided.
    """

    state: str
    step: str
    subject_code: str
    connector_code: str
    did: str
    parent_did: str
    reasons: tuple[str, ...]
    last_contact: datetime | None
    last_error: str
    waiting: int


def hit_json(hit: catalog.Hit) -> Payload:
    """A hit as domain JSON."""
    return {
        "code": hit.code,
        "title_zh": hit.title.zh,
        "title_en": hit.title.en,
        "description_zh": hit.description.zh,
        "description_en": hit.description.en,
        "keywords": list(hit.keywords),
        "provider_did": hit.provider_did,
        "provider_name": hit.provider_name,
        "connector_code": hit.connector_code,
        "address": hit.address,
        "price": hit.price,
        "version": hit.version,
        "updated_at": iso(hit.updated_at),
        "language": hit.language,
        "score": hit.score,
    }


def hit_from(data: Payload) -> catalog.Hit:
    """The inverse of `hit_json`; raises KeyError, TypeError or ValueError for another shape."""
    return catalog.Hit(
        code=str(data["code"]),
        title=_text(data, "title"),
        description=_text(data, "description"),
        keywords=tuple(map(str, data["keywords"])),
        provider_did=str(data["provider_did"]),
        provider_name=str(data["provider_name"]),
        connector_code=str(data["connector_code"]),
        address=str(data["address"]),
        price=dict(data["price"]),
        version=int(data["version"]),
        updated_at=parse_iso(str(data["updated_at"])),
        language=str(data["language"]),
        score=float(str(data["score"])),  # of a whole number beyond all floats, too
    )


def program_json(found: catalog.Program) -> Payload:
    """A listed program as domain JSON."""
    return {
        "digest": found.digest,
        "name": found.name,
        "version": found.version,
        "kind": found.kind,
        "title_zh": found.title.zh,
        "title_en": found.title.en,
        "keywords": list(found.keywords),
        "author_did": found.author_did,
        "author_name": found.author_name,
        "connector_code": found.connector_code,
        "listed_at": iso(found.listed_at),
    }


def program_from(data: Payload) -> catalog.Program:
    """The inverse of `program_json`; raises KeyError, TypeError or ValueError for another shape."""
    names = ("digest", "name", "version", "kind", "author_did", "author_name", "connector_code")
    return catalog.Program(
        **{name: str(data[name]) for name in names},
        title=_text(data, "title"),
        keywords=tuple(map(str, data["keywords"])),
        listed_at=parse_iso(str(data["listed_at"])),
    )


def _text(data: Payload, name: str) -> catalog.Text:
    return catalog.Text(str(data.get(f"{name}_zh", "")), str(data.get(f"{name}_en", "")))


def detail_json(detail: catalog.Detail) -> Payload:
    """A product in full as domain JSON."""
    tables = [
        {
            "name": table.name,
            "entity_key": table.entity_key,
            "columns": [{"name": c.name, "type": c.type} for c in table.columns],
            "rows": table.rows,
        }
        for table in detail.tables
    ]
    return {
        "hit": hit_json(detail.hit),
        "tables": tables,
        "policy": detail.policy,
        "record": detail.record,
    }


def detail_from(data: Payload) -> catalog.Detail:
    """The inverse of `detail_json`."""
    tables = tuple(
        catalog.Table(
            str(table["name"]),
            tuple(catalog.Column(str(c["name"]), str(c["type"])) for c in table["columns"]),
            str(table["entity_key"]),
            rows=int(table.get("rows", 0)),
        )
        for table in data["tables"]
    )
    policy = data["policy"]
    return catalog.Detail(
        hit_from(data["hit"]),
        tables,
        None if policy is None else dict(policy),
        dict(data["record"]),
    )
