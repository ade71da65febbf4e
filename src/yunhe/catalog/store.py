"""All SQL of the catalogue: the holder's entries and the node's register.

In: a Tx and values. Out: rows. Codes are written once and never updated or deleted: a withdrawn
entry stays as its own tombstone (N04: never reissued).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from yunhe.catalog.model import ON_OFFER
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, by_name, metadata

Row = Any  # one row, read by its columns' names

entries = sa.Table(
    "catalog_entry",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # resource | product
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("submitted_version", sa.Integer, nullable=False),
    sa.Column("registered_version", sa.Integer, nullable=False),
    sa.Column("code", sa.String(65), unique=True),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("application_id", sa.String(80), nullable=False),
    sa.Column("listing_state", sa.String(16), nullable=False),
    sa.Column("listing_version", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Index("catalog_entry_kind", "kind", "updated_at"),
)

versions = sa.Table(
    "catalog_entry_version",
    metadata,
    sa.Column("entry_id", sa.ForeignKey("catalog_entry.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("form", Json, nullable=False),
    sa.Column("tables", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
)

applications = sa.Table(
    "catalog_application",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("track", sa.String(16), nullable=False),  # entry | listing: versions rise on each
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("origin_did", sa.String(512), nullable=False),
    sa.Column("origin_subject", sa.String(18), nullable=False),
    sa.Column("origin_code", sa.String(65), nullable=False),
    sa.Column("origin_name", sa.String(200), nullable=False),
    sa.Column("origin_address", sa.String(1024), nullable=False),
    sa.Column("local_id", sa.String(80), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("record", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reasons", Json, nullable=False),
    sa.Column("warnings", Json, nullable=False),
    sa.Column("code", sa.String(65), nullable=False),
    sa.Column("reviewer", sa.String(200), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.UniqueConstraint("origin_did", "local_id", "track", "version"),
    sa.Index("catalog_application_state", "state", "received_at"),
)

register = sa.Table(
    "catalog_register",
    metadata,
    sa.Column("code", sa.String(65), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("origin_did", sa.String(512), nullable=False),
    sa.Column("origin_code", sa.String(65), nullable=False),
    sa.Column("origin_address", sa.String(1024), nullable=False),
    sa.Column("local_id", sa.String(80), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("record", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # registered | withdrawn
    sa.Column("listing_state", sa.String(16), nullable=False),
    sa.Column("visible_to", Json, nullable=False),  # DIDs; empty: everyone
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.UniqueConstraint("origin_did", "local_id"),
    sa.Index("catalog_register_fingerprint", "fingerprint"),
)

counters = sa.Table(
    "catalog_counter",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

drifts = sa.Table(
    "catalog_drift",
    metadata,
    sa.Column("resource_id", sa.ForeignKey("catalog_entry.id"), primary_key=True),
    sa.Column("table_name", sa.String(80), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),  # empty: as described again
    sa.Column("drift", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

_entry_row, _version_row = by_name(entries), by_name(versions)
_register_row = by_name(register)

# Built once: every use reads its product's tables (kernel.db.prepared).
_KEY: Final[sa.BindParameter[Any]] = sa.bindparam("key")
_ENTRY: Final = sa.select(entries).where(sa.or_(entries.c.id == _KEY, entries.c.code == _KEY))
_ENTRY_OF: Final = _ENTRY.where(entries.c.kind == sa.bindparam("of_kind"))
_VERSION: Final = sa.select(versions).where(
    versions.c.entry_id == _KEY, versions.c.version == sa.bindparam("number")
)


# -- the holder ---------------------------------------------------------------------------------


def insert_entry(tx: Tx, entry_id: str, kind: str) -> None:
    """A new draft, version 1."""
    tx.execute(
        sa.insert(entries),
        {
            "id": entry_id,
            "kind": kind,
            "state": "draft",
            "version": 1,
            "submitted_version": 0,
            "registered_version": 0,
            "code": None,
            "reasons": [],
            "application_id": "",
            "listing_state": "none",
            "listing_version": 0,
            "updated_at": tx.now,
        },
    )


def entry(tx: Tx, key: str, kind: str | None = None) -> Row | None:
    """An entry by its id or its code."""
    asked = (_ENTRY, {"key": key}) if kind is None else (_ENTRY_OF, {"key": key, "of_kind": kind})
    for row in tx.rows(*asked):
        return _entry_row(row)
    return None


def all_entries(tx: Tx, kind: str) -> Sequence[Row]:
    """Entries of a kind, newest first."""
    query = sa.select(entries).where(entries.c.kind == kind)
    return tx.all(query.order_by(entries.c.updated_at.desc(), entries.c.id))


def _beside(query: Any, column: Any, code: Any, back: bool, rows_max: Any) -> Any:
    """A page by keyset: nothing that stays listed is skipped while others come and go."""
    if isinstance(code, sa.BindParameter) or code:
        query = query.where(column < code if back else column > code)
    return query.order_by(column.desc() if back else column).limit(rows_max)


def _listed_forms(back: bool, beside: bool) -> sa.Select[Any]:
    c = entries.c
    shown = sa.case((c.registered_version > 0, c.registered_version), else_=c.version)
    join = sa.and_(versions.c.entry_id == c.id, versions.c.version == shown)
    query = (
        sa.select(c.code, versions.c.form)
        .select_from(entries.join(versions, join))
        .where(c.kind == "product", c.listing_state == "listed")
        .where(sa.or_(*(c.state == state for state in ON_OFFER)))
    )
    code = sa.bindparam("beside") if beside else ""
    found: sa.Select[Any] = _beside(query, c.code, code, back, sa.bindparam("rows_max"))
    return found


# A catalogue page, forwards and back, from its end and from a code: built once.
_LISTED: Final = {
    (back, beside): _listed_forms(back, beside)
    for back in (False, True)
    for beside in (False, True)
}


def listed_forms(tx: Tx, code: str, back: bool, rows_max: int) -> Sequence[Row]:
    """Code and form of products on offer, by code: after `code`, or backwards before it."""
    asked = _LISTED[back, bool(code)]
    return tx.rows(asked, {"beside": code, "rows_max": rows_max})


def listed_code(tx: Tx, position: int) -> str | None:
    """The code at a place (from 0) in the order of the products on offer."""
    c = entries.c
    query = (
        sa.select(c.code)
        .where(c.kind == "product", c.listing_state == "listed", c.state.in_(ON_OFFER))
        .order_by(c.code)
    )
    found: str | None = tx.scalar(query.offset(position).limit(1))
    return found


def unconfirmed(tx: Tx, rows_max: int) -> Sequence[Row]:
    """Withdrawn entries of which the node has not confirmed so, the oldest change first."""
    c = entries.c
    query = sa.select(entries).where(
        c.state == "withdrawn", c.code.is_not(None), c.submitted_version != 0
    )
    return tx.all(query.order_by(c.updated_at, c.id).limit(rows_max))


def set_entry(tx: Tx, entry_id: str, **values: Any) -> None:
    """Change an entry's working columns; a code is set only where none was."""
    if "code" in values:
        tx.execute(
            sa.update(entries)
            .where(entries.c.id == entry_id, entries.c.code.is_(None))
            .values(code=values.pop("code"))
        )
    tx.execute(
        sa.update(entries).where(entries.c.id == entry_id).values(updated_at=tx.now, **values)
    )


