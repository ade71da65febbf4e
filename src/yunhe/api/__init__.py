"""The management API of a node: what its own people, programs and pages speak to.

In: HTTP under `/api/v1` with an API token. Out: JSON, Arrow streams, RFC 9457 problems. The
contract with clients is docs/api.md.
"""

from __future__ import annotations

from yunhe.api.app import create_app
from yunhe.api.deps import Answer, Services
from yunhe.api.wait import Waiters

__all__ = ["Answer", "Services", "Waiters", "create_app"]
