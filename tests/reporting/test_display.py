from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.detectors import CLASSES, detector

import beholder
from beholder.base.boxes import Boxes, Drawn
from beholder.base.display import Given
from beholder.base.records import Detection, Detections, Prediction, Score
from beholder.bundle.bundle import Bundle
from beholder.reporting.display import blocks, html, spread


def arrays(n: int, classes: int) -> beholder.Pictures:
    x = np.random.default_rng(0).integers(0, 255, (n, 8, 8), np.uint8)
    return beholder.scan((x, [f"class {k % classes}" for k in range(n)]))


def shown(value: Any) -> str:
    """The HTML of a value, whose making fails loudly here."""
    assert list(blocks(value))
    made = html(value)
    assert made is not None
    assert "<script" not in made
    assert "http" not in made
    return made


def test_a_set_is_a_grid_with_labels_and_counts(draw, tmp_path: Path) -> None:
    source = draw(tmp_path / "leaves")
    (source / "<i>odd").mkdir()
    Image.new("RGB", (40, 30)).save(source / "<i>odd" / "a.png")
    (source / "<i>odd" / "b.png").write_bytes(b"broken")
    pictures = beholder.scan(source)
    made = pictures._repr_html_()
    assert f"{len(pictures):,} pictures of 4 classes" in made
    assert "&lt;i&gt;odd" in made
    assert "<i>odd" not in made
    assert 8 <= made.count("data:image/png") <= 12
    assert len(made) < 60_000
    shutil.rmtree(source)
    gone = shown(pictures)
    assert "data:image" not in gone, "the pictures are gone"
    assert "rust" in gone


def test_the_classes_of_a_grid_come_in_turn() -> None:
    rows = spread(arrays(600, 3), 12)
    assert np.bincount(rows % 3).tolist() == [4, 4, 4]
    assert rows.max() > 590
    assert len(spread(arrays(600, 50), 12)) == 12
    assert spread(arrays(5, 2), 12).tolist() == [0, 1, 2, 3, 4]
    bare = beholder.scan(np.zeros((20, 8, 8), np.uint8), labels=False)
    assert spread(bare, 12)[[0, -1]].tolist() == [0, 19]
    assert "20 pictures without labels" in shown(bare)


def test_a_set_with_boxes_shows_them() -> None:
    drawn = Drawn(np.array([[1.0, 2.0, 5.0, 7.0]]), np.array([0]), np.array([False]))
    pictures = replace(arrays(4, 2), boxes=Boxes.of([drawn] * 4))
    assert shown(pictures).count('<rect x="1.0" y="2.0" width="4.0" height="5.0">') == 4


def test_parts_findings_and_scores(draw, tmp_path: Path) -> None:
    source = draw(tmp_path / "leaves")
    (source / "rust" / "broken.png").write_bytes(b"no")
    pictures = beholder.scan(source)
    findings = beholder.audit(pictures, checks=["unreadable", "duplicate"])
    made = findings._repr_html_()
    assert "1 finding in" in made
    assert re.search(r"<td>unreadable</td>\s*<td>1</td>", made)
    assert "broken.png" in made
    parts = beholder.split(findings.kept)
    assert "train</th>" in shown(parts)
    assert f"{len(parts.train):,} (" in parts._repr_html_()
    assert "left:80.00%;width:15.00%" in shown(Score(0.9, 0.8, 0.95, 100))
    assert "bits" not in shown(Score(3.2, 3.1, 3.3, 100))
    assert "3.200 [3.100, 3.300] (n=100)" in shown(Score(3.2, 3.1, 3.3, 100))
    assert "not estimable" in shown(Score(0.5, float("nan"), float("nan"), 1))


