"""The pages in Chinese keep step with those in English; docs/chinese.py says how they are compared, and copies code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import chinese, snippets  # noqa: E402


@pytest.mark.parametrize(("english", "translated"), chinese.PAIRS.items(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_in_chinese_has_the_structure_of_the_english_one(english: Path, translated: Path) -> None:
    assert chinese.differences(english, translated) == []


@pytest.mark.parametrize("page", chinese.PAIRS.values(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_in_chinese_is_in_chinese(page: Path) -> None:
    text = page.read_text("utf-8")
    prose = [
        part for part in snippets.FENCE.sub("", text).split("\n\n") if not re.match(r"\s*(</?details|!?\[[^\]]*\]\()", part)
    ]
    for paragraph in (part.strip() for part in prose):
        assert not paragraph or re.search(r"[\u4e00-\u9fff]", paragraph) or paragraph == "# Beholder", paragraph
    for heading in re.findall(r"^#+ (.+)", text, re.MULTILINE):
        assert heading == "Beholder" or re.search(r"[\u4e00-\u9fff]", heading), heading
    assert not re.search(r"[\u4e00-\u9fff] [\u4e00-\u9fff]", text.replace("\n", "  ")), "a space between Chinese characters"
    assert not re.search(r"[\u4e00-\u9fff]\$`|`\$[\u4e00-\u9fff]", text), "GitHub shows no formula that touches a character"
    assert not re.search(r"[\u4e00-\u9fff][,;:?!]", text), "punctuation of English in Chinese"


ENGLISH = """\
# One

Some [text](a.md)

```math
x = \\text{one}
```

```python
a = 1  # one
b = "# no comment"
```

| a | b |
|---|---|
| 1 | 2 |

1. one
"""


def _pages(folder: Path, translated: str) -> tuple[Path, Path]:
    (folder / "en.md").write_text(ENGLISH, "utf-8")
    (folder / "zh.md").write_text(translated, "utf-8")
    return folder / "en.md", folder / "zh.md"


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("", "", ""),
        ("# One", "# 一", ""),
        ("# one\n", "# 一\n", ""),
        ("\\text{one}", "\\text{一}", ""),
        ("# One", "## One", "headings"),
        ("a = 1", "a = 2", "code"),
        ("# no comment", "# 注释", "code"),
        ("](a.md)", "](b.md)", "links"),
        ("| 1 | 2 |\n", "", "tables"),
        ("x =", "y =", "code"),
        ("1. one", "one", "lists"),
    ],
)
def test_what_is_out_of_step_is_named(
    before: str, after: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chinese, "ROOT", tmp_path)
    found = chinese.differences(*_pages(tmp_path, ENGLISH.replace(before, after)))
    assert [line.split(": ")[1].split(" ")[0] for line in found] == ([what] if what else [])


def test_code_is_copied_where_more_than_comments_differ() -> None:
    same = ENGLISH.replace("# one\n", "# 一\n")
    assert chinese.followed(ENGLISH, same) == same
    assert chinese.followed(ENGLISH, same.replace("a = 1", "a = 2")) == ENGLISH
