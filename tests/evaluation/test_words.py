"""The table of words: whole in both languages, and every sentence of other rooms that it knows is really said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.evaluation import words as room
from beholder.evaluation.words import LANGUAGES, Words, entries, placeholders
from beholder.quality.checks import CHECKS
from beholder.reporting.page import PARTS

SRC = Path(room.__file__).parent.parent
KEY = re.compile(r"""words\(\s*"([a-z_]+\.[a-z_0-9]+)"|[^a-z.]t\('([a-z_]+\.[a-z_0-9]+)'""")


def test_every_key_has_every_language_with_the_same_placeholders() -> None:
    for key, entry in entries().items():
        assert set(entry) - {"one"} == set(LANGUAGES), key
        assert all(text.strip() or key == "form.space" for text in entry.values()), key
        assert len({frozenset(placeholders(entry[lang])) for lang in LANGUAGES}) == 1, key
        assert placeholders(entry.get("one", "")) <= placeholders(entry["en"]), key


def test_chinese_is_chinese() -> None:
    for key, entry in entries().items():
        text = re.sub(r"{[^}]*}", "", entry["zh"])
        if not key.startswith("form."):
            assert re.search(r"[\u4e00-\u9fff]", text) or not re.search(r"[A-Za-z]{3}", text), key
        assert not re.search(r"[\u4e00-\u9fff][,;:?!.]", text), f"{key}: punctuation after Chinese is Chinese"


def test_every_key_that_is_used_is_there_and_none_is_idle() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in [*SRC.rglob("*.py"), *SRC.glob("reporting/**/*.html")])
    asked = {first or second for first, second in KEY.findall(sources)}
    assert asked <= set(entries())
    composed = set(re.findall(r"""named\(["']([a-z_]+)["']""", sources)) | set(
        re.findall(r"""f"([a-z_]+)\.[a-z_]*{""", sources)
    )
    named = asked | set(re.findall(r"""["']([a-z_]+\.[a-z_0-9]+)["']""", sources)) | {f"{part}.title" for part in PARTS}
    assert {key for key in entries() if key not in named and key.partition(".")[0] not in composed | {"said"}} == set()


def test_the_words_of_the_checks_are_those_of_the_checks() -> None:
    english = Words("en")
    for name in CHECKS.names():
        assert english(f"check.{name}") == CHECKS.load(name).sentence
        assert english(f"check.{name}_hint") == CHECKS.load(name).hint


def test_an_unknown_language_is_said() -> None:
    with pytest.raises(UsageError, match="no language 'zz'"):
        Words("zz")


def test_one_is_said_otherwise_in_english() -> None:
    assert Words("en")("next.unreadable", n=1) == "Look at the picture that could not be read, listed in the report."
    assert "2 pictures" in Words("en")("next.unreadable", n=2)
    assert "1 张" in Words("zh")("next.unreadable", n=1)


def test_values_are_never_read_as_placeholders() -> None:
    assert Words("en")("next.look_between", truth="{n}", guess="{0}").startswith("Look at the mistakes between “{n}” and “{0}”")


def test_sentences_of_other_rooms_are_translated_with_what_they_name() -> None:
    chinese = Words("zh")
    assert chinese.said("No picture here is of a, b.c and 3 more: left out of the means over classes.") == (
        "这里没有 a, b.c and 3 more 的图片：不计入各类别的平均。"
    )
    assert chinese.said("given 'ant', looks like 'bee' (87%)") == "标签为“ant”，看起来像“bee”（87%）"
    assert chinese.said("something that nobody foresaw") == "something that nobody foresaw"
    assert Words("en").said("something") == "something"


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_all_or_nothing(value: float) -> None:
    text = Words("en").percent(value)
    assert (text == "100.0\u00a0%") == (value == 1)
    assert (text == "0.0\u00a0%") == (value == 0)


def test_a_share_just_below_all_or_above_nothing() -> None:
    shown = [Words("en").percent(value).replace("\u00a0", " ") for value in (0.99996, 0.9994, 0.0004, 0.0006)]
    assert shown == ["> 99.9 %", "99.9 %", "< 0.1 %", "0.1 %"]


def test_an_undefined_share_is_a_dash() -> None:
    nan = float("nan")
    assert Words("en").percent(nan) == "–"
    assert Words("zh").between(Score(nan, nan, nan, 0)) == "–"
    assert Words("zh").between(Score(0.5, 0.25, 0.75, 8)) == "25.0% 至 75.0%"
