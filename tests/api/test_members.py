"""Who is a member, and whose key is the present one: verbs of reviewers and administrators."""

from __future__ import annotations

from api.conftest import Lone


def test_the_standing_of_a_connector_is_a_reviewers_to_change(lone: Lone) -> None:
    assert lone.call("GET", "/connectors", "reviewer").json() == {"items": []}
    body = {"step": "revoke", "reasons": ["breach"]}
    path = "/connectors/591330100MA000006653301TSH0B7AIK/standing"
    assert lone.call("POST", path, "user", json=body).status_code == 403
    assert lone.call("POST", path, "reviewer", json=body).status_code == 404
    assert lone.call("POST", path, "reviewer", json={**body, "reasons": []}).status_code == 400
    assert lone.call("POST", path, "reviewer", json={**body, "step": "x"}).status_code == 400


def test_a_key_is_an_administrators_to_rotate(lone: Lone) -> None:
    before = lone.node.identity.claims_key.kid
    assert (
        lone.call("POST", "/keys/rotation", "reviewer", json={"purpose": "dcp"}).status_code == 403
    )
    assert lone.call("POST", "/keys/rotation", json={"purpose": "log"}).status_code == 400
    got = lone.call("POST", "/keys/rotation", json={"purpose": "dcp"}).json()
    assert (got["purpose"], got["old"]) == ("dcp", before)
    document = lone.call("GET", "/.well-known/did.json", "").json()
    assert any(before in method["id"] for method in document["verificationMethod"])
