"""The release gate: groups the data plane counted, declared numbers, and no more than the rule."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.programs import AGGREGATE, METRICS, PREDICTIONS, REVIEW, manifest
from yunhe.apps.errors import AppOutputRefused
from yunhe.apps.gate import Passed, judge, trimmed
from yunhe.apps.manifest import Manifest, compose
from yunhe.contracts import Release

OF_GROUPS = compose(manifest("x-app"), "did:web:a", b"x")
OF_NUMBERS = compose(manifest("x-app", output={"numbers": ["auc", "n"]}), "did:web:a", b"x")
OF_ROWS = compose(manifest("x-app", output={"columns": ["sex"]}), "did:web:a", b"x")


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the data plane lays them down: men and women are enough, others are not there."""
    path = tmp_path_factory.mktemp("groups") / "groups.arrow"
    table = pa.table({"sex": ["f", "m"], "n": [180, 180]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    return path


@dataclass(frozen=True)
class Admitted:
    rows_max: int
    bytes_max: int | None = None


def passed(rule: str, of: Manifest, result: Any, path: Path | None = None) -> Passed:
    return judge(Release.parse(rule), of, result, path, Admitted(1000))


def test_groups_leave_in_our_order_with_the_digits_of_the_rule(groups: Path) -> None:
    said = {"columns": {"mean_age": [54.123456789, 53.98765], "sex": ["m", "f"]}}
    got = passed(AGGREGATE, OF_GROUPS, said, groups)
    assert got.table.to_pydict() == {"sex": ["f", "m"], "mean_age": [53.99, 54.12]}
    assert not got.withheld
    assert 0 < got.bits < 60


def test_a_group_that_is_too_small_or_made_up_is_withheld(groups: Path) -> None:
    said = {"columns": {"sex": ["f", "x", "CANARY-7"], "mean_age": [1, 2, 3]}}
    got = passed(AGGREGATE, OF_GROUPS, said, groups)
    assert got.table.to_pydict() == {"sex": ["f"], "mean_age": [1.0]}
    assert got.withheld
    beyond = {"columns": {"sex": ["f", 10**400], "mean_age": [1, 2]}}  # more than a float holds
    assert passed(AGGREGATE, OF_GROUPS, beyond, groups).withheld


@pytest.mark.parametrize(
    "columns",
    [
        {"sex": ["f"], "mean_age": ["CANARY"]},  # a text for a number
        {"sex": ["f"], "mean_age": [True]},
        {"sex": ["f"], "mean_age": [[1, 2]]},
        {"sex": ["f"], "mean_age": [10**400]},
        {"sex": ["f"]},
        {"sex": ["f"], "mean_age": [1], "name": ["CANARY"]},
        {"sex": ["f", "f"], "mean_age": [1, 2]},  # a row an entity, under one key
        {"sex": ["f"], "mean_age": [1, 2]},
        {"sex": "f", "mean_age": 1},
    ],
)
def test_what_is_no_table_of_groups_does_not_leave(groups: Path, columns: Any) -> None:
    with pytest.raises(AppOutputRefused):
        passed(AGGREGATE, OF_GROUPS, {"columns": columns}, groups)


def test_more_rows_or_bytes_than_the_rule_do_not_leave(groups: Path) -> None:
    two = {"columns": {"sex": ["f", "m"], "mean_age": [1, 2]}}
    for rule in (
        "aggregate;k=10;rows=1;digits=4;bytes=65536",
        "aggregate;k=10;rows=100;digits=4;bytes=256",
    ):
        with pytest.raises(AppOutputRefused):
            passed(rule, OF_GROUPS, two, groups)
    with pytest.raises(AppOutputRefused):  # nothing was counted: nothing leaves
        passed(AGGREGATE, OF_GROUPS, two, None)
    with pytest.raises(AppOutputRefused):  # the use was admitted for fewer
        judge(Release.parse(AGGREGATE), OF_GROUPS, two, groups, Admitted(1))
    with pytest.raises(AppOutputRefused):
        judge(Release.parse(AGGREGATE), OF_GROUPS, two, groups, Admitted(100, 300))


def test_rows_hidden_in_the_digits_of_a_number_are_cut_off() -> None:
    hidden = 0.123456789012345  # the last eleven digits are somebody's number
    got = passed(METRICS, OF_NUMBERS, {"numbers": {"auc": hidden, "n": 12345678}})
    assert got.table.to_pydict() == {"name": ["auc", "n"], "value": [0.1235, 12350000.0]}
    assert got.bits <= 2 * 27


@pytest.mark.parametrize(
    "numbers",
    [
        {"auc": "CANARY"},
        {"other": 1.0},
        {"auc": 0.5, "CANARY": 1},
        {"auc": {"deep": 1}},
        {"auc": 10**400},
    ],
)
def test_metrics_that_are_not_declared_do_not_leave(numbers: Any) -> None:
    with pytest.raises(AppOutputRefused):
        passed(METRICS, OF_NUMBERS, {"numbers": numbers})


def test_too_many_metrics_do_not_leave() -> None:
    with pytest.raises(AppOutputRefused):
        passed(
            "model-metrics;rows=1;digits=4;bytes=4096",
            OF_NUMBERS,
            {"numbers": {"auc": 1, "n": 2}},
        )


def test_rows_for_the_host_keep_their_types_and_bounds() -> None:
    got = passed(REVIEW, OF_ROWS, {"columns": {"sex": ["f", None, "m"]}})
    assert got.table.to_pydict() == {"sex": ["f", None, "m"]}
    for columns in ({"sex": ["f", 1]}, {"sex": [{"a": 1}]}, {"sex": ["x" * 20_000]}, {}):
        with pytest.raises(AppOutputRefused):
            passed(REVIEW, OF_ROWS, {"columns": columns})
    with pytest.raises(AppOutputRefused):
        passed("review;rows=2;bytes=65536", OF_ROWS, {"columns": {"sex": ["f"] * 3}})


ODD = st.sampled_from(
    [None, True, 0, 1, -1.5, 1e308, 10**400, "f", "m", "", "x" * 20, [], [1], {}, {"sex": ["f"]}]
)
COLUMNS = st.dictionaries(st.sampled_from(["sex", "mean_age", "auc", "n"]), st.lists(ODD) | ODD)
RESULTS = ODD | st.builds(
    lambda name, of: {name: of}, st.sampled_from(["columns", "numbers"]), COLUMNS
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(result=RESULTS, at=st.integers(0, 3))
def test_whatever_a_program_writes_is_judged_or_refused(groups: Path, result: Any, at: int) -> None:
    rule, of = [
        (AGGREGATE, OF_GROUPS),
        (METRICS, OF_NUMBERS),
        (REVIEW, OF_ROWS),
        (PREDICTIONS, OF_ROWS),
    ][at]
    try:
        got = passed(rule, of, result, groups)
    except AppOutputRefused:
        return
    if at == 0:
        assert set(got.table["sex"].to_pylist()) <= {"f", "m"}
        assert got.table.schema.field("mean_age").type == pa.float64()


def test_the_result_of_sql_keeps_the_digits_and_bytes_of_the_rule() -> None:
    table = pa.table({"n": [12345678], "mean": [math.pi]})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    (made,) = trimmed(iter([out.getvalue()]), Release.parse(AGGREGATE))
    got = pa.ipc.open_stream(made).read_all().to_pydict()
    assert got == {"n": [12345678], "mean": [3.142]}
    small = Release.parse("aggregate;k=2;rows=1;digits=4;bytes=256")
    with pytest.raises(AppOutputRefused):
        list(trimmed(iter([out.getvalue()]), small))
