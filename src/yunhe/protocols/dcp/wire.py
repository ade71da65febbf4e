"""The messages of DCP 1.0: read liberally into typed values, written as the schemas say.

In: bodies of strangers, already strict JSON. Out: typed values or QueryInvalid; and the bodies we
send. Contexts of others are not resolved: messages are read as plain JSON (DCP §4.4).
"""

from __future__ import annotations

from typing import Any, Final

from yunhe import identity
from yunhe.kernel import limits
from yunhe.kernel.canonical import loads_strict

CONTEXT: Final = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"
STATUSES: Final = ("ISSUED", "REJECTED")

Json = dict[str, Any]


def read(raw: bytes, kind: str) -> Json:
    """The object of a message of type `kind`; raises BadJson, TooLarge, QueryInvalid."""
    found = loads_strict(raw)
    if not isinstance(found, dict):
        raise identity.QueryInvalid(field="the body", why="is not an object")
    said = found.get("type", found.get("@type"))
    # Compacted, prefixed or expanded: the last part is the name.
    if not isinstance(said, str) or said.replace("/", ":").rpartition(":")[2] != kind:
        raise identity.QueryInvalid(field="type", why=f"is not {kind}")
    return found


def message(kind: str, **members: Any) -> Json:
    """A message of ours."""
    return {"@context": [CONTEXT], "type": kind, **members}


def scopes(raw: bytes) -> tuple[str, ...]:
    """The scopes of a PresentationQueryMessage (DCP 1.0 §5.4.1).

    Raises QueryInvalid where there are both, none, or empty ones of scope and
    presentationDefinition, DefinitionUnsupported for a definition.
    """
    found = read(raw, "PresentationQueryMessage")
    if "presentationDefinition" in found:
        if "scope" in found:
            raise identity.QueryInvalid(field="scope", why="excludes presentationDefinition")
        definition = found["presentationDefinition"]
        if not isinstance(definition, dict) or not definition:
            raise identity.QueryInvalid(field="presentationDefinition", why="is empty")
        raise identity.DefinitionUnsupported
    given = found.get("scope")
    if not isinstance(given, list) or not 0 < len(given) <= limits.SCOPES_MAX:
        raise identity.QueryInvalid(field="scope", why="is not a list of scopes")
    return tuple(text(each, "scope") for each in given)


def credential_message(raw: bytes) -> identity.Written:
    """A CredentialMessage (§6.5.1); raises QueryInvalid."""
    found = read(raw, "CredentialMessage")
    status = found.get("status")
    if status not in STATUSES:
        raise identity.QueryInvalid(field="status", why="is neither ISSUED nor REJECTED")
    given = found.get("credentials") or []
    if not isinstance(given, list) or len(given) > limits.CREDENTIALS_MAX:
        raise identity.QueryInvalid(field="credentials", why="is not a list, or too long")
    if status == "ISSUED" and not given:
        raise identity.QueryInvalid(field="credentials", why="is empty")
    for name in ("credentialType", "format"):
        for each in given:
            text(each.get(name) if isinstance(each, dict) else None, name)
    payloads = [each.get("payload") for each in given]
    if not all(isinstance(payload, str) for payload in payloads):
        raise identity.QueryInvalid(field="payload", why="is not a JWT")
    reason = found.get("rejectionReason")
    return identity.Written(
        text(found.get("issuerPid"), "issuerPid"),
        text(found.get("holderPid"), "holderPid"),
        status,
        str(reason)[: limits.REASON_CHARS_MAX] if reason else "",
        tuple(payloads) if status == "ISSUED" else (),
    )


def credential_offer(raw: bytes) -> tuple[str, list[Json]]:
    """Issuer and objects of a CredentialOfferMessage (§6.6.1); raises QueryInvalid."""
    found = read(raw, "CredentialOfferMessage")
    return text(found.get("issuer"), "issuer"), _objects(found)


def credential_request(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """holderPid and object ids of a CredentialRequestMessage (§6.4.1); raises QueryInvalid."""
    found = read(raw, "CredentialRequestMessage")
    ids = tuple(str(each["id"]) for each in _objects(found))
    return text(found.get("holderPid"), "holderPid"), ids


def _objects(found: Json) -> list[Json]:
    given = found.get("credentials")
    if not isinstance(given, list) or not 0 < len(given) <= limits.CREDENTIALS_MAX:
        raise identity.QueryInvalid(field="credentials", why="is not a list of objects")
    for each in given:
        text(each.get("id") if isinstance(each, dict) else None, "id")
    return given


def text(value: object, field: str) -> str:
    """Non-empty bounded text; raises QueryInvalid."""
    if not isinstance(value, str) or not value or len(value) > limits.DID_CHARS_MAX:
        raise identity.QueryInvalid(field=field, why="is missing or not text")
    return value


def metadata(issuer: identity.Issuer, did: str, schemas: str) -> Json:
    """The IssuerMetadata (§6.7); `schemas` is the base address of the schemas."""
    objects = [
        {
            "id": one.id,
            "type": "CredentialObject",
            "credentialType": one.credential_type,
            "credentialSchema": f"{schemas}/{one.credential_type}.json",
            "offerReason": "issue",
            "bindingMethods": ["did:web"],
            "profile": one.profile,
        }
        for one in issuer.objects
    ]
    return message("IssuerMetadata", issuer=did, credentialsSupported=objects)
