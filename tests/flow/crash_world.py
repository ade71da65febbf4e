"""Three real node processes to be killed: a functional node, a provider, a consumer.

In: a seed for the data, crash points to arm. Out: what was acknowledged, and, after a restart, the
proof that it still holds at both ends: agreements, uses, money, logs, empty outboxes.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from yunhe.demo.errors import NodeDidNotStart
from yunhe.demo.nodes import FUNCTIONAL, HOSPITAL_A, RESEARCH, NodeProcess, free_ports
from yunhe.evidence import EvidenceLog
from yunhe.evidence.tiles import WIDTH
from yunhe.kernel import limits
from yunhe.kernel.db import open_database
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import KeyStore
from yunhe.sdk import Contract, Offer, Space, Terms, connect

T = TypeVar("T")

PROVIDER, CONSUMER = "a", "r"
PARTIES = (FUNCTIONAL, HOSPITAL_A, RESEARCH)
PURPOSE = "clinical-research"
PATIENTS, VISITS = 300, 300_000
SMALL = "SELECT id, age FROM patients WHERE id < 40"
LARGE = "SELECT id, note FROM visits"
PER_USE_FEN, PER_ROW_FEN, ROWS_MAX = 100, 3, 1_000_000
TERMS = Terms(
    purposes=(PURPOSE,),
    columns=("patients.id", "patients.age", "visits.id", "visits.note"),
    rows_max=ROWS_MAX,
    per_use_fen=PER_USE_FEN,
    per_row_fen=PER_ROW_FEN,
)
# A message whose peer was down for long waits this long at most, and is then delivered.
SETTLE_S_MAX = 30.0 + limits.OUTBOX_BACKOFF_S_MAX
_SETTINGS = 'review = "auto"\nworkers = 1\nworker_memory_mb = 512\n'


def until(what: str, check: Callable[[], T], seconds: float = 30.0) -> T:
    """Poll `check` until it gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.03)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


