"""Nodes in one process never see each other: no state lives in a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow.world import Served, World, free_port, hospital, settings
from yunhe.sdk import YunheRefused, connect


def _fill(served: Served, number: int) -> str:
    """Leave traces of every kind a lone node can hold."""
    hospital(served.config.data_roots[0], rows=20 + number)
    served.space.create_token(f"token-{number}", ["user"])
    texts = {"description_zh": "说明", "description_en": "about"}
    resource = served.space.add_resource(
        {
            "title_zh": f"资源{number}",
            "title_en": f"resource {number}",
            **texts,
            "tables": [{"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}],
        }
    )
    return str(resource.id)


@pytest.mark.parametrize("number", [2, 8])
def test_nodes_of_one_process_never_see_each_other(tmp_path: Path, number: int) -> None:
    world = World(tmp_path)
    try:
        for i in range(number):
            lonely = settings(f"n{i}", tmp_path, free_port(), world.root, workers=0)
            world.nodes[f"n{i}"] = Served(lonely)
        ids = [_fill(served, i) for i, served in enumerate(world.nodes.values())]
        for i, served in enumerate(world.nodes.values()):
            resources = served.space.resources()
            assert [each.id for each in resources] == [ids[i]]
            assert resources[0].tables[0]["rows"] == 20 + i
            names = {token["name"] for token in served.space.tokens()}
            assert names == {"admin", f"token-{i}"}
            kinds = [entry["kind"] for entry in served.space.entries()]
            assert kinds.count("identity.token_created") == 2
            served.node.evidence.verify_all()
        keys = {served.space.log_key() for served in world.nodes.values()}
        assert len(keys) == number
        _no_token_opens_another_door(list(world.nodes.values()))
    finally:
        world.close()


def _no_token_opens_another_door(nodes: list[Served]) -> None:
    for mine, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        with (
            connect(other.config.address, mine.token) as guest,
            pytest.raises(YunheRefused) as refused,
        ):
            guest.me()
        assert (refused.value.status, refused.value.code) == (401, "TOKEN_UNKNOWN")


def test_what_one_node_stops_the_other_keeps(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        first = world.start("fn")
        second = world.start("r")
        first.close()
        del world.nodes["fn"]
        assert second.space.me().name == "admin"
        second.space.create_token("late", ["user"])
        assert len(second.space.tokens()) == 2
    finally:
        world.close()
