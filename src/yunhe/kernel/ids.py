"""Identifiers of N04 (and T14 B.2.2, N06 8.1): allocate, parse, check, normalise.

In: subject, region and eight random characters, or the text of a code. Out: frozen codes, or
BadCode naming the fault. Pure: uniqueness is the allocator's database's business.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from typing import Final
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives import hashes, hmac

from yunhe.kernel.errors import Invalid

SEPARATOR: Final = "\u2022"  # the bullet N04 prints between stem and extension
_SEPARATORS: Final = "\u2022\u00b7\u2027\u30fb\uff65"  # look-alikes people type
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
_RADIX36: Final = _ALPHABET[:36]
_USCC: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_EXT: Final = re.compile(r"[!#-;=?-\[\]-~]{1,32}")  # printable ASCII without space " \ < >
_CHINA: Final = timezone(timedelta(hours=8))
STEM_CHARS: Final = 32
CONTRACT_ID_CHARS: Final = 47
EXT_CHARS_MAX: Final = 32


class BadCode(Invalid):
    """`fault` is one of length, alphabet, case, type, subject, region, time, ext, check."""

    code = "BAD_CODE"
    en = "The identifier is not valid: {fault} ({why})."
    zh = "标识码不合法：{why}（{fault}）。"
    mend_en = (
        "Copy the identifier again from its source; typing errors show in its check character."
    )
    mend_zh = "请从来源重新复制该标识码；录入错误会由校验字符发现。"


class CodeType(IntEnum):
    """The first digit of a code, N04 4.2 and 4.3."""

    NATIONAL_NODE = 1
    REGIONAL_NODE = 2
    INDUSTRY_NODE = 3
    BUSINESS_NODE = 4
    CONNECTOR = 5
    PRODUCT = 6
    RESOURCE = 7


def check37(body: str) -> str:
    """The check character of `body`, GB/T 17710 MOD 37-2 (N04 Annex B); any length."""
    product = 0
    for char in body:
        value = _ALPHABET.find(char)
        if not 0 <= value < 36:
            raise BadCode(
                fault="alphabet",
                why=f"{char!r} may not stand in the body",
                why_zh=f"字符 {char!r} 不在允许的字母表内",
            )
        product = (product + value) * 2 % 37
    return _ALPHABET[(1 - product) % 37]


def check1271(body: str) -> str:
    """The two check characters of `body`, GB/T 17710 MOD 1271-36 (`ISO79` -> `3W`)."""
    product = 0
    for char in body:
        value = _RADIX36.find(char)
        if value < 0:
            raise BadCode(
                fault="alphabet",
                why=f"{char!r} may not stand in the body",
                why_zh=f"字符 {char!r} 不在允许的字母表内",
            )
        product = (product + value) * 36 % 1271
    value = (1272 - product * 36) % 1271
    return _RADIX36[value // 36] + _RADIX36[value % 36]


def organisation_check(body: str) -> str:
    """The check character of an organisation code's first eight characters, GB 11714."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(w * _RADIX36.index(c) for w, c in zip(weights, body, strict=True))
    return {10: "X", 11: "0"}.get(value := 11 - total % 11, str(value))


def uscc_check(body: str) -> str:
    """The check character of a unified social credit code's first 17 characters, GB 32100."""
    total = sum(pow(3, place, 31) * _USCC.index(char) for place, char in enumerate(body))
    return _USCC[(31 - total % 31) % 31]


def check_uscc(text: str) -> None:
    """Refuse what is not a unified social credit code with both its check characters right."""
    if len(text) != 18:
        raise BadCode(
            fault="length",
            why=f"a subject code has 18 characters, not {len(text)}",
            why_zh=f"主体代码应为 18 位，实为 {len(text)} 位",
        )
    if any(char not in _USCC for char in text) or not text[2:8].isdigit():
        raise BadCode(
            fault="alphabet",
            why="not the alphabet of GB 32100",
            why_zh="含有 GB 32100 字母表以外的字符",
        )
    if organisation_check(text[8:16]) != text[16]:
        raise BadCode(
            fault="subject",
            why="organisation check, position 17",
            why_zh="第 17 位（主体标识码校验位）不符",
        )
    if uscc_check(text[:17]) != text[17]:
        raise BadCode(
            fault="subject",
            why="credit-code check, position 18",
            why_zh="第 18 位（统一社会信用代码校验位）不符",
        )


