"""Constraint values read once, when a policy is compiled (T14 Tables 5.1, C.6 and their variants).

In: the text of a constraint value. Out: something comparable (int, instant, network, program).
Every function raises ValueError for text it does not understand: the rule then denies, by name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from yunhe.contracts import Aggregates, Privacy, Release, Watermark
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.money import parse_yuan

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BEIJING = timezone(timedelta(hours=8))  # 14 digits carry no zone: UTC+8 (T14 U-20)
_SIZE = re.compile(r"^(\d{1,18})(?:([KMGT])(i?)B?)?$")
_CODE = re.compile(r"^(\d{2})(?:[:：].{0,40})?$")
_DOMAIN = re.compile(r"^(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+$")
_PROGRAM = re.compile(
    r"^(?P<id>[^@#\s]{1,256})(?:@(?P<version>[^@#\s]{1,64}))?"
    r"(?:#(?P<alg>sm3|sha256):(?P<digest>[0-9a-f]{64}))?$"
)
_INTERVAL = re.compile(r"\s*(?:--|/)\s*")


def number(text: str) -> int:
    """Digits, at most 16 (T14 N..16)."""
    if not re.fullmatch(r"[0-9]{1,16}", text):
        raise ValueError(text)
    return int(text)


def size(text: str) -> int:
    """Bytes: digits, SI suffix (10G = 10^10), or a binary one (10GiB). T14 U-06."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(text)
    amount, unit, binary = match.groups()
    power = "KMGT".index(unit) + 1 if unit else 0
    base: int = 1024 if binary else 1000
    return int(amount) * int(base**power)


def instant(text: str) -> datetime:
    """14 digits in UTC+8, or ISO 8601 with a zone; aware UTC."""
    if re.fullmatch(r"[0-9]{14}", text):
        naive = datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007 the zone follows
        return naive.replace(tzinfo=_BEIJING).astimezone(UTC)
    return parse_iso(text)


def interval(text: str) -> tuple[datetime, datetime]:
    """`start/end` or `start--end`, both instants, start not after end."""
    parts = _INTERVAL.split(text)
    if len(parts) != 2:
        raise ValueError(text)
    start, end = instant(parts[0]), instant(parts[1])
    if start > end:
        raise ValueError(text)
    return start, end


def window_start(opened_at: datetime, now: datetime, window_s: int) -> datetime:
    """Where the quota window of `now` begins: windows of `window_s` follow one another from 00:00
    UTC+8 of the day of `opened_at` (T14 4.1); every instant before that day is in the first.
    """
    local = opened_at.astimezone(_BEIJING)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = max(0, (now - first) // timedelta(seconds=window_s))
    return (first + timedelta(seconds=passed * window_s)).astimezone(UTC)


def money(text: str) -> int:
    """Fen; CNY only (`元`, `¥` or no unit mean CNY)."""
    return parse_yuan(text.replace("¥", "").replace("元", "").strip())


def word(text: str) -> str:
    """A name, as it is; the empty one is refused."""
    if not text or len(text) > 1024:
        raise ValueError(text)
    return text


def code(text: str) -> str:
    """The two digits of a code (`02`, `02：label`)."""
    match = _CODE.match(text)
    if match is None:
        raise ValueError(text)
    return match.group(1)


def privacy(text: str) -> str:
    """A privacy budget, in its one spelling."""
    return str(Privacy.parse(text))


def release(text: str) -> str:
    """A release rule, in its one spelling."""
    return str(Release.parse(text))


def watermark(text: str) -> str:
    """A watermark, in its one spelling."""
    return str(Watermark.parse(text))


def aggregates(text: str) -> str:
    """Which aggregates are allowed of which column, in their one spelling."""
    return str(Aggregates.parse(text))


def region(text: str) -> str:
    """A GB/T 2260 code of 2, 4 or 6 digits."""
    if not re.fullmatch(r"\d{2}(\d{2}){0,2}", text):
        raise ValueError(text)
    return text


def device(text: str) -> str:
    """A registered device id or MAC, without regard to case and separators."""
    plain = re.sub(r"[-:. ]", "", text).upper()
    return word(plain)


def address(text: str) -> Network | str:
    """An IP or CIDR as a network, or a domain in lower case."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        name = text.lower()
        if _DOMAIN.match(name) is None or name.replace(".", "").isdigit():
            raise
        return name


@dataclass(frozen=True)
class Program:
    """`id[@version][#alg:hex]`: an application, algorithm or model (T14 Table 5.1)."""

    name: str
    version: str | None
    digest: str | None


def program(text: str) -> Program:
    """Read a program reference."""
    match = _PROGRAM.match(text)
    if match is None:
        raise ValueError(text)
    digest = f"{match['alg']}:{match['digest']}" if match["digest"] else None
    return Program(match["id"], match["version"], digest)


# Containment, twice: `inside` is certain; `overlaps` cannot be ruled out. A permission needs the
# first, a prohibition is triggered by the second.


def same(given: object, agreed: object) -> bool:
    """Equality, for plain words."""
    return given == agreed


def region_inside(given: str, agreed: str) -> bool:
    """The agreed code is a prefix of the given one."""
    return given.startswith(agreed)


def region_overlaps(given: str, agreed: str) -> bool:
    """One contains the other."""
    return given.startswith(agreed) or agreed.startswith(given)


def address_inside(given: Network | str, agreed: Network | str) -> bool:
    """The given network lies in the agreed one; domains only equal."""
    if isinstance(given, str) or isinstance(agreed, str):
        return given == agreed
    return given.version == agreed.version and given.subnet_of(agreed)  # type: ignore[arg-type]


def address_overlaps(given: Network | str, agreed: Network | str) -> bool:
    """They share an address; a domain against a network cannot be ruled out without DNS."""
    if isinstance(given, str) or isinstance(agreed, str):
        return given == agreed or isinstance(given, str) is not isinstance(agreed, str)
    return given.version == agreed.version and given.overlaps(agreed)


def program_inside(given: Program, agreed: Program) -> bool:
    """Same name, and version and digest equal where the agreement states them."""
    return (
        given.name == agreed.name
        and agreed.version in (None, given.version)
        and agreed.digest in (None, given.digest)
    )


def program_overlaps(given: Program, agreed: Program) -> bool:
    """Same digest under any name, or the same name with nothing that contradicts."""
    if given.digest is not None and given.digest == agreed.digest:
        return True
    return (
        given.name == agreed.name
        and (None in (given.version, agreed.version) or given.version == agreed.version)
        and (None in (given.digest, agreed.digest) or given.digest == agreed.digest)
    )