def synthetic(folder: Path, seed: int) -> None:
    """`patients.parquet`, small, and `visits.parquet`, tens of MB once it travels as Arrow."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)  # noqa: S311  dice, not a secret
    ages = [dice.randrange(18, 90) for _ in range(PATIENTS)]
    patients = pa.table({"id": list(range(PATIENTS)), "age": ages})
    pq.write_table(patients, folder / "patients.parquet")
    texts = [dice.randbytes(64).hex() for _ in range(64)]
    notes = [texts[i % 64] for i in range(VISITS)]
    visits = pa.table({"id": [i % PATIENTS for i in range(VISITS)], "note": notes})
    pq.write_table(visits, folder / "visits.parquet")


@dataclass
class Acknowledged:
    """What the nodes said was done; a crash may take none of it back."""

    contracts: set[str] = field(default_factory=set)
    uses: dict[str, int] = field(default_factory=dict)  # use_id -> rows
    statements: set[str] = field(default_factory=set)


class CrashWorld:
    """The three processes, their clients, and the books that must agree."""

    def __init__(self, home: Path, seed: int = 7, provider_address: str = "") -> None:
        """`provider_address`: where others reach the provider, when that is not its own port."""
        ports = free_ports(len(PARTIES))
        self.nodes: dict[str, NodeProcess] = {}
        for party, port in zip(PARTIES, ports, strict=True):
            node = NodeProcess(party, port, home / party.key, ports[0])
            file = node.home / "node.toml"
            text = file.read_text("utf-8")
            if party.key == PROVIDER and provider_address:
                text = text.replace(node.address, provider_address)
            file.write_text(_SETTINGS + text, "utf-8")
            self.nodes[party.key] = node
        synthetic(home / PROVIDER / "data", seed)
        self.public = {key: node.address for key, node in self.nodes.items()}
        self.public[PROVIDER] = provider_address or self.public[PROVIDER]
        self.done = Acknowledged()
        self.contract_id = ""
        self.offer: Offer | None = None

    # -- life -------------------------------------------------------------------------------

    def open(self) -> None:
        """Start all, register, publish, agree on one contract."""
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_up()
        for key in (PROVIDER, CONSUMER):
            with self.space(key) as space:
                space.register_self()
        for key in (PROVIDER, CONSUMER):
            until("the connector code", lambda key=key: self._registered(key))
        with self.space(PROVIDER) as space:
            code = _publish(space)
        with self.space(CONSUMER) as space:
            self.offer = space.offer(code)
            contract: Contract = space.negotiate(self.offer)
        self.contract_id = contract.id
        self.done.contracts.add(contract.id)

    def _registered(self, key: str) -> bool:
        with self.space(key) as space:
            return bool(space.registration().connector_code)

    def close(self) -> None:
        """End every process."""
        for node in self.nodes.values():
            node.stop()

    @contextmanager
    def space(self, key: str) -> Iterator[Space]:
        """A fresh client of a node: no connection survives a kill."""
        node = self.nodes[key]
        token = (node.home / "var" / "admin.token").read_text("utf-8").strip()
        with connect(node.address, token, timeout_s=20) as space:
            yield space

    def restart(self, key: str, crash: str = "") -> bool:
        """End the node if it runs and start it, armed or not; False if it died starting."""
        self.nodes[key].stop()
        self.nodes[key].start(crash=crash)
        try:
            self.nodes[key].wait_up()
        except NodeDidNotStart:
            assert crash, f"{key} did not start; see {self.nodes[key].log}"
            return False
        return True

    def killed(self, key: str) -> bool:
        """Whether the node died, which must then have been by SIGKILL."""
        node = self.nodes[key]
        if not node.died():
            return False
        assert node.exit_code == -signal.SIGKILL, f"{key} ended with {node.exit_code}"
        return True

    # -- the flow ---------------------------------------------------------------------------

    def work(self, rounds: int, over: Callable[[], bool]) -> bool:
        """Query, negotiate, settle, over and over until `over()`; True if it was."""
        for number in range(rounds):
            for act in (self.query, self.negotiate, self.settle, self.query_much):
                if act == self.query_much and number % 4:
                    continue  # tens of megabytes: now and then
                _tried(act)
                if over():
                    return True
            if _quiet(lambda: over() or self.idle(), 1.0) and over():
                return True
        return over()

    def query(self, sql: str = SMALL) -> None:
        """One use, whole; acknowledged once the client has the table."""
        use_id = str(uuid.uuid4())
        with self.space(CONSUMER) as space:
            table = space.sql(sql, self.contract_id, PURPOSE, use_id=use_id)
        self.done.uses[use_id] = table.num_rows

    def query_much(self) -> None:
        """A use of many batches."""
        self.query(LARGE)

    def negotiate(self) -> None:
        """One more contract on the listed terms."""
        assert self.offer is not None
        with self.space(CONSUMER) as space:
            made = space.propose(self.offer)
            for _ in range(40):
                made = space.negotiation(made.id, wait_s=0.2, since_version=made.version)
                if made.state == "FINALIZED":
                    self.done.contracts.add(str(made.contract_id))
                    return
                if any(node.died() for node in self.nodes.values()):
                    return

    def settle(self) -> None:
        """The provider states what is open."""
        with self.space(PROVIDER) as space:
            self.done.statements.add(space.issue_statement(self.contract_id).id)

    def fill_tile(self, key: str) -> None:
        """Entries of no meaning, until the next few fill a tile of the log."""
        near = f"SELECT max(size) % {WIDTH} >= {WIDTH - 4} FROM evidence_checkpoint"
        with self.space(key) as space:
            while self.rows(key, near) != [(1,)]:
                made = space.create_token("filler", ["auditor"], ttl_s=60)
                space.revoke_token(made.token_id)

    def tiles(self, key: str) -> int:
        """How many tiles of 256 entries the node's log has written."""
        ((found,),) = self.rows(key, "SELECT count(*) FROM evidence_tile WHERE level = 0")
        return int(found)

    # -- what must hold ---------------------------------------------------------------------

    def rows(self, key: str, query: str) -> list[tuple[Any, ...]]:
        """A read of the node's own database file, beside the node."""
        file = self.nodes[key].home / "var" / "node.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def idle(self) -> bool:
        """Whether nothing is on its way at either end."""
        return not any(self.waiting(key) for key in (PROVIDER, CONSUMER))

    def settled(self) -> None:
        """Wait until the nodes have told each other everything."""
        if not _quiet(self.idle, SETTLE_S_MAX):
            raise AssertionError(f"still waiting: {[self.waiting(k) for k in self.nodes][1:]}")

    def waiting(self, key: str) -> list[tuple[Any, ...]]:
        """Messages unsent, uses without outcome, statements without answer, unfinished uses."""
        return [
            *self.rows(key, "SELECT kind, state, last_error FROM outbox WHERE state <> 'sent'"),
            *self.rows(key, "SELECT 'asked', use_id FROM exchange_asked"),
            *self.rows(
                key, "SELECT 'statement', statement_id FROM exchange_statement WHERE state='issued'"
            ),
            *self.rows(
                key, "SELECT state, use_id FROM control_use WHERE state IN ('reserved','released')"
            ),
        ]

    def check(self) -> None:
        """Everything that a crash must not break; both nodes up and unarmed."""
        both = (PROVIDER, CONSUMER)
        self.settled()
        self._bill_the_rest()
        self._check_agreements()
        self._check_uses()
        self._check_money()
        for key in both:
            self.verify_log(key)

    def _bill_the_rest(self) -> None:
        """Uses posted since the last statement go on one more."""
        for _ in range(3):
            try:
                self.settle()
            except YunheError as error:
                if error.code != "NOTHING_TO_BILL":
                    raise
                return
            self.settled()
        raise AssertionError("there is always something left to bill")

    def _check_agreements(self) -> None:
        contracts = [set(self.rows(key, "SELECT id, state FROM contracts")) for key in self._both()]
        assert contracts[0] == contracts[1]
        assert self.done.contracts <= {found[0] for found in contracts[0]}
        held = "SELECT {}, {}, state, contract_id FROM contract_negotiations WHERE peer_pid <> ''"
        assert set(self.rows(PROVIDER, held.format("id", "peer_pid"))) == set(
            self.rows(CONSUMER, held.format("peer_pid", "id"))
        )
        open_ones = "SELECT id, state FROM contract_negotiations WHERE state NOT IN {}"
        for key in self._both():
            assert not self.rows(key, open_ones.format("('FINALIZED', 'TERMINATED')"))

    def _check_uses(self) -> None:
        posted = self.rows(
            PROVIDER, "SELECT use_id, rows, fee_fen FROM control_use WHERE state='posted'"
        )
        lines = self.rows(
            PROVIDER,
            "SELECT l.use_id, l.fee_fen FROM exchange_line l JOIN exchange_statement s"
            " ON s.statement_id = l.statement_id WHERE s.state = 'settled'",
        )
        assert sorted(lines) == sorted((use, fee) for use, _, fee in posted), "not billed once"
        assert all(fee == PER_USE_FEN + PER_ROW_FEN * rows for _, rows, fee in posted)
        receipts = self.rows(
            CONSUMER, "SELECT use_id, json_extract(body, '$.rows') FROM exchange_receipt"
        )
        assert sorted(receipts) == sorted((use, rows) for use, rows, _ in posted)
        assert self.done.uses.items() <= dict(receipts).items(), "an acknowledged use is lost"
        disputed = "SELECT statement_id, differences FROM exchange_statement WHERE state='disputed'"
        for key in self._both():
            assert not self.rows(key, disputed)

    def _check_money(self) -> None:
        totals = []
        for key in self._both():
            with self.space(key) as space:
                bill = space.bill(self.contract_id)
            assert bill.unbilled_fen == 0
            totals.append((bill.uses, bill.rows, bill.total_fen))
        assert totals[0] == totals[1]
        known = "SELECT statement_id FROM exchange_statement"
        assert self.done.statements <= {row[0] for row in self.rows(PROVIDER, known)}
        assert set(self.rows(PROVIDER, known)) == set(self.rows(CONSUMER, known))

    def _both(self) -> tuple[str, str]:
        return PROVIDER, CONSUMER

    def verify_log(self, key: str) -> int:
        """Recompute the node's log from its rows; its size. Raises LogCorrupt."""
        folder = self.nodes[key].home / "var"
        database = open_database(f"sqlite:///{folder / 'node.db'}")
        try:
            signer = KeyStore(folder / "keys").key("log")
            origin = urlsplit(self.public[key]).netloc + "/log"
            return EvidenceLog(database, signer, origin).verify_all()
        finally:
            database.close()


