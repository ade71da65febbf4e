"""The words of usage control: what is asked (`Use`), how it is judged (`Verdict`), why (`Reason`).

In: nothing. Out: frozen values shared by the evaluator, the service and the engines.
A `Verdict` keeps every rule considered, with the constraints that did not hold, as bits; they are
read out as `Reason`s only where somebody looks, so that keeping them costs nothing on the hot way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from yunhe.contracts import Duty
from yunhe.kernel.db import Tx

Given = str | int | datetime | frozenset[str] | frozenset[tuple[str, str]]
ALLOW, DENY = "allow", "deny"
# Refusals after the data was looked at: whether one comes is an answer of one bit.
ANSWERS = (
    "GROUP_TOO_SMALL",
    "ROWS_OVER_LIMIT",
    "BYTES_OVER_LIMIT",
    "QUERY_FAILED",
    "DATA_UNAVAILABLE",
    "QUERY_MEMORY",
    "QUERY_TIMEOUT",
    "WORKER_LOST",
    "GROUPS_TOO_MANY",
    "QUERY_OVERLAP",
    "APP_FAILED",
    "APP_TIMEOUT",
    "APP_MEMORY",
    "APP_OUTPUT_REFUSED",
    "APP_CUT",  # an author may end a run once its time has told something
)


@dataclass(frozen=True, slots=True)
class Context:
    """One request as the evaluator sees it; a term that is absent from `values` is unknown.

    `values`: term name -> instant (`time`), int (counts, rows, bytes, fen, seconds), str, or a
    frozenset where several are asked for at once (`dataField`, `algorithm`).
    """

    action: str
    values: Mapping[str, Given]


class Reason(NamedTuple):
    """One constraint (or a word not understood) that decided about one rule."""

    rule: str  # "rules[3]": its place in the policy
    kind: str  # the rule's kind; in a prohibition the constraint is why it did NOT apply
    term: str
    operator: str
    expected: str | tuple[str, ...]
    given: str | tuple[str, ...] | None  # None: the request did not say
    code: str

    def to_json(self) -> dict[str, Any]:
        """The reason as it is stored in evidence and shown to the caller."""
        expected = self.expected if isinstance(self.expected, str) else list(self.expected)
        given = list(self.given) if isinstance(self.given, tuple) else self.given
        return {
            "rule": self.rule,
            "kind": self.kind,
            "term": self.term,
            "operator": self.operator,
            "expected": expected,
            "given": given,
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class Bit:
    """One constraint of one rule, ready made: its bit, and the reason code if it fails."""

    mask: int
    head: tuple[str, str, str, str, str | tuple[str, ...]]  # rule, kind, term, operator, expected
    code: str
    given_term: str  # where its given value stands in the context


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule of the policy: it holds when all bits of `mask` are set."""

    rule_id: str
    kind: str
    mask: int
    bits: tuple[Bit, ...]
    duties: tuple[Duty, ...] = ()

    def reasons(
        self, failed: int, shown: Mapping[str, str | tuple[str, ...] | None]
    ) -> list[Reason]:
        """The constraints behind the bits in `failed`, with what the request gave."""
        return [
            Reason(*bit.head, shown.get(bit.given_term), bit.code)
            for bit in self.bits
            if failed & bit.mask
        ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one answer to one request: decision, code, the rule that decided, and all reasons.

    `code`: "ALLOWED", "PROHIBITED", "DEFAULT", or the code of the first failed constraint of the
    permission that came nearest. `rule`: the matched rule, "" where none matched. `outcomes`:
    every rule considered, with the bits of its constraints that failed (0: it held).
    """

    decision: str
    code: str
    rule: str
    context: Context
    outcomes: tuple[tuple[CompiledRule, int], ...] = ()
    duties: tuple[Duty, ...] = ()
    extra: tuple[Reason, ...] = ()  # reasons that belong to no compiled constraint
    again: datetime | None = None  # of a denial: when waiting alone would have mended it

    @property
    def allowed(self) -> bool:
        """True for `allow`."""
        return self.decision == ALLOW

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason of every rule considered, in the policy's order."""
        shown = {term: show(given) for term, given in self.context.values.items()}
        found = list(self.extra)
        for rule, failed in self.outcomes:
            if failed:
                found += rule.reasons(failed, shown)
        return tuple(found)

    @property
    def considered(self) -> tuple[str, ...]:
        """The rules looked at, in order."""
        return tuple(rule.rule_id for rule, _ in self.outcomes)

    def decisive(self) -> Reason | None:
        """The reason that gave `code`, where one constraint did."""
        return next((reason for reason in self.reasons if reason.code == self.code), None)


def show(given: Given | None) -> str | tuple[str, ...] | None:
    """A given value as text for a reason; sets in order."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, frozenset):
        return tuple(sorted(item if isinstance(item, str) else " ".join(item) for item in given))
    return given.isoformat() if isinstance(given, datetime) else str(given)


@dataclass(frozen=True)
class Question:
    """What a use under a privacy budget asks: the data set, a digest of the question and of the
    version of the data, and whether its kept answer is what will be given."""

    dataset: str
    key: str
    held: bool = False


@dataclass(frozen=True)
class Use:
    """One use somebody asks for. `use_id` is the caller's: the same id never charges twice.

    `fields`: "table.column" names that the request touches; `rows_max`: the most rows that may be
    delivered, which is what a crash is billed at, and `bytes_max` the most bytes (None: not bounded
    by the caller); `cut`: the engine stops at the Grant's bounds, so that rows may be lowered to
    what is left of the contract; `at`: when the caller says it asked (recorded;
    decisions read the node's own clock); `environment`: further context the node knows of.
    """

    use_id: str
    contract_id: str
    peer_did: str
    principal: str
    purpose: str
    fields: frozenset[str]
    rows_max: int
    action: str = "read"
    at: datetime | None = None
    environment: Mapping[str, Given] = field(default_factory=dict)
    question: Question | None = None  # needed where the terms state a privacy budget
    bytes_max: int | None = None
    cut: bool = False


class EntryReceipt(Protocol):
    """What the log hands back inside a verb."""

    @property
    def entry_id(self) -> str:
        """The entry's id."""
        ...

    @property
    def leaf(self) -> str:
        """Its leaf hash, hex."""
        ...


@dataclass(frozen=True, slots=True)
class Consumed:
    """What one use brought to its consumer, as counted there: what its receipt signs for.

    `digest`: SHA-256, hex, of the Arrow stream as received.
    """

    use_id: str
    contract_id: str
    purpose: str
    rows: int
    bytes: int
    digest: str


class Recorder(Protocol):
    """The part of the evidence log that verbs write to."""

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> EntryReceipt:
        """Add one entry to this transaction."""
        ...


@dataclass(frozen=True)
class Posted:
    """What one use cost."""

    use_id: str
    rows: int
    bytes: int
    fee_fen: int
    entry_id: str
    at: datetime


@dataclass(frozen=True)
class Recovered:
    """What a recovery found: uses given back, and uses billed at their reserved maximum."""

    voided: tuple[str, ...]
    posted: tuple[str, ...]


@dataclass(frozen=True)
class Quota:
    """What is left of a contract at the provider's node; None: no such limit."""

    contract_id: str
    peer_did: str
    state: str
    uses_max: int | None
    uses_left: int | None
    uses_spent: int
    rows_max: int | None
    expires_at: datetime | None
    rows_total: int | None
    rows_left: int | None
    bytes_total: int | None
    bytes_left: int | None


@dataclass(frozen=True)
class UseRecord:
    """One use as the provider's node keeps it; `state`: reserved, released, posted or void."""

    use_id: str
    contract_id: str
    peer_did: str
    principal: str
    action: str
    purpose: str
    state: str
    rows_max: int
    rows: int | None
    bytes: int | None
    fee_fen: int | None
    complete: bool
    entry_id: str | None
    reserved_at: datetime
    ended_at: datetime | None
    why: str | None


@dataclass(frozen=True)
class Denial:
    """One refusal of an authenticated peer, with its evidence entry."""

    use_id: str
    contract_id: str
    peer_did: str
    code: str
    entry_id: str
    at: datetime
