"""The strict shape of a bundle: which members, of which type; anything else is named.

The envelope is closed: a member too many is refused. Signed documents and logged bodies are
open: they must have the members that are read, and may have more, which their signatures bind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from yunhe.evidence.report import Findings


@dataclass(frozen=True)
class Many:
    """A list whose items have the shape `of`."""

    of: Any


@dataclass(frozen=True)
class Open:
    """An object that has at least `members`; a member of `perhaps` is of its shape."""

    members: dict[str, Any]
    perhaps: dict[str, Any] = field(default_factory=dict)


_ENTRY: Final = {
    "leaf": {"c": str, "id": str, "k": str, "t": str},
    "salt": str,
    "body": Open({}),
    "proof": str,
}
_TRANSFER: Final = Open({"debit": str, "credit": str, "amount_fen": int})
_CONSTRAINT: Final = {"term": str, "operator": str, "value": (str, list)}
_DUTY: Final = {"action": str, "phase": str, "constraints": Many(_CONSTRAINT)}
_RULE: Final = {
    "kind": str,
    "action": str,
    "constraints": Many(_CONSTRAINT),
    "duties": Many(_DUTY),
}
POLICY: Final = "urn:yunhe:policy"  # beside the ODRL; a foreign party's agreement has it not
_AGREED: Final = Open({"rules": Many(_RULE)})
BUNDLE: Final = {
    "format": str,
    "exporter": str,
    "exported_at": str,
    "credentials": Many(str),
    "contract": {
        "agreement": Open({"@id": str, "assigner": str, "assignee": str}, {POLICY: _AGREED}),
        "provider_jws": str,
        "consumer_jws": str,
        "entry": _ENTRY,
    },
    "uses": Many(
        {
            "receipt": Open({"use_id": str, "contract_id": str, "rows": int}),
            "receipt_jws": str,
            "entry": _ENTRY,
        }
    ),
    "settlements": Many(
        {
            "statement": Open(
                {
                    "contract_id": str,
                    "lines": Many(Open({"use_id": str, "rows": int, "fee_fen": int})),
                    "total_fen": int,
                }
            ),
            "provider_jws": str,
            "consumer_jws": str,
            "entry": {**_ENTRY, "body": Open({"transfer": _TRANSFER})},
        }
    ),
    "manifest": str,
}
METER: Final = Open(
    {"use_id": str, "contract_id": str, "purpose": str, "rows": int, "fee_fen": int}
)
_NAMES: Final = {
    str: ("string", "字符串"),
    int: ("integer", "整数"),
    (str, list): ("string or array", "字符串或数组"),
}


def check(value: Any, shape: Any, at: str, findings: Findings) -> bool:
    """Note where `value` is not of `shape`; `at` is its pointer. True where it is."""
    if isinstance(shape, Many):
        if not isinstance(value, list):
            findings.add(at, "FIELD_TYPE", expected=("array", "数组"))
            return False
        found = [check(v, shape.of, f"{at}/{i}", findings) for i, v in enumerate(value)]
        return all(found)
    if isinstance(shape, dict | Open):
        return _check_object(value, shape, at, findings)
    if not isinstance(value, shape) or isinstance(value, bool):
        findings.add(at, "FIELD_TYPE", expected=_NAMES[shape])
        return False
    return True


def _check_object(value: Any, shape: dict[str, Any] | Open, at: str, findings: Findings) -> bool:
    if not isinstance(value, dict):
        findings.add(at, "FIELD_TYPE", expected=("object", "对象"))
        return False
    members = shape.members if isinstance(shape, Open) else shape
    right = True
    for name, below in members.items():
        if name in value:
            right &= check(value[name], below, f"{at}/{name}", findings)
        else:
            findings.add(f"{at}/{name}", "FIELD_MISSING")
            right = False
    if isinstance(shape, Open):
        for name in value.keys() & shape.perhaps.keys():
            right &= check(value[name], shape.perhaps[name], f"{at}/{name}", findings)
    else:
        for name in value.keys() - members.keys():
            findings.add(f"{at}/{name}", "FIELD_UNKNOWN")
            right = False
    return right
