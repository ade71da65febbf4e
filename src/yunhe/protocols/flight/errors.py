"""Every refusal that only the Flight face gives, and how a refusal travels over gRPC.

A caller sees code, sentence in both languages and remedy, never a traceback: pyarrow would put
one into any exception that is not a FlightError (measured), so nothing else leaves.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from pyarrow import flight

from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Internal,
    Invalid,
    TooLarge,
    Unavailable,
    YunheError,
)

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


class MessageMalformed(Invalid):
    code = "FLIGHT_MESSAGE_MALFORMED"
    en = "The Flight SQL message cannot be read: {why}."
    zh = "无法读取 Flight SQL 消息：{why}。"
    mend_en = "Use a Flight SQL client such as adbc-driver-flightsql."
    mend_zh = "请使用 adbc-driver-flightsql 等 Flight SQL 客户端。"


class CallUnknown(Invalid):
    code = "FLIGHT_CALL_UNKNOWN"
    en = "{what} is not part of what is served here."
    zh = "此处不提供 {what}。"
    mend_en = "Query with SELECT; docs/flight.md lists what is served."
    mend_zh = "请使用 SELECT 查询；docs/flight.md 列出所提供的功能。"


class AgreementNeeded(Invalid):
    code = "AGREEMENT_NEEDED"
    en = "The call does not say under which contract it asks."
    zh = "调用未说明依据哪份合约。"
    mend_en = "Send the header x-agreement-id, or write the contract as catalogue before the table."
    mend_zh = "请发送 x-agreement-id 头，或在表名前写明合约作为目录名。"


class AgreementsDiffer(Invalid):
    code = "AGREEMENTS_DIFFER"
    en = "The call names two contracts."
    zh = "一次调用指明了两份合约。"
    mend_en = "Name one: in x-agreement-id, in the token, or as catalogue."
    mend_zh = "请只指明一份：x-agreement-id、令牌或目录名。"


class PurposeNeeded(Invalid):
    code = "PURPOSE_NEEDED"
    en = "The contract allows several purposes, and the call says none: {purposes}."
    zh = "合约约定了多个用途，而调用未说明用途：{purposes}。"
    mend_en = "Send the header x-purpose."
    mend_zh = "请发送 x-purpose 头。"


class HandleElsewhere(Conflict):
    code = "HANDLE_ELSEWHERE"
    en = "Another process of this node gave this ticket or statement, or it was started anew since."
    zh = "该票据或语句由本节点的另一进程签发，或节点此后已重新启动。"
    mend_en = "Prepare and ask the query again; nothing was charged for a ticket that was not used."
    mend_zh = "请重新准备并提交查询；未使用的票据不计费。"


class TicketRefused(Denied):
    """One sentence for every cause, so that a guess tells nothing."""

    code = "TICKET_REFUSED"
    en = "The ticket was used, has expired, or was given to somebody else."
    zh = "票据已使用、已过期或属于其他调用方。"
    mend_en = "Ask for the query again; a ticket counts once and only for who asked."
    mend_zh = "请重新提交查询；票据仅限申请者使用一次。"


class StatementUnknown(Conflict):
    code = "PREPARED_STATEMENT_UNKNOWN"
    en = "There is no such prepared statement."
    zh = "没有该预备语句。"
    mend_en = "Prepare it again; statements end with their time or when they are closed."
    mend_zh = "请重新预备；预备语句到期或关闭后失效。"


class TooManyStatements(TooLarge):
    code = "TOO_MANY_STATEMENTS"
    mend_en = "Close prepared statements, or read the results that were asked for."
    mend_zh = "请关闭预备语句，或读取已请求的结果。"


class StreamsBusy(Unavailable):
    code = "STREAMS_BUSY"
    en = "Too many results are being read at once."
    zh = "同时读取的结果过多。"


class SchemaChanged(Conflict):
    code = "SCHEMA_CHANGED"
    en = "The result has another shape than was told when it was asked for."
    zh = "结果结构与请求时不一致。"
    mend_en = "Ask again."
    mend_zh = "请重新请求。"


class TlsNeeded(Invalid):
    code = "FLIGHT_TLS_NEEDED"
    en = "Tokens would go in clear: Flight SQL listens beyond this machine without TLS."
    zh = "令牌将以明文传输：Flight SQL 在本机之外监听而未启用 TLS。"
    mend_en = "Set flight_tls_cert and flight_tls_key, or listen on 127.0.0.1."
    mend_zh = "请设置 flight_tls_cert 与 flight_tls_key，或只在 127.0.0.1 监听。"


class FlightNotListening(Unavailable):
    code = "FLIGHT_NOT_LISTENING"
    en = "Flight SQL cannot listen at {address}."
    zh = "Flight SQL 无法在 {address} 监听。"
    mend_en = (
        "Choose a free address in flight_listen, and files that hold a certificate and its key."
    )
    mend_zh = "请为 flight_listen 选择空闲地址，并检查证书与密钥文件。"


def refusal(error: BaseException) -> flight.FlightError:
    """What the caller is told of any error."""
    if isinstance(error, flight.FlightError):
        return error
    if not isinstance(error, YunheError):
        log.error("a Flight call failed", exc_info=error)
        error = Internal()
    elif error.status >= 500:
        log.error("%s", error)
    problem = error.problem()
    zh = problem.get("zh") or {}
    parts = (
        f"{problem['code']}: {problem['detail']} {problem['remedy']}",
        f"{zh.get('detail', '')}{zh.get('remedy', '')}",
    )
    said = " | ".join(part for part in parts if part)
    return _kind(error.status)(said, json.dumps(problem, ensure_ascii=False).encode())


def _kind(status: int) -> Any:
    return {
        401: flight.FlightUnauthenticatedError,
        403: flight.FlightUnauthorizedError,
        429: flight.FlightUnavailableError,
        500: flight.FlightInternalError,
        503: flight.FlightUnavailableError,
    }.get(status, flight.FlightServerError)


def told(call: F) -> F:
    """A method whose every failure reaches the caller as a refusal."""

    @wraps(call)
    def safe(*args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:  # noqa: BLE001  all of them: see above
            raise refusal(error) from None

    return cast(F, safe)
