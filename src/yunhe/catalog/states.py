"""The states of an entry and of a listing: two visible tables (catalogue.md 4.2).

In: a state and a verb. Out: the next state, or NotInThisState. The holder and the node use the
same tables; a conformance test walks every cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from yunhe.catalog.errors import NotInThisState

Table = Mapping[tuple[str, str], str]

ENTRY_STATES: Final = (
    "draft", "submitted", "returned", "rejected",
    "registered", "updating", "reviewing", "withdrawn",
)  # fmt: skip
ENTRY_VERBS: Final = ("edit", "submit", "return", "reject", "register", "withdraw")

# A resource or a product. `reviewing` is an update under review: the registered version stays
# public meanwhile (T11 7.2.4c). A first submission is withdrawn after its decision, so that no
# approval can cross the withdrawal. `rejected` and `withdrawn` are final; codes are never reissued.
ENTRY: Final[Table] = MappingProxyType(
    {
        ("draft", "edit"): "draft",
        ("draft", "submit"): "submitted",
        ("draft", "withdraw"): "withdrawn",
        ("submitted", "return"): "returned",
        ("submitted", "reject"): "rejected",
        ("submitted", "register"): "registered",
        ("returned", "edit"): "returned",
        ("returned", "submit"): "submitted",
        ("returned", "withdraw"): "withdrawn",
        ("registered", "edit"): "updating",
        ("registered", "withdraw"): "withdrawn",
        ("updating", "edit"): "updating",
        ("updating", "submit"): "reviewing",
        ("updating", "withdraw"): "withdrawn",
        ("reviewing", "return"): "updating",
        ("reviewing", "reject"): "registered",
        ("reviewing", "register"): "registered",
        ("reviewing", "withdraw"): "withdrawn",
    }
)

LISTING_STATES: Final = (
    "none", "submitted", "returned", "rejected", "listed", "frozen", "delisted",
)  # fmt: skip
LISTING_VERBS: Final = ("submit", "return", "reject", "list", "delist", "freeze", "thaw")

# A listing of a registered product. `frozen`: its connector is suspended (T11 7.2.2d).
LISTING: Final[Table] = MappingProxyType(
    {
        ("none", "submit"): "submitted",
        ("submitted", "return"): "returned",
        ("submitted", "reject"): "rejected",
        ("submitted", "list"): "listed",
        ("submitted", "delist"): "delisted",
        ("returned", "submit"): "submitted",
        ("returned", "delist"): "delisted",
        ("rejected", "submit"): "submitted",
        ("listed", "delist"): "delisted",
        ("listed", "freeze"): "frozen",
        ("frozen", "thaw"): "listed",
        ("frozen", "delist"): "delisted",
        ("delisted", "submit"): "submitted",
    }
)


def step(table: Table, state: str, verb: str) -> str:
    """The state after `verb`; raises NotInThisState when the table has no such cell."""
    try:
        return table[(state, verb)]
    except KeyError:
        raise NotInThisState(state=state, verb=verb) from None


def can(table: Table, state: str, verb: str) -> bool:
    """True if the table has the cell."""
    return (state, verb) in table
