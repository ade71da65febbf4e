"""What the command line itself refuses, and the exit code that each kind of error gives."""

from __future__ import annotations

from enum import IntEnum

from yunhe.kernel.errors import Invalid, Unavailable, YunheError
from yunhe.sdk import NegotiationTimeout, YunheRefused


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md; they do not change."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_VERIFIED = 4
    INTERNAL = 5


class NoNodeGiven(Invalid):
    code = "NO_NODE_GIVEN"
    en = "It is not said which node to speak to."
    zh = "未指定要连接的节点。"
    mend_en = "Give --url and --token, or set YUNHE_URL and YUNHE_TOKEN."
    mend_zh = "请使用 --url 和 --token，或设置 YUNHE_URL 与 YUNHE_TOKEN。"


class BadArgument(Invalid):
    code = "BAD_ARGUMENT"
    en = "{what} is not usable: {why}."
    zh = "{what} 不可用：{why}。"
    mend_en = "Correct it; --help shows the form."
    mend_zh = "请更正；--help 给出格式说明。"


class ExtraMissing(Invalid):
    code = "EXTRA_MISSING"
    en = "This command needs the extra '{extra}', of which {module} is not installed."
    zh = "该命令需要安装扩展“{extra}”，当前缺少 {module}。"
    mend_en = "Install it: pip install 'yunhe[{extra}]'"
    mend_zh = "请安装：pip install 'yunhe[{extra}]'"


class NotVerified(YunheError):
    code, status = "NOT_VERIFIED", 422
    en = "The bundle is not proven: {field}: {why}."
    zh = "证据包未通过验证：{field}：{why}。"
    mend_en = "Ask for the bundle again at its source; do not rely on this copy."
    mend_zh = "请向出具方重新获取证据包；勿采信此副本。"


def exit_code(error: YunheError) -> Exit:
    """The exit code for an error; refusals by a node go by their status."""
    if isinstance(error, NotVerified):
        return Exit.NOT_VERIFIED
    if isinstance(error, Unavailable | NegotiationTimeout) or error.status == 503:
        return Exit.UNREACHABLE
    if error.status >= 500:
        return Exit.INTERNAL
    local = isinstance(error, Invalid) and not isinstance(error, YunheRefused)
    return Exit.USAGE if local else Exit.REFUSED
