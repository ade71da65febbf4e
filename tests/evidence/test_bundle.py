"""The bundle under attack: changed, dropped, reordered, re-signed, by strangers and by insiders."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evidence.bundle_world import (
    CONSUMER,
    CONTRACT,
    ORIGIN,
    PROVIDER,
    ROOT,
    World,
    key,
    parts,
    recompute,
    whole,
)
from yunhe import evidence
from yunhe.evidence import bundle as bundles
from yunhe.evidence import jws
from yunhe.evidence.attacks import bundle_at, members, parent_of
from yunhe.evidence.report_why import both
from yunhe.kernel.canonical import dumps, sha256_hex
from yunhe.kernel.db import Database
from yunhe.kernel.keys import jws_detached

VOUCHED_BY_THE_EXPORTER_ALONE = {"/exported_at"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def good(world: World) -> dict[str, Any]:
    return whole(world)


def _fields(bundle: dict[str, Any]) -> Iterator[str]:
    yield from (p for p in evidence.fields.leaves(bundle, 10**6, 64) if p != "/manifest")


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, -value - 1, str(value)]
    if isinstance(value, str):
        last = "A" if value[-1:] != "A" else "B"
        return [value + "x", value[:-1] + last, value[:-1], "", 7]
    return [None, "x"]


def _findings(bundle: Any, world: World) -> set[str]:
    report = evidence.verify_bundle(bundle, world.trust())
    assert not report.ok
    assert all(f.en and f.zh for f in report.findings)
    return {finding.pointer for finding in report.findings}


def _near(pointer: str, found: set[str]) -> bool:
    """Whether a finding is about the same part: the contract, one use, one settlement."""
    part = "/contract" if pointer.startswith("/contract") else "/".join(pointer.split("/")[:3])
    return any(f.startswith(part) or part.startswith(f) for f in found if f)


def test_a_whole_bundle_holds_and_says_what_it_is_about(good: dict, world: World) -> None:
    report = evidence.verify_bundle(good, world.trust())
    assert report.findings == ()
    assert report.ok
    assert report.facts == {
        "contract_id": CONTRACT,
        "provider": PROVIDER,
        "consumer": CONSUMER,
        "uses": 3,
        "rows": 16,
        "signatures": "both",
        "total_fen": 680,
        "settled": True,
    }
    assert [check.name for check in report.checks] == [
        "bounds", "shape", "manifest", "credentials", "contract", "uses", "settlements",
    ]  # fmt: skip
    assert report.to_json()["ok"] is True
    through_a_file = evidence.verify_bundle(__import__("json").loads(dumps(good)), world.trust())
    assert through_a_file.ok


class LiveWorld(World):
    """The same life, but the entries stand in a node's real log."""

    db: Database
    live: evidence.EvidenceLog

    def record(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        receipt = self.db.write(lambda tx: self.live.record(tx, kind, body))
        self.pending.append({"id": receipt.entry_id, "body": body})
        return self.pending[-1]

    def prove(self) -> None:
        for part in self.pending:
            entry_id = part.pop("id")
            proof = self.live.proof(entry_id).text()
            part.update(evidence.entry_part(self.live.entry(entry_id), proof))


def test_a_bundle_out_of_a_real_log_holds(db: Database) -> None:
    live = LiveWorld()
    live.db = db
    live.live = evidence.EvidenceLog(db, live.log, ORIGIN)
    live.live.install()
    assert evidence.verify_bundle(whole(live), live.trust()).findings == ()
    erased = live.live.find("use.posted")[0]
    db.write(lambda tx: live.live.erase(tx, erased.entry_id, "asked for"))
    with pytest.raises(ValueError, match="erased"):
        evidence.entry_part(live.live.entry(erased.entry_id), "")


def test_the_roots_credentials_are_enough_to_know_the_parties(good: dict, world: World) -> None:
    trust = world.trust()
    del trust["parties"]
    assert evidence.verify_bundle(good, trust).ok


def test_every_attack_of_a_stranger_is_refused_naming_the_field(good: dict, world: World) -> None:
    """All hashes that need no key are recomputed; the signatures are all that is left."""
    seen: dict[str, int] = {}
    for attack in evidence.attacks(good, key()):
        seen[attack.how] = seen.get(attack.how, 0) + 1
        assert attack.pointer in _findings(attack.bundle, world), (attack.how, attack.pointer)
        if attack.how == "signed":  # by what it says itself, not only by the exporter's manifest
            report = evidence.verify_bundle(recompute(attack.bundle, world), world.trust())
            found = {f.pointer for f in report.findings}
            assert attack.pointer in found or attack.pointer == "/manifest", attack.pointer
    assert seen["changed"] > 100
    assert seen["dropped"] > 150
    assert seen["reordered"] > 5
    assert seen["signed"] == 9 + 6 + 2 + 1  # documents, checkpoints, credentials, the manifest


def test_every_field_changed_to_any_value_is_named(good: dict, world: World) -> None:
    for pointer in _fields(good):
        parent, last = parent_of(good, pointer)
        for value in _other_values(parent[last]):
            changed = copy.deepcopy(good)
            parent, last = parent_of(changed, pointer)
            parent[last] = value
            assert pointer in _findings(changed, world), (pointer, value)


def test_every_field_changed_by_the_exporter_itself_is_refused(good: dict, world: World) -> None:
    """By the provider: it also signs a manifest over the forged fields."""
    for pointer in _fields(good):
        parent, last = parent_of(good, pointer)
        for value in _other_values(parent[last]):
            changed = copy.deepcopy(good)
            parent, last = parent_of(changed, pointer)
            parent[last] = value
            if recompute(changed, world)["manifest"] == good["manifest"]:
                continue
            report = evidence.verify_bundle(changed, world.trust())
            if pointer in VOUCHED_BY_THE_EXPORTER_ALONE:
                continue
            assert not report.ok, (pointer, value)
            assert _near(pointer, {f.pointer for f in report.findings}), (pointer, value)


def test_every_field_dropped_by_the_exporter_itself_is_refused(good: dict, world: World) -> None:
    for pointer in members(good):
        if pointer == "/manifest":
            continue
        changed = copy.deepcopy(good)
        parent, last = parent_of(changed, pointer)
        del parent[last]
        if recompute(changed, world) == good:
            continue  # a hash that the recomputation put back
        if pointer == "/settlements/1":
            continue  # an open period: test_the_latest_statement_left_away_by_the_exporter
        found = _findings(changed, world)
        if not isinstance(parent, list):  # a use left out shows at the line that bills it
            assert _near(pointer, found), pointer


def test_uses_without_a_statement_are_proven_and_not_settled(world: World) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = {**parts(fresh), "settlements": []}
    report = evidence.verify_bundle(evidence.make_bundle(made, world.provider), world.trust())
    assert report.ok
    assert all(check.ok for check in report.checks)
    assert [(n.pointer, n.code) for n in report.notices] == [("/settlements", "NOTHING_SETTLED")]
    assert (report.facts["settled"], report.facts["uses"]) == (False, 3)
    assert report.to_json()["notices"][0]["zh"].startswith("尚无账单")


def test_settlements_dropped_from_a_settled_bundle_are_named(good: dict, world: World) -> None:
    for kept in ([], good["settlements"][:1]):
        assert "/settlements" in str(_findings({**good, "settlements": kept}, world))


def test_the_latest_statement_left_away_by_the_exporter(good: dict, world: World) -> None:
    """What no bundle can show, and docs/evidence.md says: it then looks like an open period."""
    less = recompute({**copy.deepcopy(good), "settlements": good["settlements"][:1]}, world)
    report = evidence.verify_bundle(less, world.trust())
    assert report.ok
    assert [n.code for n in report.notices] == ["NOT_YET_SETTLED"]
    assert report.facts["settled"] is False
    first = recompute({**copy.deepcopy(good), "settlements": good["settlements"][1:]}, world)
    assert not evidence.verify_bundle(first, world.trust()).ok  # only at its end


def test_a_wrong_trust_file_is_said_first(good: dict) -> None:
    found = evidence.verify_bundle(good, {**World().trust(), "parties": {}}).findings
    assert found[0].code == "NO_TRUSTED_KEY"
    assert "--trust" in found[0].en
    assert "--trust" in found[0].zh


def test_every_reason_has_a_chinese_text() -> None:
    folder = Path(evidence.__file__).parent
    reasons = set()
    for name in ("merkle", "note", "proof", "verify_entries", "verify_terms"):
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        reasons |= set(re.findall(r'(?:BadProof|BadNote)\(f?"([^"]+)"', text))
    assert len(reasons) > 25
    for reason in reasons:
        said = re.sub(r"\{[^}]+\}", "7", reason)
        assert both(ValueError(said))[1] != both(ValueError("?"))[1], reason


def test_every_list_reordered_is_named(good: dict, world: World) -> None:
    lists = evidence.fields.lists_of(good)
    assert {"/uses", "/settlements", "/credentials", "/settlements/0/statement/lines"} <= lists
    for pointer in lists:
        changed = copy.deepcopy(good)
        parent, last = parent_of(changed, pointer)
        if len(parent[last]) < 2:
            continue
        parent[last].reverse()
        assert pointer in _findings(changed, world), pointer
        assert not evidence.verify_bundle(recompute(changed, world), world.trust()).ok, pointer


def test_a_member_too_many_is_named(good: dict, world: World) -> None:
    for pointer in ["", *members(good)]:
        changed = copy.deepcopy(good)
        target = bundle_at(changed, pointer) if pointer else changed
        if isinstance(target, dict):
            target["extra"] = "x"
            assert f"{pointer}/extra" in _findings(changed, world)
            assert not evidence.verify_bundle(recompute(changed, world), world.trust()).ok


def test_a_manifest_by_another_key_is_refused(good: dict, world: World) -> None:
    body = {name: value for name, value in good.items() if name != "manifest"}
    for stranger in (key(), world.consumer, world.log, world.root):
        changed = {**body, "manifest": bundles.manifest(body, stranger)}
        assert _findings(changed, world) == {"/manifest"}


def _resigned(good: dict, path: str, change: Callable[[str], str]) -> dict[str, Any]:
    changed = copy.deepcopy(good)
    parent, last = parent_of(changed, path)
    parent[last] = change(parent[last])
    return changed


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/contract/provider_jws", "/contract/agreement"),
        ("/contract/consumer_jws", "/contract/agreement"),
        ("/uses/1/receipt_jws", "/uses/1/receipt"),
        ("/settlements/0/provider_jws", "/settlements/0/statement"),
        ("/settlements/1/consumer_jws", "/settlements/1/statement"),
    ],
)
def test_a_document_signed_by_another_key_is_named(
    good: dict, world: World, path: str, document: str
) -> None:
    parent, last = parent_of(good, document)
    forged = jws_detached(key(), dumps(parent[last]))
    changed = recompute(_resigned(good, path, lambda _: forged), world)
    assert _findings(changed, world) == {path}


