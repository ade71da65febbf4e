"""Seeded defects of volume, hours, place and receipts; see defects.py."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from attack.defects import Defect, job, nothing, put
from yunhe.control import judge, volume
from yunhe.dataplane import service
from yunhe.exchange import model as exchange_model
from yunhe.exchange import receipts


def _hours_ignored() -> None:
    context = judge._context

    def always(tx: Any, use: Any, row: Any, terms: Any) -> Any:
        made = context(tx, use, row, terms)
        at = terms.hours.again(tx.now) if terms.hours is not None else tx.now
        return dataclasses.replace(made, values={**made.values, "hours": at})

    judge._context = always


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


DEFECTS: Final[dict[str, Defect]] = {
    "volume uncounted": Defect(put(volume, "hold", nothing), (), ("bounds",)),
    "volume given back": Defect(
        put(volume, "settle", lambda tx, row, *_: volume.give_back(tx, row)), (), ("bounds",)
    ),
    "bytes unbounded": Defect(job(bytes_max=None), (), ("bounds",)),
    "hours ignored": Defect(_hours_ignored, (), ("bounds",)),
    "from anywhere": Defect(_from_anywhere, (), ("bounds",)),
    "receipt left unsigned": Defect(_receipt_unsigned, (), ("bounds",)),
    "receipts unread": Defect(put(receipts, "verify_jws_detached", nothing), (), ("bounds",)),
}
