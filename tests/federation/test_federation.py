"""Nodes among each other: registered, reported up, found, withdrawn; cut wires and forgers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from federation.nodes import (
    HOSPITAL,
    REGION,
    RESEARCH,
    REVIEWER,
    Net,
    Node,
    joined,
    product_form,
    published,
    resource_form,
)
from yunhe import catalog
from yunhe.federation import NoParent, NotServed, NotTheParent
from yunhe.kernel import ids, limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Tx, metadata
from yunhe.protocols.tds import PeerRefused, PeerUnavailable


@pytest.fixture
def research(net: Net, office: Node) -> Node:
    return joined(net, net.node("research", RESEARCH, parent=office))


def test_a_connector_gets_its_code_and_credential(net: Net, office: Node, hospital: Node) -> None:
    status = hospital.federation.status()
    assert (status.state, status.step) == ("approved", "done")
    assert status.subject_code == HOSPITAL
    assert ids.parse(status.connector_code).type is ids.CodeType.CONNECTOR
    assert hospital.identity.own_code() == status.connector_code
    assert hospital.identity.own_credential()
    assert status.last_contact is not None
    assert net.names("office")[:3] == [
        "RegisterSubject",
        "RegisterConnector",
        "SubmitCredentialRequest",
    ]
    # Asked again, nothing happens.
    before = len(net.said)
    assert hospital.federation.register_self().state == "approved"
    assert len(net.said) == before


def test_registration_by_a_person_with_one_return(net: Net) -> None:
    office = net.node("office", REGION, "functional-node", review="manual")
    hospital = net.node("hospital", HOSPITAL, parent=office)
    assert hospital.federation.status().state == "none"
    hospital.federation.register_self()
    net.until(lambda: office.identity.list_applications("submitted"))
    [subject] = office.identity.list_applications("submitted")
    office.identity.review(subject.id, "return", ("name differs from the licence",), REVIEWER)
    net.until(lambda: hospital.federation.status().state == "returned")
    assert hospital.federation.status().reasons == ("name differs from the licence",)

    hospital.federation.register_self()
    net.until(lambda: office.identity.list_applications("submitted"))
    office.identity.review(subject.id, "approve", (), REVIEWER)
    net.until(lambda: office.identity.list_applications("submitted"))
    [connector] = office.identity.list_applications("submitted")
    assert connector.kind.value == "connector"
    office.identity.review(connector.id, "approve", (), REVIEWER)
    net.until(lambda: hospital.federation.status().state == "approved")
    assert hospital.identity.own_credential()


def test_a_result_that_was_not_pushed_is_polled(net: Net) -> None:
    office = net.node("office", REGION, "functional-node", review="manual")
    hospital = net.node("hospital", HOSPITAL, parent=office)
    hospital.federation.register_self()
    net.until(lambda: office.identity.list_applications("submitted"))
    net.until(lambda: hospital.federation.status().last_contact)
    net.away.add("hospital.example")
    [subject] = office.identity.list_applications("submitted")
    office.identity.review(subject.id, "approve", (), REVIEWER)
    assert hospital.federation.status().step == "subject"
    hospital.federation.poll()
    assert hospital.federation.status().step == "connector"


def test_published_here_found_there(net: Net, office: Node, hospital: Node, research: Node) -> None:
    product = published(net, hospital)

    for text, language in (("脂肪肝", "zh"), ("follow-up", "en"), ("肝病 NAFLD", "zh")):
        page = research.federation.search(text)
        assert page.total == 1, text
        [hit] = page.hits
        assert hit.code == product.code
        assert hit.language == language
    assert hit.provider_did == hospital.config.did
    assert hit.address == hospital.config.address
    assert hit.connector_code == hospital.identity.own_code()
    assert hit.title == product.title
    assert hit.price == {"mode": "03", "per_use_fen": 100, "per_row_fen": 2}
    assert office.federation.search("脂肪肝").hits[0].code == product.code

    detail = research.federation.detail(product.code)
    assert detail.policy == product.policy
    assert [(t.name, [c.name for c in t.columns]) for t in detail.tables] == [("patients", ["age"])]
    assert detail == office.federation.detail(product.code)
    with pytest.raises(catalog.EntryNotFound):
        research.federation.detail("691330100MA0000066533010F3K8T1W9")


def test_the_wire_speaks_the_standards_names(net: Net, hospital: Node) -> None:
    published(net, hospital)
    bodies = {name: body for _, name, body in net.said}
    product = bodies["RegisterDataProduct"]
    for name in ("productName", "dscription", "providerId", "securityLevel", "resourceIds"):
        assert name in product
    assert product["deliveryMethod"] == ["03"]
    assert bodies["RegisterDataResource"]["name"].endswith("肝病患者")
    assert bodies["RegisterSubject"]["enterpriseCode"] == HOSPITAL
    assert bodies["ListDataProduct"]["productId"].startswith("6")
    assert not any(str(hospital.config.data_dir) in str(body) for _, _, body in net.said)


def test_a_withdrawn_listing_disappears(
    net: Net, office: Node, hospital: Node, research: Node
) -> None:
    product = published(net, hospital)
    hospital.holder.withdraw(product.id, "no longer kept")
    net.until(lambda: research.federation.search("脂肪肝").total == 0)
    with pytest.raises(catalog.EntryNotFound):
        research.federation.detail(product.code)
    [resource] = hospital.holder.resources()
    hospital.holder.withdraw(resource.id)
    # Order holds for each entry only: whichever arrives first, both end withdrawn at the parent.
    net.until(lambda: revoked(office) == {product.id, resource.id})
    names = net.names("office")
    assert names.index("DelistDataProduct") < names.index("RevokeDataProduct")


def revoked(office: Node) -> set[str]:
    """What the office has taken out of its register for good, by the holder's own ids."""
    found = office.register.registrations("registered")
    return {each.local_id for each in found if each.kind == "revoke"}


