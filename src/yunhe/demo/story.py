"""The ten steps, in order, each really happening between processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from yunhe.demo import data, proof
from yunhe.demo.stage import Stage
from yunhe.kernel.money import yuan
from yunhe.sdk import Contract, NegotiationHeld, Terms, YunheRefused, connect

PURPOSE = "clinical-research"
COLUMNS = (
    *(f"patients.{name}" for name in ("id", "age", "male", "bmi", "futime", "status")),
    *(f"labs.{name}" for name in ("id", "days", "test", "value")),
)
BY_SEX = (
    "SELECT p.male, count(*) AS n, avg(l.value) AS hdl FROM labs l JOIN patients p ON p.id = l.id"
    " WHERE l.test = 'hdl' GROUP BY p.male ORDER BY p.male"
)
BY_AGE = (
    "SELECT p.age, count(DISTINCT p.id) AS patients, avg(p.bmi) AS bmi FROM patients p"
    " GROUP BY p.age ORDER BY p.age"
)
_SIDES_ZH: Final[Mapping[str, str]] = MappingProxyType({"provider": "提供方", "consumer": "使用方"})
_TRIED_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a hidden column": "未开放的列",
        "a group below the minimum": "低于最小分组",
        "a purpose not agreed": "未约定的用途",
        "one use too many": "超出次数",
        "an expired token": "过期的令牌",
        "the next query": "终止后的查询",
    }
)

RESOURCE = {
    "title_zh": "脂肪肝随访队列",
    "title_en": "NAFLD follow-up cohort",
    "description_zh": "非酒精性脂肪性肝病患者及对照的基本信息与化验值，已去标识，用于临床研究",
    "description_en": "Patients with fatty liver disease and controls, de-identified, for research",
    "keywords": ["肝", "liver"],
    "tables": [
        {"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"},
        {"name": "labs", "paths": ["labs.parquet"], "entity_key": "id"},
    ],
}


def prepare(stage: Stage, folder: Path) -> None:
    """Write both hospitals' files and lay them beside their nodes."""
    splits = data.prepare(folder)
    for key, split in splits.items():
        shutil.copytree(split.folder, stage.nodes[key].home / "data", dirs_exist_ok=True)
    stage.facts["splits"] = splits


def play(stage: Stage) -> None:
    """Every step; raises StepFailed naming the one that did not hold."""
    register(stage)
    connect_data(stage)
    publish(stage)
    find(stage)
    agree(stage)
    query(stage)
    refusals(stage)
    settle(stage)
    end_contract(stage)
    proof.verify(stage)


def wait_for(stage: Stage, what: str, check: Any, seconds: float = 15.0) -> Any:
    """Poll `check()` until it gives something; the step fails by name if it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.03)
    stage.insist(False, f"{what} did not come within {seconds:.0f} s")
    return None


def _review_all(stage: Stage, number: int) -> None:
    """The functional node's reviewer approves `number` catalogue registrations."""
    node = stage["fn"]

    def waiting() -> list[Any]:
        found = node.registrations(state="submitted")
        return found if len(found) >= number else []

    for each in wait_for(stage, f"{number} submissions", waiting):
        node.review_registration(each.id, "approve")


def register(stage: Stage) -> None:
    """① Subjects and connectors register and are reviewed; codes and credentials are issued."""
    with stage.step(
        "register subjects and connectors", "主体与连接器登记", "fn", "identity.registered"
    ):
        for key in ("a", "b", "r"):
            stage[key].register_self()
        done: dict[str, str] = {}

        def approved() -> bool:
            for each in stage["fn"].applications(state="submitted"):
                stage["fn"].review(each.id, "approve")
            for key in ("a", "b", "r"):
                found = stage[key].registration()
                if found.state == "approved" and found.connector_code:
                    done[key] = found.connector_code
            return len(done) == 3

        wait_for(stage, "the three approvals", approved)
        until = {each["code"]: each["credential_expires_at"] for each in stage["fn"].members()}
        for key, code in done.items():
            stage.insist(len(code) == 32 and code[0] == "5", "the code is no N04 connector code")
            stage.insist(bool(until.get(code)), f"{stage.who(key)} was issued no credential")
            day = until[code][:10]
            stage.say(
                f"✓ {stage.who(key)}: connector {code}, credential until {day}",
                f"✓ {stage.who(key)}：连接器 {code}，凭证有效期至 {day}",
            )
        stage.facts["codes"] = done


