"""Events of identity, emitted in the verb's transaction; federation turns them into messages."""

from __future__ import annotations

from dataclasses import dataclass

from yunhe.identity.model import Kind


@dataclass(frozen=True)
class ApplicationSubmitted:
    """A form arrived or came back edited; `version` counts from 1."""

    application_id: str
    kind: Kind
    applicant_did: str
    version: int


@dataclass(frozen=True)
class ApplicationDecided:
    """A review ended: `decision` is approve, return or reject.

    `code` is the subject code or the N04 connector code, `credential` the VC-JWT of an approved
    connector, `address` where the applicant said it can be reached; empty where there is none.
    """

    application_id: str
    kind: Kind
    applicant_did: str
    decision: str
    reasons: tuple[str, ...]
    code: str
    credential: str
    address: str


@dataclass(frozen=True)
class ConnectorStateChanged:
    """A connector was suspended, resumed or cancelled at its registrar."""

    code: str
    did: str
    state: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class CredentialStored:
    """This node received its own membership credential."""

    code: str
    subject_code: str
    issuer: str
