"""`yunhe transfers`: look, have a product pushed into a file, halt, go on, end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe.cli.arguments import Contract, Purpose
from yunhe.cli.desk import Desk, command, plain
from yunhe.kernel import tongues
from yunhe.sdk import Received, Transfer

app = typer.Typer(help="How data goes from a provider to a consumer.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="TRANSFER", help="Its id, as `list` shows it.")]
To = Annotated[
    Path, typer.Option(help="A folder, or a file ending in .arrow, .arrows or .parquet.")
]
Reason = Annotated[str, typer.Option(help="Told to the other side and recorded.")]


@command(app, "list")
def list_(desk: Desk, contract: Contract) -> None:
    """List the transfers of a contract, latest first."""
    with desk.space() as space:
        found = space.transfers(desk.whole(contract, space.contracts))
    columns = desk.columns(
        "id format state come total updated",
        "ID FORMAT STATE COME TOTAL UPDATED",
        "编号 方式 状态 已传 总量 更新时间",
    )
    rows = [{**plain(each), **_progress(desk, each)} for each in found]
    desk.show(found, lambda: desk.table(rows, columns))


def _progress(desk: Desk, t: Transfer) -> dict[str, Any]:
    push = t.push or {}
    come, total = push.get("bytes"), push.get("bytes_total")
    return {
        "come": "–" if come is None else f"{come:,}",
        "total": "–" if total is None else f"{total:,}",
        "updated": desk.instant(t.updated_at),
    }


@command(app)
def show(desk: Desk, transfer: Id) -> None:
    """Show one transfer; of a push also how far it is, and why it waits."""
    with desk.space() as space:
        found = space.transfer(_key(transfer))
    _shown(desk, found)


def _shown(desk: Desk, found: Transfer) -> None:
    def human() -> None:
        push, progress = found.push or {}, _progress(desk, found)
        detail = (found.error or {}).get("detail")
        zh = ((found.error or {}).get("zh") or {}).get("detail")
        lines = {
            desk.say("transfer", "传输"): found.id,
            desk.say("format", "方式"): found.format,
            desk.say("state", "状态"): desk.state(found.state),
            desk.say("because", "原因"): detail and desk.say(detail, zh or detail),
            desk.say("use", "使用"): push.get("use_id"),
            desk.say("bytes", "字节"): push and f"{progress['come']} / {progress['total']}",
            desk.say("rows", "行数"): push.get("rows"),
            "sha256": push.get("sha256"),
        }
        for name, value in lines.items():
            if value:
                desk.out.print(desk.labelled(name, value), markup=False)
        if push.get("next_retry_at"):
            again = desk.instant(push["next_retry_at"])
            why = tongues.of(push.get("last_error") or "–", desk.lang)
            desk.note(
                f"it failed ({why}) and is tried again at {again}",
                f"推送失败（{why}），将于 {again} 重试",
            )

    desk.show(found, human)


@command(app)
def push(
    desk: Desk,
    contract: Contract,
    to: To,
    sql: Annotated[
        str, typer.Option(help="SQL for what is sent; default: the whole product.")
    ] = "",
    purpose: Purpose = "",
    use_id: Annotated[
        str, typer.Option(help="Repeat a use: the same id never charges twice.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait until all has come.")] = 3600.0,
) -> None:
    """Have the provider push to your node, and write what comes to a file; one use."""
    with desk.space() as space:
        key = desk.whole(contract, space.contracts)
        got = space.receive(
            key, to, sql=sql, purpose=purpose, use_id=use_id or None, timeout_s=timeout
        )
    _received(desk, got)


@command(app)
def fetch(desk: Desk, transfer: Id, to: To) -> None:
    """Write what an earlier push brought to a file."""
    with desk.space() as space:
        got = space.fetch(_key(transfer), to)
    _received(desk, got)


def _received(desk: Desk, got: Received) -> None:
    rows = desk.say(f"{got.rows:,} rows", f"{got.rows:,} 行")
    facts = {**plain(got), "path": str(got.path)}
    desk.show(facts, f"{got.path}  {rows}  {got.bytes:,} B  sha256 {got.sha256}")


@command(app)
def suspend(desk: Desk, transfer: Id, reason: Reason) -> None:
    """Halt a transfer; either side resumes it."""
    with desk.space() as space:
        _shown(desk, space.suspend_transfer(_key(transfer), reason))


@command(app)
def resume(desk: Desk, transfer: Id) -> None:
    """Let a halted transfer go on."""
    with desk.space() as space:
        _shown(desk, space.resume_transfer(_key(transfer)))


@command(app)
def terminate(desk: Desk, transfer: Id, reason: Reason) -> None:
    """End a transfer for good; the contract stays."""
    with desk.space() as space:
        _shown(desk, space.terminate_transfer(_key(transfer), reason))


def _key(given: str) -> str:
    """A transfer's id, with or without `urn:uuid:`."""
    return given if given.startswith("urn:") else f"urn:uuid:{given}"