@pytest.mark.parametrize("pushed", [True, False])
def test_a_resource_revoked_before_its_product_waits_for_it(
    net: Net, office: Node, hospital: Node, pushed: bool
) -> None:
    product = published(net, hospital)
    [resource] = hospital.holder.resources()
    net.held.add("RevokeDataProduct")
    hospital.holder.withdraw(product.id)
    hospital.holder.withdraw(resource.id)
    net.until(lambda: hospital.federation.status().waiting == 1)
    [waiting] = office.register.registrations("waiting")
    assert (waiting.kind, waiting.code) == ("revoke", resource.code)
    assert office.register.registrations("submitted") == ()  # no reviewer is asked
    hospital.federation.poll()
    assert hospital.federation.status().waiting == 1

    if not pushed:
        net.away.add("hospital.example")
    net.held.clear()
    net.until(lambda: revoked(office) == {product.id, resource.id})
    if not pushed:
        hospital.federation.poll()
    net.until(lambda: hospital.federation.status().waiting == 0)
    assert hospital.holder.resource(resource.id).state == "withdrawn"


def test_a_withdrawal_that_the_parent_did_not_take_is_told_again(
    net: Net, office: Node, hospital: Node
) -> None:
    product = published(net, hospital)
    [resource] = hospital.holder.resources()
    for each in (product, resource):
        hospital.holder.withdraw(each.id)
        net.until(lambda key=each.id: key in revoked(office))
    as_an_earlier_version_left_it(office, hospital, resource)
    assert revoked(office) == {product.id}
    net.held.add("RevokeDataResource")
    hospital.federation.poll()
    hospital.federation.poll()  # what is under way is not sent twice
    net.held.clear()
    net.until(lambda: revoked(office) == {product.id, resource.id})
    net.until(lambda: unconfirmed(hospital) == [])
    [found] = [row for row in registered(office) if row.code == resource.code]
    assert found.state == "withdrawn"
    # Confirmed, it is never told again.
    told = net.names("office")
    assert told.count("RevokeDataResource") == 2
    net.clock.advance(limits.WITHDRAWN_AGAIN_S)
    hospital.federation.poll()
    assert net.names("office") == told


