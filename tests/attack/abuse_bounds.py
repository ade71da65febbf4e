"""Abuses of a contract's volume, hours and place, and of the receipts that settle it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from attack.faces import PlaneFace
from attack.world import ROWS, Target
from flow.world import until
from yunhe.kernel.canonical import dumps
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import verify_jws_detached

SQL: Final = "SELECT age FROM patients LIMIT 3"


def _in_all(aim: Target) -> str:
    """A contract of seven rows in all, asked for three at a time."""
    contract, face = aim.agree(replace(ROWS, rows_total=7)), PlaneFace(aim)
    codes = [face.ask(contract, SQL).code for _ in range(3)]
    if codes != ["RUNS", "RUNS", "ROWS_OVER_LIMIT"]:
        return str(codes)
    last = face.ask(contract, "SELECT age FROM patients LIMIT 1").code
    return face.ask(contract, "SELECT age FROM patients LIMIT 1").code if last == "RUNS" else last


def _in_all_at_once(aim: Target) -> str:
    """Eight callers at once, three rows each, of ten in all."""
    contract, face = aim.agree(replace(ROWS, rows_total=10, rows_max=3)), PlaneFace(aim)
    threads = [threading.Thread(target=lambda: face.ask(contract, SQL)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    given = sum(use.rows or 0 for use in aim.world["a"].node.control.uses(contract.id))
    return "NO MORE" if 0 < given <= 10 else f"{given} of 10"


def _too_much(aim: Target) -> str:
    contract = aim.agree(replace(ROWS, bytes_max=1_000))
    return PlaneFace(aim).ask(contract, "SELECT id FROM labs").code


def _another_day(aim: Target) -> str:
    """Only on the day after tomorrow, whatever its zone."""
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")
    contract = aim.agree(replace(ROWS, hours=f"{day} 00:00-24:00 UTC"))
    return PlaneFace(aim).ask(contract, SQL).code


def _from(*regions: str) -> Callable[[Target], str]:
    return lambda aim: PlaneFace(aim).ask(aim.agree(replace(ROWS, regions=regions)), SQL).code


def _left(aim: Target) -> str:
    """What is left, as the provider counts it and as the consumer is told."""
    contract = aim.agree(replace(ROWS, rows_total=7, uses_max=5))
    aim.world.ask(contract, SQL)
    ends = [aim.world[key].space.budget(contract.id) for key in ("a", "r")]
    if ends[0].next_at is None or ends[1].next_at is None:
        return "NO TIME"
    told = [replace(each, next_at=None) for each in ends]
    return f"{told[1].uses_left} uses {told[1].rows_left} rows" if told[0] == told[1] else str(told)


def _left_of_another(aim: Target) -> str:
    """A data token of one contract tells of that one only; none, of none."""
    provider = aim.world["a"]
    connection = http.client.HTTPConnection("127.0.0.1", provider.config.listen_port, timeout=30)
    token = aim.world["r"].node.contracts.access(aim.contracts["rows"].id).token
    codes = []
    try:
        for bearer, peer in ((token, "fn"), ("", "r")):
            headers = {
                "Authorization": f"Bearer {bearer}",
                "X-Yunhe-Peer": f"Bearer {aim.world[peer].node.identity.mint(provider.did)}",
            }
            connection.request("POST", "/data/v1/left", b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            codes.append(str(answer.status))
    finally:
        connection.close()
    return " ".join(codes)


def _signed(aim: Target) -> str:
    """Whether the provider holds the consumer's word over what was delivered, to be shown."""
    contract = aim.agree(ROWS)
    aim.world.ask(contract, SQL)
    (use,) = aim.world["a"].node.control.uses(contract.id)
    books = aim.world["a"].node.exchange
    try:
        until("the receipt", lambda: books.receipt(use.use_id) is not None, 8)
    except AssertionError:
        return "NO RECEIPT"
    found = books.receipt(use.use_id)
    consumer = aim.world["r"].node.identity.key.public_jwk()
    try:
        verify_jws_detached(dict(consumer), found.jws, dumps(found.body))
    except YunheError as unsigned:
        return unsigned.code
    return f"SIGNED {found.body['rows']} rows"


def _forged(aim: Target) -> str:
    """The receipt of a use, its figures changed, under the old signature."""
    contract = aim.agree(ROWS)
    aim.world.ask(contract, SQL)
    mine = aim.world["r"].node.exchange.receipts(contract.id)[0]
    body = {**mine.body, "rows": 0, "use_id": f"{mine.body['use_id']}x"}
    try:
        aim.world["a"].node.exchange.receive_receipt(aim.world["r"].did, body, mine.jws)
    except YunheError as refused:
        return refused.code
    return "TAKEN"


BOUNDS: Final = {
    ("more rows in all than agreed", "TOTAL_ROWS_SPENT"): _in_all,
    ("eight callers, ten rows in all", "NO MORE"): _in_all_at_once,
    ("more bytes than agreed", "BYTES_OVER_LIMIT"): _too_much,
    ("on another day", "OUTSIDE_AGREED_HOURS"): _another_day,
    ("from the agreed region", "RUNS"): _from("33"),
    ("from another region", "REGION_NOT_AGREED"): _from("44", "11"),
    ("from a region finer than is known", "REGION_NOT_AGREED"): _from("330106"),
    ("what is left, at both ends", "4 uses 4 rows"): _left,
    ("what is left of somebody else's", "403 401"): _left_of_another,
    ("a receipt of what was delivered", "SIGNED 3 rows"): _signed,
    ("a receipt with other figures", "BAD_SIGNATURE|SIGNATURE_INVALID"): _forged,
}
