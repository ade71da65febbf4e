"""The fabric's story: three hospitals, each a part of one cohort, and one SQL over all of them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from yunhe.demo import data
from yunhe.demo.nodes import FUNCTIONAL, HOSPITAL_A, HOSPITAL_B, RESEARCH, Party
from yunhe.demo.stage import Stage
from yunhe.demo.story import COLUMNS, PURPOSE, RESOURCE, wait_for
from yunhe.kernel.money import yuan
from yunhe.sdk import Contract, Terms, YunheRefused

HOSPITAL_C = Party("c", "connector", "91330100MA0000023P", "丙医院", "Hospital C")
PARTIES = (FUNCTIONAL, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, RESEARCH)
HOSPITALS = ("a", "b", "c")
SQL = (
    "SELECT l.test, p.male, count(*) AS n, avg(l.value) AS mean FROM study.labs l"
    " JOIN study.patients p ON p.id = l.id"
    # As published, chol and dbp hold the values of hdl and sbp once more.
    " WHERE l.days >= 0 AND l.test IN ('fib4', 'hdl', 'sbp', 'smoke')"
    " GROUP BY l.test, p.male ORDER BY l.test, p.male"
)


def prepare(stage: Stage, folder: Path) -> None:
    """Write each hospital's part under its node's folder; all of them stay in `folder`."""
    splits = data.prepare(folder, HOSPITALS)
    for key, split in splits.items():
        shutil.copytree(split.folder, stage.nodes[key].home / "data", dirs_exist_ok=True)
    stage.facts["splits"] = splits


def play(stage: Stage) -> None:
    """Every step; raises StepFailed naming the one that did not hold."""
    register(stage)
    publish(stage)
    agree(stage)
    explain(stage)
    ask(stage)
    refuse(stage)
    account(stage)


def register(stage: Stage) -> None:
    """① Four connectors register at the functional node."""
    keys = (*HOSPITALS, "r")
    with stage.step("register the connectors", "连接器登记", "fn", "identity.registered"):
        for key in keys:
            stage[key].register_self()

        def approved() -> bool:
            for each in stage["fn"].applications(state="submitted"):
                stage["fn"].review(each.id, "approve")
            return all(stage[key].registration().connector_code for key in keys)

        wait_for(stage, "the approvals", approved)
        stage.say(
            f"✓ {len(keys)} connectors hold a credential", f"✓ {len(keys)} 个连接器已持有凭证"
        )


def publish(stage: Stage) -> None:
    """② Each hospital lists its part; only groups of ten patients leave."""
    terms = Terms(
        purposes=(PURPOSE,),
        columns=COLUMNS,
        expires_at=datetime.now(UTC).replace(microsecond=0) + timedelta(days=90),
        uses_max=20,
        row_filters=(("patients", "age >= 18"),),
        masks=(("patients.age", "round:10"),),
        minimum_group=10,
        per_use_fen=2000,
        per_row_fen=10,
    )
    with stage.step("publish the three parts", "三家医院分别上架", "a", "catalog.listed"):
        for key in HOSPITALS:
            space, party = stage[key], stage.nodes[key].party
            resource = space.add_resource(RESOURCE)
            space.submit_resource(resource)
            _approve(stage, lambda s=space, r=resource: s.resource(r.id).code)
            product = space.add_product(
                {
                    "title_zh": f"{party.name_zh}化验数据",
                    "title_en": f"{party.name_en} laboratory data",
                    "description_zh": "同一队列的一部分，按患者水平切分",
                    "description_en": "One part of a cohort, split by patient",
                    "keywords": ["化验", "laboratory"],
                    "resource_ids": [resource.id],
                    "terms": terms,
                }
            )
            space.submit_product(product)
            code = _approve(stage, lambda s=space, p=product: s.own_product(p.id).code)
            space.list_product(product)
            _approve(stage, lambda s=space, p=product: s.own_product(p.id).state == "listed")
            stage.facts[f"code-{key}"] = code
            values = f"{stage.facts['splits'][key].values:,}"
            stage.say(
                f"✓ {stage.who(key)}: {code}, {values} values",
                f"✓ {stage.who(key)}：{code}，{values} 条检验值",
            )


def _approve(stage: Stage, check: Any) -> Any:
    def found() -> Any:
        for each in stage["fn"].registrations(state="submitted"):
            stage["fn"].review_registration(each.id, "approve")
        return check()

    return wait_for(stage, "the review", found)


def agree(stage: Stage) -> None:
    """③ One contract with each hospital, on its terms."""
    with stage.step("sign three contracts", "签署三份合约", "r", "contract.in_force"):
        space = stage["r"]
        for key in HOSPITALS:
            contract: Contract = space.negotiate(space.offer(stage.facts[f"code-{key}"]))
            wait_for(stage, "the provider's copy", lambda k=key, c=contract: _held(stage, k, c))
            stage.facts[f"contract-{key}"] = contract
            stage.say(f"✓ {stage.who(key)}: {contract.id}", f"✓ {stage.who(key)}：{contract.id}")
        stage.facts["study"] = [stage.facts[f"contract-{key}"] for key in HOSPITALS]


def _held(stage: Stage, key: str, contract: Contract) -> bool:
    return any(c.id == contract.id and c.state == "in_force" for c in stage[key].contracts())


def explain(stage: Stage) -> None:
    """④ The plan before anything runs: who sees what, and what it will cost."""
    with stage.step("explain one SQL over all", "先看查询计划", "r", "contract.in_force"):
        plan = stage["r"].explain(SQL, {"study": stage.facts["study"]}, PURPOSE)
        stage.say(SQL)
        for text in dict.fromkeys(part["sql"] for part in plan["parts"]):
            to = [_named(stage, each) for each in plan["parts"] if each["sql"] == text]
            stage.say(
                f"  to {len(to)} nodes, as aggregates of their own part: {text}",
                f"  发往 {len(to)} 个节点，各自汇总自己的部分：{text}",
            )
            for each in to:
                stage.say(f"    → {each[0]}", f"    → {each[1]}")
        final = plan["final"]["sql"]
        stage.say(f"  here: {final}", f"  本节点：{final}")
        for slot in plan["slots"]:
            stage.say(f"  why: {slot['why']}", f"  原因：{slot['why_zh']}")
        shown = plan["disclosures"][0]  # the three show the same columns
        who, columns = _who(stage, shown["to"]), ", ".join(shown["columns"])
        stage.say(
            f"  {who} sees {shown['as']} aggregates of {columns}",
            f"  {who}只看到以下列的部分汇总值：{columns}",
        )
        uses, size, took = plan["uses"], f"{plan['estimated_bytes']:,}", plan["estimated_s"]
        fee = yuan(plan["estimated_fen"])
        stage.say(
            f"  {uses} uses, about {size} bytes, {took:.2f} s, {fee} CNY",
            f"  {uses} 次使用，约 {size} 字节，{took:.2f} 秒，{fee} 元",
        )
        kinds = {part["kind"] for part in plan["parts"]}
        stage.insist(kinds == {"partial"}, f"the parts are {kinds}")
        uses = [stage["r"].bill(each.id).uses for each in stage.facts["study"]]
        stage.insist(uses == [0, 0, 0], "explaining was charged")


def _who(stage: Stage, did: str) -> str:
    """The name of the node with this DID."""
    keys = [key for key in (*HOSPITALS, "r") if stage[key].registration().did == did]
    return stage.who(keys[0]) if keys else did


def _named(stage: Stage, part: dict[str, Any]) -> tuple[str, str]:
    """A part's provider, and what it is thought to bring and to cost; in English and Chinese."""
    who, rows = _who(stage, part["provider_did"]), f"{part['estimated_rows']:,}"
    fee = yuan(part["estimated_fen"])
    return f"{who}: about {rows} groups, {fee} CNY", f"{who}：约 {rows} 组，{fee} 元"


