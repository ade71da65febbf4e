"""docs/python.md as it stands, against three nodes: what is printed, and what a mistake is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import yunhe
from examples import example
from flow.world import TERMS, World, three
from yunhe import sdk
from yunhe.kernel.errors import Invalid


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("world")) as made:
        made.product(TERMS, negotiable=replace(TERMS, uses_max=50))
        yield made


def run(world: World, mark: str) -> None:
    node = world["r"]
    named = {"URL": node.config.address, "TOKEN": node.token}
    exec(example("python", mark), named)  # noqa: S102  that is the test


def test_the_page_runs_in_its_order(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world, "sql_pandas")
    told = capsys.readouterr().out
    assert "7 uses left" in told
    assert "fen" in told
    run(world, "refused.remedy")
    told = capsys.readouterr().out
    assert told.startswith("COLUMN_NOT_AGREED\n")
    assert "请使用可见的列" in told
    assert "COLUMN_NOT_AGREED: The contract does not show" in told
    assert "Use a visible column" in told  # a notebook shows this line and no other
    run(world, "connect_async")
    assert capsys.readouterr().out.count("shape: (2, 2)") == 2


def test_a_refusal_is_told_in_the_readers_language(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUNHE_LANG", "zh")
    with pytest.raises(yunhe.YunheError) as refused:
        world["r"].space.contract("none")
    assert str(refused.value) == "CONTRACT_UNKNOWN: 不存在该合约。 请核对标识。"


def test_what_is_no_contract_is_said_to_be_none(world: World) -> None:
    space = world["r"].space
    hit = space.search("patients")[0]
    with pytest.raises(Invalid, match="a Hit is no id"):
        space.sql("SELECT 1", hit, "x")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="a NoneType is no id"):
        space.contract(None)  # type: ignore[arg-type]


def test_a_product_is_negotiated_by_what_was_found_or_its_code(world: World) -> None:
    space = world["r"].space
    hit = space.search("patients")[0]
    for given in (hit, hit.code):
        assert space.negotiate(given).product_code == hit.code


def test_a_client_says_whose_it_is(world: World, tmp_path: Path) -> None:
    address = world["r"].config.address
    assert repr(world["r"].space) == f"<Space of {address}>"
    assert repr(yunhe.connect_async(address, "t")) == f"<AsyncSpace of {address}>"
    assert isinstance(yunhe.connect_async(address, "t"), sdk.AsyncSpace)
    with pytest.raises(Invalid):
        sdk.connect("")
