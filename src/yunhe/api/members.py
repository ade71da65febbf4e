"""`/connectors`, `/keys`: who is a member at this registrar, and which keys this node goes by."""

from __future__ import annotations

from typing import Any

from yunhe import identity
from yunhe.api.deps import Admin, Parts, Reviewer, face
from yunhe.api.forms import RotationForm, StandingForm, when

router = face("members")


@router.get("/connectors")
def connectors(parts: Parts, _who: Reviewer) -> dict[str, Any]:
    """Every connector ever registered here, by code."""
    return {"items": [_connector(each) for each in parts.identity.connectors()]}


@router.post("/connectors/{code}/standing")
def change_standing(code: str, form: StandingForm, parts: Parts, who: Reviewer) -> dict[str, Any]:
    """Suspend, resume or revoke a connector; every node knows within five seconds."""
    verb = {
        "suspend": parts.identity.registrar.suspend,
        "resume": parts.identity.registrar.resume,
        "revoke": parts.identity.registrar.revoke,
    }[form.step]
    return _connector(verb(code, tuple(form.reasons), who))


@router.post("/keys/next")
def next_key(form: RotationForm, parts: Parts, _who: Admin) -> dict[str, Any]:
    """The key that the next rotation takes, for those who pin this node's; nothing signs with it
    yet."""
    jwk = parts.identity.rotation.announce(form.purpose)
    return {"purpose": form.purpose, "did": parts.identity.own_did, "jwk": jwk}


@router.post("/keys/rotation")
def rotate_key(form: RotationForm, parts: Parts, _who: Admin) -> dict[str, Any]:
    """Make a new key; it signs at once, the old one goes on verifying."""
    old, new = parts.identity.rotation.rotate(form.purpose)
    return {"purpose": form.purpose, "old": old, "new": new}


def _connector(found: identity.Connector) -> dict[str, Any]:
    return {
        "code": found.code,
        "subject_code": found.subject_code,
        "did": found.did,
        "name": found.name,
        "state": found.state.value,
        "credential_expires_at": when(found.credential_expires_at),
        "registered_at": when(found.registered_at),
        "reasons": list(found.reasons),
    }
