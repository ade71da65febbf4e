"""The gate with its latest answers kept: the same question under the same policy is read once.

In: what `govern` takes. Out: what `govern` returns. An answer is given again only where all of
`govern`'s inputs are equal, so a changed policy, table or column never meets an older answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from yunhe.contracts import Terms
from yunhe.dataplane.gate import govern
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.second import SecondOpinion
from yunhe.kernel import limits

_Shape = tuple[tuple[str, tuple[tuple[str, str], ...], tuple[str, ...], str | None], ...]


@dataclass(frozen=True)
class _Kept:
    """An answer with the two inputs that its key does not hold."""

    terms: Terms
    shape: _Shape
    governed: Governed


class KeptGate:
    """Keeps at most `most` answers, the latest used; one a data plane, thread-safe.

    Refusals are not kept: they are evidence each time, and cost the asker as much as us.
    """

    def __init__(self, most: int = limits.GOVERNED_KEPT_MAX) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self.second = SecondOpinion()

    def govern(
        self, contract_id: str, sql: str, tables: Mapping[str, TableBinding], terms: Terms
    ) -> Governed:
        """As `gate.govern`; `contract_id` only says whose answer it is. Raises the same, and
        ParsersDisagree."""
        key = (contract_id, sql)
        shape = _shape(tables)
        with self._lock:
            found = self._kept.get(key)
            if found is not None and found.shape == shape and found.terms == terms:
                self._kept.move_to_end(key)
                return found.governed
        governed = govern(sql, tables, terms)
        self.second.check(governed)
        if len(sql) <= limits.GOVERNED_SQL_KEPT_CHARS_MAX:
            with self._lock:
                self._kept[key] = _Kept(terms, shape, governed)
                self._kept.move_to_end(key)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return governed


def _shape(tables: Mapping[str, TableBinding]) -> _Shape:
    """The tables as a value in which the order of columns counts, as it does for a star."""
    return tuple(
        (name, tuple(table.columns.items()), table.source, table.entity_key)
        for name, table in tables.items()
    )
