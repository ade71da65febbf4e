"""Whose keys we know and why: our own, the pinned trust roots', everyone else's by did:web.

In: a DID. Out: the Ed25519 keys that speak for it. Trust roots come from the configuration and
never from the network, except in development, where an unpinned one is resolved once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from yunhe.identity.did import DidDocument, Resolver, key_named
from yunhe.identity.errors import CredentialUntrusted, TokenKeyUnknown, TrustRootUnpinned
from yunhe.identity.model import Jwk, RetiredKey
from yunhe.kernel import keys, limits
from yunhe.kernel.settings import NodeConfig


class KeyRing:
    """The keys one node goes by."""

    def __init__(self, config: NodeConfig, own: keys.SigningKey, resolver: Resolver) -> None:
        self._own_did = config.did
        self._own: tuple[Jwk, ...] = (_public(own.public_jwk()),)
        self._before: tuple[RetiredKey, ...] = ()
        self._rooted = "functional-node" in config.roles
        self._resolver = resolver
        self._roots: dict[str, tuple[Jwk, ...]] = {}
        for root in config.trust_roots:
            if root.jwk is None and not config.development:
                raise TrustRootUnpinned(did=root.did)
            # Two entries for one DID are two keys: how a root's rotation is announced.
            held = self._roots.get(root.did, ())
            self._roots[root.did] = held if root.jwk is None else (*held, _public(root.jwk))
        self._pinned = frozenset(did for did, held in self._roots.items() if held)
        if self._rooted:
            self._roots[self._own_did] = self._own

    def own_keys(
        self, current: Jwk, retired: Iterable[Jwk], before: Iterable[RetiredKey] = ()
    ) -> None:
        """Our keys after a rotation: `current`, then the `retired` ones that still verify.

        `before`: every key that we ever retired, for what we signed with it in its time.
        """
        self._own = (_public(current), *(_public(jwk) for jwk in retired))
        self._before = tuple(RetiredKey(_public(key.jwk), key.until) for key in before)
        if self._rooted:
            self._roots[self._own_did] = self._own

    def is_root(self, did: str) -> bool:
        """Whether `did` is a registrar whose credentials count here."""
        return did in self._roots

    def roots(self) -> tuple[str, ...]:
        """The DIDs of the trust roots, in the order of the configuration."""
        return tuple(self._roots)

    def keys_of(self, did: str) -> tuple[Jwk, ...]:
        """Every key that speaks for `did`; raises DidUnresolvable, AddressForbidden."""
        if did == self._own_did:
            return self._own
        if did in self._roots:
            if not self._roots[did]:
                # Development only (see __init__): trust on first use, then pinned.
                self._roots[did] = self._resolved(did, limits.DID_CACHE_S)
            return self._roots[did]
        return self._resolved(did, limits.DID_CACHE_S)

    def key_of(self, did: str, kid: object) -> Jwk:
        """The key of `did` that a token header names; raises TokenKeyUnknown, DidUnresolvable.

        An unknown name may mean that the key was rotated: the document is fetched once more.
        """
        found = key_named(self.keys_of(did), did, kid)
        if found is None and did != self._own_did and not self.is_root(did):
            found = key_named(self._resolved(did, limits.DID_REFRESH_S), did, kid)
        if found is None:
            raise TokenKeyUnknown(detail=f"{did} has no key {kid!r}")
        return found

    def keys_anew(self, did: str) -> tuple[Jwk, ...]:
        """The keys of `did` once one more was used than `keys_of` knows: its document is fetched
        again, but never that of a root whose keys are pinned. Raises as `keys_of`.
        """
        if did == self._own_did or did in self._pinned:
            return self.keys_of(did)
        found = self._resolved(did, limits.DID_REFRESH_S)
        if did in self._roots:
            self._roots[did] = found
        return found

    def signer_of(self, did: str, compact: str, at: datetime | None = None) -> Jwk:
        """The key of `did` that a JWS says it was made with: documents outlive the key they were
        signed by, and wait in an outbox while it is rotated.

        The first key where no other can become known, so that it does not verify. Raises
        TokenKeyUnknown where the document was read too lately to be read again: the sender
        repeats what it said; DidUnresolvable.

        `at`: when we made it, for a document of our own that we have kept: then it goes by the
        keys of that time, also by one whose overlap has ended since.
        """
        kid = keys.jws_kid(compact)
        if did == self._own_did and at is not None:
            held = tuple(key.jwk for key in self._before if at < key.until)
            if (found := key_named(held, did, kid)) is not None:
                return found
        try:
            return self.key_of(did, kid)
        except TokenKeyUnknown:
            settled = kid is None or did == self._own_did or self.is_root(did)
            if not settled or not (known := self.keys_of(did)):
                raise
            return known[0]

    def document(self, did: str, age_s_max: float = limits.DID_CACHE_S) -> DidDocument:
        """The DID document of a peer; raises DidUnresolvable, AddressForbidden."""
        return self._resolver.resolve(did, age_s_max)

    def named_key(self, did: str, kid: object, relation: str) -> Jwk:
        """The key of any suite that `kid` names in a DID document, usable for `relation`.

        An unknown name may mean that the key was rotated: the document is fetched once more.
        Raises TokenKeyUnknown, DidUnresolvable, AddressForbidden.
        """
        found = self.document(did).key(kid, relation)
        if found is None:
            found = self.document(did, limits.DID_REFRESH_S).key(kid, relation)
        if found is None:
            raise TokenKeyUnknown(detail=f"{did} has no key {kid!r} for {relation}")
        return found

    def issuer_key(self, issuer: str, kid: object) -> Jwk:
        """The key a trust root signs credentials and status lists with.

        A pinned root is believed by its pinned keys alone; an unpinned one (development) by its
        document. Raises CredentialUntrusted, TokenKeyUnknown, DidUnresolvable.
        """
        if issuer not in self._roots:
            raise CredentialUntrusted
        pinned = self._own if issuer == self._own_did else self._roots[issuer]
        if not pinned:
            return self.named_key(issuer, kid, "assertionMethod")
        found = key_named(pinned, issuer, kid)
        if found is None:
            raise TokenKeyUnknown(detail=f"{issuer} has no pinned key {kid!r}")
        return found

    def _resolved(self, did: str, age_s_max: float) -> tuple[Jwk, ...]:
        return self._resolver.resolve(did, age_s_max).jwks


def _public(jwk: Jwk) -> Jwk:
    """The four members we use of a public JWK; raises BadSignature for any other kind of key."""
    return {"kty": "OKP", "crv": "Ed25519", "x": jwk.get("x"), "kid": keys.thumbprint(jwk)}