def test_the_provider_cannot_raise_its_bill_alone(world: World) -> None:
    """The worst insider: it forges meter, log entry, statement, transfer, manifest, all signed."""
    insider = World(world.root, world.provider, world.consumer, world.log)
    made = parts(insider)
    one, settled = made["uses"][0], made["settlements"][0]
    insider.pending.clear()
    one["entry"] = insider.record("use.posted", {**one["entry"]["body"], "rows": 9, "fee_fen": 245})
    statement = settled["statement"]
    statement["lines"][0] |= {"rows": 9, "fee_fen": 245}
    statement["total_fen"] += 30
    settled["provider_jws"] = jws_detached(world.provider, dumps(statement))
    transfer = {**settled["entry"]["body"]["transfer"], "amount_fen": statement["total_fen"]}
    body = {"statement_sha256": sha256_hex(statement), "transfer": transfer}
    settled["entry"] = insider.record("statement.settled", body)
    insider.prove()
    found = _findings(evidence.make_bundle(made, world.provider), world)
    assert "/uses/0/entry/body/rows" in found
    assert "/settlements/0/consumer_jws" in found


def test_a_payment_to_somebody_else_is_named(world: World) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = parts(fresh)
    fresh.pending.clear()
    settled = made["settlements"][0]
    transfer = settled["entry"]["body"]["transfer"] | {"credit": "did:web:thief.example#settlement"}
    body = {**settled["entry"]["body"], "transfer": transfer}
    settled["entry"] = fresh.record("statement.settled", body)
    fresh.prove()
    found = _findings(evidence.make_bundle(made, world.provider), world)
    assert found == {"/settlements/0/entry/body/transfer/credit"}


