"""The holder's side of the catalogue: describe, submit, mend, list, withdraw.

In: forms of the provider, decisions of the node. Out: resources and products with typed tables,
entity keys and files for the data plane; events ResourceSubmitted, ProductSubmitted,
ListingSubmitted, WithdrawalSubmitted. File paths and bounds never leave this node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from yunhe.catalog import records, rules, store
from yunhe.catalog.errors import EntryNotFound, FormNotValid, ResourceInUse
from yunhe.catalog.events import (
    ListingSubmitted,
    ProductSubmitted,
    ResourceSubmitted,
    WithdrawalSubmitted,
)
from yunhe.catalog.model import (
    ON_OFFER,
    CheckTerms,
    Fault,
    Json,
    Product,
    ProductForm,
    ReadTerms,
    Reasons,
    Resource,
    ResourceForm,
    Table,
    Version,
)
from yunhe.catalog.records import Holding
from yunhe.catalog.rules_policy import Asked
from yunhe.catalog.states import ENTRY, LISTING, can, step
from yunhe.evidence import EvidenceLog
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.sources import Sources, TableProfile

T = TypeVar("T")

_REGISTERED = {"resource": "catalog.resource_registered", "product": "catalog.product_registered"}
_VERB = {"approve": "register", "return": "return", "reject": "reject"}


class Holder:
    """The catalogue of one connector."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        sources: Sources,
        read_terms: ReadTerms,
        holding: Holding,
        check_terms: CheckTerms | None = None,
    ) -> None:
        self._db = db
        self._evidence = evidence
        self._sources = sources
        self._read_terms = read_terms
        self._holding = holding
        self._check_terms = check_terms
        self._offers: dict[object, Any] = {}  # what was read of registered versions

    # -- resources ------------------------------------------------------------------------------

    def add_resource(self, form: ResourceForm, by: str = "") -> Resource:
        """A draft resource; its files are profiled now.

        Raises FormNotValid (an entity key that is no column, a code no table has, level 005),
        and what sources raise for files outside the allowed roots.
        """
        tables = records.profile(self._sources, form.tables)
        return self._db.write(lambda tx: self._put_resource(tx, None, form, tables, by))

    def edit_resource(self, key: str, form: ResourceForm, by: str = "") -> Resource:
        """Replace the form of a draft or returned resource, or begin an update of a registered
        one; the files are profiled again. Raises as `add_resource`, NotInThisState."""
        tables = records.profile(self._sources, form.tables)
        return self._db.write(lambda tx: self._put_resource(tx, key, form, tables, by))

    def _put_resource(
        self, tx: Tx, key: str | None, form: ResourceForm, tables: tuple[Table, ...], by: str
    ) -> Resource:
        row = None if key is None else self._row(tx, key, "resource")
        record = records.of_resource(self._holding, form, tables, tx.now)
        self._refuse("resource", rules.check("resource", record, Asked(self._read_terms)))
        plain = [records.table_json(table) for table in tables]
        return self._resource(tx, self._put(tx, row, "resource", form.to_json(), plain, by))

    def submit_resource(self, key: str) -> Resource:
        """Ask the node to register it."""

        def verb(tx: Tx) -> Resource:
            row = self._row(tx, key, "resource")
            form, tables = self._content(tx, row, row.version)
            record = records.of_resource(self._holding, form, tables, tx.now)
            faults = rules.check("resource", record, Asked(self._read_terms))
            self._submit(tx, row, faults)
            tx.emit(ResourceSubmitted(row.id, row.version, _numbered(record, row, row.version)))
            return self._resource(tx, row.id)

        return self._db.write(verb)

    # -- products -------------------------------------------------------------------------------

    def add_product(self, form: ProductForm, by: str = "") -> Product:
        """A draft product over this node's resources; its policy must be understood, hold on their
        tables and not be over. Raises FormNotValid (`faults` name the part), EntryNotFound."""
        return self._db.write(lambda tx: self._put_product(tx, None, form, by))

    def edit_product(self, key: str, form: ProductForm, by: str = "") -> Product:
        """Replace the form of a draft or returned product, or begin an update of a registered
        one: the registered version stays on offer until the update is approved."""
        return self._db.write(lambda tx: self._put_product(tx, key, form, by))

    def _put_product(self, tx: Tx, key: str | None, form: ProductForm, by: str) -> Product:
        row = None if key is None else self._row(tx, key, "product")
        _, faults = self._judged(tx, form)
        # K7 is asked at the submission: a draft may stand on drafts.
        self._refuse("product", [fault for fault in faults if fault.rule != "K7"])
        return self._product(tx, self._put(tx, row, "product", form.to_json(), [], by))

    def submit_product(self, key: str) -> Product:
        """Ask the node to register it; its resources must be registered (K7)."""

        def verb(tx: Tx) -> Product:
            row = self._row(tx, key, "product")
            form = ProductForm.from_json(self._form(tx, row, row.version))
            record, faults = self._judged(tx, form)
            self._refuse("product", faults)
            self._submit(tx, row, faults)
            tx.emit(ProductSubmitted(row.id, row.version, _numbered(record, row, row.version)))
            return self._product(tx, row.id)

        return self._db.write(verb)

    def list_product(self, key: str, visible_to: Sequence[str] = ()) -> Product:
        """Ask the node to list a registered product; `visible_to`: DIDs, empty for everyone."""

        def verb(tx: Tx) -> Product:
            row = self._row(tx, key, "product")
            if row.state not in ("registered", "updating", "reviewing"):
                step(ENTRY, row.state, "list")
            after = step(LISTING, row.listing_state, "submit")
            number = row.listing_version + 1
            store.set_entry(tx, row.id, listing_state=after, listing_version=number, reasons=[])
            record = {"code": row.code, "visible_to": list(visible_to)}
            tx.emit(ListingSubmitted(row.id, number, _numbered(record, row, number)))
            return self._product(tx, row.id)

        return self._db.write(verb)

    def delist(self, key: str, reason: str = "") -> Product:
        """Take a product off the market; the entry stays registered. Holds at once here."""

        def verb(tx: Tx) -> Product:
            self._delist(tx, self._row(tx, key, "product"), reason)
            return self._product(tx, key)

        return self._db.write(verb)

    def withdraw(self, key: str, reason: str = "") -> Resource | Product:
        """Take back a resource or product for good: listings first (spec 4.2); its code is never
        given again. Raises ResourceInUse while a product stands on the resource."""

        def verb(tx: Tx) -> Resource | Product:
            row = self._row(tx, key, None)
            after = step(ENTRY, row.state, "withdraw")
            if row.kind == "resource":
                self._unused(tx, row)
            elif can(LISTING, row.listing_state, "delist"):
                self._delist(tx, row, reason)
            store.set_entry(tx, row.id, state=after)
            if row.code:
                number = row.version + 1
                # Of what is withdrawn: the number of its revocation, 0 once that is confirmed.
                store.set_entry(tx, row.id, submitted_version=number)
                self._take_back(tx, "revoke", row, number, reason)
            return self._resource(tx, row.id) if row.kind == "resource" else self._product(tx, key)

        return self._db.write(verb)

    def withdraw_again(self, tx: Tx, under_way: Callable[[Tx, str], bool]) -> int:
        """Tell the node once more of withdrawals that it did not confirm, or refused; how many.

        An earlier version of the node refused the revocation of a resource that overtook its
        products', and one that could not be delivered for days is given up. `under_way`: whether
        one of an entry, by its id, still waits to be sent or decided.
        """
        found = store.unconfirmed(tx, limits.CATALOG_LIST_MAX)
        lost = [row for row in found if not under_way(tx, row.id)][: limits.PENDING_ASKED_MAX]
        for row in lost:
            # The node answers a number it has seen as it did then.
            number = max(row.submitted_version, row.version + 1) + 1
            store.set_entry(tx, row.id, submitted_version=number)
            record = _numbered({"code": row.code, "reason": ""}, row, number)
            tx.emit(WithdrawalSubmitted("revoke", row.id, number, record))
        return len(lost)

    def _delist(self, tx: Tx, row: store.Row, reason: str) -> None:
        after = step(LISTING, row.listing_state, "delist")
        number = row.listing_version + 1
        store.set_entry(tx, row.id, listing_state=after, listing_version=number)
        self._take_back(tx, "delist", row, number, reason)

    def _take_back(self, tx: Tx, kind: str, row: store.Row, number: int, reason: str) -> None:
        body = {"kind": kind, "local_id": row.id, "code": row.code, "reason": reason[:512]}
        self._evidence.record(tx, "catalog.withdrawn", body)
        record = _numbered({"code": row.code, "reason": reason[:512]}, row, number)
        tx.emit(WithdrawalSubmitted(kind, row.id, number, record))

    def _unused(self, tx: Tx, resource: store.Row) -> None:
        for row in store.all_entries(tx, "product"):
            if row.state in ("withdrawn", "rejected"):
                continue
            if resource.id in self._form(tx, row, row.version)["resource_ids"]:
                raise ResourceInUse(product=row.code or row.id)

    # -- decisions of the node ------------------------------------------------------------------

    def on_reviewed(
        self,
        tx: Tx,
        kind: str,
        local_id: str,
        version: int,
        decision: str,
        code: str,
        reasons: Reasons,
    ) -> bool:
        """Take in a decision; False if it is a repeat, stale or about nothing of ours.

        `decision`: approve, return, reject.
        """
        row = store.entry(tx, local_id)
        if row is None or decision not in _VERB:
            return False
        if kind == "listing":
            return self._listing_reviewed(tx, row, version, decision, reasons)
        if kind == "revoke":
            confirmed = bool(row.state == "withdrawn" and version == row.submitted_version)
            if confirmed and decision == "approve":
                store.set_entry(tx, row.id, submitted_version=0)
            return confirmed
        if kind != row.kind or version != row.submitted_version:
            return False
        if not can(ENTRY, row.state, _VERB[decision]):
            return False
        values: Json = {"state": ENTRY[(row.state, _VERB[decision])], "reasons": list(reasons)}
        if decision == "approve":
            values |= {"registered_version": version, "code": code}
            record = {"local_id": row.id, "version": version, "code": code}
            content = self._form(tx, row, version)
            self._evidence.record(
                tx, _REGISTERED[row.kind], {**record, "digest": sha256_hex(content)}
            )
        store.set_entry(tx, row.id, **values)
        return True

    def _listing_reviewed(
        self, tx: Tx, row: store.Row, version: int, decision: str, reasons: Reasons
    ) -> bool:
        verb = "list" if decision == "approve" else _VERB[decision]
        if version != row.listing_version or not can(LISTING, row.listing_state, verb):
            return False
        after = LISTING[(row.listing_state, verb)]
        store.set_entry(tx, row.id, listing_state=after, reasons=list(reasons))
        if decision == "approve":
            body = {"local_id": row.id, "version": version, "code": row.code}
            self._evidence.record(tx, "catalog.listed", body)
        return True

    # -- asking ---------------------------------------------------------------------------------

    def resource(self, key: str) -> Resource:
        """A resource by id or code; raises EntryNotFound."""
        return self._db.read(lambda tx: self._resource(tx, self._row(tx, key, "resource").id))

    def product(self, key: str) -> Product:
        """A product by id or code, whatever its state; raises EntryNotFound."""
        return self._db.read(lambda tx: self._product(tx, key))

    def on_offer(self, code: str, read: Callable[[ProductForm], T]) -> T | None:
        """What `read` says of the form of a product that is on offer now; None: it is not.

        A registered version never changes, so a pure `read` is called once for each.
        """

        def find(tx: Tx) -> T | None:
            row = store.entry(tx, code, "product")
            if row is None or row.code != code or row.listing_state != "listed":
                return None
            if row.state not in ON_OFFER:
                return None
            number = row.registered_version or row.version
            key = (read, row.id, number)
            found = self._offers.get(key) if row.registered_version else None
            if found is None:
                found = read(ProductForm.from_json(self._form(tx, row, number)))
                if len(self._offers) >= limits.OFFERS_KEPT_MAX:
                    self._offers.clear()
                self._offers[key] = found
            made: T = found
            return made

        return self._db.read(find)

    def resources(self) -> tuple[Resource, ...]:
        """Every resource, newest change first."""
        return self._db.read(
            lambda tx: tuple(self._resource(tx, r.id) for r in store.all_entries(tx, "resource"))
        )

    def drift_of(self, key: str) -> dict[str, Json]:
        """How the sources of a resource differ from its description, by table; raises
        EntryNotFound. Tables that are as described do not stand here."""

        def read(tx: Tx) -> dict[str, Json]:
            rows = store.drifts_of(tx, self._row(tx, key, "resource").id)
            return {row.table_name: {**row.drift, "since": iso(row.at)} for row in rows}

        return self._db.read(read)

    def profile(self, key: str) -> dict[str, TableProfile]:
        """The tables of a resource measured anew as their sources are now; nothing is stored.

        Raises EntryNotFound, FormNotValid and what sources raise.
        """
        forms = self.resource(key).form.tables
        return {form.name: records.measured(self._sources, form) for form in forms}

    def sample(self, key: str, table: str, rows: int) -> list[Json]:
        """The first rows of a table, for the provider's own eyes; raises EntryNotFound, and what
        sources raise."""
        for each in self.resource(key).tables:
            if each.name == table:
                pinned = {column.name: column.type for column in each.columns}
                return self._sources.sample(each.origins or each.paths, pinned, rows)
        raise EntryNotFound(entry=table[:80])

    def products(self) -> tuple[Product, ...]:
        """Every product, newest change first."""
        return self._db.read(
            lambda tx: tuple(self._product(tx, r.id) for r in store.all_entries(tx, "product"))
        )

    def listed_beside(
        self, code: str = "", back: bool = False, limit: int = limits.CATALOG_LIST_MAX
    ) -> tuple[tuple[str, ProductForm], ...]:
        """Code and form of what is on offer, by code: after `code`, or backwards before it."""
        rows = self._db.read(lambda tx: store.listed_forms(tx, code, back, limit))
        return tuple((shown, ProductForm.from_json(form)) for shown, form in rows)

    def listed_code(self, position: int) -> str | None:
        """The code at a place (from 0) of what is on offer; None beyond the end."""
        return self._db.read(lambda tx: store.listed_code(tx, position))

    def working_form(self, key: str) -> ResourceForm | ProductForm:
        """The form as last edited, which may be newer than the registered version."""

        def read(tx: Tx) -> ResourceForm | ProductForm:
            row = self._row(tx, key, None)
            form = self._form(tx, row, row.version)
            reader = ResourceForm if row.kind == "resource" else ProductForm
            return reader.from_json(form)

        return self._db.read(read)

    def versions(self, key: str) -> tuple[Version, ...]:
        """Every kept version, oldest first."""

        def read(tx: Tx) -> tuple[Version, ...]:
            rows = store.all_versions(tx, self._row(tx, key, None).id)
            return tuple(Version(row.version, row.form, row.at, row.by) for row in rows)

        return self._db.read(read)

    # -- inside ---------------------------------------------------------------------------------

    def _row(self, tx: Tx, key: str, kind: str | None) -> store.Row:
        row = store.entry(tx, key, kind)
        if row is None:
            raise EntryNotFound(entry=key[:80])
        return row

    def _put(
        self, tx: Tx, row: store.Row | None, kind: str, form: Json, tables: Any, by: str
    ) -> str:
        """Store a form as the working version; what was once submitted is never overwritten."""
        if row is None:
            entry_id = tx.new_id()
            store.insert_entry(tx, entry_id, kind)
            store.put_version(tx, entry_id, 1, form, tables, by)
            return entry_id
        after = step(ENTRY, row.state, "edit")
        number = row.version + (1 if row.submitted_version == row.version else 0)
        store.set_entry(tx, row.id, state=after, version=number)
        store.put_version(tx, row.id, number, form, tables, by)
        return str(row.id)

    def _submit(self, tx: Tx, row: store.Row, faults: Sequence[Fault]) -> None:
        after = step(ENTRY, row.state, "submit")
        # What a person at the node has to look at is told here, too: it is why the review waits.
        told = [fault.to_json() for fault in faults if fault.weight == "reviewer"]
        store.set_entry(tx, row.id, state=after, submitted_version=row.version, reasons=told)

    def _refuse(self, kind: str, faults: Sequence[Fault]) -> None:
        bad = [fault for fault in faults if fault.weight != "reviewer"]
        if bad:
            fields = ", ".join(sorted({fault.field for fault in bad}))
            raise FormNotValid(kind=kind, fields=fields, faults=[f.to_json() for f in bad])

    def _form(self, tx: Tx, row: store.Row, number: int) -> Json:
        kept = store.version(tx, row.id, number)
        if kept is None:
            raise EntryNotFound(entry=row.id)
        form: Json = kept.form
        return form

    def _content(
        self, tx: Tx, row: store.Row, number: int
    ) -> tuple[ResourceForm, tuple[Table, ...]]:
        kept = store.version(tx, row.id, number)
        if kept is None:
            raise EntryNotFound(entry=row.id)
        tables = tuple(records.table_from(table, row.id) for table in kept.tables)
        return ResourceForm.from_json(kept.form), tables

    def _resource(self, tx: Tx, key: str) -> Resource:
        row = self._row(tx, key, "resource")
        form, tables = self._content(tx, row, row.registered_version or row.version)
        return Resource(
            row.id,
            row.code or "",
            row.state,
            row.version,
            form,
            tables,
            tuple(row.reasons),
            row.updated_at,
        )

    def _product(self, tx: Tx, key: str) -> Product:
        row = self._row(tx, key, "product")
        form = ProductForm.from_json(self._form(tx, row, row.registered_version or row.version))
        tables: tuple[Table, ...] = ()
        for resource_id in form.resource_ids:
            tables += self._resource(tx, resource_id).tables
        return Product(
            row.id,
            row.code or "",
            row.state,
            row.version,
            row.registered_version,
            row.listing_state,
            form,
            tables,
            tuple(row.reasons),
            row.updated_at,
        )

    def _judged(self, tx: Tx, form: ProductForm) -> tuple[Json, list[Fault]]:
        """The record of a product and what is wrong with it, seen over its whole tables."""
        resources = [self._resource(tx, resource_id) for resource_id in form.resource_ids]
        record = records.of_product(self._holding, form, resources, self._read_terms, tx.now)
        tables = [table for resource in resources for table in resource.tables]
        asked = Asked(self._read_terms, self._check_terms, tx.now, tables)
        return record, rules.check("product", record, asked)


def _numbered(record: Json, row: store.Row, number: int) -> Json:
    return {"local_id": row.id, "version": number, **record}