def connect_data(stage: Stage) -> None:
    """② Each hospital points its connector at its Parquet files; they are profiled."""
    with stage.step(
        "connect and register the resources",
        "数据资源接入与登记",
        "a",
        "catalog.resource_registered",
    ):
        for key in ("a", "b"):
            resource = stage[key].add_resource(RESOURCE)
            stage[key].submit_resource(resource)
            rows = {table["name"]: table["rows"] for table in resource.tables}
            split = stage.facts["splits"][key]
            stage.insist(
                rows == {"patients": split.patients, "labs": split.values},
                f"the profile of {key} counts {rows}",
            )
            stage.facts[f"resource-{key}"] = resource.id
            stage.say(
                f"✓ {stage.who(key)}: {rows['patients']:,} patients, {rows['labs']:,} values"
                " profiled; the entity is the patient (id)",
                f"✓ {stage.who(key)}：已探查 {rows['patients']:,} 名患者、"
                f"{rows['labs']:,} 条检验值；主体为患者",
            )
        _review_all(stage, 2)
        for key in ("a", "b"):
            found = wait_for(
                stage,
                "the resource code",
                lambda key=key: stage[key].resource(stage.facts[f"resource-{key}"]).code,
            )
            stage.say(f"  resource {found}", f"  资源 {found}")
            stage.insist(found[0] == "7", "the code is no N04 resource code")


def listed_terms() -> Terms:
    """What each hospital asks at first."""
    return Terms(
        purposes=(PURPOSE,),
        columns=COLUMNS,
        expires_at=datetime.now(UTC).replace(microsecond=0) + timedelta(days=90),
        uses_max=4,
        rows_max=1000,
        row_filters=(("patients", "age >= 18"), ("labs", "test IN ('hdl', 'sbp', 'fib4')")),
        masks=(("patients.age", "round:10"),),
        minimum_group=10,
        per_use_fen=5000,
        per_row_fen=20,
    )


def publish(stage: Stage) -> None:
    """③ Each publishes a product with terms; reviewed, coded, listed, reported up."""
    with stage.step("publish the products", "数据产品登记与上架", "a", "catalog.listed"):
        terms = listed_terms()
        for key in ("a", "b"):
            party = stage.nodes[key].party
            product = stage[key].add_product(
                {
                    "title_zh": f"{party.name_zh}脂肪肝化验数据产品",
                    "title_en": f"{party.name_en} fatty liver laboratory data",
                    "description_zh": "按年龄段与性别统计肝病患者化验指标，用于临床研究",
                    "description_en": "Laboratory statistics of liver patients, for research",
                    "keywords": ["肝病", "化验", "liver", "laboratory"],
                    "resource_ids": [stage.facts[f"resource-{key}"]],
                    "terms": terms,
                    "negotiable": terms.but(
                        {"uses_max": 8, "price": {"per_use_fen": 4000, "per_row_fen": 10}}
                    ),
                }
            )
            stage[key].submit_product(product)
            stage.facts[f"product-{key}"] = product.id
        _review_all(stage, 2)
        for key in ("a", "b"):
            code = wait_for(
                stage,
                "the product code",
                lambda key=key: stage[key].own_product(stage.facts[f"product-{key}"]).code,
            )
            stage[key].list_product(stage.facts[f"product-{key}"])
            stage.facts[f"code-{key}"] = code
        _review_all(stage, 2)
        for key in ("a", "b"):
            wait_for(
                stage,
                "the listing",
                lambda key=key: (
                    stage[key].own_product(stage.facts[f"product-{key}"]).state == "listed"
                ),
            )
            code = stage.facts[f"code-{key}"]
            stage.say(f"✓ {code} listed by {stage.who(key)}", f"✓ {code} 已由{stage.who(key)}上架")
        stage.say(
            f"  purpose {PURPOSE} · 4 uses · 90 days · age masked to decades · adults only ·"
            " groups of at least 10 patients · 50.00 CNY a use, 0.20 a row",
            f"  用途 {PURPOSE} · 4 次 · 90 天 · 年龄按十岁分段 · 仅成年人 · 每组至少 10 名患者 ·"
            " 每次 50.00 元，每行 0.20 元",
        )
        stage.say(
            "  and, not shown to anyone: goes down to 8 uses at 40.00 + 0.10 by itself",
            "  另有不对外公开的底线：可自动让步至 8 次，每次 40.00 元加每行 0.10 元",
        )


def find(stage: Stage) -> None:
    """④ The researcher finds both at another node, by a Chinese and by an English word."""
    with stage.step("find at another node", "跨节点检索", "r", "catalog.listed", at="fn"):
        expected = {stage.facts["code-a"], stage.facts["code-b"]}
        for word in ("化验", "liver"):
            hits = stage["r"].search(word)
            stage.insist({hit.code for hit in hits} == expected, f"{word!r} found {len(hits)}")
            stage.say(f"✓ “{word}” finds {len(hits)}:", f"✓ 检索“{word}”，找到 {len(hits)} 个：")
            for hit in hits:
                stage.say(f"    {hit.code}  {hit.title_zh} · {hit.title_en}")