def ask(stage: Stage) -> None:
    """⑤ It runs: the answer equals the query over all parts put together."""
    with stage.step("run it over three nodes", "一条 SQL 查询三个节点", "r", "use.receipt"):
        table = stage["r"].fabric(SQL, {"study": stage.facts["study"]}, PURPOSE, "demo-fabric-1")
        got = [tuple(row.values()) for row in table.to_pylist()]
        truth = _together([stage.facts["splits"][key].folder for key in HOSPITALS])
        stage.insist(len(got) == len(truth), f"{len(got)} groups, {len(truth)} are right")
        for mine, right in zip(got, truth, strict=True):
            same = mine[:3] == right[:3] and abs(mine[3] - right[3]) <= 1e-9 * abs(right[3])
            stage.insist(same, f"{mine} is not {right}")
            who, who_zh = ("male", "男") if mine[1] else ("female", "女")
            stage.say(
                f"  {mine[0]:<7} {who:<7} {mine[2]:>8,} values, mean {mine[3]:.2f}",
                f"  {mine[0]:<7} {who_zh} {mine[2]:>8,} 条检验值，均值 {mine[3]:.2f}",
            )
        stage.say(
            "✓ equal to DuckDB over the three parts put together",
            "✓ 与三部分合在一处由 DuckDB 查询的结果相同",
        )
        for part in stage["r"].fabric_answer("demo-fabric-1")["parts"]:
            _beside(stage, part)


