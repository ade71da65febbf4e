"""What is asked of one source of a join: its columns, the terms that run there, told for people."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from yunhe.fabric.arms import Source, columns_of, conjuncts


def wanted(select: exp.Select, item: exp.Expr, each: Source, terms: list[exp.Expr]) -> exp.Select:
    """What a source has to bring: the columns that are used, the rows that its terms leave."""
    needed = columns_of([select], frozenset({each.alias})) or [any_column(each)]
    sent = exp.Select()
    sent.set("from_", exp.From(this=item.copy()))
    for column in needed:
        sent = sent.select(exp.alias_(column.copy(), column.name, quoted=True))
    return sent.where(*(exp.paren(term.copy()) for term in terms)) if terms else sent


def filters_of(select: exp.Select, items: Sequence[exp.Expr]) -> dict[str, list[exp.Expr]]:
    """The terms that speak of one source only and may run before the join, by its alias."""
    padded: set[str] = set()  # sources that an outer join may fill with NULL
    found: dict[str, list[exp.Expr]] = {}
    for at, join in enumerate(select.args.get("joins") or []):
        alias = join.this.alias_or_name
        side, kind = str(join.side or "").upper(), str(join.kind or "").upper()
        before = {item.alias_or_name for item in items[: at + 1]}
        padded |= before if side in ("RIGHT", "FULL") else set()
        padded |= {alias} if side in ("LEFT", "FULL") else set()
        if kind in ("", "INNER", "OUTER") and side in ("", "LEFT"):
            for term in conjuncts(join.args.get("on")):
                if _only(term, alias) or (side == "" and _alone(term) not in (None, *padded)):
                    found.setdefault(_alone(term) or alias, []).append(term)
    where = select.args.get("where")
    for term in conjuncts(where.this if where else None):
        speaks = _alone(term)
        if speaks is not None and speaks not in padded:
            found.setdefault(speaks, []).append(term)
    return found


def _alone(term: exp.Expr) -> str | None:
    """The one alias a term speaks of, if it does of one only."""
    tables = {column.table for column in term.find_all(exp.Column)}
    return tables.pop() if len(tables) == 1 and not term.find(exp.Query) else None


def _only(term: exp.Expr, alias: str) -> bool:
    return _alone(term) == alias


def any_column(each: Source) -> exp.Column:
    return exp.column(next(iter(each.arms[0].columns)), table=each.alias, quoted=True)


def told(sent: exp.Select) -> list[str]:
    """What a sub-query does at its node, for people."""
    said = [f"columns {', '.join(item.alias for item in sent.selects)}"]
    if where := sent.args.get("where"):
        said.append(f"filter {where.this.sql('duckdb')}")
    for join in sent.args.get("joins") or []:
        said.append(f"join {join.this.alias_or_name}")
    if group := sent.args.get("group"):
        said.append(f"group by {', '.join(key.sql('duckdb') for key in group.expressions)}")
    aggregates = [item.this.sql("duckdb") for item in sent.selects if item.find(exp.AggFunc)]
    if aggregates:
        said.append(f"partial aggregates {', '.join(aggregates)}")
    for name in ("distinct", "order", "limit"):
        if part := sent.args.get(name):
            said.append(part.sql("duckdb").strip().lower())
    return said
