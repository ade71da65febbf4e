"""How often: frequencies as constraints on counts that the node itself keeps.

In: a constraint of a rule with the rule's quota window. Out: the name of the count it looks at
and the bound. The counts are read in the transaction of the admission (`judge`), per window.
"""

from __future__ import annotations

from yunhe.contracts import Constraint, Frequency, Operator, Rule, Term, duration_s, window_of
from yunhe.control import values

_BOUNDS = frozenset({Operator.LT, Operator.LTEQ})
_PREFIX = "uses in "  # a given term of ours: no policy can state one
PAUSE = "seconds since the last use"

Counted = tuple[str, str, int]  # given term, operator, bound


def window_s(given_term: str) -> int | None:
    """The window in seconds behind a given term; None where it is not a count of uses."""
    return int(given_term.removeprefix(_PREFIX)) if given_term.startswith(_PREFIX) else None


def counts(given_term: str) -> bool:
    """Whether this given term is one of the counts."""
    return given_term == PAUSE or given_term.startswith(_PREFIX)


def concerns(constraint: Constraint, rule: Rule) -> bool:
    """Whether `constraint` says how often its rule may be used."""
    if constraint.term in (Term.FREQUENCY, Term.TIME_INTERVAL):
        return True
    if constraint.term == Term.TIME_WINDOW:
        return constraint.operator == Operator.EQ
    return constraint.term == Term.COUNT and _of(rule) == Term.COUNT


def _of(rule: Rule) -> str | None:
    try:
        window = window_of(rule.constraints)
    except ValueError:
        return None
    return None if window is None else window.of


def read(constraint: Constraint, rule: Rule) -> Counted | bool | str:
    """What to compare; True: another constraint carries it; else the code of what is not read.

    A prohibition by frequency would forbid the first uses or the next: no reading is safe.
    """
    if rule.kind != "permission":
        return "TERM_NOT_UNDERSTOOD"
    term, operator = constraint.term, constraint.operator
    try:
        value = constraint.value
        if not isinstance(value, str):
            raise ValueError("one value expected")
        if term == Term.TIME_INTERVAL:
            if operator != Operator.EQ:
                return "OPERATOR_NOT_UNDERSTOOD"
            return PAUSE, Operator.GTEQ.value, _positive(duration_s(value))
        window = window_of(rule.constraints)
        if term == Term.TIME_WINDOW:
            if window is None or window.of != Term.TIME_WINDOW:
                return True
            return _count(window.frequency(1), Operator.LTEQ.value)
        if operator not in _BOUNDS:
            return "OPERATOR_NOT_UNDERSTOOD"
        if window is None or "/" in value:
            return _count(Frequency.parse(value), operator)
        return _count(window.frequency(values.number(value)), operator)
    except (ValueError, OverflowError):
        return "VALUE_NOT_UNDERSTOOD"


def _positive(seconds: int) -> int:
    if seconds == 0:
        raise ValueError("no time")
    return seconds


def _count(frequency: Frequency, operator: str) -> Counted:
    return f"{_PREFIX}{frequency.seconds}", operator, frequency.uses
