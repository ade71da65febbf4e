"""`yunhe tokens`: API tokens of a node; the secret is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.arguments import Id
from yunhe.cli.desk import Desk, command

app = typer.Typer(help="API tokens of this node (admin).", no_args_is_help=True)


@command(app)
def create(
    desk: Desk,
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    role: Annotated[
        list[str],
        typer.Option(
            help="admin, reviewer, provider, user, auditor, operator, application; repeatable."
        ),
    ],
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds until it expires.")] = None,
) -> None:
    """Make a token; its secret is written once, here."""
    with desk.space() as space:
        found = space.create_token(name, role, ttl)
    desk.show(found, found.token)


@command(app, "list")
def list_(desk: Desk) -> None:
    """List tokens, without their secrets."""
    with desk.space() as space:
        found = space.tokens()
    columns = desk.columns(
        "token_id name roles expires_at revoked",
        "ID NAME ROLES EXPIRES REVOKED",
        "编号 名称 角色 到期 已撤销",
    )
    desk.rows(found, columns)


@command(app)
def revoke(
    desk: Desk,
    token_id: Id,
) -> None:
    """End a token at once."""
    with desk.space() as space:
        key = desk.whole(
            token_id, lambda: [e["token_id"] for e in space.tokens() if not e.get("revoked")]
        )
        space.revoke_token(key)
    desk.show({"revoked": key}, desk.say(f"{key}  revoked", f"{key}  已撤销"))
