"""Agreement between two parties: typed policies, negotiation, signatures, termination.

In: requests and offers of our users, messages of peers (translated by protocols).
Out: contracts in force, with their typed terms.
"""

from __future__ import annotations

from yunhe.contracts.errors import TermNotUnderstood
from yunhe.contracts.policy import (
    Action,
    Constraint,
    Duty,
    Mask,
    Operator,
    Policy,
    Price,
    Rule,
    Term,
    Terms,
    policy_from_terms,
    terms_from_policy,
)

__all__ = [
    "Action",
    "Constraint",
    "Duty",
    "Mask",
    "Operator",
    "Policy",
    "Price",
    "Rule",
    "Term",
    "TermNotUnderstood",
    "Terms",
    "policy_from_terms",
    "terms_from_policy",
]
