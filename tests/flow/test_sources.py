"""A hospital's GB18030 folder becomes a product; its drift is told and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from yunhe.cli import app
from yunhe.kernel import limits
from yunhe.sdk import Contract, Terms, YunheRefused

ROW_TERMS = replace(
    TERMS,
    minimum_group=0,
    columns=("patients.id", "patients.age", "patients.sex"),
    masks=(),
    row_filters=(("patients", "age >= 18"),),
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # A folder of two files is looked at by every query, however busy the machine is.
    monkeypatch.setattr(limits, "SOURCE_LOOK_S", 60.0)
    with three(tmp_path) as made:
        folder = made["a"].config.data_roots[0] / "cohort"
        folder.mkdir()
        write(folder / "2024.csv", "id,age,sex,name", [f"{i},{10 + i},男,张{i}" for i in range(20)])
        yield made


def write(file: Path, head: str, rows: list[str]) -> None:
    """One CSV file as the hospital's system writes it."""
    beside = file.with_suffix(".part")
    beside.write_bytes("\n".join([head, *rows, ""]).encode("gb18030"))
    beside.replace(file)


def agreed(
    world: World,
    path: str = "csv:cohort",
    name: str = "patients",
    key: str = "id",
    terms: Terms = ROW_TERMS,
) -> tuple[Contract, str]:
    """A contract on the product of the table at `path`, and the resource's id."""
    space = world["a"].space
    texts = {"description_zh": "患者", "description_en": "Patients"}
    titles = {"title_zh": "患者队列", "title_en": "Cohort"}
    table = {"name": name, "paths": [path], "entity_key": key}
    resource = space.add_resource({**titles, **texts, "tables": [table]})
    space.submit_resource(resource)
    until("the resource's code", lambda: space.resource(resource.id).code)
    form = {**titles, **texts, "resource_ids": [resource.id], "terms": terms}
    product = space.add_product(form)
    space.submit_product(product)
    code = until("the product's code", lambda: space.own_product(product.id).code)
    space.list_product(product)
    until("the listing", lambda: space.own_product(product.id).state == "listed")
    assert code is not None
    return world.agree(code), resource.id


def test_a_folder_of_gb18030_is_queried_and_its_drift_is_told_and_refused(world: World) -> None:
    folder = world["a"].config.data_roots[0] / "cohort"
    contract, resource = agreed(world)
    space = world["a"].space
    assert world.ask(contract).to_pylist() == [{"sex": "男", "n": 12}]
    assert space.resource(resource).drift == {}

    # A new month with a new column, without one that nobody was promised: seen at once, and told.
    write(folder / "2025.csv", "id,age,sex,ward", [f"{i},30,女,3" for i in range(100, 103)])
    assert world.ask(contract).to_pylist() == [{"sex": "女", "n": 3}, {"sex": "男", "n": 12}]
    drift = space.resource(resource).drift["patients"]
    assert (drift["extra"], drift["partial"], drift["gone"]) == (["ward"], {"name": 1}, [])

    # A column of the contract that is no number any more: refused, nothing charged, no value told.
    write(folder / "2025.csv", "id,age,sex", ["100,CANARY-thirty,女"])
    used = contract_uses(world, contract)
    with pytest.raises(YunheRefused) as refusal:
        world.ask(contract)
    assert refusal.value.code == "SOURCE_DRIFTED"
    told = str(refusal.value) + json.dumps(vars(refusal.value), default=str)
    assert "age" in told
    for word in ("CANARY", "2025.csv", str(folder)):
        assert word not in told
    assert contract_uses(world, contract) == used
    assert "2025.csv, row 1" in space.resource(resource).drift["patients"]["changed"]["age"]

    # Unreadable: the consumer learns that it is, the provider finds why by profiling.
    (folder / "2025.csv").write_bytes(b"id,age,sex\n1,20,\xff\xff\n")
    with pytest.raises(YunheRefused) as refusal:
        world.ask(contract)
    assert refusal.value.code == "SOURCE_NOT_READY"
    assert str(folder) not in json.dumps(vars(refusal.value), default=str)
    with pytest.raises(YunheRefused, match=r"2025\.csv is not UTF-8 at byte"):
        space.profile_resource(resource)

    (folder / "2025.csv").unlink()
    assert world.ask(contract).to_pylist() == [{"sex": "男", "n": 12}]
    assert space.resource(resource).drift == {}
    told_kinds = [e.body for e in world["a"].node.evidence.find("source.drifted")]
    assert len(told_kinds) == 3  # extra, changed, restored: once each


