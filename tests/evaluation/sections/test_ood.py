from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import DataError
from beholder.evaluation.sections.ood import built_in, named, out_of_distribution, shuffled


def test_every_set_has_every_score(tested, tmp_path: Path) -> None:
    bundle, evaluation = tested
    (tmp_path / "black").mkdir()
    for k in range(3):
        Image.new("RGB", (30, 20), (k, 0, 0)).save(tmp_path / "black" / f"{k}.png")
    (tmp_path / "black" / "bad.png").write_bytes(b"")
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        found = json.loads(json.dumps(out_of_distribution(bundle, evaluation, sources=[tmp_path / "black"]), allow_nan=False))
    assert [(event.fields["done"], event.fields["total"]) for event in heard if event.message == "out-of-distribution"][-1] == (
        4,
        4,
    )
    assert list(found["sets"]) == ["noise", "patches", "digits", "black"]
    assert found["sets"]["black"]["n"] == 3
    for one in found["sets"].values():
        for measure in ("auroc", "fpr95"):
            assert set(one[measure]) == {"energy", "softmax", "knn"}
            assert all(0 <= score["low"] <= score["value"] <= score["high"] <= 1 for score in one[measure].values())
    assert found["accepted"]["value"] >= 0.95
    assert found["fitted_on"] == 90


def test_other_pictures_may_lie_in_an_archive_without_classes(tested, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (9, 0, 0)).save(tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "others.zip", "w") as others:
        for k in range(3):
            others.write(tmp_path / "0.png", f"{k}.png")
    assert len(named(tested[0], tmp_path / "others.zip")) == 3


def test_a_bundle_without_references_has_fewer_figures(tested) -> None:
    bundle, evaluation = tested
    bare = replace(bundle, references=None, config=replace(bundle.config, ood=None))
    found = out_of_distribution(bare, evaluation)
    assert found is not None
    assert "accepted" not in found
    assert set(found["sets"]["noise"]["auroc"]) == {"energy", "softmax"}
    assert out_of_distribution(bundle, replace(evaluation, pixels=None)) is None


def test_digits_are_no_strangers_to_a_recogniser_of_digits(tested) -> None:
    bundle, evaluation = tested
    images = evaluation.pixels.take(np.arange(4))
    knows = replace(bundle, config=replace(bundle.config, classes=tuple("0123456789")))
    assert [name for name, _ in built_in(knows, images)] == ["noise", "patches"]


def test_shuffling_keeps_every_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 17, 22), np.uint8)
    made = shuffled(images, np.random.default_rng(1))
    assert (np.sort(made.reshape(9, -1)) == np.sort(images.reshape(9, -1))).all()
    assert not (made == images).all()
    assert shuffled(images[..., :2], np.random.default_rng(1)).shape == (3, 3, 17, 2)


def test_a_set_that_cannot_be_read_is_an_error(tested, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError):
        named(tested[0], tmp_path)
