"""Our own data tokens that were verified once: a consumer shows the same one for minutes.

In: a token. Out: its claims, after its signature was verified now or before. Whether it still
may be used (its end, its transfer, its contract) is asked of the clock and the database each time.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from yunhe.contracts.errors import DataTokenInvalid
from yunhe.kernel import limits
from yunhe.kernel.keys import BadSignature, SigningKey, read_jwt

TOKEN_TYPE: Final = "yunhe-data+jwt"  # noqa: S105  a media type, not a secret


class DataTokens:
    """Keeps digests, never tokens; at most DATA_TOKENS_KEPT_MAX, the latest used. Thread-safe."""

    def __init__(self, key: SigningKey, did: str) -> None:
        self._key, self._did = key, did
        self._known: OrderedDict[bytes, Mapping[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that this node signed; raises DataTokenInvalid."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            found = self._known.get(digest)
            if found is not None:
                self._known.move_to_end(digest)
                return found
        try:
            made = MappingProxyType(read_jwt(token, self._our_key))
        except BadSignature as error:
            why = "the signature does not verify"
            raise DataTokenInvalid(detail=str(error), why=why) from error
        with self._lock:
            self._known[digest] = made
            if len(self._known) > limits.DATA_TOKENS_KEPT_MAX:
                self._known.popitem(last=False)
        return made

    def _our_key(self, header: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        if header.get("typ") != TOKEN_TYPE or claims.get("iss") != self._did:
            raise BadSignature(why="not a data token of this node")
        return self._key.public_of(header.get("kid"))
