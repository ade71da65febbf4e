"""What the verifier says: findings, each with the place, a stable code, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "BUNDLE_TOO_LARGE": (
        "the bundle is larger or deeper than can be checked",
        "证据包过大或嵌套过深",
    ),
    "FORMAT_UNKNOWN": (
        "this is not a bundle of format yunhe-bundle/1",
        "不是 yunhe-bundle/1 格式的证据包",
    ),
    "FIELD_MISSING": (
        "the field is missing",
        "缺少该字段",
    ),
    "FIELD_UNKNOWN": (
        "the field does not belong here",
        "存在不应有的字段",
    ),
    "FIELD_TYPE": (
        "the field is not of type {expected}",
        "该字段类型应为 {expected}",
    ),
    "FIELD_UNREADABLE": (
        "the field cannot be signed: a number beyond 2^53-1, or a text that is not Unicode",
        "该字段无法签名：数值超出 2^53-1，或文本不是合法的 Unicode",
    ),
    "FIELD_CHANGED": (
        "the field is not what the exporter signed",
        "该字段与出具方签署的内容不一致",
    ),
    "LIST_REORDERED": (
        "the items are in another order than signed",
        "条目顺序与签署时不一致",
    ),
    "EXPORTER_UNKNOWN": (
        "the exporter is neither party of the contract",
        "出具方不是合同当事方",
    ),
    "NO_TRUSTED_KEY": (
        "no key of your trust file signed this: {did} was sought, it has {has}; check --trust",
        "信任文件中没有任何密钥签署过此证据包：需要 {did}，文件中有 {has}；请检查 --trust",
    ),
    "MANIFEST_SIGNATURE": (
        "the manifest is not signed by the exporter",
        "清单未由出具方签署",
    ),
    "CREDENTIAL_REFUSED": (
        "the credential does not hold: {why}",
        "凭证无效：{why}",
    ),
    "ROOT_UNKNOWN": (
        "the credential was issued by {did}, and the trust file has the roots {has}",
        "凭证由 {did} 签发，而信任文件中的可信根为 {has}",
    ),
    "PARTY_KEY": (
        "no trusted key is known for {did}; the trust file has {has}",
        "没有 {did} 的可信密钥；信任文件中有 {has}",
    ),
    "SIGNATURE": (
        "the signature is not by {did} over this document",
        "签名不是 {did} 对该文件所作",
    ),
    "NOT_SIGNED": (
        "{did} signed no bytes (level transport): that it agreed, the other party and its log say",
        "{did} 未签署任何字节（签名级别 transport）：其同意仅由另一方及其日志证明",
    ),
    "SIGNATURE_ABSENT": (
        "{did} has not signed; to accept that, name it in `unsigned` of your trust file",
        "{did} 未签名；若其连接器不作签名，可在信任文件的 unsigned 中列出以接受",
    ),
    "AGREEMENT_UNREADABLE": (
        "the agreement cannot be read: {why}",
        "无法读取协议：{why}",
    ),
    "COMMITMENT": (
        "the body is not what the log committed to",
        "内容与存证承诺不一致",
    ),
    "ENTRY_KIND": (
        "an entry of this kind does not prove this",
        "该类存证不能证明此事",
    ),
    "ENTRY_BINDS": (
        "the logged body is not about this document",
        "存证内容与该文件无关",
    ),
    "ENTRY_REUSED": (
        "the same entry stands for two things",
        "同一存证被重复使用",
    ),
    "LOG_UNKNOWN": (
        "no trusted key is known for the log {origin}; the trust file has {has}",
        "没有日志 {origin} 的可信密钥；信任文件中有 {has}",
    ),
    "PROOF": (
        "the proof does not hold: {why}",
        "证明无效：{why}",
    ),
    "LOG_FORKED": (
        "the log signed two roots for one size",
        "日志对同一大小签署了两个根",
    ),
    "NOT_EQUAL": (
        "says {found}, but {other} says {expected}",
        "此处为 {found}，而{other}为 {expected}",
    ),
    "FEE": (
        "the fee is {found} fen; the agreed price gives {expected}",
        "费用为 {found} 分，按约定价格应为 {expected} 分",
    ),
    "PURPOSE": (
        "the purpose is not one of the agreed ones",
        "用途不在约定范围内",
    ),
    "USES_OVER": (
        "more uses than the agreed {expected}",
        "使用次数超过约定的 {expected} 次",
    ),
    "USE_TWICE": (
        "this use is listed twice",
        "该次使用重复列出",
    ),
    "NOTHING_SETTLED": (
        "no statement yet: what the {uses} uses cost is not shown as acknowledged or paid",
        "尚无账单：{uses} 次使用的费用未见确认或结清",
    ),
    "NOT_YET_SETTLED": (
        "the last {uses} uses are in no statement yet",
        "最后 {uses} 次使用尚未列入账单",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold: `pointer` is the JSON Pointer (RFC 6901) into the bundle."""

    pointer: str
    code: str
    en: str
    zh: str


@dataclass(frozen=True)
class Check:
    """One step of the verification, in order, and whether it held."""

    name: str
    ok: bool
    findings: int
    en: str
    zh: str


@dataclass(frozen=True)
class Report:
    """The verdict: every check in order, every finding, and what the bundle is about."""

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    notices: tuple[Finding, ...] = ()  # what holds, and is not yet all there is to prove

    @property
    def ok(self) -> bool:
        """Whether everything held that the bundle states; `notices` say what it leaves open."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "facts": self.facts,
            "checks": [vars(check) for check in self.checks],
            "findings": [vars(finding) for finding in self.findings],
            "notices": [vars(notice) for notice in self.notices],
        }


def _in(facts: dict[str, Any], lang: int) -> dict[str, Any]:
    return {name: v[lang] if isinstance(v, tuple) else v for name, v in facts.items()}


def _finding(pointer: str, code: str, facts: dict[str, Any]) -> Finding:
    en, zh = (text.format_map(_in(facts, lang)) for lang, text in enumerate(TEXTS[code]))
    return Finding(pointer, code, en, zh)


class Findings:
    """Gathers findings up to a bound, each place and code once."""

    def __init__(self, findings_max: int) -> None:
        self._found: dict[tuple[str, str], Finding] = {}
        self._max = findings_max
        self._notices: list[Finding] = []
        self.noted = 0  # with repetitions: two checks may name one place

    def add(self, pointer: str, code: str, **facts: Any) -> None:
        """Note that `code` is so at `pointer`; a fact may be a pair of texts (en, zh)."""
        self.noted += 1
        if len(self._found) < self._max:
            self._found.setdefault((pointer, code), _finding(pointer, code, facts))

    def notice(self, pointer: str, code: str, **facts: Any) -> None:
        """Note what holds and is not yet settled; it does not make the bundle fail."""
        self._notices.append(_finding(pointer, code, facts))

    def notices(self) -> tuple[Finding, ...]:
        """In the order noted."""
        return tuple(self._notices)

    def all(self) -> tuple[Finding, ...]:
        """In the order found."""
        return tuple(self._found.values())
