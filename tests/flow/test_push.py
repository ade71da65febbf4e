"""The life of a pushed transfer, between whole nodes in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flow.world import TERMS, World, three, until
from yunhe.sdk import Terms, YunheRefused

PLAIN = Terms(
    purposes=TERMS.purposes,
    columns=TERMS.columns,
    uses_max=20,
    row_filters=TERMS.row_filters,
    masks=TERMS.masks,
    per_use_fen=100,
    per_row_fen=7,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = three(tmp_path)
    try:
        yield found
    finally:
        found.close()


def test_a_whole_product_comes_into_a_file_and_is_settled(world: World, tmp_path: Path) -> None:
    a, r = (world.nodes[key].space for key in ("a", "r"))
    contract = world.agree(world.product(PLAIN))
    got = r.receive(contract, tmp_path / "patients.parquet")
    table = pq.read_table(got.path)
    assert table.num_rows == got.rows == 360
    assert table.schema.names == ["id", "age", "sex"]
    assert set(table["age"].to_pylist()) <= {20, 30, 40, 50, 60, 70, 80, 90}
    until("both complete", lambda: all(
        s.transfers(contract)[0].state == "COMPLETED" for s in (a, r)
    ))
    assert [use.use_id for use in a.uses(contract)] == [got.use_id]
    until("the receipt", lambda: len(world["a"].node.exchange.receipts(contract.id)) == 1)
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])
    assert a.statements(contract)[0].total_fen == 100 + 7 * 360
    again = r.fetch(got.transfer_id, tmp_path)
    with pa.ipc.open_file(again.path) as reader:
        assert reader.read_all().equals(table)
    r.discard(got.transfer_id)
    with pytest.raises(YunheRefused, match="NOTHING_RECEIVED"):
        r.fetch(got.transfer_id, tmp_path)