def _haggle(stage: Stage, key: str) -> Contract:
    """Ask for much, look at the provider's counter-offer, answer with our own, wait for both."""
    space = stage["r"]
    offer = space.offer(stage.facts[f"code-{key}"])
    ask = {"uses_max": 12, "price": {"per_use_fen": 2000, "per_row_fen": 5}}
    try:
        space.negotiate(offer, ask=ask)
    except NegotiationHeld as held:
        answer = space.negotiation(held.facts["negotiation_id"])
        # The provider's price is fair, but the study needs fewer uses than it grants.
        ours = answer.offers[-1].terms.but({"uses_max": 6})
        contract: Contract = space.wait_for_contract(space.counter_offer(answer, ours))
        return contract
    stage.insist(False, "the provider took the first offer")
    raise AssertionError


def _move(move: Any) -> tuple[str, str]:
    """One offer of a negotiation, in English and Chinese."""
    uses, a_use, a_row = (
        move.terms.uses_max,
        yuan(move.terms.per_use_fen),
        yuan(move.terms.per_row_fen),
    )
    return (
        f"{move.by} {uses} uses at {a_use} + {a_row} a row",
        f"{_SIDES_ZH[move.by]}：{uses} 次，每次 {a_use} 元加每行 {a_row} 元",
    )


def agree(stage: Stage) -> None:
    """⑤ Negotiate over DSP with one counter-offer each way; both sign."""
    with stage.step("negotiate and sign over DSP", "协商与双方签署", "r", "contract.in_force"):
        for key in ("a", "b"):
            started = time.monotonic()
            contract = _haggle(stage, key)
            took = (time.monotonic() - started) * 1000
            told = next(n for n in stage["r"].negotiations() if n.contract_id == contract.id)
            moves = [_move(move) for move in told.offers]
            stage.say(
                f"✓ {stage.who(key)} in {took:.0f} ms:", f"✓ {stage.who(key)}，{took:.0f} 毫秒："
            )
            for move, move_zh in moves:
                stage.say(f"    → {move}", f"    → {move_zh}")
            stage.insist(
                [m.by for m in told.offers] == ["consumer", "provider", "consumer"],
                "there was no counter-offer each way",
            )
            stage.insist(contract.signature_level == "both", "not both parties signed")
            theirs = wait_for(
                stage, "the provider's copy", lambda k=key, c=contract: _copy(stage, k, c)
            )
            stage.insist(theirs.terms == contract.terms, "the two copies differ")
            stage.facts[f"contract-{key}"] = contract
            stage.say(
                f"  contract {contract.id}, signed by both", f"  合约 {contract.id}，双方已签名"
            )


def _copy(stage: Stage, key: str, contract: Contract) -> Contract | None:
    found = [c for c in stage[key].contracts() if c.id == contract.id]
    return found[0] if found and found[0].state == "in_force" else None


def query(stage: Stage) -> None:
    """⑥ Plain SQL, an Arrow table, computed at each hospital under its contract."""
    with stage.step("query with plain SQL", "按合约使用数据", "r", "use.receipt"):
        for key in ("a", "b"):
            contract: Contract = stage.facts[f"contract-{key}"]
            table = stage["r"].sql(BY_SEX, contract, PURPOSE)
            got = [tuple(row.values()) for row in table.to_pylist()]
            split = stage.facts["splits"][key]
            names = ", ".join(table.schema.names)
            stage.say(
                f"✓ {stage.who(key)}: {table.num_rows} rows of {names}",
                f"✓ {stage.who(key)}：{table.num_rows} 行，列 {names}",
            )
            for sex, number, mean in got:
                who = "male" if sex else "female"
                stage.say(
                    f"    {who:<7} {number:>7,} HDL values, mean {mean:.2f}",
                    f"    {'男' if sex else '女'} {number:>7,} 条 HDL 检验值，均值 {mean:.2f}",
                )
            stage.insist(_equal(got, data.local_answer(split.folder)), "the answer is not right")
            ages = stage["r"].sql(BY_AGE, contract, PURPOSE)
            bands = ages.column("age").to_pylist()
            stage.insist(all(band % 10 == 0 for band in bands), "an age is not masked")
            withheld = (ages.schema.metadata or {}).get(b"yunhe.groups_withheld") == b"true"
            shown = ", ".join(map(str, bands))
            stage.say(
                f"  ages come masked to decades {shown}"
                + ("; groups under 10 patients were withheld" if withheld else ""),
                f"  年龄已按十岁分段：{shown}"
                + ("；不足 10 名患者的分组已隐去" if withheld else ""),
            )
            stage.bill("r", key)


