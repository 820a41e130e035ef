"""The range that a set uses is measured once, by one rule for files and arrays, and is part of the pixel policy."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.base.fields import DataRecipe
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import cached
from beholder.data.survey import choose_policy, survey
from beholder.duplicates.facts import facts
from beholder.sources import depths, scan
from beholder.sources.digest import digested

TOP = 4095


def values_of(k: int, i: int) -> np.ndarray:
    """Fine steps of grey about a quarter of twelve bits; the very first picture holds the whole range."""
    rng = np.random.default_rng([k, i])
    made = 1000 + 60 * k + rng.integers(-20, 20, (16, 16))
    if (k, i) == (0, 0):
        made[0, :2] = 0, TOP
    return made


def written(folder: Path, kind: str) -> Path:
    for k, label in enumerate("ab"):
        for i in range(5):
            file = folder / label / f"{i}.{kind.partition('-')[0]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            values = values_of(k, i)
            if kind == "tif-32":
                Image.fromarray(values.astype(np.int32)).save(file)
            elif kind == "png-colour":
                file.write_bytes(colour(np.dstack([values] * 3).astype(np.uint16)))
            elif kind == "ppm":
                file.write_bytes(b"P6\n# a comment\n16 16 65535\n" + np.dstack([values] * 3).astype(">u2").tobytes())
            elif kind == "pgm":
                file.write_bytes(b"P5 16 16 65535\n" + values.astype(">u2").tobytes())
            else:
                Image.fromarray(values.astype(np.uint16)).save(file)
    return folder


def colour(values: np.ndarray) -> bytes:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    return bytes(cv2.imencode(".png", values)[1])


def policy_of(pictures: Pictures) -> tuple[PixelPolicy, str]:
    return choose_policy(survey(pictures), DataRecipe(size=16, channels=1))


def pixels_of(pictures: Pictures, policy: PixelPolicy, root: Path) -> np.ndarray:
    pixels = cached(pictures, policy, root=root)
    assert pixels.bad == ()
    return pixels.take(np.arange(len(pixels)))[:, 0]


@pytest.mark.parametrize("kind", ["tif", "tif-32", "png", "png-colour", "pgm", "ppm"])
def test_twelve_bits_in_sixteen_keep_their_steps(tmp_path: Path, kind: str) -> None:
    pictures = digested(scan(written(tmp_path / "set", kind)), root=tmp_path)
    assert pictures.bits == 12
    policy, why = policy_of(pictures)
    assert policy.bits == 12
    assert "use 0..4,095 (12 bits)" in why
    expected = np.stack([values_of(k, i) for k in range(2) for i in range(5)]) * (255 / TOP)
    assert np.abs(pixels_of(pictures, policy, tmp_path) - expected).max() <= 0.51


def test_arrays_follow_the_rule_of_files(tmp_path: Path) -> None:
    x = np.stack([values_of(k, i) for k in range(2) for i in range(5)])
    files = scan(written(tmp_path / "set", "tif"))
    for kind in (np.uint16, np.int32, np.int64):
        arrays = scan((x.astype(kind), np.repeat([0, 1], 5)))
        assert policy_of(arrays)[0] == policy_of(files)[0]
        made = pixels_of(digested(arrays, root=tmp_path), policy_of(arrays)[0], tmp_path)
        assert np.array_equal(made, pixels_of(digested(files, root=tmp_path), policy_of(files)[0], tmp_path))


def test_the_audit_sees_what_the_net_sees(tmp_path: Path) -> None:
    pictures = digested(scan(written(tmp_path / "set", "tif")), root=tmp_path)
    light = facts(pictures, root=tmp_path)["light"][:, 2]
    assert np.abs(light - [x / TOP for x in [1000] * 5 + [1060] * 5]).max() < 0.01


def test_parts_keep_the_range_of_their_set_and_it_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = digested(scan(written(tmp_path / "set", "tif")), root=tmp_path)
    some = pictures.take(np.array([3, 7]))
    assert survey(some).bits == 12

    def fails(*_: object, **__: object) -> int:
        raise AssertionError("looked at again")

    monkeypatch.setattr(image, "top", fails)
    assert digested(scan(tmp_path / "set"), root=tmp_path).bits == 12
    assert depths.bits(some) == 12


def test_sets_of_eight_bits_and_of_sixteen_stay_as_they_were() -> None:
    eight = scan((np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]))
    full = scan((np.full((4, 8, 8), 40000, np.uint16), [0, 1, 0, 1]))
    assert (survey(eight).bits, survey(full).bits) == (0, 16)
    assert "bits" not in policy_of(full)[1]
    assert image.load(np.full((8, 8), 40000, np.uint16), policy_of(full)[0])[0, 0, 0] == round(40000 / 257)


def test_a_picture_of_another_range_is_refused_and_a_hot_pixel_is_white() -> None:
    policy = PixelPolicy(10, 20, 1, bits=12)
    values = np.full((10, 20), 2000, np.uint16)
    values[0, :2] = 65535
    assert image.load(values, policy)[0, 0].tolist() == [255, 255] + [round(2000 / TOP * 255)] * 18
    values[1] = 65535
    with pytest.raises(PictureError) as caught:
        image.load(values, policy)
    assert caught.value.code == "out-of-range"
    assert image.load(values, replace(policy, bits=0)).max() == 255


def test_bytes_in_whole_numbers_of_sixteen_bits_are_bytes_where_the_set_has_no_more() -> None:
    x = np.arange(4 * 64).reshape(4, 8, 8).astype(np.uint16)
    policy, _ = policy_of(scan((x, [0, 1, 0, 1])))
    assert policy.bits == 8
    assert np.array_equal(image.load(x[3], replace(policy, height=8, width=8))[0], x[3])


def test_what_says_its_range_is_not_measured() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(buffer, "TIFF")
    assert image.top(buffer.getvalue()) == 0
    assert image.top(b"P5 2 1 4095\n" + np.array([4095, 0], ">u2").tobytes()) == 0
    assert image.top(np.array([[1.0, 0.5]])) == 0
