"""`yunhe contracts`: list, show, terminate, and fetch the evidence bundle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe import sdk
from yunhe.cli import negotiate, sharing, terms, words
from yunhe.cli.arguments import Contract, Sql
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import unusable
from yunhe.kernel import canonical
from yunhe.kernel.money import yuan
from yunhe.sdk import Left, Negotiation, Space, YunheRefused

app = typer.Typer(help="The contracts of this node, on either side.", no_args_is_help=True)


@command(app, "list")
def list_(desk: Desk) -> None:
    """List contracts with their state and uses left."""
    with desk.space() as space:
        found = space.contracts()
    columns = desk.columns(
        "id role state product_code peer_did uses_left",
        "ID ROLE STATE PRODUCT PEER USES-LEFT",
        "编号 角色 状态 产品 对方 剩余次数",
    )
    desk.rows(found, columns)


@command(app)
def show(desk: Desk, contract: Contract) -> None:
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
        uses, bill, left = space.uses(key), space.bill(key), _left(space, found)

    def human() -> None:
        _facts(desk, found, left)
        total = desk.yuan(bill.total_fen)
        desk.out.print(
            desk.say(
                f"{desk.count(bill.uses, 'use', '')}, {desk.count(bill.rows, 'row', '')}, {total}",
                f"使用 {bill.uses} 次，共 {bill.rows} 行，{total}",
            ),
            markup=False,
        )
        columns = desk.columns(
            "use_id state purpose rows fee at code",
            "USE STATE PURPOSE ROWS YUAN AT CODE",
            "使用 状态 用途 行数 费用(元) 时间 代码",
        )
        rows = ({**vars(use), "fee": yuan(use.fee_fen), "at": desk.instant(use.at)} for use in uses)
        desk.table(rows, columns)

    desk.show({"contract": found, "uses": uses, "bill": bill, "left": left}, human)


def _left(space: Space, found: sdk.Contract) -> Left | None:
    """What is left of bounds that the provider alone counts; None: none, or it does not answer."""
    terms = found.terms
    bound = terms.privacy, terms.rows_total, terms.bytes_total
    bits = terms.release is not None and "bits=" in terms.release
    if found.state != "in_force" or (bound == (None, None, None) and not bits):
        return None
    try:
        return space.budget(found.id)
    except YunheRefused:
        return None


def _coming(desk: Desk, space: Space, given: str) -> Negotiation | None:
    """The negotiation of this id, or whose id begins so."""
    try:
        return space.negotiation(desk.whole(given, space.negotiations))
    except YunheRefused:
        return None


def _ended(desk: Desk, found: sdk.Contract) -> str | None:
    why = found.ended_reason
    return why and desk.say(why, found.ended_reason_zh or why)


def _privacy(desk: Desk, left: dict[str, Any] | None) -> str | None:
    if left is None:
        return None
    epsilon, whole, answers = left["epsilon_left"], left["epsilon"], left["answers"]
    word = "ρ" if left.get("measure") == "rho" else "ε"
    return desk.say(
        f"{word} {epsilon} of {whole}, {answers} new answers",
        f"{word} {epsilon}（总额 {whole}），还可回答 {answers} 个新问题",
    )


def _of(left: int | None, held: int | None, desk: Desk) -> str | None:
    if left is None:
        return None
    waits = desk.say(f" (uses under way hold {held})", f"（进行中的使用占用 {held}）")
    return f"{left}{waits if held else ''}"


def _from(desk: Desk, at: datetime | None) -> str | None:
    if at is None:
        return None
    return desk.instant(at) if at > datetime.now(UTC) else desk.say("now", "现在")


def _budget(desk: Desk, left: Left) -> dict[str, str | None]:
    """What is left, in words."""
    free = desk.say("any", "不限")
    return {
        desk.say("uses left", "剩余次数"): free if left.uses_left is None else str(left.uses_left),
        desk.say("rows left", "剩余行数"): _of(left.rows_left, left.held_rows, desk),
        desk.say("bytes left", "剩余字节数"): _of(left.bytes_left, left.held_bytes, desk),
        desk.say("privacy budget left", "剩余隐私预算"): _privacy(desk, left.privacy),
        desk.say("bits left to applications", "应用剩余可输出比特"): (
            None if left.bits_left is None else str(left.bits_left)
        ),
        desk.say("next use from", "最早使用时间"): _from(desk, left.next_at),
    }


@command(app)
def budget(desk: Desk, contract: Contract) -> None:
    """What is left of a contract: uses, volume, privacy budget, and from when; costs nothing."""
    with desk.space() as space:
        left = space.budget(desk.whole(contract, space.contracts))
    desk.show(left, lambda: _say(desk, _budget(desk, left)))


@command(app)
def explain(desk: Desk, contract: Contract, text: Sql) -> None:
    """At the provider: what a query becomes under the contract, and what databases do of it."""
    with desk.space() as space:
        found = space.governed(desk.whole(contract, space.contracts), text)

    def human() -> None:
        for line in found.pushed:
            desk.out.print(line, markup=False)
        lines = {
            desk.say("columns read", "读取的列"): ", ".join(found.fields),
            desk.say("minimum group", "最小分组"): str(found.minimum_group or "") or None,
            desk.say("bounds", "限额"): terms.bounds(desk, found.bounds),
            **_budget(desk, found.left or Left()),
            desk.say("governed query", "受控查询"): found.sql,
        }
        _say(desk, lines)
        if found.groups_sql:
            desk.note(
                "how its groups are made and weighed: --json", "分组的生成与加权方式见 --json 输出"
            )

    desk.show(found, human)


def _say(desk: Desk, lines: Mapping[str, str | None]) -> None:
    for name, value in lines.items():
        if value:
            desk.out.print(desk.labelled(name, value), markup=False)


def _facts(desk: Desk, found: sdk.Contract, left: Left | None) -> None:
    """What it is, in words: state, who signed, with whom, about what, under which terms."""
    lines = {
        desk.say("contract", "合约"): found.id,
        desk.say("state", "状态"): words.of(desk, words.CONTRACT, found.state),
        desk.say("ended because", "终止原因"): _ended(desk, found),
        desk.say("signatures", "签名"): words.of(desk, words.SIGNATURES, found.signature_level),
        desk.say("signed", "签署时间"): desk.instant(found.signed_at),
        desk.say("our part", "我方角色"): words.of(desk, words.ROLES, found.role),
        desk.say("other side", "对方"): found.peer_did,
        desk.say("product", "产品"): found.product_code,
        **_budget(desk, left or Left(found.uses_left, privacy=found.privacy_left)),
    }
    _say(desk, lines)
    desk.stuck(found.stuck_because, found.next_retry_at)
    terms.show(desk, found.terms)


@command(app)
def terminate(
    desk: Desk,
    contract: Contract,
    reason: Annotated[str, typer.Option(help="Told to the other side and recorded.")],
) -> None:
    """End a contract; the next use is refused."""
    with desk.space() as space:
        found = space.terminate(desk.whole(contract, space.contracts), reason)
    desk.show(found, f"{found.id}  {desk.state(found.state)}")


@command(app)
def bundle(
    desk: Desk,
    contract: Contract,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    statement: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this settled statement, with its uses.")
    ] = None,
) -> None:
    """Write the evidence bundle of a contract, for `yunhe verify`."""
    with desk.space() as space:
        contract = desk.whole(contract, space.contracts)
        if statement is not None:
            statement = desk.whole(statement, lambda: space.statements(contract))
        found = space.bundle(contract, statement)
    data = canonical.dumps(found)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise unusable(out, error) from error
    facts = {"file": str(out), "bytes": len(data), "sha256": canonical.sha256_hex(data)}
    desk.show(facts, f"{out}  {len(data)} B  sha256 {facts['sha256']}")


sharing.add(app)