def check_subject(text: str, strict: bool = True) -> None:
    """Refuse what is not a subject code: USCC, person (`Z`) or other subject (`V`), N04 4.1.

    `strict=False` leaves a USCC's own check characters unread: published samples fail them.
    """
    if len(text) != 18:
        raise BadCode(
            fault="length",
            why=f"a subject code has 18 characters, not {len(text)}",
            why_zh=f"主体代码应为 18 位，实为 {len(text)} 位",
        )
    if text[0] in "ZV":
        allowed = _CROCKFORD if text[0] == "Z" else _RADIX36
        if any(char not in allowed for char in text[1:]):
            raise BadCode(
                fault="subject",
                why=f"not the alphabet of a {text[0]} subject",
                why_zh=f"含有 {text[0]} 类主体字母表以外的字符",
            )
    elif strict:
        check_uscc(text)
    elif any(char not in _USCC for char in text):
        raise BadCode(
            fault="subject",
            why="not the alphabet of GB 32100",
            why_zh="含有 GB 32100 字母表以外的字符",
        )


def person_code(key: bytes, cert_type: str, cert_code: str, digest: str = "sm3") -> str:
    """The 18 characters of a person: deterministic under `key`, not reversible without it.

    `Z` + base32 of HMAC (`sm3`, or `sha256`) over type and number of the certificate; `Z` never
    begins a USCC. The raw number goes nowhere else (N04 4.1b, T13 7.2.2f).
    """
    algorithm: hashes.HashAlgorithm = hashes.SM3() if digest == "sm3" else hashes.SHA256()
    mac = hmac.HMAC(key, algorithm)
    mac.update(f"ndi-person|{cert_type}|{cert_code}".encode())
    bits = int.from_bytes(mac.finalize()[:11], "big") >> 3  # 85 bits = 17 characters
    return "Z" + "".join(_CROCKFORD[bits >> shift & 31] for shift in range(80, -1, -5))


def operator_code(subject: str, person: str) -> str:
    """The operator of an organisation (N03 6.1.3) without the raw id number: `USCC/Z…`."""
    check_subject(person)
    return f"{subject}/{person}"


def random8(new_id: str) -> str:
    """Eight characters `[0-9A-Z]` out of a random UUID (`tx.new_id()`), about 41 bits."""
    value = uuid.UUID(new_id).int
    picked = []
    for _ in range(8):
        value, digit = divmod(value, 36)
        picked.append(_RADIX36[digit])
    return "".join(picked)


@dataclass(frozen=True)
class Code:
    """A code of N04: platform, connector, product or resource; `stem` is its key everywhere."""

    type: CodeType
    subject: str
    region: str
    random: str
    check: str
    ext: str = ""

    @property
    def stem(self) -> str:
        """The 32 characters that identify; the extension is an attribute."""
        return f"{self.type:d}{self.subject}{self.region}{self.random}{self.check}"

    def __str__(self) -> str:
        return f"{self.stem}{SEPARATOR}{self.ext}" if self.ext else self.stem

    def percent_encoded(self) -> str:
        """As it stands in an HTTP header or path (N05 puts product ids there)."""
        return quote(str(self), safe="*")

    def with_ext(self, ext: str) -> Code:
        """The same object with another scheme's code attached; the check does not change."""
        _check_ext(ext)
        return replace(self, ext=ext)


def allocate(
    type_: CodeType, subject: str, region: str, random: str, strict_subject: bool = True
) -> Code:
    """Compose a code: `region` is the allocating node's, `random` eight of `[0-9A-Z]` (N04 4.2).

    Raises BadCode. The caller holds a unique index on the stem and tries again on a clash.
    """
    check_subject(subject, strict_subject)
    _check_region(type_, region)
    _check_random(random)
    return Code(type_, subject, region, random, check37(f"{type_:d}{subject}{region}{random}"))


