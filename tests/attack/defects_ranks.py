"""Seeded defects of what a list of aggregates allows; see defects.py."""

from __future__ import annotations

from typing import Final

from attack.defects import Defect, nothing, put
from yunhe.control import overlap
from yunhe.dataplane import aggregate, ranks

_ALL: Final = ("aggregates_listed",)


def _untrimmed() -> None:
    """The places as SQL has them, of groups of any size."""
    ranks._rank = lambda part, k: f"greatest(1, ({part} * __n + 9999) // 10000)"  # type: ignore[assignment]


def _to_the_digit() -> None:
    """Whatever the step, values are told as they are."""
    cell = ranks.cell
    aggregate.cell = lambda kind, step: cell(kind, "0" if step else step)  # type: ignore[assignment]


def _held(name: str) -> Defect:
    return Defect(put(getattr(ranks, name), "held", lambda *_: "true"), _ALL, ("ranks",))


DEFECTS: Final[dict[str, Defect]] = {
    "list of aggregates unread": Defect(put(aggregate._Split, "_check_agreed", nothing), _ALL),
    "ranks of a picked few": Defect(put(aggregate, "refuse_sifted", nothing), _ALL, ("ranks",)),
    "sums compared by whole rows": Defect(
        put(overlap.Answered, "of_column", lambda self, _: self), (), ("ranks",)
    ),
    "ranks untrimmed": Defect(_untrimmed, (), ("ranks",)),
    "ranks told to the digit": Defect(_to_the_digit, (), ("ranks",)),
    "ranks of any few": _held("Ranks"),
    "spread of one": _held("Spread"),
}
