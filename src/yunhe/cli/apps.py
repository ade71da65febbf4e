"""`yunhe apps`: programs that run beside the data: publish, deploy, run, look, let go, end."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from yunhe.cli import words
from yunhe.cli.arguments import PREFIX_HELP, Purpose, only_purpose
from yunhe.cli.desk import Desk, as_json, command
from yunhe.cli.errors import BadArgument, unusable
from yunhe.cli.sql import place, shown, table_facts, write_table
from yunhe.sdk import YunheRefused, require_arrow

_DIGEST: Final = re.compile(r"[0-9a-f]{1,64}")

app = typer.Typer(help="Signed programs that run beside the data.", no_args_is_help=True)

_App = Annotated[str, typer.Argument(metavar="APP", help="Its digest, or how only that begins.")]
_Job = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or how only that id begins.")]
_Ended = Annotated[
    str, typer.Argument(metavar="APP|DEPLOYMENT", help="Of ours: its digest; as host: its id.")
]
_Why = Annotated[str, typer.Option(help="Told to the other side and recorded.")]


@command(app)
def publish(
    desk: Desk,
    form: Annotated[Path, typer.Argument(help="The manifest: .toml or .json; see docs/apps.md.")],
) -> None:
    """Sign a version; `code` in its manifest names the file of the program."""
    said = _form(form)
    code = form.parent / str(said.pop("code", ""))
    try:
        data = code.read_bytes()
    except OSError as error:
        raise unusable(code, error) from error
    with desk.space() as space:
        found = space.apps.publish(said, data)
    desk.show(found, f"{found['reference']}  {_state(desk, found)}")


@command(app, "list")
def list_(desk: Desk) -> None:
    """List the versions this node knows, latest first."""
    with desk.space() as space:
        found = space.apps.versions()
    columns = desk.columns(
        "digest name version kind state author",
        "DIGEST NAME VERSION KIND STATE AUTHOR",
        "摘要 名称 版本 类型 状态 作者",
    )
    desk.rows(found, columns)


@command(app)
def submit(
    desk: Desk,
    version: _App,
    keywords: Annotated[
        list[str] | None, typer.Option("--keyword", help="A word to find it by; repeatable.")
    ] = None,
) -> None:
    """Have the functional node list a version, where others find and deploy it; see show."""
    with desk.space() as space:
        found = space.apps.submit(_version(desk, space, version), keywords or ())
    listing = words.shown(desk.lang, "state", found["listing"]["state"])
    desk.show(found, f"{found['reference']}  {listing}")


@command(app)
def search(
    desk: Desk,
    texts: Annotated[list[str], typer.Argument(metavar="WORDS", help="Chinese or English words.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Versions to show.")] = 20,
) -> None:
    """Find the programs of all authors, listed last first."""
    with desk.space() as space:
        found = space.apps.search(" ".join(texts), limit)
    columns = desk.columns(
        f"digest name version kind title_{desk.lang} author_name",
        "DIGEST NAME VERSION KIND TITLE AUTHOR",
        "摘要 名称 版本 类型 标题 作者",
    )
    desk.rows(found, columns)


@command(app)
def show(desk: Desk, version: _App) -> None:
    """Show one version with its manifest and signature; of ours, its listing and who took it."""
    with desk.space() as space:
        found = space.apps.version(_version(desk, space, version))
    desk.show(found, lambda: typer.echo(as_json(found)))


@command(app)
def deploy(
    desk: Desk,
    version: _App,
    contracts: Annotated[list[str], typer.Argument(metavar="CONTRACT...", help=PREFIX_HELP)],
) -> None:
    """Deploy a version, ours or a listed one, at each contract's provider; again: how it stands."""
    with desk.space() as space:
        keys = [desk.whole(each, space.contracts) for each in contracts]

        def told(row: dict[str, Any]) -> None:
            _said(desk, row["contract_id"], row)

        found = space.apps.deploy_all(_listed(desk, space, version), keys, told)
    columns = desk.columns(
        "contract_id id state code peer",
        "CONTRACT DEPLOYMENT STATE CODE HOST",
        "合约 部署 状态 代码 数据方",
    )
    desk.rows(found, columns)
    if any(row["code"] for row in found):
        raise typer.Exit(1)


