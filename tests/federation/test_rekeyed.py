"""A node whose key was rotated stays a member, and is heard by those who knew the old key."""

from __future__ import annotations

import pytest

from federation.nodes import Net, Node
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.protocols.tds import AnswerUntrusted


def test_a_rotation_asks_for_the_credential_of_the_new_key_at_once(
    net: Net, hospital: Node, clock: ManualClock
) -> None:
    clock.advance(limits.DID_REFRESH_S + 1)  # the parent has just read the old document
    hospital.identity.rotation.rotate("did")
    assert hospital.identity.own_credential() == ""
    net.until(lambda: hospital.identity.own_credential() != "")
    assert hospital.federation.search("脂肪肝").total == 0  # heard, not refused
    held = len(hospital.identity.credentials_of(hospital.config.did))
    assert held == 2  # the old one is kept for the bundles of old contracts
    before = net.names("office").count("SubmitCredentialRequest")
    hospital.identity.rotation.rotate("dcp")  # no membership binds that one
    assert net.names("office").count("SubmitCredentialRequest") == before


def test_a_rotation_cut_short_is_made_good_by_the_poll(
    net: Net, hospital: Node, clock: ManualClock
) -> None:
    hospital.identity.rotation._watchers.pop()  # as if the node had died before it asked
    hospital.identity.rotation.rotate("did")
    hospital.federation.poll()
    assert hospital.identity.own_credential() == ""
    clock.advance(limits.CREDENTIAL_MISSED_S)
    hospital.federation.poll()
    net.until(lambda: hospital.identity.own_credential() != "")


def test_the_answers_of_a_parent_whose_key_is_pinned_are_refused_with_another(
    net: Net, office: Node, hospital: Node, clock: ManualClock
) -> None:
    assert hospital.federation.search("脂肪肝").total == 0
    office.identity.rotation.rotate("did")
    clock.advance(limits.DID_CACHE_S + 1)
    with pytest.raises(AnswerUntrusted, match="no key that is known") as refused:
        hospital.federation.search("脂肪肝")
    assert "已知密钥" in refused.value.sentence("zh")
    assert "trust_roots" in refused.value.remedy("zh")
