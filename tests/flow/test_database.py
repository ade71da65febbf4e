"""A hospital's database becomes a product: registered, agreed, asked in its place, charged once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flow.test_sources import ROW_TERMS
from flow.world import BY_SEX, World, three, until
from yunhe.cli import app
from yunhe.sdk import YunheRefused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    file = tmp_path / "register.db"
    con = sqlite3.connect(file)
    con.execute("CREATE TABLE cases (id INTEGER, age INTEGER, sex TEXT, name TEXT)")
    rows = [(i, 10 + i, "f" if i % 2 else "m", f"CANARY-{i}") for i in range(20)]
    con.executemany("INSERT INTO cases VALUES (?, ?, ?, ?)", rows)
    con.commit()
    con.close()
    connections = {"register": {"kind": "sqlite", "file": str(file)}}
    with three(tmp_path / "nodes", a={"connections": connections}) as made:
        yield made


def test_a_database_is_registered_agreed_and_asked_in_its_place(
    world: World, tmp_path: Path
) -> None:
    space = world["a"].space
    texts = {"description_zh": "患者", "description_en": "Patients"}
    titles = {"title_zh": "登记库", "title_en": "Register"}
    table = {"name": "patients", "paths": ["sqlite:register/cases"], "entity_key": "id"}
    resource = space.add_resource({**titles, **texts, "tables": [table]})
    space.submit_resource(resource)
    until("the resource's code", lambda: space.resource(resource.id).code)
    product = space.add_product(
        {**titles, **texts, "resource_ids": [resource.id], "terms": ROW_TERMS}
    )
    space.submit_product(product)
    code = until("the product's code", lambda: space.own_product(product.id).code)
    space.list_product(product)
    until("the listing", lambda: space.own_product(product.id).state == "listed")
    contract = world.agree(code)
    found = {row["sex"]: row["n"] for row in world.ask(contract).to_pylist()}
    assert found == {"m": 6, "f": 6}

    assert space.resource(resource.id).drift == {}

    # What the database does is the provider's to see: from the SDK, and from the shell.
    said = space.governed(contract.id, "SELECT sex, count(*) n FROM patients GROUP BY sex")
    (pushed,) = space.governed(contract.id, BY_SEX).pushed
    assert pushed == "sqlite: patients: groups; 2 rows shipped the last time"
    assert said.fields == ("patients.sex",)
    command = ["contracts", "explain", contract.id, BY_SEX, "--url", world["a"].config.address]
    shown = CliRunner().invoke(app, [*command, "--token", world["a"].token])
    assert "sqlite: patients: groups; 2 rows shipped the last time" in shown.output, shown.output
    with pytest.raises(YunheRefused):  # the consumer's node has no such product
        world["r"].space.governed(contract.id, BY_SEX)

    # A column more is told to the provider and hinders nobody.
    con = sqlite3.connect(tmp_path / "register.db")
    con.execute("ALTER TABLE cases ADD COLUMN ward TEXT")
    con.commit()
    con.close()

    def told() -> dict[str, Any]:
        world.ask(contract)
        return space.resource(resource.id).drift

    assert until("the drift", told)["patients"]["extra"] == ["ward"]

    # A value that strays: the column is no number any more. Refused, nothing charged, none told.
    con = sqlite3.connect(tmp_path / "register.db")
    con.execute("INSERT INTO cases VALUES (99, 'CANARY-old', 'f', 'x', NULL)")
    con.commit()
    con.close()
    refusals: list[YunheRefused] = []

    def refused() -> bool:
        try:
            world.ask(contract)
        except YunheRefused as refusal:
            refusals.append(refusal)
        return bool(refusals)

    until("the refusal", refused)
    assert refusals[0].code == "SOURCE_DRIFTED"
    assert "CANARY" not in str(refusals[0])
    assert "age" in str(refusals[0])
    drift = space.resource(resource.id).drift["patients"]
    assert drift["changed"] == {"age": "sqlite:register/cases: values of several kinds"}
    assert len(world["a"].node.evidence.find("source.drifted")) == 2
    assert not [each for each in (world["a"].config.data_dir / "pulled").iterdir() if each.is_dir()]
