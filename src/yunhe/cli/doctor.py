"""`yunhe doctor`: what a node lacks or soon will, above all the walls of its sandbox."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer()
_ZH: Final = {
    "workers": "查询工作进程",
    "fabric engine": "联合查询引擎",
    "applications": "应用程序",
    "ingest": "文件读取进程",
}
_NAMES: Final = {
    "disk": ("Disk", "磁盘"),
    "schema": ("Database schema", "数据库模式"),
    "evidence": ("Evidence log", "存证日志"),
    "outbox": ("Messages to send", "待发消息"),
    "credential": ("Credential", "成员凭证"),
    "certificate": ("Certificate of Flight SQL", "Flight SQL 证书"),
    "keys": ("Keys", "密钥"),
    "clock": ("Clock", "时钟"),
    "backup": ("Backup", "备份"),
}
_STATES: Final = {"ok": ("ok", "正常"), "warn": ("WARNING", "警告"), "fail": ("FAILS", "异常")}


@command(app)
def doctor(
    desk: Desk,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on a warning, too.")] = False,
) -> None:
    """Check what the node lacks or soon will: walls, disk, expiry, clock, backup (operator)."""
    with desk.space() as space:
        found = space.doctor()
    walls = found["sandbox"]
    yes, no = desk.say("stands", "有效"), desk.say("MISSING", "缺失")
    abi = f"{yes} (ABI {walls['landlock']})" if walls["landlock"] else no
    lines = {
        desk.say("Node", "节点"): f"yunhe {found['version']}, Python {found['python']}",
        desk.say("System", "系统"): found["system"],
        "Landlock": abi,
        "seccomp": yes if walls["seccomp"] else no,
        desk.say("Network namespace", "网络命名空间"): yes if walls["network_namespace"] else no,
        desk.say("Behind them", "受其隔离"): desk.say(
            ", ".join(walls["confined"]),
            "、".join(_ZH.get(each, each) for each in walls["confined"]),
        ),
        "worker_sandbox": walls["mode"],
    }
    told = [desk.labelled(name, text) for name, text in lines.items()]
    told += [line for each in found["checks"] for line in _told(desk, each)]
    desk.show(found, "\n".join(told))
    bad = {each["state"] for each in found["checks"]} & ({"fail", "warn"} if strict else {"fail"})
    if bad or (walls["mode"] == "require" and not walls["whole"]):
        raise typer.Exit(1)


def _told(desk: Desk, check: dict[str, Any]) -> list[str]:
    """One check as a line, and what to do about it as another."""
    name = desk.say(*_NAMES.get(check["name"], (check["name"],) * 2))
    state = desk.say(*_STATES.get(check["state"], (check["state"],) * 2))
    lines = [desk.labelled(name, desk.say(f"{state}, {check['en']}", f"{state}，{check['zh']}"))]
    mend = desk.say(check["mend_en"], check["mend_zh"])
    return [*lines, f"  {mend}"] if mend else lines
