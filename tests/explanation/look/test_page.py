"""The page as text: whole, quiet, and no name in it can break out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from tests.explanation.look.pages import Page, bundle, picture

from beholder.explanation.look import look
from beholder.explanation.look.page import NAME, SCRIPTS, embedded, named, read

EVIL = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\u202eb",
    "quo\"te's & <!-- \u2028",
    "x" * 500,
    "caf\udce9",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(html)
    return parser.found


def test_names_given_by_people_are_text_and_nothing_else(tmp_path: Path) -> None:
    plain = look(bundle("cnn", names=tuple(f"c{k}" for k in range(len(EVIL)))), picture())
    made = look(bundle("cnn", names=EVIL), picture(), label=EVIL[0])
    path = made.save(tmp_path / "a.html")
    html = path.read_text("utf-8")
    assert [tag for tag, _ in tags(html)] == [tag for tag, _ in tags(plain.html)]
    names = {one["at"]: one["name"] for one in Page(html).facts["head"]["classes"]}
    assert names[0] == EVIL[0]
    assert names[1] == EVIL[1]
    assert names[4] == "x" * (NAME - 1) + "…"
    assert names[5] == "café"
    assert "alert(1)</script>" not in html


def test_the_page_asks_nobody_for_anything() -> None:
    html = look(bundle("cnn"), picture()).html
    for tag, attributes in tags(html):
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, value)
    assert "default-src 'none'" in html
    assert not re.search(r"https?://", html)
    assert html.count("<script") == 3


def test_the_picture_s_own_name_stands_in_the_title_as_text(tmp_path: Path) -> None:
    path = tmp_path / "\u05d7\u05ea\u05d5\u05dc & z\u202e.png"
    Image.fromarray(picture()).save(path)
    html = look(bundle("cnn"), path).html
    assert "<title>\u2068\u05d7\u05ea\u05d5\u05dc &amp; z .png\u2069 through cnn</title>" in html
    assert "<bdi>\u05d7\u05ea\u05d5\u05dc &amp; z .png</bdi>" in html


def test_plain_values_are_embedded_so_that_nothing_ends_the_script() -> None:
    text = embedded({"a": "</script>&<!--", "b": [1.5, float("nan"), float("inf")], "c": None})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script>&<!--", "b": [1.5, None, None], "c": None}
    assert named({"name": "y" * 99, "x": ["z" * 400, 3]})["x"][1] == 3


@pytest.mark.parametrize("name", [*SCRIPTS, "page.css", "page.html"])
def test_its_files_are_in_the_package_and_short(name: str) -> None:
    text = read(name)
    assert 5 < len(text.splitlines()) <= 400
    if name.endswith(".js"):
        assert max(map(len, text.splitlines())) <= 150
        bodies = re.findall(r"^(?:async )?function \w+.*?^}", text, re.DOTALL | re.MULTILINE)
        assert all(body.count("\n") <= 40 for body in bodies), [body.splitlines()[0] for body in bodies]


def test_many_classes_with_long_names_stay_within_the_limit() -> None:
    made = look(bundle("logistic", names=tuple(f"{k:05} " + "long name " * 20 for k in range(3000)), size=8), picture())
    assert len(made.html.encode()) < 2_000_000
    assert Page(made.html).facts["head"]["others"]["count"] == 2000
