"""The gate: a user's SQL in, governed SQL out, or a refusal that names the rule.

What runs is the text regenerated here, never the user's (parser differentials die with it); each
table has become a policy subquery, so no later trick of the query can reach behind it. The whole
order of work is `govern`. Rules and their reasons: docs/sql.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import OptimizeError, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema
from sqlglot.tokenizer_core import Token

from yunhe.contracts import Terms
from yunhe.dataplane import aggregate, bounding, functions, growth, noise, partials, slips
from yunhe.dataplane.errors import (
    ColumnNotAgreed,
    ConstructRefused,
    FunctionRefused,
    NameQualified,
    NameReserved,
    NotOneQuery,
    SqlTooDeep,
    SqlTooLong,
    TableFunctionRefused,
    TableNotAgreed,
)
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pushdown_fetch import located
from yunhe.dataplane.total import check_literals, hasty, make_total
from yunhe.dataplane.views import View, names, views
from yunhe.kernel import limits

_UNRESOLVED = re.compile(
    r"(?:Column|column:?|join:|table:?|Table) '?([^'\n]+?)'?(?: could|\.? ?Line|$)"
)
_AMBIGUOUS = re.compile(r"mbiguous column '([^'\n]+)'")

_SLIPS = (ValueError, AttributeError, KeyError, IndexError, TypeError, OverflowError)
# A parser's own slip on hostile text is a refusal, not a fault of the node.
_DUCKDB = Dialect.get_or_raise("duckdb")
_OPENINGS = (TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.L_PAREN, TokenType.TABLE)


def govern(sql: str, tables: Mapping[str, TableBinding], terms: Terms) -> Governed:
    """Rewrite `sql` so that running it can only do what `terms` allow on `tables`.

    Pure; 1-3 ms. Raises one of errors.py, whose code names the rule that was broken.
    """
    try:
        seen = views(tables, terms)
        tree = _parse(sql)
        if terms.minimum_group:
            aggregate.check_shape(tree, terms)
        _check_nodes(tree, frozenset() if not terms.minimum_group else functions.QUANTILES)
        _check_names(tree, seen)
        growth.check(tree, seen)
        name_outputs(tree)
        given = _given_names(tree)
        tree = _qualify(tree, seen)
        fields, used = _fields(tree, seen)
        check_literals(tree)
        outputs = _restore_names(tree, given, seen)
        if terms.minimum_group:
            if terms.privacy is not None:
                return _noisy(tree, seen, terms, (fields, used, outputs))
            parts = aggregate.split(tree, seen, terms)
            text = _render(parts.final)
            # What stands in no sum is made of rows, wherever these lie.
            away = any(located(tables[name]) for name in used)
            stored = away and not parts.shape.beside
            groups_text = _groups(parts, seen, terms.minimum_group, stored=stored)
            summed = parts.summed
        else:
            tree = make_total(tree)
            careful = bool(terms.row_filters) and hasty(tree)
            text = _render(_bind(tree, seen, with_entity=False))
            return Governed(text, fields, used, outputs, careful=careful)
        k = terms.minimum_group
        return Governed(text, fields, used, outputs, groups_text, k, summed=summed)
    except (ColumnNotAgreed, FunctionRefused, TableNotAgreed) as error:
        raise slips.named(sql, error) from error.__cause__
    except RecursionError as error:
        raise SqlTooDeep(what="the nesting", limit=limits.SQL_BRACKETS_DEPTH_MAX) from error


def _groups(parts: aggregate.Split, seen: Mapping[str, View], k: int, *, stored: bool) -> str:
    """What fills `groups`; where a table is `stored` in a database, in a form that can go there."""
    if stored:
        figures = _render(_bind(parts.figures, seen, with_entity=False))
        people = _render(_bind(parts.people, seen, with_entity=True))
        return partials.statement(figures, people, parts.partials, k)
    rows = _render(_bind(parts.rows, seen, with_entity=True))
    whole = parts.whole
    beside = None if whole is None else _render(_bind(whole, seen, with_entity=False))
    return bounding.statement(rows, parts.shape, k, beside)


def _noisy(
    tree: exp.Expr,
    seen: Mapping[str, View],
    terms: Terms,
    said: tuple[frozenset[str], tuple[str, ...], tuple[str, ...]],
) -> Governed:
    """A query under a privacy budget; `said`: fields, tables and names."""
    assert terms.privacy is not None  # noqa: S101 - the caller looked
    parts = aggregate.noisy(tree, seen, terms, terms.privacy)
    people = _render(_bind(parts.people, seen, with_entity=True))
    exact = noise.statement(people, parts.keys, parts.stats, terms.privacy)
    k = terms.minimum_group
    made = noise.recipe(exact, parts.keys, parts.stats, parts.answers, terms.privacy, k)
    return Governed(_render(parts.final), *said, exact, k, made)


def read(sql: str) -> exp.Expr:
    """The tree of one query within the bounds, nothing else asked of it; raises as `govern`."""
    try:
        return _parse(sql)
    except RecursionError as error:
        raise SqlTooDeep(what="the nesting", limit=limits.SQL_BRACKETS_DEPTH_MAX) from error


def _parse(sql: str) -> exp.Expr:
    if len(sql.encode("utf-8", "surrogatepass")) > limits.SQL_BYTES_MAX:
        raise SqlTooLong(what="the query", limit=f"{limits.SQL_BYTES_MAX} bytes")
    if "\0" in sql or any("\ud800" <= char <= "\udfff" for char in sql):
        raise slips.SqlNotReadable()
    depth = deepest = 0
    for char in sql:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > limits.SQL_BRACKETS_DEPTH_MAX:
        raise SqlTooDeep(what="the nesting", limit=limits.SQL_BRACKETS_DEPTH_MAX)
    try:
        tokens = _DUCKDB.tokenize(sql)
        while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            tokens.pop()
        _check_tokens(tokens)
        statements = _DUCKDB.parser().parse(tokens, sql)
    except (SqlglotError, *_SLIPS) as error:
        raise slips.unreadable(sql, error) from error
    if len(statements) != 1 or statements[0] is None:
        count = len(statements)
        raise NotOneQuery(got=f"{count} statements", got_zh=f"{count} 条语句")
    root = statements[0]
    if not isinstance(root, (exp.Select, exp.Union, exp.Intersect, exp.Except)):
        raise NotOneQuery(got=root.key.upper())
    if sum(1 for _ in root.walk()) > limits.SQL_NODES_MAX:
        raise SqlTooLong(what="the query", limit=f"{limits.SQL_NODES_MAX} elements")
    return root


def _check_tokens(tokens: list[Token]) -> None:
    """One statement that begins as a query; so the parser never falls back to opaque commands."""
    if not tokens:
        raise NotOneQuery(got="nothing", got_zh="空语句")
    if len(tokens) > limits.SQL_NODES_MAX:
        raise SqlTooLong(what="the query", limit=f"{limits.SQL_NODES_MAX} words")
    if tokens[0].token_type not in _OPENINGS:
        raise NotOneQuery(got=tokens[0].text.upper()[:40])
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise NotOneQuery(got="several statements", got_zh="多条语句")


def _check_nodes(tree: exp.Expr, more: frozenset[type[exp.Expr]]) -> None:
    """Node, argument and function allow-lists, and `more` of them; whatever is not listed is
    refused by name."""
    for node in tree.walk():
        kind = type(node)
        if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
            raise TableFunctionRefused(name=node.this.sql("duckdb") if node.this else "?")
        if kind not in functions.ALLOWED and kind not in more:
            if isinstance(node, exp.Anonymous):
                raise FunctionRefused(function=node.name)
            if isinstance(node, exp.Func):
                raise FunctionRefused(function=node.sql_name().lower())
            raise ConstructRefused(construct=node.key.upper())
        if (allowed := functions.STRUCTURE.get(kind)) is not None:
            for name, value in node.args.items():
                if value and name not in allowed:
                    raise ConstructRefused(construct=f"{node.key.upper()} {name.upper()}")
        _check_special(node)


def _check_special(node: exp.Expr) -> None:
    """Rules that look into a node of an allowed kind."""
    bad = False
    if isinstance(node, exp.Join):
        shape = tuple(str(part or "").upper() for part in (node.method, node.side, node.kind))
        bad = shape not in functions.JOINS
    elif isinstance(node, exp.Group):
        bad = any(node.args.get(name) for name in ("rollup", "cube", "grouping_sets"))
        bad = bad or not (node.expressions or node.args.get("all"))
    elif isinstance(node, exp.Select):
        bad = not node.expressions
    elif isinstance(node, (exp.Limit, exp.Offset)):
        bad = not (isinstance(node.expression, exp.Literal) and node.expression.is_int)
    elif isinstance(node, exp.Interval):
        bad = not isinstance(node.this, exp.Literal)
    elif isinstance(node, (exp.Cast, exp.TryCast)):
        bad = bool(node.args.get("format")) or node.to.this.value not in functions.CAST_TYPES
    elif isinstance(node, exp.Count):
        bad = bool(node.expressions)
    elif isinstance(node, exp.In):
        bad = bool(node.args.get("unnest") or node.args.get("field"))
    if bad:
        raise ConstructRefused(construct=node.sql("duckdb", comments=False)[:80])


def _check_names(tree: exp.Expr, seen: Mapping[str, View]) -> None:
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for identifier in tree.find_all(exp.Identifier):
        if identifier.name.startswith("__"):
            raise NameReserved(name=identifier.name)
    for name in ctes & set(seen):
        raise NameReserved(name=name)
    tables = list(tree.find_all(exp.Table))
    if not tables:
        raise ConstructRefused(construct="SELECT without FROM")
    if len(tables) > limits.SQL_TABLES_MAX:
        raise SqlTooLong(what="the tables of a query", limit=limits.SQL_TABLES_MAX)
    for table in tables:
        if table.args.get("db") or table.args.get("catalog"):
            raise NameQualified(name=table.sql("duckdb", comments=False))
        if table.name.lower() not in seen and table.name.lower() not in ctes:
            have = [view.table for view in seen.values()]
            raise TableNotAgreed(table=table.name, **names(table.name, have))


def _qualify(tree: exp.Expr, seen: Mapping[str, View]) -> exp.Expr:
    # Of what is asked only; never empty, as the qualifier would then guess.
    asked = {table.name.lower() for table in tree.find_all(exp.Table)} & seen.keys() or seen.keys()
    schema = MappingSchema({name: dict(seen[name].types) for name in asked}, dialect="duckdb")
    try:
        tree = qualify(tree, schema=schema, dialect="duckdb", quote_identifiers=True)
        tree = annotate_types(tree, schema=schema, dialect="duckdb")
    except OptimizeError as error:
        if "mbiguous" in str(error) and (found := _AMBIGUOUS.search(str(error))):
            raise slips.ColumnAmbiguous(str(error), column=found[1]) from error
        found = _UNRESOLVED.search(str(error))
        name = found[1].strip(" '.") if found else "?"
        if sum(name.lower() in seen[table].columns for table in asked) > 1:
            raise slips.ColumnAmbiguous(str(error), column=name) from error
        raise _no_column(name, seen, str(error)) from error
    except SqlglotError as error:
        raise slips.SqlNotReadable(str(error)) from error
    except _SLIPS as error:
        raise slips.SqlNotReadable(repr(error)) from error
    for node in tree.walk():
        if isinstance(node, (exp.TableColumn, exp.Star)) and not isinstance(node.parent, exp.Count):
            raise ConstructRefused(construct=node.sql("duckdb"))
        if isinstance(node, exp.Join) and node.method:
            raise ConstructRefused(construct=f"{node.method} JOIN")
    return tree


def _no_column(name: str, seen: Mapping[str, View], detail: str = "") -> ColumnNotAgreed:
    have = [view.field(column) for view in seen.values() for column in view.columns]
    return ColumnNotAgreed(detail, column=name, **names(name, have))


def _fields(tree: exp.Expr, seen: Mapping[str, View]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The base columns the query touches anywhere, and its tables."""
    fields: set[str] = set()
    tables: dict[str, None] = {}
    for scope in traverse_scope(tree):
        sources = scope.sources
        for source in sources.values():
            if isinstance(source, exp.Table):
                tables[seen[source.name].table] = None
        for column in scope.columns:
            origin = sources.get(column.table)
            if isinstance(origin, exp.Table):
                view = seen[origin.name]
                if column.name not in view.columns:
                    raise _no_column(column.name, seen)
                fields.add(view.field(column.name))
    return frozenset(fields), tuple(tables)


