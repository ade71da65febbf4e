"""`yunhe doctor`: what the machine of a node lacks, above all the walls of its sandbox."""

from __future__ import annotations

from typing import Final

import typer

from yunhe.cli.desk import Desk, command

app = typer.Typer()
_ZH: Final = {
    "workers": "查询工作进程",
    "fabric engine": "联合查询引擎",
    "applications": "应用程序",
    "ingest": "文件读取进程",
}


@command(app)
def doctor(desk: Desk) -> None:
    """Check which walls around workers stand on the node's machine (admin)."""
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
    desk.show(found, "\n".join(desk.labelled(name, text) for name, text in lines.items()))
    if walls["mode"] == "require" and not walls["whole"]:
        raise typer.Exit(1)
