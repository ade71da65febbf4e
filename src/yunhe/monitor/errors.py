"""What a node says that should not be asked for work now."""

from __future__ import annotations

from yunhe.kernel.errors import Unavailable


class NotReady(Unavailable):
    code = "NOT_READY"
    en = "The node is not ready: {why}."
    zh = "节点尚未就绪：{why}。"
    mend_en = (
        "Send requests to another replica; the operator finds what to do in docs/operating.md."
    )
    mend_zh = "请改用其他副本；运维人员请参阅 docs/operating.md。"
