"""Search over the public catalogue: the index, plus what changed since it last committed.

In: a text in Chinese or English, filters, who asks. Out: pages with exact totals. Changed rows
are left out of the index's answer and judged from the database, so that a new listing is found
and a withdrawn one is gone at once (DESIGN §4.16).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from yunhe.catalog import store, tokens
from yunhe.catalog.errors import SearchTooWide
from yunhe.catalog.events import EntryChanged
from yunhe.catalog.index import Document, SearchIndex, Snapshot, Wanted
from yunhe.catalog.model import Hit, Json, Page, Text
from yunhe.kernel import limits
from yunhe.kernel.chores import Chores
from yunhe.kernel.db import Database, Tx

FILTERS = (
    "topic_category",
    "scenario_category",
    "industry_category",
    "source_type",
    "product_form",
    "update_frequency",
    "quality_level",
    "security_level",
    "provider_did",
    "provider_subject",
)
ORDERS = ("newest", "oldest", "score")


class Search:
    """The search projection of one replica; `start` keeps it fresh in the background."""

    def __init__(self, db: Database, folder: Path | None = None) -> None:
        self._db = db
        self._index = SearchIndex(folder)
        self._refreshing = threading.Lock()
        # Now and then without a ring, too: another replica may have changed the register.
        self._commits = Chores(
            "catalog-index",
            limits.OUTBOX_TICK_S,
            self.refresh,
            gather_s=limits.INDEX_COMMIT_S_MIN,
        )
        db.events.on(EntryChanged, lambda tx, _event: tx.after_commit(self._commits.ring))

    @property
    def position(self) -> int:
        """How far the index has read the change log."""
        return self._index.snapshot.position

    def start(self) -> None:
        """Commit changes in the background, gathered a moment, until `stop`."""
        self._commits.ring()
        self._commits.start()

    def stop(self) -> None:
        """Stop the background commits and let go of the folder."""
        self._commits.stop()
        self._index.close()

    def refresh(self) -> int:
        """Index everything changed since the last commit; returns the position reached."""
        with self._refreshing:
            if self.position > self._db.read(store.head_seq):
                # The database is older than the index: it was restored from a copy.
                self._index.clear()
            while True:
                rows = self._db.read(
                    lambda tx: store.changed_since(tx, self.position, limits.INDEX_BATCH_ROWS)
                )
                if not rows:
                    return self.position
                shown = [row for row in rows if is_public(row)]
                gone = [row.code for row in rows if not is_public(row)]
                self._index.apply([_document(row) for row in shown], gone, rows[-1].seq)

    def rebuild(self) -> int:
        """Throw the index away and read the register from the beginning."""
        with self._refreshing:
            self._index.clear()
        return self.refresh()

    def find(
        self,
        text: str,
        caller: str = "",
        limit: int = 20,
        offset: int = 0,
        order: str = "",
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Page:
        """A page of listed products that `caller` (a DID, or nobody) may see.

        Every term must occur: Chinese anywhere in a text, Latin words as wholes or, from three
        letters, as beginnings. `order`: newest, oldest, score; default score when there is text.
        Raises SearchTooWide.
        """
        wanted = _understand(text, caller, limit, offset, order, filters or {})
        for _ in range(3):
            snapshot = self._index.snapshot
            page = self._db.read(
                partial(self._page, snapshot=snapshot, wanted=wanted, offset=offset, limit=limit)
            )
            if page is not None:
                return self._told(page, text)
            self.refresh()
        raise SearchTooWide(why="the catalogue is changing faster than it is indexed")

    def _page(
        self, tx: Tx, snapshot: Snapshot, wanted: Wanted, offset: int, limit: int
    ) -> tuple[int, list[tuple[store.Row, float]]] | None:
        """One page on one database snapshot; None when too much is not indexed yet."""
        fresh = store.changed_since(tx, snapshot.position, limits.SEARCH_FRESH_ROWS_MAX + 1)
        if len(fresh) > limits.SEARCH_FRESH_ROWS_MAX or snapshot.position > store.head_seq(tx):
            return None
        found = [row for row in fresh if is_public(row) and _fits(_document(row), wanted)]
        changed = [row.code for row in fresh]
        # Changed rows carry the highest numbers: they stand at the new end of the order.
        old_first = wanted.order == "oldest"
        ahead = 0 if old_first else len(found)
        if not old_first:
            found.reverse()
        start = max(0, offset - ahead)
        room = limit if old_first else limit - len(found[offset : offset + limit])
        total, keys = self._index.find(snapshot, wanted, changed, start, room)
        rows = store.rows_of(tx, [code for code, _ in keys]) if keys else {}
        indexed = [(rows[code], score) for code, score in keys if code in rows]
        if old_first:
            begin = max(0, offset - total)
            tail = found[begin : begin + limit - len(indexed)] if offset + limit > total else []
            page = indexed + [(row, 0.0) for row in tail]
        else:
            page = [(row, 0.0) for row in found[offset : offset + limit]] + indexed
        return total + len(found), page

    def _told(self, page: tuple[int, list[tuple[store.Row, float]]], text: str) -> Page:
        total, rows = page
        lang = tokens.language(text) if text else ""
        return Page(total, tuple(hit_of(row, lang, score) for row, score in rows))


def terms_of(text: str, limit: int) -> tuple[tokens.Term, ...]:
    """The words of a search whose pages have `limit` hits; raises SearchTooWide."""
    if len(text) > limits.SEARCH_TEXT_CHARS_MAX:
        raise SearchTooWide(why=f"the text is over {limits.SEARCH_TEXT_CHARS_MAX} characters")
    terms = tokens.query_terms(text)
    if len(terms) > limits.SEARCH_TERMS_MAX:
        raise SearchTooWide(why=f"more than {limits.SEARCH_TERMS_MAX} words")
    if text.strip() and not terms:
        raise SearchTooWide(why="there is no word in it")
    if not 0 <= limit <= limits.SEARCH_LIMIT_MAX:
        raise SearchTooWide(why=f"a page has at most {limits.SEARCH_LIMIT_MAX} hits")
    return terms


def _understand(
    text: str,
    caller: str,
    limit: int,
    offset: int,
    order: str,
    filters: Mapping[str, Sequence[str]],
) -> Wanted:
    terms = terms_of(text, limit)
    if not 0 <= offset <= limits.SEARCH_OFFSET_MAX:
        raise SearchTooWide(why="the offset is out of range")
    order = order or ("score" if terms else "newest")
    if order not in ORDERS:
        raise SearchTooWide(why=f"the order is one of {', '.join(ORDERS)}")
    for name, values in filters.items():
        if name not in FILTERS:
            raise SearchTooWide(why=f"there is no filter {name[:64]!r}")
        if not values or len(values) > limits.SEARCH_TERMS_MAX:
            raise SearchTooWide(why=f"the filter {name} has no or too many values")
    visible = ("visible=*", f"visible={caller}") if caller else ("visible=*",)
    return Wanted(terms, {k: tuple(v) for k, v in filters.items()}, visible, order)


def is_public(row: store.Row) -> bool:
    """True if the row is a registered product with an approved listing."""
    return bool(
        row.kind == "product" and row.state == "registered" and row.listing_state == "listed"
    )


def may_see(row: store.Row, caller: str) -> bool:
    """True if the listing is public, names the caller, or is the caller's own."""
    return not row.visible_to or caller in row.visible_to or caller == row.origin_did


