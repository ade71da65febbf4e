"""The keys one verifies with: they come from outside the bundle, always.

In: `{roots: [{did, jwk}], parties: {did: jwk or [jwk]}, logs: {origin: vkey}, unsigned: [did]}`.
Out: typed keys, or BadTrust. `parties` may be empty: a root's credential then vouches for a party's
keys.
`unsigned` names foreign parties whose connectors sign no documents (signature level `transport`):
only who verifies can accept that, never the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from yunhe.evidence import jws
from yunhe.evidence.errors import BadTrust
from yunhe.evidence.note import BadNote, VerifierKey
from yunhe.evidence.report_why import both

_MEMBERS: Final = {"roots", "parties", "logs", "unsigned"}


@dataclass(frozen=True)
class Trust:
    """Roots and parties may have several keys (rotation); a log is known by its origin."""

    roots: dict[str, tuple[dict[str, Any], ...]]
    parties: dict[str, tuple[dict[str, Any], ...]]
    logs: dict[str, VerifierKey]
    unsigned: frozenset[str] = frozenset()

    def known(self) -> str:
        """Whose keys these are, roots first, for a reader who looks for another."""
        return ", ".join(dict.fromkeys((*self.roots, *self.parties)))


def read_trust(said: Any) -> Trust:
    """Read the trust file's object; raises BadTrust naming what is wrong."""
    if not isinstance(said, dict) or not set(said) <= _MEMBERS:
        en = "it is an object of roots, parties, logs and unsigned, and of nothing else"
        zh = "它应是仅含 roots、parties、logs、unsigned 的对象"
        raise BadTrust(why=en, why_zh=zh)
    roots: dict[str, tuple[dict[str, Any], ...]] = {}
    listed = said.get("roots", [])
    parties, logs = said.get("parties", {}), said.get("logs", {})
    if not isinstance(listed, list) or not isinstance(parties, dict) or not isinstance(logs, dict):
        en = "roots is a list, parties and logs are objects"
        zh = "roots 为列表，parties 与 logs 为对象"
        raise BadTrust(why=en, why_zh=zh)
    unsigned = said.get("unsigned", [])
    if not isinstance(unsigned, list) or not all(isinstance(did, str) for did in unsigned):
        raise BadTrust(why="unsigned is a list of DIDs", why_zh="unsigned 为 DID 列表")
    for root in listed:
        if not isinstance(root, dict) or not isinstance(root.get("did"), str):
            raise BadTrust(why="a root has did and jwk", why_zh="每个可信根应有 did 与 jwk")
        roots[root["did"]] = (*roots.get(root["did"], ()), _jwk(root.get("jwk"), root["did"]))
    if not roots:
        raise BadTrust(why="no trust root is given", why_zh="未给出可信根")
    return Trust(
        roots,
        {did: _jwks(said, did) for did, said in parties.items()},
        {origin: _vkey(origin, text) for origin, text in logs.items()},
        frozenset(unsigned),
    )


def _jwks(said: Any, of: str) -> tuple[dict[str, Any], ...]:
    """One key, or the list of those that a party has had."""
    if said == []:
        raise BadTrust(why=f"{of} has no key", why_zh=f"{of} 没有密钥")
    return tuple(_jwk(jwk, of) for jwk in (said if isinstance(said, list) else [said]))


def _jwk(jwk: Any, of: str) -> dict[str, Any]:
    try:
        jws.public_key(jwk)
    except jws.BadJws as error:
        raise BadTrust(why=f"the key of {of} is {error}", why_zh=f"{of} 的密钥不可用") from error
    return dict(jwk)


def _vkey(origin: str, text: Any) -> VerifierKey:
    try:
        key = VerifierKey.parse(str(text))
    except BadNote as error:
        en, zh = both(error)
        raise BadTrust(why=f"the log {origin}: {en}", why_zh=f"日志 {origin}：{zh}") from error
    if key.name != origin:
        en = f"the key under {origin} is of the log {key.name}"
        raise BadTrust(why=en, why_zh=f"{origin} 下的密钥属于日志 {key.name}")
    return key
