"""Make a query total: nothing in it can raise on a value, so no error tells of a hidden row.

DuckDB may evaluate a user's predicate on rows the policy hides (measured on 2.0), and whether it
raised is one bit about them. So casts become TRY_CAST, and whatever can raise goes into TRY.
"""

from __future__ import annotations

from sqlglot import exp

from yunhe.dataplane.errors import TypesDiffer
from yunhe.dataplane.functions import COMPARISONS, PARTIAL


def make_total(tree: exp.Expr) -> exp.Expr:
    """Rewrite `tree` (types annotated) in place and return it; raises TypesDiffer.

    Left alone: constants (they fail for everyone alike) and expressions over aggregates or
    windows (computed after every row filter; TRY cannot hold them).
    """
    for cast in list(tree.find_all(exp.Cast)):
        if type(cast) is exp.Cast:
            safe = exp.TryCast(this=cast.this, to=cast.to)
            safe.type = cast.type
            tree = _swap(tree, cast, safe)
    partial: list[exp.Expr] = []  # outermost ones; the walk does not go below them
    for node in tree.walk(bfs=False, prune=lambda n: bool(partial) and n is partial[-1]):
        if _can_raise(node) and node.find(exp.Column):
            if node.find(exp.Query):
                raise TypesDiffer(what=node.key.upper())
            if not node.find(exp.AggFunc, exp.Window):
                partial.append(node)
    for node in partial:
        wrapped = exp.Anonymous(this="TRY", expressions=[node.copy()])
        tree = _swap(tree, node, wrapped)
    return tree


def _swap(tree: exp.Expr, old: exp.Expr, new: exp.Expr) -> exp.Expr:
    if old is tree:
        return new
    old.replace(new)
    return tree


def _can_raise(node: exp.Expr) -> bool:
    if type(node) in PARTIAL:
        return True
    if type(node) not in COMPARISONS:
        return False
    kinds = {kind for part in _compared(node) if (kind := _kind(part)) != "any"}
    return len(kinds) > 1 or "unknown" in kinds


def _compared(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Case):
        subject = node.args.get("this")
        tests = [branch.this for branch in node.args["ifs"]] if subject else []
        if subject:
            return [subject, *tests]
        results = [branch.args["true"] for branch in node.args["ifs"]]
        return [*results, *([node.args["default"]] if node.args.get("default") else [])]
    if isinstance(node, exp.In) and node.args.get("query"):
        query = node.args["query"]
        inner = query.this if isinstance(query, exp.Subquery) else query
        return [node.this, *inner.selects]
    return [part for part in node.iter_expressions() if not isinstance(part, exp.Identifier)]


def _kind(node: exp.Expr) -> str:
    """The family within which DuckDB compares without a cast that could fail."""
    if isinstance(node, exp.Null) or (isinstance(node, exp.Literal) and node.is_string):
        return "any"  # a text literal is cast while binding, before any row is read
    kind = node.type
    if kind is None:
        return "unknown"
    if kind.is_type(*exp.DataType.TEXT_TYPES):
        return "text"
    if kind.is_type(*exp.DataType.NUMERIC_TYPES):
        return "number"
    if kind.is_type(exp.DType.UNKNOWN, exp.DType.NULL):
        return "unknown"
    return str(kind.this.value)
