"""Search over ~2,000 bilingual products: what it finds equals a plain scan, page by page."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.catalogs import evidence, read_terms
from catalog.test_rules import PRODUCT
from yunhe import catalog
from yunhe.catalog import Register, search, store, tokens
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, Tx, create_all, open_database

ROWS = 2000
ZH = [
    "肝病",
    "患者",
    "随访",
    "脂肪肝",
    "检验",
    "糖尿病",
    "企业",
    "信用",
    "交通",
    "运河",
    "水质",
    "气象",
]
EN = [
    "liver",
    "patients",
    "follow-up",
    "NAFLD",
    "laboratory",
    "diabetes",
    "credit",
    "canal",
    "water",
]
DIDS = ["did:web:a.example", "did:web:b.example", "did:web:c.example"]


def record(pick: random.Random, number: int) -> dict[str, Any]:
    zh = "".join(pick.choices(ZH, k=3))
    return {
        **PRODUCT,
        "title_zh": f"{zh}数据{number}",
        "title_en": f"{pick.choice(EN)} {pick.choice(EN)} data {number}",
        "description_zh": "、".join(pick.choices(ZH, k=4)),
        "description_en": " ".join(pick.choices(EN, k=4)),
        "keywords": pick.choices(ZH + EN, k=2),
        "topic_category": pick.choice(["C0200", "B0300", "A0400"]),
        "provider_name": pick.choice(["第一医院", "市交通局", "Canal Institute"]),
    }


def put(tx: Tx, number: int, made: dict[str, Any], **values: Any) -> None:
    """A registered product, straight into the register."""
    store.insert_registered(
        tx,
        {
            "code": f"6{number:031d}",
            "kind": "product",
            "origin_did": DIDS[number % 3],
            "origin_code": "5" * 32,
            "origin_address": "https://p.example",
            "local_id": f"p{number}",
            "version": 1,
            "record": made,
            "state": "registered",
            "listing_state": "listed",
            "visible_to": [],
            "fingerprint": "",
            **values,
        },
    )


def fill(db: Database) -> None:
    pick = random.Random(7)  # noqa: S311  the same catalogue every time

    def verb(tx: Tx) -> None:
        for number in range(ROWS):
            shown = {} if number % 5 else {"visible_to": [DIDS[0]]}
            listed = {} if number % 7 else {"listing_state": "delisted"}
            put(tx, number, record(pick, number), **shown, **listed)

    db.write(verb)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Register]]:
    folder = tmp_path_factory.mktemp("market")
    db = open_database(f"sqlite:///{folder / 'node.db'}", ManualClock())
    create_all(db)
    fill(db)
    register = Register(db, evidence(db, folder / "keys"), read_terms, "3301")
    # Half is indexed, then 30 rows change: answers come from both.
    register.refresh()

    def change(tx: Tx) -> None:
        for number in range(0, 300, 10):
            code = f"6{number:031d}"
            values = {"listing_state": "delisted"} if number % 20 else {"visible_to": [DIDS[1]]}
            store.set_registered(tx, code, **values)

    db.write(change)
    yield db, register
    register.stop()
    db.close()


def scan(db: Database, text: str, caller: str, topics: tuple[str, ...]) -> list[str]:
    """The plain answer: every row read, every term looked for, newest first."""
    terms = tokens.query_terms(text)
    rows = db.read(lambda tx: store.changed_since(tx, 0, ROWS * 2))
    found = []
    for row in rows:
        made = row.record
        texts = [
            made["title_zh"], made["title_en"], made["description_zh"], made["description_en"],
            *made["keywords"], made["provider_name"], made["usage_scenario"],
            "patients", "id", "age",
        ]  # fmt: skip
        if not (search.is_public(row) and search.may_see(row, caller)):
            continue
        if topics and made["topic_category"] not in topics:
            continue
        if tokens.matches(terms, texts):
            found.append((row.seq, row.code))
    return [code for _, code in sorted(found, reverse=True)]


ODD = ["肝", "病", "病患", "肝病患者", "脂肪", "数据", "患者随访", "不存在", "医院"]
ODD += ["lab", "liv", "NA", "ＮＡＦＬＤ", "Liver", "data", "12", "follow-up data"]
WORDS = st.sampled_from([*ZH, *EN, *ODD])


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(WORDS, max_size=3),
    caller=st.sampled_from(["", *DIDS, "did:web:nobody.example"]),
    topics=st.sampled_from([(), ("C0200",), ("C0200", "B0300")]),
    order=st.sampled_from(["newest", "oldest", "score"]),
    limit=st.integers(1, 50),
    offset=st.integers(0, 120),
)
def test_search_equals_a_plain_scan(
    market: tuple[Database, Register],
    words: list[str],
    caller: str,
    topics: tuple[str, ...],
    order: str,
    limit: int,
    offset: int,
) -> None:
    db, register = market
    text = " ".join(words)
    expected = scan(db, text, caller, topics)
    filters = {"topic_category": topics} if topics else {}
    page = register.search(text, caller, limit, offset, order, filters)
    assert page.total == len(expected)
    codes = [hit.code for hit in page.hits]
    assert len(codes) == len(set(codes)) == max(0, min(limit, len(expected) - offset))
    if order == "score":
        assert set(codes) <= set(expected)
    else:
        expected = expected if order == "newest" else expected[::-1]
        assert codes == expected[offset : offset + limit]


def test_pages_of_a_score_order_cover_everything_once(market: tuple[Database, Register]) -> None:
    db, register = market
    expected = scan(db, "肝病", "", ())
    found: list[str] = []
    while len(found) < len(expected):
        found += [hit.code for hit in register.search("肝病", "", 70, len(found), "score").hits]
    assert sorted(found) == sorted(expected)


def test_titles_weigh_more(db: Database, tmp_path: Path) -> None:
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")
    plain = {**PRODUCT, "title_zh": "水质", "title_en": "Water", "description_en": "a canal"}
    db.write(lambda tx: put(tx, 1, {**plain, "title_zh": "运河", "title_en": "Canal"}))
    db.write(lambda tx: put(tx, 2, {**plain, "description_zh": "运河"}))
    register.refresh()
    for text in ("运河", "canal"):
        assert [hit.code[-1] for hit in register.search(text).hits] == ["1", "2"], text
    register.stop()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("证券代码", True), ("证券", True), ("券代", True), ("券", True), ("代码 证券", True),
        ("代证", False), ("证码", False), ("码上", False), ("上市公司证券", False),
        ("ＳＥＣＵＲＩＴＩＥＳ", True), ("secur", True), ("se", False), ("securities 证券", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("indexed", [True, False])
def test_two_characters_are_a_word(
    db: Database, tmp_path: Path, text: str, found: bool, indexed: bool
) -> None:
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")
    made = {
        **PRODUCT,
        "title_zh": "证券代码",
        "title_en": "Securities",
        "description_zh": "上市公司",
    }
    db.write(lambda tx: put(tx, 1, made))
    if indexed:
        register.refresh()
    assert register.search(text).total == int(found)
    register.stop()


def test_an_invisible_product_does_not_even_count(any_db: Database, tmp_path: Path) -> None:
    db = any_db
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")
    db.write(lambda tx: put(tx, 0, {**PRODUCT, "title_zh": "密"}, visible_to=[DIDS[1]]))
    for _ in range(2):  # fresh, then indexed
        assert register.search("密").total == 0
        assert register.search("密", DIDS[2]).total == 0
        assert register.search("密", DIDS[1]).total == 1
        assert register.search("密", DIDS[0]).total == 1  # its own
        with pytest.raises(catalog.EntryNotFound):
            register.detail("6" + "0" * 31, DIDS[2])
        register.refresh()
    register.stop()


def test_the_index_outlives_the_process_and_its_damage(db: Database, tmp_path: Path) -> None:
    log = evidence(db, tmp_path / "keys")
    folder = tmp_path / "index"

    def opened() -> Register:
        return Register(db, log, read_terms, "3301", index_folder=folder)

    db.write(lambda tx: put(tx, 1, PRODUCT))
    first = opened()
    position = first.refresh()
    first.stop()
    again = opened()
    assert again._search.position == position
    assert again.search("肝病").total == 1
    again.stop()
    (folder / "meta.json").write_text("not an index")
    third = opened()
    assert third._search.position == 0
    assert third.search("肝病").total == 1  # from the database, until it is indexed again
    assert third.rebuild() == position
    assert third.search("肝病").total == 1
    third.stop()
    (folder / "position.json").write_text('{"layout": 1, "position": 999}')
    fourth = opened()  # a database restored from an older copy
    assert fourth.search("肝病").total == 1
    assert fourth._search.position == position
    fourth.stop()


def test_many_fresh_rows_are_indexed_before_the_answer(db: Database, tmp_path: Path) -> None:
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")

    def verb(tx: Tx) -> None:
        for number in range(limits.SEARCH_FRESH_ROWS_MAX + 5):
            put(tx, number, PRODUCT)

    db.write(verb)
    assert register.search("肝病").total == limits.SEARCH_FRESH_ROWS_MAX + 5
    assert register._search.position == limits.SEARCH_FRESH_ROWS_MAX + 5
    register.stop()


def test_the_background_thread_catches_up(db: Database, tmp_path: Path) -> None:
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")
    register.start()
    db.write(lambda tx: put(tx, 1, PRODUCT))
    deadline = time.monotonic() + 10
    while register._search.position < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    register.stop()


@given(st.text(alphabet=string.printable + "肝病患者脂随访、。·あ가𠀀", max_size=40))
def test_tokens_never_fail_and_match_themselves(text: str) -> None:
    terms = tokens.query_terms(text)
    assert tokens.matches(terms, [text])
    assert all(tokens.matches([term], [f"前缀 {text} suffix"]) for term in terms)


def test_what_is_no_search_is_refused(db: Database, tmp_path: Path) -> None:
    register = Register(db, evidence(db, tmp_path / "keys"), read_terms, "3301")
    for wrong in (
        {"text": "字" * 200},
        {"text": " ".join(string.ascii_lowercase)},
        {"text": "！？"},
        {"text": "a", "limit": -1},
        {"text": "a", "limit": limits.SEARCH_LIMIT_MAX + 1},
        {"text": "a", "offset": -1},
        {"text": "a", "order": "price"},
        {"text": "a", "filters": {"state": ("x",)}},
        {"text": "a", "filters": {"topic_category": ()}},
    ):
        with pytest.raises(catalog.SearchTooWide):
            register.search(**wrong)  # type: ignore[arg-type]
    register.stop()
