"""Verify a bundle offline: shape, manifest, then every claim against keys from outside.

In: the bundle (see `bundle`) and the trusted keys. Out: a report that names every field that does
not hold. The checks after the manifest hold even against an exporter who signs a false one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from yunhe.evidence import fields, jws, shape
from yunhe.evidence.bundle import FORMAT, field_digests
from yunhe.evidence.report import Check, Findings, Report
from yunhe.evidence.trust import Trust, read_trust
from yunhe.evidence.verify_entries import Entries
from yunhe.evidence.verify_terms import Agreed, read_agreed
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.errors import YunheError
from yunhe.kernel.money import charge

_OTHERS: Final = {
    "agreement": ("the agreement", "协议"),
    "receipt": ("the consumer's receipt", "使用方回执"),
    "sum": ("the sum of its lines", "明细合计"),
    "statement": ("the statement", "账单"),
    "uses": ("the list of uses", "使用清单"),
}


class _Refused(Exception):
    """Why a credential does not hold, in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.why = (en, zh)


class _RootUnknown(_Refused):
    """A credential whose signer the trust file does not hold among its roots."""

    def __init__(self, did: str) -> None:
        super().__init__(f"{did} is no trusted root", f"{did} 不是可信根")
        self.did = did


@dataclass(frozen=True)
class _Keys:
    """The keys of one party: those of the time of the contract, and later ones (rotation)."""

    then: tuple[Any, ...]
    later: tuple[Any, ...] = ()

    @property
    def all(self) -> tuple[Any, ...]:
        """Every key that may have signed something of this contract."""
        return (*self.then, *self.later)


def _is_by(jwk: Any, compact: str, document: bytes) -> bool:
    try:
        jws.verify_detached(jwk, compact, document)
    except jws.BadJws:
        return False
    return True


@dataclass
class _Case:
    """One bundle under verification."""

    bundle: dict[str, Any]
    trust: Trust
    findings: Findings
    entries: Entries
    agreed: Agreed
    keys: dict[str, _Keys] = field(default_factory=dict)  # by DID, vouched for

    def signed(self, at: str, did: str, compact: str, document: Any, *, then: bool = False) -> None:
        """Note unless `compact` (which stands at `at`) is by `did` over `document`; `then`: by a
        key that was its own when the contract was logged."""
        if self.unsigned(did):
            if compact or not at.startswith("/contract/"):  # it has no key to sign with
                self.findings.add(at, "SIGNATURE", did=did)
            return
        if did not in self.keys:
            return  # PARTY_KEY is noted once, with the credentials
        known, signs = self.keys[did], dumps(document)
        if not any(_is_by(jwk, compact, signs) for jwk in (known.then if then else known.all)):
            self.findings.add(at, "SIGNATURE", did=did)

    def unsigned(self, did: str) -> bool:
        """Whether who verifies accepts `did` as one that signs nothing, and it signed nothing."""
        part = self.bundle["contract"]
        name = "provider_jws" if did == self.agreed.provider else "consumer_jws"
        return did in self.trust.unsigned and part[name] == ""

    def equal(self, at: str, found: Any, expected: Any, other: str) -> None:
        """Note unless `found`, which stands at `at`, is what `other` (of _OTHERS) says."""
        if found != expected:
            self.findings.add(at, "NOT_EQUAL", found=found, expected=expected, other=_OTHERS[other])


