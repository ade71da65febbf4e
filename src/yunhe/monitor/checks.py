"""`yunhe doctor`: what this node lacks or soon will, each with what to do about it.

In: the node's parts, its folder, its parent's clock. Out: a `Check` each, in the order of the page
(docs/operating.md). A check that cannot be made says so: it never ends the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from yunhe.kernel import backlog, backup, limits
from yunhe.kernel.clock import to_second
from yunhe.kernel.errors import YunheError
from yunhe.monitor.expiry import certificate_ends, key_ages
from yunhe.monitor.model import FAIL, OK, WARN, Check, Watched

_MIB: Final = 1 << 20
_ASK_PARENT: Final = (
    "See `yunhe register --show`; the parent renews it at half of its life: is it reachable?",
    "请查看 yunhe register --show；上级在有效期过半时续签：上级是否可达？",
)
_NEW_CERTIFICATE: Final = (
    "Put the renewed certificate in place of flight_tls_cert and restart the node.",
    "请更换 flight_tls_cert 所指证书并重启节点。",
)


class Checks:
    """The looks ahead of one node."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def run(self) -> tuple[Check, ...]:
        """Every check, made now; at most CLOCK_ASKED_S_MAX for the parent's answer."""
        every: Sequence[tuple[str, Callable[[], Check | None]]] = (
            ("disk", self._disk),
            ("schema", self._schema),
            ("evidence", self._evidence),
            ("outbox", self._outbox),
            ("credential", self._credential),
            ("certificate", self._certificate),
            ("keys", self._keys),
            ("clock", self._clock),
            ("backup", self._backup),
        )
        made = (_made(name, check) for name, check in every)
        return tuple(each for each in made if each is not None)

    def _disk(self) -> Check:
        found = shutil.disk_usage(self._watched.config.data_dir)
        free = found.free
        en, zh = f"{free // _MIB:,} MiB free in data_dir", f"data_dir 可用 {free // _MIB:,} MiB"
        if free >= limits.DISK_FREE_BYTES_LOW:
            return Check("disk", OK, en, zh)
        state = FAIL if free < limits.DISK_FREE_BYTES_MIN else WARN
        mend = "Free space there: a full disk refuses every verb (STORAGE_FULL)."
        return Check("disk", state, en, zh, mend, "请腾出空间：磁盘写满后一切操作都会被拒绝。")

    def _schema(self) -> Check:
        found, known = self._watched.schema()
        if found == known:
            return Check("schema", OK, f"version {found}", f"版本 {found}")
        return Check(
            "schema",
            FAIL,
            f"the database has {found}, this program {known}",
            f"数据库为 {found}，本程序为 {known}",
            "Another replica was upgraded: bring this one to the same version.",
            "其他副本已升级：请将本副本升级到相同版本。",
        )

    def _evidence(self) -> Check:
        watched = self._watched
        found = watched.evidence.standing()
        if found.waiting_since is None or not found.stuck(watched.db.clock.now()):
            return Check("evidence", OK, f"{found.size:,} entries", f"{found.size:,} 条存证")
        return Check(
            "evidence",
            FAIL,
            f"an entry has waited for its index since {to_second(found.waiting_since)}",
            f"有存证自 {to_second(found.waiting_since)} 起未定序",
            "Read the node's log for why the sequencer fails; restart the node.",
            "请在节点日志中查找定序失败的原因，并重启节点。",
        )

    def _outbox(self) -> Check:
        watched = self._watched
        found = watched.db.read(backlog.backlog)
        en = f"{found.waiting:,} messages wait, {found.failed:,} were given up"
        zh = f"{found.waiting:,} 条消息待发，{found.failed:,} 条已放弃"
        now = watched.db.clock.now()
        old = found.oldest_at is not None
        if found.oldest_at is not None:
            old = now - found.oldest_at > timedelta(seconds=limits.OUTBOX_OLD_S)
        if not old:
            return Check("outbox", OK, en, zh)
        return Check(
            "outbox",
            WARN,
            f"{en}; the oldest for more than a day",
            f"{zh}；最早一条已等待超过一天",
            "See for whom: `yunhe register --show`, `yunhe negotiations list`.",
            "请查看收件方：yunhe register --show、yunhe negotiations list。",
        )

    def _credential(self) -> Check | None:
        watched = self._watched
        if not watched.config.parent_did or not watched.provides:
            return None
        ends = watched.identity.credential_ends()
        if ends is not None:
            return self._ending("credential", ends, limits.CREDENTIAL_LOW_DAYS, _ASK_PARENT)
        member = watched.federation.status().state != "none"
        return Check(
            "credential",
            FAIL if member else WARN,
            "there is none in force: peers refuse this node",
            "没有有效凭证：其他节点会拒绝本节点",
            *(
                _ASK_PARENT
                if member
                else ("Register: `yunhe register`.", "请注册：yunhe register。")
            ),
        )

    def _certificate(self) -> Check | None:
        ends = certificate_ends(self._watched.config.flight_tls_cert)
        if ends is None:
            return None
        return self._ending("certificate", ends, limits.CREDENTIAL_LOW_DAYS, _NEW_CERTIFICATE)

    def _ending(self, name: str, ends: datetime, low_days: int, mend: tuple[str, str]) -> Check:
        left = ends - self._watched.db.clock.now()
        en, zh = f"until {to_second(ends)}", f"有效期至 {to_second(ends)}"
        if left >= timedelta(days=low_days):
            return Check(name, OK, en, zh)
        state = FAIL if left < timedelta(days=limits.ENDS_SOON_DAYS) else WARN
        return Check(name, state, en, zh, *mend)

    def _keys(self) -> Check:
        now = self._watched.db.clock.now()
        ages = [
            (name, max(0, (now - made).days))
            for name, made in key_ages(self._watched.config.data_dir / "keys")
        ]
        en = ", ".join(f"{name} {days} days" for name, days in ages)
        zh = "、".join(f"{name} {days} 天" for name, days in ages)
        return Check("keys", OK, f"they do not end; age: {en}", f"无截止日期；已用：{zh}")

    def _clock(self) -> Check | None:
        config = self._watched.config
        if not config.parent_address:
            return None
        off_s = self._off_s(f"{config.parent_address.rstrip('/')}/.well-known/did.json")
        if off_s is None:
            return Check(
                "clock",
                WARN,
                "the parent's clock could not be read: it does not answer",
                "无法读取上级时钟：上级无应答",
                "See whether the parent is reachable from this machine.",
                "请检查本机能否访问上级节点。",
            )
        en = f"{abs(off_s):.0f} s {'behind' if off_s > 0 else 'ahead of'} the parent's"
        zh = f"比上级时钟{'慢' if off_s > 0 else '快'} {abs(off_s):.0f} 秒"
        if abs(off_s) <= limits.CLOCK_OFF_S_LOW:
            return Check("clock", OK, "as the parent's", "与上级时钟一致")
        state = FAIL if abs(off_s) > limits.CLOCK_OFF_S_MAX else WARN
        mend = "Synchronise the clock (NTP): tokens bear 30 s of difference."
        return Check("clock", state, en, zh, mend, "请同步时钟（NTP）：令牌最多容许 30 秒偏差。")

    def _off_s(self, url: str) -> float | None:
        """By how much our clock is behind who answers there; None where nobody does.

        The Date header is whole seconds, rounded down: half of one is added.
        """
        now = self._watched.db.clock.now
        try:
            before = now()
            with self._watched.http.stream("GET", url, timeout=limits.CLOCK_ASKED_S_MAX) as got:
                after = now()
                theirs = parsedate_to_datetime(got.headers["date"])
            return (theirs - (before + (after - before) / 2)).total_seconds() + 0.5
        except (httpx.HTTPError, httpx.InvalidURL, KeyError, TypeError, ValueError):
            return None

    def _backup(self) -> Check:
        watched = self._watched
        taken = backup.last(watched.config.data_dir)
        mend = (
            "Make one: `yunhe backup node.toml --to FOLDER`, elsewhere than on this disk.",
            "请备份：yunhe backup node.toml --to 目录，且不与节点同盘。",
        )
        if watched.db.dialect == "postgresql":
            mend = (f"{mend[0]} And `pg_dump`.", f"{mend[1]}并执行 pg_dump。")
        if taken is None:
            en, zh = "`yunhe backup` never made a copy of it", "从未用 yunhe backup 备份"
            return Check("backup", WARN, en, zh, *mend)
        en, zh = f"the last copy is of {to_second(taken)}", f"最近一次备份：{to_second(taken)}"
        old = watched.db.clock.now() - taken > timedelta(days=limits.BACKUP_DAYS_MAX)
        return Check("backup", WARN, en, zh, *mend) if old else Check("backup", OK, en, zh)


def _made(name: str, check: Callable[[], Check | None]) -> Check | None:
    try:
        return check()
    except (YunheError, OSError) as error:
        en = error.sentence("en") if isinstance(error, YunheError) else str(error)
        zh = error.sentence("zh") if isinstance(error, YunheError) else str(error)
        mend = "Read the node's log."
        return Check(
            name,
            FAIL,
            f"it could not be checked: {en}",
            f"无法检查：{zh}",
            mend,
            "请查看节点日志。",
        )
