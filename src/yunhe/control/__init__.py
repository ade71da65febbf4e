"""Usage control: every use asks first; the answer is a verdict with reasons; admission is a Grant.

In: policies of contracts in force, uses asked for by authenticated peers.
Out: `Verdict`s, `Grant`s (minted here alone), and the events UseAdmitted, UseReleased, UsePosted,
UseVoided, UseDenied, UseCorrected in the verb's own transaction. Listens to ContractInForce and
ContractEnded.
"""

from __future__ import annotations

from yunhe.control.again import check_hours
from yunhe.control.bodies import arrived
from yunhe.control.budget import Budget, answer_kept
from yunhe.control.budget import left as budget_left
from yunhe.control.elsewhere import Made, book, hold, known, learn
from yunhe.control.errors import (
    AnswersTooMany,
    CorrectionRefused,
    GrantForged,
    QueryOverlap,
    UseAlreadySpent,
    UseDeniedError,
    UseIdTaken,
    UseOutOfOrder,
    refusal,
)
from yunhe.control.evaluate import Compiled, compile_policy
from yunhe.control.events import (
    UseAdmitted,
    UseCorrected,
    UseDenied,
    UsePosted,
    UseReleased,
    UseVoided,
)
from yunhe.control.grant import Grant
from yunhe.control.left import Left
from yunhe.control.model import (
    Consumed,
    Context,
    Denial,
    EntryReceipt,
    Given,
    Posted,
    Question,
    Quota,
    Reason,
    Recorder,
    Recovered,
    Use,
    UseRecord,
    Verdict,
)
from yunhe.control.overlap import Answered, answered
from yunhe.control.service import Control

__all__ = [
    "Answered",
    "AnswersTooMany",
    "Budget",
    "Compiled",
    "Consumed",
    "Context",
    "Control",
    "CorrectionRefused",
    "Denial",
    "EntryReceipt",
    "Given",
    "Grant",
    "GrantForged",
    "Left",
    "Made",
    "Posted",
    "QueryOverlap",
    "Question",
    "Quota",
    "Reason",
    "Recorder",
    "Recovered",
    "Use",
    "UseAdmitted",
    "UseAlreadySpent",
    "UseCorrected",
    "UseDenied",
    "UseDeniedError",
    "UseIdTaken",
    "UseOutOfOrder",
    "UsePosted",
    "UseRecord",
    "UseReleased",
    "UseVoided",
    "Verdict",
    "answer_kept",
    "answered",
    "arrived",
    "book",
    "budget_left",
    "check_hours",
    "compile_policy",
    "hold",
    "known",
    "learn",
    "refusal",
]
