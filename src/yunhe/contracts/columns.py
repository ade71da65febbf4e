"""How a policy lies in a column: as its RFC 8785 text, read once for all that have it.

In: policies. Out: text, and the same policies back. Contracts on one product mostly share theirs,
and a verb reads its contract more than once; a policy never changes, so all may hold the same one.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from yunhe.contracts.policy import Policy
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps


class PolicyText(sa.types.TypeDecorator[Policy]):
    """A policy as its canonical text, so equal policies are equal columns."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Policy | None, dialect: Any) -> str | None:
        """To canonical text; None stays NULL."""
        return None if value is None else dumps(value.to_json()).decode()

    def process_result_value(self, value: Any, dialect: Any) -> Policy | None:
        """Back to a policy, the same one for the same text."""
        return None if value is None else _read(value)


@lru_cache(maxsize=limits.POLICIES_CACHED_MAX)
def _read(text: str) -> Policy:
    return Policy.from_json(json.loads(text))
