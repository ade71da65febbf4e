"""The agreement document: the ODRL Agreement that both parties sign, and how it is read.

In: a `contracts.Draft`, or a peer's document as canonical bytes. Out: the other. Beside the ODRL
rules it carries the typed policy under `urn:yunhe:policy`, so that a verifier without ODRL can
read prices; on receipt the two must say the same. A consumer that left out what we add to ODRL does
not get it back: Eclipse EDC compares the agreement with the offer member by member.
"""

from __future__ import annotations

from typing import Any, Final

from yunhe.contracts import AgreementUnreadable, Draft
from yunhe.kernel import canonical, limits
from yunhe.kernel.clock import iso, parse_iso
from yunhe.kernel.errors import Invalid, TooLarge
from yunhe.protocols.dsp import odrl
from yunhe.protocols.dsp.body import Body

POLICY: Final = "urn:yunhe:policy"
_KNOWN: Final = frozenset({"timestamp", POLICY})


class OdrlAgreement:
    """contracts.AgreementForm in ODRL."""

    def write(self, draft: Draft) -> bytes:
        """The canonical bytes (RFC 8785) of the Agreement object, as it will be transmitted."""
        said: dict[str, Any] = {
            "@id": draft.id,
            "@type": "Agreement",
            "target": draft.product_code,
            "assigner": draft.provider_did,
            "assignee": draft.consumer_did,
            **odrl.write(draft.policy),
        }
        if not draft.plain:
            said[POLICY] = draft.policy.to_json()
        if draft.at is not None:
            said["timestamp"] = iso(draft.at)
        return canonical.dumps(said)

    def read(self, document: bytes) -> Draft:
        """What a document says; raises AgreementUnreadable."""
        try:
            body = Body(canonical.loads_strict(document), "agreement")
            body.expect("Agreement")
            policy = odrl.read(body.data, _KNOWN)
            stamp = body.text("timestamp", "")
            draft = Draft(
                id=body.text("@id"),
                product_code=body.text("target"),
                provider_did=body.text("assigner", chars_max=limits.DID_CHARS_MAX),
                consumer_did=body.text("assignee", chars_max=limits.DID_CHARS_MAX),
                policy=policy,
                at=parse_iso(stamp) if stamp else None,
            )
            said_twice = body.data.get(POLICY)
            agree = said_twice is None or canonical.dumps(said_twice) == canonical.dumps(
                policy.to_json()
            )
        except (Invalid, TooLarge, ValueError) as error:
            why = error.sentence("en") if isinstance(error, Invalid | TooLarge) else "bad timestamp"
            raise AgreementUnreadable(detail=str(error), why=why) from error
        if not agree:
            raise AgreementUnreadable(why=f"its ODRL rules and {POLICY} differ")
        return draft
