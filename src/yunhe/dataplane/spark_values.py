"""Values as a Spark Connect engine is told them: literals, casts, decimals that stay exact.

In: what our own engine knows of a value (`Said`). Out: its text there, or NotSent where no text
means the same on every row and can never raise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

INTS: Final[Mapping[str, int]] = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
HASHED: Final = "HASHED"  # 63 bits made of a row; no type of a user's
DECIMAL_WIDTH_MAX: Final = 38
_KINDS: Final[Mapping[str, str]] = {
    "VARCHAR": "text", "DATE": "date", "TIMESTAMP": "timestamp", "BOOLEAN": "bool",
    "DOUBLE": "double", "NULL": "null", "HUGEINT": "decimal",
    "TIMESTAMP WITH TIME ZONE": "zoned", **dict.fromkeys(INTS, "int"),
}  # fmt: skip
_SPARK: Final[Mapping[str, str]] = {
    "INTEGER": "INT", "VARCHAR": "STRING", "TIMESTAMP": "TIMESTAMP_NTZ", "HUGEINT": "DECIMAL(38,0)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
}  # fmt: skip
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _.,:#%+()/=-]{0,200}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)


class NotSent(Exception):
    """This part is not done by the engine; the message says why, for `explain`."""


@dataclass(frozen=True)
class Said:
    """A text for Spark and what it is: `kind` our engine's type, `width` the decimal's there."""

    sql: str
    kind: str
    width: tuple[int, int] | None = None  # precision and scale, of decimals and HUGEINT
    literal: bool = False

    @property
    def family(self) -> str:
        """Values of one family can be compared."""
        return "decimal" if self.kind.startswith("DECIMAL") else _KINDS.get(self.kind, "other")

    @property
    def digits(self) -> tuple[int, int]:
        """Precision and scale as a decimal."""
        if self.width is not None:
            return self.width
        if self.kind in INTS:
            return INTS[self.kind], 0
        raise NotSent(f"arithmetic of {self.kind} stays here")


def spark_type(kind: str) -> str:
    """The name of one of our types there."""
    return _SPARK.get(kind, kind)


def decimal(kind: str) -> tuple[int, int] | None:
    """Precision and scale of a DECIMAL type; None for another."""
    found = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind)
    return (int(found[1]), int(found[2])) if found else (38, 0) if kind == "HUGEINT" else None


def text(value: str) -> str:
    """A text literal: its bytes where any letter of it could mean something."""
    if "\0" in value:
        raise NotSent("a NUL stays here")
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    return f"CAST(X'{value.encode().hex()}' AS STRING)"


def key_mark(name: str) -> str:
    """What stands for a key in a text; the key comes in when it is sent."""
    return f":{name}:"


def tried(sql: str, kind: str) -> str:
    """A cast that is NULL where it cannot be done.

    In a function that does nothing: Sail's optimiser compares without a cast that it sees, and so
    does not make NULL of what is beyond the type.
    """
    return f"NULLIF(TRY_CAST({sql} AS {kind}), NULL)"


def constant(kind: str, value: str | None) -> Said:
    """A value our own engine computed; raises NotSent for one that has no plain form."""
    if value is None:
        if _KINDS.get(kind, "null") == "null" and not decimal(kind):
            return Said("NULL", "NULL", literal=True)
        return Said(f"CAST(NULL AS {spark_type(kind)})", kind, decimal(kind))
    if kind == "VARCHAR":
        return Said(text(value), kind, literal=True)
    if kind == "BOOLEAN" and value in ("true", "false"):
        return Said(value.upper(), kind, literal=True)
    if kind == "DATE" and _DATE.fullmatch(value):
        return Said(f"DATE '{value}'", kind, literal=True)
    if kind == "TIMESTAMP" and _STAMP.fullmatch(value):
        return Said(f"TIMESTAMP_NTZ '{value}'", kind, literal=True)
    if kind in INTS and re.fullmatch(r"-?\d{1,19}", value, re.ASCII):
        return Said(value + ("L" if kind == "BIGINT" else ""), kind, literal=True)
    if kind.startswith("DECIMAL") and re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?", value, re.ASCII):
        return Said(f"{value}BD", kind, written(value), literal=True)
    if kind == "DOUBLE" and re.fullmatch(
        r"-?\d{1,17}(\.\d{1,17})?(e[+-]?\d{1,3})?", value, re.ASCII
    ):
        return Said(f"{value}D", kind, literal=True)
    raise NotSent(f"a constant of type {kind} stays here")


def cast(value: Said, kind: str) -> Said:
    """A cast that means the same there and cannot raise; raises NotSent."""
    if value.kind in (kind, "NULL"):
        return Said(f"CAST({value.sql} AS {spark_type(kind)})", kind, decimal(kind))
    source, target = value.family, _KINDS.get(kind, "decimal" if decimal(kind) else "other")
    if value.literal and source == "text" and target in ("date", "timestamp"):
        return meant(value, Said("", kind))
    if target == "text" and source == "int":
        return Said(f"CAST({value.sql} AS STRING)", "VARCHAR")
    if target == "double" and source in ("int", "decimal"):
        return double(value)
    if target == "int" and source == "int":
        return Said(tried(value.sql, spark_type(kind)), kind)
    if target == "int" and source == "double":
        return Said(tried(whole_double(value, kind), spark_type(kind)), kind)
    if target == "decimal" and source in ("int", "decimal"):
        width = decimal(kind)
        assert width is not None  # noqa: S101 - its family is decimal
        if value.digits[1] <= width[1]:
            return Said(tried(value.sql, f"DECIMAL({width[0]},{width[1]})"), kind, width)
    if target == "timestamp" and source == "date":
        return Said(f"CAST({dated(value)} AS TIMESTAMP_NTZ)", kind)
    raise NotSent(f"a cast of {value.kind} to {kind} stays here")


def whole_double(value: Said, kind: str) -> str:
    """A whole number as it is, NULL out of the type's range."""
    bits = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}[kind]
    whole, most = value.sql, float(1 << bits)
    return f"(CASE WHEN {whole} >= {-most!r}D AND {whole} < {most!r}D THEN {whole} END)"