def put_version(tx: Tx, entry_id: str, version: int, form: Any, tables: Any, by: str) -> None:
    """Store a version's content; a version never submitted is overwritten."""
    key = sa.and_(versions.c.entry_id == entry_id, versions.c.version == version)
    values = {"form": form, "tables": tables, "at": tx.now, "by": by}
    if tx.execute(sa.update(versions).where(key).values(**values)).rowcount == 0:
        tx.execute(sa.insert(versions), {"entry_id": entry_id, "version": version, **values})


def version(tx: Tx, entry_id: str, number: int) -> Row | None:
    """One version's content."""
    for row in tx.rows(_VERSION, {"key": entry_id, "number": number}):
        return _version_row(row)
    return None


def put_drift(tx: Tx, resource_id: str, table: str, digest: str, drift: Any) -> bool:
    """Keep how a table's source differs; False if that was known already."""
    key = sa.and_(drifts.c.resource_id == resource_id, drifts.c.table_name == table)
    known = tx.one(sa.select(drifts.c.digest).where(key))
    if (known is None and not digest) or (known is not None and known.digest == digest):
        return False
    values = {"digest": digest, "drift": drift, "at": tx.now}
    if known is None:
        keys = {"resource_id": resource_id, "table_name": table}
        tx.execute(sa.insert(drifts), {**keys, **values})
    else:
        tx.execute(sa.update(drifts).where(key).values(**values))
    return True


