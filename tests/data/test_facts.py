from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from beholder.base import events
from beholder.data.digest import digested
from beholder.data.facts import FACTS, QUANTILES, describe, facts, sharpness
from beholder.data.sources import scan


def test_a_row_says_what_the_file_is(leaves: Path) -> None:
    Image.new("L", (30, 50), 77).save(leaves / "rust" / "grey.jpg")
    (leaves / "rust" / "broken.png").write_bytes(b"")
    pictures = digested(scan(leaves))
    rows = facts(pictures)
    assert rows.dtype == FACTS
    assert np.array_equal(rows["digest"], pictures.digests)
    grey = rows[list(pictures.keys).index("rust/grey.jpg")]
    assert (grey["format"], grey["height"], grey["width"], grey["channels"], grey["error"]) == (b"JPEG", 50, 30, 1, b"")
    assert grey["bytes"] == (leaves / "rust" / "grey.jpg").stat().st_size
    assert grey["light"] == pytest.approx([77 / 255] * 5)
    assert (grey["spread"], grey["mode"], grey["tint"]) == pytest.approx((0, 1, 0))
    broken = rows[list(pictures.keys).index("rust/broken.png")]
    assert (broken["error"], broken["height"]) == (b"empty", 0)


def test_a_second_look_reads_no_picture(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = digested(scan(leaves))
    first = facts(pictures)
    monkeypatch.setattr("beholder.data.facts.measure", None)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        again = facts(pictures)
    assert again.tobytes() == first.tobytes()
    assert not heard


def test_what_may_pass_is_not_remembered(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a HEIF cannot be read; once it is installed it can, and the next audit must see that."""
    import sys

    (leaves / "rust" / "new.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    pictures = digested(scan(leaves))
    at = list(pictures.keys).index("rust/new.heic")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        assert facts(pictures)["error"][at] == b"needs-extra"
    pytest.importorskip("pillow_heif")
    assert facts(pictures)["error"][at] == b"damaged"


def test_the_same_picture_in_another_file_has_the_same_pixels(leaves: Path) -> None:
    Image.open(leaves / "rust" / "00.png").save(leaves / "rust" / "again.bmp")
    rows = facts(digested(scan(leaves)))
    codes = [row["pixels"].tobytes() for row in rows]
    assert len(set(codes)) == len(codes) - 1


@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_together_are_described_as_each_alone(pixels: np.ndarray) -> None:
    together = describe(pixels)
    for k in range(len(pixels)):
        for name, value in describe(pixels[k : k + 1]).items():
            assert np.allclose(value[0], together[name][k]), name


@given(arrays(np.uint8, st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_figures_are_those_of_numpy(pixels: np.ndarray) -> None:
    luma = np.asarray(Image.fromarray(pixels[0]).convert("L"))
    found = describe(pixels)
    assert found["light"][0] == pytest.approx(np.quantile(luma, QUANTILES, method="inverted_cdf") / 255)
    assert found["spread"][0] == pytest.approx(luma.std() / 255, abs=1e-6)
    share = (np.abs(luma.astype(int) - np.bincount(luma.ravel()).argmax()) <= 4).mean()
    assert found["mode"][0] == pytest.approx(share)
    tint = (pixels[0].max(axis=2) - pixels[0].min(axis=2)).ravel()
    assert found["tint"][0] == pytest.approx(np.quantile(tint, 0.99, method="inverted_cdf") / 255)
    assert all(0 <= float(found[name][0]) <= 1 for name in ("blur", "fine", "mode"))


def test_blurring_more_is_less_sharp_whatever_the_size() -> None:
    rng = np.random.default_rng(0)
    for side in (24, 64, 700):
        picture = Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8))
        found = [sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))[None]) for radius in (0, 1, 2, 4)]
        assert [float(blur[0]) for blur, _ in found] == sorted(float(blur[0]) for blur, _ in found)
        # Whole levels add a little grain of their own where all else is smoothed away.
        assert [float(fine[0]) for _, fine in found[:3]] == sorted((float(fine[0]) for _, fine in found[:3]), reverse=True)


def test_a_very_large_picture_is_looked_at_reduced(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        buffer = io.BytesIO()
        Image.new("RGB", (3000, 40), "red" if name == "a" else "blue").save(buffer, "PNG")
        (tmp_path / name / "long.png").write_bytes(buffer.getvalue())
    rows = facts(digested(scan(tmp_path)))
    assert [(row["height"], row["width"]) for row in rows] == [(40, 3000)] * 2
    assert rows["light"][:, 2] == pytest.approx([76 / 255, 29 / 255], abs=0.01)
