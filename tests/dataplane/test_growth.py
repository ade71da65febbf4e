"""A short query that is long when written out is refused before anyone writes it out."""

from __future__ import annotations

import time

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.dataplane.errors import SqlTooLong

DOUBLED = ", ".join(f"a{at} + a{at} AS a{at + 1}" for at in range(40))
PAIRS = ", ".join(f"c{at} AS (SELECT x.* FROM c{at - 1} x, c{at - 1} y)" for at in range(1, 4))
LONG = [
    f"SELECT id AS a0, {DOUBLED} FROM patients",
    f"SELECT * FROM (SELECT id AS a0, {DOUBLED} FROM patients) x",
    f"SELECT id FROM patients WHERE EXISTS (SELECT id AS a0, {DOUBLED} FROM labs)",
    f"SELECT {' + '.join(['id'] * 200)} AS a FROM patients GROUP BY {', '.join(['a'] * 200)}",
    f"SELECT {' + '.join(['id'] * 200)} FROM patients GROUP BY {', '.join(['1'] * 200)}",
    f"SELECT {' + '.join(['id'] * 200)} AS a FROM patients WHERE {' OR '.join(['a = 1'] * 100)}",
]


@pytest.mark.parametrize("sql", LONG)
@pytest.mark.parametrize("terms", [ROWS, GROUPS], ids=["rows", "groups"])
def test_it_is_refused_at_once(hospital, sql: str, terms) -> None:
    if terms is GROUPS and "(SELECT" in sql:
        pytest.skip("no subqueries there")
    began = time.process_time()
    with pytest.raises(SqlTooLong):
        hospital.govern(sql, terms)
    assert time.process_time() - began < 1


def test_aliases_and_stars_of_common_size_pass(hospital) -> None:
    hospital.govern("SELECT id AS a, a + 1 AS b, b * a AS c FROM patients WHERE c > 3 ORDER BY c")
    hospital.govern(f"WITH c0 AS (SELECT * FROM patients), {PAIRS} SELECT count(*) FROM c3")
    hospital.govern("SELECT p.*, l.value FROM patients p JOIN labs l USING (id) GROUP BY ALL")
    hospital.govern("SELECT * FROM (SELECT * FROM (SELECT * FROM patients) x) y WHERE id IN "
                    "(SELECT id FROM labs UNION SELECT id FROM labs)")  # fmt: skip
