"""The governed language as data: which nodes, arguments and functions a query may hold.

Everything absent is refused (DESIGN §4.7); docs/sql.md is the same list for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

# Structure: sqlglot node -> the arguments it may carry; any other argument set is refused.
STRUCTURE: Final[dict[type[exp.Expr], frozenset[str]]] = {
    exp.Select: frozenset(
        [
            "with_",
            "expressions",
            "from_",
            "joins",
            "where",
            "group",
            "having",
            "order",
            "limit",
            "offset",
            "distinct",
        ]
    ),
    exp.Subquery: frozenset({"this", "alias", "with_"}),
    exp.Union: frozenset(["with_", "this", "expression", "distinct", "order", "limit", "offset"]),
    exp.Intersect: frozenset(
        ["with_", "this", "expression", "distinct", "order", "limit", "offset"]
    ),
    exp.Except: frozenset(["with_", "this", "expression", "distinct", "order", "limit", "offset"]),
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias"}),
    exp.From: frozenset({"this"}),
    exp.Table: frozenset({"this", "alias", "db", "catalog"}),  # the last two: own refusal
    exp.TableAlias: frozenset({"this"}),
    exp.Join: frozenset(["this", "on", "side", "kind", "using", "method"]),
    exp.Where: frozenset({"this"}),
    exp.Group: frozenset(["expressions", "all", "rollup", "cube", "grouping_sets"]),  # own refusal
    exp.Having: frozenset({"this"}),
    exp.Order: frozenset({"expressions"}),
    exp.Ordered: frozenset(["this", "desc", "nulls_first"]),
    exp.Limit: frozenset({"expression"}),
    exp.Offset: frozenset({"expression"}),
    exp.Distinct: frozenset({"expressions"}),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Star: frozenset({"except_"}),
    exp.Window: frozenset(["this", "partition_by", "order", "over"]),
}

# Values, and operators that never raise on values of one kind.
TOTAL: Final[frozenset[type[exp.Expr]]] = frozenset(
    {
        exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Tuple, exp.Var,
        exp.And, exp.Or, exp.Not, exp.Is, exp.Exists, exp.If, exp.DataType,
        exp.Like, exp.ILike, exp.DPipe, exp.Interval,
    }
)  # fmt: skip
COMPARISONS: Final[frozenset[type[exp.Expr]]] = frozenset(
    {
        exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In,
        exp.NullSafeEQ, exp.NullSafeNEQ, exp.Case, exp.Nullif, exp.Coalesce,
        exp.Greatest, exp.Least,
    }
)  # fmt: skip
# Operators and functions that can raise on some value: wrapped in TRY when on rows.
PARTIAL: Final[frozenset[type[exp.Expr]]] = frozenset(
    {
        exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs, exp.Round,
        exp.Floor, exp.Ceil, exp.Substring, exp.Left, exp.Right, exp.DateDiff,
        exp.TimestampTrunc, exp.DateTrunc, exp.Extract, exp.Year, exp.Month, exp.Day,
        exp.Quarter, exp.StartsWith, exp.Contains,
    }
)  # fmt: skip
TEXT: Final[frozenset[type[exp.Expr]]] = frozenset(
    {exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Concat}
)
CASTS: Final[frozenset[type[exp.Expr]]] = frozenset({exp.Cast, exp.TryCast})
GROUP_AGGREGATES: Final[frozenset[type[exp.Expr]]] = frozenset({exp.Count, exp.Sum, exp.Avg})
AGGREGATES: Final[frozenset[type[exp.Expr]]] = GROUP_AGGREGATES | {
    exp.Min, exp.Max, exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.Median,
}  # fmt: skip
QUANTILES: Final[frozenset[type[exp.Expr]]] = frozenset({exp.Quantile, exp.PercentileDisc})
# Where groups only may leave: what the terms call them.
AGGREGATE_NAMES: Final[Mapping[type[exp.Expr], str]] = {
    exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
    exp.Median: "median", **dict.fromkeys(QUANTILES, "quantile"), exp.Variance: "variance",
    **dict.fromkeys((exp.Stddev, exp.StddevSamp, exp.StddevPop), "stddev"),
}  # fmt: skip
WINDOWS: Final[frozenset[type[exp.Expr]]] = frozenset(
    {exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag, exp.Lead}
)
SCALARS: Final = TOTAL | COMPARISONS | PARTIAL | TEXT | CASTS
ALLOWED: Final = frozenset(STRUCTURE) | SCALARS | AGGREGATES | WINDOWS

JOINS: Final[frozenset[tuple[str, str, str]]] = frozenset(  # method, side, kind
    {
        ("", "", ""), ("", "", "INNER"), ("", "LEFT", ""), ("", "RIGHT", ""), ("", "FULL", ""),
        ("", "LEFT", "OUTER"), ("", "RIGHT", "OUTER"), ("", "FULL", "OUTER"),
        ("", "", "CROSS"), ("", "", "SEMI"), ("", "", "ANTI"),
        ("", "LEFT", "SEMI"), ("", "LEFT", "ANTI"),
    }
)  # fmt: skip
CAST_TYPES: Final = frozenset(
    [
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "FLOAT",
        "DOUBLE",
        "DECIMAL",
        "TEXT",
        "VARCHAR",
        "DATE",
        "TIMESTAMP",
        "TIMESTAMPNTZ",  # what the parser calls TIMESTAMP in our dialect
        "TIMESTAMPTZ",
        "TIME",
    ]
)
FILTER_NODES: Final[frozenset[type[exp.Expr]]] = frozenset(
    {
        exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
        exp.In, exp.Between, exp.Is, exp.Null, exp.Neg, exp.Column, exp.Identifier, exp.Literal,
        exp.Boolean,
    }
)  # fmt: skip
DATE_LITERAL: Final[frozenset[type[exp.Expr]]] = frozenset({exp.Cast, exp.DataType})
