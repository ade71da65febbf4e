"""The node's side of the catalogue: receive, check, review, allocate codes, publish, withdraw.

In: records from authenticated members. Out: registrations, codes, a searchable public catalogue;
events Reviewed (goes back to the origin) and EntryChanged. Only the origin may change an entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yunhe.catalog import revocations, rules, store
from yunhe.catalog.errors import (
    EntryNotFound,
    NotAMember,
    NotInThisState,
    NotTheOrigin,
    RecordMalformed,
    ReviewNotPossible,
    VersionConflict,
)
from yunhe.catalog.events import EntryChanged, Reviewed
from yunhe.catalog.model import (
    CheckTerms,
    Detail,
    Fault,
    Json,
    ReadTerms,
    Reasons,
    Registration,
    Text,
)
from yunhe.catalog.programs import PROGRAM, Programs, SignerOf, check_signed
from yunhe.catalog.rules_policy import Asked, tables_of
from yunhe.catalog.search import Search, hit_of, is_public, may_see
from yunhe.catalog.states import LISTING, can, step
from yunhe.evidence import EvidenceLog
from yunhe.identity import Peer
from yunhe.kernel import ids, limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Internal

_ADDRESS_CHARS_MAX = 1024  # of the field, and of its column
_ENTRY_KINDS = ("resource", "product", "application")
_DECISIONS = {"approve": "registered", "return": "returned", "reject": "rejected"}
_EVIDENCE = {
    "resource": "catalog.resource_registered",
    "product": "catalog.product_registered",
    "application": "catalog.application_listed",
    "listing": "catalog.listed",
    "delist": "catalog.withdrawn",
    "revoke": "catalog.withdrawn",
}


class Register:
    """The register of one functional node and the search over it."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        read_terms: ReadTerms,
        region: str,
        review: str = "manual",
        index_folder: Path | None = None,
        check_terms: CheckTerms | None = None,
        signer_of: SignerOf | None = None,
    ) -> None:
        self._db = db
        self._evidence = evidence
        self._read_terms = read_terms
        self._check_terms = check_terms
        self._signer_of = signer_of
        self._region = region
        self._auto = review == "auto"
        self._search = Search(db, index_folder)
        self.search = self._search.find
        self.find_programs = Programs(db).find
        self.refresh = self._search.refresh
        self.rebuild = self._search.rebuild
        self.start = self._search.start
        self.stop = self._search.stop

    # -- receiving ------------------------------------------------------------------------------

    def receive(self, kind: str, record: Any, peer: Peer) -> Registration:
        """Take in a submission of `peer`; repeats and stale versions change nothing.

        `kind`: resource, product, application, listing, delist, revoke. A record that does not
        pass comes back as a `returned` (or `rejected`) registration with reasons per field (T11
        7.2.4a).
        Raises RecordMalformed, NotAMember, NotTheOrigin, EntryNotFound, VersionConflict.
        """
        if not peer.member:
            raise NotAMember
        rules.check_shape(kind, record)
        if kind in _ENTRY_KINDS:
            claimed = (record.get("provider_did"), record.get("provider_subject"))
            if claimed != (peer.did, peer.subject_code):  # K2
                raise NotTheOrigin
        if kind == "application":
            check_signed(record, peer, self._signer_of)
        return self._db.write(lambda tx: self._receive(tx, kind, record, peer))

    def _receive(self, tx: Tx, kind: str, record: Json, peer: Peer) -> Registration:
        track = "listing" if kind in ("listing", "delist") else "entry"
        local_id, number = record["local_id"], record["version"]
        digest = sha256_hex({"kind": kind, "record": record})
        same = store.application_of(tx, peer.did, local_id, track, number)
        if same is not None:
            if same.digest != digest:
                raise VersionConflict(version=number)  # R3
            return _registrations(tx, (same,))[0]
        last = store.latest_application(tx, peer.did, local_id, track)
        if last is not None and last.version > number:
            return _registrations(tx, (last,))[0]  # stale: what is newer stays
        if last is not None and last.state in ("submitted", "waiting"):
            store.decide_application(tx, last.id, last.state, state="superseded", reviewer="origin")
        entry = self._entry_for(tx, kind, record, peer)  # as whoever decided `last` left it
        asked = Asked(self._read_terms, self._check_terms, tx.now)
        faults = rules.check(kind, record, asked)
        faults += self._standing(tx, kind, record, peer.did, entry)
        users = [] if faults or kind != "revoke" else revocations.users(tx, entry)
        application_id = tx.new_id()
        store.insert_application(
            tx,
            {
                "id": application_id,
                "track": track,
                "kind": kind,
                "origin_did": peer.did,
                "origin_subject": peer.subject_code,
                "origin_code": peer.code,
                "origin_name": peer.name,
                "origin_address": _address(record) or peer.address,
                "local_id": local_id,
                "version": number,
                "digest": digest,
                "record": record,
                "state": "waiting" if users else "submitted",
                "reasons": [],
                "warnings": [f.to_json() for f in (*faults, *users) if f.weight == "reviewer"],
                "code": entry.code if entry is not None else "",
                "reviewer": "",
                "received_at": tx.now,
                "decided_at": None,
            },
        )
        if not users:
            self._first_review(tx, kind, application_id, faults)
        return self._get(tx, application_id)

    def _entry_for(self, tx: Tx, kind: str, record: Json, peer: Peer) -> store.Row | None:
        """The entry a submission is about; None for a first registration."""
        if kind in _ENTRY_KINDS:
            known = store.registered_of(tx, peer.did, record["local_id"])
            if known is not None and known.kind != kind:
                raise RecordMalformed(why=f"local_id is already a {known.kind}")
            if known is not None and known.state == "withdrawn":
                raise NotInThisState(state="withdrawn", verb="register")
            return known
        entry = store.registered(tx, record.get("code") or "")
        if entry is None:
            raise EntryNotFound(entry=record.get("code", ""))
        if entry.origin_did != peer.did or entry.local_id != record["local_id"]:
            raise NotTheOrigin  # R2
        return entry

    def _first_review(
        self, tx: Tx, kind: str, application_id: str, faults: Sequence[Fault]
    ) -> None:
        """What needs no person: faults go back; taking back one's own needs no consent."""
        grave = tuple(f.to_json() for f in faults if f.weight == "reject")
        mend = tuple(f.to_json() for f in faults if f.weight == "return")
        if grave or mend:
            self._decide(tx, application_id, "reject" if grave else "return", grave + mend, "check")
        elif kind in ("delist", "revoke"):
            self._decide(tx, application_id, "approve", (), "origin")
        elif self._auto and not faults:
            self._decide(tx, application_id, "approve", (), "auto")

    def _standing(
        self, tx: Tx, kind: str, record: Json, origin_did: str, entry: store.Row | None
    ) -> list[Fault]:
        """The checks that need other rows: K7, K8, and the product behind a listing."""
        if kind == "listing" and entry is not None:
            if entry.kind != "product" or entry.state != "registered":
                return [
                    Fault("code", "K7", "code is no registered product", "code 不是已登记的产品")
                ]
            if not can(LISTING, entry.listing_state, "submit"):
                return [Fault("code", "K7", "the product is listed already", "该产品已上架")]
        if kind not in _ENTRY_KINDS:
            return []
        faults = []
        for code in record.get("resource_codes") or ():
            row = store.registered(tx, code)
            if row is None or row.kind != "resource" or row.state != "registered":
                faults.append(
                    Fault(
                        "resource_codes",
                        "K7",
                        f"resource_codes: {code[:65]} is not registered or was withdrawn",
                        f"resource_codes：{code[:65]} 未登记或已撤销",
                    )
                )
            elif row.origin_did != origin_did:  # by what right, a person has to see
                faults.append(
                    Fault(
                        "resource_codes",
                        "K7",
                        f"resource_codes: {code[:65]} is another holder's",
                        f"resource_codes：{code[:65]} 属于另一持有方",
                        "reviewer",
                    )
                )
        if store.same_fingerprint(tx, _fingerprint(kind, record), origin_did) is not None:
            faults.append(
                Fault(
                    "title_zh",
                    "K8",
                    "another holder has an entry of the same name and content",
                    "另一持有方已有同名同内容条目",
                    "reviewer",
                )
            )
        return faults

    # -- review ---------------------------------------------------------------------------------

    def review(
        self, registration_id: str, decision: str, reasons: Sequence[str], reviewer: str
    ) -> Registration:
        """A person's decision: `approve`, `return` or `reject` (the last two need reasons).

        Raises EntryNotFound, NotInThisState, ReviewNotPossible (what held at the submission no
        longer holds, e.g. a resource was withdrawn since).
        """
        if decision not in _DECISIONS or (decision != "approve" and not any(reasons)):
            raise ReviewNotPossible(fields="decision, reasons")
        told = tuple(
            Fault("", "review", text[:1000], text[:1000], decision).to_json()
            for text in list(reasons)[: limits.CATALOG_REASONS_MAX]
            if text
        )

        def verb(tx: Tx) -> Registration:
            if decision == "approve":
                self._recheck(tx, registration_id)
            self._decide(tx, registration_id, decision, told, reviewer)
            return self._get(tx, registration_id)

        return self._db.write(verb)

    def _recheck(self, tx: Tx, registration_id: str) -> None:
        row = self._row(tx, registration_id)
        if row.state != "submitted":
            raise NotInThisState(state=row.state, verb="approve")
        entry = store.registered(tx, row.code) if row.code else None
        if entry is not None and entry.state == "withdrawn":
            raise ReviewNotPossible(fields="withdrawn")
        faults = self._standing(tx, row.kind, row.record, row.origin_did, entry)
        if any(fault.weight != "reviewer" for fault in faults):
            raise ReviewNotPossible(fields=", ".join(sorted({f.field for f in faults})))

    def _decide(
        self,
        tx: Tx,
        registration_id: str,
        decision: str,
        reasons: Reasons,
        reviewer: str,
        expected: str = "submitted",
    ) -> None:
        row = self._row(tx, registration_id)
        # First of all: of two reviewers at once only one gets past this row.
        done = store.decide_application(
            tx,
            registration_id,
            expected,
            state=_DECISIONS[decision],
            reasons=list(reasons),
            reviewer=reviewer[:200],
        )
        if not done:
            raise NotInThisState(state=row.state, verb=decision)
        code = row.code
        freed: Sequence[str] = ()
        if decision == "approve":
            freed = revocations.stood_on(tx, row)
            code = self._carry_out(tx, row)
            store.set_application_code(tx, registration_id, code)
        kind = _EVIDENCE[row.kind] if decision == "approve" else f"catalog.{_DECISIONS[decision]}"
        self._evidence.record(
            tx,
            kind,
            {
                "application": row.id,
                "kind": row.kind,
                "code": code,
                "origin": row.origin_did,
                "version": row.version,
                "digest": row.digest,
                "reviewer": reviewer,
                "reasons": list(reasons),
            },
        )
        tx.emit(
            Reviewed(
                row.id,
                row.kind,
                row.origin_did,
                row.origin_address,
                row.local_id,
                row.version,
                decision,
                code,
                reasons,
            )
        )
        for each in revocations.ready(tx, row.origin_did, freed):
            self._decide(tx, each.id, "approve", (), "origin", "waiting")

    def _carry_out(self, tx: Tx, row: store.Row) -> str:
        """What an approval does; returns the code."""
        if row.kind in _ENTRY_KINDS:
            return self._register(tx, row)
        entry = store.registered(tx, row.code)
        if entry is None:
            raise EntryNotFound(entry=row.code)
        if row.kind == "listing":
            step(LISTING, entry.listing_state, "submit")
            visible = list(row.record.get("visible_to") or ())
            values: dict[str, Any] = {"listing_state": "listed", "visible_to": visible}
        elif row.kind == "delist":
            values = {"listing_state": "delisted"}
        else:
            values = {"state": "withdrawn"}
            if entry.listing_state != "none":
                values["listing_state"] = "delisted"
        self._changed(tx, entry.code, store.set_registered(tx, entry.code, **values))
        return str(entry.code)

    def _register(self, tx: Tx, row: store.Row) -> str:
        values = {
            "origin_address": row.origin_address,
            "origin_code": row.origin_code,
            "version": row.version,
            "record": row.record,
            "fingerprint": _fingerprint(row.kind, row.record),
        }
        if row.kind == "application":
            values["listing_state"] = "listed"  # one review for both
        if row.code:
            self._changed(tx, row.code, store.set_registered(tx, row.code, **values))
            return str(row.code)
        values = {
            "kind": row.kind,
            "origin_did": row.origin_did,
            "local_id": row.local_id,
            "state": "registered",
            "listing_state": "none",
            "visible_to": [],
        } | values
        if row.kind == "application":  # N04 has no codes for programs: its digest names it
            code = str(row.local_id).removeprefix(PROGRAM)
            if not store.insert_registered(tx, {**values, "code": code}):
                raise NotTheOrigin
            self._changed(tx, code, store.head_seq(tx))
            return code
        code_type = ids.CodeType.RESOURCE if row.kind == "resource" else ids.CodeType.PRODUCT
        for _ in range(limits.CODE_CLASHES_MAX):
            # N04 5.4a: the holder's subject, the allocating node's region.
            random = ids.random8(tx.new_id())
            code = ids.allocate(code_type, row.origin_subject, self._region, random).stem
            if store.insert_registered(tx, {**values, "code": code}):
                self._changed(tx, code, store.head_seq(tx))
                return code
        raise Internal(detail="no free code")

    @staticmethod
    def _changed(tx: Tx, code: str, seq: int) -> None:
        tx.emit(EntryChanged(code, seq))

    # -- asking ---------------------------------------------------------------------------------

    def registration(self, registration_id: str) -> Registration:
        """One submission; raises EntryNotFound."""
        return self._db.read(lambda tx: self._get(tx, registration_id))

    def registrations(self, state: str | None = None) -> tuple[Registration, ...]:
        """Submissions, oldest first, at most CATALOG_LIST_MAX; for reviewers."""

        def look(tx: Tx) -> tuple[Registration, ...]:
            return _registrations(tx, store.list_applications(tx, state))

        return self._db.read(look)

    def detail(self, code: str, caller: str = "") -> Detail:
        """A listed product in full. Absent and invisible are the same EntryNotFound."""
        row = self._db.read(lambda tx: store.registered(tx, code))
        if row is None or not is_public(row) or not may_see(row, caller):
            raise EntryNotFound(entry=code[:65])
        return _detail(row)

    def listed_beside(
        self, code: str, back: bool, limit: int, caller: str = ""
    ) -> tuple[Detail, ...]:
        """What `caller` may see, by code: after `code`, or backwards before it.

        Fewer than `limit` only at the end.
        """
        found: list[Detail] = []
        while len(found) < limit:
            rows = self._listed_rows(code, back, limit)
            found += [_detail(row) for row in rows if may_see(row, caller)]
            if len(rows) < limit:
                break
            code = rows[-1].code
        return tuple(found[:limit])

    def _listed_rows(self, code: str, back: bool, limit: int) -> Sequence[store.Row]:
        return self._db.read(lambda tx: store.listed_rows(tx, code, back, limit))

    # -- the origin's standing ------------------------------------------------------------------

    def freeze(self, tx: Tx, origin_did: str) -> int:
        """Hide every listing of a suspended connector (T11 7.2.2d); returns how many."""
        return self._turn(tx, origin_did, "listed", "freeze")

    def thaw(self, tx: Tx, origin_did: str) -> int:
        """Show them again."""
        return self._turn(tx, origin_did, "frozen", "thaw")

    def _turn(self, tx: Tx, origin_did: str, state: str, verb: str) -> int:
        rows = store.listings_of(tx, origin_did, state)
        for row in rows:
            after = step(LISTING, row.listing_state, verb)
            self._changed(tx, row.code, store.set_registered(tx, row.code, listing_state=after))
        return len(rows)

    def _row(self, tx: Tx, registration_id: str) -> store.Row:
        row = store.application(tx, registration_id)
        if row is None:
            raise EntryNotFound(entry=registration_id[:80])
        return row

    def _get(self, tx: Tx, registration_id: str) -> Registration:
        return _registrations(tx, (self._row(tx, registration_id),))[0]


