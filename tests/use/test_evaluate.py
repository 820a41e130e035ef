from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.bundle.bundle import Bundle


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Bundle, beholder.Parts]:
    source = draw(tmp_path_factory.mktemp("evaluate") / "leaves")
    parts = beholder.split(beholder.scan(source), seed=0)
    return source, beholder.train(parts, net="cnn", epochs=4, batch=8), parts


def test_only_the_test_part_of_a_source_is_scored(trained) -> None:
    source, bundle, parts = trained
    found = beholder.evaluate(bundle, source)
    assert sorted(found.keys) == sorted(parts.test.keys)
    assert found.scores.n == 6
    result = json.loads(json.dumps(found.json()))
    assert result["n"] == 6
    assert np.array(result["confusion"]).sum() == 6
    assert str(found).startswith("accuracy ")
    assert found.thumbnail(0).shape == (3, bundle.policy.height, bundle.policy.width)


def test_scoring_what_it_was_trained_on_says_that_it_flatters(trained) -> None:
    source, bundle, _ = trained
    everything = beholder.evaluate(bundle, source, part="all")
    assert everything.scores.n == 36
    assert "30 of these 36" in everything.notes[0]
    assert "24 of these 24" in beholder.evaluate(bundle, beholder.split(beholder.scan(source), seed=0).train).notes[0]
    assert beholder.evaluate(bundle, source, part="train").scores.n == 24


def test_strangers_count_as_test_and_are_matched_by_class_name(trained, tmp_path: Path) -> None:
    source, bundle, _ = trained
    for name in ("rust", "mildew"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for file in (source / name).iterdir():
            from PIL import Image

            Image.open(file).rotate(90, expand=True).save(tmp_path / "new" / name / file.name)
    found = beholder.evaluate(bundle, tmp_path / "new")
    assert found.scores.n == 24
    assert set(found.targets.tolist()) == {1, 2}
    assert found.scores.headline["accuracy"].value == 1.0
    assert found.notes == ()


def test_classes_that_do_not_fit_are_an_error_and_never_a_wrong_score(trained, tmp_path: Path) -> None:
    source, bundle, _ = trained
    odd = Path(shutil.copytree(source, tmp_path / "odd"))
    (odd / "rust").rename(odd / "scab")
    with pytest.raises(DataError, match="scab") as some:
        beholder.evaluate(bundle, odd, part="all")
    assert some.value.code == "other-classes"
    (odd / "mildew").rename(odd / "a")
    (odd / "healthy").rename(odd / "b")
    with pytest.raises(DataError, match="none of the source's classes"):
        beholder.evaluate(bundle, odd, part="all")


def test_wrong_parts_are_refused(trained) -> None:
    source, bundle, _ = trained
    with pytest.raises(UsageError, match="tset"):
        beholder.evaluate(bundle, source, part="tset")


def test_bad_pictures_are_listed_and_in_no_score(trained, tmp_path: Path) -> None:
    source, bundle, parts = trained
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    (copy / parts.test.keys[0]).write_bytes(b"no picture at all")
    found = beholder.evaluate(bundle, copy)
    assert found.scores.n == 5
    assert [bad.key for bad in found.bad] == [parts.test.keys[0]]
    assert found.json()["bad"][0]["error"]["code"] == "not-a-picture"


def test_several_labels_are_scored_by_average_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (80, 2)).astype(np.uint8)
    y[~y.any(1)] = (1, 0)
    x = rng.integers(0, 40, (80, 8, 8, 3)).astype(np.uint8)
    x[..., 0] += (y[:, 0] * 150)[:, None, None].astype(np.uint8)
    x[..., 2] += (y[:, 1] * 150)[:, None, None].astype(np.uint8)
    from PIL import Image

    rows = ["path,label"]
    for number, picture in enumerate(x):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{';'.join(name for name, on in zip(('red', 'blue'), y[number], strict=True) if on)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    parts = beholder.split(beholder.scan(tmp_path / "labels.csv"))
    bundle = beholder.train(parts, net="mlp", epochs=30, batch=16, flip="none")
    found = beholder.evaluate(bundle, parts.test)
    assert found.scores.headline["map"].value > 0.95
    assert set(bundle(tmp_path / "0.png").probabilities) == {"red", "blue"}
    assert found.scores.confusion is None