def verify_bundle(bundle: Any, trust: dict[str, Any]) -> Report:
    """The report on `bundle` under the keys `trust`; never raises for what the bundle holds.

    Raises BadTrust for unusable keys.
    """
    known = read_trust(trust)
    findings = Findings(limits.BUNDLE_FINDINGS_MAX)
    checks: list[Check] = []

    def step(name: str, en: str, zh: str, run: Callable[[], None]) -> bool:
        before = findings.noted
        run()
        found = findings.noted - before
        checks.append(Check(name, found == 0, found, en, zh))
        return found == 0

    if not step("bounds", "bounded JSON", "规模与格式", lambda: _bounds(bundle, findings)):
        return Report(tuple(checks), findings.all(), {})
    shaped = step(
        "shape", "every member, and no other", "字段齐全且无多余", lambda: _shape(bundle, findings)
    )
    step(
        "manifest",
        "every field as the exporter signed it",
        "各字段与清单一致",
        lambda: _manifest(bundle, known, findings),
    )
    if not shaped:
        return Report(tuple(checks), findings.all(), {})
    agreed = read_agreed(bundle["contract"]["agreement"], findings)
    case = _Case(bundle, known, findings, Entries(known.logs, findings), agreed)
    for name, en, zh, run in _STEPS:
        step(name, en, zh, lambda run=run: run(case))  # type: ignore[misc]
    return Report(tuple(checks), findings.all(), _facts(case), findings.notices())


def _bounds(bundle: Any, findings: Findings) -> None:
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        findings.add("/format", "FORMAT_UNKNOWN")
        return
    try:
        leaves = fields.leaves(bundle, limits.BUNDLE_FIELDS_MAX, limits.JSON_DEPTH_MAX)
    except fields.TooDeep:
        findings.add("", "BUNDLE_TOO_LARGE")
        return
    if _signable(bundle):
        return
    for pointer, value in leaves.items():
        if not _signable(value):
            findings.add(pointer, "FIELD_UNREADABLE")
    if not findings.noted:  # it is in the name of a member
        findings.add("", "FIELD_UNREADABLE")


def _signable(value: Any) -> bool:
    try:
        dumps(value)
    except YunheError:
        return False
    return True


def _shape(bundle: dict[str, Any], findings: Findings) -> None:
    shape.check(bundle, shape.BUNDLE, "", findings)
    if _seconds(str(bundle.get("exported_at"))) is None:
        findings.add("/exported_at", "FIELD_TYPE", expected=("date-time", "日期时间"))


def _manifest(bundle: dict[str, Any], trust: Trust, findings: Findings) -> None:
    exporter, compact = bundle.get("exporter"), bundle.get("manifest")
    known = trust.parties.get(str(exporter)) or _vouched_keys(bundle, trust, str(exporter))
    if not known:
        findings.add("/exporter", "NO_TRUSTED_KEY", did=str(exporter)[:200], has=trust.known())
        return
    try:
        payload = _payload(known, str(compact))
        said = loads_strict(payload, limits.BUNDLE_BYTES_MAX, limits.JSON_DEPTH_MAX)
        if said.keys() != {"format", "fields"} or said["format"] != FORMAT:
            raise jws.BadJws("not a manifest")
        signed = {str(pointer): str(digest) for pointer, digest in said["fields"].items()}
    except (jws.BadJws, YunheError, AttributeError):
        findings.add("/manifest", "MANIFEST_SIGNATURE")
        return
    found = field_digests(bundle)
    if found != signed:
        lists = fields.lists_of(bundle)
        fields.compare(fields.tree(found), fields.tree(signed), lists, findings)


def _payload(known: Iterable[Any], compact: str) -> bytes:
    """What one of these keys signed; raises BadJws where none did."""
    for jwk in known:
        try:
            return jws.verify(jwk, compact)
        except jws.BadJws:
            continue
    raise jws.BadJws("by none of these keys")


def _vouched_keys(bundle: dict[str, Any], trust: Trust, did: str) -> tuple[Any, ...]:
    """The keys of `did`, out of credentials that a trusted root signed."""
    found: list[Any] = []
    listed = bundle.get("credentials")
    for token in listed if isinstance(listed, list) else []:
        try:
            claims = _credential(token, trust)
            if claims.get("sub") == did:
                found.append(claims["cnf"]["jwk"])
        except (_Refused, KeyError, TypeError):
            continue  # refused, and named, by the credentials' own check
    return tuple(found)