def parse(text: str, strict_subject: bool = False) -> Code:
    """Read a code of 32, or 34 to 65, characters; raises BadCode naming the fault.

    Separators that look alike are normalised; lower case is refused (see `normalise`).
    """
    stem, ext = text[:STEM_CHARS], text[STEM_CHARS:]
    if len(stem) < STEM_CHARS:
        raise BadCode(
            fault="length",
            why=f"a code has 32 characters, not {len(text)}",
            why_zh=f"标识码应为 32 位，实为 {len(text)} 位",
        )
    if ext:
        if ext[0] not in _SEPARATORS:
            raise BadCode(
                fault="length",
                why="after 32 characters only a separator may follow",
                why_zh="32 位之后只能是分隔符",
            )
        ext = ext[1:]
        _check_ext(ext)
    _check_alphabet(stem)
    if stem[0] not in "1234567":
        raise BadCode(
            fault="type",
            why=f"{stem[0]} is no type of N04",
            why_zh=f"{stem[0]} 不是 N04 规定的类型",
        )
    if check37(stem[:-1]) != stem[-1]:
        raise BadCode(fault="check", why="the check character does not fit", why_zh="校验字符不符")
    type_ = CodeType(int(stem[0]))
    check_subject(stem[1:19], strict_subject)
    _check_region(type_, stem[19:23])
    return Code(type_, stem[1:19], stem[19:23], stem[23:31], stem[31], ext)


