"""The life-cycle table, every cell; the duty to state reasons; the checks of forms."""

from __future__ import annotations

import pytest

from identity.nodes import HOSPITAL
from yunhe.identity import rules
from yunhe.identity.errors import FormInvalid, ReasonsMissing, StepNotAllowed
from yunhe.identity.model import ConnectorForm, State, SubjectForm
from yunhe.identity.rules import Step
from yunhe.kernel.ids import BadCode

# Written out a second time on purpose: the table in words, as spec/identity.md 3 has it.
LIFE = """
draft          submit          submitted
submitted      return          returned
submitted      reject          rejected
submitted      verify          verified
returned       submit          submitted
verified       issue           issued
issued         activate        active
active         change          changing
active         suspend         suspended
active         request_cancel  cancel_pending
changing       activate        active
suspended      resume          active
suspended      request_cancel  cancel_pending
cancel_pending cancel          cancelled
"""
EXPECTED = {(a, b): c for a, b, c in (line.split() for line in LIFE.strip().splitlines())}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("step", list(Step))
def test_every_cell(state: State, step: Step) -> None:
    after = EXPECTED.get((state.value, step.value))
    if after is None:
        with pytest.raises(StepNotAllowed) as refused:
            rules.advance(state, step)
        assert refused.value.facts == {"state": state.value, "step": step.value}
    else:
        assert rules.advance(state, step) == after


def test_the_table_names_every_state() -> None:
    assert set(rules.TABLE) == set(State)


def test_approval_leads_to_active() -> None:
    assert rules.advance(State.SUBMITTED, *rules.steps_of("approve", ())) is State.ACTIVE


@pytest.mark.parametrize("decision", ["return", "reject"])
def test_a_refusal_states_reasons(decision: str) -> None:
    with pytest.raises(ReasonsMissing):
        rules.steps_of(decision, ("  ",))


def test_an_unknown_decision_is_named() -> None:
    with pytest.raises(FormInvalid, match="decision"):
        rules.steps_of("maybe", ())


def test_a_good_subject_passes() -> None:
    rules.check_subject(SubjectForm(HOSPITAL, "云河医院", "Yunhe Hospital", "杭州"))


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (SubjectForm("91330100MA00000660", "x"), BadCode),  # check character
        (SubjectForm("913301", "x"), FormInvalid),
        (SubjectForm(HOSPITAL, "  "), FormInvalid),
        (SubjectForm(HOSPITAL, "x" * 101), FormInvalid),
        (SubjectForm(HOSPITAL, "a\nb"), FormInvalid),
        (SubjectForm(HOSPITAL, 7), FormInvalid),  # type: ignore[arg-type]
        (SubjectForm(["x"], "x"), FormInvalid),  # type: ignore[arg-type]
    ],
)
def test_a_bad_subject_is_refused(form: SubjectForm, error: type[Exception]) -> None:
    with pytest.raises(error):
        rules.check_subject(form)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ftp://a.example",
        "http://a.example",
        "https://",
        "https://user:pw@a.example",
        "https://a.example/?x=1",
        "https://a.example:99999",
        "https://[::1",
        "javascript:alert(1)",
    ],
)
def test_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(FormInvalid, match="address"):
        rules.check_connector(ConnectorForm(HOSPITAL, "c", address), development=False)


def test_plain_http_is_for_development() -> None:
    form = ConnectorForm(HOSPITAL, "c", "http://127.0.0.1:8101")
    rules.check_connector(form, development=True)