def _credential(token: Any, trust: Trust) -> dict[str, Any]:
    """The claims of a credential that a trusted root signed; raises _Refused."""
    try:
        claims = jws.claims_of(str(token))
    except jws.BadJws as error:
        raise _Refused("it is not a JWT", "不是 JWT") from error
    issuer = str(claims.get("iss"))[:200]
    if issuer not in trust.roots:
        raise _RootUnknown(issuer)
    for jwk in trust.roots[issuer]:
        try:
            jws.verify(jwk, token)
        except jws.BadJws:
            continue
        return claims
    raise _Refused(f"no trusted key of {issuer} signed it", f"签发者不是 {issuer} 的可信密钥")


# --- the claims, in order ---------------------------------------------------------------------


def _credentials(case: _Case) -> None:
    """The first two say who the parties were; further ones, whose keys they signed with later."""
    tokens = case.bundle["credentials"]
    parties = (case.agreed.provider, case.agreed.consumer)
    if not 2 <= len(tokens) <= limits.BUNDLE_CREDENTIALS_MAX:
        why = ("one for each party is needed", "双方各需一份")
        case.findings.add("/credentials", "CREDENTIAL_REFUSED", why=why)
    for number, token in enumerate(tokens[: limits.BUNDLE_CREDENTIALS_MAX]):
        did = parties[number] if number < len(parties) else _subject(token)
        if token == "" and number < len(parties) and case.unsigned(did):
            continue
        try:
            if did not in parties:
                raise _Refused("it is about neither party", "并非关于任一方")
            key = _party_key(case, _credential(token, case.trust), did, number < len(parties))
        except _RootUnknown as error:
            has = ", ".join(case.trust.roots)
            case.findings.add(f"/credentials/{number}", "ROOT_UNKNOWN", did=error.did, has=has)
        except _Refused as error:
            case.findings.add(f"/credentials/{number}", "CREDENTIAL_REFUSED", why=error.why)
        else:
            known = case.keys.get(did, _Keys(()))
            case.keys[did] = (
                _Keys((key,), known.later)
                if number < len(parties)
                else _Keys(known.then, (*known.later, key))
            )
    for did in parties:
        if did in case.trust.parties:
            case.keys[did] = _Keys(case.trust.parties[did])  # our own knowledge goes first
        elif did not in case.keys and not case.unsigned(did):
            has = case.trust.known()
            case.findings.add("/contract/agreement", "PARTY_KEY", did=did, has=has)
    if case.bundle["exporter"] not in parties:
        case.findings.add("/exporter", "EXPORTER_UNKNOWN")


def _subject(token: str) -> str:
    """Whom a credential is about, as it says itself."""
    try:
        return str(jws.claims_of(token).get("sub"))
    except jws.BadJws:
        return ""


def _seconds(text: str) -> float | None:
    """The instant as seconds since 1970; None where it is no instant."""
    try:
        return parse_iso(text).timestamp()
    except ValueError:
        return None


def _party_key(case: _Case, claims: dict[str, Any], did: str, then: bool) -> Any:
    """The key that a credential gives `did`, checked; raises _Refused saying why not.

    `then`: it must have been in force when the contract was logged; else at some time after.
    """
    vc, cnf = claims.get("vc"), claims.get("cnf")
    subject = vc.get("credentialSubject") if isinstance(vc, dict) else None
    about = subject.get("id") if isinstance(subject, dict) else None
    if claims.get("sub") != did or about != did:
        raise _Refused(f"it is not about {did}", f"并非关于 {did}")
    start, end = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(start, int) or not isinstance(end, int):
        raise _Refused("it has no period of validity", "缺少有效期")
    at = _seconds(case.bundle["contract"]["entry"]["leaf"]["t"])
    begun = at is not None and start <= at + limits.SI_TOKEN_SKEW_S
    if at is None or not at < end or (then and not begun):
        raise _Refused(
            "it was not valid when the contract was logged", "合同存证时凭证不在有效期内"
        )
    jwk: Any = cnf.get("jwk") if isinstance(cnf, dict) else None
    try:
        jws.public_key(jwk)
    except jws.BadJws as error:
        raise _Refused("it names no usable key", "未给出可用密钥") from error
    known = case.trust.parties.get(did)
    if known is not None and jwk["x"] not in [each["x"] for each in known]:
        raise _Refused("its key is not the one known of the party", "其密钥与已知密钥不符")
    return jwk


