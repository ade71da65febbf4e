"""The overlap audit: which answers, set beside earlier ones, would show fewer than k entities.

In: prints of groups. A print is linear: `rows[b]` is the sum (modulo 2^64) of the hashes of the
rows whose entity falls into place b. So two prints differ in at most as many places as there are
entities whose rows differ, and sums and differences of prints are prints of those of the answers.
Out: whether one answer may be given after the others. Pure; bounded by limits.PRINTS_*.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import ne

from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Print:
    """What one answered group leaves; both arrays have one entry a place."""

    entities: int  # 0: not known (the union of groups)
    people: array[int]  # sums of the entities' own hashes
    rows: array[int]  # sums of the rows' hashes


@dataclass(frozen=True)
class Answered:
    """One aggregate-only answer. `frame`: the tables and columns its rows' hashes are over.

    `valued`: by column in `summed`, the rows of its own table that have a value of it, as they
    stand in the answer; absent where these are its rows, or nobody has told.
    """

    dataset: str
    k: int
    frame: str
    summed: tuple[str, ...]  # "table.column"
    prints: tuple[Print, ...]
    valued: Mapping[str, Answered] = field(default_factory=dict, hash=False)
    _probes: list[Print] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        self._probes.extend(self.prints)
        if len(self.prints) > 1:  # what is withheld is the whole without them
            self._probes.append(Print(0, array("Q"), _sum(each.rows for each in self.prints)))

    @property
    def probes(self) -> Sequence[Print]:
        """The prints, and that of their union where there are several."""
        return self._probes

    def of_column(self, column: str) -> Answered:
        """What went into a sum of `column`."""
        return self.valued.get(column, self)

    @property
    def digest(self) -> str:
        """The same for the same answer, in whatever order its groups came."""
        groups = sorted(each.rows.tobytes().hex() for each in self.prints)
        return sha256_hex({"frame": self.frame, "summed": self.summed, "groups": groups})


def answered(
    dataset: str,
    k: int,
    frame: str,
    summed: tuple[str, ...],
    groups: Iterable[tuple[int, Iterable[Sequence[int]]]],
    places: int,
    frames: Mapping[str, str] | None = None,
) -> Answered:
    """From the worker's words: per group its entities and (place, people, rows), then for each of
    `summed` the rows of its table that have a value, where that is told. `frames`: of these tables.
    """
    prints: list[Print] = []
    valued: dict[str, list[Print]] = {column: [] for column in summed}
    for entities, found in groups:
        people, rows = _zeros(places), _zeros(places)
        have = {column: _zeros(places) for column in summed}
        for place, person, row, *own in found:
            people[place], rows[place] = person, row
            for column, value in zip(summed, own or [row] * len(summed), strict=True):
                have[column][place] = value
        prints.append(Print(entities, people, rows))
        for column in summed:
            valued[column].append(Print(0, people, have[column]))
    told = {}
    for column, of in valued.items():
        mine = (frames or {}).get(column, frame)
        same = all(one.rows == whole.rows for one, whole in zip(of, prints, strict=True))
        if not same:  # else of one table without gaps, or from where it is not told
            told[column] = Answered(dataset, k, mine, (column,), tuple(of))
    return Answered(dataset, k, frame, summed, tuple(prints), told)


def overlaps(new: Answered, earlier: Sequence[Answered]) -> bool:
    """Whether some difference of `new` and one or two earlier answers is of 1 to k-1 entities.

    Over the same frame the rows are compared; over another one the entities, where both take a
    sum of the same column. Two earlier answers at once (a tracker: A + B - all) are tried with the
    latest PRINTS_PAIRED_MAX of answers of few groups. Of each column that is summed the same is
    asked of what went into the sum: what is joined, or NULL, makes a difference larger, and the
    sum no other.
    """
    for column in new.summed:
        mine = new.of_column(column)
        olds = [old for old in earlier if column in old.summed]
        if any(column in each.valued for each in (new, *olds)):
            alike = [old.of_column(column) for old in olds]
            if _overlaps(mine, [each for each in alike if each.frame == mine.frame]):
                return True
    return _overlaps(new, earlier)


def _overlaps(new: Answered, earlier: Sequence[Answered]) -> bool:
    index = _Index(new)
    for old in earlier:
        k = max(new.k, old.k)
        if old.frame == new.frame:
            for probe in old.probes:
                if any(_near(each, probe, k) for each in index.like(probe, k)):
                    return True
        elif set(old.summed) & set(new.summed) and any(
            _people_near(one, other, k) for one in new.prints for other in old.prints
        ):
            return True
    return _tracked(new, earlier)


class _Index:
    """The new prints by what stands at k of their places: a print that differs in fewer than k
    places has one of these in common. Prints with fewer filled places are always looked at."""

    def __init__(self, new: Answered) -> None:
        self._k = new.k
        self._all = new.probes
        self._size = len(new.prints[0].rows) if new.prints else 0
        self._by_place: dict[tuple[int, int], list[Print]] = {}
        self._thin: list[Print] = []
        for each in new.probes:
            filled = [key for key in enumerate(each.rows) if key[1]][: new.k]
            if len(filled) < new.k:
                self._thin.append(each)
            for key in filled:
                self._by_place.setdefault(key, []).append(each)

    def like(self, old: Print, k: int) -> Iterable[Print]:
        """The new prints that may differ from `old` in fewer than k places."""
        if k > self._k or len(old.rows) != self._size:
            return self._all
        found = {id(each): each for each in self._thin}
        for key in enumerate(old.rows):
            if key[1]:
                found.update((id(each), each) for each in self._by_place.get(key, ()))
        return found.values()


def _near(one: Print, other: Print, k: int) -> bool:
    if one.entities and other.entities and abs(one.entities - other.entities) >= k:
        return False
    return 0 < _places(one.rows, other.rows) < k


def _people_near(one: Print, other: Print, k: int) -> bool:
    if abs(one.entities - other.entities) >= k:
        return False
    return 0 < _places(one.people, other.people) < k


def _places(one: array[int], other: array[int]) -> int:
    """In how many places they differ; of two sizes the larger is folded to the smaller."""
    size = min(len(one), len(other))
    return sum(map(ne, fold(one, size), fold(other, size)))


def _tracked(new: Answered, earlier: Sequence[Answered]) -> bool:
    few = limits.PRINTS_GROUPS_PAIRED_MAX
    if len(new.prints) > few:
        return False
    alike = [old for old in earlier if old.frame == new.frame and len(old.prints) <= few]
    known = [probe.rows for old in reversed(alike) for probe in old.probes]
    known = known[: limits.PRINTS_PAIRED_MAX]
    for probe in new.probes:
        for total in _combined(probe.rows, known):
            if 0 < sum(map(bool, total)) < new.k:
                return True
    return False


def _combined(one: array[int], known: Sequence[array[int]]) -> Iterator[list[int]]:
    """`one` with two of `known`: minus both, and plus either minus the other."""
    size = min([len(one), *map(len, known)])
    mine = fold(one, size)
    others = [fold(each, size) for each in known]
    for left, right in combinations(others, 2):
        yield [(a - b - c) & _MASK for a, b, c in zip(mine, left, right, strict=True)]
        yield [(a + b - c) & _MASK for a, b, c in zip(mine, left, right, strict=True)]
        yield [(a - b + c) & _MASK for a, b, c in zip(mine, left, right, strict=True)]


def fold(values: array[int], size: int) -> array[int]:
    """The same print with fewer places; sizes are powers of two, and places hashes modulo them."""
    while len(values) > size:
        half = len(values) // 2
        values = array(
            "Q",
            ((low + high) & _MASK for low, high in zip(values[:half], values[half:], strict=True)),
        )
    return values


def _sum(parts: Iterable[array[int]]) -> array[int]:
    return array("Q", (sum(column) & _MASK for column in zip(*parts, strict=True)))


def _zeros(places: int) -> array[int]:
    return array("Q", bytes(8 * places))
