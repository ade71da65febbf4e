"""The keys one verifies with: they come from outside the bundle, always.

In: `{roots: [{did, jwk}], parties: {did: jwk}, logs: {origin: vkey}, unsigned: [did]}`. Out: typed
keys, or BadTrust. `parties` may be empty: a root's credential then vouches for a party's key.
`unsigned` names foreign parties whose connectors sign no documents (signature level `transport`):
only who verifies can accept that, never the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from yunhe.evidence import jws
from yunhe.evidence.errors import BadTrust
from yunhe.evidence.note import BadNote, VerifierKey

_MEMBERS: Final = {"roots", "parties", "logs", "unsigned"}


@dataclass(frozen=True)
class Trust:
    """Roots may have several keys (rotation); a log is known by its origin."""

    roots: dict[str, tuple[dict[str, Any], ...]]
    parties: dict[str, dict[str, Any]]
    logs: dict[str, VerifierKey]
    unsigned: frozenset[str] = frozenset()


def read_trust(said: Any) -> Trust:
    """Read the trust file's object; raises BadTrust naming what is wrong."""
    if not isinstance(said, dict) or not set(said) <= _MEMBERS:
        raise BadTrust(why="only the members roots, parties, logs and unsigned are read")
    roots: dict[str, tuple[dict[str, Any], ...]] = {}
    listed = said.get("roots", [])
    parties, logs = said.get("parties", {}), said.get("logs", {})
    if not isinstance(listed, list) or not isinstance(parties, dict) or not isinstance(logs, dict):
        raise BadTrust(why="roots is a list, parties and logs are objects")
    unsigned = said.get("unsigned", [])
    if not isinstance(unsigned, list) or not all(isinstance(did, str) for did in unsigned):
        raise BadTrust(why="unsigned is a list of DIDs")
    for root in listed:
        if not isinstance(root, dict) or not isinstance(root.get("did"), str):
            raise BadTrust(why="a root has did and jwk")
        roots[root["did"]] = (*roots.get(root["did"], ()), _jwk(root.get("jwk"), root["did"]))
    if not roots:
        raise BadTrust(why="no trust root is given")
    return Trust(
        roots,
        {did: _jwk(jwk, did) for did, jwk in parties.items()},
        {origin: _vkey(origin, text) for origin, text in logs.items()},
        frozenset(unsigned),
    )


def _jwk(jwk: Any, of: str) -> dict[str, Any]:
    try:
        jws.public_key(jwk)
    except jws.BadJws as error:
        raise BadTrust(why=f"the key of {of} is {error}") from error
    return dict(jwk)


def _vkey(origin: str, text: Any) -> VerifierKey:
    try:
        key = VerifierKey.parse(str(text))
    except BadNote as error:
        raise BadTrust(why=f"the log {origin}: {error}") from error
    if key.name != origin:
        raise BadTrust(why=f"the key under {origin} is of the log {key.name}")
    return key
