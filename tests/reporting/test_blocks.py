from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from beholder.base.errors import PictureError
from beholder.base.records import Score
from beholder.reporting import blocks as b


def photo(seed: int = 0, size: tuple[int, int] = (400, 300)) -> bytes:
    """A JPEG as full of detail as one can be, which compresses badly."""
    made = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(made, "jpeg", quality=95)
    return made.getvalue()


def test_every_text_is_escaped() -> None:
    bad = "<script>alert(1)</script>\"'&"
    texts = [
        b.title(bad, bad),
        b.head(bad),
        b.lines([bad]),
        b.facts([(bad, bad)]),
        b.table([bad], [[bad]]),
        b.bars([b.share(bad, 0.5, bad)]),
        b.beside(b.grid([b.picture(bad, photo, [bad], boxes=[((0, 0, 9, 9), bad)]), b.picture(bad, lambda: None)])),
    ]
    html = b.rendered(texts)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 13
    assert "http" not in html, "nothing is fetched"


def test_names_that_turn_the_text_around_them_are_isolated() -> None:
    assert "\u2068חתול\u2069" in b.rendered([b.title("חתול")])


def test_a_picture_is_small_and_keeps_its_shape_and_boxes() -> None:
    made = b.picture("a.jpg", photo, ["rust"], boxes=[((10.04, 20, 110, 220), "cell")])
    assert made["src"].startswith("data:image/jpeg;base64,")
    assert len(made["src"]) < 8_000
    assert (made["width"], made["size"]) == (96, (400, 300))
    assert made["marks"] == [{"x": 10.0, "y": 20, "w": 100.0, "h": 200, "title": "cell"}]
    assert b.picture("b", lambda: photo(size=(100, 400)))["width"] == 24
    assert b.picture("c", lambda: np.zeros((8, 8), np.uint8))["tiny"]


def test_what_cannot_be_shown_is_told_in_words() -> None:
    def unreadable() -> bytes:
        raise PictureError("a.jpg cannot be read", code="not-a-picture")

    def odd() -> bytes:
        raise KeyError("of a store of somebody's own")

    assert b.picture("a", lambda: None)["why"] == "the picture is gone"
    assert b.picture("a", unreadable)["why"] == "not a picture"
    assert b.picture("a", lambda: b"no picture")["src"] == ""
    assert b.picture("a", odd)["why"] == "KeyError"
    assert "the picture is gone" in b.rendered([b.grid([b.picture("a", lambda: None)])])


def test_many_pictures_share_what_one_output_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    with b.bounded():
        html = b.rendered([b.grid(b.picture(str(k), lambda k=k: photo(k), side=160) for k in range(30))])
    assert len(html) < 60_000
    assert "not shown here" in html
    assert html.count("data:image/jpeg") > 3
    monkeypatch.setattr(b, "SECONDS", -1.0)
    with b.bounded():
        assert b.picture("late", photo)["why"] == "not shown here"


def test_bars_stay_on_their_line() -> None:
    assert b.interval("auroc", Score(0.75, 0.5, 1.0, 9), ends=(0.5, 1.0)) | {"text": ""} == {
        "name": "auroc",
        "low": 0.0,
        "high": 1.0,
        "at": 0.5,
        "text": "",
        "strong": False,
    }
    assert b.share("a", float("nan"), "-")["high"] == 0.0
    assert b.share("a", 1.7, "-")["high"] == 1.0
