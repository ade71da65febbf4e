"""What a slip of the keyboard in SQL is called, so that who typed it finds it.

In: the SQL, and what a parser or the gate said of it. Out: the refusal that names the place: a
full-width mark of a Chinese keyboard, a word that does not fit, a quote that stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sqlglot.errors import ParseError, SqlglotError

from yunhe.kernel.errors import Invalid, YunheError

_CURLY: Final = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
_HAN: Final = {"\u3001": ",", "\u3002": ".", "\u3010": "[", "\u3011": "]"}
# Full-width letters, digits and the low line may stand in a name; the other marks stand for ASCII.
_WIDE: Final = {
    chr(wide): chr(wide - 0xFEE0)
    for wide in range(0xFF01, 0xFF5F)
    if not (chr(wide - 0xFEE0).isalnum() or chr(wide - 0xFEE0) == "_")
}
MARKS: Final[Mapping[str, str]] = MappingProxyType(_CURLY | _HAN | _WIDE)
_SHOWN_MAX: Final = 40  # characters of a word that does not fit


class SqlNotReadable(Invalid):
    code = "SQL_NOT_READABLE"
    en = "The SQL cannot be parsed{where}."
    zh = "无法解析该 SQL{where}。"
    mend_en = "Correct the syntax; docs/sql.md describes the language."
    mend_zh = "请更正语法，语言说明见 docs/sql.md。"

    def __init__(self, detail: str = "", *, where: str = "", where_zh: str = "") -> None:
        super().__init__(detail, where=where, where_zh=where_zh)


class SqlFullWidth(Invalid):
    code = "SQL_FULL_WIDTH"
    en = "The SQL has the full-width mark {mark} at line {line}, column {column}."
    zh = "SQL 中有全角符号 {mark}（第 {line} 行第 {column} 个字符）。"
    mend_en = "Type {plain} in its place; a name with such marks stands in double quotes."
    mend_zh = "请改用半角 {plain}；名称中含此类符号时，请用半角双引号括起。"


class ColumnAmbiguous(Invalid):
    code = "SQL_COLUMN_AMBIGUOUS"
    en = "Several tables of the query have a column {column}."
    zh = "查询中有多个表含列 {column}。"
    mend_en = "Write which one is meant: table.{column}."
    mend_zh = "请写明是哪个表的列：表名.{column}。"


def full_width(sql: str) -> tuple[str, int] | None:
    """The first full-width mark outside quotes, and where it stands; or None."""
    quote = ""
    for at, char in enumerate(sql):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in MARKS:
            return char, at
    return None


def named(sql: str, error: YunheError) -> YunheError:
    """The refusal of a name: of its full-width mark, where it has one that nobody quoted."""
    names = [str(error.facts.get(fact, "")) for fact in ("column", "function", "table")]
    marked = any(char in MARKS for name in names for char in name)
    return (_wide(sql) or error) if marked else error


def unreadable(sql: str, error: Exception) -> YunheError:
    """The refusal of SQL that a parser did not read, with the place as far as it is known."""
    if (wide := _wide(sql)) is not None:
        return wide
    if isinstance(error, ParseError) and error.errors:
        found = error.errors[0]
        before = str(found.get("start_context") or "")
        word = str(found.get("highlight") or "")[:_SHOWN_MAX]
        column = len(before.rpartition("\n")[2]) + 1
        line = int(found.get("line") or 1)
        en = f" at line {line}, column {column}, near {word!r}"
        zh = f"：第 {line} 行第 {column} 个字符，{word!r} 附近"
        return SqlNotReadable(str(error), where=en, where_zh=zh)
    if isinstance(error, SqlglotError) and "Missing" in str(error.__cause__ or error.__context__):
        en, zh = ": a quote or a comment is not closed", "：有引号或注释未闭合"
        return SqlNotReadable(str(error), where=en, where_zh=zh)
    return SqlNotReadable(str(error) or repr(error))


def _wide(sql: str) -> SqlFullWidth | None:
    found = full_width(sql)
    if found is None:
        return None
    mark, at = found
    above, _, before = sql[:at].rpartition("\n")
    line = above.count("\n") + 2 if "\n" in sql[:at] else 1
    return SqlFullWidth(mark=mark, plain=MARKS[mark], line=line, column=len(before) + 1)
