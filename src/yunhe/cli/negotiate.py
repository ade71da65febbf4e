"""`yunhe negotiate`: from a product code to a signed contract; decisions on held negotiations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from yunhe.cli import parse, terms, words
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.sdk import Contract, Negotiation, NegotiationHeld, Progress, Space, Terms

app = typer.Typer()
held = typer.Typer(help="Negotiations at this node, on either side.", no_args_is_help=True)

ASK_HELP = (
    "A term as we want it, repeatable: purposes, columns, expires_at, uses_max, rows_max, "
    "row_filters, masks, minimum_group, price, frequency, pause, inherit, bytes_max, rows_total, "
    "bytes_total, hours, regions, applications, release, privacy, watermark, aggregates, keys_to. "
    "The value is JSON or a plain word: uses_max=20, frequency=10/P1D, "
    "'price={\"per_use_fen\": 100}'."
)
ACCEPT_HELP = "The furthest we go without being asked, written as --ask; beyond it, you decide."

Ask = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=ASK_HELP)]
Accept = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=ACCEPT_HELP)]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or how only that id begins.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the contract; 0: none.")]


@command(app)
def negotiate(
    desk: Desk,
    product: Annotated[str, typer.Argument(metavar="CODE", help="Code of the product.")],
    ask: Ask = None,
    accept: Accept = None,
    show: Annotated[bool, typer.Option("--show", help="Only show the provider's terms.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the contract.")] = 120,
) -> None:
    """Negotiate a contract; --ask changes the offered terms, --accept says how far we go."""
    wanted, limits = parse.members(ask or []), parse.members(accept or [])
    with desk.space() as space:
        offer = space.offer(product)
        if show:
            desk.show(offer, lambda: terms.show(desk, offer.terms))
            return
        terms.but(terms.but(offer.terms, wanted, "--ask"), limits, "--accept")
        with _telling(desk, space):
            contract = space.negotiate(
                offer,
                ask=wanted,
                accept=limits if accept else None,
                on_progress=lambda step: _told(desk, step),
                timeout_s=timeout,
            )
    desk.show(contract, lambda: _signed(desk, contract))


@contextmanager
def _telling(desk: Desk, space: Space) -> Iterator[None]:
    """Shows that it goes on; where it is held, the offer beside the ask before the refusal."""
    try:
        shown = desk.err.status(desk.say("negotiating", "协商中"))
        with desk.goes_on("yunhe negotiations list"), shown:
            yield
    except NegotiationHeld as error:
        if not desk.json:
            _compared(desk, space.negotiation(str(error.facts["negotiation_id"])))
        raise


def _told(desk: Desk, step: Progress) -> None:
    if desk.json:
        return
    last = step.negotiation.offers[-1:]
    by = words.of(desk, words.ROLES, last[0].by) if last else ""
    line = f"{step.seconds:7.2f} s  {desk.state(step.negotiation.state):<10} {by}"
    desk.err.print(line.rstrip(), markup=False)


def _signed(desk: Desk, contract: Contract) -> None:
    level = words.of(desk, words.SIGNATURES, contract.signature_level)
    state = words.of(desk, words.CONTRACT, contract.state)
    desk.out.print(f"{contract.id}  {state}  {level}", markup=False)
    terms.show(desk, contract.terms)


def _side(found: Negotiation, by: str) -> Terms | None:
    return next((move.terms for move in reversed(found.offers) if move.by == by), None)


def _compared(desk: Desk, found: Negotiation) -> None:
    terms.compare(desk, _side(found, "consumer"), _side(found, "provider"))


def _ids(space: Space) -> list[str]:
    return [each.id for each in space.negotiations()]


@command(held, "list")
def list_(desk: Desk) -> None:
    """List negotiations and whom each waits for."""
    with desk.space() as space:
        found = space.negotiations()
    columns = desk.columns(
        "id role state waiting_for product_code contract_id",
        "ID ROLE STATE WAITS-FOR PRODUCT CONTRACT",
        "编号 角色 状态 等待 产品 合约",
    )
    desk.rows(found, columns)


@command(held)
def show(desk: Desk, negotiation: Id) -> None:
    """Show one negotiation: ask and offer side by side, who is next, how it ended."""
    with desk.space() as space:
        tell(desk, space.negotiation(desk.whole(negotiation, lambda: _ids(space))))


def tell(desk: Desk, found: Negotiation) -> None:
    """Who said what, who is next, how it ended, and what waits."""

    def human() -> None:
        role = words.of(desk, words.ROLES, found.role)
        desk.out.print(f"{found.id}  {desk.state(found.state)}  {role}", markup=False)
        desk.out.print(f"{found.product_code}  {found.peer_did}", markup=False)
        for move in found.offers:
            by = words.of(desk, words.ROLES, move.by)
            desk.out.print(f"{desk.instant(move.at)}  {by}  {move.offer_id}", markup=False)
        _compared(desk, found)
        desk.out.print(_next(desk, found), markup=False)
        if found.error:
            detail = found.error.get("detail", "")
            zh = (found.error.get("zh") or {}).get("detail", detail)
            code = found.error.get("code", "–")
            desk.out.print(desk.labelled(code, desk.say(detail, zh)), markup=False)
        desk.stuck(found.stuck_because, found.next_retry_at)

    desk.show(found, human)


def _next(desk: Desk, found: Negotiation) -> str:
    """Whose word is next, and the commands for it."""
    if found.contract_id:
        return desk.say(f"contract {found.contract_id}", f"合约 {found.contract_id}")
    if found.waiting_for == "you":
        verbs = " | ".join(
            f"yunhe negotiations {verb} {found.id}{more}"
            for verb, more in (("accept", ""), ("counter", " --ask …"), ("end", " --reason …"))
        )
        return desk.say(f"next: you — {verbs}", f"下一步：由您决定 — {verbs}")
    if found.waiting_for == "peer":
        return desk.say(f"next: {found.peer_did}", f"下一步：等待对方 {found.peer_did}")
    return desk.say("nothing more to say", "协商已结束")


@command(held)
def accept(desk: Desk, negotiation: Id, timeout: Wait = 120) -> None:
    """Accept the other side's last offer, and wait for the contract."""
    with desk.space() as space:
        found = space.accept_offer(desk.whole(negotiation, lambda: _ids(space)))
        _await(desk, space, found, timeout)


