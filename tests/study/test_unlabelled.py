"""`train --unlabelled`: what is left out, what joins and how that is said, with a teacher and without, and resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import beholder
from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.files import file_sha256
from beholder.base.recipe import load
from beholder.base.records import Score
from beholder.cli.run import run
from beholder.learn.checkpoint import Due
from beholder.study import unlabelled
from beholder.study.pseudo import Judgement, Pseudo

GOOD = Judgement(0.6, 0.7, 1.0, 12, 1, 40, Score(0.9, 0.8, 0.95, 30))
BAD = Judgement(0.6, 0.6, 0.5, 5, 5, 40, Score(0.5, 0.4, 0.6, 30))
MUTE = Judgement(0.6, 0.65, 0.9, 2, 0, 40, Score(0.5, 0.4, 0.6, 30))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny net in timm's local-dir form, for pictures of 64 pixels."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), folder / "model.safetensors")
    pretrained = {"input_size": [3, 64, 64], "num_classes": 2, "first_conv": "conv1.0", "classifier": "fc"}
    config = {"architecture": "test_resnet", "num_classes": 2, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def blots(seed: int, colour: int) -> Image.Image:
    """A picture of 72 pixels with coarse blots, so that near-duplicates can be told, in one of three tints."""
    draws = np.random.default_rng(seed)
    coarse = draws.integers(30, 220, (6, 6, 3)).astype(np.uint8)
    coarse[:, :, colour] = np.clip(coarse[:, :, colour].astype(int) + 60, 0, 255)
    return Image.fromarray(coarse).resize((72, 72), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with 10 training, 4 validation and 5 test pictures each."""
    folder = tmp_path_factory.mktemp("source")
    for part, count in {"train": 10, "val": 4, "test": 5}.items():
        for k, name in enumerate("abc"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                blots(hash((part == "val", part == "test", k, number)) % 10**6, k).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """30 new pictures, one of them twice, and beside them two copies, two near-duplicates of held-out ones, and no picture."""
    folder = tmp_path_factory.mktemp("more")
    for number in range(30):
        blots(5_000_000 + number, number % 3).save(folder / f"new{number:02}.png")
    (folder / "again.png").write_bytes((folder / "new00.png").read_bytes())
    for part in ("train", "test"):
        (folder / f"copy-{part}.png").write_bytes((source / part / "a" / "0.png").read_bytes())
    for part in ("val", "test"):
        Image.open(source / part / "b" / "1.png").resize((66, 66)).save(folder / f"near-{part}.jpg", quality=80)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def given(judgement: Judgement, count: int) -> Any:
    """Stands for the judgement: so many of the pool, in the classes in turn."""

    def judged(x: Any, y: Any, fold: Any, own: Any, pool: Any, **_: Any) -> tuple[Judgement, Pseudo]:
        assert own.sum() == 30
        assert len(pool) == 30
        rows = np.arange(count)
        return judgement, Pseudo(rows, np.eye(y.shape[1], dtype=np.float32)[rows % 3])

    return judged


FIELDS: dict[str, Any] = {"epochs": 1, "batch": 8, "audit": "off", "precision": "fp32", "augment": "none"}


def steps(source: Path, weights: str, **fields: Any) -> Any:
    return beholder.steps(source, recipe=load("quick").set(**{"weights": weights, **FIELDS, **fields}))


def digests(folder: Path, pattern: str) -> set[str]:
    return {file_sha256(path) for path in folder.glob(pattern)}


def test_what_is_adopted_joins_the_training_part_and_is_said_everywhere(
    source: Path, folder: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "judged", given(GOOD, 20))
    outcome = steps(source, weights, unlabelled=str(folder))
    config = outcome.bundle.config
    assert config.parts == {"train": 50, "valid": 12, "test": 15}
    (note,) = [note for note in config.notes if note.startswith("unlabelled: ")]
    assert "36 pictures without labels (left out: 3 copies, 2 that look like validation or test pictures, 1 unreadable)" in note
    assert "20 of them join the training part: accuracy 0.6000 → 0.7000 by cross-fitting on 40 labelled pictures" in note
    assert note in outcome.json()["notes"]
    (row,) = [row for row in outcome.json()["tried"] if "pseudo-labels" in row["what"]]
    assert (row["what"], row["score"], row["outcome"]) == ("a linear head with 20 pseudo-labels", 0.7, "kept")
    trained = {digest for digest, part in outcome.bundle.splits if part == "train"}
    assert len(trained & digests(folder, "new*.png")) == 20
    held = {digest for digest, part in outcome.bundle.splits if part != "train"}
    assert not held & digests(folder, "new*.png")
    assert not (trained | held) & digests(folder, "near-*.jpg")


@pytest.mark.parametrize(("judgement", "words"), [(BAD, "which is not enough"), (MUTE, "below what any test can tell")])
def test_what_is_not_adopted_changes_no_bit_and_is_said(
    source: Path, folder: Path, weights: str, monkeypatch: pytest.MonkeyPatch, judgement: Judgement, words: str
) -> None:
    monkeypatch.setattr(unlabelled, "judged", given(judgement, 20))
    outcome, without = steps(source, weights, unlabelled=str(folder)), steps(source, weights)
    assert any(note.startswith("unlabelled: ") and words in note for note in outcome.bundle.config.notes)
    assert outcome.json()["tried"][-1]["outcome"] != "kept"
    assert outcome.bundle.splits == without.bundle.splits
    for name, value in without.bundle.net.state_dict().items():
        assert torch.equal(value, outcome.bundle.net.state_dict()[name]), name


def test_noise_is_refused_by_the_judgement_itself(source: Path, weights: str, tmp_path: Path) -> None:
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (72, 72, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    outcome = steps(source, weights, unlabelled=str(tmp_path))
    assert outcome.bundle.config.parts["train"] == 30
    assert any("none of them joins the training part" in note for note in outcome.bundle.config.notes)


def test_with_a_teacher_they_join_with_its_probabilities(source: Path, folder: Path, tmp_path: Path) -> None:
    teacher = beholder.steps(source, net="logistic", epochs=1, batch=8, audit="off").bundle
    how: dict[str, Any] = {"net": "cnn", "width": 0.25, "weights": "none", "teacher": teacher}
    outcome = beholder.steps(source, unlabelled=str(folder), out=tmp_path / "m.beholder", **how, **FIELDS)
    assert outcome.bundle.config.parts["train"] == 60
    notes = outcome.bundle.config.notes
    assert any("30 of them join the training part with the teacher's probabilities" in note for note in notes)
    assert any(note.startswith("teacher: in memory, ") for note in notes)


def test_a_run_that_was_cut_goes_on_with_the_pictures_that_had_joined(
    source: Path, folder: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def at(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 3:
            raise Killed

    def go(out: str, **more: Any) -> Any:
        recipe = load("quick").set(weights=weights, unlabelled=str(folder), **FIELDS)
        return beholder.steps(source, recipe=recipe, out=tmp_path / out, **more)

    monkeypatch.setattr(unlabelled, "judged", given(GOOD, 20))
    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    go("whole.beholder")
    with events.listen(at, alone=True), pytest.raises(Killed):
        go("cut.beholder")
    monkeypatch.setattr(unlabelled, "judged", None)
    outcome = go("cut.beholder", resume=True)
    files = [tmp_path / name / "model.safetensors" for name in ("whole.beholder", "cut.beholder")]
    assert file_sha256(files[0]) == file_sha256(files[1])
    assert outcome.bundle.config.tried[-1].outcome == "kept"
    again = go("cut.beholder", resume=True)
    assert again.bundle.splits == outcome.bundle.splits, "what is trained is only tested again"


def test_errors_say_what_to_do(
    source: Path, folder: Path, tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as missing:
        steps(source, weights, unlabelled=str(tmp_path / "nowhere"))
    assert missing.value.code == "path-missing"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as empty:
        steps(source, weights, unlabelled=str(tmp_path / "empty"))
    assert empty.value.code == "no-pictures"
    with pytest.raises(UsageError) as nothing:
        steps(source, "none", net="cnn", unlabelled=str(folder))
    assert nothing.value.code == "no-features"
    assert "--teacher" in nothing.value.hint
    with pytest.raises(UsageError, match="do not join together"):
        steps(source, weights, unlabelled=str(folder), synthetic="auto")
    parts = beholder.split(beholder.scan(source), seed=0)
    for verb in (beholder.train, beholder.tune, beholder.curve, beholder.audit):
        how = {"minutes": 1} if verb is beholder.tune else {}
        with pytest.raises(UsageError, match=r"data\.unlabelled"):
            verb(parts if verb is beholder.train else source, unlabelled=str(folder), **how)
    missing_teacher = ["train", str(source), "--teacher", str(tmp_path / "t.beholder"), "--out", str(tmp_path / "m.beholder")]
    assert run(missing_teacher) == 2
    told = capsys.readouterr().err
    assert "t.beholder" in told
    assert "hint:" in told
