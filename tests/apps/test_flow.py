"""Life of an application: signed once, deployed, run beside the data, ended everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.programs import AGGREGATE, MEAN_AGE, manifest, terms
from flow.world import PURPOSE, World, three, until
from yunhe.sdk import Contract, Terms, YunheRefused


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = three(tmp_path_factory.mktemp("apps"))
    try:
        yield found
    finally:
        found.close()


def agreed(world: World, made: Terms) -> Contract:
    return world.agree(world.product(made))


def test_a_program_runs_beside_the_data_and_only_groups_leave(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    app = r.apps.publish(manifest("mean-age"), MEAN_AGE)
    contract = agreed(world, terms(AGGREGATE, app["reference"]))
    with pytest.raises(YunheRefused) as refused:  # the contract is for that program alone
        r.sql("SELECT id FROM patients", contract, PURPOSE)
    assert refused.value.code == "APPLICATION_NOT_AGREED"
    deployed = r.apps.deploy(app["digest"], contract)
    assert deployed["state"] == "deployed"  # consent stands in the signed contract
    job = r.apps.run_app(deployed["id"], PURPOSE, {"least": 20})
    assert (job["state"], job["code"]) == ("released", "")
    table = r.apps.result(job["id"])
    assert table.to_pydict()["sex"] == ["f", "m"]
    (use,) = a.uses(contract)
    assert (use.use_id, use.rows, use.fee_fen, use.state) == (job["id"], 2, 114, "posted")
    assert "rows: 360" in a.apps.log(job["id"])["log"]
    with pytest.raises(YunheRefused):  # the author's node has no log
        r.apps.log(job["id"])
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])
