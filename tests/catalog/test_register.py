"""The node's register: only the origin changes an entry, versions rise, nothing half is stored."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.catalogs import (
    OTHER_SUBJECT,
    PROVIDER,
    STRANGER,
    evidence,
    listed,
    peer,
    read_terms,
    side,
)
from catalog.test_rules import BASE, PRODUCT
from yunhe import catalog
from yunhe.catalog import Register, store
from yunhe.kernel import ids
from yunhe.kernel.db import Database


def register_of(db: Database, folder: Path, review: str = "auto") -> Register:
    return Register(db, evidence(db, folder / "keys"), read_terms, "3301", review)


def resource(local_id: str = "r1", version: int = 1, **changes: Any) -> dict[str, Any]:
    return {**BASE, "local_id": local_id, "version": version, **changes}


def test_a_code_is_the_holders_and_the_nodes(any_db: Database, tmp_path: Path) -> None:
    register = register_of(any_db, tmp_path)
    registration = register.receive("resource", resource(), peer())
    code = ids.parse(registration.code)
    assert code.type is ids.CodeType.RESOURCE
    assert (code.subject, code.region) == (peer().subject_code, "3301")


def test_a_repeat_changes_nothing(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    first = register.receive("resource", resource(), peer())
    assert register.receive("resource", resource(), peer()) == first
    assert len(register.registrations()) == 1
    with pytest.raises(catalog.VersionConflict):
        register.receive("resource", resource(title_zh="另一名称"), peer())


def test_a_stale_version_is_dropped(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    register.receive("resource", resource(version=1), peer())
    new = register.receive("resource", resource(version=3, title_zh="新"), peer())
    assert register.receive("resource", resource(version=2), peer()) == new
    assert [r.version for r in register.registrations()] == [1, 3]


def test_only_a_member_may_submit(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    with pytest.raises(catalog.NotAMember):
        register.receive("resource", resource(), peer(member=False))
    with pytest.raises(catalog.NotTheOrigin):  # K2: in another's name
        register.receive("resource", resource(), peer(STRANGER, OTHER_SUBJECT))
    assert register.registrations() == ()


def test_a_foreign_party_cannot_touch_an_entry(db: Database, tmp_path: Path) -> None:
    both = side(db, tmp_path)
    product = listed(both, tmp_path)
    thief = peer(STRANGER, OTHER_SUBJECT)
    before = both.register.registrations()
    for kind in ("delist", "revoke", "listing"):
        for local_id in (product.id, "mine"):
            record = {"local_id": local_id, "version": 9, "code": product.code}
            with pytest.raises(catalog.NotTheOrigin):
                both.register.receive(kind, record, thief)
    # The same local id from another origin is another entry.
    theirs = resource(product.id, provider_did=STRANGER, provider_subject=OTHER_SUBJECT)
    other = both.register.receive("resource", theirs, thief)
    assert other.code != product.code
    kept = {r.id: r for r in both.register.registrations()}
    assert all(kept[r.id] == r for r in before)
    assert both.register.search("肝病").total == 1


@pytest.mark.parametrize("kind", ["resource", "product", "listing", "delist", "other", ""])
@pytest.mark.parametrize("body", [None, 3, [], {}, {"local_id": {}}, {**BASE, "version": 1.5}])
def test_malformed_bodies_store_nothing(db: Database, tmp_path: Path, kind: str, body: Any) -> None:
    register = register_of(db, tmp_path)
    with pytest.raises(catalog.RecordMalformed):
        register.receive(kind, body, peer())
    assert register.registrations() == ()
    assert register._db.read(lambda tx: tx.scalar(_count())) == 0


def _count() -> Any:
    return sa.select(sa.func.count()).select_from(store.register)


def test_a_failing_check_returns_with_reasons_per_field(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    returned = register.receive("resource", resource(source_type="003", contact=""), peer())
    assert returned.state == "returned"
    assert {(r["field"], r["rule"]) for r in returned.reasons} == {
        ("contact", "K1"),
        ("source_proof", "K4"),
    }
    assert all(reason["zh"] and reason["en"] for reason in returned.reasons)
    refused = register.receive("resource", resource("r2", data_grade="core"), peer())
    assert refused.state == "rejected"
    mended = register.receive("resource", resource(version=2), peer())
    assert mended.state == "registered"


def test_what_no_column_holds_is_returned_too(any_db: Database, tmp_path: Path) -> None:
    register = register_of(any_db, tmp_path)
    record = {**PRODUCT, "local_id": "p1", "connector_address": "https://" + "x" * 2000}
    returned = register.receive("product", record, peer())
    assert returned.state == "returned"
    assert ("connector_address", "K1") in {(r["field"], r["rule"]) for r in returned.reasons}


@pytest.mark.parametrize("value", [7, None, ["patients.age"], {"a": 1}])
def test_a_policy_that_lists_no_texts_is_returned(db: Database, tmp_path: Path, value: Any) -> None:
    register = register_of(db, tmp_path)
    policy = copy.deepcopy(PRODUCT["policy"])
    for constraint in policy["rules"][0]["constraints"]:
        if isinstance(constraint["value"], list):
            constraint["value"] = [value]
    returned = register.receive("product", {**PRODUCT, "local_id": "p1", "policy": policy}, peer())
    assert returned.state == "returned"
    assert "policy" in {r["field"] for r in returned.reasons}


def test_a_product_needs_registered_resources(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    record = {**PRODUCT, "local_id": "p1"}
    assert register.receive("product", record, peer()).reasons[0]["rule"] == "K7"
    code = register.receive("resource", resource(), peer()).code
    record = {**record, "version": 2, "resource_codes": [code]}
    assert register.receive("product", record, peer()).state == "registered"
    used = register.receive("revoke", {"local_id": "r1", "version": 2, "code": code}, peer())
    assert used.state == "waiting"


def test_a_revocation_waits_for_the_products_on_its_resource(
    any_db: Database, tmp_path: Path
) -> None:
    register = register_of(any_db, tmp_path)
    told: list[Any] = []
    any_db.events.on(catalog.Reviewed, lambda tx, event: told.append(event))
    code = register.receive("resource", resource(), peer()).code
    record = {**PRODUCT, "resource_codes": [code]}
    first, second = (register.receive("product", {**record, "local_id": p}, peer()) for p in "pq")
    told.clear()

    taken = revocation("r1", 2, code)
    waiting = register.receive("revoke", taken, peer())
    assert (waiting.state, waiting.reasons, told) == ("waiting", (), [])
    assert [w["en"] for w in waiting.warnings] == [
        f"waits for the withdrawal of {c}" for c in sorted((first.code, second.code))
    ]
    assert register.receive("revoke", taken, peer()) == waiting
    for decision in ("approve", "return", "reject"):  # no person decides it
        with pytest.raises(catalog.NotInThisState):
            register.review(waiting.id, decision, ["why"], "wang")

    register.receive("revoke", revocation("p", 2, first.code), peer())
    assert register.registration(waiting.id).state == "waiting"
    register.receive("revoke", revocation("q", 2, second.code), peer())
    done = register.registration(waiting.id)
    assert (done.state, done.reviewer) == ("registered", "origin")
    assert [(e.local_id, e.decision) for e in told] == [
        ("p", "approve"), ("q", "approve"), ("r1", "approve"),
    ]  # fmt: skip
    assert standing(any_db) == {"p": "withdrawn", "q": "withdrawn", "r1": "withdrawn"}
    assert register.receive("revoke", taken, peer()) == done
    assert register.receive("revoke", revocation("q", 2, second.code), peer()).version == 2
    assert len(told) == 3


def test_a_waiting_revocation_ends_with_a_version_that_lets_go(
    db: Database, tmp_path: Path
) -> None:
    register = register_of(db, tmp_path)
    codes = [register.receive("resource", resource(r), peer()).code for r in ("r1", "r2")]
    record = {**PRODUCT, "local_id": "p", "resource_codes": codes}
    register.receive("product", record, peer())
    gone = register.receive("revoke", revocation("r1", 2, codes[0]), peer())
    kept = register.receive("revoke", revocation("r2", 2, codes[1]), peer())
    register.receive("product", {**record, "version": 2, "resource_codes": codes[1:]}, peer())
    assert register.registration(gone.id).state == "registered"
    assert register.registration(kept.id).state == "waiting"
    # The origin may think again: what is newer takes its place.
    register.receive("resource", resource("r2", 3), peer())
    assert register.registration(kept.id).state == "superseded"
    assert standing(db) == {"p": "registered", "r1": "withdrawn", "r2": "registered"}


def test_two_revocations_at_once_both_end_withdrawn(any_db: Database, tmp_path: Path) -> None:
    register = register_of(any_db, tmp_path)
    for n in range(8):
        code = register.receive("resource", resource(f"r{n}"), peer()).code
        record = {**PRODUCT, "local_id": f"p{n}", "resource_codes": [code]}
        product = register.receive("product", record, peer())
        both = [revocation(f"p{n}", 2, product.code), revocation(f"r{n}", 2, code)]
        threads = [
            threading.Thread(target=register.receive, args=("revoke", each, peer()))
            for each in both
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(standing(any_db).values()) == {"withdrawn"}
    assert register.registrations("waiting") == ()


def revocation(local_id: str, version: int, code: str) -> dict[str, Any]:
    return {"local_id": local_id, "version": version, "code": code}


def standing(db: Database) -> dict[str, str]:
    """The states of all entries of the register."""
    query = sa.select(store.register.c.local_id, store.register.c.state)
    return {row.local_id: row.state for row in db.read(lambda tx: tx.all(query))}


def test_a_product_of_anothers_resource_waits_for_a_person(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    code = register.receive("resource", resource(), peer()).code
    record = {**PRODUCT, "local_id": "x", "resource_codes": [code]}
    record |= {"provider_did": STRANGER, "provider_subject": OTHER_SUBJECT}
    claimed = register.receive("product", record, peer(STRANGER, OTHER_SUBJECT))
    assert claimed.state == "submitted"
    assert [(w["rule"], w["field"]) for w in claimed.warnings] == [("K7", "resource_codes")]


def test_an_approval_asks_again(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    code = register.receive("resource", resource(), peer()).code
    register._auto = False
    record = {**PRODUCT, "local_id": "p1", "resource_codes": [code]}
    product = register.receive("product", record, peer())
    register.receive("revoke", {"local_id": "r1", "version": 2, "code": code}, peer())
    with pytest.raises(catalog.ReviewNotPossible):
        register.review(product.id, "approve", [], "wang")
    with pytest.raises(catalog.ReviewNotPossible):
        register.review(product.id, "return", [], "wang")  # a return gives reasons
    assert register.review(product.id, "reject", ["no"], "wang").state == "rejected"
    with pytest.raises(catalog.NotInThisState):
        register.review(product.id, "approve", [], "wang")


def test_a_look_alike_of_another_holder_waits_for_a_person(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path)
    register.receive("resource", resource(), peer())
    theirs = resource("x", provider_did=STRANGER, provider_subject=OTHER_SUBJECT)
    copy = register.receive("resource", theirs, peer(STRANGER, OTHER_SUBJECT))
    assert copy.state == "submitted"
    assert copy.warnings[0]["rule"] == "K8"
    assert register.review(copy.id, "approve", [], "wang").state == "registered"


def test_a_newer_submission_takes_the_place_of_a_waiting_one(db: Database, tmp_path: Path) -> None:
    register = register_of(db, tmp_path, review="manual")
    first = register.receive("resource", resource(), peer())
    second = register.receive("resource", resource(version=2, title_zh="新"), peer())
    with pytest.raises(catalog.NotInThisState):
        register.review(first.id, "approve", [], "wang")
    register.review(second.id, "approve", [], "wang")
    assert [r.state for r in register.registrations()] == ["superseded", "registered"]


def test_a_withdrawn_entry_stays_a_tombstone(db: Database, tmp_path: Path) -> None:
    both = side(db, tmp_path)
    product = listed(both, tmp_path)
    both.holder.withdraw(product.id)
    both.carry()
    record = {"local_id": product.id, "version": 9, "code": product.code, "visible_to": []}
    again = both.register.receive("listing", record, peer())
    assert again.state == "returned"
    with pytest.raises(catalog.NotInThisState):
        both.register.receive("product", {**PRODUCT, "local_id": product.id, "version": 9}, peer())


def test_a_reviewer_sees_what_a_listing_or_a_withdrawal_is_about(
    db: Database, tmp_path: Path
) -> None:
    both = side(db, tmp_path)
    product = listed(both, tmp_path)
    both.holder.withdraw(product.id)
    both.carry()
    found = {each.kind: each.title for each in both.register.registrations()}
    assert {"resource", "product", "listing", "delist", "revoke"} == set(found)
    for kind in ("listing", "delist", "revoke"):
        assert found[kind] == product.title
        assert found[kind].zh


def test_a_suspended_connectors_listings_freeze(db: Database, tmp_path: Path) -> None:
    both = side(db, tmp_path)
    listed(both, tmp_path)
    assert db.write(lambda tx: both.register.freeze(tx, PROVIDER)) == 1
    assert both.register.search("liver").total == 0
    assert db.write(lambda tx: both.register.thaw(tx, PROVIDER)) == 1
    assert both.register.search("liver").total == 1


def test_two_reviewers_one_decision(any_db: Database, tmp_path: Path) -> None:
    register = register_of(any_db, tmp_path, review="manual")
    waiting = register.receive("resource", resource(), peer())
    outcomes: list[str] = []

    def review() -> None:
        try:
            outcomes.append(register.review(waiting.id, "approve", [], "wang").state)
        except catalog.NotInThisState:
            outcomes.append("too late")

    threads = [threading.Thread(target=review) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["registered"] + ["too late"] * 5
