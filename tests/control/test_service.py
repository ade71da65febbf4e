"""The life of a use: asked, reserved, released, posted; or denied; or given back."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from yunhe import control as slice_
from yunhe.contracts import (
    Constraint,
    ContractExpired,
    ContractInForce,
    ContractTerminated,
    Frequency,
    Policy,
    Price,
    Rule,
    Terms,
)
from yunhe.control import (
    Context,
    Control,
    CorrectionRefused,
    UseAlreadySpent,
    UseIdTaken,
    UseOutOfOrder,
    compile_policy,
)
from yunhe.control.errors import UsesExhausted
from yunhe.kernel import limits
from yunhe.kernel.errors import Invalid, TooLarge, YunheError
from yunhe.kernel.money import charge

TERMS = Terms(purposes=("research",), columns=("lab.value",), price=Price(100, 2))


def test_life_of_a_use(any_world, use) -> None:
    posted: list[object] = []
    any_world.db.events.on(slice_.UsePosted, lambda tx, event: posted.append(event))
    any_world.open()
    asked = use()
    assert any_world.control.check(asked).allowed
    grant = any_world.control.admit(asked)
    assert (grant.use_id, grant.rows_max, grant.terms.minimum_group) == (asked.use_id, 100, 3)
    any_world.control.release(grant)
    bill = any_world.control.post(grant, rows=7, byte_count=512)
    assert (bill.rows, bill.fee_fen) == (7, charge(100, 2, 7))
    quota = any_world.control.quota("c1")
    assert (quota.uses_left, quota.uses_spent, quota.uses_max) == (4, 1, 5)
    assert [(e.use_id, e.rows, e.fee_fen, e.entry_id) for e in posted] == [
        (asked.use_id, 7, 114, bill.entry_id)
    ]
    kinds = {"use.admitted", "use.released", "use.posted"}
    assert kinds == {kind for kind in any_world.kinds() if kind.startswith("use.")}


def test_posting_again_is_the_same_charge(world, use) -> None:
    world.open()
    grant = world.control.admit(use())
    world.control.release(grant)
    first = world.control.post(grant, 7, 512)
    assert world.control.post(grant, 9, 999) == first
    assert world.kinds().count("use.posted") == 1


def test_a_denied_use_leaves_one_entry(world, use) -> None:
    world.open()
    asked = use(purpose="marketing")
    verdict = world.control.check(asked)
    assert (verdict.decision, verdict.code) == ("deny", "PURPOSE_NOT_AGREED")
    with pytest.raises(YunheError) as refused:
        world.control.admit(asked)
    assert refused.value.code == "PURPOSE_NOT_AGREED"
    assert world.kinds().count("use.denied") == 1
    (entry,) = world.log.find("use.denied")
    assert entry.body["reasons"][0]["given"] == "marketing"
    (denial,) = world.control.denials("c1")
    assert denial.entry_id == entry.entry_id
    assert world.control.quota("c1").uses_left == 5


def test_check_of_an_allowed_use_changes_nothing(world, use) -> None:
    world.open()
    before = world.kinds()
    assert world.control.check(use()).allowed
    assert world.kinds() == before
    assert world.control.uses("c1") == []


def test_one_use_too_many_is_refused_by_name(world, use) -> None:
    world.open()
    for _ in range(5):
        world.control.admit(use())
    with pytest.raises(YunheError) as refused:
        world.control.admit(use())
    assert refused.value.code == "USES_EXHAUSTED"
    assert "5" in refused.value.sentence("en")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fields": frozenset({"lab.value", "lab.secret"})}, "FIELD_NOT_AGREED"),
        ({"rows_max": 101}, "ROWS_EXCEEDED"),
        ({"action": "download"}, "DEFAULT"),
        ({"action": "teleport"}, "ACTION_NOT_UNDERSTOOD"),
        ({"contract_id": "nowhere"}, "NO_SUCH_CONTRACT_HERE"),
        ({"peer_did": "did:web:thief"}, "NO_SUCH_CONTRACT_HERE"),
    ],
)
def test_each_refusal_has_its_code(world, use, change, code) -> None:
    world.open()
    with pytest.raises(YunheError) as refused:
        world.control.admit(use(**change))
    assert refused.value.code == code
    assert refused.value.problem()["zh"]["detail"]


def test_the_caller_cannot_bend_the_context(world, use) -> None:
    world.open()
    bent = {"purpose": "research", "count": 1, "time": datetime(2020, 1, 1, tzinfo=UTC)}
    verdict = world.control.check(use(purpose="marketing", environment=bent))
    assert verdict.code == "PURPOSE_NOT_AGREED"


def test_expiry(world, use, clock) -> None:
    world.open()
    clock.advance(40 * 86400)
    with pytest.raises(ContractExpired) as refused:
        world.control.admit(use(at=datetime(2026, 1, 2, tzinfo=UTC)))  # what it says is no matter
    assert "2026-02-01" in refused.value.sentence("en")


def test_after_termination_nothing_is_admitted_or_released(any_world, use) -> None:
    made = any_world.open()
    grant = any_world.control.admit(use())
    running = any_world.control.admit(use())
    any_world.control.release(running)
    any_world.end(made)
    with pytest.raises(ContractTerminated) as refused:
        any_world.control.admit(use())
    assert "the study is over" in refused.value.sentence("en")
    with pytest.raises(ContractTerminated):
        any_world.control.release(grant)
    any_world.control.void(grant, "terminated")
    assert any_world.control.post(running, 3, 10).fee_fen == 106  # what left is still billed


def test_void_gives_the_use_back_once(world, use) -> None:
    world.open()
    grant = world.control.admit(use())
    world.control.void(grant, "the query failed")
    world.control.void(grant, "the query failed")
    assert world.control.quota("c1").uses_left == 5
    with pytest.raises(UseOutOfOrder):
        world.control.release(grant)
    with pytest.raises(UseOutOfOrder):
        world.control.post(grant, 1, 1)


def test_refusals_about_the_data_are_no_endless_oracle(any_world, use) -> None:
    """Whether a group is large enough is one bit: uses_max must bound these questions, too."""
    most = limits.ANSWERS_GIVEN_BACK_MAX
    any_world.open()
    for _ in range(most + 2):
        any_world.control.void(any_world.control.admit(use()), "GROUP_TOO_SMALL")
    assert any_world.control.quota("c1").uses_left == 3
    any_world.control.void(any_world.control.admit(use()), "WORKERS_BUSY")
    assert any_world.control.quota("c1").uses_left == 3
    for _ in range(3):
        any_world.control.void(any_world.control.admit(use()), "QUERY_TIMEOUT")
    with pytest.raises(UsesExhausted):
        any_world.control.admit(use())


def test_a_released_use_cannot_be_given_back(world, use) -> None:
    world.open()
    grant = world.control.admit(use())
    with pytest.raises(UseOutOfOrder):
        world.control.post(grant, 1, 1)  # not released yet
    world.control.release(grant)
    with pytest.raises(UseOutOfOrder):
        world.control.void(grant, "changed my mind")
    with pytest.raises(UseOutOfOrder):
        world.control.release(grant)


def test_an_engine_cannot_deliver_more_than_granted(world, use) -> None:
    world.open()
    grant = world.control.admit(use())
    world.control.release(grant)
    with pytest.raises(YunheError) as refused:
        world.control.post(grant, 101, 1)
    assert refused.value.code == "ROWS_OVER_GRANT"


def test_one_use_id_is_one_use(any_world, use) -> None:
    any_world.open()
    any_world.open(contract_id="c2")
    any_world.control.admit(use(use_id="mine"))
    with pytest.raises(UseAlreadySpent):
        any_world.control.admit(use(use_id="mine"))
    with pytest.raises(UseIdTaken):
        any_world.control.admit(use(use_id="mine", contract_id="c2"))
    with pytest.raises(UseIdTaken):
        any_world.control.admit(use(use_id="mine", peer_did="did:web:thief"))
    assert any_world.control.quota("c1").uses_left == 4
    assert any_world.control.quota("c2").uses_left == 5


def test_a_policy_nobody_can_read_denies_every_use(world, use) -> None:
    made = world.open(contract_id="good")
    rule = made.policy.rules[0]
    policy = replace(made.policy, rules=(rule, replace(rule, kind="obligation")))
    odd = replace(made, id="c1", policy=policy)
    world.db.write(lambda tx: tx.emit(ContractInForce(odd, tx.now)))
    with pytest.raises(YunheError) as refused:
        world.control.admit(use())
    assert refused.value.code == "TERM_NOT_UNDERSTOOD"
    assert "rules" in refused.value.sentence("en")


def test_an_unlimited_contract_counts_without_end(world, use) -> None:
    world.open(TERMS)
    for _ in range(7):
        world.control.admit(use())
    quota = world.control.quota("c1")
    assert (quota.uses_left, quota.uses_spent) == (None, 7)


@pytest.mark.parametrize(
    "change", [{"use_id": "x" * 129}, {"purpose": "p" * 2000}, {"rows_max": 1 << 60}]
)
def test_what_is_too_long_is_refused_before_it_is_judged(world, use, change) -> None:
    world.open()
    with pytest.raises(TooLarge):
        world.control.admit(use(**change))


def test_nonsense_is_refused(world, use) -> None:
    for change in ({"use_id": ""}, {"rows_max": -1}):
        with pytest.raises(Invalid):
            world.control.check(use(**change))


def test_recovery_bills_what_may_have_left_and_returns_the_rest(any_world, use) -> None:
    any_world.open()
    reserved = any_world.control.admit(use())
    released = any_world.control.admit(use())
    any_world.control.release(released)
    found = any_world.control.recover()
    assert found.voided == (reserved.use_id,)
    assert found.posted == (released.use_id,)
    states = {u.use_id: (u.state, u.rows, u.fee_fen) for u in any_world.control.uses("c1")}
    assert states[reserved.use_id][0] == "void"
    assert states[released.use_id] == ("posted", 100, charge(100, 2, 100))
    assert any_world.control.quota("c1").uses_left == 4
    assert any_world.control.recover().posted == ()


def test_recovery_leaves_a_replicas_live_uses_alone(world, use, clock) -> None:
    world.open()
    world.control.admit(use())
    assert world.control.recover(older_than_s=60).voided == ()
    clock.advance(61)
    assert len(world.control.recover(older_than_s=60).voided) == 1


def test_what_a_dead_process_held_is_ended_and_no_other_use(any_world, use) -> None:
    any_world.open()
    one, two = (Control(any_world.db, any_world.log, holder) for holder in ("one", "two"))
    both = [[process.admit(use()), process.admit(use())] for process in (one, two)]
    for (_, released), process in zip(both, (one, two), strict=True):
        process.release(released)
    own = any_world.control.admit(use())
    found = Control(any_world.db, any_world.log, "two").recover(own=True)
    assert found.voided == (both[1][0].use_id,)
    assert found.posted == (both[1][1].use_id,)
    states = [any_world.control.use(grant.use_id).state for grant in (*both[0], own)]
    assert states == ["reserved", "released", "reserved"]
    one.post(both[0][1], 1, 100)  # it goes on as if nothing had been
    with pytest.raises(UseOutOfOrder):  # what was thought dead and is not sends nothing more
        two.release(both[1][0])


def test_a_correction_goes_downwards_and_only_after_a_cut(world, use) -> None:
    world.open()
    cut = world.control.admit(use())
    world.control.release(cut)
    world.control.recover()
    receipt = {"use_id": cut.use_id, "rows": 40}
    lowered = world.control.correct(cut.use_id, 40, 100, receipt)
    assert (lowered.rows, lowered.fee_fen) == (40, 180)
    for rows in (40, 41, -1):
        with pytest.raises(CorrectionRefused):
            world.control.correct(cut.use_id, rows, 100, receipt)
    whole = world.control.admit(use())
    world.control.release(whole)
    world.control.post(whole, 50, 100)
    with pytest.raises(CorrectionRefused):
        world.control.correct(whole.use_id, 1, 1, receipt)  # a receiver cannot just sign for less
    assert world.kinds().count("use.corrected") == 1


def test_who_took_nearly_all_cannot_sign_for_nothing(world, use, monkeypatch) -> None:
    """All but the end mark taken, the connection dropped, a receipt of 0 rows sent: the bytes
    that no buffer on the way can have held have arrived."""
    world.open()
    taken = world.control.admit(use())
    world.control.release(taken)
    monkeypatch.setattr(limits, "BATCH_ROWS", 1)  # the grain of either side's count
    world.control.post(taken, 90, 3 * limits.IN_FLIGHT_BYTES_MAX, complete=False)
    for rows in (0, 57):
        with pytest.raises(CorrectionRefused):
            world.control.correct(taken.use_id, rows, 0, {})
    assert world.control.correct(taken.use_id, 58, 1, {}).rows == 58
    small = world.control.admit(use())
    world.control.release(small)
    world.control.post(small, 90, limits.IN_FLIGHT_BYTES_MAX, complete=False)
    assert world.control.correct(small.use_id, 0, 0, {}).rows == 0  # all of it may be in buffers


def test_many_threads_never_spend_more_than_agreed(any_world, use) -> None:
    any_world.open()
    wishes = [use() for _ in range(10)]
    granted: list[object] = []
    refused: list[str] = []

    def ask(wish) -> None:
        try:
            granted.append(any_world.control.admit(wish))
        except YunheError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=ask, args=(wish,)) for wish in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 5
    assert set(refused) == {"USES_EXHAUSTED"}
    assert len(refused) == 5
    assert any_world.control.quota("c1").uses_left == 0


def test_many_threads_with_one_use_id_spend_it_once(any_world, use) -> None:
    any_world.open()
    wish = use()
    granted: list[object] = []
    codes: list[str] = []

    def ask() -> None:
        try:
            granted.append(any_world.control.admit(wish))
        except YunheError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 1
    assert codes == ["USE_ALREADY_SPENT"] * 5
    assert any_world.control.quota("c1").uses_left == 4


def test_a_termination_and_admissions_have_an_order(any_world, use) -> None:
    made = any_world.open(TERMS)
    late: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            ended = made.id in over
            try:
                any_world.control.admit(use())
            except ContractTerminated:
                return
            if ended:
                late.append("admitted after the termination was acknowledged")

    over: set[str] = set()
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    any_world.end(made)
    over.add(made.id)
    for thread in threads:
        thread.join(10)
    stop.set()
    assert late == []


def test_the_database_itself_keeps_the_quota(world) -> None:
    world.open()
    with pytest.raises(YunheError):
        world.db.write(lambda tx: tx.execute(sa.text("UPDATE control_quota SET uses_left = -1")))


def refused(world, asked) -> str:
    with pytest.raises(YunheError) as error:
        world.control.admit(asked)
    return str(error.value.code)


def test_so_many_uses_a_day_and_then_the_next_day(any_world, use) -> None:
    any_world.open(replace(TERMS, frequency=Frequency(2, "P1D")))
    first = any_world.control.admit(use())
    any_world.control.admit(use())
    assert refused(any_world, use()) == "FREQUENCY_EXCEEDED"
    (entry,) = any_world.log.find("use.denied")
    assert entry.body["reasons"][0] | {"rule": ""} == {
        "rule": "", "kind": "permission", "term": "frequency", "operator": "lteq",
        "expected": "2/P1D", "given": "3", "code": "FREQUENCY_EXCEEDED",
    }  # fmt: skip
    any_world.control.void(first, "crash")  # nothing left: it does not count
    any_world.control.admit(use())
    assert refused(any_world, use()) == "FREQUENCY_EXCEEDED"
    any_world.db.clock.advance(timedelta(days=1).total_seconds())
    any_world.control.admit(use())


def test_a_question_that_the_data_answered_counts_although_it_was_given_back(world, use) -> None:
    world.open(replace(TERMS, frequency=Frequency(1, "PT1H")))
    world.control.void(world.control.admit(use()), "GROUP_TOO_SMALL")
    assert refused(world, use()) == "FREQUENCY_EXCEEDED"


def test_a_pause_after_each_use(any_world, use) -> None:
    any_world.open(replace(TERMS, pause="PT1M"))
    any_world.control.admit(use())
    any_world.db.clock.advance(59.9)
    assert refused(any_world, use()) == "FREQUENCY_EXCEEDED"
    any_world.db.clock.advance(0.1)
    any_world.control.admit(use())


def test_windows_begin_at_midnight_in_beijing(world, use) -> None:
    world.open(replace(TERMS, frequency=Frequency(1, "P1D")))  # 2026-01-01T08:00+08:00
    world.control.admit(use())
    world.db.clock.advance(16 * 3600 - 1)
    assert refused(world, use()) == "FREQUENCY_EXCEEDED"
    world.db.clock.advance(1)
    world.control.admit(use())


def test_many_callers_at_once_stay_within_the_frequency(any_world, use) -> None:
    any_world.open(replace(TERMS, frequency=Frequency(3, "P1D")))
    asked = [use() for _ in range(12)]
    codes: list[str] = []

    def ask(one) -> None:
        try:
            any_world.control.admit(one)
        except YunheError as error:
            codes.append(error.code)

    callers = [threading.Thread(target=ask, args=(one,)) for one in asked]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(any_world.control.uses("c1", ("reserved",))) == 3
    assert set(codes) <= {"FREQUENCY_EXCEEDED", "CONTRACT_CHANGED"}


def test_what_is_inherited_is_not_given_to_others(world) -> None:
    read = Rule("permission", "read", (Constraint("purpose", "eq", "research"),))
    give = Rule("permission", "distribute", (Constraint("purpose", "eq", "research"),))
    ask = {"purpose": "research"}
    compiled = compile_policy(Policy((read, give), inherit=True))
    assert compiled.evaluate(Context("read", ask)).allowed
    verdict = compiled.evaluate(Context("distribute", ask))
    assert (verdict.code, verdict.reasons[0].term) == ("TERM_NOT_UNDERSTOOD", "inherit")
    assert (
        compile_policy(Policy((give,), inherit=False)).evaluate(Context("distribute", ask)).allowed
    )
