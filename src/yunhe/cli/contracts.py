"""`yunhe contracts`: list, show, terminate, and fetch the evidence bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli import negotiate, sharing, terms, words
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import unusable
from yunhe.kernel import canonical
from yunhe.kernel.money import yuan
from yunhe.sdk import Contract, Negotiation, Space, YunheRefused

app = typer.Typer(help="The contracts of this node, on either side.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="CONTRACT", help="Its id, or how only that id begins.")]


@command(app, "list")
def list_(desk: Desk) -> None:
    """List contracts."""
    with desk.space() as space:
        found = space.contracts()
    names = ("id", "role", "state", "product_code", "peer_did", "uses_left")
    heads = desk.say(
        "ID ROLE STATE PRODUCT PEER USES-LEFT", "编号 角色 状态 产品 对方 剩余次数"
    ).split()
    desk.rows(found, dict(zip(names, heads, strict=True)))


@command(app)
def show(desk: Desk, contract: Id) -> None:
    """Show one contract with its uses and its running bill; before it is one, its negotiation."""
    with desk.space() as space:
        key = desk.whole(contract, space.contracts)
        try:
            found = space.contract(key)
        except YunheRefused as error:
            if error.status != 404 or (coming := _coming(desk, space, contract)) is None:
                raise
            negotiate.tell(desk, coming)
            return
        uses, bill = space.uses(key), space.bill(key)

    def human() -> None:
        _facts(desk, found)
        total = desk.yuan(bill.total_fen)
        desk.out.print(
            desk.say(
                f"{desk.count(bill.uses, 'use', '')}, {desk.count(bill.rows, 'row', '')}, {total}",
                f"使用 {bill.uses} 次，共 {bill.rows} 行，{total}",
            ),
            markup=False,
        )
        heads = desk.say(
            "USE STATE PURPOSE ROWS YUAN AT CODE", "使用 状态 用途 行数 费用(元) 时间 代码"
        ).split()
        names = ("use_id", "state", "purpose", "rows", "fee", "at", "code")
        rows = ({**vars(use), "fee": yuan(use.fee_fen), "at": desk.instant(use.at)} for use in uses)
        desk.table(rows, dict(zip(names, heads, strict=True)))

    desk.show({"contract": found, "uses": uses, "bill": bill}, human)


def _coming(desk: Desk, space: Space, given: str) -> Negotiation | None:
    """The negotiation of this id, or whose id begins so."""
    try:
        return space.negotiation(desk.whole(given, space.negotiations))
    except YunheRefused:
        return None


def _ended(desk: Desk, found: Contract) -> str | None:
    why = found.ended_reason
    return why and desk.say(why, found.ended_reason_zh or why)


def _budget(desk: Desk, found: Contract) -> str | None:
    left = found.privacy_left
    if left is None:
        return None
    epsilon, whole, answers = left["epsilon_left"], left["epsilon"], left["answers"]
    return desk.say(
        f"epsilon {epsilon} of {whole}, {answers} new answers",
        f"ε {epsilon}（总额 {whole}），还可回答 {answers} 个新问题",
    )


def _facts(desk: Desk, found: Contract) -> None:
    """What it is, in words: state, who signed, with whom, about what, under which terms."""
    left = desk.say("any", "不限") if found.uses_left is None else str(found.uses_left)
    lines = {
        desk.say("contract", "合约"): found.id,
        desk.say("state", "状态"): words.of(desk, words.CONTRACT, found.state),
        desk.say("ended because", "终止原因"): _ended(desk, found),
        desk.say("signatures", "签名"): words.of(desk, words.SIGNATURES, found.signature_level),
        desk.say("signed", "签署时间"): desk.instant(found.signed_at),
        desk.say("our part", "我方角色"): words.of(desk, words.ROLES, found.role),
        desk.say("other side", "对方"): found.peer_did,
        desk.say("product", "产品"): found.product_code,
        desk.say("uses left", "剩余次数"): left,
        desk.say("privacy budget left", "剩余隐私预算"): _budget(desk, found),
    }
    for name, value in lines.items():
        if value:
            desk.out.print(f"{name}: {value}", markup=False)
    desk.stuck(found.stuck_because, found.next_retry_at)
    terms.show(desk, found.terms)


@command(app)
def terminate(
    desk: Desk,
    contract: Id,
    reason: Annotated[str, typer.Option(help="Told to the other side and recorded.")],
) -> None:
    """End a contract; the next use is refused."""
    with desk.space() as space:
        found = space.terminate(desk.whole(contract, space.contracts), reason)
    desk.show(found, f"{found.id}  {found.state}")


@command(app)
def bundle(
    desk: Desk,
    contract: Id,
    out: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Write the evidence bundle of a contract, for `yunhe verify`."""
    with desk.space() as space:
        found = space.bundle(desk.whole(contract, space.contracts))
    data = canonical.dumps(found)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise unusable(out, error) from error
    facts = {"file": str(out), "bytes": len(data), "sha256": canonical.sha256_hex(data)}
    desk.show(facts, f"{out}  {len(data)} B  sha256 {facts['sha256']}")


sharing.add(app)