@command(app)
def deployments(desk: Desk) -> None:
    """List where versions are deployed: ours at hosts, and those of others here."""
    with desk.space() as space:
        found = space.apps.deployments()
    columns = desk.columns(
        "id side state digest contract_id why",
        "DEPLOYMENT SIDE STATE APP CONTRACT WHY",
        "部署 角色 状态 应用 合约 原因",
    )
    # Who deploys need not be who wrote the program: the record says `author` for both.
    sides = {"author": desk.say("deployer", "部署方")}
    told = [each | {"side": sides.get(each["side"], each["side"])} for each in found]
    desk.show(found, lambda: desk.table(told, columns))


@command(app)
def allow(desk: Desk, deployment: _Job, reason: _Why = "") -> None:
    """As host: let a version that asked run here."""
    _decided(desk, deployment, "allow", reason)


@command(app)
def refuse(desk: Desk, deployment: _Job, reason: _Why = "") -> None:
    """As host: refuse a version that asked."""
    _decided(desk, deployment, "refuse", reason)


@command(app)
def suspend(desk: Desk, key: _Ended, reason: _Why = "") -> None:
    """Have a version run nowhere for now, or as host not here."""
    _stepped(desk, key, "suspend", reason)


@command(app)
def resume(desk: Desk, key: _Ended, reason: _Why = "") -> None:
    """Let a suspended version run again."""
    _stepped(desk, key, "resume", reason)


@command(app)
def withdraw(desk: Desk, version: _App, reason: _Why = "") -> None:
    """Deploy a version nowhere anew; where it is, it stays."""
    with desk.space() as space:
        found = space.apps.step(_version(desk, space, version), "withdraw", reason)
    desk.show(found, f"{found['reference']}  {_state(desk, found)}")


@command(app)
def revoke(desk: Desk, key: _Ended, reason: _Why) -> None:
    """Have a version run nowhere any more, or as host not here; what runs is ended."""
    _stepped(desk, key, "revoke", reason)


@command(app)
def run(
    desk: Desk,
    deployment_ids: Annotated[list[str], typer.Argument(metavar="DEPLOYMENT...", help=PREFIX_HELP)],
    purpose: Purpose = "",
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: name=value; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write each result to a .arrow file in this folder.")
    ] = None,
) -> None:
    """Run a deployed version at each host, and wait; each is one use."""
    given = dict(_parameter(each) for each in parameters or ())
    with desk.space() as space:
        known = {each["id"]: each["contract_id"] for each in space.apps.deployments()}
        keys = [desk.whole(each, lambda: known) for each in deployment_ids]
        asked = [] if purpose else [key for key in keys if key in known]
        if under := [space.contract(known[key]).terms.purposes for key in asked]:
            shared = [each for each in under[0] if all(each in agreed for agreed in under)]
            purpose = only_purpose(desk, shared)

        def told(row: dict[str, Any]) -> None:
            _said(desk, row["id"] or row["deployment_id"], row)

        found = space.apps.run_all(keys, purpose, given, told)
        for row in found:
            if out is not None and row["state"] == "released":
                _write(space.apps.result(row["id"]), out / f"{row['id']}.arrow")
    _jobs(desk, found)
    if any(row["code"] for row in found):
        raise typer.Exit(1)


@command(app)
def jobs(
    desk: Desk, contract: Annotated[str, typer.Option(help="Only under this contract.")] = ""
) -> None:
    """List runs: ours at hosts, and those of others here, latest first."""
    with desk.space() as space:
        found = space.apps.jobs(contract)
    _jobs(desk, found)
    problems = {each["code"]: each["problem"] for each in found if each.get("problem")}
    for problem in problems.values() if not desk.json else ():
        desk.fail(YunheRefused(problem, problem["status"]))


@command(app)
def result(
    desk: Desk,
    job: _Job,
    out: Annotated[
        Path | None, typer.Option(help="Write to a .csv, .arrow or .parquet file.")
    ] = None,
    held: Annotated[
        bool, typer.Option("--held", help="As host: what waits for your word.")
    ] = False,
) -> None:
    """Show what a run gave, or write it to a file."""
    require_arrow()
    with place(out) as part, desk.space() as space:
        table = space.apps.result(_whole(desk, space, job), held=held)
        if out is not None and part is not None:
            write_table(table, part, out)
    rows = desk.count(table.num_rows, "row", "行")
    human = (lambda: shown(desk, table)) if out is None else f"{out}  {rows}"
    desk.show(table_facts(table, out), human)


