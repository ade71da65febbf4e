"""What a node shows in its DSP catalogue: its own products, its federation's, or both.

In: the holder's and the register's listings. Out: `Shelf`s for `Catalog`. A stranger's policy that
cannot be read keeps its own product off the shelf and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice

from yunhe.catalog import Detail, EntryNotFound, Holder, ProductForm, Register
from yunhe.contracts import Policy
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dsp.catalog import CatalogEntry, Shelf


class OwnShelf:
    """The products of this node's own connector; everyone who may ask sees all of them."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def beside(self, code: str, back: bool, limit: int, caller: str) -> Sequence[CatalogEntry]:
        """See Shelf."""
        return [_own(code, form) for code, form in self._holder.listed_beside(code, back, limit)]

    def entry(self, code: str, caller: str) -> CatalogEntry | None:
        """See Shelf."""
        try:
            product = self._holder.product(code)
        except EntryNotFound:
            return None
        return _own(product.code, product.form) if product.listed and product.code == code else None

    def code_at(self, position: int) -> str | None:
        """See Counted."""
        return self._holder.listed_code(position)


class FederationShelf:
    """The products of every member of a functional node, as far as the caller may see them."""

    def __init__(self, register: Register, own_did: str, path: str) -> None:
        """`path` follows a member's address to its DSP base URL; our own products are left out."""
        self._register, self._own_did, self._path = register, own_did, path

    def beside(self, code: str, back: bool, limit: int, caller: str) -> Sequence[CatalogEntry]:
        """See Shelf."""
        found: list[CatalogEntry] = []
        while len(found) < limit:
            rows = self._register.listed_beside(code, back, limit, caller)
            found += [entry for row in rows if (entry := self._theirs(row)) is not None]
            if len(rows) < limit:
                break
            code = rows[-1].hit.code
        return found[:limit]

    def entry(self, code: str, caller: str) -> CatalogEntry | None:
        """See Shelf."""
        try:
            return self._theirs(self._register.detail(code, caller))
        except EntryNotFound:
            return None

    def _theirs(self, detail: Detail) -> CatalogEntry | None:
        hit = detail.hit
        if hit.provider_did == self._own_did:
            return None
        try:
            policy = Policy.from_json(detail.policy or {})
        except (YunheError, KeyError, TypeError, AttributeError):
            return None
        return CatalogEntry(
            hit.code,
            hit.title.zh,
            hit.title.en,
            hit.description.zh,
            hit.description.en,
            hit.keywords,
            policy,
            hit.provider_did,
            hit.address.rstrip("/") + self._path,
        )


class Shelves:
    """Several shelves as one, in the order of the codes."""

    def __init__(self, shelves: Iterable[Shelf]) -> None:
        self._shelves = tuple(shelves)

    def beside(self, code: str, back: bool, limit: int, caller: str) -> Sequence[CatalogEntry]:
        """See Shelf."""
        found = [shelf.beside(code, back, limit, caller) for shelf in self._shelves]
        return list(islice(merge(*found, key=lambda e: e.code, reverse=back), limit))

    def entry(self, code: str, caller: str) -> CatalogEntry | None:
        """See Shelf."""
        found = (shelf.entry(code, caller) for shelf in self._shelves)
        return next((entry for entry in found if entry is not None), None)


def _own(code: str, form: ProductForm) -> CatalogEntry:
    return CatalogEntry(
        code,
        form.title.zh,
        form.title.en,
        form.description.zh,
        form.description.en,
        form.keywords,
        Policy.from_json(form.policy),
    )
