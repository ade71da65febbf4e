"""Keys rotate under whole nodes: membership, use and proof go on over it, for years."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flow.world import World, three, until
from yunhe.cli import app
from yunhe.sdk import Contract, gather_trust


@pytest.mark.timeout(120)
def test_contracts_of_before_a_rotation_are_used_and_proven_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yunhe.kernel.limits.DID_REFRESH_S", 0)  # an operator takes longer
    with three(tmp_path) as world:
        contract = world.agree(world.product())

        def settled() -> bool:
            found = world["r"].space.statements(contract)
            return [each.state for each in found] == ["settled"]

        world.ask(contract)
        until("the receipt", lambda: _posted(world, contract) == 1)
        world["a"].space.issue_statement(contract)
        until("the settlement", settled)
        for key in ("r", "a", "fn"):
            node = world[key].node
            world[key].space.rotate_key("did")
            if key != "fn":
                until("a new credential", node.identity.own_credential)
        assert len(world["r"].space.search("patients")) == 1  # the parent's new key is believed
        world.ask(contract)
        until("its receipt", lambda: _posted(world, contract) == 2)
        addresses = [world[key].config.address for key in ("a", "r")]
        pinned = gather_trust([world["fn"].config.address], addresses)
        assert [len(jwks) for jwks in pinned["parties"].values()] == [2, 2]
        assert len(pinned["roots"]) == 2
        for number, trust in enumerate((pinned, {**pinned, "parties": {}})):
            (tmp_path / f"trust{number}.json").write_text(json.dumps(trust))
            for key in ("a", "r"):
                bundle = tmp_path / f"{key}.json"
                bundle.write_text(json.dumps(world[key].space.bundle(contract.id)))
                shown = CliRunner().invoke(
                    app, ["verify", str(bundle), "--trust", str(tmp_path / f"trust{number}.json")]
                )
                assert shown.exit_code == 0, shown.output
                assert "uses: 2" in shown.output  # the second, of the new keys, is not billed yet
                assert "settled: no" in shown.output


def _posted(world: World, contract: Contract) -> int:
    return [use.state for use in world["a"].space.uses(contract)].count("posted")
