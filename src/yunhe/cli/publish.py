"""`yunhe publish`: from a form file to a listed product, through both reviews.

In: a TOML or JSON form with `resource` and `product` tables. Out: the product with its code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from yunhe.cli import parse, words
from yunhe.cli.desk import Desk, command, plain
from yunhe.cli.errors import BadArgument
from yunhe.cli.waiting import until
from yunhe.kernel.errors import Conflict
from yunhe.sdk import OwnProduct, Resource, Space, Terms, YunheRefused

app = typer.Typer()

_Thing = TypeVar("_Thing", Resource, OwnProduct)
_PENDING = ("submitted", "reviewing")
_NO_MEMBER = ("none", "submitted", "returned", "rejected")
_OPEN = ("draft", "returned")
_OVER = ("rejected", "withdrawn")
_TEXTS = ("title_zh", "title_en", "description_zh", "description_en", "keywords")


class NotApproved(Conflict):
    code = "NOT_APPROVED"
    en = "The {what} {id} is {state}: {reasons}."
    zh = "{what} {id} 状态为 {state}：{reasons}。"
    mend_en = "Follow the reasons, edit it and submit it again."
    mend_zh = "请按审核意见修改后重新提交。"


class NotAMember(Conflict):
    code = "NOT_A_MEMBER_YET"
    en = "This node is not a member at {parent} yet; its registration: {state}."
    zh = "本节点尚未成为 {parent} 的成员；登记状态：{state}。"
    mend_en = "Register it first: yunhe register --wait 600"
    mend_zh = "请先登记：yunhe register --wait 600"


@dataclass(frozen=True)
class _Queue:
    """Where it waits for review: at whom, for how many seconds, and how to come back to it."""

    desk: Desk
    parent: str
    wait_s: float
    again: str

    def told(self, en: str, zh: str, key: str, warnings: Sequence[Any] = ()) -> None:
        """Say what was submitted, and what of it the reviewer is pointed at."""
        self.desk.note(
            f"{en} {key} submitted, waiting for review at {self.parent}",
            f"{zh} {key} 已提交，等待 {self.parent} 审核",
        )
        for each in warnings:
            why = self.desk.reason(each)
            self.desk.note(f"  a person has to look at: {why}", f"  需人工审核：{why}")

    def until(self, ask: Callable[[], _Thing], pending: Collection[str]) -> _Thing:
        """The thing once it has left the `pending` states; raises WaitedTooLong."""
        return until(
            self.desk,
            ask,
            done=lambda now: now.state not in pending,
            wait_s=self.wait_s,
            again=self.again,
        )


@command(app)
def publish(
    desk: Desk,
    form: Annotated[Path, typer.Argument(help="The form: .toml or .json; see docs/cli.md.")],
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for each review.")] = 300,
    resource: Annotated[
        str, typer.Option(metavar="ID", help="Use this resource, which says the same as the form.")
    ] = "",
) -> None:
    """Register a resource and a product from a form, and list the product."""
    data = parse.form(form)
    if set(data) != {"resource", "product"}:
        en = "it has the tables 'resource' and 'product', both and no other"
        zh = "应有且仅有 resource 与 product 两个表"
        raise BadArgument(what=str(form), why=en, why_zh=zh)
    with desk.space() as space:
        parent = _parent(space)
        if resource:
            old: Resource | None = _known(desk, space, resource, data["resource"])
        else:
            old = _begun(space, data["resource"])
        base = old or space.add_resource(data["resource"])
        # Both are drafts so far: the node checks the whole form before anything is submitted.
        product = _draft(space, base, {**data["product"], "resource_ids": [base.id]}, old is None)
        again = f"yunhe publish {shlex.quote(str(form))} --resource {base.id}"
        queue = _Queue(desk, parent, wait, again)
        _register_resource(queue, space, base)
        product = _list_product(queue, space, product)
    desk.show(product, f"{product.code}  {desk.state(product.state)}")


def _begun(space: Space, form: dict[str, Any]) -> Resource | None:
    """The resource of a try that was stopped or returned, now as the form has it; or None."""
    for each in space.resources():
        same = all(form.get(name) == getattr(each, name) for name in ("title_zh", "title_en"))
        if same and each.state in _OPEN:
            return space.edit_resource(each, form)
    return None


def _known(desk: Desk, space: Space, given: str, form: dict[str, Any]) -> Resource:
    """The resource `given` by id, when it says what the form says; raises BadArgument."""
    found = space.resource(desk.whole(given, space.resources))
    shown = plain(found)
    other = [name for name in _TEXTS if name in form and form[name] != shown[name]]
    tables = {each.get("name"): each.get("entity_key") or "" for each in form.get("tables", ())}
    if tables and tables != {each["name"]: each.get("entity_key") or "" for each in found.tables}:
        other.append("tables")
    if other:
        named = ", ".join(other)
        en, zh = f"the form says otherwise in {named}", f"表单中的 {named} 与之不一致"
        raise BadArgument(what=found.id, why=en, why_zh=zh)
    return found


def _draft(space: Space, base: Resource, form: dict[str, Any], new: bool) -> OwnProduct:
    """The product of the form: the one that an earlier try left or sent, or else a draft.

    Where the node refuses it, a resource that is `new` goes with it.
    """
    try:
        for each in () if new else space.products():
            if each.resource_ids != (base.id,) or each.title_zh != form.get("title_zh"):
                continue
            if each.state in _OPEN and not each.code:
                return space.edit_product(each, form)
            if each.state not in _OVER and _says(each, form):
                return each  # it waits for its review, or has had it
        return space.add_product(form)
    except YunheRefused:
        if new:
            with suppress(YunheRefused):
                space.withdraw_resource(base)
        raise


def _says(product: OwnProduct, form: dict[str, Any]) -> bool:
    """Whether a product is on the terms of the form; what is no terms is for the node to refuse."""
    try:
        terms = [Terms.from_json(form["terms"])]
        terms += [Terms.from_json(form["negotiable"])] if form.get("negotiable") else []
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    own = [each for each in (product.terms, product.negotiable) if each is not None]
    return [_unordered(each) for each in own] == [_unordered(each) for each in terms]


def _unordered(terms: Terms) -> dict[str, Any]:
    told = terms.to_json()
    return {k: sorted(v, key=repr) if isinstance(v, list) else v for k, v in told.items()}


def _parent(space: Space) -> str:
    """Who reviews; raises NotAMember, as who is none gets everything returned."""
    try:
        found = space.registration()
    except YunheRefused:  # a role that may not ask
        return "–"
    if found.parent_did and found.state in _NO_MEMBER:
        said = words.shown("zh", "state", found.state)
        raise NotAMember(parent=found.parent_did, state=found.state, state_zh=said)
    return found.parent_did or "–"


def _register_resource(queue: _Queue, space: Space, base: Resource) -> None:
    if base.state == "registered":
        return
    if base.state not in _PENDING:
        base = space.submit_resource(base)
    queue.told("resource", "资源", base.id, base.reasons)
    found = queue.until(lambda: space.resource(base.id), _PENDING)
    _approved(queue.desk, found, ("resource", "资源"), found.state == "registered")
    queue.desk.note(
        f"resource {found.id} registered: {found.code}", f"资源 {found.id} 已登记：{found.code}"
    )


def _list_product(queue: _Queue, space: Space, product: OwnProduct) -> OwnProduct:
    desk = queue.desk
    if not product.code or product.state == "reviewing":
        if product.state not in _PENDING:
            product = space.submit_product(product)
        queue.told("product", "产品", product.id, product.reasons)
        product = queue.until(lambda: space.own_product(product.id), _PENDING)
        _approved(desk, product, ("product", "产品"), product.state == "registered")
        code = product.code
        desk.note(f"product {product.id} registered: {code}", f"产品 {product.id} 已登记：{code}")
    if product.state == "listed":
        return product
    if product.state not in _PENDING:
        product = space.list_product(product)
    queue.told("listing of product", "上架申请", product.id)
    product = queue.until(lambda: space.own_product(product.id), (*_PENDING, "registered"))
    _approved(desk, product, ("listing", "上架申请"), product.state == "listed")
    return product


def _approved(desk: Desk, thing: Resource | OwnProduct, what: tuple[str, str], yes: bool) -> None:
    if not yes:
        reasons = "; ".join(desk.reason(each).rstrip(".。") for each in thing.reasons) or "–"
        en, zh = what
        said = words.shown("zh", "state", thing.state)
        raise NotApproved(
            what=en, what_zh=zh, id=thing.id, state=thing.state, state_zh=said, reasons=reasons
        )
