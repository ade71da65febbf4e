"""Typed policies: what a contract allows, in the words of T14 (Tables 4, 5.1, 5.2) plus ours.

In: terms a provider states, or rules that came over a wire (protocols translate them first).
Out: `Policy`, the normal form that is signed, evaluated and enforced; `Terms`, its typed reading.
Unknown words are kept verbatim so that a round trip is lossless, and deny when evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from yunhe.contracts.aggregates import RANKED, SPREAD, Aggregates
from yunhe.contracts.errors import TermNotUnderstood
from yunhe.contracts.frequency import Frequency, Window, duration_s, window_of
from yunhe.contracts.hours import Hours
from yunhe.contracts.privacy import Privacy
from yunhe.contracts.release import Release
from yunhe.contracts.watermark import Watermark
from yunhe.contracts.words import Action, Operator, Term
from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.clock import iso, parse_iso
from yunhe.kernel.errors import YunheError
from yunhe.kernel.money import charge, parse_yuan, yuan

Value = str | tuple[str, ...]


@dataclass(frozen=True)
class Constraint:
    """`term operator value`; values are strings on every wire (T14 B.4), sets are tuples."""

    term: str
    operator: str
    value: Value


@dataclass(frozen=True)
class Duty:
    """Something to do before (`pre`), with (`parallel`) or after (`post`) the action."""

    action: str
    constraints: tuple[Constraint, ...] = ()
    phase: str = "pre"


@dataclass(frozen=True)
class Rule:
    """One permission, prohibition or obligation; its constraints are joined by AND."""

    kind: str  # "permission" | "prohibition" | "obligation"
    action: str
    constraints: tuple[Constraint, ...] = ()
    duties: tuple[Duty, ...] = ()


@dataclass(frozen=True)
class Policy:
    """An ordered set of rules. Prohibition beats permission; no matching rule denies.

    `inherit`: whoever passes the data on passes this policy on with it (T14 `inherit`; None: not
    said). `expansion`: T14's `expansionItem`, a JSON object as text; "" where there is none.
    """

    rules: tuple[Rule, ...] = ()
    inherit: bool | None = None
    expansion: str = ""

    def to_json(self) -> dict[str, Any]:
        """The stored, canonical form (not a wire form); what is not said is left out."""
        said: dict[str, Any] = {"rules": [_rule_json(rule) for rule in self.rules]}
        if self.inherit is not None:
            said["inherit"] = self.inherit
        if self.expansion:
            said["expansion"] = self.expansion
        return said

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Policy:
        """Read the stored form back; the inverse of `to_json`."""
        rules = tuple(_rule_from(rule) for rule in data["rules"])
        return cls(rules, data.get("inherit"), data.get("expansion", ""))

    @cached_property
    def terms(self) -> Terms:
        """The typed reading (`terms_from_policy`); raises TermNotUnderstood."""
        return terms_from_policy(self)

    @property
    def unread_expansion(self) -> tuple[str, ...]:
        """The members of `expansion` that nobody here enforces: each denies, by this name.

        `version` numbers the document and allows nothing; every other member might.
        """
        if not self.expansion:
            return ()
        try:
            found = loads_strict(self.expansion.encode())
        except (YunheError, UnicodeEncodeError):
            return (EXPANSION,)
        if not isinstance(found, dict):
            return (EXPANSION,)
        return tuple(f"{EXPANSION}.{name[:80]}" for name in sorted(found) if name != "version")


EXPANSION: Final = "expansion"
INHERIT: Final = "inherit"


def _constraint_json(c: Constraint) -> dict[str, Any]:
    value = c.value if isinstance(c.value, str) else list(c.value)
    # Plain text: an enum's member takes canonical JSON's slow way (kernel.canonical).
    return {"term": str(c.term), "operator": str(c.operator), "value": value}


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "kind": rule.kind,
        "action": str(rule.action),
        "constraints": [_constraint_json(c) for c in rule.constraints],
        "duties": [
            {
                "action": str(d.action),
                "phase": d.phase,
                "constraints": [_constraint_json(c) for c in d.constraints],
            }
            for d in rule.duties
        ],
    }


def _constraint_from(data: dict[str, Any]) -> Constraint:
    value = data["value"]
    if not isinstance(value, str):
        value = tuple(value)
        if not all(isinstance(each, str) for each in value):  # a peer's catalogue record is JSON
            raise TypeError("a constraint's value is a text or a list of texts")
    return Constraint(data["term"], data["operator"], value)


def _rule_from(data: dict[str, Any]) -> Rule:
    return Rule(
        data["kind"],
        data["action"],
        tuple(_constraint_from(c) for c in data["constraints"]),
        tuple(
            Duty(d["action"], tuple(_constraint_from(c) for c in d["constraints"]), d["phase"])
            for d in data["duties"]
        ),
    )


@dataclass(frozen=True)
class Mask:
    """How one column is shown: `null`, `hash`, `year`, `round:N`, `left:N`."""

    column: str  # "table.column"
    method: str


@dataclass(frozen=True)
class Price:
    """Price in integer fen: so much a use, so much a delivered row."""

    per_use: int = 0
    per_row: int = 0


@dataclass(frozen=True)
class Terms:
    """The typed reading of a product's or contract's policy; columns are "table.column"."""

    purposes: tuple[str, ...]
    columns: tuple[str, ...]
    expires_at: datetime | None = None
    uses_max: int | None = None
    rows_max: int | None = None  # delivered rows a use
    row_filters: tuple[tuple[str, str], ...] = ()  # (table, SQL predicate of literals)
    masks: tuple[Mask, ...] = ()
    minimum_group: int = 0  # 0: rows may be read; k: aggregates over >= k entities only
    price: Price = field(default_factory=Price)
    frequency: Frequency | None = None
    pause: str | None = None  # ISO 8601: the least time between two uses
    inherit: bool = False  # passed on only together with this policy
    privacy: Privacy | None = None  # noisy statistics only, within a budget; needs minimum_group
    applications: tuple[str, ...] = ()  # used by these only; `id[@version][#alg:hex]`
    release: Release | None = None  # what leaves them, beside the data; needs applications
    bytes_max: int | None = None  # delivered bytes a use
    rows_total: int | None = None  # delivered rows, all uses together
    bytes_total: int | None = None  # delivered bytes, all uses together
    hours: Hours | None = None  # when a use may run
    regions: tuple[str, ...] = ()  # GB/T 2260: where the consumer is registered; none: anywhere
    watermark: Watermark | None = None  # copies carry a mark of their recipient
    aggregates: Aggregates | None = None  # which of which column; needs minimum_group
    keys_to: tuple[str, ...] = ()  # DIDs that may be shown values as keys of a join; none: nobody


def policy_from_terms(terms: Terms) -> Policy:
    """The normal form of `terms`: one `read` permission with its constraints and duties."""
    constraints = [
        Constraint(Term.PURPOSE, Operator.IS_ANY_OF, tuple(terms.purposes)),
        Constraint(Term.DATA_FIELD, Operator.IS_PART_OF, tuple(terms.columns)),
    ]
    if terms.expires_at is not None:
        constraints.append(Constraint(Term.TIME, Operator.LTEQ, iso(terms.expires_at)))
    if terms.uses_max is not None:
        constraints.append(Constraint(Term.COUNT, Operator.LTEQ, str(terms.uses_max)))
    for term, amount in (
        (Term.DATE_RECORD, terms.rows_max),
        (Term.RECORD_TOTAL, terms.rows_total),
        (Term.DATA_SIZE, terms.bytes_max),
        (Term.SIZE_TOTAL, terms.bytes_total),
    ):
        if amount is not None:
            constraints.append(Constraint(term, Operator.LTEQ, str(amount)))
    if terms.hours is not None:
        constraints.append(Constraint(Term.HOURS, Operator.EQ, str(terms.hours)))
    if terms.regions:
        constraints.append(Constraint(Term.REGION, Operator.IS_ANY_OF, tuple(terms.regions)))
    for table, predicate in terms.row_filters:
        constraints.append(Constraint(Term.VALUE_EXPRESSION, Operator.EQ, (table, predicate)))
    if terms.minimum_group:
        constraints.append(Constraint(Term.MINIMUM_GROUP, Operator.GTEQ, str(terms.minimum_group)))
    if terms.frequency is not None:
        constraints.append(Constraint(Term.FREQUENCY, Operator.LTEQ, str(terms.frequency)))
    if terms.pause is not None:
        constraints.append(Constraint(Term.TIME_INTERVAL, Operator.EQ, terms.pause))
    if terms.privacy is not None:
        constraints.append(Constraint(Term.PRIVACY_BUDGET, Operator.EQ, str(terms.privacy)))
    if terms.applications:
        constraints.append(Constraint(Term.APPLICATION, Operator.IS_ANY_OF, terms.applications))
    if terms.keys_to:
        constraints.append(Constraint(Term.KEYS_TO, Operator.IS_PART_OF, terms.keys_to))
    for term, text in (
        (Term.WATERMARK, terms.watermark),
        (Term.RELEASE_RULE, terms.release),
        (Term.AGGREGATES, terms.aggregates),
    ):
        if text is not None:
            constraints.append(Constraint(term, Operator.EQ, str(text)))
    duties = [
        Duty(
            Action.DESENSITIZE,
            (
                Constraint(Term.DATA_FIELD, Operator.EQ, mask.column),
                Constraint(Term.MASK_METHOD, Operator.EQ, mask.method),
            ),
        )
        for mask in terms.masks
    ]
    for per, fen in (("use", terms.price.per_use), ("row", terms.price.per_row)):
        if fen:
            price = Constraint(Term.PAY_AMOUNT, Operator.EQ, f"{yuan(fen)} CNY")
            per_what = Constraint(Term.PAY_PER, Operator.EQ, per)
            duties.append(Duty(Action.COMPENSATE, (price, per_what), "post"))
    rule = Rule("permission", Action.READ, tuple(constraints), tuple(duties))
    return Policy((rule,), True if terms.inherit else None)


def terms_from_policy(policy: Policy) -> Terms:
    """Read `policy` as `Terms`; raises TermNotUnderstood, naming the first word we cannot enforce.

    The SQL data plane enforces exactly one `read` permission; anything else is refused here, at
    the negotiation, rather than ignored at the data.
    """
    for name in policy.unread_expansion:
        raise TermNotUnderstood(term=name, value=policy.expansion[:80])
    if len(policy.rules) != 1 or policy.rules[0].kind != "permission":
        raise TermNotUnderstood(term="rules", value=str(len(policy.rules)))
    rule = policy.rules[0]
    if rule.action != Action.READ:
        raise TermNotUnderstood(term="action", value=rule.action)
    got: dict[str, Any] = {"purposes": (), "columns": (), "inherit": policy.inherit is True}
    filters: list[tuple[str, str]] = []
    try:
        window = window_of(rule.constraints)
    except ValueError as error:
        raise TermNotUnderstood(term=Term.TIME_WINDOW, value=str(error)) from error
    for constraint in rule.constraints:
        if not _read_frequency(constraint, window, got):
            _read_constraint(constraint, got, filters)
    masks: list[Mask] = []
    _check_together(got)
    prices = {"use": 0, "row": 0}
    for duty in rule.duties:
        _read_duty(duty, masks, prices)
    price = Price(prices["use"], prices["row"])
    _check_payable(price, got.get("rows_max"))
    return Terms(row_filters=tuple(filters), masks=tuple(masks), price=price, **got)


def _check_payable(price: Price, rows_max: int | None) -> None:
    """The dearest use must be one that the ledger can pay: no price, however high, makes it free.

    A consumer may offer more than is asked, and what cannot be booked would never be billed.
    """
    rows = min(limits.RESULT_ROWS_MAX if rows_max is None else rows_max, limits.RESULT_ROWS_MAX)
    dearest = charge(price.per_use, price.per_row, rows)
    if dearest > limits.TRANSFER_FEN_MAX:
        value = f"{yuan(dearest)} CNY for one use of {rows} rows"
        raise TermNotUnderstood(term=Term.PAY_AMOUNT, value=value)


def _check_together(got: dict[str, Any]) -> None:
    """Terms that mean nothing, or too little, beside others or without them."""
    if got.get("privacy") and not got.get("minimum_group"):
        raise TermNotUnderstood(term=Term.PRIVACY_BUDGET, value="without minimumGroup")
    if got.get("watermark") and got.get("minimum_group"):
        raise TermNotUnderstood(term=Term.WATERMARK, value="with minimumGroup")
    if got.get("keys_to") and got.get("minimum_group"):
        raise TermNotUnderstood(term=Term.KEYS_TO, value="with minimumGroup")
    if got.get("release") and not got.get("applications"):
        raise TermNotUnderstood(term=Term.RELEASE_RULE, value="without application")
    aggregates: Aggregates | None = got.get("aggregates")
    if aggregates is not None and not got.get("minimum_group"):
        raise TermNotUnderstood(term=Term.AGGREGATES, value="without minimumGroup")
    if aggregates is not None and got.get("privacy"):
        for name in sorted(aggregates.names.intersection({*RANKED, *SPREAD})):
            raise TermNotUnderstood(term=Term.AGGREGATES, value=f"{name} with privacyBudget")


_NUMBERS: dict[tuple[str, str], str] = {
    (Term.COUNT, Operator.LTEQ): "uses_max",
    (Term.DATE_RECORD, Operator.LTEQ): "rows_max",
    (Term.MINIMUM_GROUP, Operator.GTEQ): "minimum_group",
    (Term.DATA_SIZE, Operator.LTEQ): "bytes_max",
    (Term.RECORD_TOTAL, Operator.LTEQ): "rows_total",
    (Term.SIZE_TOTAL, Operator.LTEQ): "bytes_total",
}
DID: Final = r"did:web:[A-Za-z0-9._:%-]{1,240}"
_REGION: Final = re.compile(r"[0-9]{2}(?:[0-9]{2}){0,2}", re.ASCII)
_SETS: dict[tuple[str, str], str] = {
    (Term.PURPOSE, Operator.IS_ANY_OF): "purposes",
    (Term.DATA_FIELD, Operator.IS_PART_OF): "columns",
    (Term.REGION, Operator.IS_ANY_OF): "regions",
    (Term.APPLICATION, Operator.IS_ANY_OF): "applications",
    (Term.KEYS_TO, Operator.IS_PART_OF): "keys_to",
}
_SPELLED: Final = {"regions": _REGION, "keys_to": re.compile(DID)}
_TEXTS: dict[tuple[str, str], tuple[str, Callable[[str], Any]]] = {
    (Term.TIME, Operator.LTEQ): ("expires_at", parse_iso),
    (Term.PRIVACY_BUDGET, Operator.EQ): ("privacy", Privacy.parse),
    (Term.HOURS, Operator.EQ): ("hours", Hours),
    (Term.WATERMARK, Operator.EQ): ("watermark", Watermark.parse),
    (Term.RELEASE_RULE, Operator.EQ): ("release", Release.parse),
    (Term.AGGREGATES, Operator.EQ): ("aggregates", Aggregates.parse),
}


def _read_constraint(c: Constraint, got: dict[str, Any], filters: list[tuple[str, str]]) -> None:
    key = (c.term, c.operator)
    try:
        if key == (Term.VALUE_EXPRESSION, Operator.EQ):
            filters.append(_pair(c.value))
            return
        value: Any
        if (name := _NUMBERS.get(key)) is not None:
            value = _whole_number(c.value)
        elif (name := _SETS.get(key)) is not None:
            value = (c.value,) if isinstance(c.value, str) else tuple(c.value)
            spelled = _SPELLED.get(name)
            if spelled is not None and not (value and all(map(spelled.fullmatch, value))):
                raise ValueError(str(c.value))
        elif (found := _TEXTS.get(key)) is not None:
            name, value = found[0], found[1](str(c.value))
        else:
            raise TermNotUnderstood(term=c.term, value=f"{c.operator} {c.value}")
    except ValueError as error:
        raise TermNotUnderstood(term=c.term, value=str(c.value)) from error
    _set_once(got, name, value, c.term)


def _set_once(got: dict[str, Any], name: str, value: Any, term: str) -> None:
    if got.get(name, ()) != ():
        raise TermNotUnderstood(term=term, value="stated twice")
    got[name] = value


def _read_frequency(c: Constraint, window: Window | None, got: dict[str, Any]) -> bool:
    """Whether `c` says how often; what it says goes to `got`. Raises TermNotUnderstood."""
    value = str(c.value)
    try:
        if (c.term, c.operator) == (Term.TIME_INTERVAL, Operator.EQ):
            if duration_s(value) == 0:
                raise ValueError(value)
            _set_once(got, "pause", value, c.term)
        elif (c.term, c.operator) == (Term.FREQUENCY, Operator.LTEQ):
            if "/" in value or window is None:
                found = Frequency.parse(value)
            else:
                found = window.frequency(_whole_number(value))
            _set_once(got, "frequency", found, c.term)
        elif window is None:
            return False
        elif (c.term, c.operator) == (Term.COUNT, Operator.LTEQ) and window.of == c.term:
            _set_once(got, "frequency", window.frequency(_whole_number(value)), c.term)
        elif (c.term, c.operator) == (Term.TIME_WINDOW, Operator.EQ):
            if window.of == c.term:
                _set_once(got, "frequency", window.frequency(1), c.term)
        else:
            return False
    except ValueError as error:
        raise TermNotUnderstood(term=c.term, value=value) from error
    return True


def _pair(value: Value) -> tuple[str, str]:
    if isinstance(value, str) or len(value) != 2:
        raise ValueError(value)
    return value[0], value[1]


def _whole_number(value: Value) -> int:
    # Strictly decimal digits: int() would also take "1_0", " 1" and other scripts' digits.
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()) or len(value) > 15:
        raise ValueError(value)
    return int(value)


# A mask after the use would show what it hides; a price is known only after the use.
_PHASES: dict[str, str] = {Action.DESENSITIZE: "pre", Action.COMPENSATE: "post"}


def _read_duty(duty: Duty, masks: list[Mask], prices: dict[str, int]) -> None:
    said = {(c.term, c.operator): c.value for c in duty.constraints}
    if len(said) != len(duty.constraints):
        raise TermNotUnderstood(term=duty.action, value="stated twice in a duty")
    if duty.phase != _PHASES.get(duty.action):
        raise TermNotUnderstood(term=duty.action, value=f"as a {duty.phase} duty")
    column = said.pop((Term.DATA_FIELD, Operator.EQ), None)
    method = said.pop((Term.MASK_METHOD, Operator.EQ), None)
    amount = said.pop((Term.PAY_AMOUNT, Operator.EQ), None)
    per = said.pop((Term.PAY_PER, Operator.EQ), None)
    if said:
        raise TermNotUnderstood(term=next(iter(said))[0], value="in a duty")
    if duty.action == Action.DESENSITIZE and column and method and not amount and not per:
        if any(mask.column == column for mask in masks):
            raise TermNotUnderstood(term=Term.MASK_METHOD, value=f"twice for {column}")
        masks.append(Mask(str(column), str(method)))
    elif duty.action == Action.COMPENSATE and amount and per in prices and not (column or method):
        _read_price(str(per), str(amount), prices)
    else:
        raise TermNotUnderstood(term=duty.action, value="as a duty")


def _read_price(per: str, amount: str, prices: dict[str, int]) -> None:
    # Twice would be two prices: which one is billed must never be a question of reading order.
    if prices[per]:
        raise TermNotUnderstood(term=Term.PAY_AMOUNT, value=f"twice per {per}")
    try:
        prices[per] = parse_yuan(amount)
    except ValueError as error:
        raise TermNotUnderstood(term=Term.PAY_AMOUNT, value=amount) from error
