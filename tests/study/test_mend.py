from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.base.records import Finding, Pictures
from beholder.data.audit import Findings
from beholder.data.digest import digested
from beholder.data.sources import scan
from beholder.study.examine import examined
from beholder.study.mend import mended
from beholder.study.steps import steps

RECIPE = load("quick").set(net="cnn", epochs=2, batch=8)


@pytest.fixture
def pictures(leaves: Path) -> Pictures:
    return digested(scan(leaves))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, pictures: Pictures) -> Findings:
    """Suggestions for every rust picture: relabel; and one contradiction."""
    rows = [Finding(f"rust/{k:02}.png", "blurred", 0.9, "w", "relabel:mildew") for k in range(12)]
    rows += [Finding("healthy/00.png", "conflict", 1.0, "w", "drop")]
    found = Findings(pictures, tuple(rows), {"blurred": 36})
    none = Findings(pictures, (), {})
    monkeypatch.setattr("beholder.study.mend.examined", lambda *_, checks, **__: found if "dark" in checks else none)
    return found


def labels(pictures: Pictures) -> dict[str, str]:
    return {key: pictures.labels(row)[0] for row, key in enumerate(pictures.keys)}


@pytest.mark.usefixtures("planted")
def test_report_only_mends_contradictions(pictures: Pictures) -> None:
    found = mended(pictures, RECIPE)
    assert found.done == {"healthy/00.png": "drop"}
    every = {key: label for _, part in found.parts.items() for key, label in labels(part).items()}
    assert "healthy/00.png" not in every
    assert len(every) == 35
    assert all(label == key.split("/")[0] for key, label in every.items())


@pytest.mark.usefixtures("planted")
def test_fix_follows_suggestions_but_leaves_the_labels_of_the_test_part(pictures: Pictures) -> None:
    found = mended(pictures, RECIPE.set(audit="fix"))
    for name, part in found.parts.items():
        rust = {label for key, label in labels(part).items() if key.startswith("rust")}
        assert rust == ({"rust"} if name == "test" else {"mildew"})
    assert all(not key.startswith("rust") or what == "relabel:mildew" for key, what in found.done.items())


@pytest.mark.usefixtures("planted")
def test_off_looks_at_nothing(pictures: Pictures) -> None:
    found = mended(pictures, RECIPE.set(audit="off"))
    assert found.findings is None
    assert found.json("off") == {"policy": "off"}
    assert sum(len(part) for _, part in found.parts.items()) == 36


def test_unreadable_pictures_stay_the_caches_business(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes(b"")
    found = mended(digested(scan(leaves)), RECIPE.set(audit="fix"))
    assert "rust/00.png" in {key for _, part in found.parts.items() for key in part.keys}
    with pytest.raises(beholder.DataError):
        steps(leaves, recipe=RECIPE.set(audit="fix", on_bad="stop"))


@pytest.mark.usefixtures("planted")
def test_a_run_says_keeps_and_shows_what_was_found_and_done(leaves: Path, tmp_path: Path) -> None:
    heard: list[events.Event] = []
    out = tmp_path / "m.beholder"
    with events.listen(heard.append, alone=True):
        outcome = steps(leaves, recipe=RECIPE, out=out)
    said = " ".join(event.message for event in heard)
    assert "1 pictures left out" in said
    assert "--audit fix" in said
    assert outcome.bundle.config["audit"] == {"policy": "report", "found": {"blurred": 12}, "dropped": 1, "relabelled": 0}
    again = beholder.load(out)
    assert again.audit == outcome.bundle.audit
    rows = {row["picture"]: row for row in csv.DictReader(io.StringIO(again.audit))}
    assert rows["healthy/00.png"]["done"] == "drop"
    assert rows["rust/00.png"]["done"] == ""
    report = (out / "report.html").read_text("utf-8")
    assert "What the audit found" in report
    assert "rust/00.png" in report


def test_twins_across_given_parts_are_left_out_of_training_and_the_score_without_them_is_said(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    for part, each in (("train", 20), ("test", 6)):
        draw(tmp_path / "set" / part, each=each, size=(64, 48))
    for file in sorted((tmp_path / "set" / "test").rglob("*.png")):
        pixels = np.asarray(Image.open(file)).copy()
        pixels[:20, :20] = np.random.default_rng(int(file.stem) + 100).integers(0, 255, (20, 20, 3))
        Image.fromarray(pixels).save(file)  # the parts were drawn alike: now they differ
    twin = tmp_path / "set" / "test" / "rust" / "00.png"
    Image.open(twin).save(tmp_path / "set" / "train" / "rust" / "twin.bmp")
    outcome = steps(tmp_path / "set", recipe=RECIPE)
    assert outcome.bundle.config["parts"]["test"] == 18
    rows = {row["picture"]: row for row in csv.DictReader(io.StringIO(outcome.bundle.audit)) if row["check"] == "leak"}
    assert rows["train/rust/twin.bmp"]["done"] == "drop"
    assert any("without them: accuracy" in note and "(n=17)" in note for note in outcome.evaluation.notes)


def test_nets_judge_no_picture_of_the_test_part(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[set[str], bool]] = []

    def look(given: Pictures, *_: object, checks: Sequence[str], from_scratch: bool = True, **__: object) -> Findings:
        if "label" in checks:
            asked.append((set(given.keys), from_scratch))
        return Findings(given, (), {})

    monkeypatch.setattr("beholder.study.mend.examined", look)
    for policy in ("report", "fix"):
        found = mended(pictures, RECIPE.set(audit=policy))
        assert asked[-1][0] == {*found.parts.train.keys, *found.parts.valid.keys}
    assert [scratch for _, scratch in asked] == [False, True]


def test_near_twins_of_very_many_pictures_are_left_to_the_audit_whatever_the_minutes(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def look(given: Pictures, *_: object, checks: Sequence[str], near: bool = True, **__: object) -> Findings:
        if "duplicate" in checks:
            asked.append(near)
            assert ("near" in checks) is near
        return Findings(given, (), {})

    monkeypatch.setattr("beholder.study.mend.examined", look)
    for most in (36, 35):
        monkeypatch.setattr("beholder.study.mend.NEAR", most)
        for minutes in (0, 10, 0.001):
            mended(pictures, RECIPE.set(minutes=minutes))
    assert asked == [True] * 3 + [False] * 3


def test_the_findings_of_a_second_run_are_remembered_and_new_labels_are_judged_anew(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = examined(pictures, RECIPE, checks=["dark", "conflict"])
    with monkeypatch.context() as patch:
        patch.setattr("beholder.study.examine.run_checks", None)
        again = examined(pictures, RECIPE, checks=["dark", "conflict"])
        assert again.csv() == first.csv()
        assert again.looked == first.looked
        assert again.twins is not None
        with pytest.raises(TypeError):
            examined(pictures.take(np.arange(20)), RECIPE, checks=["dark", "conflict"])
