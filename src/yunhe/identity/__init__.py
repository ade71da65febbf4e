"""Who is who: this node, its people, its peers, and (on a functional node) the register.

In: API tokens, self-issued tokens and credentials of peers, registration forms, reviews.
Out: Principal, Peer, Application, N04 connector codes, VC-JWT membership credentials.
Events: ApplicationSubmitted, ApplicationDecided, ConnectorStateChanged, CredentialStored.
"""

from __future__ import annotations

from yunhe.identity.did import DidWebFetcher
from yunhe.identity.errors import (
    AddressForbidden,
    AlreadyRegistered,
    ApplicationNotFound,
    ApplicationPending,
    ConnectorNotFound,
    CredentialExpired,
    CredentialNotHeld,
    CredentialRefused,
    DidUnreachable,
    DidUnresolvable,
    FormInvalid,
    MemberOnly,
    NotRegistrar,
    PeerSuspended,
    RoleMissing,
    StepNotAllowed,
    SubjectNotRegistered,
    TokenAudience,
    TokenExpired,
    TokenKeyUnknown,
    TokenMalformed,
    TokenMissing,
    TokenNotFound,
    TokenReplayed,
    TokenSignature,
    TokenUnknown,
)
from yunhe.identity.events import (
    ApplicationDecided,
    ApplicationSubmitted,
    ConnectorStateChanged,
    CredentialStored,
)
from yunhe.identity.guard import GuardedTransport, guarded_socket
from yunhe.identity.guard import client as guarded_client
from yunhe.identity.model import (
    ROLES,
    ApiToken,
    Application,
    Connector,
    ConnectorForm,
    Kind,
    Membership,
    Peer,
    Principal,
    State,
    Subject,
    SubjectForm,
    Version,
)
from yunhe.identity.peers import Verified, require_member
from yunhe.identity.refusals import RefusalMeter, Refusals
from yunhe.identity.service import Identity
from yunhe.identity.tokens import require

__all__ = [
    "ROLES",
    "AddressForbidden",
    "AlreadyRegistered",
    "ApiToken",
    "Application",
    "ApplicationDecided",
    "ApplicationNotFound",
    "ApplicationPending",
    "ApplicationSubmitted",
    "Connector",
    "ConnectorForm",
    "ConnectorNotFound",
    "ConnectorStateChanged",
    "CredentialExpired",
    "CredentialNotHeld",
    "CredentialRefused",
    "CredentialStored",
    "DidUnreachable",
    "DidUnresolvable",
    "DidWebFetcher",
    "FormInvalid",
    "GuardedTransport",
    "Identity",
    "Kind",
    "MemberOnly",
    "Membership",
    "NotRegistrar",
    "Peer",
    "PeerSuspended",
    "Principal",
    "RefusalMeter",
    "Refusals",
    "RoleMissing",
    "State",
    "StepNotAllowed",
    "Subject",
    "SubjectForm",
    "SubjectNotRegistered",
    "TokenAudience",
    "TokenExpired",
    "TokenKeyUnknown",
    "TokenMalformed",
    "TokenMissing",
    "TokenNotFound",
    "TokenReplayed",
    "TokenSignature",
    "TokenUnknown",
    "Verified",
    "Version",
    "guarded_client",
    "guarded_socket",
    "require",
    "require_member",
]
