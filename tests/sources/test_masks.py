"""Masks beside pictures are noticed and left out; what only has the same name is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.records import Pictures
from beholder.sources import scan

RNG = np.random.default_rng(0)


def photo(path: Path, k: int = 0) -> None:
    pixels = RNG.integers(0, 90, (48, 48, 3)).astype(np.uint8)
    pixels[10:26, 8:24] = (40 + 60 * k, 200, 90)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def mask(path: Path, *, kind: str = "L") -> None:
    pixels = np.zeros((48, 48), np.uint8)
    pixels[10:26, 8:24] = 255 if kind in ("L", "RGB") else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Image.fromarray(pixels)
    if kind == "P":
        found = found.convert("P")
        found.putpalette([0, 0, 0, 200, 30, 30] + [0] * 750)
    (found.convert("RGB") if kind == "RGB" else found).save(path)


def read(root: Path) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(root)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


PLACES = [
    ("{label}/{i}.jpg", "{label}/{i}.png"),
    ("{label}/{i}.png", "{label}/{i}.bmp"),
    ("{label}/{label} ({i}).png", "{label}/{label} ({i})_mask.png"),
    ("{label}/{label} ({i}).png", "{label}/{label} ({i})_mask_1.png"),
    ("{label}/{i}.jpg", "{label}/{i}-segmentation.png"),
    ("{label}/{i}.jpg", "{label}/mask_{i}.png"),
    ("{label}/images/{i}.png", "{label}/masks/{i}.png"),
    ("images/{label}/{i}.jpg", "masks/{label}/{i}.png"),
    ("train/{label}/{i}.jpg", "train_masks/{label}/{i}_mask.gif"),
    ("{label}/{i}.jpg", "{label}/GT/{i}.png"),
]  # fmt: skip


@pytest.mark.parametrize(("picture", "its"), PLACES)
@pytest.mark.parametrize("kind", ["L", "P", "RGB", "ones"])
def test_masks_are_left_out_and_said(tmp_path: Path, picture: str, its: str, kind: str) -> None:
    for k, label in enumerate(("cat", "dog")):
        for i in range(4):
            photo(tmp_path / picture.format(label=label, i=i), k)
            mask(tmp_path / its.format(label=label, i=i), kind=kind)
    pictures, said = read(tmp_path)
    assert pictures.classes == ("cat", "dog")
    assert pictures.counts().tolist() == [4, 4]
    assert set(pictures.keys) == {picture.format(label=label, i=i) for label in ("cat", "dog") for i in range(4)}
    assert "masks" in said
    assert any("8 masks beside the pictures" in note for note in pictures.notes)


def test_masks_as_jpeg(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for i in range(4):
            photo(tmp_path / label / f"{i}.png")
            mask(tmp_path / label / f"{i}_mask.jpg")
    assert read(tmp_path)[0].counts().tolist() == [4, 4]


def test_two_pictures_of_one_name_are_asked_about(tmp_path: Path) -> None:
    for k, label in enumerate(("cat", "dog")):
        for i in range(4):
            photo(tmp_path / label / f"{i}.jpg", k)
            photo(tmp_path / label / f"{i}.png", k)
    pictures, said = read(tmp_path)
    assert pictures.counts().tolist() == [8, 8]
    assert said == ["same-stem"]
    assert any("cat/0.jpg and cat/0.png" in note for note in pictures.notes)


@pytest.mark.parametrize("names", [("mask", "no_mask"), ("with_mask", "without_mask"), ("labels", "no labels")])
def test_classes_that_are_called_so_stay_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for k, label in enumerate(names):
        for i in range(4):
            photo(tmp_path / label / f"{i}.jpg", k)
    pictures, said = read(tmp_path)
    assert pictures.classes == names
    assert pictures.counts().tolist() == [4, 4]
    assert said == []


def test_a_table_names_pictures_by_their_stem(tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"pics/{i}.jpg")
        mask(tmp_path / f"pics/{i}.png")
    (tmp_path / "t.csv").write_text("id,label\n" + "\n".join(f"{i},{'ab'[i % 2]}" for i in range(4)))
    for source in (tmp_path, tmp_path / "t.csv"):
        assert list(read(source)[0].keys) == [f"pics/{i}.jpg" for i in range(4)]
