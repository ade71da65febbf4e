"""Usage control: every use asks first; the answer is a verdict with reasons; admission is a Grant.

In: policies of contracts in force, uses asked for by authenticated peers.
Out: `Verdict`s, `Grant`s (minted here alone), and the events UseAdmitted, UseReleased, UsePosted,
UseVoided, UseDenied, UseCorrected in the verb's own transaction. Listens to ContractInForce and
ContractEnded.
"""

from __future__ import annotations

from yunhe.control.errors import refusal
from yunhe.control.evaluate import Compiled, compile_policy
from yunhe.control.model import Context, Reason, Use, Verdict

__all__ = ["Compiled", "Context", "Reason", "Use", "Verdict", "compile_policy", "refusal"]
