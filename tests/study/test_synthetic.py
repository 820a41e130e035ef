"""Made pictures as a candidate: real ones that were held back join, noise does not, and copies of the test never."""

from __future__ import annotations

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
from beholder.tasks import named

RARE = 8
"""A digit of which most pictures are held back."""


pytestmark = pytest.mark.usefixtures("one_thread")
"""One run in twenty adopts noise by chance; with one thread they are the same ones on every machine."""


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
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (80, 8, 8)).astype(np.uint8)
    written(place / "noise", noise, np.full(80, RARE))
    written(place / "noise-of-all-classes", noise[::-1], random.permutation(np.arange(80) % 10))
    others = np.concatenate([np.flatnonzero(y != RARE)[900:960], rare[66:86]])
    written(place / "labels-permuted", x[others], random.permutation(y[others]))
    mixed = random.permuted(x[others].reshape(len(others), -1), axis=1).reshape(-1, 8, 8)
    written(place / "pixels-permuted", mixed, y[others])
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


@pytest.mark.parametrize("name", ["noise", "noise-of-all-classes", "labels-permuted", "pixels-permuted"])
def test_noise_does_not_join_and_that_is_said(sources: dict[str, Path], name: str) -> None:
    """Pictures of noise under the rare class and under all, and real ones under wrong labels or with their pixels mixed."""
    found, parts = joined(sources, name)
    (row,) = found.tried
    assert row.outcome == "not better in enough resamples"
    assert int(row.what.split()[4]) > 60
    assert len(found.parts.train) == len(parts.train)
    assert found.beside.own is None
    assert "on 240 validation pictures" in found.parts.train.notes[-1]
    assert found.parts.train.notes[-1].endswith("; they did not help")


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


@pytest.mark.parametrize(("name", "said"), [("held", "they join the training part"), ("noise", "they did not help")])
def test_train_takes_it_from_source_to_test(sources: dict[str, Path], tmp_path: Path, name: str, said: str) -> None:
    outcome = beholder.steps(
        sources["set"], synthetic=str(sources[name]), audit="off", net="logistic", epochs=1, out=tmp_path / "m.beholder"
    )
    (note,) = (note for note in outcome.bundle.config.notes if "synthetic" in note)
    assert said in note
    (row,) = (row for row in outcome.bundle.config.tried if "made pictures" in row.what)
    assert (row.outcome == "kept") is (name == "held")


def test_class_weights_stand_for_the_pictures_that_are_added() -> None:
    found = module._weights(np.array([6.0, 94.0, 0.0], np.float32), np.array([94.0, 0.0, 5.0], np.float32))
    assert found[0] / found[1] == pytest.approx(100 / 6)
    assert float((found * torch.tensor([6.0, 94.0, 0.0])).sum()) == pytest.approx(100)


@pytest.mark.parametrize(
    ("sure", "beyond", "more", "kept"),
    [(1.0, 1.0, 0.9, True), (1.0, 0.94, 0.9, False), (0.94, 1.0, 0.9, False), (1.0, 1.0, 0.8, False), (0.95, 0.95, 0.9, True)],
)
def test_they_join_where_they_are_better_than_without_and_than_class_weights(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch, sure: float, beyond: float, more: float, kept: bool
) -> None:
    monkeypatch.setattr(module, "_compared", lambda *_: (0.8, more, sure, beyond))
    monkeypatch.setattr(module, "apart", lambda on, pool, policy: (np.arange(len(pool)), 0, 0))
    monkeypatch.setattr(module.On, "policy", lambda on, beside: None)
    found, parts = joined(sources, "noise")
    assert (found.tried[0].outcome == "kept") is kept
    assert (len(found.parts.train) > len(parts.train)) is kept
    assert f"than class weights to the same effect in {beyond:.0%}" in found.parts.train.notes[-1]


def test_noise_of_a_rare_class_is_no_better_than_a_weight_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real fits, on random features: noise makes a head favour the class as a weight does; pictures do more."""
    from types import SimpleNamespace

    from sklearn.datasets import load_digits

    digits = load_digits()
    random = np.random.default_rng(5)
    weight, bias = random.normal(size=(64, 256)) / 4, random.normal(size=256)

    def seen_by_chance(pixels: np.ndarray) -> np.ndarray:
        return np.maximum(0, (pixels.reshape(-1, 64) - 0.3) @ weight + bias).astype(np.float32)

    x, y = seen_by_chance(digits.images / 16), digits.target
    rare, others = np.flatnonzero(y == RARE), np.flatnonzero(y != RARE)
    train, valid = np.r_[others[:500], rare[:6]], np.r_[others[500:700], rare[6:46]]
    noise = seen_by_chance(random.random((80, 64)))
    pools = {"noise": (noise, np.full(80, RARE)), "real": (x[rare[66:]], y[rare[66:]])}
    eye, whole = np.eye(10, dtype=np.float32), np.r_[train, valid]
    later, found = np.arange(len(whole)) >= len(train), {}
    monkeypatch.setattr(module, "digested", lambda part: part)
    monkeypatch.setattr(module, "joined", lambda *_: ("whole", later))
    for name, (rows, labels) in pools.items():
        seen = {"whole": (x[whole], eye[y[whole]]), "pool": (rows, eye[labels])}
        on = SimpleNamespace(features=lambda which, what, seen=seen: seen[which][0], task=named("single"))
        monkeypatch.setattr(module, "targets_of", lambda which, seen=seen: torch.from_numpy(seen[which][1]))
        parts = SimpleNamespace(train=train, valid=valid)
        found[name] = module._compared(on, parts, "pool")  # type: ignore[arg-type]
    plain, more, sure, beyond = found["real"]
    assert more > plain
    assert min(sure, beyond) >= module.SURE
    assert found["noise"][3] < 0.8
