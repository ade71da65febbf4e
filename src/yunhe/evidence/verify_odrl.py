"""The agreement as it was transmitted: what its ODRL says, for the verifier.

In: an ODRL agreement without the typed policy of this house, as a foreign connector writes or keeps
it. Out: its rules in the stored form, with the few words that bear on money and bounds read and
all others as they stand. `protocols.dsp.odrl` reads the same; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from yunhe.evidence.report import Findings
from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError

_ODRL: Final = "http://www.w3.org/ns/odrl/2/"
_OWN: Final = "urn:yunhe:odrl:"
_KINDS: Final = {
    "permission": "duty",
    "prohibition": "odrl:remedy",
    "obligation": "odrl:consequence",
}
_WORDS: Final = {
    **{
        f"odrl:{word}": word
        for word in ("purpose", "count", "payAmount", "compensate", "read", "isAnyOf", "eq", "lteq")
    },
    **{_OWN + word: word for word in ("payPer", "timeWindow", "frequency", "phase")},
}
_CNY: Final = f"{_OWN}currency:CNY"

Rule = tuple[str, dict[str, Any]]  # its JSON Pointer below the agreement, the rule


class _Unreadable(ValueError):
    """Something that is no ODRL, in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.why = (en, zh)


def rules_of(agreement: Mapping[str, Any], at: str, findings: Findings) -> list[Rule]:
    """Its rules; what cannot be read is a finding below `at`, and left out."""
    found: list[Rule] = []
    for kind, duty_key in _KINDS.items():
        for place, body in _items(agreement.get(kind), f"/{kind}", at, findings):
            rule: dict[str, Any] = {"kind": kind, "duties": []}
            if not _read_into(rule, body, place, at, findings):
                continue
            for below, duty in _items(body.get(duty_key), f"{place}/{duty_key}", at, findings):
                read: dict[str, Any] = {}
                if _read_into(read, duty, below, at, findings):
                    rule["duties"].append(read)
            found.append((place, rule))
    if not found:
        why = ("it has no rules", "没有任何规则")
        findings.add(at, "AGREEMENT_UNREADABLE", why=why)
    return found


def _items(
    value: Any, place: str, at: str, findings: Findings
) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a list with their pointers; one object stands for the list of it."""
    if value is None:
        return []
    listed = isinstance(value, list)
    items = [
        (f"{place}/{n}" if listed else place, v) for n, v in enumerate(value if listed else [value])
    ]
    for where, item in items:
        if not isinstance(item, dict):
            findings.add(at + where, "FIELD_TYPE", expected=("object", "对象"))
    return [(where, item) for where, item in items if isinstance(item, dict)]


def _read_into(
    into: dict[str, Any], body: Mapping[str, Any], place: str, at: str, findings: Findings
) -> bool:
    """Action and constraints of a rule or duty; False, with a finding, where they are none."""
    try:
        into["action"] = _word(body.get("action"))
        into["constraints"] = []
        for where, each in _items(body.get("constraint"), f"{place}/constraint", at, findings):
            place = where
            if (read := _constraint(each)) is not None:
                into["constraints"].append(read)
    except _Unreadable as error:
        findings.add(at + place, "AGREEMENT_UNREADABLE", why=error.why)
        return False
    return True


def _constraint(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if "leftOperand" not in body:
        return {"term": "odrl:logical", "operator": "eq", "value": ""}  # no word of ours
    term = _word(body["leftOperand"])
    if term == "phase":
        return None
    value = _value(body.get("rightOperand"))
    unit = body.get("odrl:unit")
    if unit is not None:
        if term != "payAmount" or _text(unit) != _CNY:
            raise _Unreadable("a price is in CNY", "价格须以人民币计")
        if isinstance(value, str):
            value = f"{value} CNY"
    return {"term": term, "operator": _word(body.get("operator")), "value": value}


def _word(value: Any) -> str:
    """Our word for an IRI of ODRL's or ours; any other IRI as it stands."""
    iri = _text(value)
    if iri.startswith(_ODRL):
        iri = f"odrl:{iri.removeprefix(_ODRL)}"
    elif ":" not in iri:
        iri = f"odrl:{iri}"
    return _WORDS.get(iri, iri)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("@value", value.get("@id"))
    if not isinstance(value, str) or not value:
        raise _Unreadable("a word is not a text", "词语不是文本")
    return value


def _value(value: Any) -> str | list[str]:
    """A value, a list of values, or a list folded into a text as Eclipse EDC does it."""
    if isinstance(value, list):
        return [_scalar(each) for each in value]
    if isinstance(value, str) and value.startswith('[{"@value":'):
        try:
            items = loads_strict(value.encode(), limits.BUNDLE_BYTES_MAX)
        except (YunheError, UnicodeEncodeError):
            return value
        if all(isinstance(i, dict) and i.keys() == {"@value"} for i in items):
            return [_scalar(each) for each in items]
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("@value", value.get("@id"))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unreadable("a right operand is not a text", "右操作数不是文本")
    return str(value)
