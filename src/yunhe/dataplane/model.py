"""What the data plane is told about tables and what its gate returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yunhe.dataplane.noise import Recipe


@dataclass(frozen=True)
class TableBinding:
    """One table of a product: typed columns in order, the entity's column, the files."""

    columns: Mapping[str, str]  # name -> DuckDB type
    source: tuple[str, ...] = ()  # absolute Parquet paths, resolved by `sources`
    entity_key: str | None = None
    origins: tuple[str, ...] = ()  # locators of `sources`; `source` is what they are now
    resource: str = ""  # whose table it is
    rows: tuple[int, int] | None = (
        None  # of its one file only those from the first to below the end
    )


@dataclass(frozen=True)
class Governed:
    """A query rewritten so that running it can only do what the contract says.

    Row mode: `sql` reads policy subqueries over `data.<table>`. Aggregate-only (`k` > 0):
    `groups_sql` fills the temporary table `groups`, the worker deletes groups below k from it
    (column `__entities`), and `sql` reads what is left: HAVING, ORDER BY, LIMIT come after.
    """

    sql: str
    fields: frozenset[str]  # "table.column", as the contract spells them
    tables: tuple[str, ...]
    names: tuple[str, ...]  # output columns
    groups_sql: str | None = None
    k: int = 0
    recipe: Recipe | None = None  # under a privacy budget: `groups_sql` gives exact whole numbers
    summed: tuple[str, ...] = ()  # aggregate-only: the "table.column"s that sums are taken of
    # Something in `sql` can raise that could not be tried, where there are rows to be hidden: the
    # engine is to run it as it stands, whatever it knows of the tables' values.
    careful: bool = False
    pushed: tuple[str, ...] = ()  # by `explain` only: what databases do of it

    @property
    def aggregate_only(self) -> bool:
        """Whether only groups of at least `k` entities may leave."""
        return self.k > 0
