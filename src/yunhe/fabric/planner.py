"""The planner: which node answers what, and what is left to compute here.

In: a resolved query. Out: `Planned`: parts, slots and the final query over the slots. In this
order, for every SELECT from the outside in: what one contract can answer whole goes there whole;
aggregates over a partitioned source go there as partials; what is left of rows is filtered and
projected there and joined here, where the contract lets rows out at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from yunhe.fabric import partial, semijoin
from yunhe.fabric.arms import (
    Source,
    columns_of,
    conjuncts,
    for_arm,
    from_items,
    source,
    union_arms,
)
from yunhe.fabric.errors import FabricAggregateOnly, FabricSqlRefused, FabricUsesShort
from yunhe.fabric.estimate import estimate
from yunhe.fabric.model import Keys, Member, Part, Slot
from yunhe.fabric.resolve import Resolved, govern_local
from yunhe.fabric.sent import any_column, filters_of, told, wanted
from yunhe.kernel import limits

_WHOLE = ("one contract answers this part of the query whole", "该部分由一份合约整体完成")
_PARTIAL = (
    "each node aggregates its own part; only the partial aggregates are combined here",
    "各节点汇总自己的部分，本节点只合并部分汇总值",
)
_BARRED = (
    (
        "about {rows:,} rows travel where the keys {keys} would select a few:"
        " no contract lets {seer} see keys of {giver}"
    ),
    "约 {rows:,} 行将被传输；键 {keys} 本可筛选，但其来自 {giver}，没有合约允许 {seer} 看到",
)
_ROWS = (
    "the filtered rows of each node are put together here: {why}",
    "各节点过滤后的明细行在本节点汇集：{why_zh}",
)


@dataclass(frozen=True)
class Planned:
    """The parts, and the query that makes the answer of them."""

    parts: tuple[Part, ...]
    slots: tuple[Slot, ...]
    final: exp.Expr
    notes: tuple[tuple[str, str], ...] = ()


def make_plan(resolved: Resolved) -> Planned:
    """Plan a query; raises FABRIC_AGGREGATE_ONLY, FABRIC_SQL_REFUSED."""
    planner = _Planner(resolved)
    tree = planner.inlined(resolved.tree.copy())
    final = planner.query(tree)
    notes = tuple((en, zh) for en, zh in dict.fromkeys(planner.notes))
    return Planned(tuple(planner.parts.values()), tuple(planner.slots), final, notes)


class _Planner:
    def __init__(self, resolved: Resolved) -> None:
        self.tables = resolved.tables
        self.parts: dict[tuple[str, str, Keys | None], Part] = {}
        self.slots: list[Slot] = []
        self.notes: list[tuple[str, ...]] = []

    # -- from the outside in ---------------------------------------------------------------

    def inlined(self, tree: exp.Expr) -> exp.Expr:
        """CTEs that are a UNION ALL of plain selects stand where they are used."""
        ctes = list(tree.find_all(exp.CTE))
        for cte in ctes:
            name = cte.alias
            alone = sum(1 for each in ctes if each.alias == name) == 1
            plain = isinstance(cte.this, exp.SetOperation) and union_arms(cte.this, self.tables)
            if not (alone and plain):
                continue
            for table in list(tree.find_all(exp.Table)):
                if table.name == name and not table.db:
                    body = cte.this.copy()
                    alias = exp.to_identifier(table.alias_or_name, quoted=True)
                    table.replace(exp.Subquery(this=body, alias=exp.TableAlias(this=alias)))
            holder = cte.parent
            cte.pop()
            if isinstance(holder, exp.With) and not holder.expressions:
                holder.pop()
        return tree

    def query(self, node: exp.Expr) -> exp.Expr:
        """`node` with every provider's table in it answered by a slot."""
        if isinstance(node, (exp.Subquery, exp.Paren)):
            node.set("this", self.query(node.this))
            return node
        members = self._members(node)
        if not members:
            return node
        if len(members) == 1 and self._stands_alone(node):
            return self._whole(node, members[0])
        for cte in node.args["with_"].expressions if node.args.get("with_") else ():
            cte.set("this", self.query(cte.this))
        if isinstance(node, exp.SetOperation):
            node.set("this", self.query(node.this))
            node.set("expression", self.query(node.expression))
            return node
        assert isinstance(node, exp.Select)  # noqa: S101 - the gate's language has no other
        return self._select(node)

    def _members(self, node: exp.Expr) -> list[Member]:
        found: dict[str, Member] = {}
        for table in node.find_all(exp.Table):
            for member in self.tables[table.name].members if table.name in self.tables else ():
                found[member.contract_id] = member
        return list(found.values())

    def _stands_alone(self, node: exp.Expr) -> bool:
        """Whether nothing in `node` refers to what is defined outside of it."""
        ctes = {cte.alias for cte in node.find_all(exp.CTE)}
        tables = list(node.find_all(exp.Table))
        aliases = {table.alias_or_name for table in tables} | {
            each.alias for each in node.find_all(exp.Subquery)
        }
        return all(t.name in self.tables or t.name in ctes for t in tables) and all(
            column.table in aliases for column in node.find_all(exp.Column) if column.table
        )

    def _select(self, select: exp.Select) -> exp.Expr:
        items = from_items(select)
        found = [source(item, self.tables) for item in items]
        sources = [each for each in found if each is not None]
        if len(sources) == len(items) and _one_partition(sources):
            return self._block(select, sources)
        self._mixed(select, items, found)
        self._nested(select)
        return select

    def _nested(self, select: exp.Select) -> None:
        """Plan the queries inside expressions; FROM has been seen to."""
        seen: list[exp.Expr] = from_items(select)
        for node in list(select.walk(prune=lambda n: n is not select and isinstance(n, exp.Query))):
            inside = isinstance(node, exp.Query) and node is not select
            cte = isinstance(node.parent, exp.CTE)
            if inside and not cte and not any(node is item for item in seen):
                node.replace(self.query(node))

    # -- one contract ------------------------------------------------------------------------

    def _whole(self, node: exp.Expr, member: Member) -> exp.Expr:
        sent = node.copy()
        for table in list(sent.find_all(exp.Table)):
            if table.name in self.tables:
                shape = member.tables[self.tables[table.name].table]
                table.set("this", exp.to_identifier(shape.name, quoted=True))
        names = [item.alias_or_name for item in _first(sent).selects]
        if len(set(names)) < len(names):
            raise FabricSqlRefused(
                why="two columns of a sub-query have one name",
                why_zh="子查询中有两列同名",
            )
        pushed = ["everything"]
        slot = self._slot([self._part(member, sent, "whole", pushed)], names, *_WHOLE)
        return _read(slot, names)

    # -- one partition of several contracts --------------------------------------------------

    def _block(self, select: exp.Select, sources: Sequence[Source]) -> exp.Expr:
        why = ("the query lists rows", "查询输出明细行")
        nested = any(part.find(exp.Query) for part in _expressions(select))
        if partial.is_aggregate(select):
            why = ("a nested query needs them", "嵌套查询需要明细行")
            if not nested:
                made = partial.split(select, f"s{len(self.slots)}")
                if isinstance(made, partial.Split):
                    return self._partials(made, sources)
                why = (made.why, made.why_zh)
        return self._rows(select, sources, why)

    def _partials(self, made: partial.Split, sources: Sequence[Source]) -> exp.Expr:
        names = [item.alias for item in made.partial.selects]
        pushed = told(made.partial)
        parts = [
            self._part(arm.member, for_arm(made.partial, sources, at), "partial", pushed)
            for at, arm in enumerate(sources[0].arms)
        ]
        self._slot(parts, names, *_PARTIAL)
        return made.final

    def _rows(
        self, select: exp.Select, sources: Sequence[Source], why: tuple[str, str]
    ) -> exp.Select:
        for each in sources:
            self._may_leave(each, why)
        aliases = frozenset(each.alias for each in sources)
        self._no_shadow(select, aliases)
        joins = select.args.get("joins") or []
        if any(join.find(exp.Query) for join in joins):
            raise FabricSqlRefused(
                why="a nested query stands in a join of partitioned tables",
                why_zh="分区表的连接条件中含有嵌套查询",
            )
        where = select.args.get("where")
        terms = conjuncts(where.this if where else None)
        sent_terms = [each for each in terms if not each.find(exp.Query)]
        left = [each for each in terms if each.find(exp.Query)]
        needed = columns_of([*_expressions(select, but_where=True), *left], aliases)
        needed = needed or [any_column(sources[0])]
        sent = exp.Select()
        sent.set("from_", select.args["from_"].copy())
        sent.set("joins", [join.copy() for join in joins])
        for at, column in enumerate(needed):
            sent = sent.select(exp.alias_(column.copy(), f"c{at}", quoted=True))
        if sent_terms:
            sent = sent.where(*(exp.paren(each.copy()) for each in sent_terms))
        sent = self._cheaper(select, sent, left=bool(left))
        pushed = told(sent)
        parts = [
            self._part(arm.member, for_arm(sent, sources, at), "rows", pushed)
            for at, arm in enumerate(sources[0].arms)
        ]
        names = [f"c{at}" for at in range(len(needed))]
        en, zh = _ROWS
        slot = self._slot(parts, names, en.format(why=why[0]), zh.format(why_zh=why[1]))
        places = {(c.table, c.name): f"c{at}" for at, c in enumerate(needed)}
        select.set("from_", exp.From(this=exp.to_table(slot)))
        select.set("joins", None)
        select.set("where", None)
        if left:
            select.set("where", exp.Where(this=exp.and_(*left, copy=False)))
        for column in list(select.find_all(exp.Column)):
            if (place := places.get((column.table, column.name))) is not None:
                column.replace(exp.column(place, table=slot, quoted=True))
        self._nested(select)
        return select

    def _cheaper(self, select: exp.Select, sent: exp.Select, *, left: bool) -> exp.Select:
        """DISTINCT, or ORDER BY with LIMIT, where each part may do it before the whole does."""
        if left or select.find(exp.Window):
            return sent
        if partial.is_aggregate(select):
            if all(_blind_to_repeats(each) for each in select.find_all(exp.AggFunc)):
                sent.set("distinct", exp.Distinct())
            return sent
        limit, offset = select.args.get("limit"), select.args.get("offset")
        if select.args.get("distinct"):
            sent.set("distinct", exp.Distinct())
        elif limit is not None and not any(each.find(exp.Query) for each in select.selects):
            named = {item.alias: item.unalias() for item in select.selects}
            if order := select.args.get("order"):
                order = order.copy()
                for column in list(order.find_all(exp.Column)):
                    if not column.table and column.name in named:
                        column.replace(named[column.name].copy())
                sent.set("order", order)
            most = int(limit.expression.name) + (int(offset.expression.name) if offset else 0)
            sent = sent.limit(most)
        return sent

    # -- several contracts joined ------------------------------------------------------------

    def _mixed(
        self, select: exp.Select, items: Sequence[exp.Expr], found: Sequence[Source | None]
    ) -> None:
        parted = [each.alias_of for each in found if each and len(each.arms) > 1 and each.alias_of]
        if len(set(parted)) < len(parted):
            raise FabricSqlRefused(
                why=f"tables of the partitioned {parted[0]} are joined with others beside each"
                " other: join them in a subquery first",
                why_zh=f"分区别名 {parted[0]} 的多张表与他表并列连接：请先在子查询中连接",
            )
        why = ("they are joined here with others", "与他方数据在本节点连接")
        if len(items) == 1:
            why = ("a nested query needs them", "嵌套查询需要明细行")
        filters = filters_of(select, items)
        weighed: dict[str, semijoin.Weighed] = {}
        for item, each in zip(items, found, strict=True):
            if each is None:
                if isinstance(item, exp.Subquery):
                    item.set("this", self.query(item.this))
                continue
            self._may_leave(each, why)
            self._no_shadow(select, frozenset({each.alias}))
            sent = wanted(select, item, each, filters.get(each.alias, []))
            weighed[each.alias] = semijoin.weighed(each, sent)
        linked = self._linked(select, weighed)
        slots: dict[str, str] = {}
        # Whose keys filter others comes first: the plan is read, and runs, in this order.
        for alias in sorted(weighed, key=lambda name: name in linked):
            slots[alias] = self._fetched(weighed, alias, linked.get(alias), slots, why)
        for item, each in zip(items, found, strict=True):
            if each is not None:
                slot = exp.to_table(slots[each.alias])
                item.replace(exp.alias_(slot, each.alias, table=True, quoted=True))

    def _linked(
        self, select: exp.Select, weighed: dict[str, semijoin.Weighed]
    ) -> dict[str, semijoin.Link]:
        """By source the link by whose keys it is filtered; a note for each that may not be."""
        among = [
            link
            for link in semijoin.links(select)
            if link.giver in weighed and link.into in weighed
        ]
        linked = {}
        for link in semijoin.worthwhile(among, weighed):
            barred = semijoin.unseen(link, weighed)
            if barred is None:
                linked[link.into] = link
                continue
            into, giver = (arm.member for arm in barred)
            self.notes.append(
                tuple(
                    text.format(
                        keys=f"{link.giver}.{link.column}",
                        giver=giver.provider_did,
                        seer=into.provider_did,
                        rows=weighed[link.into].rows,
                    )
                    for text in _BARRED
                )
            )
        return linked

    def _fetched(
        self,
        weighed: dict[str, semijoin.Weighed],
        alias: str,
        link: semijoin.Link | None,
        slots: dict[str, str],
        why: tuple[str, str],
    ) -> str:
        """The slot of a source, its parts filtered by the keys of `link`."""
        each, sent = weighed[alias].source, weighed[alias].sent
        pushed, names = told(sent), [item.alias for item in sent.selects]
        parts = []
        for at, arm in enumerate(each.arms):
            keys = None
            if link is not None:
                keys = semijoin.keys(link, weighed, arm, slots[link.giver])
            mine = for_arm(sent, [each], at)
            parts.append(self._part(arm.member, mine, "rows", pushed, keys))
        en, zh = _ROWS
        return self._slot(parts, names, en.format(why=why[0]), zh.format(why_zh=why[1]))

    # -- parts and slots ---------------------------------------------------------------------

    def _part(
        self,
        member: Member,
        sent: exp.Expr,
        kind: str,
        pushed: Sequence[str],
        keys: Keys | None = None,
    ) -> Part:
        sql = sent.sql("duckdb", comments=False)
        known = self.parts.get((member.contract_id, sql, keys))
        if known is not None:
            return known
        if len(self.parts) >= limits.FABRIC_PARTS_MAX:
            raise FabricSqlRefused(
                why=f"it needs more than {limits.FABRIC_PARTS_MAX} sub-queries",
                why_zh=f"需要超过 {limits.FABRIC_PARTS_MAX} 个子查询",
            )
        used = sum(1 for key in self.parts if key[0] == member.contract_id) + 1
        if member.uses_left is not None and used > member.uses_left:
            raise FabricUsesShort(
                contract_id=member.contract_id, needed=used, left=member.uses_left
            )
        columns = {shape.name: shape.columns for shape in member.tables.values()}
        fields = tuple(sorted(govern_local(sql, columns).fields))
        name = f"p{len(self.parts)}"
        rows = estimate(sent, member)
        if rows is not None and keys is not None:
            rows = max(1, int(rows * keys.share))
        part = Part(name, member, sql, kind, fields, tuple(pushed), rows, keys)
        self.parts[(member.contract_id, sql, keys)] = part
        return part

    def _slot(self, parts: Sequence[Part], columns: Sequence[str], why: str, zh: str) -> str:
        name = f"s{len(self.slots)}"
        self.slots.append(Slot(name, tuple(p.name for p in parts), tuple(columns), why, zh))
        return name

    def _may_leave(self, each: Source, why: tuple[str, str]) -> None:
        """Rows of an aggregate-only contract never leave its node, so never meet others."""
        for arm in each.arms:
            if not arm.member.rows_mode:
                raise FabricAggregateOnly(
                    contract_id=arm.member.contract_id,
                    minimum_group=arm.member.terms.minimum_group,
                    why=f"rows of {arm.table} would have to leave: {why[0]}",
                    why_zh=f"需要输出 {arm.table} 的明细行：{why[1]}",
                )

    def _no_shadow(self, select: exp.Select, aliases: frozenset[str]) -> None:
        for node in select.find_all(exp.Query):
            if node is not select and isinstance(node, exp.Select) and node.args.get("from_"):
                inner = {item.alias_or_name for item in from_items(node)}
                if not self._is_source(select, node) and (both := inner & aliases):
                    raise FabricSqlRefused(
                        why=f"the alias {min(both)} is used again inside a nested query",
                        why_zh=f"别名 {min(both)} 在嵌套查询中重复使用",
                    )

    def _is_source(self, select: exp.Select, node: exp.Expr) -> bool:
        """Whether `node` lies in a FROM item or a CTE of `select`: a scope of its own."""
        above: exp.Expr | None = node
        while above is not None and above is not select:
            if isinstance(above, exp.CTE) or (
                isinstance(above, exp.Subquery) and isinstance(above.parent, (exp.From, exp.Join))
            ):
                return True
            above = above.parent
        return False