def _document(row: store.Row) -> Document:
    record: Json = row.record
    titles = tuple(record.get(f"title_{lang}", "") for lang in ("zh", "en"))
    texts = [*titles, *(record.get(f"description_{lang}", "") for lang in ("zh", "en"))]
    texts += record.get("keywords", [])
    texts += [record.get("provider_name", ""), record.get("usage_scenario", "")]
    for table in record.get("tables", []):
        texts += [table["name"], *(column["name"] for column in table["columns"])]
    facets = [f"{name}={record[name]}" for name in FILTERS if record.get(name)]
    seen_by = {*row.visible_to, row.origin_did} if row.visible_to else {"*"}
    facets += [f"visible={did}" for did in sorted(seen_by)]
    return Document(row.code, row.seq, titles, tuple(texts), tuple(facets))


def _fits(document: Document, wanted: Wanted) -> bool:
    """What the index would answer for one document."""
    facets = set(document.facets)
    if facets.isdisjoint(wanted.visible):
        return False
    for name, values in wanted.filters.items():
        if facets.isdisjoint(f"{name}={value}" for value in values):
            return False
    return tokens.matches(wanted.terms, document.texts)


def hit_of(row: store.Row, lang: str = "", score: float = 0.0) -> Hit:
    """What a searcher learns of a row; `lang` is the language it was found in."""
    record: Any = row.record
    return Hit(
        code=row.code,
        title=Text(record.get("title_zh", ""), record.get("title_en", "")),
        description=Text(record.get("description_zh", ""), record.get("description_en", "")),
        keywords=tuple(record.get("keywords", ())),
        provider_did=row.origin_did,
        provider_name=record.get("provider_name", ""),
        connector_code=row.origin_code,
        address=row.origin_address,
        price=record.get("price", {}),
        version=row.version,
        updated_at=row.updated_at,
        language=lang,
        score=score,
    )
