"""`yunhe keys`: the keys this node goes by (admin)."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer(help="Keys of this node (admin).", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keys of this node (admin)."""


@command(app, "next")
def next_(
    desk: Desk,
    purpose: Annotated[str, typer.Argument(metavar="did|dcp", help="Which key.")],
) -> None:
    """Show the key that the next rotation takes, for those who pin this node's."""
    with desk.space() as space:
        found = space.next_key(purpose)
    said = ", ".join(f'{name} = "{found["jwk"][name]}"' for name in sorted(found["jwk"]))
    table = f'[[trust_roots]]\ndid = "{found["did"]}"\njwk = {{ {said} }}'
    desk.show(found, table if purpose == "did" else f"jwk = {{ {said} }}")


@command(app)
def rotate(
    desk: Desk,
    purpose: Annotated[str, typer.Argument(metavar="did|dcp", help="Which key to replace.")],
) -> None:
    """Make a new key; it signs at once, the old one goes on verifying for 90 days."""
    with desk.space() as space:
        found = space.rotate_key(purpose)
        vouches = purpose == "did" and "functional-node" in space.health()["roles"]
    old, new = found["old"], found["new"]
    desk.show(found, desk.say(f"{purpose}: {old} -> {new}", f"{purpose}：{old} -> {new}"))
    if vouches:
        desk.note(
            "members that pin this node's key refuse its answers until their trust_roots name "
            "the new one, too: docs/operating.md",
            "固定了本节点密钥的成员，在其 trust_roots 中加入新密钥之前会拒绝本节点的应答，"
            "见 docs/operating.md",
        )