def _contract(case: _Case) -> None:
    part, agreed = case.bundle["contract"], case.agreed
    for name, did in (("provider_jws", agreed.provider), ("consumer_jws", agreed.consumer)):
        at = f"/contract/{name}"
        if case.unsigned(did):
            case.findings.notice(at, "NOT_SIGNED", did=did)
        elif part[name] == "":
            case.findings.add(at, "SIGNATURE_ABSENT", did=did)
        case.signed(at, did, part[name], part["agreement"], then=True)
    case.entries.check("/contract/entry", part["entry"], ("contract.",))
    case.entries.binds("/contract/entry", part["entry"], part["agreement"])


_METERS: Final = ("use.posted", "use.corrected")


def _uses(case: _Case) -> None:
    agreed, seen = case.agreed, set()
    for number, use in enumerate(case.bundle["uses"]):
        at, receipt = f"/uses/{number}", use["receipt"]
        case.signed(f"{at}/receipt_jws", agreed.consumer, use["receipt_jws"], receipt)
        case.equal(f"{at}/receipt/contract_id", receipt["contract_id"], agreed.id, "agreement")
        if receipt["rows"] < 0:
            case.findings.add(
                f"{at}/receipt/rows", "FIELD_TYPE", expected=("integer >= 0", "非负整数")
            )
        if receipt["use_id"] in seen:
            case.findings.add(f"{at}/receipt/use_id", "USE_TWICE")
        seen.add(receipt["use_id"])
        if agreed.purposes and receipt.get("purpose", agreed.purposes[0]) not in agreed.purposes:
            case.findings.add(f"{at}/receipt/purpose", "PURPOSE")
        case.entries.check(f"{at}/entry", use["entry"], (*_METERS, "use.receipt"))
        if use["entry"]["leaf"]["k"] in _METERS:
            _meter(case, f"{at}/entry/body", use["entry"]["body"], receipt)
        else:
            case.entries.binds(f"{at}/entry", use["entry"], receipt)
    if agreed.uses_max is not None and len(seen) > agreed.uses_max:
        case.findings.add("/uses", "USES_OVER", expected=agreed.uses_max)


def _meter(case: _Case, at: str, meter: dict[str, Any], receipt: dict[str, Any]) -> None:
    """The provider's meter must say what the consumer signed for."""
    if not shape.check(meter, shape.METER, at, case.findings):
        return
    for name in ("use_id", "contract_id", "rows"):
        case.equal(f"{at}/{name}", meter[name], receipt[name], "receipt")
    case.equal(
        f"{at}/purpose", meter["purpose"], receipt.get("purpose", meter["purpose"]), "receipt"
    )
    if case.agreed.purposes and meter["purpose"] not in case.agreed.purposes:
        case.findings.add(f"{at}/purpose", "PURPOSE")
    fee = charge(case.agreed.per_use, case.agreed.per_row, receipt["rows"])
    if meter["fee_fen"] != fee:
        case.findings.add(f"{at}/fee_fen", "FEE", found=meter["fee_fen"], expected=fee)