def drifts_of(tx: Tx, resource_id: str) -> Sequence[Row]:
    """What differs now at the tables of a resource."""
    query = sa.select(drifts).where(drifts.c.resource_id == resource_id, drifts.c.digest != "")
    return tx.all(query.order_by(drifts.c.table_name))


def all_versions(tx: Tx, entry_id: str) -> Sequence[Row]:
    """Every version, oldest first."""
    query = sa.select(versions).where(versions.c.entry_id == entry_id)
    return tx.all(query.order_by(versions.c.version))


# -- the register -------------------------------------------------------------------------------


def latest_application(tx: Tx, origin_did: str, local_id: str, track: str) -> Row | None:
    """The application with the highest version of a track."""
    return tx.one(
        sa.select(applications)
        .where(
            applications.c.origin_did == origin_did,
            applications.c.local_id == local_id,
            applications.c.track == track,
        )
        .order_by(applications.c.version.desc())
        .limit(1)
    )


def application_of(tx: Tx, origin_did: str, local_id: str, track: str, number: int) -> Row | None:
    """The application of one version."""
    return tx.one(
        sa.select(applications).where(
            applications.c.origin_did == origin_did,
            applications.c.local_id == local_id,
            applications.c.track == track,
            applications.c.version == number,
        )
    )


def application(tx: Tx, application_id: str) -> Row | None:
    """An application by its id."""
    return tx.one(sa.select(applications).where(applications.c.id == application_id))


def list_applications(tx: Tx, state: str | None) -> Sequence[Row]:
    """Applications, oldest first, at most CATALOG_LIST_MAX."""
    query = sa.select(applications)
    if state:
        query = query.where(applications.c.state == state)
    return tx.all(
        query.order_by(applications.c.received_at, applications.c.version, applications.c.id).limit(
            limits.CATALOG_LIST_MAX
        )
    )


def insert_application(tx: Tx, values: dict[str, Any]) -> None:
    """A new application."""
    tx.execute(sa.insert(applications), values)


def decide_application(tx: Tx, application_id: str, expected: str, **values: Any) -> bool:
    """Move an application out of `expected`; False if another reviewer was first."""
    result = tx.execute(
        sa.update(applications)
        .where(applications.c.id == application_id, applications.c.state == expected)
        .values(decided_at=tx.now, **values)
    )
    return result.rowcount == 1


def set_application_code(tx: Tx, application_id: str, code: str) -> None:
    """Note the code an approval gave or concerned."""
    key = applications.c.id == application_id
    tx.execute(sa.update(applications).where(key).values(code=code))


def waiting_revocations(tx: Tx, origin_did: str, codes: Iterable[str]) -> Sequence[Row]:
    """Revocations of these entries that wait for others of their origin, oldest first."""
    c = applications.c
    query = sa.select(applications).where(
        c.state == "waiting", c.kind == "revoke", c.origin_did == origin_did, c.code.in_(codes)
    )
    return tx.all(query.order_by(c.received_at, c.id))


def registered(tx: Tx, code: str) -> Row | None:
    """A registered entry by its code, tombstones included."""
    return tx.one(sa.select(register).where(register.c.code == code))


def registered_of(tx: Tx, origin_did: str, local_id: str) -> Row | None:
    """A registered entry by its origin's own id."""
    return tx.one(
        sa.select(register).where(
            register.c.origin_did == origin_did, register.c.local_id == local_id
        )
    )


def records_of(tx: Tx, codes: Collection[str]) -> dict[str, Any]:
    """The records of registered entries, tombstones included, by code."""
    query = sa.select(register.c.code, register.c.record).where(register.c.code.in_(codes))
    return {row.code: row.record for row in tx.all(query)} if codes else {}


def insert_registered(tx: Tx, values: dict[str, Any]) -> bool:
    """A new entry; False if its code is taken."""
    return tx.insert_once(register, {**values, "seq": next_seq(tx), "updated_at": tx.now})


