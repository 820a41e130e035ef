"""Made pictures as a candidate: real ones that were held back join, noise does not, and copies of the test never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Pictures
from beholder.learn.material import Beside
from beholder.study import synthetic as module
from beholder.study.policy import Curated

RARE = 8
"""A digit of which most pictures are held back."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same bits on every machine: one run in twenty adopts noise by chance, and it is to be the same ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((32, 32)).save(folder / str(label) / f"{k:04d}.png")
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Digits with 6 training pictures of the rare class, those held back of it, and noise that is called so."""
    from sklearn.datasets import load_digits

    found, place = load_digits(), tmp_path_factory.mktemp("synthetic")
    x, y = np.rint(found.images * (255 / 16)).astype(np.uint8), found.target
    rare = np.flatnonzero(y == RARE)
    train = np.concatenate([np.flatnonzero(y != RARE)[:500], rare[:6]])
    valid = np.concatenate([np.flatnonzero(y != RARE)[500:700], rare[6:46]])
    test = np.concatenate([np.flatnonzero(y != RARE)[700:900], rare[46:66]])
    for name, rows in (("train", train), ("val", valid), ("test", test)):
        written(place / "set" / name, x[rows], y[rows])
    written(place / "held", x[rare[66:]], y[rare[66:]])
    noise = np.random.default_rng(0).integers(0, 255, (80, 8, 8)).astype(np.uint8)
    written(place / "noise", noise, np.full(80, RARE))
    written(place / "other", x[:3], np.array(["a", "b", "c"]))
    written(place / "copies", x[test], y[test])
    return {path.name: path for path in place.iterdir()}


def joined(sources: dict[str, Path], name: str) -> Any:
    pictures: Pictures = beholder.scan(sources["set"])
    recipe = beholder.Recipe().set(synthetic=str(sources[name]), audit="off", precision="fp32")
    parts = beholder.split(pictures, near=False)
    return module.synthetic(Curated(parts), recipe, Beside(), out=None, resume=False, began=0.0), parts


def test_real_pictures_that_were_held_back_join(sources: dict[str, Path]) -> None:
    found, parts = joined(sources, "held")
    (row,) = found.tried
    assert row.outcome == "kept"
    assert len(found.parts.train) > len(parts.train) + 80
    assert found.beside.own == len(parts.train)
    assert found.parts.valid is not None
    assert len(found.parts.valid) == len(parts.valid)
    assert found.parts.train.counts()[RARE] > 80
    added = found.parts.train.take(np.arange(len(parts.train), len(found.parts.train)))
    assert set(added.targets.tolist()) == {RARE}
    assert added.store.read(added.keys[0])
    assert "they join the training part" in found.parts.train.notes[-1]


def test_noise_does_not_join_and_that_is_said(sources: dict[str, Path]) -> None:
    found, parts = joined(sources, "noise")
    assert [row.outcome for row in found.tried] == ["not better in enough resamples"]
    assert len(found.parts.train) == len(parts.train)
    assert "they did not help" in found.parts.train.notes[-1]


def test_copies_of_test_pictures_never_join(sources: dict[str, Path]) -> None:
    found, parts = joined(sources, "copies")
    assert len(found.parts.train) == len(parts.train)
    assert "none is left" in found.parts.train.notes[-1]


def test_other_classes_are_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(DataError) as found:
        joined(sources, "other")
    assert found.value.code == "other-classes"


def test_field_is_refused_where_it_does_nothing(sources: dict[str, Path]) -> None:
    parts = beholder.split(beholder.scan(sources["set"]), near=False)
    with pytest.raises(UsageError) as found:
        beholder.train(parts, synthetic="auto")
    assert found.value.code == "unused-field"


def test_made_here_they_fill_rare_classes_up_to_the_mean(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.generate
    monkeypatch.setattr(
        module, "generate", lambda parts, recipe, out: real(parts, recipe=recipe.set(epochs=1, maps=8), out=out)
    )
    parts = beholder.split(beholder.scan(sources["set"]), near=False)
    recipe = beholder.Recipe().set(synthetic="auto", audit="off")
    out = tmp_path / "m.beholder"
    found = module.synthetic(Curated(parts), recipe, Beside(), out=out, resume=False, began=0.0)
    made = beholder.Generator.load(tmp_path / "m.made.beholder")
    assert made.classes == parts.train.classes
    (row,) = found.tried
    lacking = int(np.maximum(0, np.ceil(parts.train.counts().mean()) - parts.train.counts()).sum())
    assert f"{lacking} made pictures" in row.what


def test_train_takes_it_from_source_to_test(sources: dict[str, Path], tmp_path: Path) -> None:
    outcome = beholder.steps(
        sources["set"], synthetic=str(sources["held"]), audit="off", net="logistic", epochs=1, out=tmp_path / "m.beholder"
    )
    assert any("synthetic" in note for note in outcome.bundle.config.notes)
    assert any("made pictures" in row.what for row in outcome.bundle.config.tried)
