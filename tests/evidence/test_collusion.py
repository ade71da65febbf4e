"""Both parties sign the same lie and log it: the agreement that they signed before refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from evidence.bundle_world import PROVIDER, World, parts, settlement
from yunhe import evidence
from yunhe.kernel.canonical import dumps, sha256_hex
from yunhe.kernel.keys import jws_detached


def found(made: dict[str, Any], world: World) -> set[tuple[str, str]]:
    """Where a bundle does not hold, and by which code."""
    report = evidence.verify_bundle(evidence.make_bundle(made, world.provider), world.trust())
    assert report.ok == (not report.findings)
    return {(finding.pointer, finding.code) for finding in report.findings}


def use_said_by_both(world: World, **lie: Any) -> dict[str, Any]:
    """A life of one use; receipt, meter, statement and payment all say `lie`, signed and logged."""
    made = parts(world, rows=(3,))
    (one,) = made["uses"]
    world.pending.clear()
    for member in ("receipt", "entry"):
        said = one[member] if member == "receipt" else one[member]["body"]
        said |= {name: value for name, value in lie.items() if name in said}
    one["receipt_jws"] = jws_detached(world.consumer, dumps(one["receipt"]))
    one["entry"] = world.record("use.posted", one["entry"]["body"])
    made["settlements"] = [settlement(world, 0, [one])]
    world.prove()
    return made


def test_what_both_say_truly_holds() -> None:
    world = World()
    assert found(use_said_by_both(world), world) == set()


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (
            {"purpose": "marketing"},
            {
                ("/uses/0/receipt/purpose", "PURPOSE"),
                ("/uses/0/entry/body/purpose", "PURPOSE"),
            },
        ),
        (
            {"contract_id": "urn:uuid:another"},
            {("/uses/0/receipt/contract_id", "NOT_EQUAL")},
        ),
        # 2.00 and 3 x 0.05 CNY were agreed.
        (
            {"fee_fen": 214},
            {
                ("/uses/0/entry/body/fee_fen", "FEE"),
                ("/settlements/0/statement/lines/0/fee_fen", "FEE"),
            },
        ),
        ({"rows": -3, "fee_fen": 185}, {("/uses/0/receipt/rows", "FIELD_TYPE")}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_use_that_both_lie_about_is_named(
    lie: dict[str, Any], named: set[tuple[str, str]]
) -> None:
    world = World()
    assert found(use_said_by_both(world, **lie), world) == named


def test_a_total_that_both_sign_must_be_the_sum() -> None:
    world = World()
    made = use_said_by_both(world)
    world.pending.clear()
    (settled,) = made["settlements"]
    settled["statement"]["total_fen"] = 1
    for name, key in (("provider_jws", world.provider), ("consumer_jws", world.consumer)):
        settled[name] = jws_detached(key, dumps(settled["statement"]))
    transfer = settled["entry"]["body"]["transfer"] | {"amount_fen": 1}
    body = {"statement_sha256": sha256_hex(settled["statement"]), "transfer": transfer}
    settled["entry"] = world.record("statement.settled", body)
    world.prove()
    assert found(made, world) == {("/settlements/0/statement/total_fen", "NOT_EQUAL")}


@pytest.mark.parametrize("bent", [{"nbf": 0.5}, {"nbf": "0"}, {"exp": None}, {"exp": 1.8e9 + 0.5}])
def test_a_credential_without_a_plain_period_is_none(bent: dict[str, Any]) -> None:
    """Signed by the root itself: what cannot be compared is no period, and no traceback."""
    world = World()
    made = parts(world, rows=(3,))
    made["credentials"][0] = world.credential(PROVIDER, world.provider, **bent)
    assert ("/credentials/0", "CREDENTIAL_REFUSED") in found(made, world)
