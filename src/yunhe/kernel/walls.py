"""What a node makes of the walls of `kernel.sandbox`: ask for all of them, or take what there is.

In: the setting `worker_sandbox`. Out: the report for the operator, or a refusal that says what
this machine lacks. `sandbox.py` itself runs in the children and knows nothing of the house.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, Final

from yunhe.kernel import sandbox
from yunhe.kernel.errors import Unavailable

log = logging.getLogger(__name__)

REQUIRE: Final = "require"
BEST: Final = "best"
CONFINED: Final = ("workers", "fabric engine", "applications", "ingest")  # what goes behind them


class SandboxMissing(Unavailable):
    code = "SANDBOX_MISSING"
    en = "This machine cannot wall in what runs here: {missing} is missing."
    zh = "本机无法对所运行的程序进行隔离：缺少 {missing}。"
    mend_en = (
        "Run the node on Linux 5.13 or later with Landlock and seccomp allowed (in a container: "
        'its profile); or, knowing what it means, set worker_sandbox = "best".'
    )
    mend_zh = (
        "请在 Linux 5.13 及以上且允许 Landlock 与 seccomp 的环境中运行（容器需放行相应配置）；"
        '或在知悉风险后设置 worker_sandbox = "best"。'
    )


def stand(mode: str) -> sandbox.Report:
    """The walls that stand here; raises SandboxMissing where `require` is not met."""
    report = sandbox.available()
    missing = report.missing()
    if mode == REQUIRE and not report.whole:
        raise SandboxMissing(missing=", ".join(missing))
    if missing:
        log.warning("the sandbox is not whole on this machine: without %s", ", ".join(missing))
    return report


def told(mode: str, report: sandbox.Report) -> dict[str, Any]:
    """The report as the health page shows it."""
    return {"mode": mode, "whole": report.whole, "confined": [*CONFINED], **asdict(report)}
