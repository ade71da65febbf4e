"""`/me`, `/tokens`: who am I, who else may speak to the node."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from yunhe.api.deps import Admin, AnyCaller, Parts, face
from yunhe.api.forms import TokenForm, when

router = face("node")


@router.get("/me")
async def me(principal: AnyCaller) -> dict[str, Any]:
    """Who the token speaks for."""
    return {
        "id": principal.id,
        "name": principal.name,
        "roles": list(principal.roles),
        "expires_at": when(principal.expires_at),
    }


@router.post("/tokens", status_code=201)
def create_token(form: TokenForm, parts: Parts, _admin: Admin) -> dict[str, Any]:
    """Make a token; its secret is in this answer and nowhere else."""
    token_id, secret = parts.identity.create_token(form.name, tuple(form.roles), form.ttl_s)
    principal = parts.identity.authenticate(secret)
    return {
        "token_id": token_id,
        "token": secret,
        "name": principal.name,
        "roles": list(principal.roles),
        "expires_at": when(principal.expires_at),
    }


@router.get("/tokens")
def tokens(parts: Parts, _admin: Admin) -> dict[str, Any]:
    """Every token, without secrets."""
    return {
        "items": [
            {
                "token_id": token.id,
                "name": token.name,
                "roles": list(token.roles),
                "expires_at": when(token.expires_at),
                "revoked": token.revoked_at is not None,
            }
            for token in parts.identity.tokens.list_tokens()
        ]
    }


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, parts: Parts, _admin: Admin) -> Response:
    """End a token at once."""
    parts.identity.revoke_token(token_id)
    return Response(status_code=204)