def test_a_prediction_shows_its_picture_and_bars(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    source, _, model = small
    name = tmp_path / "<b>.png"
    shutil.copy(next(source.rglob("*.png")), name)
    answer = model(name)
    assert answer.picture == name
    made = answer._repr_html_()
    assert made.count("data:image/png") == 1
    assert "&lt;b&gt;.png" in made
    assert made.count('class="track"') == 3
    width = re.search(r'class="on" style="left:0.00%;width:([\d.]+)%', made)
    assert width is not None
    assert float(width[1]) == pytest.approx(100 * answer.p, abs=0.01)
    name.unlink()
    assert "data:image" not in shown(answer)
    pixels = np.asarray(Image.open(next(source.rglob("*.png"))))
    assert "data:image/png" in shown(model(pixels)), "a small array is kept"
    several = model(source / "rust")
    assert shown(several).count("data:image/png") == min(24, len(several))
    assert [one.picture for one in several] == sorted(str(path) for path in (source / "rust").iterdir())
    assert "the picture is gone" in shown(Prediction("a", 1.0, {"a": 1.0}))
    for told in (True, False, None):
        assert ("out of distribution" in shown(Prediction("a", 1.0, {"a": 1.0}, ood=told))) == (told is True)


def test_a_model_says_whether_it_was_tested_and_its_test_what_went_wrong(small: tuple[Path, Path, Bundle]) -> None:
    source, path, _ = small
    model = beholder.load(path)
    assert "not tested" in shown(model)
    assert str(path) in shown(model)
    tested = beholder.evaluate(model, beholder.scan(source))
    model.scores = tested.json()
    accuracy = str(tested.scores.headline["accuracy"])
    assert accuracy in shown(model)
    made = tested._repr_html_()
    assert accuracy in made
    wrong = int((tested.probabilities.argmax(axis=1) != tested.targets).sum())
    assert made.count("data:image") == min(8, wrong)
    assert ("most confident errors" in made) == (wrong > 0)
    assert "data:image" not in shown(replace(tested, pixels=None))


def test_what_a_detector_found_is_drawn_on_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    found = Detections(400, 300, (Detection("<cell>", 0.9, (20, 30, 150, 200)),), given=Given(tmp_path / "a.png"))
    made = found._repr_html_()
    assert 'viewBox="0 0 400 300"' in made
    assert '<rect x="20" y="30" width="130" height="170"><title>&lt;cell&gt; 0.90</title></rect>' in made
    assert shown([found, found]).count("<rect") == 2
    assert "nothing" not in shown(Detections(4, 3, ()))


def test_a_detector_and_its_test(tmp_path: Path) -> None:
    model = detector()
    assert "Detector on resnet10t" in shown(model)
    assert "&lt;b&gt;nut&lt;/b&gt;" in shown(model)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(tmp_path / "a.png")
    found = model(tmp_path / "a.png", threshold=0.0)
    assert found.picture == tmp_path / "a.png"
    assert shown(found).count("<rect") == min(50, len(found)) > 0
    drawn = Drawn(np.array([[10.0, 10.0, 40.0, 40.0]]), np.array([1]), np.array([False]))
    pictures = beholder.scan(str(tmp_path / "*.png"), labels=False)
    pictures = replace(pictures, classes=CLASSES, targets=np.array([1]), boxes=Boxes.of([drawn], [(90, 60)]))
    tested = beholder.evaluate(model, pictures)
    assert str(tested.scores.headline["ap"]) in tested._repr_html_()
    assert "Tested on 1 pictures" not in tested._repr_html_()


def test_what_has_no_such_form() -> None:
    assert html(3) is None
    assert html([]) is None
    assert html([1] * 40) is None


@pytest.mark.parametrize(("n", "more"), [(8, ""), (20, "and 12 more"), (30, "and 22 more")])
def test_a_list_of_scores_says_how_many_it_does_not_show(n: int, more: str) -> None:
    made = shown([Score(0.9, 0.8, 0.95, 100)] * n)
    assert made.count("0.900 [0.800, 0.950] (n=100)") == 8
    assert more in made
    assert ("more" in made) == bool(more)


def test_a_list_of_predictions_says_how_many_it_does_not_show() -> None:
    answer = Prediction("a", 1.0, {"a": 1.0})
    assert "and 6 more" in shown([answer] * 30)
    assert "more" not in shown([answer] * 24)


def test_what_cannot_be_rendered_has_no_such_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("a bug in what is only a decoration")

    monkeypatch.setattr("beholder.reporting.blocks.rendered", broken)
    assert html(Score(0.9, 0.8, 0.95, 100)) is None
