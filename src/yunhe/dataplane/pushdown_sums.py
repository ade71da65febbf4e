"""Sums that no database refuses or loses, whatever the rows hold.

In: what is summed, in the database's words. Out: the parts that are shipped (name, ours, theirs)
and how the sum is made of them here. PostgreSQL raises where a sum is beyond a DOUBLE and SQLite
beyond 64 bits, which would tell of a group that is withheld; MariaDB says 0 then, which is wrong.
"""

from __future__ import annotations

Parts = list[tuple[str, str, str]]

# Values from _HUGE on are summed _DOWN: neither part overflows, however many rows there are. A
# power of two changes no digit.
_HUGE, _TINY, _DOWN, _UP = (f"{value!r}" for value in (2.0**900, 2.0**-900, 2.0**-100, 2.0**100))


def of_doubles(said: str, ours: str, name: str) -> tuple[Parts, str]:
    """The huge values apart, made smaller."""
    far = f"{name}f"
    parts = [
        (name, ours, f"SUM(CASE WHEN ABS({said}) < {_HUGE} THEN {said} END)"),
        (far, ours, f"SUM(CASE WHEN ABS({said}) >= {_HUGE} THEN {said} * {_DOWN} END)"),
    ]
    both = f'COALESCE("{name}", 0) + "{far}" * {_UP}'
    return parts, f'(CASE WHEN "{far}" IS NULL THEN "{name}" ELSE {both} END)'


def of_weights(said: str) -> str:
    """One sum, for what is compared with other such sums only: all are made smaller alike.

    What is nearly nothing weighs nothing: made smaller, it would make PostgreSQL raise.
    """
    return f"SUM(CASE WHEN ABS({said}) > {_TINY} THEN {said} * {_DOWN} ELSE {said} * 0 END)"


def of_whole_numbers(said: str, ours: str, name: str) -> tuple[Parts, str]:
    """In two halves of 32 bits, for a database that sums in 64 bits."""
    wide = f"CAST(SUM({ours}) AS HUGEINT)"
    parts = [
        (name, wide, f"SUM({said} >> 32)"),
        (f"{name}l", wide, f"SUM({said} & 4294967295)"),
    ]
    return parts, f'(CAST("{name}" AS HUGEINT) * 4294967296 + CAST("{name}l" AS HUGEINT))'
