"""Which JOSE name of Ed25519 each peer reads: `Ed25519` (RFC 9864) or `EdDSA` (RFC 8037).

In: the `alg` of tokens that verified, and the setting `eddsa_peers`. Out: the name to write to a
peer. Software of before RFC 9864 refuses the newer name; what it writes, it surely reads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from yunhe.kernel import keys, limits


class JoseNames:
    """The names by peer: the last one seen, else the setting's, else `Ed25519`."""

    def __init__(self, eddsa_peers: Iterable[str] = ()) -> None:
        self._set = frozenset(eddsa_peers)
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def name_for(self, did: str) -> str:
        """The `alg` to write in a token for `did`."""
        said = keys.EDDSA if did in self._set else keys.ED25519
        with self._lock:
            return self._seen.get(did, said)

    def heard(self, did: str, name: str) -> None:
        """A token of `did` verified under `name`; the longest unheard peers are forgotten."""
        if name not in keys.ALGORITHMS:
            return
        with self._lock:
            self._seen[did] = name
            self._seen.move_to_end(did)
            while len(self._seen) > limits.CREDENTIAL_CACHE_MAX:
                self._seen.popitem(last=False)
