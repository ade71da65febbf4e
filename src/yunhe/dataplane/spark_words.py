"""Values and predicates of a governed query in Spark's words, or not at all.

In: nodes of our own SQL, columns with known types. Out: `Said`: a text for Spark Connect and the
type our engine gives it. Every word stands on a list here; what engines do differently (overflow,
division, text bytes, dates out of range) is written out or raises NotSent. Only total functions
are said: no row that the policy hides can make the engine raise. No text of a user's is copied:
names are ours, texts with any other letter than plain ones go as bytes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from sqlglot import exp

from yunhe.dataplane.spark_values import (
    HASHED,
    INTS,
    NotSent,
    Said,
    as_decimal,
    cast,
    constant,
    dated,
    decimal,
    double,
    key_mark,
    like,
    literal,
    meant,
    result,
    room,
    settled,
    spark_type,
    text,
    tried,
    whole_number,
)

_SIGNS: Final[Mapping[type[exp.Expr], str]] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.NullSafeEQ: "<=>", exp.NullSafeNEQ: "<=>",
}  # fmt: skip
_ARITHMETIC: Final[Mapping[type[exp.Expr], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_PARTS: Final[Mapping[type[exp.Expr], str]] = {
    exp.Year: "YEAR", exp.Month: "MONTH", exp.Day: "DAY", exp.Quarter: "QUARTER",
}  # fmt: skip
_UNITS: Final = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE")
_KEYS: Final = ("mask_key", "audit_key")


class Oracle(Protocol):
    """What our own engine says of expressions without a row."""

    def kind(self, sql: str) -> str:
        """The type of an expression; raises NotSent."""
        ...

    def constant(self, sql: str) -> tuple[str, str | None]:
        """Type and text of an expression without columns; raises NotSent."""
        ...


class Words:
    """What is said of one SELECT; `find` resolves its columns, `ask` says queries within it."""

    def __init__(
        self,
        oracle: Oracle,
        find: Callable[[exp.Column], Said],
        ask: Callable[[exp.Expr], tuple[str, list[Said]]],
    ) -> None:
        self._oracle, self._find, self._ask = oracle, find, ask

    def say(self, node: exp.Expr) -> Said:
        """A value or predicate; raises NotSent."""
        if isinstance(node, (exp.Paren, exp.Try)):
            inner = self.say(node.this)
            return inner if inner.literal else like(inner, f"({inner.sql})")
        if isinstance(node, (exp.Literal, exp.Boolean, exp.Null)):
            return literal(node) or self._folded(node)
        if isinstance(node, exp.Column):
            return self._find(node)
        if _constant(node):
            return self._folded(node)
        if isinstance(node, exp.Subquery):
            return self._scalar(node)
        made = SAYERS.get(type(node))
        if made is None:
            raise NotSent(f"{node.key.upper()} stays here")
        return made(self, node)

    def truth(self, node: exp.Expr) -> str:
        """A predicate's text; raises NotSent."""
        said = self.say(node)
        if said.kind not in ("BOOLEAN", "NULL"):
            raise NotSent(f"a {said.kind} as a condition stays here")
        return said.sql

    def key(self, node: exp.Expr) -> Said:
        """What is grouped, joined or made distinct by: of two zeros one."""
        said = self.say(node)
        if said.family in ("other", "null") and said.kind != HASHED:
            raise NotSent(f"a key of type {said.kind} stays here")
        return settled(said)

    def compared(self, sign: str, left: Said, right: Said) -> Said:
        """Two values of one family, or a text literal that is one of the other's."""
        left, right = meant(left, right), meant(right, left)
        families = {left.family, right.family} - {"null"}
        if "double" in families and families <= {"int", "decimal", "double"}:
            left, right = (settled(double(each)) for each in (left, right))
        elif families <= {"int", "decimal"}:
            room([each for each in (left, right) if each.family != "null"])
        elif len(families) > 1 or families & {"other"}:
            raise NotSent(f"{left.kind} compared with {right.kind} stays here")
        return Said(f"({left.sql} {sign} {right.sql})", "BOOLEAN")

    def unified(self, parts: list[Said]) -> list[Said]:
        """Values of one type, as CASE and COALESCE give; raises NotSent."""
        families = {part.family for part in parts} - {"null"}
        if len(families) > 1 and families <= {"int", "decimal", "double"}:
            if "double" in families:
                return [double(part) for part in parts]
        elif len(families) > 1 or ("other" in families and not _prints(parts)):
            raise NotSent(f"values of kinds {', '.join(sorted(families))} stay here")
        if families and families <= {"int", "decimal"}:
            known = [part for part in parts if part.family != "null"]
            if families == {"int"}:
                widest = max((part.kind for part in known), key=lambda kind: INTS[kind])
                return [Said(part.sql, widest) for part in parts]
            width = room(known)
            target = f"DECIMAL({width[0]},{width[1]})"
            return [Said(f"CAST({part.sql} AS {target})", target, width) for part in parts]
        kind = next((part.kind for part in parts if part.kind != "NULL"), "NULL")
        return [Said(part.sql, kind) for part in parts]

    def _folded(self, node: exp.Expr) -> Said:
        """What holds no column is computed here, once, by the engine whose answer counts."""
        kind, value = self._oracle.constant(str(node.sql("duckdb", comments=False)))
        return constant(kind, value)

    def _scalar(self, node: exp.Subquery) -> Said:
        sql, columns = self._ask(node.this)
        if len(columns) != 1:
            raise NotSent("a subquery of several columns stays here")
        return like(columns[0], f"({sql})")

    def _and_or(self, node: exp.Expr) -> Said:
        word = "AND" if isinstance(node, exp.And) else "OR"
        said = [self.truth(part) for part in node.flatten()]
        return Said(f"({f' {word} '.join(said)})", "BOOLEAN")

    def _not(self, node: exp.Expr) -> Said:
        return Said(f"(NOT {self.truth(node.this)})", "BOOLEAN")

    def _is(self, node: exp.Expr) -> Said:
        if not isinstance(node.expression, (exp.Null, exp.Boolean)):
            raise NotSent("IS stays here")
        said = self.say(node.this)
        if isinstance(node.expression, exp.Boolean) and said.kind != "BOOLEAN":
            raise NotSent("IS of no truth stays here")
        word = literal(node.expression)
        assert word is not None  # noqa: S101 - NULL, TRUE or FALSE
        return Said(f"({said.sql} IS {word.sql})", "BOOLEAN")

    def _comparison(self, node: exp.Expr) -> Said:
        sides = self.say(node.this), self.say(node.expression)
        made = self.compared(_SIGNS[type(node)], *sides)
        return Said(f"(NOT {made.sql})", "BOOLEAN") if type(node) is exp.NullSafeNEQ else made

    def _between(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        low = self.compared(">=", value, self.say(node.args["low"]))
        high = self.compared("<=", value, self.say(node.args["high"]))
        return Said(f"({low.sql} AND {high.sql})", "BOOLEAN")

    def _in(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        query = node.args.get("query")
        if query is None:
            each = [self.compared("=", value, self.say(part)) for part in node.expressions]
            return Said(f"({' OR '.join(part.sql for part in each)})", "BOOLEAN")
        sql, columns = self._ask(query.this if isinstance(query, exp.Subquery) else query)
        if (
            len(columns) != 1
            or columns[0].kind != value.kind
            or value.family in ("double", "other")
        ):
            raise NotSent("IN over values of another type stays here")
        return Said(f"({value.sql} IN ({sql}))", "BOOLEAN")

    def _exists(self, node: exp.Expr) -> Said:
        inner = node.this
        sql, _ = self._ask(inner.this if isinstance(inner, exp.Subquery) else inner)
        return Said(f"(EXISTS ({sql}))", "BOOLEAN")

    def _case(self, node: exp.Expr) -> Said:
        subject = node.args.get("this")
        tests, results = [], []
        for branch in node.args["ifs"]:
            if subject is None:
                tests.append(self.truth(branch.this))
            else:
                sides = self.say(subject), self.say(branch.this)
                tests.append(self.compared("=", *sides).sql)
            results.append(self.say(branch.args["true"]))
        default = node.args.get("default")
        results.append(self.say(default) if default is not None else Said("NULL", "NULL"))
        return self._cases(tests, results)

    def _cases(self, tests: list[str], results: list[Said]) -> Said:
        *made, last = self.unified(results)
        said = " ".join(
            f"WHEN {test} THEN {each.sql}" for test, each in zip(tests, made, strict=True)
        )
        return like(last, f"(CASE {said} ELSE {last.sql} END)")

    def _if(self, node: exp.Expr) -> Said:
        default = node.args.get("false")
        other = self.say(default) if default is not None else Said("NULL", "NULL")
        return self._cases([self.truth(node.this)], [self.say(node.args["true"]), other])

    def _nullif(self, node: exp.Expr) -> Said:
        value, other = self.say(node.this), self.say(node.expression)
        same = self.compared("=", value, other)
        return like(value, f"(CASE WHEN {same.sql} THEN NULL ELSE {value.sql} END)")

    def _coalesce(self, node: exp.Expr) -> Said:
        parts = self.unified([self.say(part) for part in (node.this, *node.expressions)])
        return like(parts[0], f"COALESCE({', '.join(part.sql for part in parts)})")

    def _extreme(self, node: exp.Expr) -> Said:
        said = [self.say(part) for part in (node.this, *node.expressions)]
        parts = self.unified(said)
        if len(parts) < 2 or parts[0].family not in ("int", "decimal", "date", "timestamp"):
            raise NotSent(f"{node.key.upper()} of these stays here")
        word = "GREATEST" if isinstance(node, exp.Greatest) else "LEAST"
        return like(parts[0], f"{word}({', '.join(part.sql for part in parts)})")

    def _arithmetic(self, node: exp.Expr) -> Said:
        left, right = self.say(node.this), self.say(node.expression)
        families = {left.family, right.family}
        sign = _ARITHMETIC[type(node)]
        if families == {"date"} and isinstance(node, exp.Sub):
            return Said(f"CAST(DATEDIFF({left.sql}, {right.sql}) AS BIGINT)", "BIGINT")
        if not families <= {"int", "decimal", "double"}:
            raise NotSent(f"arithmetic of {left.kind} and {right.kind} stays here")
        if "double" in families:
            return Said(f"({double(left).sql} {sign} {double(right).sql})", "DOUBLE")
        kind = self._kind(node, left, right)
        width = result(type(node), left.digits, right.digits)
        raw = f"({as_decimal(left).sql} {sign} {as_decimal(right).sql})"
        if node.find(exp.AggFunc):  # after every filter: what is too wide fails, as it does here
            return Said(raw, kind, width)
        target = decimal(kind)
        if target is not None and target[1] != width[1]:
            raise NotSent("arithmetic of such decimals stays here")
        if target is not None and target[0] >= width[0]:
            return Said(raw, kind, width)
        return Said(tried(raw, spark_type(kind)), kind, target)

    def _kind(self, node: exp.Expr, *parts: Said) -> str:
        """What our own engine makes of operands of these types."""
        made = node.copy()
        for name, part in zip(("this", "expression"), parts, strict=False):
            if not (part.literal or _constant(made.args[name])):
                null = f"CAST(NULL AS {part.kind})"
                made.set(name, exp.maybe_parse(null, dialect="duckdb"))
        return self._oracle.kind(str(made.sql("duckdb", comments=False)))

    def _div(self, node: exp.Expr) -> Said:
        left, right = self.say(node.this), self.say(node.expression)
        if not right.literal or right.family not in ("int", "decimal", "double"):
            raise NotSent("division by a value stays here")
        if float(re.sub(r"[LBD]+$", "", right.sql)) == 0:
            raise NotSent("division by zero stays here")
        return Said(f"({double(left).sql} / {double(right).sql})", "DOUBLE")

    def _mod(self, node: exp.Expr) -> Said:
        left, right = self.say(node.this), self.say(node.expression)
        if not right.literal or {left.family, right.family} != {"int"}:
            raise NotSent("MOD by a value stays here")
        if int(right.sql.rstrip("L")) in (0, -1):
            raise NotSent("MOD by zero stays here")
        return Said(f"({left.sql} % {right.sql})", self._kind(node, left, right))

    def _neg(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        if value.family == "double":
            return Said(f"(- {value.sql})", "DOUBLE")
        if value.family not in ("int", "decimal"):
            raise NotSent(f"- of {value.kind} stays here")
        width = value.digits
        made = f"(0BD - {as_decimal(value).sql})"
        if value.family == "int" and not node.find(exp.AggFunc):
            return Said(tried(made, spark_type(value.kind)), value.kind)
        return Said(made, value.kind, room([value, Said("", "", (width[0], width[1]))], 1))

    def _abs(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        if value.family in ("double", "decimal"):
            return like(value, f"ABS({value.sql})")
        if value.family != "int":
            raise NotSent(f"ABS of {value.kind} stays here")
        made = tried(f"ABS({as_decimal(value).sql})", spark_type(value.kind))
        return Said(made, value.kind)

    def _rounded(self, node: exp.Expr) -> Said:
        """ROUND, FLOOR and CEIL to whole numbers; beyond 2^53 a DOUBLE is one."""
        value, word = self.say(node.this), node.key.upper()
        if node.args.get("decimals") is not None or node.args.get("to") is not None:
            raise NotSent(f"{word} to digits stays here")
        if value.family == "int":
            return value if isinstance(node, exp.Round) else double(value)
        if value.family != "double":
            raise NotSent(f"{word} of {value.kind} stays here")
        if isinstance(node, exp.Round):
            return Said(f"ROUND({value.sql})", "DOUBLE")
        small = f"(ABS({value.sql}) < 9e15D)"
        bounded = f"(CASE WHEN {small} THEN {value.sql} END)"
        made = f"COALESCE(CAST({word}({bounded}) AS DOUBLE), {value.sql})"
        return Said(made, "DOUBLE")

    def _cast(self, node: exp.Expr) -> Said:
        assert isinstance(node, exp.Cast)  # noqa: S101 - and TryCast, its subclass
        value = self.say(node.this)
        kind = self._oracle.kind(f"CAST(NULL AS {node.to.sql('duckdb')})")
        if value.family == "double" and kind in INTS and not _whole_already(node.this):
            raise NotSent("a cast that rounds stays here")  # engines round halves each its way
        return cast(value, kind)

    def _like_(self, node: exp.Expr) -> Said:
        value, pattern = self.say(node.this), node.expression
        if value.family != "text" or not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise NotSent("LIKE of a value stays here")
        if "\\" in pattern.name:
            raise NotSent("a backslash in LIKE stays here")
        word = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return Said(f"({value.sql} {word} {text(pattern.name)})", "BOOLEAN")

    def _within(self, node: exp.Expr) -> Said:
        value, part = self.say(node.this), self.say(node.expression)
        word = "STARTSWITH" if isinstance(node, exp.StartsWith) else "CONTAINS"
        if {value.family, part.family} != {"text"}:
            raise NotSent(f"{word} of these stays here")
        return Said(f"{word}({value.sql}, {part.sql})", "BOOLEAN")

    def _length(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        if value.family != "text":
            raise NotSent("LENGTH of no text stays here")
        return Said(f"CAST(LENGTH({value.sql}) AS BIGINT)", "BIGINT")

    def _ends(self, node: exp.Expr) -> Said:
        value = self.say(node.this)
        word = "LEFT" if isinstance(node, exp.Left) else "RIGHT"
        size = whole_number(node.expression, 0)
        if value.family != "text":
            raise NotSent(f"{word} of no text stays here")
        return Said(f"{word}({value.sql}, {size})", "VARCHAR")

    def _substring(self, node: exp.Expr) -> Said:
        value, start = self.say(node.this), whole_number(node.args.get("start"), 1)
        length = node.args.get("length")
        size = f", {whole_number(length, 0)}" if length is not None else ""
        if value.family != "text":
            raise NotSent("SUBSTRING of no text stays here")
        return Said(f"SUBSTRING({value.sql}, {start}{size})", "VARCHAR")

    def _joined(self, node: exp.Expr) -> Said:
        """`||` is NULL where one side is; CONCAT takes NULL for nothing."""
        parts = [node.this, node.expression] if isinstance(node, exp.DPipe) else node.expressions
        said = [self.say(part) for part in parts]
        if any(part.family != "text" for part in said):
            raise NotSent("texts joined with others stay here")
        each = [part.sql for part in said]
        if isinstance(node, exp.Concat):
            each = [f"COALESCE({part}, '')" for part in each]
        return Said(f"CONCAT({', '.join(each)})", "VARCHAR")

    def _part(self, node: exp.Expr) -> Said:
        word = _PARTS.get(type(node)) or str(node.this.name).upper()
        value = self.say(node.expression if isinstance(node, exp.Extract) else node.this)
        if word not in _PARTS.values() or value.family not in ("date", "timestamp"):
            raise NotSent(f"{word} of {value.kind} stays here")
        return Said(f"CAST({word}({dated(value)}) AS BIGINT)", "BIGINT")

    def _truncated(self, node: exp.Expr) -> Said:
        value, unit = self.say(node.this), str(node.args["unit"].name).upper()
        if unit not in _UNITS or value.family not in ("date", "timestamp"):
            raise NotSent("DATE_TRUNC of these stays here")
        stamp = f"CAST({dated(value)} AS TIMESTAMP_NTZ)"
        made = f"CAST(DATE_TRUNC('{unit}', {stamp}) AS TIMESTAMP_NTZ)"
        if self._oracle.kind(f"DATE_TRUNC('{unit}', CAST(NULL AS {value.kind}))") == "DATE":
            return Said(f"CAST({made} AS DATE)", "DATE")
        return Said(made, "TIMESTAMP")

    def _days(self, node: exp.Expr) -> Said:
        later, sooner = self.say(node.this), self.say(node.expression)
        unit = str(node.args["unit"].name).upper() if node.args.get("unit") else ""
        if unit != "DAY" or {later.family, sooner.family} != {"date"}:
            raise NotSent("DATE_DIFF of these stays here")
        return Said(f"CAST(DATEDIFF({later.sql}, {sooner.sql}) AS BIGINT)", "BIGINT")

    def _sha(self, node: exp.Expr) -> Said:
        """The mask `hash`: a key and a value written as text."""
        inner = node.this.unnest()
        length = node.args.get("length")
        if not isinstance(inner, exp.DPipe) or (length is not None and length.name != "256"):
            raise NotSent("SHA256 stays here")
        name, value = _variable(inner.this), self.say(inner.expression)
        if value.family != "text":
            raise NotSent("SHA256 stays here")
        made = f"SHA2(CONCAT('{key_mark(name)}', {value.sql}), 256)"
        return Said(made, "VARCHAR")

    def _named(self, node: exp.Expr) -> Said:
        """HASH of a row, keyed; of hashes, plain. It is compared with its like only."""
        if node.name.upper() == "ISFINITE":
            value = self.say(node.expressions[0])
            return Said(f"(ABS({value.sql}) <= {sys.float_info.max!r}D)", "BOOLEAN")
        if node.name.upper() != "HASH" or not node.expressions:
            raise NotSent(f"{node.name.upper()} stays here")
        first, *others = node.expressions
        said = []
        if isinstance(first, exp.Anonymous):
            said.append(f"'{key_mark(_variable(first))}'")
        else:
            others = node.expressions
        for part in others:
            value = self.say(part)
            if value.family == "other" and value.kind != HASHED:
                raise NotSent(f"a print of {value.kind} stays here")
            said += [f"({value.sql} IS NULL)", settled(value).sql]
        return Said(f"(XXHASH64({', '.join(said)}) & 9223372036854775807L)", HASHED)


def _prints(parts: list[Said]) -> bool:
    return {part.kind for part in parts} <= {HASHED, "NULL"}


def _variable(node: exp.Expr) -> str:
    node = node.unnest()
    known = isinstance(node, exp.Anonymous) and node.name.upper() == "GETVARIABLE"
    name = node.expressions[0].name if known and node.expressions else ""
    if name not in _KEYS:
        raise NotSent(f"{node.key.upper()} stays here")
    return str(name)


def _whole_already(node: exp.Expr) -> bool:
    """ROUND, or a whole multiple of it."""
    node = node.unnest()
    if isinstance(node, exp.Mul) and isinstance(node.expression, exp.Literal):
        node = node.this.unnest() if node.expression.is_int else node
    return isinstance(node, exp.Round) and node.args.get("decimals") is None


def _constant(node: exp.Expr) -> bool:
    """Whether it holds nothing but literals and operators."""
    never = (exp.Column, exp.AggFunc, exp.Query, exp.Star, exp.Window, exp.Anonymous, exp.Div)
    return node.find(*never) is None


SAYERS: Final[Mapping[type[exp.Expr], Callable[[Words, exp.Expr], Said]]] = {
    exp.And: Words._and_or, exp.Or: Words._and_or, exp.Not: Words._not, exp.Is: Words._is,
    **dict.fromkeys(_SIGNS, Words._comparison),
    exp.Between: Words._between, exp.In: Words._in, exp.Exists: Words._exists,
    exp.Case: Words._case, exp.If: Words._if, exp.Nullif: Words._nullif,
    exp.Coalesce: Words._coalesce, exp.Greatest: Words._extreme, exp.Least: Words._extreme,
    **dict.fromkeys(_ARITHMETIC, Words._arithmetic),
    exp.Div: Words._div, exp.Mod: Words._mod, exp.Neg: Words._neg, exp.Abs: Words._abs,
    exp.Round: Words._rounded, exp.Floor: Words._rounded, exp.Ceil: Words._rounded,
    exp.Cast: Words._cast, exp.TryCast: Words._cast, exp.Like: Words._like_,
    exp.StartsWith: Words._within, exp.Contains: Words._within, exp.Length: Words._length,
    exp.Left: Words._ends, exp.Right: Words._ends, exp.Substring: Words._substring,
    exp.DPipe: Words._joined, exp.Concat: Words._joined,
    **dict.fromkeys(_PARTS, Words._part), exp.Extract: Words._part,
    exp.TimestampTrunc: Words._truncated, exp.DateTrunc: Words._truncated,
    exp.DateDiff: Words._days, exp.SHA2: Words._sha, exp.Anonymous: Words._named,
}  # fmt: skip
