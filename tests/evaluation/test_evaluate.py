from __future__ import annotations

import dataclasses
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.base.names import Names
from beholder.bundle.bundle import Bundle
from beholder.data.known import hashes, maybe_known
from beholder.evaluation.evaluate import beside_leaks
from beholder.sources.joined import JoinedStore


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


def test_scores_without_what_leaks_stand_beside_the_others(trained) -> None:
    source, bundle, parts = trained
    found = beholder.evaluate(bundle, source)
    beside = beside_leaks(bundle, found, parts.test, {found.keys[1], "elsewhere.png"})
    assert beside.unleaked is not None
    assert beside.unleaked["accuracy"].n == found.scores.n - 1
    assert beside.notes[-1].startswith(
        "1 of these pictures have duplicates in the other parts of the source; without them: accuracy"
    )
    assert beside_leaks(bundle, found, parts.test, {"elsewhere.png"}) is found
    assert beside_leaks(bundle, found, parts.test, found.keys) is found


def test_strangers_count_as_test_and_are_matched_by_class_name(trained, tmp_path: Path) -> None:
    source, bundle, _ = trained
    for name in ("rust", "mildew"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for file in (source / name).iterdir():
            Image.open(file).rotate(90, expand=True).save(tmp_path / "new" / name / file.name)
    found = beholder.evaluate(bundle, tmp_path / "new")
    assert found.scores.n == 24
    assert set(found.targets.tolist()) == {1, 2}
    assert found.scores.headline["accuracy"].value == 1.0
    assert found.notes == ()


def test_classes_are_matched_in_one_unicode_form(trained) -> None:
    _, bundle, parts = trained
    names = [unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD")]
    ours = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, classes=(names[1], "mildew", "rust")))
    pictures = dataclasses.replace(parts.test, classes=(names[0], "mildew", "rust"))
    found = beholder.evaluate(ours, pictures)
    assert found.scores.headline == beholder.evaluate(bundle, parts.test).scores.headline


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


def patches(folder: Path, n: int, *, seed: int = 0) -> Path:
    """A patch of the class's colour on random noise: no two alike, and most with much the same low frequencies."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        pixels = rng.integers(0, 60, (48, 48, 3))
        x, y = rng.integers(8, 20, 2)
        pixels[y : y + 16, x : x + 16] = np.array([(220, 40, 40), (40, 40, 220)][k % 2]) + rng.integers(-25, 25, (16, 16, 3))
        place = folder / ("red", "blue")[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{k:03d}.png")
    return folder


def test_a_test_claims_no_near_duplicate_that_the_audit_denies(tmp_path: Path) -> None:
    """Close hashes make candidates: with the pixels of training at hand these are compared, without nothing is claimed."""
    source = patches(tmp_path / "base", 120)
    assert not beholder.audit(source, checks=["near-duplicate"]).rows
    parts = beholder.split(beholder.scan(source), near=False)
    bundle = beholder.train(parts, net="logistic", epochs=1, flip="horizontal")
    found = beholder.evaluate(bundle, parts.test)
    assert maybe_known(hashes(found.pixels), bundle.hashes).any()
    assert not found.alike.any()
    assert not any("same" in note or "hash" in note for note in found.notes)
    assert found.scores.n == len(parts.test)
    for name in ("red", "blue"):
        first = next(key for key in parts.train.keys if key.startswith(name))
        (tmp_path / "new" / name).mkdir(parents=True)
        Image.open(source / first).resize((44, 44)).save(tmp_path / "new" / name / "copy.jpg", quality=90)
    assert beholder.evaluate(bundle, tmp_path / "new").alike.tolist() == [True, True]
    away = dataclasses.replace(
        bundle, splits=[(f"{k:064x}", "train") for k in range(len(bundle.splits))]
    )  # of pictures that are not here
    moved = beholder.evaluate(away, tmp_path / "new")
    assert not moved.alike.any()
    assert any("cannot be told without those pictures" in note for note in moved.notes)


@pytest.mark.parametrize("part", ["test", "all", "train", "valid"])
def test_each_reading_of_the_test_part_is_counted_on_disk_and_said(trained, part: str, tmp_path: Path) -> None:
    source, bundle, parts = trained
    bundle.save(tmp_path / "m.beholder")
    held = beholder.load(tmp_path / "m.beholder")
    before = len(held.readings)
    counted = part in ("test", "all")
    for time in (1, 2):
        found = beholder.evaluate(held, source, part=part)
        readings = json.loads((tmp_path / "m.beholder" / "readings.json").read_text()) if before or counted else []
        assert len(readings) == len(held.readings) == before + time * counted
        assert found.readings == (before + time if counted else 0)
        assert any("test part" in note and "read" in note for note in found.notes) == counted
        if counted:
            assert readings[-1]["n"] == len(parts.test)
    beholder.evaluate(tmp_path / "m.beholder", parts.test)
    assert len(beholder.load(tmp_path / "m.beholder").readings) == before + 2 * counted + 1


def test_where_pictures_came_from_is_kept_without_what_may_be_secret(trained) -> None:
    source, bundle, _ = trained
    pictures = beholder.scan(source)
    away = JoinedStore("https://me:SECRET@example.org/x.zip?key=SECRET", {"own": pictures.store})
    keys = Names.of(f"own/{key}" for key in pictures.keys)
    found = beholder.evaluate(bundle, dataclasses.replace(pictures, store=away, keys=keys))
    assert found.json()["source"] == "https://example.org/x.zip"