def parse_percent_encoded(text: str, strict_subject: bool = False) -> Code:
    """Read a code out of an HTTP header or path; lengths count decoded characters."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise BadCode(
            fault="alphabet", why="not percent-encoded UTF-8", why_zh="不是百分号编码的 UTF-8"
        ) from error
    return parse(decoded, strict_subject)


def normalise(text: str) -> str:
    """What a person typed -> what `parse` reads: trimmed, the first 32 upper-cased, `•` between."""
    text = text.strip()
    stem, rest = text[:STEM_CHARS].upper(), text[STEM_CHARS:]
    if rest and rest[0] in _SEPARATORS:
        rest = SEPARATOR + rest[1:]
    return stem + rest


def _check_alphabet(stem: str) -> None:
    for place, char in enumerate(stem):
        if char in _RADIX36 or (char == "*" and place == len(stem) - 1):
            continue
        if "a" <= char <= "z":
            raise BadCode(fault="case", why="letters are upper case", why_zh="字母须为大写")
        raise BadCode(
            fault="alphabet",
            why=f"{char!r} at position {place + 1}",
            why_zh=f"第 {place + 1} 位为 {char!r}",
        )


def _check_ext(ext: str) -> None:
    if not 1 <= len(ext) <= EXT_CHARS_MAX:
        raise BadCode(
            fault="ext",
            why=f"ext length {len(ext)}, allowed 1 to {EXT_CHARS_MAX}",
            why_zh=f"扩展码长 {len(ext)}，应为 1 至 {EXT_CHARS_MAX}",
        )
    if _EXT.fullmatch(ext) is None:
        raise BadCode(
            fault="ext",
            why='printable ASCII without space " \\ < >',
            why_zh='须为可打印 ASCII，且不含空格 " \\ < >',
        )


def _check_random(random: str) -> None:
    if len(random) != 8 or any(char not in _RADIX36 for char in random):
        raise BadCode(
            fault="alphabet",
            why="the random part is eight of [0-9A-Z]",
            why_zh="随机段应为八位 [0-9A-Z]",
        )


def _check_region(type_: CodeType, region: str) -> None:
    if len(region) != 4 or not (region.isascii() and region.isdigit()):
        raise BadCode(fault="region", why="four digits", why_zh="应为四位数字")
    if type_ is CodeType.NATIONAL_NODE:
        return  # N04 leaves the national node's region open
    industry = region.startswith("00")
    if industry and type_ is CodeType.REGIONAL_NODE:
        raise BadCode(
            fault="region",
            why="a regional node carries a region code",
            why_zh="区域节点应使用地区代码",
        )
    if not industry and type_ is CodeType.INDUSTRY_NODE:
        raise BadCode(
            fault="region",
            why="an industry node carries an industry code 00NN",
            why_zh="行业节点应使用行业代码 00NN",
        )
    if industry and not "01" <= region[2:] <= "97":
        raise BadCode(
            fault="region", why="industries are 0001 to 0097", why_zh="行业代码为 0001 至 0097"
        )


@dataclass(frozen=True)
class ContractId:
    """The 47 characters of a digital contract, T14 B.2.2; `at` is aware UTC.

    The check finds typing errors, not tampering: characters 36 apart may be swapped unseen, so
    a contract is looked up and its signatures checked.
    """

    type: str
    node_type: str
    node_subject: str
    region: str
    at: datetime
    random: str
    check: str

    def __str__(self) -> str:
        time = self.at.astimezone(_CHINA).strftime("%Y%m%d%H%M%S")
        body = f"{self.type}{self.node_type}{self.node_subject}{self.region}{time}{self.random}"
        return body + self.check


def allocate_contract_id(
    node: Code, at: datetime, random: str, type_digit: str = "8"
) -> ContractId:
    """A contract id filed at `node` at the instant `at` (written in UTC+8, T14 C.1)."""
    _check_random(random)
    if len(type_digit) != 1 or type_digit not in "0123456789":
        raise BadCode(
            fault="type", why="the type of a contract is one digit", why_zh="合约类型应为一位数字"
        )
    draft = ContractId(
        type_digit,
        f"{node.type:d}",
        node.subject,
        node.region,
        at.astimezone(UTC).replace(microsecond=0),
        random,
        "",
    )
    return replace(draft, check=check37(str(draft)))


def parse_contract_id(text: str) -> ContractId:
    """Read a contract id of exactly 47 characters, whatever its type digit; raises BadCode."""
    if len(text) != CONTRACT_ID_CHARS:
        raise BadCode(
            fault="length",
            why=f"a contract id has 47 characters, not {len(text)}",
            why_zh=f"合约编号应为 47 位，实为 {len(text)} 位",
        )
    _check_alphabet(text)
    if not text[0].isdigit() or text[1] not in "1234":
        raise BadCode(
            fault="type", why="a digit, then the type of a node", why_zh="应为一位数字加节点类型"
        )
    if check37(text[:-1]) != text[-1]:
        raise BadCode(fault="check", why="the check character does not fit", why_zh="校验字符不符")
    check_subject(text[2:20], strict=False)
    _check_region(CodeType(int(text[1])), text[20:24])
    try:
        if not text[24:38].isdigit():
            raise ValueError(text[24:38])
        local = datetime.strptime(text[24:38], "%Y%m%d%H%M%S").replace(tzinfo=_CHINA)
        at = local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadCode(
            fault="time", why="not YYYYMMDDHHMMSS", why_zh="时间应为 YYYYMMDDHHMMSS"
        ) from error
    return ContractId(text[0], text[1], text[2:20], text[20:24], at, text[38:46], text[46])


_CATALOGUE: Final = re.compile(r"(\d{6}[0-9A-Z]{8})/([DFAS]\d{6})([0-9A-Z]{2})")


def catalogue_code(area: str, organisation: str, kind: str, serial: int) -> str:
    """A catalogue code `area6 org8 / kind serial6 check2` (N06 8.1); `kind` D, F, A or S."""
    front, back = f"{area}{organisation}", f"{kind}{serial:06d}"
    text = f"{front}/{back}{check1271(front + back)}"
    check_catalogue_code(text)
    return text


def check_catalogue_code(text: str) -> None:
    """Refuse what is not a catalogue code with its two check characters right (N06 8.1)."""
    match = _CATALOGUE.fullmatch(text)
    if match is None or not text.isascii():
        raise BadCode(
            fault="alphabet",
            why="area6 organisation8 / D|F|A|S serial6 check2",
            why_zh="应为六位地区、八位机构、/、D|F|A|S、六位序号、两位校验",
        )
    front, back, check = match.groups()
    if back[1:] == "000000":
        raise BadCode(fault="alphabet", why="serials begin at 000001", why_zh="序号自 000001 起")
    if check1271(front + back) != check:
        raise BadCode(fault="check", why="the check characters do not fit", why_zh="校验字符不符")
