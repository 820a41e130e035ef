"""The verb and the command: one picture, its geometry, what is written, what is said."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.explanation import explain
from beholder.explanation.draw import colours, drawn, overlay


def photo(height: int, width: int, top: int, left: int, side: int) -> np.ndarray:
    """A grey picture uint8 (H, W, 3) with a red spot."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[top : top + side, left : left + side] = (230, 40, 40)
    return pixels


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_heat_lies_on_the_original_picture(red, fit: str) -> None:
    bundle = replace(red, config=replace(red.config, pixels=replace(red.config.pixels, fit=fit)))
    found = explain(bundle, photo(96, 160, 20, 90, 24), method="gradients")
    assert (found.label, found.prediction, found.method) == ("red", "red", "gradients")
    assert found.heat.shape == (96, 160)
    rows, columns = np.mgrid[:96, :160]
    centre = [(found.heat * place).sum() / found.heat.sum() for place in (rows, columns)]
    assert centre == pytest.approx([31.5, 101.5], abs=2.5)
    assert found.heat[20:44, 90:114].sum() / found.heat.sum() > 0.6
    assert found.covered["p"] < found.covered["elsewhere"] - 0.1
    assert "do not trust" not in found.remark


def test_a_turned_jpeg_is_explained_upright(red) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = io.BytesIO()
    Image.fromarray(np.rot90(photo(64, 48, 8, 8, 16))).save(made, "JPEG", exif=exif, quality=95)
    found = explain(red, made.getvalue())
    assert found.heat.shape == found.picture.shape[:2] == (64, 48)
    assert found.heat[8:24, 8:24].mean() > 5 * found.heat[32:].mean()


def test_a_class_without_support_is_said(red) -> None:
    found = explain(red, photo(32, 32, 4, 4, 8), label="plain")
    assert not found.heat.any()
    assert found.remark == "nothing in the picture speaks for plain"
    with pytest.raises(UsageError, match="no class 'rde'") as caught:
        explain(red, photo(32, 32, 4, 4, 8), label="rde")
    assert "red" in caught.value.hint


def test_what_is_written_is_a_picture_of_both(red, tmp_path: Path) -> None:
    found = explain(red, photo(20, 30, 4, 4, 8))
    with Image.open(found.save(tmp_path / "heat.png")) as image:
        page = np.asarray(image.convert("RGB"))
    assert page.shape[1] > 2 * 30 * 14
    plain = page[12 : 12 + 280, 12 : 12 + 420]
    assert (plain[4 * 14 + 7, 4 * 14 + 7] == (230, 40, 40)).all()
    with pytest.raises(UsageError, match="no kind of picture"):
        found.save(tmp_path / "heat.txt")
    assert not (tmp_path / "heat.txt").exists()


def test_colours_rise_in_even_steps_of_lightness() -> None:
    """Lightness L* of CIE 1976, another space than the one they are made in."""
    steps = colours(np.linspace(0, 1, 21, dtype=np.float32)) / 255
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    light = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    rises = np.diff(light)
    assert rises.min() > 0.5 * rises.mean()
    assert light[-1] - light[0] > 60


def test_cold_places_stay_grey_and_warm_ones_are_coloured() -> None:
    picture = photo(8, 8, 0, 0, 8)
    cold, warm = overlay(picture, np.zeros((8, 8), np.float32)), overlay(picture, np.ones((8, 8), np.float32))
    assert (np.ptp(cold, axis=2) == 0).all()
    assert (np.ptp(warm, axis=2) > 30).all()


def test_names_in_any_script_and_size_are_drawn() -> None:
    picture, heat = photo(3, 700, 0, 0, 2), np.zeros((3, 700), np.float32)
    examples = [(picture, "锈病 and a very long name that has no room\n0.1")]
    assert drawn(picture, heat, ["锈病 0.970", "x" * 120], examples).width > 700


@pytest.mark.parametrize(("height", "width"), [(20, 30), (300, 225), (225, 300), (900, 120), (4000, 3000), (120, 900)])
def test_both_pictures_fill_the_width_whatever_is_said(height: int, width: int) -> None:
    picture, heat = np.full((height, width, 3), 40, np.uint8), np.ones((height, width), np.float32)
    words = ["rust 0.970", "with the warmest 10% covered p is 0.15, with as much covered elsewhere 0.79: " * 2, "y" * 300]
    page = np.asarray(drawn(picture, heat, words))
    row = page[20]
    dark = np.flatnonzero((row < 250).any(axis=1))
    assert (dark[0], len(row) - 1 - dark[-1]) == (12, 12)
    assert len(dark) == len(row) - 3 * 12
    bottom = page[-12:]
    assert (bottom == 255).all(), "no word is cut off"
    assert (page[:, -11:] == 255).all()


def test_what_turns_a_line_is_left_out_of_it() -> None:
    picture, heat = np.full((40, 40, 3), 40, np.uint8), np.zeros((40, 40), np.float32)
    assert drawn(picture, heat, ["\u202egnp.exe 0.5"]) == drawn(picture, heat, ["gnp.exe 0.5"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Path, beholder.Bundle]:
    folder = tmp_path_factory.mktemp("explain")
    source = draw(folder / "leaves")
    bundle = beholder.train(beholder.split(beholder.scan(source)), net="cnn", epochs=3, batch=8)
    return source, bundle.save(folder / "leaves.beholder"), bundle


def test_the_nearest_training_pictures_are_named(trained) -> None:
    source, _, bundle = trained
    pictures = beholder.scan(source)
    parts = beholder.split(pictures)
    key = parts.train.keys[0]
    found = explain(bundle, source / key, like=source)
    assert found.nearest[0].key == key
    assert found.nearest[0].distance == pytest.approx(0, abs=1e-3)
    assert {near.key for near in found.nearest} <= set(parts.train.keys)
    assert [near.distance for near in found.nearest] == sorted(near.distance for near in found.nearest)
    assert found.nearest[0].labels == (found.prediction,)


def test_the_nearest_are_those_it_was_trained_on(trained, tmp_path: Path) -> None:
    _, _, bundle = trained
    for number, name in enumerate(("rust", "mildew")):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.fromarray(photo(9, 9, 0, 0, 2 + number)).save(tmp_path / "other" / name / "a.png")
    with pytest.raises(DataError, match="in the training part"):
        explain(bundle, tmp_path / "other" / "rust" / "a.png", like=tmp_path / "other")


def test_the_command_prints_the_path(trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from beholder.cli.run import run

    source, path, _ = trained
    picture = str(next((source / "rust").iterdir()))
    out = tmp_path / "heat.png"
    assert run(["explain", str(path), picture, "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.stat().st_size > 1000
    asked = ["explain", str(path), picture, "--out", str(out), "--class", "mildew", "--method", "occlusion", "--json"]
    assert run([*asked, "--like", str(source)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["label"], said["method"], said["path"]) == ("mildew", "occlusion", str(out))
    assert len(said["nearest"]) == 5
    assert run(["explain", str(path), str(tmp_path / "none.png"), "--out", str(out)]) == 1
    assert "path-missing" not in capsys.readouterr().out
