"""`yunhe fabric`, `yunhe lineage`: one SQL over several nodes; its plan, its records."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.tree import Tree

from yunhe.cli.arguments import Purpose, Sql, only_purpose
from yunhe.cli.desk import Desk, command
from yunhe.cli.errors import BadArgument
from yunhe.cli.sql import place, shown, table_facts, write_table
from yunhe.sdk import Space, YunheRefused, require_arrow

app = typer.Typer(help="One SQL over the products of several nodes.", no_args_is_help=True)
lineage_app = typer.Typer()

_WATCH_S = 0.5
_PUSHED_ZH: Final = {  # as `fabric.sent.told` begins; the rest is SQL
    "everything": "全部",
    "columns": "列",
    "filter": "过滤",
    "join": "连接",
    "group by": "分组",
    "partial aggregates": "部分聚合",
    "distinct": "去重",
    "order by": "排序",
    "limit": "行数上限",
}

With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="ALIAS=CONTRACT,...",
        help="An alias and its contract, or the contracts that each hold a part; repeatable.",
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a query over the fabric.")]


@command(app)
def explain(desk: Desk, text: Sql, with_: With = None, purpose: Purpose = "") -> None:
    """Show what a query would do: each node's part, who sees what, the price. Charges nothing."""
    with desk.space() as space:
        plan = space.explain(text, _aliases(desk, space, with_), purpose)
    desk.show(plan, lambda: _tree(desk, plan))


@command(app)
def sql(
    desk: Desk,
    text: Sql,
    purpose: Purpose = "",
    with_: With = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to a .csv, .arrow or .parquet file.")
    ] = None,
) -> None:
    """Run one SQL over several nodes; each part is a use under its own contract."""
    require_arrow()
    key = str(uuid.uuid4())
    with place(out) as part, desk.space() as space:
        aliases = _aliases(desk, space, with_)
        if not purpose:
            purpose = only_purpose(desk, space.explain(text, aliases)["policy"]["purposes"])
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(desk, space, key, done))
        if not desk.json and desk.err.is_terminal:
            watch.start()
        try:
            table = space.fabric(text, aliases, purpose, key)
        finally:
            done.set()
            if watch.ident is not None:
                watch.join()
        if out is not None and part is not None:
            write_table(table, part, out)
        record = space.fabric_answer(key)
    facts = {"fabric_id": key, **table_facts(table, out), "parts": record["parts"]}
    facts["policy"] = record["policy"]

    def human() -> None:
        if out is None:
            shown(desk, table)
        fee = desk.yuan(sum(each["fee_fen"] for each in record["parts"]))
        parts = desk.count(len(record["parts"]), "use", "次使用")
        rows = desk.count(table.num_rows, "row", "行")
        desk.err.print(f"{rows} · {parts} · {fee} · {key}", markup=False)

    desk.show(facts, human)


@command(app)
def answers(
    desk: Desk,
    product: Annotated[
        str, typer.Option(help="Only those that stand on a product, by its code.")
    ] = "",
    column: Annotated[
        str, typer.Option(help="Only those that stand on a column, as table.column.")
    ] = "",
) -> None:
    """List the queries over several nodes that this node made."""
    with desk.space() as space:
        found = space.fabric_answers(product, column)
    columns = desk.columns("id state purpose at", "ID STATE PURPOSE AT", "编号 状态 用途 时间")
    desk.rows(found, columns)


@command(app)
def answer(desk: Desk, key: Id) -> None:
    """Show what each part of a query brought and cost, beside what was estimated."""
    with desk.space() as space:
        key = desk.whole(key, lambda: [each["id"] for each in space.fabric_answers()])
        record = space.fabric_answer(key)
    columns = desk.columns(
        "part state rows bytes seconds fee keys noise",
        "PART STATE ROWS BYTES SECONDS FEE KEYS NOISE",
        "部分 状态 行数 字节 秒 费用 键值 噪声",
    )

    def human() -> None:
        desk.out.print(record["sql"], markup=False)
        told = [_beside(desk, each) for each in record["parts"]]
        desk.table(told, columns)
        desk.err.print(desk.say("(estimated before)", "（括号内为事前估计）"), markup=False)

    desk.show(record, human)


