"""Tables written with catalogue and schema, as graphical clients write them.

In: SQL. Out: the one catalogue and schema that its tables name, and the SQL without them, which
is governed like any other: the gate itself never takes a qualified name.
"""

from __future__ import annotations

from sqlglot import exp

from yunhe.dataplane.errors import NameQualified
from yunhe.dataplane.gate import read


def unqualified(sql: str) -> tuple[str, str, str]:
    """(catalogue, schema, SQL without them); raises NameQualified where tables name several.

    Both are empty where no table says any. Raises what the gate raises on unreadable SQL.
    """
    tree = read(sql)
    tables = list(tree.find_all(exp.Table))
    named = {(table.catalog, table.db) for table in tables if table.db}
    if not named or not all(isinstance(table.this, exp.Identifier) for table in tables):
        # Nothing is taken off a table function: the gate names what it is.
        return "", "", sql
    if len(named) > 1:
        raise NameQualified(name=", ".join(sorted(".".join(each) for each in named)))
    for node in tree.find_all(exp.Table, exp.Column):
        node.set("db", None)
        node.set("catalog", None)
    ((catalog, schema),) = named
    return catalog, schema, str(tree.sql(dialect="duckdb", comments=False))
