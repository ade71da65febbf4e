"""Run the demo: lay out the nodes, start them, play the ten steps, report, clean up."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from yunhe.demo import data, story, woven
from yunhe.demo.errors import StepFailed
from yunhe.demo.nodes import PARTIES, Party, lay_out
from yunhe.demo.stage import Stage
from yunhe.kernel.errors import YunheError


@dataclass(frozen=True)
class Story:
    """What is played, by whom, and how its data comes to the nodes."""

    title: str
    title_zh: str
    parties: tuple[Party, ...]
    prepare: Callable[[Stage, Path], None]
    play: Callable[[Stage], None]
    number: str
    number_zh: str


STORIES: Final = MappingProxyType(
    {
        "life": Story(
            "the life of a data product",
            "一个数据产品的一生",
            PARTIES,
            story.prepare,
            story.play,
            "ten",
            "十",
        ),
        "fabric": Story(
            "one SQL over several nodes",
            "一条 SQL 查询多个节点",
            woven.PARTIES,
            woven.prepare,
            woven.play,
            "seven",
            "七",
        ),
    }
)


def run(
    *,
    keep: bool = False,
    json_file: Path | None = None,
    lang: str = "zh",
    tale: str = "life",
    home: Path | None = None,
    console: Console | None = None,
) -> int:
    """Play the story; 0 when every step held, 1 with the step's name otherwise.

    `tale` is one of STORIES; `keep` leaves the nodes up and their folder in place; `json_file`
    gets the record. Raises OSError, before anything starts, where record or proof cannot be
    written, and KeyboardInterrupt once all is put away.
    """
    console = console or Console()
    proof = _files(json_file)
    _claim(json_file, proof[0].parent)
    folder = home or Path(tempfile.mkdtemp(prefix="yunhe-demo-"))
    started = time.monotonic()
    told = STORIES[tale]
    stage = Stage(lay_out(folder, told.parties), console, lang, proof)
    zh, number = lang == "zh", len(told.parties)
    title = f"{told.title}, {number} nodes on loopback"
    title = f"{told.title_zh}，本机 {number} 个节点" if zh else title
    console.print(f"[bold]运河 Yunhe[/] · {title}")
    done = False
    if threading.current_thread() is threading.main_thread():
        # Ended by a supervisor, the demo still takes its nodes with it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _open(stage, folder, told)
        told.play(stage)
        done = True
    except YunheError as error:
        console.print(f"\n[bold red]{error.sentence(lang)}[/]\n{error.remedy(lang)}")
        if isinstance(error, StepFailed) and error.__cause__ is not None:
            console.print(f"[dim]{type(error.__cause__).__name__}[/]")
    except KeyboardInterrupt:
        console.print(f"\n[bold]{_interrupted(stage)}[/]")
        raise
    finally:
        seconds = time.monotonic() - started
        try:
            if json_file is not None:
                stage.write(json_file, seconds, done)
        finally:
            _close(stage, folder, keep, done)
    if done and tale == "life":
        kept = "证据包已保留" if zh else "The proof stays"
        console.print(
            f"\n{kept}: yunhe verify {stage.bundle_file} --trust {stage.trust_file}",
            highlight=False,
            soft_wrap=True,
        )
    if done:
        held = f"{told.number_zh}步全部达成 · all {told.number} steps held"
        console.print(f"[bold green]{held}[/] ({seconds:.1f} s)")
    return 0 if done else 1


def _files(json_file: Path | None) -> tuple[Path, Path]:
    """Where bundle and trust file are left: beside `--json FILE`, else in `.demo`."""
    if json_file is None:
        return Path(".demo/bundle.json"), Path(".demo/trust.json")
    stem = json_file.with_suffix("")
    return Path(f"{stem}-bundle.json"), Path(f"{stem}-trust.json")


def _claim(json_file: Path | None, folder: Path) -> None:
    """Raise OSError unless the record and what lies beside it can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    if json_file is not None:
        json_file.open("a", encoding="utf-8").close()


def _interrupted(stage: Stage) -> str:
    step, zh = stage.under_way(), stage.lang == "zh"
    if step is None:
        return "已中断" if zh else "interrupted"
    number, name, name_zh = step
    return f"在第 {number} 步（{name_zh}）中断" if zh else f"interrupted in step {number} ({name})"


def _open(stage: Stage, folder: Path, told: Story) -> None:
    zh = stage.lang == "zh"
    with stage.console.status(
        "正在启动节点、拆分数据…" if zh else "starting the nodes, splitting the data …"
    ):
        for node in stage.nodes.values():
            node.start()
        told.prepare(stage, folder / "data")
        for node in stage.nodes.values():
            node.wait_up()
            stage.spaces[node.party.key] = node.space()
    splits: dict[str, data.Split] = stage.facts["splits"]
    for party in told.parties:
        node = stage.nodes[party.key]
        stage.say(
            f"{node.address}  pid {node.pid:<7} {party.role:<16} {party.name_zh} {party.name_en}"
        )
    patients = sum(split.patients for split in splits.values())
    values = sum(split.values for split in splits.values())
    stage.say(
        f"real data: {patients:,} patients, {values:,} values (NAFLD study, Olmsted County)",
        f"真实数据：{patients:,} 名患者，{values:,} 条检验值（奥姆斯特德县 NAFLD 研究）",
    )


def _close(stage: Stage, folder: Path, keep: bool, done: bool) -> None:
    for space in stage.spaces.values():
        space.close()
    if keep:
        zh = stage.lang == "zh"
        up = (
            "各节点保持运行。连接其中一个："
            if zh
            else "The nodes stay up. To speak to one of them:"
        )
        stage.console.print(f"\n{up}")
        for node in stage.nodes.values():
            token = node.home / "var" / "admin.token"
            stage.console.print(f"  # {stage.who(node.party.key)} (pid {node.pid})")
            stage.console.print(
                f"  export YUNHE_URL={node.address} YUNHE_TOKEN=$(cat {token})",
                highlight=False,
                soft_wrap=True,
            )
        stage.console.print(
            ("停止各节点：kill " if zh else "Stop them with: kill ")
            + " ".join(str(node.pid) for node in stage.nodes.values() if node.pid)
        )
        return
    for node in stage.nodes.values():
        node.stop()
    if done:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        for node in stage.nodes.values():
            if errors := [line for line in _lines(node.log) if " ERROR " in line]:
                stage.console.print(f"{node.party.name_en}: {errors[-1]}", markup=False)
        zh = stage.lang == "zh"
        kept = "各节点日志保留于" if zh else "The nodes' logs are kept in"
        stage.console.print(f"{kept} {folder}", highlight=False, soft_wrap=True)


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
