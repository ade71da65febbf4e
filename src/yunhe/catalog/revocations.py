"""Revocations that arrive before those they follow: a resource's, ahead of its products'.

In: rows of the register. Out: what a revocation waits for, and which of them wait no longer. A
holder takes a resource back only after every product on it; but order holds for each entry only,
so that the resource's revocation may overtake theirs. It stands as `waiting`, asks no reviewer,
and is decided in the verb by which the last of these products lets go of the resource.
"""

from __future__ import annotations

from collections.abc import Sequence

from yunhe.catalog import store
from yunhe.catalog.model import Fault
from yunhe.kernel import limits
from yunhe.kernel.db import Tx


def users(tx: Tx, entry: store.Row | None) -> list[Fault]:
    """The origin's own products for which the revocation of `entry` has to wait, at most
    CATALOG_REASONS_MAX; none for what is no resource."""
    if entry is None or entry.kind != "resource":
        return []
    store.lock_register(tx)  # a product taken back at the same time comes before or after this
    codes = sorted(
        row.code for row in store.products_using(tx, entry.origin_did) if entry.code in _named(row)
    )
    return [
        Fault("code", "K7", f"waits for the withdrawal of {code}", f"等待 {code} 撤销", "reviewer")
        for code in codes[: limits.CATALOG_REASONS_MAX]
    ]


def stood_on(tx: Tx, application: store.Row) -> Sequence[str]:
    """The resources named by the registered product that `application` would change; at most
    CATALOG_RESOURCES_MAX, as the check of its record has it."""
    if application.kind not in ("product", "revoke") or not application.code:
        return ()
    entry = store.registered(tx, application.code)
    return _named(entry) if entry is not None and entry.kind == "product" else ()


def ready(tx: Tx, origin_did: str, codes: Sequence[str]) -> Sequence[store.Row]:
    """The waiting revocations of `codes` on which no product of the origin stands any more.

    To be asked after the product has changed: from then on no other verb changes the register.
    """
    waiting = store.waiting_revocations(tx, origin_did, codes) if codes else ()
    if not waiting:
        return ()
    used = {code for row in store.products_using(tx, origin_did) for code in _named(row)}
    return [row for row in waiting if row.code not in used]


def _named(product: store.Row) -> Sequence[str]:
    return tuple(product.record.get("resource_codes") or ())
