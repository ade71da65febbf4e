"""Constraint indexes: one look-up answers all constraints on a term at once.

In: the constraints of a policy on one given value, each with its bit and its rule's kind.
Out: a probe, `given -> bits that hold`. An unknown value (absent, or of the wrong type) sets the
bits of prohibitions only, so that it never helps the caller (T14 §4, fail closed).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunhe.control.model import Given

Probe = Callable[[Given], int]
Match = Callable[[Any, Any], bool]
_NONE = (0, 0)


@dataclass(frozen=True)
class Entry:
    """One constraint in a probe: its bit, operator and the values read from the policy."""

    mask: int
    prohibits: bool
    operator: str
    values: tuple[Any, ...]


def unknown_bits(entries: Sequence[Entry]) -> int:
    """What an unknown value means: true in a prohibition, false in a permission."""
    return sum(entry.mask for entry in entries if entry.prohibits)


def ordered_probe(entries: Sequence[Entry], of: type) -> Probe:
    """Numbers and instants: the thresholds cut the line into 2n+1 places; each has its bits.

    Place 2i+1 is threshold i itself, place 2i lies before it; so each operator is a comparison of
    places, made here once for every place, and a request costs one bisection.
    """
    cuts = sorted({value for entry in entries for value in entry.values})
    places = [
        sum(entry.mask for entry in entries if _holds_at(place, entry, cuts))
        for place in range(2 * len(cuts) + 1)
    ]
    unknown = unknown_bits(entries)
    last = len(cuts)

    def probe(given: Given) -> int:
        if type(given) is not of or (of is datetime and given.tzinfo is None):  # type: ignore[union-attr]
            return unknown
        index = bisect_left(cuts, given)
        return places[2 * index + (index < last and cuts[index] == given)]

    return probe


def _holds_at(place: int, entry: Entry, cuts: list[Any]) -> bool:
    marks = [2 * cuts.index(value) + 1 for value in entry.values]
    first, last = marks[0], marks[-1]
    return {
        "eq": place == first,
        "lt": place < first,
        "lteq": place <= first,
        "gt": place > first,
        "gteq": place >= first,
        "isA": first <= place <= last,
        "isPartOf": first <= place <= last,
    }[entry.operator]


class SetProbe:
    """Words and sets of words: requested fields, purposes, regions, programs.

    With several things asked for at once, a permission must hold for EVERY one and a prohibition
    triggers on ANY one (T14 §5 trap c): one agreed field must not smuggle in another.
    """

    def __init__(
        self, entries: Sequence[Entry], read: Callable[[str], Any], inside: Match, overlaps: Match
    ) -> None:
        self._read = read
        self._unknown = unknown_bits(entries)
        self._all = sum(entry.mask for entry in entries)
        self._positive = {False: 0, True: 0}  # by `prohibits`
        self._negative = {False: 0, True: 0}
        self._relations: list[tuple[int, bool, frozenset[Any]]] = []
        self._members: list[tuple[int, Any]] = []
        for entry in entries:
            self._place(entry)
        self._exact = inside is overlaps
        self._table: dict[Any, tuple[int, int]] = {}
        if self._exact:
            for mask, value in self._members:
                bits = self._table.get(value, _NONE)[0] | mask
                self._table[value] = (bits, bits)
        self._inside, self._overlaps = inside, overlaps

    def _place(self, entry: Entry) -> None:
        values = frozenset(entry.values)
        if entry.operator == "hasPart" or (entry.operator == "isAllOf" and entry.prohibits):
            self._relations.append((entry.mask, False, values))
        elif not entry.prohibits and entry.operator in ("isAllOf", "eq"):
            self._relations.append((entry.mask, True, values))
        else:
            kind = self._negative if entry.operator in ("isNoneOf", "neq") else self._positive
            kind[entry.prohibits] |= entry.mask
            self._members += [(entry.mask, value) for value in values]

    def __call__(self, given: Given) -> int:
        """The bits that hold for one word, or for a frozenset of words."""
        if type(given) is not str and type(given) is not frozenset:
            return self._unknown
        read = self._read
        try:
            items = frozenset((read(given),) if type(given) is str else map(read, given))  # type: ignore[arg-type]
        except (ValueError, TypeError, AttributeError):
            return self._unknown
        inside_all, overlap_any = self._all, 0
        for item in items:
            inside, overlap = self._table.get(item, _NONE) if self._exact else self._scan(item)
            inside_all &= inside
            overlap_any |= overlap
        true = (
            (inside_all & self._positive[False])
            | (overlap_any & self._positive[True])
            | (self._negative[False] & ~overlap_any)
            | (self._negative[True] & ~inside_all if items else 0)
        )
        for mask, equal, values in self._relations:
            if items == values if equal else values <= items:
                true |= mask
        return true

    def _scan(self, item: Any) -> tuple[int, int]:
        inside = overlap = 0
        for mask, value in self._members:
            if self._inside(item, value):
                inside |= mask
            if self._overlaps(item, value):
                overlap |= mask
        return inside, overlap


def hours_probe(entries: Sequence[Entry]) -> Probe:
    """Weekly hours: `given` is the instant."""
    unknown = unknown_bits(entries)

    def probe(given: Given) -> int:
        if not isinstance(given, datetime) or given.tzinfo is None:
            return unknown
        return sum(entry.mask for entry in entries if entry.values[0].holds(given))

    return probe


def expression_probe(entries: Sequence[Entry]) -> Probe:
    """Row filters: `given` is the set of filters the engine promises to apply.

    A filter is opaque, so a prohibition over one always counts as met (T15 §4).
    """
    always = unknown_bits(entries)
    permitted = [(e.mask, e.values[0]) for e in entries if not e.prohibits]

    def probe(given: Given) -> int:
        if type(given) is not frozenset:
            return always
        return always | sum(mask for mask, value in permitted if value in given)

    return probe
