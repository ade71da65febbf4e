"""Semi-joins: the keys of a small source, shown to the provider of a large one, so that only rows
that can meet them travel.

In: the sources of a join and its terms. Out: which source may be filtered by whose keys, and the
filtered SQL once the keys are known. Keys go only where nobody learns what is not theirs to see:
to the provider they come from, and to nodes that the contract they come under names (`keys_to`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp

from yunhe.fabric.arms import Arm, Source, conjuncts, for_arm
from yunhe.fabric.estimate import estimate
from yunhe.fabric.model import Keys, Member, Part, Shape
from yunhe.kernel import limits

_WORTH: Final = 4  # the large source has at least so many times the rows of the small one
_WHOLE: Final = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
)
_TEXT: Final = "VARCHAR"


@dataclass(frozen=True)
class Link:
    """Rows of `into` matter only where their `into_column` is a `column` of `giver`."""

    giver: str
    column: str
    into: str
    into_column: str


@dataclass(frozen=True)
class Weighed:
    """A source, what it is to bring, and how many rows that is thought to be."""

    source: Source
    sent: exp.Select
    rows: int | None


def links(select: exp.Select) -> list[Link]:
    """The equalities that every row of the join has to meet, in the directions they bind."""
    found: list[Link] = []
    for join in select.args.get("joins") or []:
        alias = join.this.alias_or_name
        side, kind = str(join.side or "").upper(), str(join.kind or "").upper()
        if kind in ("", "INNER", "OUTER") and side in ("", "LEFT"):
            both = [link for term in conjuncts(join.args.get("on")) for link in _both(term)]
            # A left join keeps its left rows whatever they meet: only its right is bound.
            found += [link for link in both if not side or link.into == alias]
    where = select.args.get("where")
    for term in conjuncts(where.this if where else None):
        found += _both(term)
    return found


def _both(term: exp.Expr) -> list[Link]:
    term = term.unnest()
    if not isinstance(term, exp.EQ):
        return []
    one, other = term.this.unnest(), term.expression.unnest()
    if not (isinstance(one, exp.Column) and isinstance(other, exp.Column)):
        return []
    if not one.table or not other.table or one.table == other.table:
        return []
    return [
        Link(one.table, one.name, other.table, other.name),
        Link(other.table, other.name, one.table, one.name),
    ]


def worthwhile(found: Sequence[Link], sources: Mapping[str, Weighed]) -> list[Link]:
    """One link for each source that another's keys make much smaller; givers are none of these."""
    rows = {alias: each.rows for alias, each in sources.items()}
    made: dict[str, Link] = {}
    for link in sorted(found, key=lambda each: rows.get(each.giver) or 0):
        few, many = rows.get(link.giver), rows.get(link.into)
        if few is None or many is None or few > limits.FABRIC_KEYS_MAX or few * _WORTH > many:
            continue
        chained = link.giver in made or any(each.giver == link.into for each in made.values())
        if link.into not in made and not chained and kind(link, sources):
            made[link.into] = link
    return list(made.values())


def kind(link: Link, sources: Mapping[str, Weighed]) -> str:
    """The one type that all arms show the keys and the filtered column in; "" if there is none."""
    types = {
        arm.member.tables[arm.table].columns[arm.columns[column]]
        for alias, column in ((link.giver, link.column), (link.into, link.into_column))
        for arm in sources[alias].source.arms
    }
    found = types.pop() if len(types) == 1 else ""
    return found if found in _WHOLE or found == _TEXT else ""


def is_text(found: str) -> bool:
    """Whether keys of this type are texts."""
    return found == _TEXT


def may_see(seer: Member, giver: Member) -> bool:
    """Whether the provider of `seer` may be shown what `giver` lets out.

    It is its own, or the giver's contract names it; one for groups of entities shows nobody any.
    """
    own = seer.provider_did == giver.provider_did
    return own or (giver.rows_mode and seer.provider_did in giver.terms.keys_to)


def weighed(each: Source, sent: exp.Select) -> Weighed:
    """The source with about how many rows `sent` brings of all its arms."""
    found = [estimate(for_arm(sent, [each], at), arm.member) for at, arm in enumerate(each.arms)]
    known = [rows for rows in found if rows is not None]
    return Weighed(each, sent, sum(known) if len(known) == len(found) else None)


def keys(link: Link, sources: Mapping[str, Weighed], arm: Arm, slot: str) -> Keys:
    """The keys by which one arm of `link.into` is filtered."""
    givers = sources[link.giver].source.arms
    shapes = [(each.member, each.member.tables[each.table]) for each in givers]
    fields = {
        f"{shape.name}.{shape.spelled[each.columns[link.column]]}": None
        for each, (_, shape) in zip(givers, shapes, strict=True)
    }
    own = arm.member.tables[arm.table]
    column = exp.column(own.spelled[arm.columns[link.into_column]], table=link.into, quoted=True)
    return Keys(
        slot,
        link.column,
        tuple(fields),
        tuple(dict.fromkeys(member.provider_did for member, _ in shapes)),
        column.sql("duckdb"),
        is_text(kind(link, sources)),
        _share(sources[link.giver], shapes),
    )


def _share(giver: Weighed, shapes: Sequence[tuple[Member, Shape]]) -> float:
    """Which part of its rows the giver's filters leave, so about which part of all keys."""
    every = sum(shape.rows or 0 for _, shape in shapes)
    return min(1.0, (giver.rows or every) / every) if every else 1.0


def unseen(link: Link, sources: Mapping[str, Weighed]) -> tuple[Arm, Arm] | None:
    """The first pair of arms whose keys may not pass; None where all may."""
    for into in sources[link.into].source.arms:
        for giver in sources[link.giver].source.arms:
            if not may_see(into.member, giver.member):
                return into, giver
    return None


def narrowed(part: Part, values: Sequence[str] | None) -> str | None:
    """The part's SQL with its keys; None where it is to be asked as it is."""
    keys = part.keys
    if keys is None or values is None:
        return None
    if keys.text:
        if not all(
            len(each) <= limits.FABRIC_KEY_CHARS_MAX and each.isprintable() for each in values
        ):
            return None
        literals: list[exp.Expr] = [exp.Literal.string(each) for each in values]
    else:
        literals = [exp.Literal.number(int(each)) for each in values]
    tree = sqlglot.parse_one(part.sql, dialect="duckdb")
    column = sqlglot.parse_one(keys.into, dialect="duckdb")
    assert isinstance(tree, exp.Select)  # noqa: S101 - as the planner made it
    made = tree.where(exp.In(this=column, expressions=literals)).sql("duckdb", comments=False)
    return made if len(made.encode()) <= limits.SQL_BYTES_MAX else None