def _one_partition(sources: Sequence[Source]) -> bool:
    """Whether the sources are the parts of one thing, so that each node may join its own."""
    first = sources[0]
    if len(first.arms) < 2:
        return False
    same = {each.alias_of for each in sources} == {first.alias_of}
    return len(sources) == 1 or (bool(first.alias_of) and same)


def _expressions(select: exp.Select, *, but_where: bool = False) -> Iterable[exp.Expr]:
    names = ("group", "having", "order") if but_where else ("where", "group", "having", "order")
    yield from select.selects
    for name in names:
        if part := select.args.get(name):
            yield part


def _blind_to_repeats(node: exp.AggFunc) -> bool:
    """Whether rows that are the same twice change nothing."""
    return isinstance(node, (exp.Min, exp.Max)) or isinstance(node.this, exp.Distinct)


def _first(tree: exp.Expr) -> exp.Select:
    while not isinstance(tree, exp.Select):
        tree = tree.this
    return tree


def _read(slot: str, names: Sequence[str]) -> exp.Select:
    made = exp.Select()
    items = [
        exp.alias_(exp.column(name, table=slot, quoted=True), name, quoted=True) for name in names
    ]
    made.set("expressions", items)
    made.set("from_", exp.From(this=exp.to_table(slot)))
    return made
