"""Registration: applied, returned, resubmitted, approved; the credential works; revoked at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from identity.nodes import HOSPITAL, RESEARCH, REVIEWER, World
from yunhe.identity import (
    AlreadyRegistered,
    Application,
    ApplicationDecided,
    ApplicationNotFound,
    ApplicationPending,
    ConnectorForm,
    ConnectorNotFound,
    CredentialRefused,
    Identity,
    NotRegistrar,
    Peer,
    PeerSuspended,
    Principal,
    RoleMissing,
    State,
    StepNotAllowed,
    SubjectForm,
    SubjectNotRegistered,
)
from yunhe.identity.errors import CredentialNotHeld, ReasonsMissing
from yunhe.kernel import ids
from yunhe.kernel.db import Database

SUBJECT = SubjectForm(HOSPITAL, "云河医院", "Yunhe Hospital", "杭州")
CONNECTOR = ConnectorForm(HOSPITAL, "云河连接器", "http://hospital.example", "Yunhe Connector")


@pytest.fixture
def office(world: World) -> Identity:
    return world.node("office", role="functional-node")


@pytest.fixture
def hospital(world: World, office: Identity) -> Identity:
    return world.node("hospital")


def peer_of(office: Identity, node: Identity) -> Peer:
    return office.authenticate_peer(f"Bearer {node.mint(office.own_did)}")


def admitted(office: Identity, node: Identity) -> Application:
    peer = peer_of(office, node)
    subject = office.apply_subject(SUBJECT, peer)
    office.review(subject.id, "approve", (), REVIEWER)
    applied = office.apply_connector(CONNECTOR, peer)
    return office.review(applied.id, "approve", (), REVIEWER)


def test_the_life_of_a_registration(world: World, office: Identity, hospital: Identity) -> None:
    stranger = peer_of(office, hospital)
    assert (stranger.member, stranger.code) == (False, "")

    done = admitted(office, hospital)
    assert done.state is State.ACTIVE
    code = ids.parse(done.code, strict_subject=True)
    assert (code.type, code.subject, code.region) == (ids.CodeType.CONNECTOR, HOSPITAL, "3301")

    world.keep(hospital, done.credential)
    assert hospital.own_code() == done.code
    assert hospital.own_credential() == done.credential
    assert hospital.did_document()["alsoKnownAs"] == [f"ndi:{done.code}"]

    member = peer_of(office, hospital)
    assert member.member
    assert (member.code, member.subject_code) == (done.code, HOSPITAL)
    assert (member.name, member.name_en) == ("云河连接器", "Yunhe Connector")


def test_a_third_node_recognises_a_member_without_asking(
    world: World, office: Identity, hospital: Identity
) -> None:
    world.keep(hospital, admitted(office, hospital).credential)
    other = world.node("research", RESEARCH)
    world.fetched.clear()
    peer = other.authenticate_peer(f"Bearer {hospital.mint(other.own_did)}")
    assert peer.member
    assert peer.subject_code == HOSPITAL
    # Only the status list, so that a member that lost its standing is one no more.
    assert world.fetched == ["http://office.example/dcp/status/1/2021"]


def test_returned_edited_resubmitted_every_version_stays(
    office: Identity, hospital: Identity
) -> None:
    peer = peer_of(office, hospital)
    first = office.apply_subject(SubjectForm(HOSPITAL, "云河"), peer)
    back = office.review(first.id, "return", ("名称不完整",), REVIEWER)
    assert back.state is State.RETURNED
    assert back.reasons == ("名称不完整",)

    again = office.resubmit(first.id, SUBJECT, peer)
    assert (again.id, again.version, again.state) == (first.id, 2, State.SUBMITTED)
    done = office.review(first.id, "approve", (), REVIEWER)
    assert done.code == HOSPITAL
    assert [(v.form["name"], v.decision, v.reasons) for v in done.versions] == [
        ("云河", "return", ("名称不完整",)),
        ("云河医院", "approve", ()),
    ]


def test_applying_again_after_a_return_is_a_resubmission(
    office: Identity, hospital: Identity
) -> None:
    peer = peer_of(office, hospital)
    first = office.apply_subject(SubjectForm(HOSPITAL, "云河"), peer)
    office.review(first.id, "return", ("名称不完整",), REVIEWER)
    assert office.apply_subject(SUBJECT, peer).version == 2


def test_the_same_application_twice_is_one(office: Identity, hospital: Identity) -> None:
    peer = peer_of(office, hospital)
    first = office.apply_subject(SUBJECT, peer)
    assert office.apply_subject(SUBJECT, peer).id == first.id
    with pytest.raises(ApplicationPending):
        office.apply_subject(SubjectForm(HOSPITAL, "别的"), peer)
    office.review(first.id, "approve", (), REVIEWER)
    assert office.apply_subject(SUBJECT, peer).state is State.ACTIVE
    with pytest.raises(AlreadyRegistered):
        office.apply_subject(SubjectForm(HOSPITAL, "别的"), peer)
    assert len(office.list_applications()) == 1


def test_rejection_is_final_for_that_application(office: Identity, hospital: Identity) -> None:
    peer = peer_of(office, hospital)
    first = office.apply_subject(SUBJECT, peer)
    office.review(first.id, "reject", ("不符合准入条件 T12 4.4",), REVIEWER)
    with pytest.raises(StepNotAllowed):
        office.resubmit(first.id, SUBJECT, peer)
    assert office.apply_subject(SUBJECT, peer).id != first.id


def test_who_may_review_and_how(office: Identity, hospital: Identity) -> None:
    made = office.apply_subject(SUBJECT, peer_of(office, hospital))
    with pytest.raises(RoleMissing):
        office.review(made.id, "approve", (), Principal("u", "u", ("user",), None))
    with pytest.raises(ReasonsMissing):
        office.review(made.id, "reject", (), REVIEWER)
    office.review(made.id, "approve", (), REVIEWER)
    with pytest.raises(StepNotAllowed):
        office.review(made.id, "approve", (), REVIEWER)
    with pytest.raises(ApplicationNotFound):
        office.review("nothing", "approve", (), REVIEWER)


def test_a_connector_needs_its_subject(office: Identity, hospital: Identity) -> None:
    peer = peer_of(office, hospital)
    with pytest.raises(SubjectNotRegistered):
        office.apply_connector(CONNECTOR, peer)
    office.apply_subject(SUBJECT, peer)
    with pytest.raises(SubjectNotRegistered):
        office.apply_connector(CONNECTOR, peer)


def test_another_peer_does_not_see_my_application(
    world: World, office: Identity, hospital: Identity
) -> None:
    mine = office.apply_subject(SUBJECT, peer_of(office, hospital))
    other = peer_of(office, world.node("research", RESEARCH))
    with pytest.raises(ApplicationNotFound):
        office.application(mine.id, other)
    with pytest.raises(ApplicationNotFound):
        office.resubmit(mine.id, SUBJECT, other)
    assert office.application(mine.id).id == mine.id


def test_a_connector_does_not_register_others(world: World) -> None:
    alone = world.node("alone")
    with pytest.raises(NotRegistrar):
        alone.apply_subject(SUBJECT, alone.own_peer())


def test_automatic_review_vouches_only_for_ones_own_subject(world: World) -> None:
    office = world.node("office", role="functional-node", review="auto")
    hospital, thief = world.node("hospital"), world.node("thief")
    peer = peer_of(office, hospital)
    assert office.apply_subject(SUBJECT, peer).state is State.ACTIVE
    stolen = office.apply_connector(CONNECTOR, peer_of(office, thief))
    assert stolen.state is State.SUBMITTED
    assert office.apply_connector(CONNECTOR, peer).state is State.ACTIVE


def test_a_decision_is_an_event_in_the_same_commit(
    world: World, office: Identity, hospital: Identity
) -> None:
    heard: list[ApplicationDecided] = []

    def refuse(_tx: object, event: ApplicationDecided) -> None:
        heard.append(event)
        raise AlreadyRegistered(what="the handler says no")

    world.opened[0].events.on(ApplicationDecided, refuse)
    made = office.apply_subject(SUBJECT, peer_of(office, hospital))
    with pytest.raises(AlreadyRegistered):
        office.review(made.id, "approve", (), REVIEWER)
    assert heard[0].decision == "approve"
    assert office.application(made.id).state is State.SUBMITTED
    assert office.subjects() == []


def test_a_suspended_connector_is_refused_at_once(
    world: World, office: Identity, hospital: Identity
) -> None:
    done = admitted(office, hospital)
    world.keep(hospital, done.credential)
    peer_of(office, hospital)  # the credential is in the cache now
    office.registrar.suspend(done.code, ("投诉核查",), REVIEWER)
    with pytest.raises(PeerSuspended) as refused:
        peer_of(office, hospital)
    assert refused.value.facts == {"state": "suspended"}
    office.registrar.resume(done.code, ("核查结束",), REVIEWER)
    assert peer_of(office, hospital).member
    assert [entry.kind for entry in world.logs[0].find(limit=2)] == [
        "identity.resumed",
        "identity.suspended",
    ]


def test_a_revoked_connector_is_refused_and_its_code_stays(
    world: World, office: Identity, hospital: Identity
) -> None:
    done = admitted(office, hospital)
    world.keep(hospital, done.credential)
    office.registrar.revoke(done.code, ("自愿注销",), REVIEWER)
    with pytest.raises(PeerSuspended):
        peer_of(office, hospital)
    assert office.registrar.connector(done.code).state is State.CANCELLED
    with pytest.raises(StepNotAllowed):
        office.registrar.resume(done.code, ("反悔",), REVIEWER)

    # It may register anew without the old credential, and gets a new code (T12 4.6e).
    anew = office.authenticate_peer(f"Bearer {hospital.mint(office.own_did, credential=False)}")
    assert not anew.member
    again = office.apply_connector(CONNECTOR, anew)
    assert office.review(again.id, "approve", (), REVIEWER).code != done.code


def test_moves_need_reasons_a_role_and_a_connector(office: Identity, hospital: Identity) -> None:
    done = admitted(office, hospital)
    with pytest.raises(ReasonsMissing):
        office.registrar.suspend(done.code, (), REVIEWER)
    with pytest.raises(RoleMissing):
        office.registrar.suspend(done.code, ("x",), Principal("u", "u", ("user",), None))
    with pytest.raises(ConnectorNotFound):
        office.registrar.suspend("none", ("x",), REVIEWER)


def test_the_register_knows_a_member_that_lost_its_credential(
    office: Identity, hospital: Identity
) -> None:
    done = admitted(office, hospital)
    peer = peer_of(office, hospital)
    assert (peer.member, peer.code) == (True, done.code)
    assert office.registrar.renew_credential(peer) == done.credential


def test_a_credential_is_renewed_in_its_second_half(
    world: World, office: Identity, hospital: Identity
) -> None:
    done = admitted(office, hospital)
    world.clock.advance(60 * 86_400)
    fresh = office.registrar.renew_credential(peer_of(office, hospital))
    assert fresh != done.credential
    world.keep(hospital, fresh)
    world.keep(hospital, fresh)
    assert hospital.own_credential() == fresh
    assert hospital.check_credential(fresh).code == done.code


def test_strangers_get_no_credential(office: Identity, hospital: Identity) -> None:
    with pytest.raises(CredentialNotHeld):
        office.registrar.renew_credential(peer_of(office, hospital))


def test_a_credential_of_another_is_not_kept(
    world: World, office: Identity, hospital: Identity
) -> None:
    done = admitted(office, hospital)
    with pytest.raises(CredentialRefused, match="another holder"):
        world.keep(world.node("research", RESEARCH), done.credential)


def test_registration_leaves_evidence(world: World, office: Identity, hospital: Identity) -> None:
    admitted(office, hospital)
    kinds = sorted(entry.kind for entry in world.logs[0].find())
    assert kinds == [
        "identity.applied",
        "identity.applied",
        "identity.registered",
        "identity.registered",
        "identity.reviewed",
        "identity.reviewed",
    ]
    world.logs[0].verify_all()


def test_two_reviewers_at_once_register_once(any_db: Database, world: World) -> None:
    office = world.node("office", role="functional-node", db=any_db)
    peer = peer_of(office, world.node("hospital"))
    made = office.apply_subject(SUBJECT, peer)
    office.review(made.id, "approve", (), REVIEWER)
    applied = office.apply_connector(CONNECTOR, peer)

    def approve(_: int) -> str:
        try:
            return office.review(applied.id, "approve", (), REVIEWER).code
        except (StepNotAllowed, AlreadyRegistered) as refused:
            return refused.code

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(approve, range(8)))
    codes = [one for one in said if len(one) == ids.STEM_CHARS]
    assert codes == [office.connectors()[0].code]
    assert len(office.connectors()) == 1


def test_applying_from_many_threads_is_one_application(any_db: Database, world: World) -> None:
    office = world.node("office", role="functional-node", db=any_db)
    peer = peer_of(office, world.node("hospital"))

    def apply(_: int) -> str:
        try:
            return office.apply_subject(SUBJECT, peer).id
        except ApplicationPending:  # the other one's commit was not visible yet
            return office.list_applications()[0].id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(apply, range(8)))) == 1
    assert len(office.list_applications()) == 1
