"""`yunhe publish`: from a form file to a listed product, through both reviews.

In: a TOML or JSON form with `resource` and `product` tables. Out: the product with its code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yunhe.cli import parse
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.cli.waiting import until
from yunhe.kernel.errors import Conflict
from yunhe.sdk import OwnProduct, Resource, Space

app = typer.Typer()

_PENDING = ("submitted", "reviewing")


class NotApproved(Conflict):
    code = "NOT_APPROVED"
    en = "The {what} {id} is {state}: {reasons}."
    zh = "{what} {id} 状态为 {state}：{reasons}。"
    mend_en = "Follow the reasons, edit it and submit it again."
    mend_zh = "请按审核意见修改后重新提交。"


@command(app)
def publish(
    desk: Desk,
    form: Annotated[Path, typer.Argument(help="The form: .toml or .json; see docs/cli.md.")],
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for each review.")] = 300,
) -> None:
    """Register a resource and a product from a form, and list the product."""
    data = parse.form(form)
    if set(data) != {"resource", "product"}:
        raise BadArgument(what=str(form), why="it has the tables 'resource' and 'product' only")
    with desk.space() as space:
        resource = _register_resource(desk, space, data["resource"], wait)
        product = _list_product(
            desk, space, {**data["product"], "resource_ids": [resource.id]}, wait
        )
    desk.show(product, f"{product.code}  {product.state}")


def _register_resource(desk: Desk, space: Space, form: dict[str, Any], wait_s: float) -> Resource:
    resource = space.submit_resource(space.add_resource(form))
    resource = until(
        desk,
        lambda: space.resource(resource.id),
        done=lambda now: now.state not in _PENDING,
        wait_s=wait_s,
    )
    _approved(resource, "resource", resource.state == "registered")
    return resource


def _list_product(desk: Desk, space: Space, form: dict[str, Any], wait_s: float) -> OwnProduct:
    product = space.submit_product(space.add_product(form))
    product = until(
        desk,
        lambda: space.own_product(product.id),
        done=lambda now: now.state not in _PENDING,
        wait_s=wait_s,
    )
    _approved(product, "product", product.state == "registered")
    product = space.list_product(product)
    product = until(
        desk,
        lambda: space.own_product(product.id),
        done=lambda now: now.state not in (*_PENDING, "registered"),
        wait_s=wait_s,
    )
    _approved(product, "listing", product.state == "listed")
    return product


def _approved(thing: Resource | OwnProduct, what: str, yes: bool) -> None:
    if not yes:
        reasons = "; ".join(thing.reasons) or "–"
        raise NotApproved(what=what, id=thing.id, state=thing.state, reasons=reasons)
