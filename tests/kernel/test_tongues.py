"""What was kept in one language is told in both, where its code is ours."""

from __future__ import annotations

import pytest

from yunhe.kernel.errors import Invalid, NotFound, Unavailable, YunheError
from yunhe.kernel.tongues import in_both, of, of_code


@pytest.mark.parametrize(
    "error",
    [
        NotFound(what="contract"),
        Invalid(why="late"),
        Unavailable(what="the node (a.b)"),
        NotFound(),
    ],
)
def test_a_sentence_of_ours_is_found_again_in_chinese(error: YunheError) -> None:
    told = in_both(f"{error.code}: {error.sentence()}")
    assert told == f"{error.code}: {error.sentence()}\n{error.sentence('zh')}"
    assert of(told, "zh") == f"{error.code}: {error.sentence('zh')}"
    assert of(told, "en") == f"{error.code}: {error.sentence()}"


@pytest.mark.parametrize(
    "text",
    [
        "HTTP_503: no reason given",
        "NOT_FOUND: words of a stranger",
        "no code at all",
        "X: 已是中文",
        "",
        "NOT_FOUND: No such " + "a" * 5000 + "!",
    ],
)
def test_what_is_not_ours_stays_as_it_came(text: str) -> None:
    assert in_both(text) == text


def test_a_code_that_came_alone_has_its_sentence_and_remedy_in_both_languages() -> None:
    told = of_code("NOT_FOUND")
    assert told is not None
    assert (told["detail"], told["zh"]["detail"]) == ("No such ….", "不存在：…。")
    assert (told["status"], told["facts"]) == (404, {})
    assert (told["remedy"], told["zh"]["remedy"]) == ("Check the identifier.", "请核对标识。")
    assert of_code("A_STRANGERS_CODE") is None


def test_each_reader_sees_the_lines_of_their_language() -> None:
    both = "X_Y: it is late\n太晚"
    assert (of(both, "en"), of(both, "zh")) == ("X_Y: it is late", "X_Y: 太晚")
    assert of("X_Y: it is late", "zh") == "X_Y: it is late"
    assert of("it is late", "en") == "it is late"
