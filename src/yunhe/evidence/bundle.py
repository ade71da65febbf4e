"""The evidence bundle: one contract from certificate to settlement in one JSON file.

In: the parts, gathered by the exporting node, and its signing key. Out: the bundle, in which
every field is named in a signed manifest. `verify` checks it offline, with keys from elsewhere.

Shape (`yunhe-bundle/1`; every member is required, none other is allowed in the envelope):

    format        "yunhe-bundle/1"
    exporter      DID of the exporting party: the provider or the consumer
    exported_at   ISO time; the one field that nothing but the manifest vouches for
    credentials   [VC-JWT of the provider, VC-JWT of the consumer], those in force when the contract
                  was logged; then those for the keys that either signed with later, if any
    contract      {agreement, provider_jws, consumer_jws, entry}
    uses          [{receipt, receipt_jws, entry}]          in the order of the statements' lines
    settlements   [{statement, provider_jws, consumer_jws, entry}]
    manifest      compact JWS by the exporter over {format, fields: {json-pointer: sha256}}

    entry = {leaf: {c, id, k, t}, salt: hex, body: {...}, proof: ".tlog-proof text"}

An entry's body is disclosed as it was committed to. It stands for a document if it is that
document, or holds as the value of one of its members the document or its SHA-256 (hex, canonical
bytes). Documents below may hold further members; these are the ones that are read:

    agreement   as signed: `@id`, `assigner` (provider), `assignee` (consumer), and under
                `urn:yunhe:policy` the policy in the stored form of contracts.Policy
                entry: kind contract.*, stands for the agreement
    receipt     {use_id, contract_id, rows}, signed by the consumer; purpose if given
                entry: kind use.posted or use.corrected, body = the provider's meter
                {use_id, contract_id, purpose, rows, fee_fen}; or use.receipt (the consumer's
                log), standing for the receipt
    statement   {contract_id, lines: [{use_id, rows, fee_fen}], total_fen}, signed by both over
                its canonical bytes (the consumer's signature is the acknowledgement)
                entry: kind statement.settled, stands for the statement, and holds in member
                `transfer` the posted ledger transfer: {debit, credit, amount_fen},
                accounts as `<DID of the owner>#<account>`

All JWS of documents are detached, over the RFC 8785 bytes.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from yunhe.evidence import fields, jws
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps

FORMAT: Final = "yunhe-bundle/1"
MEMBERS: Final = ("exporter", "exported_at", "credentials", "contract", "uses", "settlements")


class Proven(Protocol):
    """What `EvidenceLog.entry` gives."""

    @property
    def leaf(self) -> bytes:
        """The entry bytes."""
        ...

    @property
    def salt(self) -> bytes | None:
        """The salt, unless erased."""
        ...

    @property
    def body(self) -> dict[str, Any] | None:
        """The body, unless erased."""
        ...


def entry_part(entry: Proven, proof_text: str) -> dict[str, Any]:
    """The `entry` of a bundle, from `log.entry(id)` and `log.proof(id).text()`.

    Raises ValueError for an entry whose body was erased: it can no longer be disclosed.
    """
    if entry.salt is None or entry.body is None:
        raise ValueError("the body of this entry was erased")
    return {
        "leaf": json.loads(entry.leaf),
        "salt": entry.salt.hex(),
        "body": entry.body,
        "proof": proof_text,
    }


def make_bundle(parts: dict[str, Any], signer: jws.Signer) -> dict[str, Any]:
    """The bundle of `parts` (the members above without `format` and `manifest`), signed.

    `signer` is the exporter's `did` key. Raises ValueError for missing or surplus parts, BadJson
    for what is no JSON.
    """
    if set(parts) != set(MEMBERS):
        raise ValueError(f"the parts of a bundle are {', '.join(MEMBERS)}")
    bundle = {"format": FORMAT, **{name: parts[name] for name in MEMBERS}}
    return {**bundle, "manifest": manifest(bundle, signer)}


def manifest(bundle: dict[str, Any], signer: jws.Signer) -> str:
    """The signed list of every field of `bundle` (its own member apart) with its digest."""
    return jws.sign(dumps({"format": FORMAT, "fields": field_digests(bundle)}), signer)


def field_digests(bundle: dict[str, Any]) -> dict[str, str]:
    """The digest of every field but the manifest, by pointer; raises fields.TooDeep, BadJson."""
    body = {name: value for name, value in bundle.items() if name != "manifest"}
    return fields.digests(body, limits.BUNDLE_FIELDS_MAX, limits.JSON_DEPTH_MAX)
