"""What the tables of applications answer where there are many of a kind, or many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from yunhe.apps import store
from yunhe.apps.model import Deployment, DeploymentState, Side
from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx

DIGEST = "d" * 64
MANY = limits.APP_LISTED_MAX + 50


def test_every_node_is_told_however_many_they_are(any_db: Database) -> None:
    def many(tx: Tx) -> None:
        made = Deployment(
            *("dep-0", Side.AUTHOR, DIGEST, "c-0", "did:web:h0", DeploymentState.DEPLOYED),
            *("", "", tx.now, tx.now, ""),
        )
        for n in range(MANY):
            more = {"id": f"dep-{n}", "contract_id": f"c-{n}", "peer_did": f"did:web:h{n}"}
            store.add_deployment(tx, replace(made, **more))
        gone = {"id": "dep-x", "contract_id": "c-x", "state": DeploymentState.REFUSED}
        store.add_deployment(tx, replace(made, **gone, peer_did="did:web:refused"))
        store.add_holder(tx, DIGEST, "did:web:taker")
        assert not store.add_holder(tx, DIGEST, "did:web:taker")

    any_db.write(many)
    hosts = {f"did:web:h{n}" for n in range(MANY)} | {"did:web:taker"}
    but = (DeploymentState.REFUSED,)
    assert any_db.read(lambda tx: store.peers_of(tx, DIGEST, but)) == hosts
    assert any_db.read(lambda tx: store.peers_of(tx, DIGEST)) == hosts | {"did:web:refused"}
    assert any_db.read(lambda tx: store.peers_of(tx, "e" * 64)) == set()


@pytest.mark.parametrize("most", [0, 30, 35])
def test_bits_of_many_runs_at_once_never_pass_the_sum(any_db: Database, most: int) -> None:
    def spend(_: int) -> bool:
        return any_db.write(lambda tx: store.spend_bits(tx, "c", 10, most))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(16))) == most // 10
    assert any_db.read(lambda tx: store.bits_spent(tx, "c")) == most // 10 * 10
    assert any_db.read(lambda tx: store.bits_spent(tx, "other")) == 0


def test_bits_of_a_result_that_was_kept_back_may_be_spent_by_another(any_db: Database) -> None:
    assert any_db.write(lambda tx: store.spend_bits(tx, "c", 10, 10))
    assert not any_db.write(lambda tx: store.spend_bits(tx, "c", 10, 10))
    any_db.write(lambda tx: store.give_back_bits(tx, "c", 10))
    assert any_db.read(lambda tx: store.bits_spent(tx, "c")) == 0
    assert any_db.write(lambda tx: store.spend_bits(tx, "c", 10, 10))