def as_an_earlier_version_left_it(office: Node, hospital: Node, resource: catalog.Resource) -> None:
    """The parent refused the resource's revocation, and the holder kept no note of that."""
    own, sent, kept = (
        metadata.tables[f"catalog_{name}"] for name in ("entry", "application", "register")
    )

    def refused(tx: Tx) -> None:
        tx.execute(kept.update().where(kept.c.code == resource.code).values(state="registered"))
        last = (sent.c.kind == "revoke", sent.c.local_id == resource.id)
        tx.execute(sent.update().where(*last).values(state="returned"))

    office.db.write(refused)
    of = own.update().where(own.c.id == resource.id)
    hospital.db.write(lambda tx: tx.execute(of.values(submitted_version=1)))


def registered(office: Node) -> Sequence[Any]:
    return office.db.read(lambda tx: tx.all(metadata.tables["catalog_register"].select()))


def unconfirmed(hospital: Node) -> list[str]:
    own = metadata.tables["catalog_entry"]
    rows = hospital.db.read(lambda tx: tx.all(own.select().where(own.c.submitted_version != 0)))
    return [row.id for row in rows]


def test_messages_of_one_entry_keep_their_order_over_a_cut(net: Net, hospital: Node) -> None:
    product = published(net, hospital)
    start = len(net.said)
    net.away.add("office.example")
    hospital.holder.delist(product.id)
    hospital.holder.list_product(product.id)
    hospital.holder.delist(product.id)
    hospital.holder.list_product(product.id)
    net.away.clear()
    net.until(lambda: hospital.holder.product(product.id).listed)
    sent = [name for host, name, _ in net.said[start:] if host == "office.example"]
    assert sent == ["DelistDataProduct", "ListDataProduct"] * 2


def test_an_answer_lost_on_the_way_changes_nothing(net: Net, office: Node, hospital: Node) -> None:
    resource = hospital.holder.add_resource(resource_form(hospital))
    net.answers_lost = {"RegisterDataResource": 2}
    hospital.holder.submit_resource(resource.id)
    net.until(lambda: hospital.holder.resource(resource.id).state == "registered")
    net.until(lambda: net.names("office").count("RegisterDataResource") == 3)
    ids_sent = {b["messageId"] for _, n, b in net.said if n == "RegisterDataResource"}
    assert len(ids_sent) == 1  # one message, three tries
    assert len(office.register.registrations()) == 1


def test_a_returned_entry_is_mended_and_resubmitted(net: Net) -> None:
    office = net.node("office", REGION, "functional-node")
    hospital = joined(net, net.node("hospital", HOSPITAL, parent=office))
    office.register._auto = False
    resource = hospital.holder.add_resource(resource_form(hospital))
    hospital.holder.submit_resource(resource.id)
    net.until(lambda: hospital.federation.status().waiting == 1)
    [waiting] = office.register.registrations("submitted")
    office.register.review(waiting.id, "return", ["say who collected it"], "wang")
    net.until(lambda: hospital.holder.resource(resource.id).state == "returned")
    assert hospital.holder.resource(resource.id).reasons[0]["en"] == "say who collected it"
    assert hospital.federation.status().waiting == 0

    hospital.holder.edit_resource(resource.id, resource_form(hospital))
    hospital.holder.submit_resource(resource.id)
    net.until(lambda: hospital.federation.status().waiting == 1)
    net.away.add("hospital.example")  # the result cannot be pushed
    [waiting] = office.register.registrations("submitted")
    assert waiting.version == 2
    office.register.review(waiting.id, "approve", [], "wang")
    hospital.federation.poll()
    assert hospital.holder.resource(resource.id).code.startswith("7")
    assert hospital.federation.status().waiting == 0


def test_a_refused_submission_comes_back_to_the_provider(net: Net, office: Node) -> None:
    stranger = net.node("stranger", RESEARCH, parent=office)  # never registered
    resource = stranger.holder.add_resource(resource_form(stranger))
    stranger.holder.submit_resource(resource.id)
    net.until(lambda: stranger.holder.resource(resource.id).state == "returned")
    assert "MEMBER_ONLY" in stranger.holder.resource(resource.id).reasons[0]["en"]
    assert "MEMBER_ONLY" in stranger.federation.status().last_error
    assert office.register.registrations() == ()


