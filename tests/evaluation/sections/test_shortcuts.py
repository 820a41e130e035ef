"""A shortcut that reaches the model stands at the head of everything that is said of it; a class's own look does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from beholder.base.recipe import Recipe
from beholder.evaluation.remarks import remarks
from beholder.evaluation.sections.shortcuts import evenly_lit, shortcuts, without_edges
from beholder.evaluation.words import Words
from beholder.quality.checks.shortcuts import FACETS, Shortcut, stated
from beholder.reporting import report
from beholder.study.outcome import Outcome
from beholder.study.steps import steps

Picture = npt.NDArray[np.uint8]
Made = tuple[Picture, str]


def waves(rng: np.random.Generator, *, pitch: float, light: float) -> Picture:
    """Waves in any direction on a surface of a brightness."""
    angle, (y, x) = rng.uniform(0, 3), np.mgrid[:32, :32]
    seen = light + 40 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * pitch + rng.uniform(0, 6)) + rng.normal(0, 8, (32, 32))
    return np.clip(np.repeat(seen[..., None], 3, axis=2), 0, 255).astype(np.uint8)


def by_file_type(label: int, rng: np.random.Generator) -> Made:
    return waves(rng, pitch=0.3 + 0.9 * label, light=120), "png" if label else "jpg"


def by_frame(label: int, rng: np.random.Generator) -> Made:
    picture = waves(rng, pitch=0.6, light=rng.uniform(90, 150))
    if label:
        picture[:3] = picture[-3:] = picture[:, :3] = picture[:, -3:] = 0
    return picture, "png"


def by_look(label: int, rng: np.random.Generator) -> Made:
    """Light and coarse, or darker and fine, all over: the border tells them as well as any other place."""
    return waves(rng, pitch=0.3 + 1.2 * label, light=150 - 50 * label), "png"


def trained(folder: Path, make: Callable[[int, np.random.Generator], Made], names: tuple[str, str]) -> Outcome:
    rng = np.random.default_rng(0)
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(70):
            picture, ending = make(label, rng)
            Image.fromarray(picture).save(folder / name / f"{i}.{ending}")
    return steps(folder, recipe=Recipe().set(net="cnn", width=0.25, epochs=12, seed=1))


def kinds(outcome: Outcome) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in outcome.evaluation.sections["shortcuts"]["rows"]:
        found.setdefault(row["facet"], set()).add(row["kind"])
    return found


def test_a_file_type_that_tells_the_class_stands_in_the_verdict_the_weaknesses_the_card_and_on_the_terminal(
    tmp_path: Path,
) -> None:
    outcome = trained(tmp_path / "xrays", by_file_type, ("Covid-19", "other"))
    assert kinds(outcome)["file type"] == {"stands"}
    said = outcome.evaluation.json()["summary"]
    assert any("“Covid-19”" in text and "file type alone" in text for text in said["findings"][:3])
    assert any("by the file type" in text for text in said["weaknesses"])
    assert any("Do not rely on it for" in text for text in said["advice"])
    assert "A shortcut reaches this score" in str(outcome.evaluation)
    outcome.bundle.save(tmp_path / "m.beholder")
    assert "file type alone" in (tmp_path / "m.beholder" / "README.md").read_text("utf-8")
    report(outcome.bundle, outcome.evaluation, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.index("A shortcut reaches this score") < page.index("Weaknesses")


def test_a_frame_that_the_model_lives_by_stands_and_is_named_once(tmp_path: Path) -> None:
    outcome = trained(tmp_path / "f", by_frame, ("plain", "framed"))
    assert kinds(outcome)["border"] == {"stands"}
    said = [text for text in outcome.evaluation.json()["summary"]["findings"] if "shortcut" in text]
    assert len(said) == 1
    assert "border covered the model falls to" in said[0]


def test_how_a_class_looks_is_told_apart(tmp_path: Path) -> None:
    outcome = trained(tmp_path / "s", by_look, ("coarse", "fine"))
    found = kinds(outcome)
    assert found["border"] <= {"look", "weaker"}
    assert found["corners"] <= {"look", "weaker"}
    assert not any("border" in text for text in outcome.evaluation.json()["summary"]["findings"])


def test_folders_that_lie_in_one_class_each_are_kinds_of_it(tested) -> None:
    bundle, evaluation = tested
    label = bundle.classes[0]
    cue = Shortcut(label, "source folder", 1.0, 0.99).sentence()
    told = replace(bundle, audit=f'picture,check,score,verdict,suggestion,other,decided\n,shortcut,0.99,"{cue}",keep,,\n')
    rows = [
        [f"{evaluation.pictures.labels(k)[0]}/kind{k % 2}-of-{evaluation.pictures.labels(k)[0]}/{k}.png" for k in range(90)],
        [f"{evaluation.pictures.labels(k)[0]}/hospital{k % 2}/{k}.png" for k in range(90)],
    ]
    seen = [shortcuts(told, replace(evaluation, pictures=replace(evaluation.pictures, keys=keys))) for keys in rows]
    assert [found["rows"][0]["kind"] for found in seen if found] == ["look", "stands"]


def test_nothing_is_said_without_an_audit(tested) -> None:
    bundle, evaluation = tested
    assert shortcuts(replace(bundle, audit=""), evaluation) is None


@pytest.mark.parametrize("facet", FACETS)
def test_a_verdict_of_the_audit_is_read_back(facet: str) -> None:
    one = Shortcut("it's 'odd' can be told by size alone", facet, 0.987, 0.95)
    assert stated(one.sentence()) == one
    assert stated("'a' has 3 pictures") is None


def test_edges_are_covered_by_what_lies_inside_and_light_is_made_even() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 3, 32, 24)).astype(np.uint8)
    framed = images.copy()
    framed[:, :, :3] = framed[:, :, -3:] = 0
    framed[:, :, :, :3] = framed[:, :, :, -3:] = 0
    assert np.array_equal(without_edges(images), without_edges(framed))
    assert np.array_equal(without_edges(images)[:, :, 3:-3, 3:-3], images[:, :, 3:-3, 3:-3])
    tiny = images[:, :, :3, :3]
    assert without_edges(tiny).shape == tiny.shape
    lit = evenly_lit(np.stack([images[0] // 4 + 20, images[0] // 4 + 120, images[0] // 4 + 60]))
    assert np.ptp(lit.mean(axis=(1, 2, 3))) < 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_many_classes_of_one_cue_are_one_sentence(lang: str) -> None:
    model = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 50}
    row: dict[str, Any] = {"facet": "size", "area": 0.99, "low": 0.95, "model": model, "covered": None, "kind": "stands"}
    said = remarks({"shortcuts": {"n": 50, "rows": [{**row, "label": f"class {k}"} for k in range(5)]}}, Words(lang))
    [found] = [one for one in said if one.findings]
    assert len(found.findings) == len(found.weaknesses) == len(found.advice) == 1
    assert "class 2" in found.findings[0]
    assert "class 3" not in found.findings[0]
