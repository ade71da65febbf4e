"""Identity of one node, as the other slices see it: one object, verbs grouped by who needs them.

In: tokens, forms, credentials. Out: principals, peers, applications, this node's own documents.
The verbs live in tokens.py, peers.py and registrar.py, those of decentralised claims in wallet.py,
issuer.py and foreign.py; here they are joined.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from yunhe.identity import credentials, did, store_access
from yunhe.identity.errors import (
    AddressForeign,
    CredentialRefused,
    RoleMissing,
    StatusListUnknown,
)
from yunhe.identity.events import CredentialStored
from yunhe.identity.foreign import ForeignTokens
from yunhe.identity.issuer import Issuer
from yunhe.identity.josenames import JoseNames
from yunhe.identity.keyring import KeyRing
from yunhe.identity.model import Jwk, Membership, Peer, Principal
from yunhe.identity.peers import Peers, Verified
from yunhe.identity.presentations import PresentationCheck
from yunhe.identity.refusals import RefusalMeter
from yunhe.identity.registrar import Registrar
from yunhe.identity.rotation import Rotation
from yunhe.identity.status import PATH as STATUS_PATH
from yunhe.identity.status import StatusBook, StatusCheck
from yunhe.identity.tokens import ApiTokens
from yunhe.identity.wallet import Wallet
from yunhe.kernel import canonical, ids, keys, suites
from yunhe.kernel.clock import Clock
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError
from yunhe.kernel.settings import NodeConfig

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

CLAIMS_PATH: Final = "/dcp"  # below it: holder, issuer, status, schemas


class Identity:
    """Who this node is, who its people are, who its peers are."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        key_store: keys.KeyStore,
        clock: Clock,
        config: NodeConfig,
        fetch: did.Fetch | None = None,
    ) -> None:
        """Build once a node. `fetch` reads a DID document by URL; the guarded one by default.

        Raises TrustRootUnpinned outside development when a trust root has no key.
        """
        self._db = db
        self._evidence = evidence
        self._config = config
        self.egress = config.egress
        self._fetcher = did.DidWebFetcher(self.egress)
        self.clock = clock
        self.own_did = config.did
        self.rotation = Rotation(db, evidence, key_store)
        self.rotation.finish()
        self.key = key_store.key("did")
        self.fetch = fetch or self._fetcher
        self.ring = KeyRing(config, self.key, did.Resolver(self.fetch, clock, config.development))
        self._rotated()
        self.registers = "functional-node" in config.roles
        self.book = StatusBook(db, config.did, config.address, self.key)
        self.status = StatusCheck(clock, self._status_list, self.ring.issuer_key)
        self.tokens = ApiTokens(db, evidence)
        names = JoseNames(config.eddsa_peers)
        self.jose_name = names.name_for
        self.peers = Peers(db, config.did, self.key, self.ring, self.registers, self.status, names)
        self.registrar = Registrar(db, evidence, self.key, config, self.book)
        self._claims(key_store.es256("dcp"))
        self.rotation.watch(self._rotated)
        self.rotation.watch(self.peers.forget_own)  # our credential is for the key before
        self.refusals = RefusalMeter(db)
        # The verbs that every edge calls, by their short names.
        self.create_token = self.tokens.create_token
        self.authenticate = self.tokens.authenticate
        self.revoke_token = self.tokens.revoke_token
        self.mint = self.peers.mint
        self.authenticate_peer = self.peers.authenticate_peer
        self.credential_of = self.peers.credential_of
        self.credentials_of = self.peers.credentials_of
        self.keys_of = self.ring.keys_of
        self.keys_anew = self.ring.keys_anew
        self.apply_subject = self.registrar.apply_subject
        self.apply_connector = self.registrar.apply_connector
        self.resubmit = self.registrar.resubmit
        self.review = self.registrar.review
        self.application = self.registrar.application
        self.list_applications = self.registrar.list_applications
        self.subjects = self.registrar.subjects
        self.connectors = self.registrar.connectors

    def _claims(self, key: suites.Signer) -> None:
        """The verbs of DCP. Its tokens and presentations are ES256, which everyone verifies."""
        db, evidence, own_did = self._db, self._evidence, self.own_did
        self.claims_key = key
        self.foreign = ForeignTokens(db, own_did, key, self.ring)
        self.presentations = PresentationCheck(
            self.clock, own_did, self.ring, self.foreign, self.status
        )
        self.wallet = Wallet(db, evidence, own_did, key, self.ring, self.presentations)
        self.issuer = Issuer(db, evidence, own_did, self.key, self.book, self.registers)

    def _rotated(self) -> None:
        """Our own keys by which the ring goes: this one, and those that still verify."""
        retired = [jwk for jwk in self.rotation.retired() if jwk.get("crv") == "Ed25519"]
        before = [key for key in self.rotation.before() if key.jwk.get("crv") == "Ed25519"]
        self.ring.own_keys(self.key.public_jwk(), retired, before)

    def _status_list(self, url: str) -> bytes:
        """A status list by its address; our own come from our own register."""
        own = self._config.address + STATUS_PATH + "/"
        if not url.startswith(own):
            return self.fetch(url)
        number, _, old = url.removeprefix(own).partition("/")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise StatusListUnknown
        return self.book.published(int(number), old == "2021").encode()

    def address_of(self, peer_did: str) -> str:
        """The base URL of a peer, from its did:web; raises DidUnresolvable."""
        url = did.url_of(peer_did, self._config.development)
        return url.removesuffix("/did.json").removesuffix("/.well-known")

    def check_address(self, peer_did: str, address: str) -> None:
        """Refuse an address that a did:web does not name as its own: a token minted for the peer
        would go to whoever sits there. Raises AddressForeign.
        """
        if not peer_did.startswith("did:web:"):
            return  # its holder is known by other means, and so is its address
        origin = urlsplit(address)[:2]
        if origin == urlsplit(self.address_of(peer_did))[:2]:
            return
        try:
            named = self.ring.document(peer_did).services.values()
        except YunheError as error:
            raise AddressForeign(detail=str(error), did=peer_did) from error
        if origin not in [urlsplit(each)[:2] for each in named]:
            raise AddressForeign(did=peer_did)

    def did_document(self) -> dict[str, Any]:
        """This node's DID document, for `/.well-known/did.json`."""
        services = {"CredentialService": f"{CLAIMS_PATH}/holder"}
        if self.registers:
            services["IssuerService"] = f"{CLAIMS_PATH}/issuer"
        return did.document(
            self._config,
            (self.key.public_jwk(), self.claims_key.public_jwk()),
            self.own_code(),
            services,
            self.rotation.retired(),
        )

    def own_code(self) -> str:
        """Our N04 connector code; '' before the registrar gave one."""
        return self._db.read(store_access.own_code)

    def own_credential(self) -> str:
        """Our membership credential in force as VC-JWT; '' when there is none."""
        return self.peers.own_credential(self.clock.now()) or ""

    def credential_ends(self) -> datetime | None:
        """When our membership ends unless it is renewed; None without a credential in force."""
        return self.peers.credential_ends(self.clock.now())

    def store_credential(self, tx: Tx, jwt: str) -> Membership:
        """Keep the credential a trust root issued to us, inside the caller's verb.

        Sent twice it is kept once. Raises CredentialRefused, CredentialExpired.
        """
        member = self.check_credential(jwt, tx)
        if member.did != self.own_did:
            raise CredentialRefused(why="it is about another holder")
        if member.jwk["x"] != self.key.public_jwk()["x"]:
            raise CredentialRefused(why="it is for another key")
        if store_access.keep_credential(tx, jwt, member):
            self._evidence.record(
                tx,
                "identity.credential_stored",
                {
                    "code": member.code,
                    "issuer": member.issuer,
                    "credential_sha256": canonical.sha256_hex(jwt.encode()),
                },
            )
            tx.emit(CredentialStored(member.code, member.subject_code, member.issuer))
        tx.after_commit(self.peers.forget_own)
        return member

    def check_credential(self, jwt: str, tx: Tx | None = None) -> Membership:
        """The membership that a credential of any trust root proves at this moment.

        Raises CredentialRefused, CredentialExpired.
        """
        issuer = credentials.issuer_of(jwt)
        if not self.ring.is_root(issuer):
            raise CredentialRefused(why="its issuer is no trust root")
        now = self.clock.now() if tx is None else tx.now
        return credentials.verify(jwt, self.ring.keys_of(issuer), now)

    def check_standing(self, did: str) -> None:
        """That the credential a peer showed last still counts, its status asked now: for what
        goes on long after the peer's last message. Nothing of a peer that never showed one.

        Raises CredentialRefused, CredentialExpired, and what the status list says.
        """
        shown = self.peers.credential_of(did)
        if shown:
            member = self.check_credential(shown)
            if member.issuer != self.own_did:
                self.status.check(member.status, member.issuer)

    def region_of(self, did: str) -> str:
        """The four digits (GB/T 2260) in a peer's connector code, by a credential that counts now;
        empty where none tells a place: no such credential, or an industry's code (N04 5.3)."""
        shown = self.own_credential() if did == self.own_did else self.peers.credential_of(did)
        if not shown:
            return ""
        try:
            self.check_standing(did)
            region = ids.parse(self.check_credential(shown).code).region
        except YunheError:
            return ""
        return "" if region.startswith("00") else region

    def trust_roots(self) -> tuple[tuple[str, tuple[Jwk, ...]], ...]:
        """The registrars whose credentials count here, with their keys."""
        return tuple((root, self.ring.keys_of(root)) for root in self.ring.roots())

    def own_peer(self) -> Peer:
        """This node as its peers see it, for a verb it performs on itself."""
        jwk = self.key.public_jwk()
        return Peer(
            did=self.own_did,
            member=True,
            code=self.own_code(),
            subject_code=self._config.subject_code,
            name=self._config.subject_name,
            jwk=jwk,
            root=self.ring.is_root(self.own_did),
            name_en=self._config.subject_name_en,
            address=self._config.address,
        )

    def admit_message(self, verified: Verified, sequence: str) -> Peer:
        """Spend a verified token and its message's sequence number in one write.

        Raises TokenReplayed, PeerSuspended.
        """
        return self._db.write(lambda tx: self.peers.admit(tx, verified, sequence))

    def record_refusal(self, peer: Peer, what: str, code: str) -> None:
        """One evidence entry for a refusal of a member; strangers are counted (DESIGN §4.6).

        Anybody can make a DID, so a peer nobody vouches for must not fill our disk either.
        """
        if not peer.member:
            self.refusals.refused(peer.did, code)
            return
        body = {"peer": peer.did, "what": what, "code": code}
        self._db.write(lambda tx: self._evidence.record(tx, "identity.refused", body))

    def record_trespass(self, who: Principal, what: str) -> None:
        """One evidence entry for what a caller of this node asked for without the role."""
        body = {"token_id": who.id, "name": who.name, "what": what, "code": RoleMissing.code}
        self._db.write(lambda tx: self._evidence.record(tx, "identity.refused", body))

    def close(self) -> None:
        """Write the counted refusals and close connections."""
        self.refusals.flush()
        self._fetcher.close()
