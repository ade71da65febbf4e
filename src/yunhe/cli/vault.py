"""`yunhe vault`: sealed deliveries: ask, look, read as the contract says, destroy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe.cli import words
from yunhe.cli.arguments import PREFIX_HELP, Contract, Purpose
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument, unusable
from yunhe.sdk import require_arrow

app = typer.Typer(help="Sealed deliveries in this node's vault.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ITEM", help=PREFIX_HELP)]
Token = Annotated[
    str,
    typer.Option(
        envvar="YUNHE_APPLICATION_TOKEN",
        help="Token of the program that reads, where the contract names one.",
    ),
]
_ENDINGS = (".arrow", ".parquet")


@command(app)
def fetch(
    desk: Desk,
    contract: Contract,
    sql: Annotated[
        str, typer.Option(help="SQL for what is sent; default: the whole product.")
    ] = "",
    purpose: Purpose = "",
) -> None:
    """Ask for a sealed delivery; it comes in the background, and is one use."""
    with desk.space() as space:
        found = space.seal(desk.whole(contract, space.contracts), sql, purpose)
    _shown(desk, found)


@command(app, "list")
def list_(desk: Desk) -> None:
    """List sealed deliveries, latest first."""
    with desk.space() as space:
        found = space.vault_items()
    columns = desk.columns(
        "id state rows bytes reads contract_id",
        "ID STATE ROWS BYTES READS CONTRACT",
        "编号 状态 行数 字节 读取次数 合约",
    )
    desk.rows(found, columns)


@command(app)
def status(desk: Desk, item: Id) -> None:
    """Show one sealed delivery, and the proof of its destruction where there is one."""
    with desk.space() as space:
        found = space.vault_item(_whole(desk, space, item))
    _shown(desk, found)


@command(app)
def read(
    desk: Desk,
    item: Id,
    out: Annotated[Path, typer.Option(help="Write to an .arrow or .parquet file.")],
    purpose: Purpose = "",
    application_token: Token = "",
) -> None:
    """Open a sealed delivery once more: a use as any, billed as any."""
    _check_target(out)
    with desk.space() as space:
        table = space.vault_read(_whole(desk, space, item), purpose, application_token)
    _write(table, out)
    facts = {"rows": table.num_rows, "columns": table.schema.names, "file": str(out)}
    desk.show(facts, f"{out}  {desk.count(table.num_rows, 'row', '行')}")


@command(app)
def sql(
    desk: Desk,
    item: Id,
    query: Annotated[str, typer.Argument(help="SQL; its table is the product's, or `delivery`.")],
    out: Annotated[Path, typer.Option(help="Write to an .arrow or .parquet file.")],
    purpose: Purpose = "",
    application_token: Token = "",
) -> None:
    """Run SQL over a sealed delivery in a worker's memory; one use."""
    _check_target(out)
    with desk.space() as space:
        table = space.vault_sql(_whole(desk, space, item), query, purpose, application_token)
    _write(table, out)
    facts = {"rows": table.num_rows, "columns": table.schema.names, "file": str(out)}
    desk.show(facts, f"{out}  {desk.count(table.num_rows, 'row', '行')}")


@command(app)
def proofs(
    desk: Desk,
    contract: Contract,
) -> None:
    """List the proofs that keys were destroyed: what is owed, has come, and verifies."""
    with desk.space() as space:
        found = space.vault_proofs(desk.whole(contract, space.contracts))
    columns = desk.columns(
        "state verified due_at proved_at use_id",
        "STATE VERIFIED DUE PROVED USE",
        "状态 已验证 期限 证明时间 使用",
    )
    desk.rows(found, columns)


@command(app)
def destroy(
    desk: Desk,
    item: Id,
    reason: Annotated[str, typer.Option(help="Told to the other side and recorded.")],
) -> None:
    """Destroy the key of a delivery for good; the signed proof goes to the provider."""
    with desk.space() as space:
        found = space.vault_destroy(_whole(desk, space, item), reason)
    _shown(desk, found)


@command(app)
def notes(desk: Desk, contract: Contract) -> None:
    """List the reads and destructions under a contract, as the receiver signed them."""
    with desk.space() as space:
        found = space.vault_notes(desk.whole(contract, space.contracts))
    columns = desk.columns("kind at use_id id", "KIND AT USE ID", "类型 时间 使用 编号")
    desk.rows(found, columns)


def _whole(desk: Desk, space: Any, given: str) -> str:
    return desk.whole(given, lambda: [each["id"] for each in space.vault_items()])


def _shown(desk: Desk, found: dict[str, Any]) -> None:
    desk.show(found, f"{found['id']}  {words.shown(desk.lang, 'state', found['state'])}")


def _check_target(out: Path) -> None:
    require_arrow()
    if out.suffix not in _ENDINGS:
        raise BadArgument(
            what=str(out), why="its ending is none of .arrow, .parquet", why_zh="扩展名不符"
        )


def _write(table: Any, out: Path) -> None:
    try:
        if out.suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, out)
            return
        import pyarrow as pa

        with pa.ipc.new_file(str(out), table.schema) as writer:
            writer.write_table(table)
    except OSError as error:
        raise unusable(out, error) from error
