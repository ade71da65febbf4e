"""What a step can do: speak to the nodes, tell the audience, insist, and leave a record."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from yunhe.demo.errors import StepFailed
from yunhe.demo.nodes import NodeProcess
from yunhe.kernel.money import yuan
from yunhe.sdk import Space, YunheRefused

NUMBERS = "①②③④⑤⑥⑦⑧⑨⑩"


@dataclass
class Record:
    """One step as `--json` writes it."""

    number: int
    name: str
    name_zh: str
    actor: str
    milliseconds: float = 0.0
    outcome: str = "failed"
    receipt: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


class Stage:
    """The four nodes, a client of each, what the steps found out, and the audience."""

    def __init__(
        self,
        nodes: dict[str, NodeProcess],
        console: Console,
        lang: str,
        files: tuple[Path, Path] = (Path(".demo/bundle.json"), Path(".demo/trust.json")),
    ) -> None:
        self.nodes = nodes
        self.bundle_file, self.trust_file = files
        self.spaces: dict[str, Space] = {}
        self.facts: dict[str, Any] = {}
        self.records: list[Record] = []
        self.console = console
        self.lang = lang
        self._now: Record | None = None

    def __getitem__(self, key: str) -> Space:
        return self.spaces[key]

    @contextmanager
    def step(
        self, name: str, name_zh: str, actor: str, kind: str, at: str = ""
    ) -> Iterator[Record]:
        """One numbered step by the node `actor`; its receipt is the newest evidence entry of
        `kind` at the node `at` (default: the actor)."""
        record = Record(len(self.records) + 1, name, name_zh, actor)
        self.records.append(record)
        self._now = record
        title = f"{NUMBERS[record.number - 1]} {name_zh} · {name}"
        self.console.print(f"\n[bold cyan]{title}[/]", highlight=False)
        started = time.monotonic()
        try:
            yield record
        except StepFailed:
            record.milliseconds = (time.monotonic() - started) * 1000
            raise
        except YunheRefused as refused:
            why = f"{refused.code}: {refused.sentence(self.lang)}"
            raise self._failed(started, why) from refused
        except Exception as error:  # whatever it is, the step is named
            raise self._failed(started, f"{type(error).__name__}: {error}") from error
        record.milliseconds = (time.monotonic() - started) * 1000
        record.receipt = self.receipt(at or actor, kind)
        self.insist(record.receipt is not None, f"no evidence entry {kind}")
        record.outcome = "ok"
        proof = f"{record.receipt['kind']} #{record.receipt['index']}" if record.receipt else "–"
        place = self.nodes[at or actor].party
        if self.lang == "zh":
            who, where = self.who(actor), f"（{place.name_zh}）" if place.key != actor else ""
        else:
            who = self.nodes[actor].party.name_en
            where = f" at {place.name_en}" if place.key != actor else ""
        word = "存证" if self.lang == "zh" else "evidence"
        self.console.print(
            f"  [dim]{record.milliseconds:,.0f} ms · {who} · {word} {proof}{where}[/]",
            highlight=False,
            soft_wrap=True,
        )

    def _failed(self, started: float, why: str) -> StepFailed:
        self.records[-1].milliseconds = (time.monotonic() - started) * 1000
        return self._not_held(why.rstrip(".。"))

    def _not_held(self, why: str) -> StepFailed:
        step = self.records[-1]
        return StepFailed(number=step.number, name=step.name, name_zh=step.name_zh, why=why)

    def under_way(self) -> tuple[int, str, str] | None:
        """Number and names of the step that has begun and did not end; None between steps."""
        step = self.records[-1] if self.records else None
        return (step.number, step.name, step.name_zh) if step and step.outcome != "ok" else None

    def who(self, key: str) -> str:
        """A node's name for the audience."""
        party = self.nodes[key].party
        return party.name_zh if self.lang == "zh" else f"{party.name_zh} {party.name_en}"

    def receipt(self, key: str, kind: str) -> dict[str, Any] | None:
        """The newest evidence entry of a kind at a node: id, kind, leaf hash, index."""
        newest = self.spaces[key].entries(kind, limit=1)
        return newest[0] if newest else None

    def say(self, text: str, zh: str = "") -> None:
        """Tell the audience in its language, and keep it in the record; `zh` where it differs."""
        text = zh if zh and self.lang == "zh" else text
        if self._now is not None:
            self._now.notes.append(text)
        self.console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    def insist(self, holds: bool, why: str) -> None:
        """Fail the step unless `holds`."""
        if not holds:
            raise self._not_held(why)

    def denied(self, what: str, refused: YunheRefused) -> None:
        """Show a refusal with its code, sentence and remedy."""
        self.say(f"⊘ refused: {what} → {refused.code}", f"⊘ 已拒绝：{what} → {refused.code}")
        self.say(f"    {refused.sentence(self.lang)}")
        self.say(f"    → {refused.remedy(self.lang)}")

    def bill(self, key: str, provider: str) -> int:
        """Show the running bill of the contract with `provider` as a node has it; in fen."""
        bill = self.spaces[key].bill(self.facts[f"contract-{provider}"].id)
        self.say(
            f"¥ contract with {self.nodes[provider].party.name_en}, by {self.who(key)}:"
            f" {bill.uses} uses, {bill.rows} rows, {yuan(bill.total_fen)} CNY",
            f"¥ 与{self.who(provider)}的合约，{self.who(key)}记账："
            f"使用 {bill.uses} 次，{bill.rows} 行，{yuan(bill.total_fen)} 元",
        )
        return bill.total_fen

    def write(self, path: Path, seconds: float, done: bool) -> None:
        """The record of every step as JSON; `done` once the whole story was played."""
        held = done and all(record.outcome == "ok" for record in self.records)
        whole = {
            "outcome": "ok" if held else "failed",
            "seconds": round(seconds, 3),
            "bundle": str(self.bundle_file),
            "trust": str(self.trust_file),
            "steps": [asdict(record) for record in self.records],
        }
        path.write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