def test_columns_are_called_as_their_file_calls_them(world: World) -> None:
    rows = [f"{i},{20 + i % 2},内科,{i}.5" for i in range(20)]
    folder = world["a"].config.data_roots[0] / "住院 清单"
    folder.mkdir()
    write(folder / "2024 年.csv", "患者编号,年龄,科室 名称,费用（元）", rows)
    terms = replace(
        TERMS,
        columns=("清单.年龄", "清单.科室 名称", "清单.费用（元）"),
        masks=(("清单.年龄", "round:10"),),
        row_filters=(("清单", '"费用（元）" >= 1'),),
    )
    contract, _ = agreed(world, "csv:住院 清单", "清单", "患者编号", terms)
    asked = 'SELECT 年龄, count(*) AS 人数, avg("费用（元）") AS 均费 FROM 清单 GROUP BY 年龄'
    assert world.ask(contract, asked).to_pylist() == [{"年龄": 20, "人数": 19, "均费": 10.5}]
    with pytest.raises(YunheRefused) as refusal:
        world.ask(contract, "SELECT 患者编号, count(*) FROM 清单 GROUP BY 患者编号")
    assert refusal.value.code == "COLUMN_NOT_AGREED"


def contract_uses(world: World, contract: Contract) -> int:
    """Uses that the provider counts under the contract."""
    return len(world["a"].space.uses(contract))


def test_the_provider_sees_a_profile_and_a_sample_and_no_other_role_does(world: World) -> None:
    space = world["a"].space
    texts = {"description_zh": "患者", "description_en": "Patients"}
    titles = {"title_zh": "患者队列", "title_en": "Cohort"}
    table = {"name": "patients", "paths": ["csv:cohort"], "entity_key": "id"}
    resource = space.add_resource({**titles, **texts, "tables": [table]})
    found = space.profile_resource(resource)
    assert (found[0]["name"], found[0]["rows"]) == ("patients", 20)
    assert found[0]["columns"][0]["type"] == "BIGINT"
    rows = space.sample_resource(resource, "patients", 2)
    assert rows == [
        {"id": 0, "age": 10, "sex": "男", "name": "张0"},
        {"id": 1, "age": 11, "sex": "男", "name": "张1"},
    ]
    token = space.create_token("reader", ["user", "auditor", "reviewer"])
    address = world["a"].config.address
    runner = CliRunner()
    for verb in ("profile", "sample"):
        command = ["resources", verb, resource.id, "--url", address]
        refused = runner.invoke(app, [*command, "--token", str(token.token), "--json"])
        assert refused.exit_code != 0
        assert "张0" not in refused.output
        shown = runner.invoke(app, [*command, "--token", world["a"].token])
        assert shown.exit_code == 0, shown.output
        assert "patients.age" in shown.output or "张0" in shown.output


def test_files_that_come_to_a_folder_of_parquet_are_seen(world: World) -> None:
    import duckdb

    code = world.product(terms=replace(TERMS, minimum_group=0, masks=()))
    contract = world.agree(code)
    before = world.ask(contract, BY_SEX).to_pylist()
    file = world["a"].config.data_roots[0] / "patients.parquet"
    query = f"SELECT * REPLACE (id + 1000 AS id) FROM '{file}' UNION ALL FROM '{file}'"
    duckdb.execute(f"COPY ({query}) TO '{file}.new' (FORMAT parquet)")
    Path(f"{file}.new").replace(file)
    after = world.ask(contract, BY_SEX).to_pylist()
    assert [row["n"] for row in after] == [2 * row["n"] for row in before]
    assert PURPOSE in contract.terms.purposes