def _beside(stage: Stage, part: dict[str, Any]) -> None:
    """What one part brought, and in brackets what was thought of it."""
    name, rows, thought = part["part"], part["rows"], part["estimated_rows"]
    size, size_thought = f"{part['bytes']:,}", f"{part['estimated_bytes']:,}"
    took, took_thought = f"{part['seconds']:.2f}", f"{part['estimated_s']:.2f}"
    stage.say(
        f"  {name}: {rows} rows (thought {thought}), {size} bytes (thought {size_thought}),"
        f" {took} s (thought {took_thought})",
        f"  {name}：{rows} 行（估计 {thought}），{size} 字节（估计 {size_thought}），"
        f"{took} 秒（估计 {took_thought}）",
    )


def _together(folders: list[Path]) -> list[tuple[Any, ...]]:
    """The same query where all data is in one place: adults, as the contracts say."""
    import duckdb

    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA study")
        for name, where in (("labs", ""), ("patients", " WHERE age >= 18")):
            files = [str(folder / f"{name}.parquet") for folder in folders]
            con.read_parquet(files).create(f"whole_{name}")
            con.execute(f"CREATE VIEW study.{name} AS SELECT * FROM whole_{name}{where}")  # noqa: S608
        return con.execute(SQL).fetchall()


def refuse(stage: Stage) -> None:
    """⑥ Rows of patients cannot be joined across hospitals, and trying costs nothing."""
    with stage.step(
        "try to join patients across nodes", "跨院连接患者明细被拒", "r", "use.receipt"
    ):
        aliases = {key: stage.facts[f"contract-{key}"] for key in HOSPITALS}
        sql = "SELECT x.age, y.value FROM a.patients x JOIN b.labs y ON x.id = y.id"
        try:
            stage["r"].fabric(sql, aliases, PURPOSE)
        except YunheRefused as refused:
            zh = stage.lang == "zh"
            what = "跨两院连接患者明细" if zh else "a join of patients of two hospitals"
            stage.denied(what, refused)
            stage.insist(refused.code == "FABRIC_AGGREGATE_ONLY", f"it is {refused.code}")
        else:
            stage.insist(False, "it was allowed")


def account(stage: Stage) -> None:
    """⑦ Where each column comes from, what the result inherits, and the bill of each contract."""
    with stage.step("lineage and bill", "血缘、继承策略与账单", "r", "use.receipt"):
        record = stage["r"].fabric_answer("demo-fabric-1")
        for column, sources in record["lineage"].items():
            named = ", ".join(sorted({source["column"] for source in sources}))
            at = f"{named} at {len(sources)} nodes" if named else "a count of rows"
            at_zh = f"{len(sources)} 个节点的 {named}" if named else "行计数"
            stage.say(f"  {column} ← {at}", f"  {column} ← {at_zh}")
        policy = record["policy"]
        purposes, until = ", ".join(policy["purposes"]), policy["expires_at"][:10]
        least = policy["minimum_group"]
        stage.say(
            f"  inherits: {purposes} until {until}, groups of at least {least}",
            f"  继承：用途 {purposes}，截止 {until}，分组不少于 {least} 个主体",
        )
        fees = [part["fee_fen"] for part in record["parts"]]
        bills = [stage.bill("r", key) for key in HOSPITALS]
        stage.insist(sum(fees) == sum(bills), f"the record says {fees}, the bills {bills}")
        total = yuan(sum(bills))
        stage.say(
            f"✓ {total} CNY in all, as the record of the query says",
            f"✓ 合计 {total} 元，与查询记录一致",
        )
