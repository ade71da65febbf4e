"""What the catalogue tells the rest of the house; handlers run in the same transaction.

From the holder's side come submissions (federation sends them up); from the node's side come
decisions (federation sends them back to the origin).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ResourceSubmitted:
    """The holder asks for a resource to be registered."""

    local_id: str
    version: int
    record: dict[str, Any]


@dataclass(frozen=True)
class ProductSubmitted:
    """The holder asks for a product to be registered."""

    local_id: str
    version: int
    record: dict[str, Any]


@dataclass(frozen=True)
class ApplicationSubmitted:
    """An author asks for a version of a program to be listed; `local_id`: `app:` and its digest."""

    local_id: str
    version: int
    record: dict[str, Any]


@dataclass(frozen=True)
class ApplicationReviewed:
    """At the author: what the node decided of a version; `decision` as in `Reviewed`."""

    local_id: str
    version: int
    decision: str
    reasons: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class ListingSubmitted:
    """The holder asks for a registered product to be listed."""

    local_id: str
    version: int
    record: dict[str, Any]


@dataclass(frozen=True)
class WithdrawalSubmitted:
    """The holder takes something back: `kind` is `delist` or `revoke`."""

    kind: str
    local_id: str
    version: int
    record: dict[str, Any]


@dataclass(frozen=True)
class Reviewed:
    """The node has decided: `decision` is `approve`, `return` or `reject`."""

    application_id: str
    kind: str
    origin_did: str
    origin_address: str
    local_id: str
    version: int
    decision: str
    code: str
    reasons: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class SourceDrifted:
    """What a table is read from differs from its description in another way than before.

    `drift`: `gone`, `changed`, `extra`, `partial` columns; all empty when it is as described.
    """

    resource_id: str
    table: str
    drift: dict[str, Any]


@dataclass(frozen=True)
class EntryChanged:
    """The public catalogue of this node changed; `seq` is the new head of its change log."""

    code: str
    seq: int
