"""The offline verifier reads what the node signs, under both names of the one algorithm."""

from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.evidence import jws
from yunhe.kernel.keys import KeyStore, jws_detached


@pytest.mark.parametrize("name", jws.ACCEPTED)
def test_a_signature_verifies_under_both_names_of_ed25519(tmp_path: Path, name: str) -> None:
    store = KeyStore(tmp_path)
    key, other = store.key("did"), store.key("seal")
    compact = jws_detached(key, b"agreed", algorithm=name)
    jws.verify_detached(key.public_jwk(), compact, b"agreed")
    with pytest.raises(jws.BadJws, match="not by this key"):
        jws.verify_detached(other.public_jwk(), compact, b"agreed")
