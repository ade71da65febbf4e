"""The tables of a contract, each with the files it is read from now.

In: bindings as described, the terms, the tables a query reads. Out: bindings whose `source` is
fresh. A table that is read and cannot be had as agreed refuses the query, before anything is
reserved; one that is not read is left out of what the worker sees.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from yunhe.catalog import Table
from yunhe.contracts import Terms
from yunhe.dataplane.model import TableBinding
from yunhe.kernel.errors import YunheError


class Supply(Protocol):
    """The part of `catalog.Supply` asked here."""

    def files(
        self,
        resource_id: str,
        table: str,
        origins: Sequence[str],
        columns: Mapping[str, str],
        needed: Collection[str],
    ) -> tuple[str, ...]:
        """The files of a table now; raises why there are none under this contract."""
        ...


def bindings(tables: Sequence[Table]) -> dict[str, TableBinding]:
    """The tables of a product as the data plane is told of them."""
    return {
        table.name: TableBinding(
            {column.name: column.type for column in table.columns},
            table.paths,
            table.entity_key or None,
            table.origins,
            table.resource_id,
        )
        for table in tables
    }


def fresh(
    tables: Mapping[str, TableBinding], terms: Terms, used: Collection[str], supply: Supply
) -> dict[str, TableBinding]:
    """`tables` with their present files; raises what `supply` says of a `used` one."""
    made = {}
    for name, binding in tables.items():
        if not binding.origins:
            made[name] = binding
            continue
        needed = _needed(name, binding, terms)
        try:
            files = supply.files(binding.resource, name, binding.origins, binding.columns, needed)
        except YunheError:
            if name in used:
                raise
            continue
        made[name] = replace(binding, source=files)
    return made


def _needed(table: str, binding: TableBinding, terms: Terms) -> frozenset[str]:
    """The columns the contract stands on: shown, masked, filtered by, or naming the entity."""
    shown = [*terms.columns, *(mask.column for mask in terms.masks)]
    needed = {column.partition(".")[2] for column in shown if column.startswith(f"{table}.")}
    for filtered, predicate in terms.row_filters:
        if filtered == table:  # rather one word too many: a text in it may be spelled like a column
            words = {word.casefold() for word in re.findall(r"\w+", predicate)}
            needed |= {
                name
                for name in binding.columns
                if name.casefold() in words or not re.fullmatch(r"\w+", name)
            }
    return frozenset(needed | ({binding.entity_key} if binding.entity_key else set()))
