"""⑩ The evidence bundle: exported, verified offline, then attacked field by field.

In: the settled contract of hospital A. Out: a bundle and a trust file that stay. The
trusted keys come from the nodes' DID documents and logs, not from the bundle.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from yunhe import evidence
from yunhe.demo.stage import Stage
from yunhe.kernel.keys import KeyStore
from yunhe.sdk import gather_trust

_FORGED_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {"changed": "改动", "dropped": "删除", "reordered": "换序", "signed": "重签"}
)


def verify(stage: Stage) -> None:
    """Export the bundle, verify it with the command line, and break every field in turn."""
    with stage.step(
        "verify offline, then attack the proof", "离线验证与篡改检验", "r", "statement.settled"
    ):
        contract = stage.facts["contract-a"]
        bundle = stage["r"].bundle(contract.id)
        trust = trusted(stage)
        paths = stage.bundle_file, stage.trust_file
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, (bundle, trust), strict=True):
            path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        _by_command(stage, *paths)
        _attacked(stage, bundle, trust, stage.nodes["r"].home.parent)


def trusted(stage: Stage) -> dict[str, Any]:
    """The keys an auditor holds: the trust root's, both parties', both logs'."""
    address = {key: node.address for key, node in stage.nodes.items()}
    return gather_trust([address["fn"]], [address["a"], address["r"]])


def _by_command(stage: Stage, bundle: Path, trust: Path) -> None:
    command = [sys.executable, "-m", "yunhe", "verify", str(bundle), "--trust", str(trust)]
    run = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    stage.insist(run.returncode == 0, f"yunhe verify said {run.stdout}{run.stderr}"[:500])
    report = json.loads(run.stdout)
    size = bundle.stat().st_size
    typed = f"✓ yunhe verify {bundle.name} --trust {trust.name}"
    stage.say(f"{typed}: {size:,} bytes, it holds", f"{typed}：{size:,} 字节，验证成立")
    for check in report["checks"]:
        stage.say(
            f"    {check['name']:<12} {check['zh']} · {check['en']}",
            f"    {check['name']:<12} {check['zh']}",
        )


def _attacked(stage: Stage, bundle: dict[str, Any], trust: dict[str, Any], folder: Path) -> None:
    stranger = KeyStore(folder / "stranger").key("did")
    refused: Counter[str] = Counter()
    example: dict[str, tuple[str, str]] = {}
    with stage.console.status("forging the bundle, one field at a time …"):
        for attack in evidence.attacks(bundle, stranger):
            report = evidence.verify_bundle(attack.bundle, trust)
            what = f"{attack.pointer} {attack.how}"
            stage.insist(not report.ok, f"{what}: the bundle still verifies")
            named = [each for each in report.findings if each.pointer == attack.pointer]
            stage.insist(bool(named), f"{what}: refused, but the field is not named")
            refused[attack.how] += 1
            if attack.pointer.count("/") >= 3:
                told = f"{attack.pointer}: {named[0].code}, "
                example.setdefault(attack.how, (told + named[0].en, told + named[0].zh))
    stage.insist(
        set(refused) == {"changed", "dropped", "reordered", "signed"}, f"only {sorted(refused)}"
    )
    for how, number in sorted(refused.items()):
        stage.say(
            f"⊘ {how:<9} {number:>4} forgeries, each refused by name",
            f"⊘ {_FORGED_ZH[how]} {number:>4} 处伪造，均被拒绝并指出字段",
        )
        en, zh = example.get(how, ("", ""))
        stage.say(f"    e.g. {en}", f"    例：{zh}")
