"""Policy <-> ODRL as DSP 2025-1 carries it, lossless for every typed policy.

In: a `Policy`, or the rules of an offer or agreement off the wire. Out: the other. ODRL's own
words are written `odrl:x`, ours as absolute IRIs; a word nobody here knows is kept verbatim and
denies when evaluated. What a rule says beyond our model becomes an unknown term, never silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, unquote

from yunhe.contracts import Action, Constraint, Duty, Operator, Policy, Rule, Term
from yunhe.kernel import canonical, limits
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dsp.errors import BadPolicy

NS: Final = "urn:yunhe:odrl:"
ODRL: Final = "http://www.w3.org/ns/odrl/2/"
CONFLICT: Final = "odrl:conflict"
_ESCAPED: Final = f"{NS}x:"
_PHASE: Final = f"{NS}phase"
_ORDER: Final = f"{NS}order"
_CNY: Final = f"{NS}currency:CNY"
_UNIT: Final = "odrl:unit"
_INHERIT: Final = f"{NS}inherit"
_EXPANSION: Final = f"{NS}expansion"
_MEMBER: Final = "odrl:member:"
_LOGICAL: Final = "odrl:logical"
_REFINED: Final = "odrl:refined"
_MEMBER_CHARS_MAX: Final = 500
_AMOUNT: Final = re.compile(r"[0-9]+\.[0-9]{2} CNY")
_FOLDED: Final = '[{"@value":'
_KINDS: Final = ("permission", "prohibition", "obligation")
_DUTY_KEY: Final = {
    "permission": "duty",
    "prohibition": "odrl:remedy",
    "obligation": "odrl:consequence",
}
_POLICY_MEMBERS: Final = frozenset({*_KINDS, CONFLICT, _INHERIT, _EXPANSION})
_DUTY_MEMBERS: Final = frozenset({"action", "constraint"})
# Members that say nothing about what is allowed.
_SILENT: Final = {"@id", "@type", "@context", "uid", "target", "assigner", "assignee", "profile"}


class Words:
    """One vocabulary: our word <-> IRI on the wire, injective for every string."""

    def __init__(self, table: Mapping[str, str], read_too: Mapping[str, str] | None = None) -> None:
        """`read_too`: IRIs of others that mean one of our words; they are never written."""
        self._iri = dict(table)
        self._word = {**(read_too or {}), **{iri: word for word, iri in table.items()}}

    def write(self, word: str) -> str:
        """The IRI of a word; a word that would be read back as another is escaped."""
        if (iri := self._iri.get(word)) is not None:
            return iri
        plain = ":" in word and self.read(word) == word and not word.startswith(NS)
        return word if plain else _ESCAPED + quote(word, safe="", errors="surrogatepass")

    def read(self, iri: str) -> str:
        """The word of an IRI; unknown ones stay as they are."""
        if iri.startswith(ODRL):
            iri = f"odrl:{iri.removeprefix(ODRL)}"
        if (word := self._word.get(iri)) is not None:
            return word
        if iri.startswith(_ESCAPED):
            return unquote(iri.removeprefix(_ESCAPED), errors="surrogatepass")
        if ":" not in iri and (word := self._word.get(f"odrl:{iri}")) is not None:
            return word
        return iri


def _table(odrl: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    return {
        **{word: f"odrl:{name}" for word, name in odrl.items()},
        **{word: NS + name for word, name in own.items()},
    }


_ODRL_ACTIONS: Final = (
    Action.TRANSFORM,
    Action.ANONYMIZE,
    Action.READ,
    Action.REPRODUCE,
    Action.DISTRIBUTE,
    Action.GRANT_USE,
    Action.SELL,
    Action.DELETE,
    Action.COMPENSATE,
    Action.MODIFY,
    Action.DERIVE,
    Action.AGGREGATE,
)
_ODRL_TERMS: Final = {
    Term.TIME: "dateTime",
    Term.REGION: "spatial",
    Term.NETWORK_ADDRESS: "virtualLocation",
    Term.PHYSICAL_ADDRESS: "systemDevice",
    Term.COUNT: "count",
    Term.DELIVERY_METHOD: "deliveryChannel",
    Term.PAY_AMOUNT: "payAmount",
    Term.PURPOSE: "purpose",
    Term.RECIPIENT: "recipient",
    Term.TIME_INTERVAL: "timeInterval",
}
_RENAMED: Final = {Action.POLICY_TRANSMIT: "policyTransmit", Term.DATE_RECORD: "recordCount"}

ACTIONS: Final = Words(
    {
        **_table(
            {action.value: action.value for action in _ODRL_ACTIONS},
            {
                action.value: _RENAMED.get(action, action.value)
                for action in Action
                if action not in _ODRL_ACTIONS
            },
        ),
        "use": "use",
    },
    # What others call it (ODRL's own near words); `odrl:use` is never widened into actions.
    {
        "odrl:export": Action.TRANSFORM.value,
        "odrl:copy": Action.REPRODUCE.value,
        "odrl:archive": Action.STORAGE.value,
        "odrl:nextPolicy": Action.POLICY_TRANSMIT.value,
        "odrl:attachPolicy": Action.POLICY_TRANSMIT.value,
        "odrl:inform": Action.LOG_RECORD_SEND.value,
        "odrl:acceptTracking": Action.LOG_RECORD_SEND.value,
    },
)
TERMS: Final = Words(
    _table(
        {term.value: name for term, name in _ODRL_TERMS.items()},
        {term.value: _RENAMED.get(term, term.value) for term in Term if term not in _ODRL_TERMS},
    )
)
# Codes that are IRIs on the wire: GB/T 2260 regions, ways of delivery.
_CODES: Final = {Term.REGION.value: f"{NS}gbt2260:", Term.DELIVERY_METHOD.value: f"{NS}delivery:"}
_CODE: Final = re.compile(r"[0-9]{2,6}")
_LASTS: Final = (Operator.LT.value, Operator.LTEQ.value)
_ELAPSED: Final = "odrl:elapsedTime"
OPERATORS: Final = Words({operator.value: operator.value for operator in Operator})


# --- writing --------------------------------------------------------------------------------


def write(policy: Policy) -> dict[str, Any]:
    """The rule members of an ODRL offer or agreement; empty kinds are left out (DSP schema)."""
    said: dict[str, Any] = {}
    grouped = sorted(policy.rules, key=lambda rule: _KINDS.index(rule.kind))
    mixed = grouped != list(policy.rules)
    for number, rule in enumerate(policy.rules):
        body = _write_rule(rule)
        if mixed:
            body[_ORDER] = str(number)
        said.setdefault(rule.kind, []).append(body)
    # ODRL's default would void the whole policy on a conflict; here a prohibition wins.
    said[CONFLICT] = {"@id": "odrl:prohibit"}
    if policy.inherit is not None:
        said[_INHERIT] = policy.inherit
    if policy.expansion:
        said[_EXPANSION] = _write_expansion(policy.expansion)
    return said


def _write_expansion(text: str) -> Any:
    """A JSON object as a JSON literal; what would come back as another text goes as a text."""
    try:
        found = canonical.loads_strict(text.encode())
        if isinstance(found, dict) and canonical.dumps(found) == text.encode():
            return {"@type": "@json", "@value": found}
    except (YunheError, UnicodeEncodeError):
        return {"@value": text}
    return {"@value": text}


def _write_rule(rule: Rule) -> dict[str, Any]:
    duty_key = _DUTY_KEY[rule.kind]
    constraints, members = _members_of(rule.constraints, _rule_members(duty_key))
    body: dict[str, Any] = {"action": ACTIONS.write(rule.action), **members}
    if constraints:
        body["constraint"] = [_write_constraint(c) for c in constraints]
    if rule.duties:
        body[duty_key] = [_write_duty(duty) for duty in rule.duties]
    return body


def _members_of(
    constraints: tuple[Constraint, ...], known: frozenset[str]
) -> tuple[tuple[Constraint, ...], dict[str, Any]]:
    """The constraints, and the members behind the unknown terms at their end (see `_unknown`)."""
    members: dict[str, Any] = {}
    count = len(constraints)
    while count:
        found = _member(constraints[count - 1], known)
        # Members are read in the order of their names: only so do they come back in their places.
        if found is None or (members and found[0] >= min(members)):
            break
        members[found[0]] = found[1]
        count -= 1
    return constraints[:count], members


def _member(c: Constraint, known: frozenset[str]) -> tuple[str, Any] | None:
    name = c.term.removeprefix(_MEMBER)
    value = _said(c.value) if c.term.startswith(_MEMBER) else None
    if value is None or _unknown({name: value[0]}, known, _Budget()) != (c,):
        return None
    return name, value[0]


def _said(value: str | tuple[str, ...]) -> tuple[Any] | None:
    """What a value kept verbatim says, in a tuple; None where it is no JSON of ours."""
    if not isinstance(value, str):
        return None
    try:
        found = canonical.loads_strict(value.encode())
        return (found,) if _verbatim(found) == value else None
    except (YunheError, UnicodeEncodeError):
        return None


def _write_duty(duty: Duty) -> dict[str, Any]:
    phase = {"leftOperand": _PHASE, "operator": "eq", "rightOperand": duty.phase}
    constraints, members = _members_of(duty.constraints, _DUTY_MEMBERS)
    return {
        "action": ACTIONS.write(duty.action),
        **members,
        "constraint": [*(_write_constraint(c) for c in constraints), phase],
    }


def _write_constraint(c: Constraint) -> dict[str, Any]:
    raw = _said(c.value) if c.term in (_LOGICAL, _REFINED) else None
    if raw is not None and isinstance(raw[0], dict):
        try:
            if raw[0].get("leftOperand") != _PHASE and _read_constraint(raw[0]) == c:
                return raw[0]  # as the other system said it
        except BadPolicy:
            raw = None
    prefix = _CODES.get(c.term, "")
    value: Any = (
        _write_value(c.value, prefix)
        if isinstance(c.value, str)
        else [_write_value(each, prefix) for each in c.value]
    )
    left = TERMS.write(c.term)
    if c.operator in _LASTS and c.term in (Term.TIME_WINDOW, _ELAPSED):
        left = _ELAPSED if c.term == Term.TIME_WINDOW else _ESCAPED + quote(_ELAPSED, safe="")
    body = {
        "leftOperand": left,
        "operator": OPERATORS.write(c.operator),
        "rightOperand": value,
    }
    if c.term == Term.PAY_AMOUNT and isinstance(value, str) and _AMOUNT.fullmatch(value):
        body["rightOperand"] = value.removesuffix(" CNY")
        body[_UNIT] = {"@id": _CNY}
    return body


def _write_value(text: str, prefix: str) -> Any:
    if prefix and _CODE.fullmatch(text):
        return prefix + text
    # A text that would be read as something else says that it is one.
    odd = _folded(text) is not None or (prefix and text.startswith(prefix))
    return {"@value": text} if odd else text


# --- reading --------------------------------------------------------------------------------


@dataclass
class _Budget:
    """How many constraints may still be read: a policy is bounded as a whole."""

    left: int = limits.POLICY_CONSTRAINTS_MAX

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise BadPolicy(why=f"more than {limits.POLICY_CONSTRAINTS_MAX} constraints")


def read(body: Mapping[str, Any], known: frozenset[str] = frozenset()) -> Policy:
    """The policy in an offer or agreement; `known` members besides the rules are the caller's.

    Raises BadPolicy for what cannot be a policy, and for a member that we would have to ignore.
    """
    budget = _Budget()
    rules: list[tuple[str, Rule]] = []
    for kind in _KINDS:
        for item in _listed(body.get(kind), kind):
            if len(rules) >= limits.POLICY_RULES_MAX:
                raise BadPolicy(why=f"more than {limits.POLICY_RULES_MAX} rules")
            order = item.get(_ORDER, "")
            if not isinstance(order, str):
                raise BadPolicy(why=f"{_ORDER} is not a text")
            rules.append((order, _read_rule(kind, item, budget)))
    for name in body:
        if name not in _SILENT and name not in _POLICY_MEMBERS and name not in known:
            raise BadPolicy(why=f"the member {name[:80]} is not understood")
    if CONFLICT in body and ACTIONS.read(_text(body[CONFLICT], CONFLICT)) != "odrl:prohibit":
        raise BadPolicy(why="only conflict = prohibit can be enforced")
    if rules and all(order.isascii() and order.isdigit() for order, _ in rules):
        rules.sort(key=lambda pair: (len(pair[0]), pair[0]))
    inherit, expansion = _read_inherit(body.get(_INHERIT)), _read_expansion(body.get(_EXPANSION))
    return Policy(tuple(rule for _, rule in rules), inherit, expansion)


def _read_inherit(value: Any) -> bool | None:
    if isinstance(value, dict):
        value = value.get("@value")
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value, value)
    if value is not None and not isinstance(value, bool):
        raise BadPolicy(why=f"{_INHERIT} is neither true nor false")
    return value


def _read_expansion(value: Any) -> str:
    if isinstance(value, dict) and "@value" in value:
        value = value["@value"]
    if value is None:
        return ""
    if not isinstance(value, str | dict):
        raise BadPolicy(why=f"{_EXPANSION} is not a JSON object")
    text = value if isinstance(value, str) else canonical.dumps(value).decode()
    if len(text) > limits.CONSTRAINT_VALUES_MAX:
        raise BadPolicy(why=f"{_EXPANSION} is over {limits.CONSTRAINT_VALUES_MAX} characters")
    return text


def _read_rule(kind: str, body: Mapping[str, Any], budget: _Budget) -> Rule:
    duty_key = _DUTY_KEY[kind]
    constraints = _read_constraints(body, budget)
    duties = tuple(_read_duty(item, budget) for item in _listed(body.get(duty_key), duty_key))
    extra = _unknown(body, _rule_members(duty_key), budget)
    return Rule(
        kind, ACTIONS.read(_text(body.get("action"), "action")), constraints + extra, duties
    )


def _read_duty(body: Mapping[str, Any], budget: _Budget) -> Duty:
    items = _listed(body.get("constraint"), "constraint")
    phases = [_phase(item) for item in items if item.get("leftOperand") == _PHASE]
    if len(phases) > 1:
        raise BadPolicy(why="a duty has one phase")
    rest = [item for item in items if item.get("leftOperand") != _PHASE]
    constraints = _read_constraints({"constraint": rest}, budget)
    extra = _unknown(body, _DUTY_MEMBERS, budget)
    action = ACTIONS.read(_text(body.get("action"), "action"))
    return Duty(action, constraints + extra, phases[0] if phases else "pre")


def _phase(item: Mapping[str, Any]) -> str:
    if item.get("operator") != "eq":
        raise BadPolicy(why="a duty's phase is stated with eq")
    return _scalar(item.get("rightOperand"))


def _unknown(
    body: Mapping[str, Any], known: frozenset[str], budget: _Budget
) -> tuple[Constraint, ...]:
    """Members beyond our model as unknown terms, by name: they deny instead of being forgotten."""
    extra = []
    for name in sorted(body):
        if name not in known and name not in _SILENT:
            budget.spend()
            if len(name) > _MEMBER_CHARS_MAX:
                raise BadPolicy(why=f"the member {name[:80]} has too long a name")
            extra.append(Constraint(f"{_MEMBER}{name}", Operator.EQ, _verbatim(body[name])))
    return tuple(extra)


def _rule_members(duty_key: str) -> frozenset[str]:
    return frozenset({"action", "constraint", duty_key, _ORDER})


def _read_constraints(body: Mapping[str, Any], budget: _Budget) -> tuple[Constraint, ...]:
    found = []
    for item in _listed(body.get("constraint"), "constraint"):
        budget.spend()
        found.append(_read_constraint(item))
    return tuple(found)


def _read_constraint(body: Mapping[str, Any]) -> Constraint:
    said = {name: value for name, value in body.items() if name not in ("@type", "@id", "uid")}
    if "leftOperand" not in said:  # and, or, xone, andSequence: T14 knows AND only
        return Constraint(_LOGICAL, Operator.EQ, _verbatim(said))
    iri = _text(said.pop("leftOperand"), "leftOperand")
    term = TERMS.read(iri)
    operator = _text(said.pop("operator", None), "operator")
    operator = "lteq" if operator == "term-lteq" else OPERATORS.read(operator)
    if term == _ELAPSED and operator in _LASTS and not iri.startswith(_ESCAPED):
        term = Term.TIME_WINDOW.value
    value = _value(said.pop("rightOperand", None), _CODES.get(term, ""))
    constraint = Constraint(term, operator, value)
    unit = said.pop(_UNIT, None)
    if said or (unit is not None and term != Term.PAY_AMOUNT):
        return Constraint(_REFINED, Operator.EQ, _verbatim(dict(body)))
    if unit is not None:
        if _text(unit, "unit") != _CNY or not isinstance(constraint.value, str):
            return Constraint(_REFINED, Operator.EQ, _verbatim(dict(body)))
        return replace(constraint, value=f"{constraint.value} CNY")
    return constraint


def _verbatim(value: Any) -> str:
    return json.dumps(canonical.loads_strict(canonical.dumps(value)), ensure_ascii=False)


def _value(value: Any, prefix: str) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_code(item, prefix) for item in value)
    folded = _folded(value) if isinstance(value, str) else None
    return _code(value, prefix) if folded is None else tuple(_code(each, prefix) for each in folded)


def _code(value: Any, prefix: str) -> str:
    text = _scalar(value)
    said = value.get("@id") if isinstance(value, dict) else value
    if prefix and isinstance(said, str) and said.startswith(prefix):
        code = said.removeprefix(prefix)
        return code if _CODE.fullmatch(code) else text
    return text


def _folded(text: str) -> tuple[str, ...] | None:
    """A list as Eclipse EDC writes one: JSON inside a text, `[{"@value":"a"},{"@value":"b"}]`."""
    if not text.startswith(_FOLDED):
        return None
    try:
        items = canonical.loads_strict(text.encode())
    except YunheError:
        return None
    plain = [item.get("@value") for item in items if isinstance(item, dict) and len(item) == 1]
    texts = tuple(text for text in plain if isinstance(text, str))
    return texts if len(texts) == len(items) else None


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("@value", value.get("@id"))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadPolicy(why="a right operand is a text or a list of texts")
    return value if isinstance(value, str) else canonical.dumps(value).decode()


def _text(value: Any, name: str) -> str:
    if isinstance(value, dict):
        value = value.get("@id")
    if not isinstance(value, str) or not value:
        raise BadPolicy(why=f"{name} is not a text")
    return value


def _listed(value: Any, name: str) -> list[Mapping[str, Any]]:
    items = [] if value is None else value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, dict):
            raise BadPolicy(why=f"{name} is not a list of objects")
    return items
