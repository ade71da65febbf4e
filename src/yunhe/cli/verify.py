"""`yunhe verify`: check an evidence bundle offline, with keys from outside the bundle.

In: a bundle file and a trust file. Out: the table of checks, or the refusal that names the field
and exit code 4. The one command that reads evidence itself: an auditor needs no node.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from yunhe import evidence
from yunhe.cli import parse, words
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import Exit, NotVerified, NotVouched

app = typer.Typer()

_FACTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "contract_id": ("contract", "合约"),
        "provider": ("provider", "提供方"),
        "consumer": ("consumer", "使用方"),
        "uses": ("uses", "使用次数"),
        "rows": ("rows", "行数"),
        "signatures": ("signatures", "签名"),
        "total_fen": ("total", "金额"),
        "settled": ("settled", "已结清"),
    }
)
# What another trust file could mend; anything else is the bundle's own fault.
_TRUST: Final = frozenset({"NO_TRUSTED_KEY", "ROOT_UNKNOWN", "PARTY_KEY", "LOG_UNKNOWN"})


@command(app, options=("json", "lang"))
def verify(
    desk: Desk,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle file.")],
    trust: Annotated[
        Path, typer.Option(metavar="TRUST.json", help="Keys you trust, from elsewhere.")
    ],
) -> int:
    """Check a bundle offline; exits 4 and names the field when it does not hold."""
    stated, trusted = parse.json_file(bundle), parse.json_file(trust)
    report = evidence.verify_bundle(stated, trusted)
    if report.ok:
        desk.show(report.to_json(), lambda: _print(desk, report))
        return Exit.OK
    first = report.findings[0]
    kind = NotVouched if all(each.code in _TRUST for each in report.findings) else NotVerified
    refusal = kind(field=first.pointer or "/", why=first.en, why_zh=first.zh)
    if desk.json:
        desk.show({**report.to_json(), "error": refusal.problem()}, "")
        return Exit.NOT_VERIFIED
    _print(desk, report)
    return desk.fail(refusal)


def _print(desk: Desk, report: evidence.Report) -> None:
    held, failed = desk.say("holds", "成立"), desk.say("FAILS", "不成立")
    columns = desk.columns("name ok text", "CHECK RESULT MEANING", "检查 结果 含义")
    rows = [
        {"name": c.name, "ok": held if c.ok else failed, "text": desk.say(c.en, c.zh)}
        for c in report.checks
    ]
    desk.table(rows, columns)
    for finding in report.findings:
        line = f"{finding.pointer or '/'}  {finding.code}  {desk.say(finding.en, finding.zh)}"
        desk.err.print(line, markup=False)
    for notice in report.notices:
        line = f"{notice.pointer}  {notice.code}  {desk.say(notice.en, notice.zh)}"
        desk.out.print(line, markup=False)
    if report.ok:
        for name, value in report.facts.items():
            head, text = _fact(desk, name, value)
            desk.out.print(desk.labelled(head, text), markup=False)


def _fact(desk: Desk, name: str, value: Any) -> tuple[str, str]:
    """A fact of the report under the name people give it; money in yuan."""
    head = desk.say(*_FACTS.get(name, (name, name)))
    if name == "total_fen" and isinstance(value, int):
        return head, desk.yuan(value)
    if name == "signatures":
        return head, words.of(desk, words.SIGNATURES, str(value))
    if isinstance(value, bool):
        return head, desk.say("yes", "是") if value else desk.say("no", "否")
    return head, str(value)
