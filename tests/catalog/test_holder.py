"""The life of an entry at its holder: drafted, returned, mended, registered, listed, withdrawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.catalogs import (
    Side,
    listed,
    patients,
    peer,
    policy,
    product_form,
    resource_form,
    side,
)
from yunhe import catalog, contracts, sources
from yunhe.catalog import Metadata, ProductForm, TableForm, Text
from yunhe.kernel import ids
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database


@pytest.fixture
def both(db: Database, tmp_path: Path) -> Side:
    return side(db, tmp_path)


def test_life_of_a_product(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)

    assert product.listed
    assert product.shown_state == "listed"
    assert ids.parse(product.code).type is ids.CodeType.PRODUCT
    assert ids.parse(product.code).region == "3301"
    assert [t.name for t in product.tables] == ["patients"]
    assert product.tables[0].entity_key == "id"
    assert {c.name: c.type for c in product.tables[0].columns}["age"] == "BIGINT"
    assert product.tables[0].paths[0].endswith("patients.parquet")
    assert both.holder.listed_beside() == ((product.code, product.form),)
    assert both.holder.product(product.code) == product
    kinds = [entry.kind for entry in both.log.find()]
    for kind in ("resource_registered", "product_registered", "listed"):
        assert kinds.count(f"catalog.{kind}") == 2  # one at the holder, one at the node

    both.holder.withdraw(product.id, "superseded")
    assert both.holder.listed_beside() == ()
    assert both.register.search("肝病").total == 1  # the node has not heard yet
    both.carry()
    assert both.register.search("肝病").total == 0
    with pytest.raises(catalog.EntryNotFound):
        both.register.detail(product.code)
    with pytest.raises(catalog.NotInThisState):
        both.holder.list_product(product.id)


def test_what_never_leaves_the_node(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    record = both.register.detail(product.code).record
    text = str(record)
    assert str(tmp_path) not in text
    assert "uses_max" not in text  # the negotiation bounds
    assert record["tables"] == [
        {
            "name": "patients",
            "entity_key": "",
            "columns": [{"name": "age", "type": "BIGINT"}],
            "rows": 200,
        }
    ]


def test_a_returned_resource_is_mended_and_resubmitted(db: Database, tmp_path: Path) -> None:
    both = side(db, tmp_path, review="manual")
    form = resource_form(patients(tmp_path))
    resource = both.holder.add_resource(form, by="li")
    both.holder.submit_resource(resource.id)
    [first] = both.carry()
    assert first.state == "submitted"
    both.register.review(first.id, "return", ["the description says too little"], "wang")
    both.settle()

    returned = both.holder.resource(resource.id)
    assert (returned.state, returned.code) == ("returned", "")
    assert returned.reasons[0]["en"] == "the description says too little"

    mended = replace(form, description=Text("更详细的说明", "Says more"))
    both.holder.edit_resource(resource.id, mended, by="li")
    both.holder.submit_resource(resource.id)
    [second] = both.carry()
    assert second.version == 2
    both.register.review(second.id, "approve", [], "wang")
    both.settle()

    registered = both.holder.resource(resource.id)
    assert registered.state == "registered"
    assert registered.code.startswith("7")
    assert [v.version for v in both.holder.versions(resource.id)] == [1, 2]
    assert both.holder.versions(resource.id)[0].form["description"]["en"].startswith("Follow-up")
    states = [r.state for r in both.register.registrations()]
    assert states == ["returned", "registered"]


def test_an_update_keeps_the_old_version_public_while_reviewed(
    db: Database, tmp_path: Path
) -> None:
    both = side(db, tmp_path)
    product = listed(both, tmp_path)
    form = both.holder.working_form(product.id)
    both.register._auto = False
    both.holder.edit_product(product.id, replace(form, title=Text("新名称", "New name")))
    assert both.holder.product(product.id).title.en == "Liver follow-up data set"
    both.holder.submit_product(product.id)
    [update] = both.carry()
    assert both.holder.product(product.id).state == "reviewing"
    assert both.register.detail(product.code).hit.title.en == "Liver follow-up data set"

    both.register.review(update.id, "approve", [], "wang")
    both.settle()
    assert both.holder.product(product.id).title.en == "New name"
    assert both.holder.product(product.id).listed
    assert both.register.detail(product.code).hit.title.en == "New name"
    assert both.register.detail(product.code).hit.code == product.code


def test_a_stale_or_repeated_decision_changes_nothing(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    before = both.holder.product(product.id)
    told = ("product", product.id, 1, "reject", "", ())
    assert not both.db.write(lambda tx: both.holder.on_reviewed(tx, *told))
    assert not both.db.write(
        lambda tx: both.holder.on_reviewed(tx, "listing", product.id, 9, "approve", "", ())
    )
    assert not both.db.write(
        lambda tx: both.holder.on_reviewed(tx, "product", "nothing", 1, "approve", "6", ())
    )
    assert both.holder.product(product.id) == before


def test_an_entity_key_must_be_a_column(both: Side, tmp_path: Path) -> None:
    form = resource_form(
        patients(tmp_path),
        tables=(TableForm("patients", (str(tmp_path / "patients.parquet"),), "patient_no"),),
    )
    with pytest.raises(catalog.FormNotValid) as refused:
        both.holder.add_resource(form)
    assert refused.value.facts["faults"][0]["field"] == "tables.patients.entity_key"
    assert both.holder.resources() == ()


def test_level_005_is_refused_and_004_is_for_a_person(both: Side, tmp_path: Path) -> None:
    form = resource_form(patients(tmp_path), metadata=Metadata(security_level="005"))
    with pytest.raises(catalog.FormNotValid) as refused:
        both.holder.add_resource(form)
    assert refused.value.facts["faults"][0]["rule"] == "K5"

    form = replace(form, metadata=Metadata(security_level="004"))
    waiting = both.holder.submit_resource(both.holder.add_resource(form).id)
    [registration] = both.carry()
    assert registration.state == "submitted"  # although the node reviews automatically
    assert registration.warnings[0]["rule"] == "K5"
    assert waiting.reasons == registration.warnings  # who waits sees why it takes a person


def test_a_policy_may_only_name_columns_there_are(both: Side, tmp_path: Path) -> None:
    resource = both.holder.add_resource(resource_form(patients(tmp_path)))
    with pytest.raises(catalog.FormNotValid) as refused:
        both.holder.add_product(product_form(resource.id, policy=policy("patients.salary")))
    [fault] = [each for each in refused.value.facts["faults"] if each["field"] == "policy.columns"]
    assert fault["rule"] == "K10"
    assert "no column 'patients.salary'" in fault["en"]
    assert "没有列 'patients.salary'" in fault["zh"]
    with pytest.raises(catalog.FormNotValid):
        both.holder.add_product(product_form(resource.id, policy={"rules": "free"}))


@pytest.mark.parametrize(
    ("change", "part", "said"),
    [
        ({"row_filters": (("patients", "agee >= 18"),)}, "row_filters", "nearest: age"),
        ({"row_filters": (("patient", "age >= 18"),)}, "row_filters", "nearest: patients"),
        ({"row_filters": (("patients", "name >= 18"),)}, "row_filters", "different kinds"),
        ({"masks": (contracts.Mask("patients.agee", "null"),)}, "masks", "patients.agee"),
        ({"masks": (contracts.Mask("patients.name", "year"),)}, "masks", "VARCHAR"),
        ({"columns": ("patients.agee",)}, "columns", "patients.agee"),
        ({"expires_at": datetime(2001, 1, 1, tzinfo=UTC)}, "expires_at", "past"),
        ({"purposes": ()}, "purposes", "no purpose"),
    ],
)
def test_an_unusable_product_is_refused_naming_part_and_reason(
    both: Side, tmp_path: Path, change: dict[str, Any], part: str, said: str
) -> None:
    resource = both.holder.add_resource(resource_form(patients(tmp_path)))
    with pytest.raises(catalog.FormNotValid) as refused:
        both.holder.add_product(product_form(resource.id, policy=policy(**change)))
    faults = {f["field"]: f for f in refused.value.facts["faults"]}
    assert said in faults[f"policy.{part}"]["en"]
    good = both.holder.add_product(product_form(resource.id))
    with pytest.raises(catalog.FormNotValid):
        both.holder.edit_product(good.id, product_form(resource.id, policy=policy(**change)))


def test_terms_that_no_longer_hold_are_refused_at_the_submission(
    both: Side, tmp_path: Path, clock: ManualClock
) -> None:
    resource = both.holder.add_resource(resource_form(patients(tmp_path)))
    soon = policy(expires_at=clock.now() + timedelta(seconds=60))
    product = both.holder.add_product(product_form(resource.id, policy=soon))
    clock.advance(61)
    with pytest.raises(catalog.FormNotValid) as refused:
        both.holder.submit_product(product.id)
    assert "policy.expires_at" in {f["field"] for f in refused.value.facts["faults"]}


def test_files_outside_the_roots_are_refused(
    both: Side, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = patients(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(sources.PathNotAllowed):
        both.holder.add_resource(resource_form(elsewhere))
    with pytest.raises(sources.PathNotAllowed):
        both.holder.add_resource(resource_form(tmp_path / ".." / elsewhere.parent.name))


def test_order_of_the_steps_is_kept(both: Side, tmp_path: Path) -> None:
    resource = both.holder.add_resource(resource_form(patients(tmp_path)))
    product = both.holder.add_product(product_form(resource.id))
    with pytest.raises(catalog.FormNotValid):  # its resource has no code yet
        both.holder.submit_product(product.id)
    with pytest.raises(catalog.NotInThisState):
        both.holder.list_product(product.id)
    both.holder.submit_resource(resource.id)
    with pytest.raises(catalog.NotInThisState):
        both.holder.submit_resource(resource.id)
    with pytest.raises(catalog.NotInThisState):
        both.holder.edit_resource(resource.id, resource_form(patients(tmp_path)))


def test_a_used_resource_cannot_be_withdrawn(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    [resource] = both.holder.resources()
    with pytest.raises(catalog.ResourceInUse):
        both.holder.withdraw(resource.id)
    both.holder.withdraw(product.id)
    assert both.holder.withdraw(resource.id).state == "withdrawn"
    assert [r.state for r in both.carry()] == ["registered"] * 3  # delist, revoke, revoke
    repeat = {"local_id": resource.id, "version": 2, "code": resource.code, "reason": ""}
    assert both.register.receive("revoke", repeat, peer()).state == "registered"


def test_a_listing_can_be_taken_back_and_made_again(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    both.holder.delist(product.id)
    both.carry()
    assert both.register.search("liver").total == 0
    assert both.holder.product(product.id).shown_state == "delisted"
    both.holder.list_product(product.id)
    both.carry()
    both.settle()
    assert both.register.search("liver").total == 1
    assert both.holder.product(product.id).listed


def test_what_is_on_offer_is_read_once_a_version_and_never_when_it_is_not(
    db: Database, tmp_path: Path
) -> None:
    both, seen = side(db, tmp_path), []

    def title(form: ProductForm) -> str:
        seen.append(form.title.en)
        return form.title.en

    product = listed(both, tmp_path)
    for _ in range(3):
        assert both.holder.on_offer(product.code, title) == "Liver follow-up data set"
    assert len(seen) == 1
    assert both.holder.on_offer(product.id, title) is None
    assert both.holder.on_offer("no such code", title) is None
    form = both.holder.working_form(product.id)
    both.holder.edit_product(product.id, replace(form, title=Text("新名称", "New name")))
    assert both.holder.on_offer(product.code, title) == "Liver follow-up data set"
    both.holder.submit_product(product.id)
    both.carry()
    both.settle()
    assert both.holder.on_offer(product.code, title) == "New name"
    both.holder.delist(product.id)
    assert both.holder.on_offer(product.code, title) is None
    assert seen == ["Liver follow-up data set", "New name"]
