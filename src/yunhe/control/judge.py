"""From a use to a verdict: the quota row, the request's context, the compiled policy.

In: a `Tx` and a `Use`. Out: a `Verdict` with the contract's terms; nothing is written here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from yunhe.contracts import Policy, Term, TermNotUnderstood, Terms
from yunhe.control import budget, store, values, volume
from yunhe.control.again import again
from yunhe.control.evaluate import Compiled, compile_policy
from yunhe.control.model import DENY, Context, Given, Reason, Use, Verdict
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx

Agreed = Callable[[Tx, str], Policy | None]


@dataclass(frozen=True)
class Standing:
    """A contract's policy, compiled, with its typed terms (None: `problems` says why not)."""

    compiled: Compiled
    terms: Terms | None
    problems: tuple[Reason, ...] = ()


class Judge:
    """Evaluates uses; keeps the latest compiled policies, by contract and version.

    The cache only saves the compiling: the reserve checks the version again in the database.
    """

    def __init__(self, agreed: Agreed | None = None) -> None:
        """`agreed` is the policy that the contract itself says; None: the row alone is asked."""
        self._agreed = agreed
        self._kept: OrderedDict[tuple[str, int], Standing] = OrderedDict()
        self._lock = threading.Lock()

    def standing(self, tx: Tx, row: sa.Row[Any]) -> Standing:
        """The compiled policy of a quota row, if it is the contract's."""
        key = (row.contract_id, row.version)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        policy = Policy.from_json(row.policy)
        if self.agreed(tx, row) != policy:
            altered = _reason("contract", row.contract_id, "CONTRACT_ALTERED", "policy")
            return Standing(compile_policy(policy), None, (altered,))  # not kept: it may be mended
        made = _stand(policy)
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > limits.POLICIES_CACHED_MAX:
                self._kept.popitem(last=False)
        return made

    def agreed(self, tx: Tx, row: sa.Row[Any]) -> Policy:
        """The policy that the contract itself says; the row's where nobody else knows it."""
        said = None if self._agreed is None else self._agreed(tx, row.contract_id)
        return Policy.from_json(row.policy) if said is None else said

    def judge(
        self, tx: Tx, use: Use, reserving: bool = False
    ) -> tuple[Verdict, sa.Row[Any] | None, Terms | None]:
        """The verdict, with the quota row and the terms it was reached by.

        `reserving`: counted uses stay as they are until this transaction ends.
        """
        row = store.find_quota(tx, use.contract_id)
        if row is None or row.peer_did != use.peer_did:
            # Another peer's contract is as good as none: its existence is not ours to tell.
            reason = _reason("contract", use.contract_id, "NO_SUCH_CONTRACT_HERE")
            return _no(use, reason), None, None
        if row.state != "in_force":
            code = "CONTRACT_EXPIRED" if row.state == "expired" else "CONTRACT_TERMINATED"
            reason = _reason("contract", iso(row.ended_at), code, row.end_reason or "–")
            return _no(use, reason), row, None
        standing = self.standing(tx, row)
        if standing.terms is None:
            return _no(use, *standing.problems), row, None
        if reserving and (standing.compiled.counted or volume.totalled(row)):
            store.hold_quota(tx, row.contract_id)
            row = store.find_quota(tx, use.contract_id) or row  # as it stands now that it is held
        use = volume.capped(use, row, standing.terms)
        context = _context(tx, use, row, standing.terms)
        if standing.compiled.counted:
            counted = _counted(tx, row, standing.compiled)
            context = Context(context.action, {**context.values, **counted})
        verdict = standing.compiled.evaluate(context)
        verdict = budget.judged(tx, use, standing.terms, verdict, reserving)
        if not verdict.allowed:
            later = again(tx, verdict.code, row, standing.terms)
            verdict = verdict if later is None else replace(verdict, again=later)
        return verdict, row, standing.terms


def _stand(policy: Policy) -> Standing:
    compiled = compile_policy(policy)
    try:
        return Standing(compiled, policy.terms)
    except TermNotUnderstood as error:
        term, value = str(error.facts.get("term")), str(error.facts.get("value"))
        unread = Reason("", "", term, "", value, None, error.code)
        return Standing(compiled, None, (unread, *compiled.problems))


_NEVER = 2**53  # seconds since a use that never was


def _counted(tx: Tx, row: sa.Row[Any], compiled: Compiled) -> dict[str, Given]:
    """The node's own counts of a contract's uses, this one included, by given term."""
    found: dict[str, Given] = {}
    for name, window_s in compiled.counted:
        if window_s is None:
            last = store.last_use_at(tx, row.contract_id)
            found[name] = _NEVER if last is None else int((tx.now - last).total_seconds())
        else:
            start = values.window_start(row.opened_at, tx.now, window_s)
            found[name] = store.uses_since(tx, row.contract_id, start) + 1
    return found


def _context(tx: Tx, use: Use, row: sa.Row[Any], terms: Terms) -> Context:
    given: dict[str, Given] = {
        **use.environment,
        **volume.given(use, row),
        Term.TIME: tx.now,
        Term.HOURS: tx.now,
        Term.TIME_WINDOW: int((tx.now - row.opened_at).total_seconds()),
        Term.COUNT: row.uses_spent + 1,
        Term.DATE_RECORD: use.rows_max,
        Term.DATA_FIELD: use.fields,
        Term.PURPOSE: use.purpose,
        Term.RECIPIENT: use.peer_did,
        # The Grant carries these to the engine, which applies them or does not run.
        Term.MINIMUM_GROUP: terms.minimum_group,
        Term.VALUE_EXPRESSION: frozenset(terms.row_filters),
        Term.PRIVACY_BUDGET: str(terms.privacy or ""),
        Term.WATERMARK: str(terms.watermark or ""),
        Term.AGGREGATES: str(terms.aggregates or ""),
        Term.KEYS_TO: frozenset(terms.keys_to),  # the consumer's planner keeps to it
    }
    return Context(use.action, given)


def _reason(term: str, expected: str, code: str, given: str | None = None) -> Reason:
    return Reason("", "", term, "", expected, given, code)


def _no(use: Use, *reasons: Reason) -> Verdict:
    return Verdict(DENY, reasons[0].code, "", Context(use.action, {}), extra=reasons)