def _beside(desk: Desk, part: dict[str, Any]) -> dict[str, Any]:
    """One part's truth, and in brackets what was thought of it."""

    def both(truth: str, before: object) -> str:
        return truth if before is None else f"{truth} ({before})"

    fee = desk.yuan(part.get("estimated_fen") or 0)
    told = part.get("noise") or {"statistics": ()}
    noise = ", ".join(f"{each['of']} ±{each['ci95']:g}" for each in told["statistics"])
    return {
        "part": part["part"],
        "state": part["state"],
        "rows": both(f"{part['rows']:,}", part.get("estimated_rows")),
        "bytes": both(f"{part['bytes']:,}", part.get("estimated_bytes")),
        "seconds": both(f"{part.get('seconds', 0):.3f}", part.get("estimated_s")),
        "fee": both(desk.yuan(part["fee_fen"]), fee),
        "keys": "" if part.get("keys") is None else part["keys"],
        "noise": noise,
    }


@command(lineage_app)
def lineage(desk: Desk, key: Id) -> None:
    """Show which columns of which nodes each column of an answer comes from."""
    with desk.space() as space:
        key = desk.whole(key, lambda: [each["id"] for each in space.fabric_answers()])
        record = space.fabric_answer(key)

    def human() -> None:
        tree = Tree(escape(record["sql"]))
        for column, sources in record["lineage"].items():
            _sources(desk, tree.add(f"[bold]{escape(column)}[/]"), sources)
        desk.tree(tree)

    desk.show(record["lineage"], human)


def _sources(desk: Desk, branch: Tree, sources: list[dict[str, Any]]) -> None:
    if not sources:
        branch.add(desk.say("no column: counted rows", "不取自字段：行计数"))
    for each in sources:
        if "unknown" in each:
            branch.add(desk.say("not traced", "未能追溯"))
            continue
        mask = f" ({each['mask']})" if each["mask"] else ""
        branch.add(escape(f"{each['column']}{mask} · {each['product_code']}"))


