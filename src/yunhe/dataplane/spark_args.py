"""Which parts of each node are read where a query is said to a Spark Connect engine.

A part that nothing reads would silently be left out: a new version of the parser may give a node
one (`NOT LIKE` once was two nodes). So whatever does not stand here is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from yunhe.dataplane.functions import STRUCTURE
from yunhe.dataplane.spark_values import NotSent
from yunhe.dataplane.spark_words import SAYERS

# What is read of each kind of node. A new version of the parser may give one another part.
_TWO: Final = frozenset({"this", "expression"})
_ONE: Final = frozenset({"this"})
_MANY: Final = frozenset({"this", "expressions"})
ARGS: Final[Mapping[type[exp.Expr], frozenset[str]]] = {
    **dict.fromkeys(SAYERS, _TWO),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.In: frozenset({"this", "expressions", "query"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    **dict.fromkeys((exp.Coalesce, exp.Anonymous), _MANY),
    **dict.fromkeys((exp.Greatest, exp.Least), _MANY | {"ignore_nulls"}),
    exp.Round: frozenset({"this", "decimals"}),
    **dict.fromkeys((exp.Floor, exp.Ceil), frozenset({"this", "decimals", "to"})),
    exp.Cast: frozenset({"this", "to"}),
    exp.TryCast: frozenset({"this", "to", "requires_string", "safe"}),
    exp.Like: _TWO | {"negate"},
    exp.Substring: frozenset({"this", "start", "length"}),
    exp.DPipe: _TWO | {"safe"},
    exp.Concat: frozenset({"expressions", "safe", "coalesce"}),
    **dict.fromkeys((exp.TimestampTrunc, exp.DateTrunc), frozenset({"this", "unit"})),
    exp.DateDiff: _TWO | {"unit", "date_part_boundary"},
    exp.SHA2: frozenset({"this", "length"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Literal: frozenset({"this", "is_string"}),
    **dict.fromkeys((exp.Paren, exp.Try, exp.Sum, exp.Avg), _ONE),
    **dict.fromkeys((exp.TableAlias, exp.From, exp.Where, exp.Having), _ONE),
    exp.Star: frozenset(),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Count: _MANY | {"big_int"},
    **dict.fromkeys((exp.Min, exp.Max, exp.Rank, exp.DenseRank), _MANY),
    exp.Window: frozenset({"this", "partition_by", "order", "over"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    **dict.fromkeys((exp.Order, exp.With, exp.Distinct), frozenset({"expressions"})),
    exp.Select: STRUCTURE[exp.Select],
    **{kind: STRUCTURE[kind] for kind in (exp.Union, exp.Intersect, exp.Except)},
    exp.Subquery: frozenset({"this", "alias"}),
    exp.Table: frozenset({"this", "alias", "db"}),
    exp.CTE: frozenset({"this", "alias"}),
    exp.Join: frozenset({"this", "on", "side", "kind"}),
    exp.Group: frozenset({"expressions", "all"}),
    **dict.fromkeys((exp.Limit, exp.Offset), frozenset({"expression"})),
}


def check_args(tree: exp.Expr) -> None:
    """Refuse any part of a node that nothing here reads: what is not looked at is not left out."""
    for node in tree.walk():
        read = ARGS.get(type(node))
        if read is not None:
            for name, value in node.args.items():
                if value and name not in read:
                    raise NotSent(f"{node.key.upper()} {name.upper()} stays here")
