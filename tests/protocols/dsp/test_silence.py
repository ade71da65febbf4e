"""A node that does not answer is named, with the reason in the reader's words."""

from __future__ import annotations

import httpx
import pytest

from yunhe.protocols.dsp.client import Answer
from yunhe.protocols.dsp.errors import silent


@pytest.mark.parametrize(
    ("error", "en", "zh"),
    [
        (httpx.ConnectError("[Errno 111]"), "no connection", "无法建立连接"),
        (httpx.ReadTimeout("t"), "no answer in time", "未及时应答"),
        (httpx.ReadError("r"), "the connection broke off", "连接中断"),
    ],
)
def test_silence_says_who_and_why(error: httpx.HTTPError, en: str, zh: str) -> None:
    refusal = silent("https://a.example:8443/dsp/negotiations", error)
    assert refusal.sentence("en").endswith(f"a.example:8443: {en}.")
    assert refusal.sentence("zh").endswith(f"a.example:8443：{zh}。")
    assert "Errno" not in str(refusal.problem())


def test_the_languages_of_a_reason_stay_apart() -> None:
    said = Answer(409, {"code": "X", "reason": ["It is late.", "太晚。", "Come\nearlier."]}).why()
    assert said.split("\n") == ["X: It is late.", "太晚。", "Come earlier."]
