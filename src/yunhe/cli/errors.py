"""What the command line itself refuses, and the exit code that each kind of error gives."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from yunhe.kernel.errors import Internal, Invalid, Unavailable, YunheError
from yunhe.sdk import NegotiationTimeout, YunheRefused


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md; they do not change."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_VERIFIED = 4
    INTERNAL = 5
    INTERRUPTED = 130  # as a shell counts a SIGINT


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


_FILE_FAULTS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        errno.ENOENT: ("there is no such file or folder", "文件或目录不存在"),
        errno.EACCES: ("it may not be read or written here", "没有读写权限"),
        errno.EPERM: ("it may not be read or written here", "没有读写权限"),
        errno.EISDIR: ("it is a folder", "它是一个目录"),
        errno.ENOTDIR: ("a part of the path is no folder", "路径中有一段不是目录"),
        errno.ENOSPC: ("the disk is full", "磁盘已满"),
        errno.EROFS: ("the disk is read-only", "磁盘为只读"),
        errno.ENAMETOOLONG: ("the name is too long", "名称过长"),
    }
)


def unusable(path: Path, error: OSError) -> BadArgument:
    """The refusal of a file that cannot be read or written, with the reason in both languages."""
    text = error.strerror or "it cannot be used"
    en, zh = _FILE_FAULTS.get(error.errno or 0, (text, text))
    return BadArgument(str(error), what=str(path), why=en, why_zh=zh)


class ExtraMissing(Invalid):
    code = "EXTRA_MISSING"
    en = "This command needs the extra '{extra}', of which {module} is not installed."
    zh = "该命令需要安装扩展“{extra}”，当前缺少 {module}。"
    mend_en = "Install it: pip install 'yunhe[{extra}]'"
    mend_zh = "请安装：pip install 'yunhe[{extra}]'"


class CommandFailed(Internal):
    code = "COMMAND_FAILED"
    en = "The command failed within itself: {why}."
    zh = "命令内部出错：{why}。"
    mend_en = "Run it again with YUNHE_DEBUG=1, which shows where, and report that."
    mend_zh = "请设置 YUNHE_DEBUG=1 后重新执行以显示出错位置，并反馈该信息。"


class NotVerified(YunheError):
    code, status = "NOT_VERIFIED", 422
    en = "The bundle is not proven: {field}: {why}."
    zh = "证据包未通过验证：{field}：{why}。"
    mend_en = "Ask for the bundle again at its source; do not rely on this copy."
    mend_zh = "请向出具方重新获取证据包；勿采信此副本。"


class NotVouched(NotVerified):
    code = "NOT_VOUCHED"
    en = "The trust file does not vouch for this bundle: {field}: {why}."
    zh = "信任文件不足以验证该证据包：{field}：{why}。"
    mend_en = (
        "See whether it is the right trust file: `yunhe trust --root ADDRESS --node ADDRESS` "
        "writes one, with the trust root and both parties' nodes, at addresses known from "
        "elsewhere. Where it is the right one, do not rely on this bundle."
    )
    mend_zh = (
        "请确认信任文件是否正确：`yunhe trust --root 地址 --node 地址` 可生成，"
        "须包含信任根与双方节点，地址应从其他渠道得知。若信任文件无误，勿采信此证据包。"
    )


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
