"""The table flows.txt read: what our node says in each test, and what the kit does.

In: the text. Out: one `Flow` a test, and the decisions of a node that follows them: at once inside
the verb (`Script`, a contracts.Decider), or unasked after a pause (node.py asks `unasked`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from yunhe.contracts import (
    HOLD,
    Decision,
    Negotiation,
    OfferedProduct,
    Policy,
    Rule,
    Side,
    State,
    Transfer,
    TransferVerb,
    Verb,
)

USE = Policy((Rule("permission", "use"),))


@dataclass(frozen=True)
class Flow:
    """One test: `says` maps a state to our words there, in order; `kit` is the kit's side."""

    id: str
    says: Mapping[str, tuple[str, ...]]
    kit: tuple[str, ...]
    off: bool = False  # switched off in the kit itself

    @property
    def group(self) -> str:
        """MET, CAT, CN, CN_C, TP or TP_C."""
        return self.id.partition(":")[0]

    @property
    def key(self) -> str:
        """The dataset or agreement that this test is about, as the kit's samples name it."""
        names = {"CN": "ACN", "CN_C": "ACNC", "TP": "ATP", "TP_C": "ATPC"}
        number = self.id.partition(":")[2].replace("-", "")
        return names.get(self.group, self.group) + number

    def word(self, state: str, times: int) -> str:
        """What we say when the conversation is in `state` for the n-th time; empty: hold."""
        words = self.says.get(state, ())
        return words[times] if times < len(words) else ""


def read_flows(text: str | None = None) -> list[Flow]:
    """The flows of the table, those switched off included."""
    text = text or (Path(__file__).parent / "flows.txt").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        id_, says, kit = (cell.strip() for cell in line.split("|"))
        pairs = (part.split() for part in says.split(";") if part.strip())
        said = {state: tuple(words.split(",")) for state, words in pairs}
        found.append(Flow(id_.strip("()"), said, tuple(kit.split()), id_.startswith("(")))
    return found


@dataclass
class Script:
    """The scripted decision of a node under test: contracts.Decider over the table."""

    flows: Mapping[str, Flow] = field(
        default_factory=lambda: {flow.key: flow for flow in read_flows()}
    )

    def answer(
        self, negotiation: Negotiation, product: OfferedProduct | None, now: datetime
    ) -> Decision:
        """See contracts.Decider."""
        word = self.negotiation_word(negotiation)
        return HOLD if word.startswith("~") else decision(word)

    def transfer(self, transfer: Transfer) -> TransferVerb | None:
        """See contracts.Decider; only a fresh request is answered inside the verb."""
        word = self.transfer_word(transfer, 0)
        return None if not word or word.startswith("~") else TransferVerb(word)

    def negotiation_word(self, n: Negotiation) -> str:
        """What the script says now; the offers on the table tell how often we were here."""
        flow = self.flows.get(n.product_code)
        if flow is None:
            return ""
        maker = {State.REQUESTED: Side.CONSUMER, State.OFFERED: Side.PROVIDER}.get(n.state)
        times = 0 if maker is None else n.made_by(maker) - 1
        return flow.word(n.state.value, times)

    def transfer_word(self, t: Transfer, times: int) -> str:
        """What the script says to a transfer that is in its state for the n-th time."""
        flow = self.flows.get(t.contract_id)
        return "" if flow is None else flow.word(t.state.value, times)


def decision(word: str) -> Decision:
    """A word of the table as a decision."""
    if not word:
        return HOLD
    verb = Verb(word.removeprefix("~"))
    return Decision(verb, USE if verb in (Verb.OFFER, Verb.REQUEST) else None)
