"""A contract whose copy was changed in a database is not used (T16 8.1), on either side."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flow.world import World, three
from yunhe.sdk import Contract, YunheRefused

Given = tuple[World, Contract]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """Three nodes, and one contract that was used."""
    with three(tmp_path_factory.mktemp("altered")) as world:
        contract = world.agree(world.product())
        world.ask(contract)
        yield world, contract


@contextmanager
def changed(file: Path, table: str, column: str, value: str, contract: Contract) -> Iterator[None]:
    """A row of the contract says something else meanwhile: `value` is SQL over the old one."""
    key = "contract_id" if table == "control_quota" else "id"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as books:
        query = f"SELECT {column} FROM {table} WHERE {key} = ?"
        (old,) = books.execute(query, (contract.id,)).fetchone()
        update = f"UPDATE {table} SET {column} = {value} WHERE {key} = ?"
        books.execute(update, (contract.id,))
        assert books.execute(query, (contract.id,)).fetchone() != (old,)
        try:
            yield
        finally:
            books.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (old, contract.id))


def a_byte_of(column: str) -> str:
    """SQL: the column with one byte of its middle changed."""
    cut = f"length({column}) / 2"
    byte = f"substr({column}, {cut}, 1)"
    other = f"CASE WHEN {byte} = 'A' THEN 'B' ELSE 'A' END"
    return f"substr({column}, 1, {cut} - 1) || {other} || substr({column}, {cut} + 1)"


CHEAPER = "replace({0}, '100', '1')"
DOCUMENT = "CAST(replace(CAST(document AS TEXT), '100', '1') AS BLOB)"
CASES = [
    ("contract_agreements", "document", DOCUMENT, "document"),
    ("contract_agreements", "policy", CHEAPER.format("policy"), "policy"),
    ("contract_agreements", "provider_jws", a_byte_of("provider_jws"), "provider_jws"),
    ("contract_agreements", "consumer_jws", "''", "consumer_jws"),
    ("contract_agreements", "provider_did", "'did:web:another.example'", "provider_did"),
    ("contract_agreements", "consumer_did", "'did:web:another.example'", "consumer_did"),
    ("contracts", "expires_at", "7258118400000000", "expires_at"),
    ("contracts", "entry_id", "entry_id || 'x'", "entry"),
]


@pytest.mark.parametrize("side", ["a", "r"])
@pytest.mark.parametrize(("table", "column", "value", "part"), CASES)
def test_what_was_changed_is_named_and_nothing_is_used(
    given: Given, side: str, table: str, column: str, value: str, part: str
) -> None:
    world, contract = given
    node = world[side]
    spent = len(world["a"].space.uses(contract))
    told = len(altered(node.space.entries(kind="contract.altered")))
    with changed(node.database_file, table, column, value, contract):
        for _ in range(2):
            with pytest.raises(YunheRefused) as refused:
                world.ask(contract)
            assert (refused.value.code, refused.value.facts["part"]) == ("CONTRACT_ALTERED", part)
    assert len(altered(node.space.entries(kind="contract.altered"))) == told + 1
    world.ask(contract)
    assert len(world["a"].space.uses(contract)) == spent + 1


def altered(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    return [each for each in entries if each["kind"] == "contract.altered"]


def test_the_gates_own_policy_must_be_the_contracts(given: Given) -> None:
    world, _ = given
    contract = world.agree(world.product())  # not used yet: the gate has not read it
    file = world["a"].database_file
    with changed(file, "control_quota", "policy", CHEAPER.format("policy"), contract):
        with pytest.raises(YunheRefused) as refused:
            world.ask(contract)
        assert refused.value.code == "CONTRACT_ALTERED"
    world.ask(contract)
    assert [use.fee_fen for use in world["a"].space.uses(contract)] == [100 + 2 * 7]
