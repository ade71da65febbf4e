"""What a result inherits from the contracts it was made under: the strictest of each word.

In: the members whose parts a result holds. Out: one policy as JSON, which travels in the Arrow
schema's metadata (`yunhe.policy`) and stands in the answer's record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yunhe.contracts import Terms
from yunhe.fabric.model import Member
from yunhe.kernel.clock import iso


def shared_purposes(members: Sequence[Member]) -> tuple[str, ...]:
    """The purposes that every contract allows, in the order of the first."""
    first, *others = members
    return tuple(
        purpose
        for purpose in first.terms.purposes
        if all(purpose in other.terms.purposes for other in others)
    )


def inherited(members: Sequence[Member]) -> dict[str, Any]:
    """Purposes intersect, the first expiry counts, prohibitions and sources add up."""
    terms: list[Terms] = [member.terms for member in members]
    ends = [each.expires_at for each in terms if each.expires_at is not None]
    prohibitions = {
        rule.action: None
        for member in members
        for rule in member.policy.rules
        if rule.kind == "prohibition"
    }
    return {
        "purposes": list(shared_purposes(members)),
        "expires_at": iso(min(ends)) if ends else None,
        "prohibitions": [str(action) for action in prohibitions],
        "minimum_group": max(each.minimum_group for each in terms) or None,
        "noise": [
            {"contract_id": each.contract_id, "privacy": str(each.terms.privacy)}
            for each in members
            if each.terms.privacy is not None
        ],
        "passed_on_only_with_policy": any(each.inherit for each in terms),
        "attribution": [
            {
                "contract_id": member.contract_id,
                "product_code": member.product_code,
                "provider_did": member.provider_did,
            }
            for member in members
        ],
    }