def test_a_foreign_party_cannot_edit_or_withdraw(
    net: Net, office: Node, hospital: Node, research: Node
) -> None:
    product = published(net, hospital)
    before = office.register.registrations()
    for name, body in (
        ("DelistDataProduct", {"localId": product.id, "version": 99, "productId": product.code}),
        ("RevokeDataProduct", {"localId": "mine", "version": 99, "productId": product.code}),
        ("ListDataProduct", {"localId": product.id, "version": 99, "productId": product.code}),
    ):
        with pytest.raises(PeerRefused) as refused:
            _say(research, office, name, body)
        assert refused.value.peer_code == "CATALOG_NOT_THE_ORIGIN"
    forged = next(b for _, n, b in net.said if n == "RegisterDataProduct")
    with pytest.raises(PeerRefused) as refused:
        _say(research, office, "RegisterDataProduct", {**forged, "version": 7})
    assert refused.value.peer_code == "CATALOG_NOT_THE_ORIGIN"
    assert office.register.registrations() == before
    assert research.federation.search("脂肪肝").total == 1


def test_only_the_parent_tells_results(net: Net, hospital: Node, research: Node) -> None:
    product = published(net, hospital)
    lie = {"kind": "product", "localId": product.id, "version": 1, "state": "rejected"}
    with pytest.raises(PeerRefused) as refused:
        _say(research, hospital, "ReviewResult", lie)
    assert refused.value.peer_code == NotTheParent.code
    with pytest.raises(PeerRefused) as refused:
        _say(research, hospital, "SearchDataCatalog", {"keywords": "肝"})
    assert refused.value.peer_code == NotServed.code
    assert hospital.holder.product(product.id).listed


def test_another_members_application_is_not_told(
    net: Net, office: Node, hospital: Node, research: Node
) -> None:
    published(net, hospital)
    for registration in office.register.registrations():
        with pytest.raises(PeerRefused):
            _say(research, office, "GetApplication", {"applicationId": registration.id})
    for application in office.identity.list_applications():
        if application.applicant_did == hospital.config.did:
            with pytest.raises(PeerRefused):
                _say(research, office, "GetApplication", {"applicationId": application.id})


@pytest.mark.parametrize("name", ["RegisterDataResource", "RegisterDataProduct", "ListDataProduct"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"localId": 5, "version": 1},
        {"localId": "a", "version": "one"},
        {"localId": "a", "version": 1, "LOCALID": "b"},
        {"localId": "a", "version": 1, "fields": "none"},
        {"localId": "a", "version": 1, "fields": [3], "productId": {}},
        {"localId": "a", "version": 1, "name": ["肝"], "productId": 6, "productName": ["x"]},
        {"localId": "a", "version": 1, "messageId": 7},
    ],
)
def test_malformed_bodies_store_nothing(
    net: Net, office: Node, hospital: Node, name: str, body: dict[str, Any]
) -> None:
    with pytest.raises(PeerRefused) as refused:
        _say(hospital, office, name, body)
    assert refused.value.result[0] in "23"
    assert office.register.registrations() == ()


@pytest.mark.parametrize(
    "body",
    [
        {"keywords": "x" * 500},
        {"keywords": "肝", "limit": "many"},
        {"keywords": "肝", "limit": 100000},
        {"keywords": "肝", "offset": -1},
        {"keywords": "肝", "order": "random"},
        {"keywords": "肝", "filter": {"password": ["x"]}},
        {"keywords": "肝", "filter": [1]},
    ],
)
def test_odd_searches_are_refused(
    net: Net, office: Node, hospital: Node, body: dict[str, Any]
) -> None:
    with pytest.raises(PeerRefused) as refused:
        _say(hospital, office, "SearchDataCatalog", body)
    assert refused.value.peer_code == "CATALOG_SEARCH_NOT_VALID"


