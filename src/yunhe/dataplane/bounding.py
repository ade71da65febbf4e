"""How much one entity may weigh in a group, and the print a group leaves for the overlap audit.

In: the rows that a query asks of (keys, entity, a hash of the row, values), ungrouped. Out: one
statement for the worker's table `groups`: the figures, `__entities` (0 where one entity outweighs
the others) and `__print`.

Entities fall into places by a keyed hash. The rows are first added up by group and place, which
is cheap, as there are few of them; from those sums come the figures, and for most groups the
certainty that nobody outweighs: no entity has more of anything than the place it falls into. Of
such groups it is left to count the entities. Only the others are weighed entity by entity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from yunhe.dataplane.ranks import Beside
from yunhe.kernel import limits

ENTITIES = "__entities"
PRINT = "__print"
WORD = 1 << 64
_BITS = 63  # groups whose entities are counted at once: a bit each in a BIGINT
_MARGIN = 1.01  # what is certain of sums is so beyond their rounding
AUDIT_KEY = "GETVARIABLE('audit_key')"
_ENTITY = f"hash({AUDIT_KEY}, a.__e) AS __h"


@dataclass(frozen=True)
class Figure:
    """One aggregate: `rows`, `count`, `sum` or `avg` of value `of`, `entities`; or `whole`: it
    cannot be put together of parts, and is column `of` of the figures beside; or `beside`: it
    stands in no sum at all (ranks.py)."""

    kind: str
    of: int = 0


@dataclass(frozen=True)
class Shape:
    """Of the rows: keys k0.., `__e`, `__r`, values v0...

    `counted` and `summed` are the values of which no entity may have too many, or too much;
    `doubles` those that are floating point themselves; `valued` those of which a print is left of
    the rows that have one: which, and the hash of the row that it stands in (`__r`, or of a join
    `__w0`..).
    """

    keys: int
    counted: tuple[int, ...] = ()
    summed: tuple[int, ...] = ()
    doubles: frozenset[int] = frozenset()
    figures: tuple[Figure, ...] = ()
    beside: tuple[Beside, ...] = ()
    valued: tuple[tuple[int, str], ...] = ()


def share(k: int) -> int:
    """At most one `share`-th of a group's rows may be one entity's."""
    return (k + 1) // 2


def buckets(k: int) -> int:
    """Places of a print: a power of two, so that differences of about k are told apart."""
    size = limits.PRINT_BUCKETS_MIN
    while size < 8 * k and size < limits.PRINT_BUCKETS_MAX:
        size *= 2
    return size


def outweighing(parts: Iterable[tuple[str, int]]) -> list[str]:
    """When one entity has more than its share: of (name, parts in which one may be) the sums
    over all and the maxima `_max`. Whoever makes a sum infinite, or no number, is all of it."""
    rules = [
        (name, f"sum({name}) < {least} * max({name}_max)") for name, least in parts if least > 1
    ]
    return [
        f"{rule} OR NOT isfinite(sum({name}))" if name[0] == "s" else rule for name, rule in rules
    ]


def statement(rows: str, shape: Shape, k: int, figures: str | None = None) -> str:
    """The text that fills `groups`; `figures` gives k0.. and a column for each `whole` figure.

    A place keeps the sum (modulo 2^64) of its rows' hashes, so that two answers' prints differ in
    at most as many places as entities whose rows differ.
    """
    return _Text(shape, k).statement(rows, figures)


class _Text:
    """The parts of one statement, each a SELECT over those before it."""

    def __init__(self, shape: Shape, k: int) -> None:
        self.shape, self.k, self.places = shape, k, buckets(k)
        self.place = f"__h % {self.places} AS __b"
        self.names = [f"k{at}" for at in range(shape.keys)]
        # Half of a sum may be one entity's; below three entities there is nothing to hide behind.
        self.half = 2 if k >= 3 else 1
        self.parts = [("__n", share(k)), *((f"p{at}", share(k)) for at in shape.counted)]
        self.parts += [(f"s{at}", self.half) for at in shape.summed]

    def statement(self, rows: str, figures: str | None) -> str:
        parts = {
            "asked AS NOT MATERIALIZED": rows,
            "placed AS MATERIALIZED": self._placed(),
            "judged AS MATERIALIZED": self._judged(),
            "heavy AS MATERIALIZED": self._heavy(),
            "people AS": self._people(),
            "printed AS": self._printed(),
            "weighed AS": self._weighed(),
        }
        if figures is not None:
            parts["figures AS"] = figures
        for name, each in self._beside():
            parts[f"{name} AS"] = each.statement(self.names, self.k)
        said = ", ".join(f"{name} ({text})" for name, text in parts.items())
        return f"WITH {said} {self._groups(figures is not None)}"

    def _beside(self) -> list[tuple[str, Beside]]:
        return [(f"beside{at}", each) for at, each in enumerate(self.shape.beside)]

    def _keys(self, alias: str = "") -> str:
        """The keys as the first items of a list; empty without keys."""
        return "".join(f"{alias}{name}, " for name in self.names)

    def _same(self, one: str, other: str) -> str:
        same = [f"{one}.{name} IS NOT DISTINCT FROM {other}.{name}" for name in self.names]
        return " AND ".join(same) or "true"

    def _by_group(self) -> str:
        return f" GROUP BY {', '.join(self.names)}" if self.names else ""

    def _double(self, at: int) -> str:
        return f"v{at}" if at in self.shape.doubles else f"TRY_CAST(v{at} AS DOUBLE)"

    def _placed(self) -> str:
        """By group and place (NULL: rows of nobody): what the figures and the rules are made of."""
        counts = {each.of for each in self.shape.figures if each.kind in ("count", "avg")}
        totals = sorted({each.of for each in self.shape.figures if each.kind in ("sum", "avg")})
        items = ["count(*) AS __n", "sum(__r) AS __rs"]
        items += [f"count(v{at}) AS c{at}" for at in sorted(counts.union(self.shape.counted))]
        items += [f"sum(v{at}) AS t{at}" for at in totals]
        for at in self.shape.summed:
            double = self._double(at)
            items += [f"sum({double}) AS d{at}", f"sum(abs({double})) AS w{at}"]
        for name in sorted({name for _, name in self.shape.valued} - {"__r"}):
            items.append(f"sum({name}) AS {name}s")
        for at, name in self.shape.valued:
            none = f"v{at} IS NULL" + (f" OR NOT isfinite(v{at})" * (at in self.shape.doubles))
            items.append(f"sum({name}) FILTER (WHERE {none}) AS x{at}")
        place = f"CASE WHEN __e IS NOT NULL THEN hash({AUDIT_KEY}, __e) % {self.places} END AS __b"
        return (
            f"SELECT {self._keys()}{place}, {', '.join(items)} FROM asked "  # noqa: S608 our own names
            f"GROUP BY {self._keys()}__b"
        )

    def _judged(self) -> str:
        """By group: its number, figures; `__plain` where nobody can outweigh; `__bit` of few.

        `__plain` is NULL where nobody need be counted: a group of fewer than k rows is withheld,
        and with over PRINTS_MAX groups that are surely shown (`__least`) the answer is refused.
        """
        certain = f"COALESCE({' AND '.join(self._certain()) or 'true'}, false)"
        plain = f"CASE WHEN {_known('sum(__n)')} >= {self.k} THEN {certain} END AS __maybe"
        grouped = (
            f"SELECT {self._keys()}{self._figures()}{plain}, "  # noqa: S608
            f"{_known('count(*)')} >= {self.k} AS __filled FROM placed{self._by_group()}"
        )
        numbered = (
            "SELECT *, row_number() OVER (ORDER BY __maybe DESC NULLS LAST) AS __g, "  # noqa: S608
            # By CASE: the engine's FILTER over a window takes time by the square of the groups.
            "count(CASE WHEN __maybe THEN 1 END) OVER () AS __few, "
            "count(CASE WHEN __maybe AND __filled THEN 1 END) OVER () AS __sure "
            f"FROM ({grouped}) AS grouped"
        )
        # LEAST, as a shift that is too far raises, wherever the engine evaluates it.
        bit = f"CAST(1 AS BIGINT) << CAST(LEAST(__g - 1, {_BITS - 1}) AS BIGINT)"
        # Of groups that something else may withhold, it is not sure that they are shown.
        plain = f"CASE WHEN __sure <= {limits.PRINTS_MAX} THEN __maybe END"
        return (
            f"SELECT *, {'__maybe' if self.shape.beside else plain} AS __plain, "  # noqa: S608
            f"CASE WHEN __maybe AND __filled THEN {self.k} END AS __least, "
            f"CASE WHEN __maybe AND __few <= {_BITS} THEN {bit} END AS __bit "
            f"FROM ({numbered}) AS numbered"
        )

    def _figures(self) -> str:
        said = {
            "rows": "CAST(sum(__n) AS BIGINT) AS a{at}, ",
            "count": "CAST(sum(c{of}) AS BIGINT) AS a{at}, ",
            "sum": "sum(t{of}) AS a{at}, ",
            "avg": "sum(t{of}) / sum(c{of}) AS a{at}, ",
        }
        return "".join(
            said.get(each.kind, "").format(at=at, of=each.of)
            for at, each in enumerate(self.shape.figures)
        )

    def _certain(self) -> list[str]:
        """What makes it certain, by places alone, that a group holds to the rules of weight."""

        def spread(name: str) -> list[str]:
            least = share(self.k)
            return (
                [f"{least} * {_known(f'max({name})')} <= {_known(f'sum({name})')}"]
                if least > 1
                else []
            )

        rules = spread("__n")
        for at in self.shape.counted:
            everywhere = f"{_known(f'sum(c{at})')} = {_known('sum(__n)')}"
            enough = f"count(*) FILTER (WHERE __b IS NOT NULL AND c{at} > 0) >= {self.k}"
            rules += [*spread(f"c{at}"), f"({everywhere} OR {enough})"]
        for at in self.shape.summed if self.half > 1 else ():
            # |a + b| of a place is at most what its entities have, and sum(abs) at least.
            least, most = _known(f"sum(abs(d{at}))"), _known(f"max(w{at})")
            rules += [f"isfinite({most})", f"{self.half * _MARGIN} * {most} <= {least}"]
        return rules

    def _of_groups(self, which: str) -> str:
        return (
            f"FROM asked AS a JOIN judged AS j ON {self._same('a', 'j')} "
            f"WHERE {which} AND a.__e IS NOT NULL"
        )

    def _people(self) -> str:
        """By group and place: how many entities, and the sum of their hashes.

        With few groups each entity is kept once, with a bit for each group it is in.
        """
        mask = "bit_or(j.__bit)" if self.names else "CAST(1 AS BIGINT)"
        few = self._of_groups("j.__bit IS NOT NULL")
        masks = f"SELECT {_ENTITY}, {mask} AS __m {few} GROUP BY __h"
        sums = "count(*) AS __all, sum(__h) AS __es"
        placed = f"SELECT {self.place}, __m, {sums} FROM ({masks}) AS masks GROUP BY __b, __m"  # noqa: S608
        many = self._of_groups("j.__plain AND j.__bit IS NULL")
        pairs = f"SELECT DISTINCT j.__g, {_ENTITY} {many}"
        found = (
            f"SELECT j.__g, m.__b, m.__all, m.__es FROM ({placed}) AS m "  # noqa: S608
            "JOIN judged AS j ON (m.__m & j.__bit) <> 0 "
            "UNION ALL SELECT __g, __b, __all, __es FROM heavy UNION ALL "
            f"SELECT __g, {self.place}, {sums} FROM ({pairs}) AS pairs GROUP BY __g, __b"
        )
        return (
            "SELECT __g, __b, sum(__all) AS __all, sum(__es) AS __es "  # noqa: S608
            f"FROM ({found}) AS found GROUP BY __g, __b"
        )

    def _heavy(self) -> str:
        """Groups in which somebody may outweigh, entity by entity, then by place."""
        items = ["count(*) AS __n", *(f"count(a.v{at}) AS p{at}" for at in self.shape.counted)]
        items += [f"abs(sum({self._double(at)})) AS s{at}" for at in self.shape.summed]
        people = (
            f"SELECT j.__g, {_ENTITY}, {', '.join(items)} "
            f"{self._of_groups('NOT j.__plain')} GROUP BY j.__g, __h"
        )
        by_place = ["count(*) AS __all", "sum(__h) AS __es"]
        by_place += [f"sum({name}) AS {name}, max({name}) AS {name}_max" for name, _ in self.parts]
        by_place += [
            f"count(*) FILTER (WHERE p{at} > 0) AS p{at}_entities" for at in self.shape.counted
        ]
        return (
            f"SELECT __g, {self.place}, {', '.join(by_place)} FROM ({people}) AS people "  # noqa: S608
            "GROUP BY __g, __b"
        )

    def _weighed(self) -> str:
        """By group: entities behind each part of it, 0 where one outweighs."""
        outweighed = " OR ".join(outweighing(self.parts))
        counts = ["sum(__all)", *(f"sum(p{at}_entities)" for at in self.shape.counted)]
        fewest = f"least({', '.join(counts)})" if len(counts) > 1 else counts[0]
        kept = f"CASE WHEN {outweighed} THEN 0 ELSE {fewest} END" if outweighed else fewest
        return f"SELECT __g, CAST({kept} AS BIGINT) AS __kept FROM heavy GROUP BY __g"  # noqa: S608

    def _printed(self) -> str:
        """By group: its entities, and the sums of their hashes and of their rows' by place."""
        hashes = ["q.__es", "p.__rs"]
        hashes += [f"(p.{name}s - COALESCE(p.x{at}, 0))" for at, name in self.shape.valued]
        words = "".join(f", {each} % {WORD}" for each in hashes)
        return (
            "SELECT q.__g, CAST(sum(q.__all) AS BIGINT) AS __all, "  # noqa: S608
            f"list([q.__b{words}]) AS __list FROM people AS q "
            f"JOIN judged AS j ON q.__g = j.__g "
            f"JOIN placed AS p ON {self._same('j', 'p')} AND q.__b = p.__b GROUP BY q.__g"
        )

    def _groups(self, whole: bool) -> str:
        figures, held = [], []
        told: dict[int, str] = {}
        joined = f" LEFT JOIN figures AS f ON {self._same('j', 'f')}" if whole else ""
        for name, beside in self._beside():
            told |= beside.figures(name)
            held.append(beside.held(name, self.k))
            joined += f" LEFT JOIN {name} ON {self._same('j', name)}"
        for at, each in enumerate(self.shape.figures):
            found = {"whole": f"f.a{each.of}", "entities": "COALESCE(q.__all, 0)"}
            found["beside"] = told.get(at, "")
            figures.append(f"{found.get(each.kind, f'j.a{at}')} AS a{at}, ")
        behind = "COALESCE(CASE WHEN j.__plain THEN q.__all ELSE w.__kept END, j.__least, 0)"
        if held:
            behind = f"CASE WHEN {' AND '.join(held)} THEN {behind} ELSE 0 END"
        return (
            f"SELECT {self._keys('j.')}{''.join(figures)}"  # noqa: S608
            f"{behind} AS {ENTITIES}, "
            f"struct_pack(n := q.__all, places := q.__list) AS {PRINT} FROM judged AS j "
            "LEFT JOIN printed AS q ON j.__g = q.__g LEFT JOIN weighed AS w ON j.__g = w.__g"
            + joined
        )


def _known(aggregate: str) -> str:
    """Over rows of somebody."""
    return f"{aggregate} FILTER (WHERE __b IS NOT NULL)"
