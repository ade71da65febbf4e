"""A bundle outlives the keys and credentials of its parties: rotation, renewal, several pins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from evidence.bundle_world import AT, CONSUMER, PROVIDER, World, key, parts, use
from yunhe import evidence
from yunhe.exchange.proof import _vouching
from yunhe.identity import credentials
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import SigningKey, jws_detached

LATER = {"nbf": 1775000000, "exp": 1782000000}
THEN = datetime.fromisoformat(AT).astimezone(UTC)


@pytest.fixture
def world() -> World:
    return World()


def found(bundle: dict[str, Any], trust: dict[str, Any]) -> set[tuple[str, str]]:
    return {(f.pointer, f.code) for f in evidence.verify_bundle(bundle, trust).findings}


def unpinned(world: World) -> dict[str, Any]:
    return {**world.trust(), "parties": {}}


def rotated(world: World, new: SigningKey, **changed: Any) -> dict[str, Any]:
    """The consumer signed the contract and two receipts, then took `new` for the third."""
    made = parts(world, rows=(3, 10), **changed)
    after = World(world.root, world.provider, new, world.log, world.entries)
    made["uses"].append(use(after, 2, 5))
    after.prove()
    made["credentials"].append(world.credential(CONSUMER, new, **LATER))
    return made


def test_what_was_signed_with_a_later_key_holds_by_its_credential(world: World) -> None:
    made = rotated(world, key())
    assert found(evidence.make_bundle(made, world.provider), unpinned(world)) == set()
    made["credentials"].pop()
    bundle = evidence.make_bundle(made, world.provider)
    assert found(bundle, unpinned(world)) == {("/uses/2/receipt_jws", "SIGNATURE")}


def test_the_exporters_present_key_may_be_a_later_one(world: World) -> None:
    new = key()
    made = parts(world)
    made["credentials"].append(world.credential(PROVIDER, new, **LATER))
    assert found(evidence.make_bundle(made, new), unpinned(world)) == set()
    made["credentials"].pop()
    codes = {code for _, code in found(evidence.make_bundle(made, new), unpinned(world))}
    assert codes == {"MANIFEST_SIGNATURE"}


def test_a_later_key_signs_no_contract(world: World) -> None:
    new = key()
    made = rotated(world, new)
    made["contract"]["consumer_jws"] = jws_detached(new, dumps(made["contract"]["agreement"]))
    bundle = evidence.make_bundle(made, world.provider)
    assert found(bundle, unpinned(world)) == {("/contract/consumer_jws", "SIGNATURE")}


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "did:web:other.example"},
        {"iss": "did:web:other.example"},
        {"nbf": 1700000000, "exp": 1767225601},  # it had ended before the contract
        {"vc": None},
        {"cnf": None},
    ],
)
def test_a_later_credential_that_does_not_hold_is_named(
    world: World, changed: dict[str, Any]
) -> None:
    made = parts(world)
    made["credentials"].append(world.credential(CONSUMER, key(), **(LATER | changed)))
    bundle = evidence.make_bundle(made, world.provider)
    assert {at for at, _ in found(bundle, unpinned(world))} == {"/credentials/2"}


def test_credentials_are_bounded(world: World) -> None:
    made = parts(world)
    more = world.credential(CONSUMER, world.consumer, **LATER)
    made["credentials"] += [more] * limits.BUNDLE_CREDENTIALS_MAX
    bundle = evidence.make_bundle(made, world.provider)
    assert found(bundle, unpinned(world)) == {("/credentials", "CREDENTIAL_REFUSED")}


def test_a_party_may_be_pinned_by_several_keys(world: World) -> None:
    new = key()
    bundle = evidence.make_bundle(rotated(world, new), world.provider)
    trust = world.trust()
    trust["parties"][CONSUMER] = [new.public_jwk(), world.consumer.public_jwk()]
    assert found(bundle, trust) == set()
    trust["parties"][CONSUMER] = [world.consumer.public_jwk()]
    assert found(bundle, trust) == {
        ("/credentials/2", "CREDENTIAL_REFUSED"),
        ("/uses/2/receipt_jws", "SIGNATURE"),
    }


@pytest.mark.parametrize("said", [[], [{}], [[]], "x"])
def test_a_list_of_pins_that_is_none_is_refused(world: World, said: Any) -> None:
    trust = world.trust()
    trust["parties"][CONSUMER] = said
    with pytest.raises(YunheError) as refused:
        evidence.verify_bundle({}, trust)
    assert refused.value.code == "BAD_TRUST"


# -- which credentials a bundle takes along ---------------------------------------------------


def vouching(world: World, held: list[str], holder: SigningKey | None = None) -> list[int]:
    document = b"the agreement"
    compact = jws_detached(holder or world.consumer, document)
    known = [credentials.held(token) for token in held]
    return [held.index(token) for token in _vouching(known, THEN, compact, document)]


def at(days: float) -> int:
    return int(THEN.timestamp() + days * 86_400)


def test_the_credential_of_the_time_of_the_contract_is_taken_along(world: World) -> None:
    """Renewed at half their life, they would all be too young for an old contract."""
    spans = [(-130, -40), (-45, 45), (0.5, 90), (45, 135)]
    held = [
        world.credential(CONSUMER, world.consumer, nbf=at(start), exp=at(end), jti=str(start))
        for start, end in spans
    ]
    assert vouching(world, held) == [1]
    assert vouching(world, held[2:]) == [1]  # none of that time is known: the newest
    assert _vouching([], THEN, "", b"") == [""]


def test_of_two_in_force_then_it_is_the_signers(world: World) -> None:
    new, oldest = key(), key()
    held = [
        world.credential(CONSUMER, oldest, nbf=at(-90), exp=at(-1)),
        world.credential(CONSUMER, world.consumer, nbf=at(-45), exp=at(45)),
        world.credential(CONSUMER, new, nbf=at(-0.0001), exp=at(90)),
        world.credential(CONSUMER, new, nbf=at(45), exp=at(135)),
    ]
    assert vouching(world, held) == [1, 2]  # the key before the contract is not shown
    assert vouching(world, held, new) == [2, 1]
    world = replace(world, consumer=oldest)
    assert vouching(world, held)[0] == 2  # signed by none of them: the one in force
