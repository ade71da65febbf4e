"""`yunhe negotiate`: from a product code to a signed contract; decisions on held negotiations."""

from __future__ import annotations

from typing import Annotated

import typer

from yunhe.cli import parse
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.kernel.money import yuan
from yunhe.sdk import Contract, Progress, Terms

app = typer.Typer()
held = typer.Typer(help="Negotiations at this node, on either side.", no_args_is_help=True)

Pairs = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE")]


@command(app)
def negotiate(
    desk: Desk,
    product: Annotated[str, typer.Argument(metavar="CODE", help="Code of the product.")],
    ask: Pairs = None,
    accept: Pairs = None,
    show: Annotated[bool, typer.Option("--show", help="Only show the provider's terms.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait.")] = 120,
) -> None:
    """Negotiate a contract; --ask changes the offered terms, --accept says how far we go."""
    wanted, limits = parse.members(ask or []), parse.members(accept or [])
    with desk.space() as space:
        offer = space.offer(product)
        if show:
            desk.show(offer, lambda: _terms(desk, offer.terms))
            return
        try:
            offer.terms.but(wanted).but(limits)
        except (ValueError, KeyError, TypeError) as error:
            raise BadArgument(what="--ask or --accept", why=str(error)) from error
        with desk.err.status(desk.say("negotiating", "协商中")):
            contract = space.negotiate(
                offer,
                ask=wanted,
                accept=limits if accept else None,
                on_progress=lambda step: _told(desk, step),
                timeout_s=timeout,
            )
    desk.show(contract, lambda: _contract(desk, contract))


def _told(desk: Desk, step: Progress) -> None:
    if desk.json:
        return
    by = step.negotiation.offers[-1].by if step.negotiation.offers else ""
    line = f"{step.seconds:7.2f} s  {step.negotiation.state:<10} {by}"
    desk.err.print(line.rstrip(), markup=False)


def _contract(desk: Desk, contract: Contract) -> None:
    desk.out.print(f"{contract.id}  {contract.state}  {contract.signature_level}", markup=False)
    _terms(desk, contract.terms)


def _terms(desk: Desk, terms: Terms) -> None:
    free = desk.say("any", "不限")
    lines = [
        (desk.say("purposes", "用途"), ", ".join(terms.purposes)),
        (desk.say("columns", "可见列"), ", ".join(terms.columns)),
        (desk.say("until", "到期"), str(terms.expires_at or free)),
        (desk.say("uses", "次数"), str(free if terms.uses_max is None else terms.uses_max)),
        (
            desk.say("rows a use", "单次行数"),
            str(free if terms.rows_max is None else terms.rows_max),
        ),
        (desk.say("rows where", "行过滤"), "; ".join(f"{t}: {p}" for t, p in terms.row_filters)),
        (desk.say("masks", "脱敏"), ", ".join(f"{c} {m}" for c, m in terms.masks)),
        (desk.say("minimum group", "最小分组"), str(terms.minimum_group)),
        (desk.say("price", "价格"), _price(desk, terms)),
    ]
    desk.table(({"a": a, "b": b or "–"} for a, b in lines), {"a": "", "b": ""})


def _price(desk: Desk, terms: Terms) -> str:
    use, row = yuan(terms.per_use_fen), yuan(terms.per_row_fen)
    return desk.say(f"CNY {use} a use, {row} a row", f"每次 {use} 元，每行 {row} 元")


@command(held, "list")
def list_(desk: Desk) -> None:
    """List negotiations and whom each waits for."""
    with desk.space() as space:
        found = space.negotiations()
    names = ("id", "role", "state", "waiting_for", "product_code", "contract_id")
    heads = desk.say(
        "ID ROLE STATE WAITS-FOR PRODUCT CONTRACT", "编号 角色 状态 等待 产品 合约"
    ).split()
    desk.rows(found, dict(zip(names, heads, strict=True)))


@command(held)
def show(desk: Desk, negotiation: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one negotiation: its offers, how it ended, or what it waits for."""
    with desk.space() as space:
        found = space.negotiation(negotiation)

    def human() -> None:
        desk.out.print(f"{found.id}  {found.state}  {found.role}", markup=False)
        for move in found.offers:
            desk.out.print(f"{move.at}  {move.by}  {move.offer_id}", markup=False)
        if found.error:
            desk.out.print(f"{found.error['code']}: {found.error['detail']}", markup=False)
        desk.stuck(found.stuck_because, found.next_retry_at)

    desk.show(found, human)


@command(held)
def accept(desk: Desk, negotiation: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Accept the other side's last offer."""
    with desk.space() as space:
        found = space.accept_offer(negotiation)
    desk.show(found, f"{found.id}  {found.state}")


@command(held)
def counter(
    desk: Desk,
    negotiation: Annotated[str, typer.Argument(metavar="ID")],
    ask: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="May be repeated.")],
) -> None:
    """Answer the other side's last offer with some terms changed."""
    with desk.space() as space:
        now = space.negotiation(negotiation)
        if not now.offers:
            raise BadArgument(what=negotiation, why="there is no offer to answer yet")
        try:
            terms = now.offers[-1].terms.but(parse.members(ask))
        except (ValueError, KeyError, TypeError) as error:
            raise BadArgument(what="--ask", why=str(error)) from error
        found = space.counter_offer(now, terms)
    desk.show(found, f"{found.id}  {found.state}")


@command(held)
def end(
    desk: Desk,
    negotiation: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option(help="Told to the other side.")],
) -> None:
    """Leave a negotiation without a contract."""
    with desk.space() as space:
        found = space.end_negotiation(negotiation, reason)
    desk.show(found, f"{found.id}  {found.state}")
