"""An answer waits for the reply to the message that it answers, and for nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from contracts.nodes import LISTED
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import State
from yunhe.kernel import limits
from yunhe.protocols.dsp import Replies
from yunhe.protocols.dsp.replies import OURS, rest_s


def test_a_delivery_waits_until_the_reply_has_left() -> None:
    replies, passed = Replies(), threading.Event()
    replies.begin(("did:web:p", "pid"))

    def deliver() -> None:
        replies.wait(("did:web:p", "pid"))
        passed.set()

    thread = threading.Thread(target=deliver)
    thread.start()
    assert not passed.wait(0.05)
    replies.done(("did:web:p", "pid"))
    assert passed.wait(5)
    thread.join()
    replies.wait(("did:web:p", "pid"))  # over: nobody waits any more
    replies.done(("did:web:p", "pid"))


def test_a_reply_that_never_ends_holds_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DSP_REPLY_WAIT_S", 0.01)
    monkeypatch.setattr(limits, "DSP_REPLIES_MAX", 2)
    replies = Replies()
    for number in range(5):
        replies.begin(("did:web:p", str(number)))
    began = time.monotonic()
    replies.wait(("did:web:p", "4"))
    replies.wait(("did:web:p", "0"))
    assert time.monotonic() - began < 1


def test_no_answer_overtakes_the_reply_over_http(
    provider: WebNode, consumer: WebNode, net: Internet
) -> None:
    """The provider's first word comes when the consumer's request has returned."""
    asked, order = threading.Event(), []
    forward = net.fail

    def watch(request: httpx.Request) -> httpx.Response | None:
        order.append(request.url.path.rpartition("/")[2])
        if order[-1] == "agreement":
            asked.set()
        return forward(request)

    net.fail = watch
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
    assert order[:2] == ["request", "agreement"]
    refused = consumer.contracts.request(provider.did, provider.url, "NOTHING", "o", LISTED)
    until(lambda: consumer.contracts.negotiation(refused.id).state is State.TERMINATED, 15)


def test_what_answers_is_called_once_the_reply_has_left() -> None:
    replies, called = Replies(), []
    replies.after(("did:web:p", "pid"), lambda: called.append("none under way"))
    replies.begin(("did:web:p", "pid"))
    replies.after(("did:web:p", "pid"), lambda: called.append("after"))
    replies.after(("did:web:p", "other"), lambda: called.append("another's"))
    assert called == ["none under way", "another's"]
    replies.done(("did:web:p", "pid"))
    assert called[2:] == ["after"]


def test_what_answers_is_called_where_its_reply_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DSP_REPLIES_MAX", 1)
    replies, called = Replies(), []
    replies.begin(("did:web:p", "1"))
    replies.after(("did:web:p", "1"), lambda: called.append(1))
    replies.begin(("did:web:p", "2"))
    assert called == [1]


def test_who_is_not_of_our_make_has_a_rest_after_our_reply() -> None:
    waiting: list[tuple[float, Callable[[], None]]] = []
    replies, called = Replies(lambda s, call: waiting.append((s, call))), []
    replies.begin(("did:web:p", "pid"))
    replies.after(("did:web:p", "pid"), lambda: called.append(1))
    replies.done(("did:web:p", "pid"), rest_s("okhttp/5.0"))
    assert called == []
    [(seconds, over)] = waiting
    assert seconds == limits.DSP_REST_S > 0
    over()
    assert called == [1]
    replies.begin(("did:web:p", "pid"))
    replies.after(("did:web:p", "pid"), lambda: called.append(2))
    replies.done(("did:web:p", "pid"), rest_s(OURS))
    assert called == [1, 2]


def test_of_two_messages_of_one_conversation_the_second_is_replied_to_as_well() -> None:
    """A peer that repeats itself: the answer waits for the reply to the last of them."""
    replies, called = Replies(), []
    for _ in range(2):
        replies.begin(("did:web:p", "pid"))
    replies.after(("did:web:p", "pid"), lambda: called.append(1))
    replies.done(("did:web:p", "pid"))
    assert called == []
    replies.done(("did:web:p", "pid"))
    assert called == [1]


def test_our_own_kind_is_known_and_gets_no_rest(
    provider: WebNode, consumer: WebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DSP_REST_S", 3600)
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