def _tried(act: Callable[[], None]) -> None:
    """A verb that may be refused or cut: what it did not acknowledge may be or not be."""
    try:
        act()
    except YunheError as error:
        if error.code in ("INTERNAL", "DATABASE_FAILED"):
            raise


def _quiet(check: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return False


def _publish(space: Space) -> str:
    texts = {"description_zh": "合成数据", "description_en": "Synthetic"}
    names = ("patients", "visits")
    tables = [{"name": n, "paths": [f"{n}.parquet"], "entity_key": "id"} for n in names]
    resource = space.add_resource(
        {"title_zh": "合成队列", "title_en": "Synthetic cohort", **texts, "tables": tables}
    )
    space.submit_resource(resource)
    until("the resource's code", lambda: space.resource(resource.id).code)
    made = space.add_product(
        {
            "title_zh": "合成产品",
            "title_en": "Synthetic product",
            **texts,
            "keywords": ["合成", "synthetic"],
            "resource_ids": [resource.id],
            "terms": TERMS,
        }
    )
    space.submit_product(made)
    code = until("the product's code", lambda: space.own_product(made.id).code)
    space.list_product(made)
    until("the listing", lambda: space.own_product(made.id).state == "listed")
    assert code is not None
    return code


@contextmanager
def crash_world() -> Iterator[CrashWorld]:
    """Such a world, opened, in a folder of its own; all of it ends with the block."""
    # Not under pytest's own folder: a session that runs beside this one may tidy that away.
    with tempfile.TemporaryDirectory(prefix="yunhe-crash-") as home:
        made = CrashWorld(Path(home))
        try:
            made.open()
            yield made
        finally:
            made.close()
