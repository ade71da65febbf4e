"""Seeded defects of volume, hours, place and receipts; see defects.py."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from attack.defects import Defect, job, nothing, put
from yunhe.control import judge, volume
from yunhe.dataplane import service, views
from yunhe.exchange import model as exchange_model


def _hours_ignored() -> None:
    """Neither the admission nor the stream asks what time it is: each alone refuses."""
    context = judge._context

    def always(tx: Any, use: Any, row: Any, terms: Any) -> Any:
        made = context(tx, use, row, terms)
        at = terms.hours.again(tx.now) if terms.hours is not None else tx.now
        return dataclasses.replace(made, values={**made.values, "hours": at})

    judge._context = always
    put(service, "check_hours", nothing)()


def _from_anywhere() -> None:
    """The place of use is what would be allowed."""

    def place(self: Any, contract: Any) -> Any:
        return {"region": contract.terms.regions[0]} if contract.terms.regions else {}

    service.DataPlane._place = place  # type: ignore[method-assign]


def _receipt_unsigned() -> None:
    """The head and the place of a signature, and no signature."""
    sign = exchange_model.Desk.sign

    def unsigned(self: Any, body: Any, peer_did: str) -> str:
        return sign(self, body, peer_did).rpartition(".")[0] + "."

    exchange_model.Desk.sign = unsigned  # type: ignore[method-assign]


def _k_counted_by_rows() -> None:
    """Every row counts as an entity of its own: ten rows of three people are a group."""
    subquery = views.View.subquery

    def by_rows(self: Any, alias: str, with_entity: bool) -> Any:
        made = subquery(self, alias, with_entity)
        items = {item.alias: item for item in made.this.expressions}
        if views.ENTITY in items:
            items[views.ENTITY].set("this", items[views.ROW].this.copy())
        return made

    views.View.subquery = by_rows  # type: ignore[method-assign]


DEFECTS: Final[dict[str, Defect]] = {
    "volume uncounted": Defect(put(volume, "hold", nothing), (), ("bounds",)),
    "volume given back": Defect(
        put(volume, "settle", lambda tx, row, *_: volume.give_back(tx, row)), (), ("bounds",)
    ),
    "bytes unbounded": Defect(job(bytes_max=None), (), ("bounds",)),
    "hours ignored": Defect(_hours_ignored, (), ("bounds",)),
    "from anywhere": Defect(_from_anywhere, (), ("bounds",)),
    "k counted by rows": Defect(_k_counted_by_rows, ("probes",)),
    "receipt left unsigned": Defect(_receipt_unsigned, (), ("bounds",)),
    "receipts unread": Defect(put(exchange_model, "verify_jws_detached", nothing), (), ("bounds",)),
}