def dated(value: Said) -> str:
    """A date or time of four-digit years; another is NULL, where it would make an engine raise."""
    first, last = "0001-01-01", "9999-12-31"
    if value.family == "timestamp":
        low, high = f"TIMESTAMP_NTZ '{first} 00:00:00'", f"TIMESTAMP_NTZ '{last} 23:59:59.999999'"
    else:
        low, high = f"DATE '{first}'", f"DATE '{last}'"
    return f"(CASE WHEN {value.sql} >= {low} AND {value.sql} <= {high} THEN {value.sql} END)"


def literal(node: exp.Expr) -> Said | None:
    """A plain literal; None for a number that our own engine must read first."""
    if isinstance(node, exp.Null):
        return Said("NULL", "NULL", literal=True)
    if isinstance(node, exp.Boolean):
        return Said("TRUE" if node.this else "FALSE", "BOOLEAN", literal=True)
    if node.is_string:
        return Said(text(node.name), "VARCHAR", literal=True)
    if re.fullmatch(r"\d{1,9}", node.name, re.ASCII):
        return Said(node.name, "INTEGER", literal=True)
    if re.fullmatch(r"\d{1,18}", node.name, re.ASCII):
        return Said(f"{node.name}L", "BIGINT", literal=True)
    if re.fullmatch(r"\d{1,18}\.\d{1,18}", node.name, re.ASCII):
        width = written(node.name)
        return Said(f"{node.name}BD", f"DECIMAL({width[0]},{width[1]})", width, literal=True)
    return None


def written(value: str) -> tuple[int, int]:
    """Precision and scale of a decimal as Spark reads it."""
    whole, _, part = value.lstrip("-").partition(".")
    return max(len(whole.lstrip("0")) + len(part), 1), len(part)


def meant(value: Said, other: Said) -> Said:
    """A text literal as what it is compared with."""
    if not (value.literal and value.kind == "VARCHAR") or other.family in ("text", "null"):
        return value
    plain = value.sql.strip("'")
    if other.family == "date" and _DATE.fullmatch(plain):
        return constant("DATE", plain)
    if other.family == "timestamp":
        full = plain if _STAMP.fullmatch(plain) else f"{plain} 00:00:00"
        if _STAMP.fullmatch(full):
            return constant("TIMESTAMP", full.replace("T", " "))
    raise NotSent(f"a text compared with {other.kind} stays here")


def like(value: Said, sql: str) -> Said:
    return Said(sql, value.kind, value.width)


def double(value: Said) -> Said:
    if value.family in ("double", "null"):
        return Said(value.sql, "DOUBLE")
    if value.family not in ("int", "decimal"):
        raise NotSent(f"{value.kind} as a DOUBLE stays here")
    if value.literal:
        digits = re.sub(r"[LBD]+$", "", value.sql)
        if len(re.sub(r"\D", "", digits)) > 15:
            raise NotSent("a long number compared with a DOUBLE stays here")
        return Said(f"{digits}D", "DOUBLE", literal=True)
    return Said(f"CAST({value.sql} AS DOUBLE)", "DOUBLE")


def as_decimal(value: Said) -> Said:
    """A whole number as a decimal that holds every value of its type."""
    if value.family == "decimal":
        return value
    if value.literal:
        return Said(f"{value.sql.rstrip('L')}BD", value.kind, value.digits)
    return Said(f"CAST({value.sql} AS DECIMAL({INTS[value.kind]},0))", value.kind)


def settled(value: Said) -> Said:
    """Of minus zero and zero one: engines group and compare them each its own way."""
    if value.family == "double" and not value.literal:
        return Said(f"({value.sql} + 0.0D)", "DOUBLE")
    return value


def room(parts: list[Said], more: int = 0) -> tuple[int, int]:
    """The decimal that holds all of these exactly; raises NotSent where there is none."""
    scale = max(part.digits[1] for part in parts)
    whole = max(part.digits[0] - part.digits[1] for part in parts)
    if whole + scale + more > DECIMAL_WIDTH_MAX:
        raise NotSent("decimals of so many digits stay here")
    return whole + scale + more, scale


def result(kind: type[exp.Expr], left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """Precision and scale of an exact result by Spark's rules; raises NotSent."""
    if kind is exp.Mul:
        made = left[0] + right[0] + 1, left[1] + right[1]
    else:
        scale = max(left[1], right[1])
        made = max(left[0] - left[1], right[0] - right[1]) + scale + 1, scale
    # Two factors of 19 digits have 38 at the most: the rule's one more is for the sign.
    if made[0] == DECIMAL_WIDTH_MAX + 1 and made[1] == 0 and kind is exp.Mul:
        made = (DECIMAL_WIDTH_MAX, 0)
    if made[0] > DECIMAL_WIDTH_MAX:
        raise NotSent("decimals of so many digits stay here")
    return made


def whole_number(node: exp.Expr | None, least: int) -> int:
    if not (isinstance(node, exp.Literal) and node.is_int and len(node.name) < 10):
        raise NotSent("a place that is no plain number stays here")
    if int(node.name) < least:
        raise NotSent("a place before the first stays here")
    return int(node.name)