def test_reading_is_liberal(net: Net, office: Node, hospital: Node, research: Node) -> None:
    published(net, hospital)
    found = _say(
        research,
        office,
        "SearchDataCatalog",
        {"KEYWORDS": "肝病", "Limit": "5", "offset": "0", "order": "dsc", "issuedTime": "now"},
    )
    assert found["total"] == 1
    assert found["resultData"][0]["productName"] == "hospital 随访数据"
    assert found["resultData"][0]["connectorId"] == hospital.identity.own_code()


def test_a_suspended_connectors_listings_vanish_and_return(
    net: Net, office: Node, hospital: Node, research: Node
) -> None:
    published(net, hospital)
    code = hospital.identity.own_code()
    office.identity.registrar.suspend(code, ("audit",), REVIEWER)
    assert research.federation.search("脂肪肝").total == 0
    office.identity.registrar.resume(code, ("audit over",), REVIEWER)
    assert research.federation.search("脂肪肝").total == 1


def test_a_parent_that_is_away_is_said_so(net: Net, office: Node, hospital: Node) -> None:
    net.away.add("office.example")
    with pytest.raises(PeerUnavailable):
        hospital.federation.search("肝")
    with pytest.raises(PeerUnavailable):
        hospital.federation.detail("6")


def test_a_cancelled_connector_may_register_anew(
    net: Net, office: Node, hospital: Node, clock: ManualClock
) -> None:
    code = hospital.identity.own_code()
    office.identity.registrar.revoke(code, ("left",), REVIEWER)
    clock.advance(200 * 24 * 3600)  # the credential runs out
    assert hospital.identity.own_credential() == ""
    hospital.federation.register_self()
    net.until(lambda: hospital.federation.status().state == "approved")
    assert hospital.identity.own_code() != code  # never the old one again


def test_what_a_parent_refuses_is_said_in_both_languages(net: Net, office: Node) -> None:
    stranger = net.node("stranger", HOSPITAL, parent=office)
    resource = stranger.holder.add_resource(resource_form(stranger))
    stranger.holder.submit_resource(resource.id)
    net.until(lambda: stranger.holder.resource(resource.id).state == "returned")
    [reason] = stranger.holder.resource(resource.id).reasons
    assert "The peer refused (MEMBER_ONLY): This is for members" in reason["en"]
    assert "对方节点拒绝（MEMBER_ONLY）：" in reason["zh"]
    assert "This is" not in reason["zh"]
    assert "对方" not in reason["en"]


def test_without_a_parent(net: Net) -> None:
    alone = net.node("alone", HOSPITAL)
    for verb in (alone.federation.register_self, lambda: alone.federation.search("肝")):
        with pytest.raises(NoParent):
            verb()
    resource = alone.holder.add_resource(resource_form(alone))
    with pytest.raises(NoParent):
        alone.holder.submit_resource(resource.id)
    assert alone.holder.resource(resource.id).state == "draft"
    alone.federation.poll()


def test_all_in_one_is_its_own_parent(net: Net) -> None:
    one = net.node("one", HOSPITAL, "functional-node")
    resource = one.holder.add_resource(resource_form(one))
    assert one.holder.submit_resource(resource.id).state == "registered"
    product = one.holder.add_product(product_form(one, resource.id))
    one.holder.submit_product(product.id)
    assert one.holder.list_product(product.id).listed
    assert one.federation.search("脂肪肝").total == 1
    one.holder.withdraw(product.id)
    assert one.federation.search("脂肪肝").total == 0
    assert net.said == []


def test_the_credential_is_asked_for_again_in_time(
    net: Net, office: Node, hospital: Node, clock: ManualClock
) -> None:
    before = net.names("office").count("SubmitCredentialRequest")
    hospital.federation.poll()
    assert net.names("office").count("SubmitCredentialRequest") == before
    clock.advance(60 * 24 * 3600)
    first = hospital.identity.own_credential()
    hospital.federation.poll()
    net.until(lambda: hospital.identity.own_credential() != first)
    assert hospital.federation.status().state == "approved"


def _say(node: Node, to: Node, name: str, body: dict[str, Any]) -> dict[str, Any]:
    return node.client.call(to.config.address, to.config.did, name, body)
