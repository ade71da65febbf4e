"""The privacy budget of a party over a data set: reserved with the use, never more than agreed.

In: a use with its `Question`, the agreed terms. Out: a verdict, rows of the ledger, answers kept.
A question that was answered is answered by the same figures again and costs nothing, so that
nobody can average the noise away. All SQL of the budget is here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from yunhe.contracts import EPSILON, FEMTO, MICRO, RHO, Privacy, Term, Terms
from yunhe.control.model import ANSWERS, DENY, Context, Question, Reason, Use, Verdict
from yunhe.control.store_answers import lock
from yunhe.kernel.db import Database, Json, Tx, UtcTime, metadata

spending = sa.Table(
    "control_epsilon",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("dataset", sa.String(255), nullable=False),
    sa.Column("question", sa.String(64), nullable=False),
    sa.Column("epsilon_micro", sa.BigInteger, nullable=False),
    sa.Column("delta_femto", sa.BigInteger, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("measure", sa.String(16)),  # NULL, from before there was another: epsilon
    sa.Index("control_epsilon_by_party", "peer_did", "dataset"),
)

noised = sa.Table(
    "control_noised",
    metadata,
    sa.Column("peer_did", sa.String(255), primary_key=True),
    sa.Column("dataset", sa.String(255), primary_key=True),
    sa.Column("question", sa.String(64), primary_key=True),
    sa.Column("groups", Json, nullable=False),  # as the worker gave them, noise included
    sa.Column("at", UtcTime, nullable=False),
)


@dataclass(frozen=True)
class Budget:
    """What a party has spent about a data set, of what one contract allows; exact decimals.

    `measure`: whether the amounts are of epsilon or of rho. `as_epsilon`: what the rho spent is as
    an epsilon, at half of the contract's delta; empty where it is one already.
    """

    epsilon: str
    epsilon_spent: str
    epsilon_left: str
    delta: str
    delta_spent: str
    query: str
    answers: int  # that may yet be asked
    measure: str = EPSILON
    as_epsilon: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return dict(self.__dict__)


def judged(tx: Tx, use: Use, terms: Terms, verdict: Verdict, reserving: bool) -> Verdict:
    """`verdict`, or a denial where the budget does not suffice for a new answer.

    `reserving`: nobody else spends of it until the transaction ends.
    """
    privacy, question = terms.privacy, use.question
    if privacy is None or not verdict.allowed:
        return verdict
    if question is None:
        return _no(use, "PRIVACY_NOT_APPLIED", privacy, "–")
    if reserving:
        lock(tx, use.peer_did, question.dataset)
    if question.held and kept(tx, use.peer_did, question.dataset, question.key) is not None:
        return verdict
    if _mixed(tx, use.peer_did, question.dataset, privacy.measure):
        return _no(use, "PRIVACY_MEASURES_DIFFER", privacy, "–")
    epsilon, delta = _spent(tx, use.peer_did, question.dataset)
    left = privacy.epsilon_micro - epsilon
    if left < privacy.query_micro or privacy.answers_femto - delta < privacy.query_femto:
        return _no(use, "PRIVACY_BUDGET_SPENT", privacy, _text(max(left, 0), MICRO))
    return verdict


def reserve(tx: Tx, use: Use, terms: Terms) -> None:
    """Charge the answer to come; one that is kept costs nothing."""
    privacy, question = terms.privacy, use.question
    if privacy is None or question is None:
        return
    if question.held and kept(tx, use.peer_did, question.dataset, question.key) is not None:
        return
    values = {
        "use_id": use.use_id,
        "peer_did": use.peer_did,
        "dataset": question.dataset,
        "question": question.key,
        "epsilon_micro": privacy.query_micro,
        "delta_femto": privacy.query_femto,
        "measure": privacy.measure,
        "at": tx.now,
    }
    tx.insert_once(spending, values)


def give_back(tx: Tx, use_id: str, why: str) -> None:
    """Of a use that was voided. A refusal after a look at the data is an answer, and a crash may
    have come after one: neither is given back."""
    if why not in (*ANSWERS, "crash"):
        tx.execute(sa.delete(spending).where(spending.c.use_id == use_id))


def keep(tx: Tx, use_id: str, groups: list[Any]) -> None:
    """Keep the released answer of a use that was charged; the first of a question stays."""
    row = tx.one(sa.select(spending).where(spending.c.use_id == use_id))
    if row is None:
        return
    key = {"peer_did": row.peer_did, "dataset": row.dataset, "question": row.question}
    tx.insert_once(noised, {**key, "groups": groups, "at": tx.now})


def answer_kept(db: Database, peer_did: str, question: Question) -> list[Any] | None:
    """The answer kept for a question under a privacy budget, or None."""
    return db.read(lambda tx: kept(tx, peer_did, question.dataset, question.key))


def kept(tx: Tx, peer_did: str, dataset: str, question: str) -> list[Any] | None:
    """The answer kept for a question, or None."""
    row = tx.one(
        sa.select(noised.c.groups).where(
            noised.c.peer_did == peer_did,
            noised.c.dataset == dataset,
            noised.c.question == question,
        )
    )
    return None if row is None else list(row.groups)


def left(db: Database, peer_did: str, dataset: str, privacy: Privacy) -> Budget:
    """What is left to one party of what `privacy` allows."""
    return db.read(lambda tx: left_in(tx, peer_did, dataset, privacy))


def left_in(tx: Tx, peer_did: str, dataset: str, privacy: Privacy) -> Budget:
    """As `left`, in a transaction."""
    epsilon, delta = _spent(tx, peer_did, dataset)
    remains = max(privacy.epsilon_micro - epsilon, 0)
    return Budget(
        privacy.epsilon,
        _text(epsilon, MICRO),
        _text(remains, MICRO),
        privacy.delta,
        _text(delta, FEMTO),
        privacy.query,
        remains // privacy.query_micro,
        privacy.measure,
        _as_epsilon(epsilon / MICRO, privacy) if privacy.measure == RHO else "",
    )


def _as_epsilon(rho: float, privacy: Privacy) -> str:
    """The epsilon that a rho is at half of the whole delta: OpenDP's, else the plain bound, which
    is larger (Bun, Steinke 2016, proposition 1.3)."""
    if not rho:
        return "0"
    delta = (privacy.delta_femto - privacy.answers_femto) / FEMTO
    try:
        import opendp.prelude as dp  # optional, and slow to load
    except ImportError:
        return f"{rho + 2 * math.sqrt(rho * math.log(1 / delta)):.4g}"
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    curve: Any = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=1.0))
    return f"{curve.map(math.sqrt(2 * rho)).epsilon(delta):.4g}"


def _spent(tx: Tx, peer_did: str, dataset: str) -> tuple[int, int]:
    mine = sa.and_(spending.c.peer_did == peer_did, spending.c.dataset == dataset)
    sums = [
        sa.func.coalesce(sa.func.sum(column), 0).label(name)
        for name, column in (("e", spending.c.epsilon_micro), ("d", spending.c.delta_femto))
    ]
    row = tx.one(sa.select(*sums).where(mine))
    return (0, 0) if row is None else (int(row.e), int(row.d))


def _mixed(tx: Tx, peer_did: str, dataset: str, measure: str) -> bool:
    """Whether the party has spent by another measure: the two do not add up."""
    other = sa.func.coalesce(spending.c.measure, EPSILON) != measure
    mine = sa.and_(spending.c.peer_did == peer_did, spending.c.dataset == dataset, other)
    return tx.one(sa.select(spending.c.use_id).where(mine).limit(1)) is not None


def _no(use: Use, code: str, privacy: Privacy, given: str) -> Verdict:
    term = Term.PRIVACY_BUDGET
    expected = str(privacy) if code == "PRIVACY_NOT_APPLIED" else privacy.epsilon
    reason = Reason("", "", term, "eq", expected, given, code)
    return Verdict(DENY, code, "", Context(use.action, {}), extra=(reason,))


def _text(amount: int, unit: int) -> str:
    return format((Decimal(amount) / unit).normalize(), "f")
