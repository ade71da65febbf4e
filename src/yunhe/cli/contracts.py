"""`yunhe contracts`: list, show, terminate, and fetch the evidence bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.kernel import canonical
from yunhe.kernel.money import yuan

app = typer.Typer(help="The contracts of this node, on either side.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="CONTRACT")]


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
    """Show one contract with its uses and its running bill."""
    with desk.space() as space:
        found, uses, bill = space.contract(contract), space.uses(contract), space.bill(contract)

    def human() -> None:
        desk.out.print(f"{found.id}  {found.state}  {found.signature_level}", markup=False)
        if found.ended_reason:
            desk.out.print(found.ended_reason, markup=False)
        desk.stuck(found.stuck_because, found.next_retry_at)
        total = desk.say(f"CNY {yuan(bill.total_fen)}", f"{yuan(bill.total_fen)} 元")
        desk.out.print(f"{bill.uses} × / {bill.rows} ≡ {total}", markup=False)
        heads = desk.say(
            "USE STATE PURPOSE ROWS FEN AT CODE", "使用 状态 用途 行数 费用(分) 时间 代码"
        ).split()
        names = ("use_id", "state", "purpose", "rows", "fee_fen", "at", "code")
        desk.table((vars(use) for use in uses), dict(zip(names, heads, strict=True)))

    desk.show({"contract": found, "uses": uses, "bill": bill}, human)


@command(app)
def terminate(
    desk: Desk,
    contract: Id,
    reason: Annotated[str, typer.Option(help="Told to the other side and recorded.")],
) -> None:
    """End a contract; the next use is refused."""
    with desk.space() as space:
        found = space.terminate(contract, reason)
    desk.show(found, f"{found.id}  {found.state}")


@command(app)
def bundle(
    desk: Desk,
    contract: Id,
    out: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Write the evidence bundle of a contract, for `yunhe verify`."""
    with desk.space() as space:
        found = space.bundle(contract)
    data = canonical.dumps(found)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise BadArgument(what=str(out), why=error.strerror or "not writable") from error
    facts = {"file": str(out), "bytes": len(data), "sha256": canonical.sha256_hex(data)}
    desk.show(facts, f"{out}  {len(data)} B  sha256 {facts['sha256']}")
