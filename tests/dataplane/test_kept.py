"""An answer of the gate is given again only to the same question under the same policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.contracts import Mask
from yunhe.dataplane import TableBinding, govern
from yunhe.dataplane.errors import AggregateOnly, ColumnNotAgreed
from yunhe.dataplane.kept import KeptGate
from yunhe.kernel import limits

SQL = "SELECT * FROM patients"
SOME = "SELECT id, name FROM patients"


def test_the_same_question_is_read_once(hospital) -> None:
    gate = KeptGate()
    first = gate.govern("c", SQL, hospital.tables, ROWS)
    assert first == govern(SQL, hospital.tables, ROWS)
    again = gate.govern("c", SQL, dict(hospital.tables), replace(ROWS))
    assert again is first


@pytest.mark.parametrize(
    "terms",
    [
        replace(ROWS, row_filters=(("patients", "region = 'west'"),)),
        replace(ROWS, row_filters=()),
        replace(ROWS, masks=(*ROWS.masks, Mask("patients.id", "null"))),
        replace(ROWS, masks=ROWS.masks[1:]),
        replace(ROWS, columns=tuple(c for c in ROWS.columns if c != "patients.Age")),
    ],
    ids=["another filter", "no filter", "one mask more", "one mask less", "one column less"],
)
def test_a_changed_policy_never_meets_an_older_answer(hospital, terms) -> None:
    gate = KeptGate()
    older = gate.govern("c", SQL, hospital.tables, ROWS)
    newer = gate.govern("c", SQL, hospital.tables, terms)
    assert newer == govern(SQL, hospital.tables, terms)
    assert newer.sql != older.sql
    assert gate.govern("c", SQL, hospital.tables, ROWS) == older


def test_what_a_newer_policy_forbids_is_refused_each_time(hospital) -> None:
    gate = KeptGate()
    gate.govern("c", SOME, hospital.tables, ROWS)
    hidden = replace(ROWS, columns=tuple(c for c in ROWS.columns if c != "patients.name"))
    for _ in range(2):
        with pytest.raises(ColumnNotAgreed):
            gate.govern("c", SOME, hospital.tables, hidden)
        with pytest.raises(AggregateOnly):
            gate.govern("c", SOME, hospital.tables, GROUPS)


def test_changed_tables_and_another_contract_are_read_anew(hospital) -> None:
    gate = KeptGate()
    first = gate.govern("c", SQL, hospital.tables, ROWS)
    assert gate.govern("d", SQL, hospital.tables, ROWS) is not first
    was = hospital.tables["patients"]
    turned = TableBinding(
        dict(reversed(list(was.columns.items()))), was.source, was.entity_key
    )  # equal as mappings, but a star writes the columns in their order
    assert turned.columns == was.columns
    tables = {**hospital.tables, "patients": turned}
    assert gate.govern("c", SQL, tables, ROWS).names == tuple(reversed(first.names))
    typed = {**was.columns, "id": "VARCHAR"}
    tables = {**hospital.tables, "patients": replace(was, columns=typed)}
    assert gate.govern("c", SQL, tables, ROWS) == govern(SQL, tables, ROWS)


def test_what_is_kept_is_bounded(hospital) -> None:
    gate = KeptGate(most=2)
    asked = [f"SELECT id + {n} AS a FROM patients" for n in range(3)]
    first, second, third = (gate.govern("c", sql, hospital.tables, ROWS) for sql in asked)
    assert gate.govern("c", asked[2], hospital.tables, ROWS) is third
    assert gate.govern("c", asked[1], hospital.tables, ROWS) is second
    assert gate.govern("c", asked[0], hospital.tables, ROWS) is not first
    long = f"SELECT id FROM patients WHERE name <> '{'x' * limits.GOVERNED_SQL_KEPT_CHARS_MAX}'"
    once = gate.govern("c", long, hospital.tables, ROWS)
    assert gate.govern("c", long, hospital.tables, ROWS) is not once
