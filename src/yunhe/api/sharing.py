"""`/contracts/{id}/profiles`: credentials for stock Delta Sharing clients."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from yunhe.api.deps import AnyCaller, Parts, Profile, User, face
from yunhe.api.forms import Form, when
from yunhe.kernel import limits

router = face("use")


class ProfileForm(Form):
    """For which purpose (empty: the contract's only one), and for how many seconds."""

    purpose: Annotated[str, Field(max_length=64)] = ""
    ttl_s: Annotated[int, Field(ge=1, le=limits.DELTA_PROFILE_S_MAX, strict=True)] = (
        limits.DELTA_PROFILE_S
    )


@router.post("/contracts/{key}/profiles", status_code=201)
def create(key: str, form: ProfileForm, parts: Parts, who: User) -> dict[str, Any]:
    """Make a sharing profile; its token is in this answer and nowhere else."""
    made = parts.profiles.create(key, form.purpose, who.name, form.ttl_s)
    return {**_profile(made.profile), "file": made.file}


@router.get("/contracts/{key}/profiles")
def profiles(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The profiles of a contract, latest first, without their tokens."""
    found = parts.profiles.of_contract(parts.contracts.contract(key).id)
    return {"items": [_profile(each) for each in found]}


@router.delete("/profiles/{profile_id}", status_code=204)
def revoke(profile_id: str, parts: Parts, _who: User) -> Response:
    """End a profile and every address it was given, at once."""
    parts.profiles.revoke(profile_id)
    return Response(status_code=204)


def _profile(each: Profile) -> dict[str, Any]:
    return {
        "id": each.id,
        "contract_id": each.contract_id,
        "principal": each.principal,
        "purpose": each.purpose,
        "created_at": when(each.created_at),
        "expires_at": when(each.expires_at),
        "revoked": each.revoked_at is not None,
    }