def test_a_use_billed_twice_is_named(world: World) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = parts(fresh)
    made["uses"].insert(1, copy.deepcopy(made["uses"][0]))
    found = _findings(evidence.make_bundle(made, world.provider), world)
    assert {"/uses/1/receipt/use_id", "/uses/1/entry/proof"} <= found


def test_more_uses_than_agreed_are_named(world: World) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = parts(fresh, rows=(1,) * 11)
    assert _findings(evidence.make_bundle(made, world.provider), world) == {"/uses"}


def test_the_consumer_may_export_out_of_its_own_log(world: World) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = parts(fresh)
    fresh.pending.clear()
    for one in made["uses"]:
        one["entry"] = fresh.record("use.receipt", {"receipt": one["receipt"]})
    fresh.prove()
    made["exporter"] = CONSUMER
    bundle = evidence.make_bundle(made, world.consumer)
    assert evidence.verify_bundle(bundle, world.trust()).ok
    bundle["uses"][0]["entry"], bundle["uses"][1]["entry"] = (
        bundle["uses"][1]["entry"],
        bundle["uses"][0]["entry"],
    )
    bundle["manifest"] = bundles.manifest(bundle, world.consumer)
    assert _findings(bundle, world) == {"/uses/0/entry/body", "/uses/1/entry/body"}


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "did:web:other.example"},
        {"iss": "did:web:other.example"},
        {"exp": 1767225601},
        {"nbf": 1798761500},
        {"exp": "never"},
        {"vc": {"credentialSubject": {"id": "did:web:other.example"}}},
        {"vc": None},
        {"cnf": None},
        {"cnf": {"jwk": key().public_jwk()}},
    ],
)
def test_a_credential_that_does_not_hold_is_named(world: World, changed: dict) -> None:
    fresh = World(world.root, world.provider, world.consumer, world.log)
    made = parts(fresh)
    made["credentials"][1] = world.credential(CONSUMER, world.consumer, **changed)
    bundle = evidence.make_bundle(made, world.provider)
    assert _findings(bundle, world) == {"/credentials/1"}


