"""Comparing terms: what lies within a bound, what is the nearest that does.

In: terms asked for and the furthest terms a party goes. Out: the fields that go beyond, and the
projection of the asked terms into the bound. Pure; a provider's and a consumer's bound are read
from opposite sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from yunhe.contracts.aggregates import fewer
from yunhe.contracts.frequency import Frequency, duration_s
from yunhe.contracts.hours import Hours
from yunhe.contracts.policy import Constraint, Duty, Policy, Price, Rule, Terms
from yunhe.contracts.release import covers, within

RuleKey = tuple[str, str, frozenset[object], frozenset[object]]


def nearest(asked: Terms, furthest: Terms, now: datetime) -> Terms:
    """The terms nearest to `asked` that a provider accepts who goes as far as `furthest`.

    Less is always acceptable (fewer columns, purposes, uses, rows, an earlier end), so is a
    higher price or group. Row filters are the provider's; masks follow the columns. A request
    that lies within comes back equal, up to order; applying it twice changes nothing.
    """
    columns = _within(asked.columns, furthest.columns)
    ends = _least(asked.expires_at, furthest.expires_at)
    if ends is not None and ends <= now:
        ends = furthest.expires_at
    return Terms(
        purposes=_within(asked.purposes, furthest.purposes),
        columns=columns,
        expires_at=ends,
        uses_max=_least_count(asked.uses_max, furthest.uses_max),
        rows_max=_least_count(asked.rows_max, furthest.rows_max),
        row_filters=furthest.row_filters,
        masks=tuple(m for m in furthest.masks if m.column in columns or m in asked.masks),
        minimum_group=max(asked.minimum_group, furthest.minimum_group),
        price=Price(
            max(asked.price.per_use, furthest.price.per_use),
            max(asked.price.per_row, furthest.price.per_row),
        ),
        frequency=_least_often(asked.frequency, furthest.frequency),
        pause=_longest(asked.pause, furthest.pause),
        inherit=asked.inherit or furthest.inherit,
        bytes_max=_least_count(asked.bytes_max, furthest.bytes_max),
        rows_total=_least_count(asked.rows_total, furthest.rows_total),
        bytes_total=_least_count(asked.bytes_total, furthest.bytes_total),
        hours=_shorter(asked.hours, furthest.hours),
        regions=_places(asked.regions, furthest.regions),
        privacy=furthest.privacy,  # noise and its budget are the provider's to set
        applications=_programs(asked.applications, furthest.applications),
        release=furthest.release,
        watermark=furthest.watermark,  # the provider's to set
        aggregates=furthest.aggregates,  # as well
        keys_to=tuple(did for did in asked.keys_to if did in furthest.keys_to),
    )


def beyond(asked: Terms, furthest: Terms, now: datetime) -> tuple[str, ...]:
    """The fields in which `asked` goes beyond what the provider accepts; empty: acceptable."""
    return differing(asked, nearest(asked, furthest, now))


def short_of(offered: Terms, worst: Terms) -> tuple[str, ...]:
    """The fields in which an offer is worse for the consumer than its `worst` terms."""
    short = []
    if not set(worst.purposes) <= set(offered.purposes):
        short.append("purposes")
    if not set(worst.columns) <= set(offered.columns):
        short.append("columns")
    if _sooner(offered.expires_at, worst.expires_at):
        short.append("expires_at")
    if _sooner(offered.uses_max, worst.uses_max):
        short.append("uses_max")
    if _sooner(offered.rows_max, worst.rows_max):
        short.append("rows_max")
    if not set(offered.row_filters) <= set(worst.row_filters):
        short.append("row_filters")
    if not {m for m in offered.masks if m.column in worst.columns} <= set(worst.masks):
        short.append("masks")
    if offered.minimum_group > worst.minimum_group:
        short.append("minimum_group")
    if offered.price.per_use > worst.price.per_use or offered.price.per_row > worst.price.per_row:
        short.append("price")
    if _least_often(worst.frequency, offered.frequency) != worst.frequency:
        short.append("frequency")
    if _longest(worst.pause, offered.pause) != worst.pause:
        short.append("pause")
    if offered.privacy not in (None, worst.privacy):
        short.append("privacy")
    if not _open_to(offered.applications, worst.applications):
        short.append("applications")
    if offered.watermark not in (None, worst.watermark):
        short.append("watermark")
    if offered.minimum_group and fewer(offered.aggregates, worst.aggregates):
        short.append("aggregates")
    if offered.release not in (None, worst.release):
        short.append("release")
    short += [name for name in _VOLUMES if _sooner(getattr(offered, name), getattr(worst, name))]
    if _shorter(worst.hours, offered.hours) != worst.hours:
        short.append("hours")
    if _places(worst.regions, offered.regions) != worst.regions:
        short.append("regions")
    if not set(worst.keys_to) <= set(offered.keys_to):
        short.append("keys_to")
    if offered.inherit and not worst.inherit:
        short.append("inherit")
    return tuple(short)


def differing(one: Terms, other: Terms) -> tuple[str, ...]:
    """The fields in which two terms differ; the order inside a set does not count."""
    a, b = _normal(one), _normal(other)
    return tuple(
        name for name in Terms.__dataclass_fields__ if getattr(a, name) != getattr(b, name)
    )


def same_policy(one: Policy, other: Policy) -> bool:
    """Whether two policies say the same: rules, constraints and duties are sets."""
    if (one.inherit, one.expansion) != (other.inherit, other.expansion):
        return False
    return {_rule_key(r) for r in one.rules} == {_rule_key(r) for r in other.rules} and len(
        one.rules
    ) == len(other.rules)


def _rule_key(rule: Rule) -> RuleKey:
    return (
        rule.kind,
        rule.action,
        _constraint_keys(rule.constraints),
        frozenset(_duty_key(duty) for duty in rule.duties),
    )


def _duty_key(duty: Duty) -> tuple[str, str, frozenset[object]]:
    return (duty.action, duty.phase, _constraint_keys(duty.constraints))


def _constraint_keys(constraints: Iterable[Constraint]) -> frozenset[object]:
    """JSON-LD tells no value from a list of that one value; some peers turn one into the other."""
    return frozenset(
        replace(c, value=c.value[0]) if isinstance(c.value, tuple) and len(c.value) == 1 else c
        for c in constraints
    )


def _normal(terms: Terms) -> Terms:
    return replace(
        terms,
        purposes=tuple(sorted(set(terms.purposes))),
        columns=tuple(sorted(set(terms.columns))),
        row_filters=tuple(sorted(set(terms.row_filters))),
        masks=tuple(sorted(set(terms.masks), key=lambda m: (m.column, m.method))),
        applications=tuple(sorted(set(terms.applications))),
        regions=tuple(sorted(set(terms.regions))),
        keys_to=tuple(sorted(set(terms.keys_to))),
    )


def _within(asked: Iterable[str], allowed: tuple[str, ...]) -> tuple[str, ...]:
    wanted = set(asked)
    return tuple(name for name in allowed if name in wanted) or allowed


def _programs(asked: tuple[str, ...], furthest: tuple[str, ...]) -> tuple[str, ...]:
    """No list is open to all, so asking for one is asking for less."""
    return within(asked, furthest) if furthest else asked


def _open_to(offered: tuple[str, ...], worst: tuple[str, ...]) -> bool:
    """Whether every application of `worst` may be used under `offered`; none: every there is."""
    if not offered:
        return True
    return bool(worst) and all(any(covers(o, w) for o in offered) for w in worst)


def _least(one: datetime | None, other: datetime | None) -> datetime | None:
    given = [moment for moment in (one, other) if moment is not None]
    return min(given) if given else None


def _least_count(one: int | None, other: int | None) -> int | None:
    given = [count for count in (one, other) if count is not None]
    return min(given) if given else None


def _least_often(asked: Frequency | None, furthest: Frequency | None) -> Frequency | None:
    """The asked frequency where it certainly stays within `furthest`, which else it is."""
    if furthest is None or asked is None:
        return asked or furthest
    fits = asked.uses <= furthest.uses and asked.seconds >= furthest.seconds
    # Windows that do not fill one another overlap: two of ours could fall into one of theirs.
    return asked if fits and asked.seconds % furthest.seconds == 0 else furthest


def _longest(asked: str | None, furthest: str | None) -> str | None:
    if furthest is None or asked is None:
        return asked or furthest
    return asked if duration_s(asked) >= duration_s(furthest) else furthest


def _shorter(asked: Hours | None, furthest: Hours | None) -> Hours | None:
    """The asked hours where they certainly lie within `furthest`, which else it is."""
    if furthest is None or asked is None:
        return asked or furthest
    return asked if asked.within(furthest) else furthest


def _places(asked: tuple[str, ...], furthest: tuple[str, ...]) -> tuple[str, ...]:
    """The asked regions that lie within `furthest` (none: anywhere), else all of those."""
    if not furthest or not asked:
        return asked or furthest
    return tuple(code for code in asked if code.startswith(furthest)) or furthest


_VOLUMES = ("bytes_max", "rows_total", "bytes_total")


def _sooner(offered: datetime | int | None, worst: datetime | int | None) -> bool:
    """Whether `offered` ends before `worst`; None never ends."""
    if offered is None:
        return False
    return worst is None or offered < worst  # type: ignore[operator]