def _aliases(desk: Desk, space: Space, given: list[str] | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in given or ():
        alias, equals, keys = pair.partition("=")
        if not equals or not alias or not keys.strip(","):
            en, zh = "the form is alias=contract,contract", "格式应为 别名=合约,合约"
            raise BadArgument(what=pair, why=en, why_zh=zh)
        found.setdefault(alias, []).extend(
            desk.whole(key, space.contracts) for key in keys.split(",") if key
        )
    return found


def _tree(desk: Desk, plan: dict[str, Any]) -> None:
    money = desk.yuan(plan["estimated_fen"])
    uses = desk.count(plan["uses"], "use", "次使用")
    least = desk.say("at least", "至少") if _unknown(plan) else desk.say("about", "约")
    size = f"{plan['estimated_bytes']:,} B"
    took = desk.say(f"{plan['estimated_s']:.2f} s", f"{plan['estimated_s']:.2f} 秒")
    title = f"[bold]{desk.say('plan', '计划')}[/] · {uses} · {least} {money} · {size} · {took}"
    tree = Tree(title)
    final = tree.add(f"{desk.say('here', '本节点')} · {escape(plan['final']['sql'])}")
    parts = {part["name"]: part for part in plan["parts"]}
    for slot in plan["slots"]:
        why = slot[desk.say("why", "why_zh")]
        branch = final.add(f"{slot['name']} · {escape(why)}")
        for name in slot["parts"]:
            _part(desk, branch, parts[name])
    policy = plan["policy"]
    until = desk.instant(policy["expires_at"])
    purposes = ", ".join(policy["purposes"])
    tree.add(
        escape(
            desk.say(f"inherits: {purposes}; until {until}", f"继承用途：{purposes}；截止 {until}")
        )
    )
    for each in policy["noise"]:
        en, zh = "answers with noise", "结果含噪声"
        tree.add(
            escape(f"{desk.labelled(desk.say(en, zh), each['privacy'])} · {each['contract_id']}")
        )
    sees = tree.add(desk.say("who sees what", "谁能看到什么"))
    for each in plan["disclosures"]:
        sees.add(
            escape(f"{each['from']} → {each['to']}: {', '.join(each['columns'])} ({each['as']})")
        )
    for note in plan[desk.say("notes", "notes_zh")]:
        tree.add(escape(note))
    desk.tree(tree)


def _unknown(plan: dict[str, Any]) -> bool:
    return any(part["estimated_rows"] is None for part in plan["parts"])


def _part(desk: Desk, branch: Tree, part: dict[str, Any]) -> None:
    rows = part["estimated_rows"]
    about = desk.say("rows unknown", "行数未知") if rows is None else f"~{rows:,}"
    rows_text = about if rows is None else f"{about} {desk.say('rows', '行')}"
    price = desk.yuan(part["estimated_fen"])
    told = [part["name"], part["provider_did"], rows_text, price]
    if part["estimated_bytes"] is not None:
        told.insert(3, f"{part['estimated_bytes']:,} B")
    if part["estimated_s"] is not None:
        told.append(desk.say(f"{part['estimated_s']:.2f} s", f"{part['estimated_s']:.2f} 秒"))
    node = branch.add(escape(" · ".join(told)))
    node.add(escape(part["sql"]))
    reads = ", ".join(part["reads"])
    node.add(escape(desk.say(f"reads {reads}", f"读取字段 {reads}")))
    for pushed in part["pushed"]:
        node.add(escape(desk.say(f"pushed: {pushed}", f"下推：{_pushed_zh(pushed)}")))
    if keys := part["keys"]:
        named, most = ", ".join(keys["columns"]), f"{keys['at_most']:,}"
        en = f"filtered by keys of {named}, which its provider sees (at most {most})"
        zh = f"按 {named} 的键值筛选，提供方可见这些键值（至多 {most} 个）"
        node.add(escape(desk.say(en, zh)))
    if part["fresh"]:
        en = f"recorded {desk.instant(part['fresh'])}, quality {part['quality']}"
        zh = f"登记于 {desk.instant(part['fresh'])}，质量等级 {part['quality']}"
        node.add(escape(desk.say(en, zh)))
    governed = part["governed_by"]
    rules = [*governed["row_filters"], *governed["masks"]]
    if governed["minimum_group"]:
        rules.append(f">= {governed['minimum_group']}")
    for name in ("privacy", "hours", "regions", "rows_max", "bytes_max"):
        if said := governed[name]:
            rules.append(f"{name} {', '.join(said) if isinstance(said, list) else said}")
    if rules:
        text = "; ".join(rules)
        node.add(escape(desk.say(f"governed there: {text}", f"由对方管控：{text}")))


def _pushed_zh(pushed: str) -> str:
    """What runs at a provider, with the word it begins with in Chinese."""
    for en, zh in _PUSHED_ZH.items():
        if pushed == en or pushed.startswith(f"{en} "):
            return zh + pushed.removeprefix(en)
    return pushed


def _watch(desk: Desk, space: Space, key: str, done: threading.Event) -> None:
    """Tell how far the parts are, while the answer is awaited."""
    while not done.wait(_WATCH_S):
        try:
            parts = space.fabric_answer(key)["parts"]
        except YunheRefused:
            continue  # it is still being planned
        ready = sum(1 for part in parts if part["state"] in ("done", "withheld", "spared"))
        rows = sum(part["rows"] for part in parts)
        desk.note(
            f"{ready}/{len(parts)} parts, {rows:,} rows", f"{ready}/{len(parts)} 部分，{rows:,} 行"
        )