@command(app)
def log(desk: Desk, job: _Job) -> None:
    """As host: show what the program of a run printed."""
    with desk.space() as space:
        found = space.apps.log(_whole(desk, space, job))
    desk.show(found, lambda: desk.out.print(found["log"], markup=False, end=""))


@command(app)
def release(
    desk: Desk,
    job: _Job,
    reason: _Why = "",
    refused: Annotated[bool, typer.Option("--refuse", help="Do not let it go.")] = False,
) -> None:
    """As host: let a held result go, or not; look at it first: result JOB --held."""
    with desk.space() as space:
        found = space.apps.release(_whole(desk, space, job), reason, let_go=not refused)
    desk.show(found, f"{found['id']}  {_state(desk, found)}")


def _form(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        said = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise unusable(path, error) from error
    except ValueError as error:
        raise BadArgument(
            what=str(path), why="it is no TOML or JSON", why_zh="不是 TOML 或 JSON"
        ) from error
    if not isinstance(said, dict) or not said.get("code"):
        raise BadArgument(
            what=str(path), why="it names no code file", why_zh="未指明 code 程序文件"
        )
    return said


def _parameter(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise BadArgument(what=text, why="it is not name=value", why_zh="格式应为 名称=值")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _version(desk: Desk, space: Any, given: str) -> str:
    return desk.whole(given, lambda: [each["digest"] for each in space.apps.versions()])


def _listed(desk: Desk, space: Any, given: str) -> str:
    """A version known here or listed by whomever: `given` is how its digest begins."""
    if not _DIGEST.fullmatch(given):  # a name is anybody's to choose, a digest is not
        en, zh = (
            "a program is named by how its digest begins; see yunhe apps search WORDS",
            "应用以摘要的开头指定；请用 yunhe apps search 检索",
        )
        raise BadArgument(what=given, why=en, why_zh=zh)

    def known() -> list[str]:
        here = [each["digest"] for each in space.apps.versions()]
        if any(each.startswith(given) for each in here):
            return here
        return [each["digest"] for each in space.apps.search(digest=given)]

    return desk.whole(given, known)


def _whole(desk: Desk, space: Any, given: str) -> str:
    return desk.whole(given, lambda: [each["id"] for each in space.apps.jobs()])


def _decided(desk: Desk, given: str, decision: str, reason: str) -> None:
    with desk.space() as space:
        known = [each["id"] for each in space.apps.deployments()]
        found = space.apps.decide(desk.whole(given, lambda: known), decision, reason)
    desk.show(found, f"{found['id']}  {_state(desk, found)}")


def _stepped(desk: Desk, given: str, step: str, reason: str) -> None:
    with desk.space() as space:
        ours = [each["digest"] for each in space.apps.versions() if each["ours"]]
        if any(each.startswith(given) for each in ours):
            found = space.apps.step(desk.whole(given, lambda: ours), step, reason)
            desk.show(found, f"{found['reference']}  {_state(desk, found)}")
            return
    _decided(desk, given, step, reason)


def _state(desk: Desk, found: dict[str, Any]) -> object:
    return words.shown(desk.lang, "state", found["state"])


def _said(desk: Desk, key: str, row: dict[str, Any]) -> None:
    """How one of several stands; of a refused one why, and what mends it."""
    desk.note(f"{key}: {row['state']}", f"{key}：{_state(desk, row)}")
    problem = row.get("problem")
    if problem is not None and not desk.json:
        desk.fail(YunheRefused(problem, problem["status"]))
    elif row.get("code"):  # of a host newer than this node, which knows no words for it
        desk.note(
            f"{row['code']}  What it means: docs/errors.md",
            f"{row['code']}  含义见 docs/errors.md",
        )
    elif row["state"] == "asked":
        desk.note(
            "  waits for the host's consent; the same command again tells how it stands",
            "  等待数据方准入；再次执行同一命令可查看进展",
        )


def _jobs(desk: Desk, found: list[dict[str, Any]]) -> None:
    columns = desk.columns(
        "id state code rows bytes bits wall_s deployment_id",
        "JOB STATE CODE ROWS BYTES BITS SECONDS DEPLOYMENT",
        "运行 状态 代码 行数 字节 比特 秒 部署",
    )
    desk.rows(found, columns)


def _write(table: Any, out: Path) -> None:
    import pyarrow as pa

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with pa.ipc.new_file(str(out), table.schema) as writer:
            writer.write_table(table)
    except OSError as error:
        raise unusable(out, error) from error
