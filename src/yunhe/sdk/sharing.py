"""The verbs of sharing profiles, as values like those of `calls`."""

from __future__ import annotations

from typing import Any

from yunhe.sdk.call import Call, given, nothing, plain, plain_list, segment
from yunhe.sdk.model import Contract


def make_profile(
    contract: Contract | str, purpose: str = "", ttl_s: int | None = None
) -> Call[dict[str, Any]]:
    """Make a sharing profile for a stock Delta Sharing client (user).

    `["file"]` is the content of its profile file, secret and all; it exists nowhere else. No
    `purpose`: the contract's only one.
    """
    path = f"/contracts/{segment(contract)}/profiles"
    return Call("POST", path, plain, body=given(purpose=purpose, ttl_s=ttl_s))


def profiles(contract: Contract | str) -> Call[list[dict[str, Any]]]:
    """The sharing profiles of a contract, latest first, without their tokens."""
    return Call("GET", f"/contracts/{segment(contract)}/profiles", plain_list)


def revoke_profile(profile_id: str) -> Call[None]:
    """End a sharing profile and every address it was given, at once (user)."""
    return Call("DELETE", f"/profiles/{segment(profile_id)}", nothing)
