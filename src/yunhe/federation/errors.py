"""What can stand between this node and its parent."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, NotFound


class NoParent(Conflict):
    code = "FEDERATION_NO_PARENT"
    en = "This node has no parent node configured."
    zh = "本节点未配置上级功能节点。"
    mend_en = "Set parent_address and parent_did in node.toml and start again."
    mend_zh = "请在 node.toml 中设置 parent_address 与 parent_did 后重新启动。"


class NotTheParent(Denied):
    code = "FEDERATION_NOT_THE_PARENT"
    en = "Only the parent node may tell a review's result."
    zh = "仅上级功能节点可以通知审核结果。"
    mend_en = "Register with that node first."
    mend_zh = "请先在该节点完成注册。"


class NotServed(NotFound):
    code = "FEDERATION_NOT_SERVED"
    en = "This node does not serve {name}."
    zh = "本节点不提供 {name}。"
    mend_en = "Ask a functional node."
    mend_zh = "请向功能节点请求。"
