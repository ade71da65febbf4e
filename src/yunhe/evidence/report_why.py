"""Why a proof, a note or a price cannot be read, in Chinese too.

In: the error of a module that knows English only (a log's tools speak it). Out: the pair of texts
a finding takes. A test holds this list against what those modules can say.
"""

from __future__ import annotations

import re
from typing import Final

_ZH: Final[tuple[tuple[str, str], ...]] = (
    (r"no leaf (\d+) in a tree of (\d+)", r"大小为 \2 的树中没有第 \1 个叶"),
    (r"the path is too long", "路径过长"),
    (r"the path is too short", "路径过短"),
    (r"the path leads to another root", "路径指向另一个根"),
    (r"no consistency from (\d+) to (\d+)", r"从 \1 到 \2 不具一致性"),
    (r"no path is needed here", "此处不需要路径"),
    (r"equal sizes, other roots", "大小相同而根不同"),
    (r"the path leads to other roots", "路径指向其他的根"),
    (r"not an Ed25519 verifier key", "不是 Ed25519 验证密钥"),
    (r"the key's hash does not fit the key", "密钥哈希与密钥不符"),
    (r"a key name has no spaces and no plus", "密钥名不得含空格或加号"),
    (r"the note is too long", "签名文本过长"),
    (r"no signatures", "没有签名"),
    (r"too many signatures", "签名过多"),
    (r"a signature by a key that is not trusted, or twice by one key", "签名密钥不可信或重复签名"),
    (r"the signature of (.*) does not verify", r"\1 的签名无法通过验证"),
    (r"no trusted key has signed this", "没有可信密钥签署过此内容"),
    (r"a malformed signature line", "签名行格式错误"),
    (r"the text ends in a newline and has no control characters", "文本须以换行结尾且不含控制字符"),
    (r"not a checkpoint", "不是检查点"),
    (r"the root is not 32 bytes", "根不是 32 字节"),
    (r"the checkpoint is of another log", "检查点属于另一日志"),
    (r"not base64", "不是 base64"),
    (r"not canonical base64", "不是规范的 base64"),
    (r"the proof is too long", "证明过长"),
    (r"not a tlog-proof", "不是 tlog-proof"),
    (r"no index", "缺少序号"),
    (r"a line is not base64", "有一行不是 base64"),
    (r"a hash is not 32 bytes", "有一个哈希不是 32 字节"),
    (r"it carries extra data that nobody vouches for", "含无人担保的附加数据"),
    (r"a price is one amount per use or per row", "价格应为每次使用或每行的一个金额"),
    (r"not an amount in CNY: (.*)", r"不是人民币金额：\1"),
)


def both(error: Exception) -> tuple[str, str]:
    """The text of `error` in English and Chinese; a text nobody listed gets a general sentence."""
    en = str(error)
    for pattern, zh in _ZH:
        found = re.fullmatch(pattern, en, re.DOTALL)
        if found is not None:
            return en, found.expand(zh)
    return en, "内容不符合格式"