def _equal(got: list[tuple[Any, ...]], truth: list[tuple[int, int, float]]) -> bool:
    same = [(row[0], row[1]) for row in got] == [(row[0], row[1]) for row in truth]
    return same and all(abs(g[2] - t[2]) < 1e-9 for g, t in zip(got, truth, strict=True))


def _refused(stage: Stage, what: str, code: str, call: Any) -> None:
    try:
        call()
    except YunheRefused as refused:
        stage.denied(_TRIED_ZH[what] if stage.lang == "zh" else what, refused)
        stage.insist(refused.code == code, f"{what}: expected {code}, got {refused.code}")
        for lang in ("zh", "en"):
            told = refused.sentence(lang) and refused.remedy(lang)
            stage.insist(bool(told), f"{what}: no sentence or no remedy in {lang}")
        return
    stage.insist(False, f"{what} was allowed")


def refusals(stage: Stage) -> None:
    """⑦ What the contract does not say is refused, with code, sentence and remedy."""
    with stage.step("try what was not agreed", "越权尝试均被拒绝", "r", "use.denied", at="a"):
        space, contract = stage["r"], stage.facts["contract-a"]
        before = space.bill(contract.id).total_fen

        def sql(text: str, purpose: str = PURPOSE) -> Any:
            return lambda: space.sql(text, contract, purpose)

        _refused(
            stage, "a hidden column", "COLUMN_NOT_AGREED", sql("SELECT avg(weight) FROM patients")
        )
        _refused(
            stage,
            "a group below the minimum",
            "GROUP_TOO_SMALL",
            sql("SELECT avg(bmi) FROM patients WHERE futime > 7200"),
        )
        _refused(stage, "a purpose not agreed", "PURPOSE_NOT_AGREED", sql(BY_SEX, "marketing"))
        stage.insist(space.bill(contract.id).total_fen == before, "a refusal was billed")
        left = space.contract(contract.id).uses_left or 0
        for _ in range(left):
            space.sql(BY_SEX, contract, PURPOSE)
        stage.say(f"  the {left} uses left are used up", f"  剩余 {left} 次使用已用完")
        _refused(stage, "one use too many", "USES_EXHAUSTED", sql(BY_SEX))
        token = space.create_token("guest", ["user"], ttl_s=1)
        time.sleep(1.1)
        with connect(stage.nodes["r"].address, token.token) as guest:
            _refused(
                stage,
                "an expired token",
                "TOKEN_EXPIRED",
                lambda: guest.sql(BY_SEX, contract, PURPOSE),
            )
        stage.bill("r", "a")


def settle(stage: Stage) -> None:
    """⑧ The researcher's node recomputes the statement from its own receipts; money moves."""
    with stage.step("recompute, settle, post", "对账与结算", "r", "statement.settled"):
        for key in ("a", "b"):
            contract = stage.facts[f"contract-{key}"]
            issued = stage[key].issue_statement(contract.id)

            def settled(key: str = key, contract: Contract = contract) -> bool:
                states = {
                    who: [s.state for s in stage[who].statements(contract.id)] for who in (key, "r")
                }
                stage.insist(
                    all("disputed" not in each for each in states.values()), "it is disputed"
                )
                return all(each == ["settled"] for each in states.values())

            wait_for(stage, "the settlement at both ends", settled)
            ours = stage.bill("r", key)
            theirs = stage.bill(key, key)
            stage.insist(ours == theirs == issued.total_fen, "the two bills differ")
            stage.say(
                f"✓ {stage.who(key)}: {issued.uses} uses recomputed from our own"
                f" receipts = {issued.total_fen / 100:.2f} CNY at both ends; transfer posted",
                f"✓ {stage.who(key)}：按本方回执复算 {issued.uses} 次使用，"
                f"双方均为 {issued.total_fen / 100:.2f} 元；转账已入账",
            )


def end_contract(stage: Stage) -> None:
    """⑨ The provider terminates; the next query is refused within a second."""
    with stage.step("terminate", "提供方终止合约", "b", "contract.terminated"):
        contract = stage.facts["contract-b"]
        stage["r"].sql(BY_SEX, contract, PURPOSE)
        stage["b"].issue_statement(contract.id)
        stage["b"].terminate(contract.id, "end of the study")
        started = time.monotonic()
        _refused(
            stage,
            "the next query",
            "CONTRACT_TERMINATED",
            lambda: stage["r"].sql(BY_SEX, contract, PURPOSE),
        )
        took = time.monotonic() - started
        stage.insist(took < 1.0, f"the refusal took {took:.2f} s")
        stage.say(
            f"  refused {took * 1000:.0f} ms after the termination",
            f"  终止后 {took * 1000:.0f} 毫秒即被拒绝",
        )
