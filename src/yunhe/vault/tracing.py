"""Whom a marked copy was given to: written down when it leaves, asked when one turns up.

In: releases of marked results, inside their verb; keys and values of a suspected file. Out: the
recipients there were, and each one's `Score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.contracts import Watermark
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Database, Tx, UtcTime, metadata
from yunhe.vault.errors import NothingMarked
from yunhe.vault.watermark import Marker, Recipient, Score, detect


@dataclass(frozen=True)
class Given:
    """That a recipient was given copies marked by one term. `mark`: its name in evidence;
    `contract_id`, `use_id`: of the first."""

    mark: str
    digest: str  # of the term
    product_code: str
    did: str
    watermark: str
    contract_id: str
    use_id: str
    at: datetime


marks: Final = sa.Table(
    "vault_mark",
    metadata,
    sa.Column("mark", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("product_code", sa.String(64), nullable=False, index=True),
    sa.Column("did", sa.String(255), nullable=False),
    sa.Column("watermark", sa.Text, nullable=False),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False),
    sa.Column("use_id", sa.String(128), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
_NAMES: Final = tuple(field.name for field in fields(Given))


def give(tx: Tx, said: dict[str, Any], product_code: str) -> None:
    """Remember the recipient of a marked result; `said`: the body of its `use.marked`."""
    text = str(said["watermark"])
    values = {
        "mark": said["mark"],
        "digest": sha256_hex(text.encode()),
        "product_code": product_code,
        "did": said["recipient"],
        "watermark": text,
        "contract_id": said["contract_id"],
        "use_id": said["use_id"],
        "at": tx.now,
    }
    tx.insert_once(marks, values)


class Tracing:
    """Reads suspected copies of one node's products; thread-safe."""

    def __init__(self, db: Database, secret: bytes) -> None:
        """`secret`: what the data plane keys its marks with."""
        self._db, self._marker = db, Marker(secret)

    def recipients(self, product_code: str) -> list[Given]:
        """Who was given marked copies of a product, the first first."""
        query = sa.select(marks).where(marks.c.product_code == product_code)
        query = query.order_by(marks.c.at, marks.c.did).limit(limits.WATERMARK_RECIPIENTS_MAX)
        rows = self._db.read(lambda tx: tx.all(query))
        return [Given(**{name: getattr(row, name) for name in _NAMES}) for row in rows]

    def detect(
        self, product_code: str, keys: Sequence[Any], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        """Whose copy these values are, the likeliest first; raises NothingMarked."""
        given = self.recipients(product_code)
        if not given:
            raise NothingMarked
        known = [
            Recipient(
                each.did,
                self._marker.recipient(product_code, each.did),
                Watermark.parse(each.watermark),
            )
            for each in given
        ]
        return detect(self._marker.product(product_code), known, keys, columns)
