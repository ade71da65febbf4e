"""Every cell of the two state tables, written out by hand beside the code's own table."""

from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.contracts import Side, State, TransferState, TransferVerb, Verb, may_say
from yunhe.contracts.rules import after, transfer_after

FIXTURES = Path(__file__).parent / "fixtures"
# One column a (message, sender): C consumer, P provider; '.' refuses.
NEGOTIATION = (FIXTURES / "negotiation_states.txt").read_text()
TRANSFER = (FIXTURES / "transfer_states.txt").read_text()


def cells(grid: str) -> list[tuple[str, str, str, str]]:
    head, *rows = [line.split() for line in grid.strip().splitlines()]
    found = []
    for row in rows:
        for name, cell in zip(head[1:], row[1:], strict=True):
            verb, side = name.split("/")
            found.append((row[0], verb, side, cell))
    return found


SIDES = {"C": Side.CONSUMER, "P": Side.PROVIDER}


@pytest.mark.parametrize(("state", "verb", "side", "expected"), cells(NEGOTIATION))
def test_every_cell_of_a_negotiation(state: str, verb: str, side: str, expected: str) -> None:
    given = None if state == "-" else State(state)
    assert (after(given, Verb(verb), SIDES[side]) or ".") == expected


@pytest.mark.parametrize(("state", "verb", "side", "expected"), cells(TRANSFER))
def test_every_cell_of_a_transfer(state: str, verb: str, side: str, expected: str) -> None:
    given = None if state == "-" else TransferState(state)
    assert (transfer_after(given, TransferVerb(verb), SIDES[side]) or ".") == expected


def test_the_grids_are_complete() -> None:
    assert len(cells(NEGOTIATION)) == (len(State) + 1) * len(Verb) * 2
    assert len(cells(TRANSFER)) == (len(TransferState) + 1) * len(TransferVerb) * 2


def test_may_say_lists_the_open_moves() -> None:
    assert may_say(State.OFFERED, Side.CONSUMER) == (Verb.REQUEST, Verb.ACCEPT, Verb.TERMINATE)
    assert may_say(State.FINALIZED, Side.PROVIDER) == ()
