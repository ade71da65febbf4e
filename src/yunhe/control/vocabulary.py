"""The table of terms: what each can be compared with, how its value is read, what a failure means.

In: nothing. Out: `TERMS`, one line a term of T14 Table 5.1 and of ours; a term or an operator that
is not here denies by name. The list of operators is digital-contract.md §5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunhe.contracts import Action, Hours, Operator, Term, duration_s
from yunhe.control import values
from yunhe.control.probes import Match

_O = Operator
_RANGE = frozenset({_O.EQ, _O.LT, _O.LTEQ})
_LIST = frozenset({_O.EQ, _O.NEQ, _O.IS_A, _O.IS_ANY_OF, _O.IS_NONE_OF})
_PROGRAMS = _LIST | {_O.IS_ALL_OF}
_FIELDS = frozenset(
    {_O.EQ, _O.HAS_PART, _O.IS_A, _O.IS_ALL_OF, _O.IS_ANY_OF, _O.IS_NONE_OF, _O.IS_PART_OF}
)
_WORDS = _FIELDS | {_O.NEQ}


@dataclass(frozen=True)
class Kind:
    """How the given value of a term compares.

    `family`: "ordered" (of type `of`), "set" (with `inside`, `overlaps`), "hours" or "expression".
    """

    family: str
    operators: frozenset[Operator]
    read: Callable[[str], Any]
    of: type = int
    inside: Match = values.same
    overlaps: Match = values.same


def _ordered(operators: frozenset[Operator], read: Callable[[str], Any], of: type = int) -> Kind:
    return Kind("ordered", operators, read, of)


def _words(operators: frozenset[Operator], read: Callable[[str], Any] = values.word) -> Kind:
    return Kind("set", operators, read)


_PROGRAM = Kind(
    "set",
    _PROGRAMS,
    values.program,
    inside=values.program_inside,
    overlaps=values.program_overlaps,
)
_CODE = _words(_LIST, values.code)

# `maskMethod` and `payPer` speak only inside a duty. They are absent, so they deny. `frequency`,
# `timeInterval` and `timeWindow eq` are counted by the node: see `often`.
TERMS: dict[str, Kind] = {
    Term.TIME: _ordered(
        frozenset({_O.EQ, _O.GT, _O.GTEQ, _O.LT, _O.LTEQ, _O.IS_A, _O.IS_PART_OF}),
        values.instant,
        datetime,
    ),
    Term.TIME_WINDOW: _ordered(frozenset({_O.LT, _O.LTEQ, _O.IS_A, _O.IS_PART_OF}), duration_s),
    Term.REGION: Kind(
        "set",
        _LIST | {_O.IS_PART_OF},
        values.region,
        inside=values.region_inside,
        overlaps=values.region_overlaps,
    ),
    Term.NETWORK_ADDRESS: Kind(
        "set",
        _LIST | {_O.IS_PART_OF},
        values.address,
        inside=values.address_inside,
        overlaps=values.address_overlaps,
    ),
    Term.PHYSICAL_ADDRESS: _words(_LIST, values.device),
    Term.COUNT: _ordered(_RANGE, values.number),
    Term.DATA_SIZE: _ordered(_RANGE, values.size),
    Term.DATE_RECORD: _ordered(_RANGE, values.number),
    Term.DATA_FIELD: _words(_FIELDS),
    Term.VALUE_EXPRESSION: Kind("expression", frozenset({_O.EQ}), values.word),
    Term.APPLICATION: _PROGRAM,
    Term.ALGORITHM: _PROGRAM,
    Term.MODELS: _PROGRAM,
    Term.EXECUTION_ENV: _CODE,
    Term.ENCRYPT_MODE: _CODE,
    Term.DELIVERY_METHOD: _CODE,
    Term.PAY_AMOUNT: _ordered(frozenset({_O.EQ, _O.GTEQ, _O.LTEQ}), values.money),
    Term.PURPOSE: _words(_WORDS),
    Term.RECIPIENT: _words(_WORDS),
    Term.MINIMUM_GROUP: _ordered(frozenset({_O.EQ, _O.GT, _O.GTEQ}), values.number),
    Term.PRIVACY_BUDGET: _words(frozenset({_O.EQ}), values.privacy),
    Term.RELEASE_RULE: _words(frozenset({_O.EQ}), values.release),
    Term.WATERMARK: _words(frozenset({_O.EQ}), values.watermark),
    Term.AGGREGATES: _words(frozenset({_O.EQ}), values.aggregates),
    Term.KEYS_TO: _words(frozenset({_O.IS_PART_OF})),
    Term.RECORD_TOTAL: _ordered(_RANGE, values.number),
    Term.SIZE_TOTAL: _ordered(_RANGE, values.size),
    Term.HOURS: Kind("hours", frozenset({_O.EQ}), Hours),
}

_CODES: dict[str, str] = {
    Term.TIME: "OUTSIDE_AGREED_TIME",
    Term.TIME_WINDOW: "OUTSIDE_AGREED_TIME",
    Term.REGION: "REGION_NOT_AGREED",
    Term.NETWORK_ADDRESS: "ADDRESS_NOT_AGREED",
    Term.PHYSICAL_ADDRESS: "DEVICE_NOT_AGREED",
    Term.COUNT: "USES_EXHAUSTED",
    Term.DATA_SIZE: "VOLUME_EXCEEDED",
    Term.DATE_RECORD: "ROWS_EXCEEDED",
    Term.DATA_FIELD: "FIELD_NOT_AGREED",
    Term.VALUE_EXPRESSION: "ROW_FILTER_NOT_APPLIED",
    Term.APPLICATION: "APPLICATION_NOT_AGREED",
    Term.ALGORITHM: "ALGORITHM_NOT_AGREED",
    Term.MODELS: "MODEL_NOT_AGREED",
    Term.EXECUTION_ENV: "ENVIRONMENT_NOT_AGREED",
    Term.ENCRYPT_MODE: "ENCRYPTION_NOT_AGREED",
    Term.DELIVERY_METHOD: "DELIVERY_NOT_AGREED",
    Term.PAY_AMOUNT: "PAYMENT_NOT_AGREED",
    Term.PURPOSE: "PURPOSE_NOT_AGREED",
    Term.RECIPIENT: "RECIPIENT_NOT_AGREED",
    Term.MINIMUM_GROUP: "MINIMUM_GROUP_NOT_APPLIED",
    Term.PRIVACY_BUDGET: "PRIVACY_NOT_APPLIED",
    Term.RELEASE_RULE: "RELEASE_RULE_NOT_APPLIED",
    Term.WATERMARK: "WATERMARK_NOT_APPLIED",
    Term.AGGREGATES: "AGGREGATES_NOT_APPLIED",
    Term.KEYS_TO: "KEYS_NOT_AGREED",
    Term.RECORD_TOTAL: "TOTAL_ROWS_SPENT",
    Term.SIZE_TOTAL: "TOTAL_VOLUME_SPENT",
    Term.HOURS: "OUTSIDE_AGREED_HOURS",
    Term.FREQUENCY: "FREQUENCY_EXCEEDED",
    Term.TIME_INTERVAL: "FREQUENCY_EXCEEDED",
}


def code_of(term: str, operator: str) -> str:
    """The reason code of a constraint that does not hold."""
    if term in (Term.TIME, Term.TIME_WINDOW):
        if operator in (Operator.LT, Operator.LTEQ):
            return "CONTRACT_EXPIRED"
        if operator in (Operator.GT, Operator.GTEQ):
            return "CONTRACT_NOT_YET_VALID"
    return _CODES[term]


ACTIONS: frozenset[str] = frozenset(Action)

# `access` is implied by every use of the consumer side (T14 U-04): permitting one permits to open,
# and prohibiting to open prohibits each. No other action includes another.
NEEDS_ACCESS: frozenset[str] = frozenset(
    {
        Action.ACCESS,
        Action.READ,
        Action.REPRODUCE,
        Action.STORAGE,
        Action.DOWNLOAD,
        Action.PROCESS,
        Action.JOINT_DEVELOP,
        Action.COMPUTE,
        Action.DELIVERY,
        Action.MODIFY,
        Action.DERIVE,
        Action.AGGREGATE,
    }
)

# ODRL's narrower words beside T14's. A permission of one is none of the other; a prohibition of
# either covers both, since the same use may be called by either name.
KIN: dict[str, tuple[str, ...]] = {
    Action.PROCESS: (Action.MODIFY, Action.DERIVE),
    Action.MODIFY: (Action.PROCESS,),
    Action.DERIVE: (Action.PROCESS,),
    Action.JOINT_DEVELOP: (Action.AGGREGATE,),
    Action.AGGREGATE: (Action.JOINT_DEVELOP,),
}

# What brings data to a third party. Under `inherit` the policy has to travel with it, and this
# node can make nobody else keep it: denied, naming `inherit`.
TO_OTHERS: frozenset[str] = frozenset({Action.DISTRIBUTE, Action.GRANT_USE, Action.SELL})
