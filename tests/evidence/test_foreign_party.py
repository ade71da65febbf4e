"""Bundles with a connector that is not ours: ODRL as transmitted, and perhaps no signature."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from evidence.bundle_world import CONSUMER, PROVIDER, World, key, parts, recompute
from yunhe import evidence
from yunhe.evidence.attacks import bundle_at, other, parent_of
from yunhe.kernel.canonical import dumps
from yunhe.kernel.keys import jws_detached

RECORDED = Path(__file__).parent / "fixtures" / "edc_agreement.json"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def recorded(**changed: Any) -> dict[str, Any]:
    """An agreement in the words of Eclipse EDC, without our member."""
    return {**json.loads(RECORDED.read_text(encoding="utf-8")), **changed}


def made(world: World, signed: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    assert "urn:yunhe:policy" not in signed
    return copy.deepcopy(evidence.make_bundle(whole, world.provider))


@pytest.fixture(scope="module")
def signed(world: World) -> dict[str, Any]:
    """The foreign node signs; only the member of this house is missing."""
    return made(world, recorded(), parts(world, signed=recorded()))


@pytest.fixture(scope="module")
def unsigned(world: World) -> dict[str, Any]:
    """The consumer is EDC: it signs nothing, has no credential of our root, and no receipts."""
    whole = parts(world, rows=(), signed=recorded())
    whole["contract"]["consumer_jws"] = ""
    whole["credentials"][1] = ""
    return made(world, recorded(), whole)


def accepting(world: World) -> dict[str, Any]:
    trust = world.trust() | {"unsigned": [CONSUMER]}
    del trust["parties"][CONSUMER]
    return trust


def test_prices_and_bounds_are_read_from_the_odrl(signed: dict[str, Any], world: World) -> None:
    report = evidence.verify_bundle(signed, world.trust())
    assert report.findings == ()
    assert (report.facts["rows"], report.facts["total_fen"]) == (16, 680)
    assert report.facts["signatures"] == "both"


def test_a_party_that_signs_nothing_is_for_the_verifier_to_accept(
    unsigned: dict[str, Any], world: World
) -> None:
    refused = evidence.verify_bundle(unsigned, world.trust())
    assert {"SIGNATURE_ABSENT", "CREDENTIAL_REFUSED"} <= {f.code for f in refused.findings}
    report = evidence.verify_bundle(unsigned, accepting(world))
    assert report.findings == ()
    assert "NOT_SIGNED" in {notice.code for notice in report.notices}
    assert report.facts["signatures"] == "transport"


def test_who_is_accepted_unsigned_signs_no_receipt_either(
    signed: dict[str, Any], world: World
) -> None:
    bundle = copy.deepcopy(signed)
    bundle["contract"]["consumer_jws"] = ""
    recompute(bundle, world)
    found = evidence.verify_bundle(bundle, accepting(world)).findings
    assert {"/uses/0/receipt_jws", "/settlements/0/consumer_jws"} <= {f.pointer for f in found}


@pytest.mark.parametrize("which", ["signed", "unsigned"])
def test_every_forgery_of_a_stranger_is_named(
    which: str, request: pytest.FixtureRequest, world: World
) -> None:
    bundle = request.getfixturevalue(which)
    trust = world.trust() if which == "signed" else accepting(world)
    tried = 0
    for attack in evidence.attacks(bundle, key()):
        found = {f.pointer for f in evidence.verify_bundle(attack.bundle, trust).findings}
        assert attack.pointer in found, (attack.how, attack.pointer)
        tried += 1
    assert tried > 100


@pytest.mark.parametrize("which", ["signed", "unsigned"])
def test_each_changed_field_of_the_agreement_is_named_though_the_exporter_signs_the_manifest(
    which: str, request: pytest.FixtureRequest, world: World
) -> None:
    good = request.getfixturevalue(which)
    trust = world.trust() if which == "signed" else accepting(world)
    pointers = [
        pointer
        for pointer in evidence.fields.leaves(good, 10**6, 64)
        if pointer.startswith("/contract/agreement/")
    ]
    assert len(pointers) > 30
    for pointer in pointers:
        bundle = copy.deepcopy(good)
        parent, last = parent_of(bundle, pointer)
        parent[last] = other(bundle_at(good, pointer))
        recompute(bundle, world)
        found = evidence.verify_bundle(bundle, trust).findings
        assert any(f.pointer.startswith("/contract") for f in found), pointer


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"permission": []}, "AGREEMENT_UNREADABLE"),
        ({"permission": [3]}, "FIELD_TYPE"),
        ({"permission": [{"action": 3}]}, "AGREEMENT_UNREADABLE"),
        ({"permission": [{"action": "use", "constraint": [{"leftOperand": "odrl:count",
          "operator": "lteq", "rightOperand": True}]}]}, "AGREEMENT_UNREADABLE"),
        ({"permission": [{"action": "use", "duty": {"action": "odrl:compensate"}}]},
         "AGREEMENT_UNREADABLE"),
        ({"permission": [{"action": "use", "duty": {"action": "odrl:compensate", "constraint": [
          {"leftOperand": "odrl:payAmount", "operator": "eq", "rightOperand": "1.00",
           "odrl:unit": {"@id": "urn:yunhe:odrl:currency:USD"}},
          {"leftOperand": "urn:yunhe:odrl:payPer", "operator": "eq", "rightOperand": "use"}]}}]},
         "AGREEMENT_UNREADABLE"),
    ],
)  # fmt: skip
def test_an_agreement_whose_money_cannot_be_read_is_a_finding_not_a_free_use(
    change: dict[str, Any], code: str, world: World
) -> None:
    document = {**recorded(), "prohibition": [], **change}
    bundle = made(world, document, parts(world, rows=(), signed=document))
    found = evidence.verify_bundle(bundle, world.trust()).findings
    assert code in {finding.code for finding in found}
    assert all(f.pointer.startswith("/contract/agreement") for f in found)
    assert all(f.en and f.zh for f in found)


def test_a_count_beside_a_window_is_no_total(world: World) -> None:
    document = recorded()
    window = {"leftOperand": "urn:yunhe:odrl:timeWindow", "operator": "eq", "rightOperand": "P1D"}
    [rule] = document["permission"]
    rule["constraint"][1]["rightOperand"] = "1"
    rule["constraint"].append(window)
    bundle = made(world, document, parts(world, signed=document))
    assert evidence.verify_bundle(bundle, world.trust()).ok


def test_the_provider_may_be_the_foreign_one(world: World) -> None:
    document = recorded()
    whole = parts(world, rows=(), signed=document)
    whole["exporter"] = CONSUMER
    whole["contract"]["provider_jws"] = ""
    whole["credentials"][0] = ""
    whole["contract"]["consumer_jws"] = jws_detached(world.consumer, dumps(document))
    bundle = evidence.make_bundle(whole, world.consumer)
    trust = world.trust() | {"unsigned": [PROVIDER]}
    assert evidence.verify_bundle(bundle, trust).ok
    assert not evidence.verify_bundle(bundle, trust | {"unsigned": [CONSUMER]}).ok
