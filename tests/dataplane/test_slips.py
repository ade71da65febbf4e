"""A slip of the keyboard in SQL is refused with its place, so that its text alone mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.hospital import ROWS
from yunhe.dataplane import term_faults
from yunhe.kernel.errors import YunheError


def refused(hospital, sql: str) -> YunheError:
    with pytest.raises(YunheError) as refusal:
        hospital.govern(sql)
    return refusal.value


@pytest.mark.parametrize(
    ("sql", "mark", "plain", "column"),
    [
        ("SELECT age\uff0ccount(*) FROM patients", "\uff0c", ",", 11),
        ("SELECT sex, count\uff08*\uff09 FROM patients GROUP BY sex", "\uff08", "(", 18),
        ("SELECT age FROM patients\uff1b", "\uff1b", ";", 25),
        ("SELECT age FROM patients WHERE sex\uff1d'f'", "\uff1d", "=", 35),
        ("SELECT age FROM patients WHERE sex = \u2018f\u2019", "\u2018", "'", 38),
    ],
)
def test_a_full_width_mark_is_named_with_its_place(
    hospital, sql: str, mark: str, plain: str, column: int
) -> None:
    found = refused(hospital, sql)
    assert found.code == "SQL_FULL_WIDTH"
    assert (found.facts["mark"], found.facts["plain"]) == (mark, plain)
    assert (found.facts["line"], found.facts["column"]) == (1, column)


def test_quoted_marks_are_no_slip(hospital) -> None:
    assert refused(hospital, 'SELECT "\u8d39\u7528\uff08\u5143\uff09" FROM patients').code == (
        "COLUMN_NOT_AGREED"
    )
    assert hospital.govern("SELECT age FROM patients WHERE sex = '\u5973\uff0c'").names == ("age",)
    named = hospital.govern("SELECT count(*) AS \u4eba\u6570\uff08\u4eba\uff09 FROM patients")
    assert named.names == ("\u4eba\u6570\uff08\u4eba\uff09",)


def test_what_no_parser_reads_is_told_where(hospital) -> None:
    found = refused(hospital, "SELECT age\nFROM patients wher sex = 1")
    assert found.code == "SQL_NOT_READABLE"
    assert "at line 2, column 20, near 'sex'" in found.sentence()
    assert "：第 2 行第 20 个字符，'sex' 附近" in found.sentence("zh")
    found = refused(hospital, "SELECT age FROM patients WHERE sex = 'f")
    assert "a quote or a comment is not closed" in found.sentence()
    assert "有引号或注释未闭合" in found.sentence("zh")


def test_a_column_of_several_tables_is_no_unreadable_sql(hospital) -> None:
    found = refused(hospital, "SELECT id FROM patients JOIN labs ON patients.id = labs.id")
    assert (found.code, found.facts["column"]) == ("SQL_COLUMN_AMBIGUOUS", "id")


def test_what_is_sent_in_place_of_one_query_is_said_in_both_languages(hospital) -> None:
    found = refused(hospital, "SELECT age FROM patients; SELECT 1")
    assert "several statements" in found.sentence()
    assert "多条语句" in found.sentence("zh")
    assert "空语句" in refused(hospital, " ").sentence("zh")


def test_a_full_width_mark_in_a_row_filter_is_named(hospital) -> None:
    terms = replace(ROWS, row_filters=(("patients", "age \uff1e 18"),))
    [(part, fault)] = term_faults(terms, hospital.tables)
    assert part == "row_filters"
    assert "it has the full-width mark \uff1e in place of >" in fault.sentence()
    assert "含全角符号 \uff1e，应为半角 >" in fault.sentence("zh")
    terms = replace(ROWS, row_filters=(("patients", "agee > 18"),))
    [(_, fault)] = term_faults(terms, hospital.tables)
    assert "没有列 agee（最接近：Age）" in fault.sentence("zh")