def name_outputs(tree: exp.Expr) -> None:
    """Call each output that has no name by what it is, as `count(*)`; a second one `count(*)_2`."""
    taken = {item.output_name.lower() for item in _first_select(tree).selects}
    for item in list(_first_select(tree).selects):
        if item.output_name or isinstance(item, exp.Star):
            continue
        text = item.sql("duckdb", comments=False, normalize_functions="lower").encode()
        name = text[: limits.OUTPUT_NAME_BYTES_MAX].decode(errors="ignore").lstrip("_")
        number = 1
        while (called := name if number == 1 else f"{name}_{number}").lower() in taken:
            number += 1
        taken.add(called.lower())
        item.replace(exp.alias_(item.copy(), called, quoted=True))


def _given_names(tree: exp.Expr) -> dict[str, str]:
    """Lower-case output name -> as the user wrote it (the qualifier folds case)."""
    return {
        item.alias_or_name.lower(): item.alias_or_name
        for item in _first_select(tree).selects
        if item.alias_or_name
    }


def _restore_names(
    tree: exp.Expr, given: Mapping[str, str], seen: Mapping[str, View]
) -> tuple[str, ...]:
    """Give outputs the spelling of the user, else of the table; returns them in order."""
    spelled = {low: name for view in seen.values() for low, name in view.columns.items()} | dict(
        given
    )
    names = []
    for item in _first_select(tree).selects:
        name = spelled.get(item.alias_or_name, item.alias_or_name)
        if isinstance(item, exp.Alias):
            item.set("alias", exp.to_identifier(name, quoted=True))
        names.append(name)
    return tuple(names)


def _first_select(tree: exp.Expr) -> exp.Select:
    while not isinstance(tree, exp.Select):
        tree = tree.this
    return tree


def _bind(tree: exp.Expr, seen: Mapping[str, View], *, with_entity: bool) -> exp.Expr:
    """Put the policy subquery in the place of each table of the contract."""
    for table in list(tree.find_all(exp.Table)):
        view = seen.get(table.name)
        if view is not None:
            table.replace(view.subquery(table.alias_or_name, with_entity))
    return tree


def _render(tree: exp.Expr) -> str:
    """The text of a tree that is not looked at again: writing it may change it."""
    return str(tree.sql(dialect="duckdb", comments=False, copy=False))