@command(held)
def counter(
    desk: Desk,
    negotiation: Id,
    ask: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help=ASK_HELP)],
    timeout: Wait = 120,
) -> None:
    """Answer the other side's last offer with some terms changed, and wait for the contract."""
    with desk.space() as space:
        now = space.negotiation(desk.whole(negotiation, lambda: _ids(space)))
        if not now.offers:
            en, zh = "there is no offer to answer yet", "对方尚未给出要约"
            raise BadArgument(what=negotiation, why=en, why_zh=zh)
        wanted = terms.but(now.offers[-1].terms, parse.members(ask), "--ask")
        _await(desk, space, space.counter_offer(now, wanted), timeout)


def _await(desk: Desk, space: Space, found: Negotiation, timeout_s: float) -> None:
    """Wait for the contract of a negotiation and show it; without time, show how far it is."""
    if not timeout_s:
        desk.show(found, f"{found.id}  {desk.state(found.state)}")
        return
    with _telling(desk, space):
        contract = space.wait_for_contract(found, lambda step: _told(desk, step), timeout_s)
    desk.show(contract, lambda: _signed(desk, contract))


def end(
    desk: Desk,
    negotiation: Id,
    reason: Annotated[str, typer.Option(help="Told to the other side.")],
) -> None:
    """Leave a negotiation without a contract."""
    with desk.space() as space:
        found = space.end_negotiation(desk.whole(negotiation, lambda: _ids(space)), reason)
    desk.show(found, f"{found.id}  {desk.state(found.state)}")


for _name in ("end", "terminate"):  # the second as the API and `contracts` call it
    command(held, _name)(end)
