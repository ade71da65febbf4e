"""A party rotates its key in the middle of things: what it signed before still counts, at once.

Signatures outlive the key they were made with: they wait in the outbox while the peer is away,
and receipts are read again when the bill comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.world import World, three, until
from yunhe.identity import Identity


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with three(tmp_path) as made:
        yield made


def rotate(world: World, key: str) -> None:
    """A new key for a node; its registrar gives it a credential for it."""
    who: Identity = world[key].node.identity
    who.rotation.rotate("did")
    until("the new credential", who.own_credential, 60)


@pytest.mark.parametrize("who", ["a", "r"])
def test_what_was_used_before_a_rotation_is_settled_after_it(world: World, who: str) -> None:
    contract = world.agree(world.product())
    world.ask(contract)
    provider, consumer = world["a"].node.exchange, world["r"].node.exchange
    until("the receipt", lambda: provider.receipts(contract.id))
    rotate(world, who)
    issued = provider.issue_statement(contract.id)
    until("the answer", lambda: provider.statement(issued.statement_id).state != "issued")
    answered = consumer.statement(issued.statement_id)
    assert [each.code for each in answered.differences] == []
    assert provider.statement(issued.statement_id).state == answered.state == "settled"


@pytest.mark.parametrize("who", ["a", "r"])
def test_a_use_right_after_a_rotation_is_receipted_and_settled(world: World, who: str) -> None:
    """The peer still remembers the document with the key before."""
    contract = world.agree(world.product())
    provider = world["a"].node.exchange
    world.ask(contract)
    until("the receipt", lambda: provider.receipts(contract.id))
    provider.issue_statement(contract.id)
    until("the answer", lambda: provider.statements(contract.id)[0].state == "settled")
    rotate(world, who)
    world.ask(contract)
    until("the second receipt", lambda: len(provider.receipts(contract.id)) == 2)
    issued = provider.issue_statement(contract.id)
    until("the answer", lambda: provider.statement(issued.statement_id).state == "settled")