def _detail(row: store.Row) -> Detail:
    return Detail(hit_of(row), tables_of(row.record), row.record.get("policy"), row.record)


def _address(record: Json) -> str:
    """Where the provider says its connector is; "" for what the check is about to return."""
    said: str = record.get("connector_address") or ""
    return said if len(said) <= _ADDRESS_CHARS_MAX else ""


def _fingerprint(kind: str, record: Mapping[str, Any]) -> str:
    """Name and content (K8): what two different holders' entries should not share."""
    names = (record.get("title_zh", ""), record.get("title_en", ""))
    content = {key: record.get(key) for key in ("tables", "rows", "bytes")}
    return sha256_hex({"kind": kind, "names": [n.casefold() for n in names], **content})


def _registrations(tx: Tx, rows: Sequence[store.Row]) -> tuple[Registration, ...]:
    untitled = {row.code for row in rows if row.code and row.kind not in _ENTRY_KINDS}
    about = store.records_of(tx, untitled)
    return tuple(_registration(row, about.get(row.code, row.record)) for row in rows)


def _registration(row: store.Row, about: Mapping[str, Any]) -> Registration:
    return Registration(
        row.id,
        row.kind,
        row.origin_did,
        row.origin_name,
        row.local_id,
        row.version,
        row.state,
        row.code,
        row.record,
        tuple(row.reasons),
        tuple(row.warnings),
        row.received_at,
        row.reviewer,
        Text(about.get("title_zh", ""), about.get("title_en", "")),
    )
