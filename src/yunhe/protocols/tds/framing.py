"""How a message is framed and signed (N03 8.2): headers, string to sign, envelope.

In: a body and a key, or the headers of a stranger. Out: headers that verify, or an error naming
the header. Requests and answers are framed the same way, so both sides are authenticated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe.kernel import canonical, keys, limits
from yunhe.kernel.errors import YunheError
from yunhe.protocols.tds.errors import (
    BadSignValue,
    HeaderInvalid,
    HeaderMissing,
    HeaderTooLong,
    StaleTimestamp,
    UnreadableMessage,
    VersionUnknown,
    result_code,
)
from yunhe.protocols.tds.messages import VERSION

MEDIA_TYPE: Final = "application/json;charset=UTF-8"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._:-]+\Z")
_LIMITS: Final = {
    "msgcode": limits.TDS_CODE_CHARS_MAX,
    "msgversion": 20,
    "timestamp": 13,
    "sequenceNum": limits.TDS_SEQUENCE_CHARS_MAX,
    "signValue": 128,
}

Body = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """The five headers of N03 8.2, with the names of the standard in the comments."""

    name: str  # msgcode
    version: str  # msgversion
    timestamp: str  # milliseconds since 1970
    sequence: str  # sequenceNum
    signature: str  # signValue, lower-case hex

    def headers(self) -> dict[str, str]:
        """The HTTP headers, spelled as in N03 table 8.2.3."""
        return {
            "msgcode": self.name,
            "msgversion": self.version,
            "timestamp": self.timestamp,
            "sequenceNum": self.sequence,
            "signValue": self.signature,
        }


def well_formed(name: str) -> bool:
    """Whether a message name may stand in our headers, known or not."""
    return len(name) <= limits.TDS_CODE_CHARS_MAX and _TOKEN.match(name) is not None


def string_to_sign(body: Body, name: str, version: str, sequence: str, timestamp: str) -> bytes:
    """The RFC 8785 bytes of everything but the signature (N03 8.2; our reading of D-9).

    Raises UnreadableMessage for a body that JSON cannot say.
    """
    try:
        return canonical.dumps(
            {
                "body": body,
                "msgcode": name,
                "msgversion": version,
                "sequenceNum": sequence,
                "timestamp": timestamp,
            }
        )
    except (YunheError, ValueError) as error:
        raise UnreadableMessage(detail=str(error)) from error


def sign(key: keys.SigningKey, body: Body, name: str, sequence: str, now: datetime) -> Frame:
    """Frame and sign a body; 64 bytes of Ed25519 as 128 hex characters."""
    timestamp = str(int(now.timestamp() * 1000))
    message = string_to_sign(body, name, VERSION, sequence, timestamp)
    return Frame(name, VERSION, timestamp, sequence, key.sign(message).hex())


def read(headers: Mapping[str, str], now: datetime) -> Frame:
    """The frame of a message: every header there, well formed, in time.

    Raises HeaderMissing, HeaderTooLong, HeaderInvalid, VersionUnknown, StaleTimestamp.
    """
    values: dict[str, str] = {}
    for header, chars_max in _LIMITS.items():
        value = headers.get(header, "")
        if not value:
            raise HeaderMissing(name=header)
        if len(value) > chars_max:
            raise HeaderTooLong(name=header)
        if not _TOKEN.match(value):
            raise HeaderInvalid(name=header)
        values[header] = value
    if values["msgversion"] != VERSION:
        raise VersionUnknown(version=VERSION)
    stamp = values["timestamp"]
    if not (stamp.isascii() and stamp.isdigit()):
        raise HeaderInvalid(name="timestamp")
    off = timedelta(milliseconds=int(stamp) - int(now.timestamp() * 1000))
    if abs(off) > timedelta(seconds=limits.TDS_WINDOW_S):
        raise StaleTimestamp(window_s=limits.TDS_WINDOW_S)
    return Frame(
        values["msgcode"], values["msgversion"], stamp, values["sequenceNum"], values["signValue"]
    )


def check_signature(frame: Frame, body: Body, jwks: Iterable[dict[str, Any]]) -> None:
    """Refuse unless one of `jwks` signed this body under this frame; raises BadSignValue."""
    if not re.fullmatch(r"[0-9a-f]{128}", frame.signature):
        raise BadSignValue
    message = string_to_sign(body, frame.name, frame.version, frame.sequence, frame.timestamp)
    signature = bytes.fromhex(frame.signature)
    if not any(keys.verify(jwk, message, signature) for jwk in jwks):
        raise BadSignValue


def read_body(raw: bytes, bytes_max: int) -> Body:
    """One JSON object, bounded in size and depth; nothing is the empty object.

    Raises UnreadableMessage (N03 Annex C 2XX008).
    """
    if not raw:
        return {}
    try:
        found = canonical.loads_strict(raw, bytes_max, limits.TDS_BODY_DEPTH_MAX)
    except YunheError as error:
        raise UnreadableMessage(detail=str(error)) from error
    if not isinstance(found, dict):
        raise UnreadableMessage(detail="not an object")
    return found


def success(name: str, data: Body) -> Body:
    """The envelope of an answer that worked (N03 8.2.5)."""
    return {"code": result_code(None, name), "message": "ok", "data": data}


def failure(name: str, error: YunheError) -> Body:
    """The envelope of a refusal: Annex C code, a sentence, and our problem in `data`."""
    return {
        "code": result_code(error, name),
        "message": error.sentence("en")[: limits.TDS_MESSAGE_CHARS_MAX],
        "data": {"problem": error.problem()},
    }
