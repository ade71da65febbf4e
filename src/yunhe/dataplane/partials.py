"""The groups of tables that lie in a database: entities first, as a database puts them together.

In: `figures`, what was asked by group, and `people`, a row per group and entity. Out: one statement
for the worker's table `groups`, the same as `bounding` makes of rows. Both queries are plain groups
over the policies, which a database can do itself (pushdown.py); here they would cost two passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from yunhe.dataplane.bounding import AUDIT_KEY, ENTITIES, PRINT, WORD, buckets, outweighing, share
from yunhe.dataplane.entities import WHOLE


@dataclass(frozen=True)
class Partials:
    """Of a `people` statement: keys k0.., columns p0.. (presence counts), s0.. (sums) and x0..
    (hashes of the rows that have a value).

    `narrow`: its entities are whole numbers that may be of less than entities.WHOLE.
    """

    keys: int
    presences: int
    sums: int
    valued: int = 0
    narrow: bool = False


def statement(figures: str, people: str, shape: Partials, k: int) -> str:
    """The text that fills `groups`.

    Entities go into buckets by a keyed hash; a bucket keeps the sums that the three rules need and
    the sum (modulo 2^64) of its rows' hashes, so that two answers' prints differ in at most as
    many places as entities whose rows differ.
    """
    keys = [f'"k{at}"' for at in range(shape.keys)]
    parts = [("__n", share(k)), *((f"p{at}", share(k)) for at in range(shape.presences))]
    # Half of a sum may be one entity's; below three entities there is nothing to hide behind.
    parts += [(f"s{at}", 2 if k >= 3 else 1) for at in range(shape.sums)]
    per_bucket = [f"{name}" for name in keys]
    entity = f"hash({AUDIT_KEY}, {f'CAST(__e AS {WHOLE})' if shape.narrow else '__e'})"
    per_bucket.append(f"{entity} % {buckets(k)} AS __b")
    per_bucket += [f"sum({name}) AS {name}, max({name}) AS {name}_max" for name, _ in parts]
    per_bucket += [
        f"count(*) FILTER (WHERE p{at} > 0) AS p{at}_entities" for at in range(shape.presences)
    ]
    per_bucket.append("count(*) AS __all")
    per_bucket.append(f"sum({entity}) AS __es, sum(__r) AS __rs")
    per_bucket += [f"sum(x{at}) AS x{at}" for at in range(shape.valued)]
    inner = ", ".join([*keys, "__b"])
    bucketed = (
        f"SELECT {', '.join(per_bucket)} FROM ({people}) AS people "  # noqa: S608 our own names
        f"WHERE __e IS NOT NULL GROUP BY {inner}"
    )
    outweighed = " OR ".join(outweighing(parts))
    counts = ["sum(__all)", *(f"sum(p{at}_entities)" for at in range(shape.presences))]
    fewest = f"least({', '.join(counts)})" if len(counts) > 1 else counts[0]
    kept = f"CASE WHEN {outweighed} THEN 0 ELSE {fewest} END" if outweighed else fewest
    words = ["__es", "__rs", *(f"COALESCE(x{at}, 0)" for at in range(shape.valued))]
    listed = ", ".join(["__b", *(f"{each} % {WORD}" for each in words)])
    judged = (
        f"SELECT {', '.join([*keys, ''])}CAST({kept} AS BIGINT) AS __kept, "  # noqa: S608
        "CAST(sum(__all) AS BIGINT) AS __all, "
        f"list([{listed}]) AS __list "
        f"FROM ({bucketed}) AS bucketed" + (f" GROUP BY {', '.join(keys)}" if keys else "")
    )
    on = " AND ".join(f"f.{key} IS NOT DISTINCT FROM j.{key}" for key in keys) or "true"
    return (
        f"SELECT f.*, COALESCE(j.__kept, 0) AS {ENTITIES}, "  # noqa: S608
        f"struct_pack(n := j.__all, places := j.__list) AS {PRINT} "
        f"FROM ({figures}) AS f LEFT JOIN ({judged}) AS j ON {on}"
    )