def set_registered(tx: Tx, code: str, **values: Any) -> int:
    """Change an entry; returns its new place in the change log."""
    seq = next_seq(tx)
    tx.execute(
        sa.update(register)
        .where(register.c.code == code)
        .values(seq=seq, updated_at=tx.now, **values)
    )
    return seq


def next_seq(tx: Tx) -> int:
    """The next change number. The row's lock is held to the commit, so that on PostgreSQL too
    numbers become visible in order and an index that has read N has read all before N."""
    tx.insert_once(counters, {"name": "register", "value": 0})
    tx.execute(
        sa.update(counters).where(counters.c.name == "register").values(value=counters.c.value + 1)
    )
    value: int = tx.scalar(sa.select(counters.c.value).where(counters.c.name == "register"))
    return value


def lock_register(tx: Tx) -> None:
    """Let no other verb change the register until this one commits: what is read after this
    stays true. SQLite has one writer anyway; on PostgreSQL `next_seq` waits for this row."""
    tx.one(sa.select(counters.c.value).where(counters.c.name == "register").with_for_update())


def same_fingerprint(tx: Tx, fingerprint: str, not_of: str) -> Row | None:
    """Another holder's active entry with the same name and content (K8)."""
    return tx.one(
        sa.select(register).where(
            register.c.fingerprint == fingerprint,
            register.c.origin_did != not_of,
            register.c.state == "registered",
        )
    )


def listings_of(tx: Tx, origin_did: str, listing_state: str) -> Sequence[Row]:
    """Entries of one connector in a listing state."""
    return tx.all(
        sa.select(register)
        .where(register.c.origin_did == origin_did, register.c.listing_state == listing_state)
        .order_by(register.c.code)
    )


def products_using(tx: Tx, origin_did: str) -> Sequence[Row]:
    """Registered products of one connector."""
    return tx.all(
        sa.select(register).where(
            register.c.origin_did == origin_did,
            register.c.kind == "product",
            register.c.state == "registered",
        )
    )


def _listed_rows(back: bool, beside: bool) -> sa.Select[Any]:
    c = register.c
    query = sa.select(register).where(
        c.kind == "product", c.state == "registered", c.listing_state == "listed"
    )
    code = sa.bindparam("beside") if beside else ""
    found: sa.Select[Any] = _beside(query, c.code, code, back, sa.bindparam("rows_max"))
    return found


# Asked for every second, by the search (kernel.db.prepared).
_HEAD_SEQ: Final = sa.select(counters.c.value).where(counters.c.name == "register")
_CHANGED_SINCE: Final = (
    sa.select(register)
    .where(register.c.seq > sa.bindparam("position"), register.c.kind == "product")
    .order_by(register.c.seq)
    .limit(sa.bindparam("rows_max"))
)
_LISTED_HERE: Final = {
    (back, beside): _listed_rows(back, beside) for back in (False, True) for beside in (False, True)
}


def listed_rows(tx: Tx, code: str, back: bool, rows_max: int) -> Sequence[Row]:
    """Publicly listed products of all members, by code: after `code`, or backwards before it."""
    asked = _LISTED_HERE[back, bool(code)]
    found = tx.rows(asked, {"beside": code, "rows_max": rows_max})
    return [_register_row(row) for row in found]


def listed_applications(tx: Tx, digest: str, rows_max: int) -> Sequence[Row]:
    """The programs listed last first; those whose digest begins so, where one is given."""
    c = register.c
    query = sa.select(register).where(
        c.kind == "application", c.state == "registered", c.listing_state == "listed"
    )
    if digest:
        query = query.where(c.code.startswith(digest, autoescape=True))
    return tx.all(query.order_by(c.seq.desc()).limit(rows_max))


def changed_since(tx: Tx, position: int, rows_max: int) -> Sequence[Row]:
    """Products changed after `position`, in the order of the change log."""
    found = tx.rows(_CHANGED_SINCE, {"position": position, "rows_max": rows_max})
    return [_register_row(row) for row in found]


def head_seq(tx: Tx) -> int:
    """The last change number given."""
    found = tx.rows(_HEAD_SEQ, {})
    return found[0][0] if found else 0


def rows_of(tx: Tx, codes: Iterable[str]) -> dict[str, Row]:
    """Entries by code."""
    found = tx.all(sa.select(register).where(register.c.code.in_(list(codes))))
    return {row.code: row for row in found}
