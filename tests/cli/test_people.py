"""What people meet: held negotiations, whole ids, faults in words, money in yuan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sdk.fake_node import OFFER, PROBLEM, FakeNode, fake_node, negotiation
from yunhe.cli import app
from yunhe.cli.desk import Desk
from yunhe.cli.errors import BadArgument


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        yield found


def run(node: FakeNode, *arguments: str, columns: int = 80) -> Any:
    environ = {"YUNHE_URL": node.url, "YUNHE_TOKEN": "t", "LC_ALL": "C", "COLUMNS": str(columns)}
    return CliRunner().invoke(app, [*arguments], env=environ)


LONG = "9133010000000000000000000000000000000000000001A"


def _held(**more: Any) -> dict[str, Any]:
    asked = {**OFFER["terms"], "uses_max": 50}
    moves = [
        {"by": "consumer", "terms": asked, "offer_id": "", "at": "2026-11-21T09:00:00.123456Z"},
        {"by": "provider", "terms": OFFER["terms"], "offer_id": "o-2"},
    ]
    return negotiation("OFFERED", 2, waiting_for="you", offers=moves, **more)


def test_a_held_negotiation_shows_the_offer_beside_the_ask_and_the_way_out(node: FakeNode) -> None:
    node.answers["GET /offers/P1"] = (200, OFFER)
    node.answers["POST /negotiations"] = (202, _held())
    node.answers["GET /negotiations/n-1"] = (200, _held())
    result = run(node, "negotiate", "P1", "--ask", "uses_max=50", "--accept", "uses_max=20")
    assert result.exit_code == 1
    assert ["uses", "50", "10", "≠"] in [line.split() for line in result.stdout.splitlines()]
    assert "NEGOTIATION_HELD" in result.stderr
    for way in ("yunhe negotiations show n-1", "yunhe negotiations accept", "counter", "end"):
        assert way in result.stderr


def test_a_negotiation_is_shown_with_whose_word_is_next(node: FakeNode) -> None:
    node.answers["GET /negotiations"] = (200, {"items": [_held()]})
    node.answers["GET /negotiations/n-1"] = (200, _held(error={"code": "X_GONE", "detail": "no"}))
    shown = run(node, "negotiations", "show", "n-").stdout
    assert "yunhe negotiations accept n-1" in shown
    assert "X_GONE: no" in shown
    assert "2026-11-21T09:00:00Z" in shown
    assert "≠" in shown
    zh = run(node, "negotiations", "show", "n-1", "--lang", "zh").stdout
    assert "由您决定" in zh


def test_ids_are_never_cut(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    one = negotiation("FINALIZED", 1, contract_id=LONG)
    one |= {"id": "0" * 36, "product_code": LONG}
    node.answers["GET /negotiations"] = (200, {"items": [one]})
    line = run(node, "negotiations", "list", columns=20).stdout.splitlines()[-1]
    assert line.split()[0] == "0" * 36
    assert line.split()[-2:] == [LONG, LONG]
    screen = Console(force_terminal=True, width=20, soft_wrap=True)
    monkeypatch.setattr(Desk, "out", property(lambda _: screen))
    desk = Desk("", "", False, False, "en")
    with screen.capture() as shown:
        desk.table([{"id": LONG, "title": "word " * 20, "code": LONG}], dict.fromkeys(
            ("id", "title", "code"), "HEAD"))  # fmt: skip
    assert shown.get().count(LONG) == 2


def test_an_id_may_be_given_by_how_only_it_begins(node: FakeNode) -> None:
    found = [{**negotiation("OFFERED", 1), "id": name} for name in ("abc-1", "abd-2")]
    node.answers["GET /negotiations"] = (200, {"items": found})
    node.answers["POST /negotiations/abc-1/terminate"] = (200, found[0])
    assert run(node, "negotiations", "end", "abc", "--reason", "x").exit_code == 0
    many = run(node, "negotiations", "end", "ab", "--reason", "x")
    assert many.exit_code == 2
    assert "abc-1, abd-2" in many.stderr
    assert run(node, "negotiations", "end", "zz", "--reason", "x").exit_code == 1


def test_most_of_a_contract_id_is_still_how_it_begins() -> None:
    """Contracts of one node share much of their beginning."""
    desk = Desk("", "", False, False, "en")
    ids = [f"{LONG[:-1]}A", f"{LONG[:-1]}B"]
    assert desk.whole(LONG[:40], lambda: ids[:1]) == ids[0]
    with pytest.raises(BadArgument):
        desk.whole(LONG[:40], lambda: ids)
    whole = "urn:uuid:2b6f0cc9-04d5-4c1b-9a55-9f5a1d1f0a11"
    for given in (whole, "2b6f", whole[9:], "urn:uuid:2b"):
        assert desk.whole(given, lambda: [whole]) == whole


def test_every_fault_of_a_form_is_told(node: FakeNode) -> None:
    fault = {"field": "title_zh", "rule": "K1", "en": "title_zh: is long", "zh": "过长"}
    facts = {"kind": "resource", "faults": [fault], "fields": "title_zh"}
    node.answers["GET /products"] = (400, {**PROBLEM, "code": "X_FORM", "facts": facts})
    assert "title_zh: is long (K1)" in run(node, "products", "list").stderr
    assert "title_zh：过长 (K1)" in run(node, "products", "list", "--lang", "zh").stderr


def test_a_missing_token_is_told_as_the_command_takes_it(node: FakeNode) -> None:
    node.answers["GET /products"] = (401, {**PROBLEM, "code": "TOKEN_MISSING"})
    for language in ("zh", "en"):
        assert "YUNHE_TOKEN" in run(node, "products", "list", "--lang", language).stderr
    assert "YUNHE_TOKEN" in run(node, "products", "list", "--json").stdout


def test_an_unknown_term_is_answered_with_the_known_ones(node: FakeNode) -> None:
    node.answers["GET /offers/P1"] = (200, OFFER)
    told = run(node, "negotiate", "P1", "--ask", "use_max=2").stderr
    assert "use_max" in told
    assert "minimum_group, price" in told