def test_a_credential_by_an_untrusted_root_is_named(world: World) -> None:
    stranger = World(key(), world.provider, world.consumer, world.log)
    bundle = whole(stranger)
    assert _findings(bundle, world) == {"/credentials/0", "/credentials/1"}


def test_a_log_that_is_not_trusted_or_shows_two_faces_is_named(good: dict, world: World) -> None:
    trust = world.trust()
    trust["logs"] = {}
    codes = {f.code for f in evidence.verify_bundle(good, trust).findings}
    assert codes == {"LOG_UNKNOWN"}
    other = World(world.root, world.provider, world.consumer, world.log)
    forked = copy.deepcopy(good)
    forked["uses"][2] = whole(other)["uses"][2]
    forked["manifest"] = bundles.manifest(
        {k: v for k, v in forked.items() if k != "manifest"}, world.provider
    )
    found = evidence.verify_bundle(forked, world.trust()).findings
    assert ("/uses/2/entry/proof", "LOG_FORKED") in {(f.pointer, f.code) for f in found}


HOSTILE: list[Any] = [
    None, [], "x", 7, {}, {"format": "yunhe-bundle/2"}, {"format": "yunhe-bundle/1"},
    {"format": "yunhe-bundle/1", "uses": [[]], "credentials": {}, "contract": 1, "manifest": {}},
    {"format": "yunhe-bundle/1", "uses": [float("nan")]},
    {"format": "yunhe-bundle/1", "uses": ["\ud800"]},
    {"format": "yunhe-bundle/1", "uses": 1 << 70},
    {"format": "yunhe-bundle/1", "": {"": {"": 1}}},
]  # fmt: skip