def _settlements(case: _Case) -> None:
    agreed, receipts = case.agreed, [use["receipt"] for use in case.bundle["uses"]]
    billed = 0
    for number, part in enumerate(case.bundle["settlements"]):
        at, statement = f"/settlements/{number}", part["statement"]
        case.signed(f"{at}/provider_jws", agreed.provider, part["provider_jws"], statement)
        case.signed(f"{at}/consumer_jws", agreed.consumer, part["consumer_jws"], statement)
        where = f"{at}/statement"
        case.equal(f"{where}/contract_id", statement["contract_id"], agreed.id, "agreement")
        for place, line in enumerate(statement["lines"]):
            receipt = receipts[billed] if billed < len(receipts) else None
            _line(case, f"{where}/lines/{place}", line, receipt)
            billed += 1
        total = sum(line["fee_fen"] for line in statement["lines"])
        case.equal(f"{where}/total_fen", statement["total_fen"], total, "sum")
        case.entries.check(f"{at}/entry", part["entry"], ("statement.settled",))
        case.entries.binds(f"{at}/entry", part["entry"], statement)
        _transfer(case, f"{at}/entry/body/transfer", part["entry"]["body"]["transfer"], statement)
    # An open period is no lie: uses come first, their statement later. Whoever drops a statement
    # after the export breaks the manifest.
    open_uses = len(receipts) - billed
    if not case.bundle["settlements"]:
        case.findings.notice("/settlements", "NOTHING_SETTLED", uses=open_uses)
    elif open_uses > 0:
        case.findings.notice(f"/uses/{billed}", "NOT_YET_SETTLED", uses=open_uses)


def _transfer(case: _Case, at: str, paid: dict[str, Any], statement: dict[str, Any]) -> None:
    """From an account of the consumer to one of the provider, exactly the total."""
    case.equal(f"{at}/amount_fen", paid["amount_fen"], statement["total_fen"], "statement")
    sides = (("debit", case.agreed.consumer), ("credit", case.agreed.provider))
    for side, did in sides:
        case.equal(f"{at}/{side}", paid[side].partition("#")[0], did, "agreement")


def _line(case: _Case, at: str, line: dict[str, Any], receipt: dict[str, Any] | None) -> None:
    if receipt is None:
        case.findings.add(at, "NOT_EQUAL", found=1, expected=0, other=_OTHERS["uses"])
        return
    for name in ("use_id", "rows"):
        case.equal(f"{at}/{name}", line[name], receipt[name], "receipt")
    fee = charge(case.agreed.per_use, case.agreed.per_row, receipt["rows"])
    if line["fee_fen"] != fee:
        case.findings.add(f"{at}/fee_fen", "FEE", found=line["fee_fen"], expected=fee)


_STEPS: Final[tuple[tuple[str, str, str, Callable[[_Case], None]], ...]] = (
    (
        "credentials",
        "both parties certified by a trusted root",
        "双方凭证由可信根签发",
        _credentials,
    ),
    (
        "contract",
        "signed by both parties and logged",
        "合同双方签名并已存证",
        _contract,
    ),
    (
        "uses",
        "every use receipted, metered, logged, priced as agreed",
        "每次使用均有回执、计量与存证，按约计费",
        _uses,
    ),
    (
        "settlements",
        "statements add up, are acknowledged, paid and logged",
        "账单相符，已确认、结清并存证",
        _settlements,
    ),
)


def _both_signed(case: _Case) -> bool:
    part = case.bundle["contract"]
    return bool(part["provider_jws"] and part["consumer_jws"])


def _facts(case: _Case) -> dict[str, Any]:
    parts = case.bundle["settlements"]
    billed = sum(len(part["statement"]["lines"]) for part in parts)
    return {
        "contract_id": case.agreed.id,
        "provider": case.agreed.provider,
        "consumer": case.agreed.consumer,
        "uses": len(case.bundle["uses"]),
        "rows": sum(use["receipt"]["rows"] for use in case.bundle["uses"]),
        "signatures": "both" if _both_signed(case) else "transport",
        "total_fen": sum(part["statement"]["total_fen"] for part in parts),
        "settled": bool(parts) and billed >= len(case.bundle["uses"]),
    }
