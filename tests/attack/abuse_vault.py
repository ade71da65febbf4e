"""Abuses of what was delivered: reads past the contract, keys that stay, borrowed names, marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from attack.world import ROWS, Target
from flow.world import until
from yunhe.sdk import Contract, Terms, YunheRefused

SQL: Final = 'SELECT id, "Age" FROM patients'
PLAIN: Final = replace(ROWS, columns=("patients.id", "patients.Age"), masks=())
MARK: Final = "key=patients.id;share=1;patients.Age=1"


def _delivered(aim: Target, terms: Terms) -> tuple[Contract, str]:
    """A sealed delivery that has come."""
    contract, space = aim.agree(terms), aim.world["r"].space
    item = space.seal(contract, SQL)["id"]
    until("the delivery", lambda: space.vault_item(item)["state"] == "sealed")
    return contract, item


def _read(aim: Target, item: str, **said: str) -> str:
    """One read by a body of one's own: a refusal's code, or RUNS."""
    space = aim.world["r"].space
    headers = {"Authorization": f"Bearer {space.target.token}"}
    url = f"{space.target.base}/api/v1/vault/{item}/read"
    answer = space._http.post(url, json=said, headers=headers)
    return "RUNS" if answer.status_code == 200 else str(answer.json()["code"])


def _counted(aim: Target) -> str:
    """A contract of three uses: the delivery is one."""
    _, item = _delivered(aim, replace(PLAIN, uses_max=3))
    return " ".join(_read(aim, item) for _ in range(3))


def _expired(aim: Target) -> str:
    """A read after the end, and what is left of the key then."""
    ends = datetime.now(UTC) + timedelta(seconds=4)
    folder = aim.world["r"].config.data_dir / "vault"
    before = {*folder.glob("*.key")}
    _, item = _delivered(aim, replace(PLAIN, expires_at=ends))
    keys = {*folder.glob("*.key")} - before
    until("the end", lambda: datetime.now(UTC) > ends)
    code = _read(aim, item)
    try:
        until("its key gone", lambda: not any(each.exists() for each in keys), 6)
    except AssertionError:
        return f"{code}, KEY KEPT"
    return f"{'ENDED' if code in ('CONTRACT_EXPIRED', 'VAULT_DESTROYED') else code}, KEY GONE"


def _by_a_name(aim: Target) -> str:
    """The name of an agreed application, said by somebody who holds no token of it."""
    _, item = _delivered(aim, replace(PLAIN, applications=("notebook@1",)))
    return f"{_read(aim, item)} {_read(aim, item, application='notebook@1')}"


def _copies(aim: Target) -> str:
    """What two doors give of a marked product, against the data as it is."""
    contract, item = _delivered(aim, replace(PLAIN, watermark=MARK))
    space = aim.world["r"].space
    try:
        copies = (aim.world.ask(contract, SQL), space.vault_read(item))
    except YunheRefused as refused:
        return refused.code
    marked = [any(row["Age"] != 20 + row["id"] % 60 for row in each.to_pylist()) for each in copies]
    return f"MARKED {marked.count(True)} of 2"


VAULT: Final = {
    ("more reads than agreed", "RUNS RUNS USES_EXHAUSTED"): _counted,
    ("after the end", "ENDED, KEY GONE"): _expired,
    ("a name without its token", "APPLICATION_NOT_AGREED APPLICATION_UNPROVEN"): _by_a_name,
    ("a copy without its mark", "MARKED 2 of 2"): _copies,
}
