"""Hostile queries against a real table with canaries: none leaks, each refusal names its rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.hospital import CANARIES, GROUPS, ROWS
from yunhe.kernel.errors import YunheError

FIXTURE = Path(__file__).with_name("fixtures") / "attacks.txt"


def attacks() -> list[tuple[str, str, str]]:
    found = []
    for line in FIXTURE.read_text().splitlines():
        if line and not line.startswith("#"):
            head, _, sql = line.partition(": ")
            mode, code = head.split()
            found.append((mode, code, sql))
    return found


def test_the_corpus_is_large_enough() -> None:
    assert len(attacks()) >= 200


@pytest.mark.parametrize(("mode", "code", "sql"), attacks())
def test_attack(hospital, mode: str, code: str, sql: str) -> None:
    terms = ROWS if mode == "rows" else GROUPS
    if code == "RUNS":
        shown = str(hospital.ask(sql, terms).to_pydict())
    else:
        with pytest.raises(YunheError) as refusal:
            hospital.ask(sql, terms)
        assert refusal.value.code == code
        shown = str(refusal.value.problem())
    for canary in CANARIES:
        assert canary in sql or canary not in shown


@pytest.mark.parametrize(
    "predicate",
    [
        "CAST(CASE WHEN age > 30 THEN name ELSE '1' END AS INT) = 1",
        "name = 5",
        "age * 9223372036854775807 > 1",
        "-age * 9223372036854775807 < 1",
        "substring(name, 1, id * 99999999999) = 'x'",
        "left(name, id * 99999999999) = 'x'",
        "DATE_TRUNC('month', day) + INTERVAL 300000 YEAR > day",
        "age % (id - id) = 1",
        "abs(id - 9223372036854775807 - 2) > 1",
        "nullif(name, 3) = 'x'",
        "coalesce(age, name) = 'x'",
    ],
)
def test_no_predicate_can_raise_on_a_row(hospital, predicate: str) -> None:
    """Error or no error would be one bit about rows the policy hides (dataplane.md 4.2)."""
    sql = f"SELECT count(*) FROM patients JOIN labs USING (id) WHERE {predicate}"
    sane, mad = (
        outcome(hospital, sql.replace("patients JOIN", table + " JOIN"))
        for table in ("(SELECT * FROM patients WHERE age < 0) p", "patients")
    )
    assert sane == mad


def outcome(hospital, sql: str) -> str:
    try:
        hospital.ask(sql)
    except YunheError as refusal:
        return refusal.code
    return "RUNS"


def test_the_row_filter_holds_against_every_way_of_reading(hospital) -> None:
    for sql in (
        "SELECT count(*) FROM patients",
        "SELECT count(*) FROM patients a JOIN patients b USING (id)",
        "SELECT count(*) FROM (SELECT * FROM patients) x",
        "WITH x AS (SELECT * FROM patients) SELECT count(*) FROM x",
        "SELECT count(*) FROM (SELECT id FROM patients UNION SELECT id FROM patients) x",
    ):
        (count,) = hospital.ask(sql).to_pylist()[0].values()
        assert count == 270
