"""What a peer refuses of our token passes, and loses no message: it is said again."""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa

from federation.nodes import HOSPITAL, Net, Node, resource_form
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.errors import YunheError
from yunhe.kernel.outbox import outbox


def waiting(node: Node) -> list[str]:
    """Why what waits at a node was not taken yet."""
    query = sa.select(outbox.c.last_error).where(outbox.c.state == "pending")
    return [row.last_error for row in node.db.read(lambda tx: tx.all(query)) if row.last_error]


def test_a_peer_that_has_just_read_the_old_document_is_told_again(
    net: Net, hospital: Node, clock: ManualClock
) -> None:
    """It reads a document once in five seconds, and the key may be younger than that."""
    hospital.identity.rotation.rotate("did")
    net.until(lambda: any("TOKEN_KEY_UNKNOWN" in why for why in waiting(hospital)))
    clock.advance(limits.DID_REFRESH_S + 1)
    net.until(lambda: hospital.identity.own_credential() != "")


def test_a_key_rotated_while_the_credential_is_on_its_way_gets_its_own(
    net: Net, office: Node, clock: ManualClock
) -> None:
    """The answer is for the key before: it is refused, and another is asked for by itself."""
    hospital = net.node("hospital", HOSPITAL, parent=office)
    issue = office.identity.registrar.renew_credential

    def issue_late(peer: Any) -> str:
        made = issue(peer)
        vars(office.identity.registrar)["renew_credential"] = issue
        clock.advance(limits.DID_REFRESH_S + 1)
        hospital.identity.rotation._watchers.pop()  # it dies before it asks
        hospital.identity.rotation.rotate("did")
        return made

    vars(office.identity.registrar)["renew_credential"] = issue_late
    hospital.federation.register_self()
    net.until(lambda: hospital.federation.status().state == "returned")
    assert hospital.identity.own_credential() == ""
    clock.advance(limits.CREDENTIAL_MISSED_S)
    hospital.federation.poll()
    net.until(lambda: hospital.identity.own_credential() != "")
    assert hospital.federation.status().state == "approved"


def test_an_absent_parent_is_asked_for_a_credential_once(
    net: Net, hospital: Node, clock: ManualClock
) -> None:
    net.away.add("office.example")
    hospital.identity.rotation.rotate("did")
    for _ in range(5):
        clock.advance(limits.CREDENTIAL_MISSED_S)
        with contextlib.suppress(YunheError):  # nobody is there
            hospital.federation.poll()
    query = sa.select(outbox.c.kind).where(outbox.c.state == "pending")
    kinds = [row.kind for row in hospital.db.read(lambda tx: tx.all(query))]
    assert kinds.count("tds.SubmitCredentialRequest") == 1


def test_a_member_between_two_credentials_loses_no_message(
    net: Net, office: Node, hospital: Node, clock: ManualClock
) -> None:
    clock.advance(limits.DID_REFRESH_S + 1)
    hospital.identity.rotation._watchers.pop()  # it does not ask for the new one yet
    hospital.identity.rotation.rotate("did")
    resource = hospital.holder.add_resource(resource_form(hospital))
    hospital.holder.submit_resource(resource.id)
    net.until(lambda: waiting(hospital))
    assert hospital.holder.resource(resource.id).state == "submitted"
    clock.advance(limits.CREDENTIAL_MISSED_S)
    hospital.federation.poll()
    net.until(lambda: hospital.holder.resource(resource.id).state == "registered")