@pytest.mark.parametrize("bundle", HOSTILE)
def test_hostile_documents_give_findings_and_no_traceback(bundle: Any, world: World) -> None:
    assert evidence.verify_bundle(bundle, world.trust()).findings


def test_a_document_without_bottom_is_refused(good: dict, world: World) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"x": deep}
    assert _findings({**good, "exporter": deep}, world) == {""}


def test_every_type_in_every_place_gives_findings_and_no_traceback(
    good: dict, world: World
) -> None:
    for pointer in members(good):
        for value in (None, [], {}, [[]], {"x": 1}, -1, "", True, 1.5):
            changed = copy.deepcopy(good)
            parent, last = parent_of(changed, pointer)
            parent[last] = value
            evidence.verify_bundle(changed, world.trust())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"roots": []},
        lambda t: {**t, "more": 1},
        lambda t: {**t, "roots": [{"did": ROOT}]},
        lambda t: {**t, "roots": [{"did": ROOT, "jwk": {"kty": "RSA"}}]},
        lambda t: {**t, "parties": {PROVIDER: {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}},
        lambda t: {**t, "logs": {ORIGIN: "x"}},
        lambda t: {**t, "logs": {"other": t["logs"][ORIGIN]}},
        lambda t: {**t, "logs": []},
        lambda t: [],
    ],
)
def test_trust_that_cannot_be_used_is_an_error(good: dict, world: World, change: Any) -> None:
    with pytest.raises(evidence.BadTrust):
        evidence.verify_bundle(good, change(world.trust()))


def test_parts_must_be_whole(world: World) -> None:
    made = parts(World(world.root, world.provider, world.consumer, world.log))
    del made["uses"]
    with pytest.raises(ValueError, match="parts"):
        evidence.make_bundle(made, world.provider)


def test_jws_algorithms_are_not_negotiable(world: World) -> None:
    for header in ({"alg": "none"}, {"alg": "Ed25519", "crit": ["x"]}, {"alg": "HS256"}):
        head = jws.encode(dumps(header))
        body = jws.encode(b"{}")
        token = f"{head}.{body}.{jws.encode(world.root.sign(f'{head}.{body}'.encode()))}"
        with pytest.raises(jws.BadJws, match="algorithm"):
            jws.verify(world.root.public_jwk(), token)


BARE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        allowed = ("cryptography", "rfc8785", "yunhe", "cffi", "_cffi_backend")
        if name.split(".")[0] not in allowed and name.split(".")[0] not in sys.stdlib_module_names:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import json
from yunhe import evidence
bundle, trust = json.load(sys.stdin)
report = evidence.verify_bundle(bundle, trust)
assert report.ok, report.findings
assert "sqlalchemy" not in sys.modules and "joserfc" not in sys.modules
try:
    evidence.EvidenceLog
except ImportError:
    print("verified bare")
"""


def test_an_auditor_needs_only_cryptography_and_rfc8785(good: dict, world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        input=dumps([good, world.trust()]),
        capture_output=True,
        check=False,
    )
    assert done.stdout.strip() == b"verified bare", done.stderr.decode()
