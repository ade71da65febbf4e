"""The life-cycle table and the checks of forms: pure, no I/O.

In: a state and a step, or a form. Out: the next state, or the error that names what is wrong.
Table from N03 7.1–7.3 and T11 7.2.1a; a test walks every cell.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from yunhe.identity.errors import FormInvalid, ReasonsMissing, StepNotAllowed
from yunhe.identity.model import ConnectorForm, State, SubjectForm
from yunhe.kernel import ids, limits


class Step(StrEnum):
    """What can happen to a record."""

    SUBMIT = "submit"
    RETURN = "return"
    REJECT = "reject"
    VERIFY = "verify"
    ISSUE = "issue"
    ACTIVATE = "activate"
    CHANGE = "change"
    SUSPEND = "suspend"
    RESUME = "resume"
    REQUEST_CANCEL = "request_cancel"
    CANCEL = "cancel"


# What is not here is refused. `suspended -> cancel_pending` is ours: N03 gives no way to cancel
# a suspended record, and making it active for that moment would admit it.
TABLE: Final[dict[State, dict[Step, State]]] = {
    State.DRAFT: {Step.SUBMIT: State.SUBMITTED},
    State.SUBMITTED: {
        Step.RETURN: State.RETURNED,
        Step.REJECT: State.REJECTED,
        Step.VERIFY: State.VERIFIED,
    },
    State.RETURNED: {Step.SUBMIT: State.SUBMITTED},
    State.REJECTED: {},
    State.VERIFIED: {Step.ISSUE: State.ISSUED},
    State.ISSUED: {Step.ACTIVATE: State.ACTIVE},
    State.ACTIVE: {
        Step.CHANGE: State.CHANGING,
        Step.SUSPEND: State.SUSPENDED,
        Step.REQUEST_CANCEL: State.CANCEL_PENDING,
    },
    State.CHANGING: {Step.ACTIVATE: State.ACTIVE},
    State.SUSPENDED: {Step.RESUME: State.ACTIVE, Step.REQUEST_CANCEL: State.CANCEL_PENDING},
    State.CANCEL_PENDING: {Step.CANCEL: State.CANCELLED},
    State.CANCELLED: {},
}

USABLE: Final = frozenset({State.ACTIVE, State.CHANGING})  # wire identityStatus = 1

DECISIONS: Final[dict[str, tuple[Step, ...]]] = {
    "approve": (Step.VERIFY, Step.ISSUE, Step.ACTIVATE),
    "return": (Step.RETURN,),
    "reject": (Step.REJECT,),
}


def advance(state: State, *steps: Step) -> State:
    """The state after `steps`; raises StepNotAllowed naming the state and the step."""
    for step in steps:
        after = TABLE[state].get(step)
        if after is None:
            raise StepNotAllowed(state=state.value, step=step.value)
        state = after
    return state


def steps_of(decision: str, reasons: tuple[str, ...]) -> tuple[Step, ...]:
    """The steps of a reviewer's decision; a refusal without reasons is refused (T12 4.4k)."""
    steps = DECISIONS.get(decision)
    if steps is None:
        raise FormInvalid(field="decision", why="is none of approve, return, reject")
    if decision != "approve" and not any(reason.strip() for reason in reasons):
        raise ReasonsMissing
    for reason in reasons:
        if len(reason) > limits.REASON_CHARS_MAX:
            raise FormInvalid(field="reasons", why=f"exceed {limits.REASON_CHARS_MAX} characters")
    return steps


def check_subject(form: SubjectForm) -> None:
    """A valid USCC (GB 32100) and a name (N03 table 4); raises FormInvalid, BadCode."""
    _text("subject_code", form.subject_code, 18, 18)
    ids.check_uscc(form.subject_code)
    _text("name", form.name, 1, limits.NAME_CHARS_MAX)
    _text("name_en", form.name_en, 0, limits.NAME_CHARS_MAX)
    _text("address", form.address, 0, limits.ADDRESS_CHARS_MAX)


def check_connector(form: ConnectorForm, development: bool) -> None:
    """A name (N03 table 10) and a base URL others can reach: https outside development."""
    _text("subject_code", form.subject_code, 18, 18)
    ids.check_uscc(form.subject_code)
    _text("name", form.name, 1, limits.NAME_CHARS_MAX)
    _text("name_en", form.name_en, 0, limits.NAME_CHARS_MAX)
    _text("address", form.address, 1, limits.ADDRESS_CHARS_MAX)
    try:
        url = urlsplit(form.address)
        url.port  # noqa: B018  reading it checks it
    except ValueError as error:
        raise FormInvalid(field="address", why="is not a URL") from error
    schemes = ("https", "http") if development else ("https",)
    if url.scheme not in schemes or not url.hostname or url.username or url.query or url.fragment:
        raise FormInvalid(field="address", why=f"is not a plain {schemes[0]} base URL")


def _text(field: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, str):
        raise FormInvalid(field=field, why="is not text")
    if not least <= len(value.strip()) or len(value) > most:
        raise FormInvalid(field=field, why=f"has not {least} to {most} characters")
    if any(ord(char) < 0x20 for char in value):
        raise FormInvalid(field=field, why="contains control characters")
