"""`yunhe contracts profile`: credentials for stock Delta Sharing clients."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from yunhe.cli.arguments import Contract, Purpose
from yunhe.cli.desk import Desk, command

_DAY_S = 86_400


def add(app: typer.Typer) -> None:
    """Put the commands of profiles beside the others of `yunhe contracts`."""
    command(app)(profile)
    command(app)(profiles)
    command(app, "revoke-profile")(revoke_profile)


def profile(
    desk: Desk,
    contract: Contract,
    purpose: Purpose = "",
    days: Annotated[int, typer.Option(min=1, max=366, help="Days it is valid.")] = 30,
) -> None:
    """Write a profile file for Delta Sharing clients; its token is written once, here."""
    with desk.space() as space:
        key = desk.whole(contract, space.contracts)
        found = space.make_profile(key, purpose, days * _DAY_S)
    file = found["file"]
    # The file is JSON anyway: `--json` gives the same, so that it can be written straight away.
    desk.show(file, json.dumps(file, indent=2))
    desk.note(
        f"profile {found['id']}; revoke it with: yunhe contracts revoke-profile {found['id']}",
        f"配置 {found['id']}；撤销：yunhe contracts revoke-profile {found['id']}",
    )


def profiles(desk: Desk, contract: Contract) -> None:
    """List the sharing profiles of a contract, without their tokens."""
    with desk.space() as space:
        found = space.profiles(desk.whole(contract, space.contracts))
    columns = desk.columns(
        "id principal purpose expires_at revoked",
        "ID PRINCIPAL PURPOSE EXPIRES REVOKED",
        "编号 申请人 用途 到期 已撤销",
    )
    desk.rows(found, columns)


def revoke_profile(
    desk: Desk, profile_id: Annotated[str, typer.Argument(metavar="ID", help="Its id.")]
) -> None:
    """End a sharing profile and every address it was given, at once."""
    with desk.space() as space:
        space.revoke_profile(profile_id)
    desk.show({"revoked": profile_id}, desk.say(f"{profile_id}  revoked", f"{profile_id}  已撤销"))
