"""The full-text index of the public catalogue: a projection that can be thrown away.

In: documents in the order of the change log, with the position reached. Out: matching codes and
exact totals on a snapshot that knows its position. It lives in a folder of this replica, or in
memory; whatever is wrong with the folder, it is rebuilt from the database.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tantivy

from yunhe.catalog.tokens import Term, index_characters, index_words, pairs
from yunhe.kernel import limits

_LAYOUT = 1  # raise it when the schema below changes: replicas rebuild


@dataclass(frozen=True)
class Document:
    """What the index keeps of a product."""

    code: str
    seq: int
    titles: tuple[str, ...]
    texts: tuple[str, ...]  # all searchable texts, titles included
    facets: tuple[str, ...]  # "name=value", "visible=*" or "visible=<did>"


@dataclass(frozen=True)
class Wanted:
    """One search, understood: every term, every filter, one of the visibilities."""

    terms: tuple[Term, ...]
    filters: Mapping[str, tuple[str, ...]]  # AND across names, OR within
    visible: tuple[str, ...]  # facets of which one must be there
    order: str  # newest | oldest | score


@dataclass(frozen=True)
class Snapshot:
    """A searcher and the change-log position it has seen; replaced as a whole."""

    searcher: Any
    position: int


class SearchIndex:
    """A tantivy index of one replica. One writer; searches run beside it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._schema = _schema()
        self._writer: Any = None
        self._open(fresh=False)

    @property
    def snapshot(self) -> Snapshot:
        """The newest committed state."""
        return self._snapshot

    def apply(self, documents: Iterable[Document], gone: Iterable[str], position: int) -> None:
        """Take in changes up to `position` and commit; repeating a batch changes nothing."""
        with self._lock:
            if self._writer is None:
                # Only now: a connector never writes, and a writer holds memory and a lock.
                self._writer = self._index.writer(limits.INDEX_HEAP_BYTES, num_threads=1)
            for code in gone:
                self._writer.delete_documents_by_term("code", code)
            for document in documents:
                self._writer.delete_documents_by_term("code", document.code)
                self._writer.add_document(_tantivy(document))
            self._writer.commit()
            # After the commit: a crash between the two only repeats the batch.
            self._write_position(position)
            self._index.reload()
            self._snapshot = Snapshot(self._index.searcher(), position)

    def clear(self) -> None:
        """Forget everything; the next `apply` starts from position 0."""
        with self._lock:
            self._close_writer()
            self._open(fresh=True)

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._close_writer()

    def find(
        self, snapshot: Snapshot, wanted: Wanted, exclude: Sequence[str], offset: int, limit: int
    ) -> tuple[int, list[tuple[str, float]]]:
        """How many match, and a page of (code, score) in the order wanted."""
        query = self._query(wanted, exclude)
        options: dict[str, Any] = {}
        if wanted.order != "score":
            asc = wanted.order == "oldest"
            options["order_by_field"] = "seq"
            options["order"] = tantivy.Order.Asc if asc else tantivy.Order.Desc
        result = snapshot.searcher.search(query, limit=max(limit, 1), offset=offset, **options)
        page = []
        for key, address in result.hits[:limit]:
            code = snapshot.searcher.doc(address)["code"][0]
            page.append((code, float(key) if wanted.order == "score" else 0.0))
        return int(result.count), page

    def _query(self, wanted: Wanted, exclude: Sequence[str]) -> Any:
        make, must = tantivy.Query, tantivy.Occur.Must
        clauses = [(must, self._any("facet", wanted.visible))]
        for name, values in wanted.filters.items():
            clauses.append((must, self._any("facet", [f"{name}={value}" for value in values])))
        for term in wanted.terms:
            clauses.append((must, self._term(term, "text")))
            if not (term.cjk and len(term.text) == 1):
                better = make.boost_query(self._term(term, "title"), 2.0)
                clauses.append((tantivy.Occur.Should, better))
        if exclude:
            hidden = make.term_set_query(self._schema, "code", list(exclude))
            clauses.append((tantivy.Occur.MustNot, hidden))
        return make.boolean_query(clauses)

    def _any(self, field: str, values: Iterable[str]) -> Any:
        make = tantivy.Query
        # Constant: a filter says nothing about relevance.
        return make.const_score_query(make.term_set_query(self._schema, field, list(values)), 0.0)

    def _term(self, term: Term, field: str) -> Any:
        make = tantivy.Query
        if term.cjk:
            if len(term.text) == 1:
                return make.term_query(self._schema, "chars", term.text)
            words: list[Any] = list(pairs(term.text))
            if len(words) == 1:
                return make.term_query(self._schema, field, words[0])
            return make.phrase_query(self._schema, field, words)
        exact = make.term_query(self._schema, field, term.text)
        if not term.prefix:
            return exact
        longer = make.regex_query(self._schema, field, f"{term.text}.*")
        return make.boolean_query([(tantivy.Occur.Should, exact), (tantivy.Occur.Should, longer)])

    # -- the folder -----------------------------------------------------------------------------

    def _open(self, fresh: bool) -> None:
        position = 0
        if self._folder is None:
            self._index = tantivy.Index(self._schema)
        else:
            kept = None if fresh else self._read_position()
            if kept is None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._index = tantivy.Index(self._schema, path=str(self._folder))
                position = kept or 0
            except (ValueError, OSError):
                # Damaged: it is only a projection.
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                self._index = tantivy.Index(self._schema, path=str(self._folder))
        self._index.reload()
        self._snapshot = Snapshot(self._index.searcher(), position)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None

    def _read_position(self) -> int | None:
        assert self._folder is not None  # noqa: S101  only called with a folder
        try:
            kept = json.loads((self._folder / "position.json").read_text())
            return int(kept["position"]) if kept["layout"] == _LAYOUT else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write_position(self, position: int) -> None:
        if self._folder is None:
            return
        half = self._folder / "position.json.half"
        half.write_text(json.dumps({"layout": _LAYOUT, "position": position}))
        os.replace(half, self._folder / "position.json")


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("code", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("seq", fast=True)
    for name in ("title", "text"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    builder.add_text_field("chars", tokenizer_name="whitespace", index_option="basic")
    builder.add_text_field("facet", tokenizer_name="raw", index_option="basic")
    return builder.build()


def _tantivy(document: Document) -> Any:
    made = tantivy.Document()
    made.add_text("code", document.code)
    made.add_unsigned("seq", document.seq)
    made.add_text("title", index_words(document.titles))
    made.add_text("text", index_words(document.texts))
    made.add_text("chars", index_characters(document.texts))
    for facet in document.facets:
        made.add_text("facet", facet)
    return made
