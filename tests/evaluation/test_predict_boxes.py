from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.detectors import CLASSES, detector
from tests.squares import drawn as squares

from beholder.base.errors import BundleError, UsageError
from beholder.base.records import Detection, Detections
from beholder.bundle import found
from beholder.bundle.detector import Detector
from beholder.evaluation.drawing import COLOURS, Drawings, drawn, marked
from beholder.evaluation.predict_boxes import predict


@pytest.fixture(scope="module")
def finder() -> Detector:
    return detector()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    squares(tmp_path / "in" / "deep", n=9)
    (tmp_path / "in" / "deep" / "boxes.csv").unlink()
    return tmp_path / "in"


def test_a_line_for_each_picture_in_order(finder: Detector, folder: Path) -> None:
    (folder / "deep" / "003.png").write_bytes(b"no picture")
    lines = list(predict(finder, folder, threshold=0, batch=2))
    assert [line["path"] for line in lines] == [str(folder / "deep" / f"{k:03}.png") for k in range(9)]
    assert lines[3]["error"]["code"] == "not-a-picture"
    wanted = finder(folder / "deep" / "008.png", threshold=0).json()
    assert {key: lines[8][key] for key in ("width", "height")} == {"width": 96, "height": 64}
    assert len(lines[8]["boxes"]) == len(wanted["boxes"]) > 3
    for one, other in zip(lines[8]["boxes"], wanted["boxes"], strict=True):
        assert one["label"] == other["label"]
        assert one["p"] == pytest.approx(other["p"], abs=1e-4)
        assert one["box"] == pytest.approx(other["box"], abs=0.05)


def test_thresholds_and_how_many(finder: Detector, folder: Path) -> None:
    path = folder / "deep" / "000.png"
    every = next(predict(finder, path, threshold=0))["boxes"]
    middle = every[len(every) // 2]["p"]
    assert [box["p"] for box in every] == sorted((box["p"] for box in every), reverse=True)
    assert all(box["p"] >= middle for box in next(predict(finder, path, threshold=middle))["boxes"])
    assert next(predict(finder, path, threshold=0, most=2))["boxes"] == every[:2]
    for wrong in ({"threshold": 1.5}, {"most": 0}, {"most": 2001}):
        with pytest.raises(UsageError):
            next(predict(finder, path, **wrong))  # type: ignore[arg-type]


def test_no_more_pictures_are_held_than_a_few_batches(finder: Detector, folder: Path) -> None:
    asked: list[int] = []

    def paths() -> Any:
        for k in range(100):
            asked.append(k)
            yield folder / "deep" / f"{k % 9:03}.png"

    lines = predict(finder, paths(), batch=2)
    next(lines)
    assert len(asked) <= 6
    lines.close()


def test_an_answer_without_numbers_is_said_of_its_picture_alone(finder: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = [finder.looked(np.full((20, 20, 3), level, np.uint8)) for level in (10, 200, 30)]
    real = Detector.found

    def broken(self: Detector, images: Any, *, most: int | None = None) -> Any:
        if images.max() > 150:
            raise BundleError("NaN", code="not-finite", hint="")
        return real(self, images, most=most)

    monkeypatch.setattr(Detector, "found", broken)
    said = [found.said(answer) for answer in found.answers(finder, looked, threshold=0)]
    assert [sorted(answer) for answer in said] == [["boxes", "height", "width"], ["error"], ["boxes", "height", "width"]]


def test_drawings_keep_names_and_leave_other_files_alone(finder: Detector, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    lines = list(predict(finder, folder, threshold=0, draw=Drawings(out, roots=[folder], classes=CLASSES)))
    assert [line["drawn"] for line in lines] == [str(out / "deep" / f"{k:03}.png") for k in range(9)]
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    assert list(predict(finder, folder, threshold=0, draw=Drawings(out, roots=[folder])))  # drawings are drawn anew
    (out / "deep" / "004.png").write_bytes(before[folder / "deep" / "004.png"])
    for place in (Drawings(out, roots=[folder]), Drawings(folder, roots=[folder])):
        with pytest.raises(UsageError) as caught:
            list(predict(finder, folder, draw=place))
        assert caught.value.code == "place-taken"
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_where_drawings_go(tmp_path: Path) -> None:
    place = Drawings(tmp_path, roots=["pictures", "/data/set"]).place
    assert place("pictures/a/b.jpg") == tmp_path / "a" / "b.jpg"
    assert place("/data/set/c.dcm") == tmp_path / "c.dcm.png"
    assert place("/elsewhere/d.png") == tmp_path / "d.png"
    assert place("../../up/e.png") == tmp_path / "up" / "e.png"
    assert place("x.zip/in/f.png") == tmp_path / "x.zip" / "in" / "f.png"
    assert place("pictures/a/B.jpg") == tmp_path / "a" / "B-2.jpg"


def test_pictures_of_an_archive_are_drawn(finder: Detector, folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(folder / "deep" / "000.png", "one/000.png")
    (line,) = predict(finder, tmp_path / "some.zip", draw=Drawings(tmp_path / "out", roots=[tmp_path]))
    assert Path(line["drawn"]) == tmp_path / "out" / "some.zip" / "one" / "000.png"
    with Image.open(line["drawn"]) as made:
        assert made.size == (96, 64)


def test_boxes_are_where_they_should_be_on_an_upright_copy(tmp_path: Path) -> None:
    picture, out = tmp_path / "turned.jpg", tmp_path / "out" / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200), (250, 250, 250)).save(picture, exif=exif)
    told = Detections(200, 300, (Detection("bolt\u202e", 0.5, (50.0, 100.0, 150.0, 250.0)),))
    assert drawn(picture, told, out, classes=("bolt\u202e",)) == out
    with Image.open(out) as written:
        made = np.asarray(written.convert("RGB")).astype(int)
    assert made.shape == (300, 200, 3)
    assert np.abs(made[175, 50] - COLOURS[0]).max() < 60
    assert made[175, 100].min() > 230
    assert np.abs(made[86, 52] - COLOURS[0]).max() < 90  # the label stands above the box


def test_a_picture_full_of_boxes_and_boxes_at_the_edges() -> None:
    white = np.full((40, 60, 3), 255, np.uint8)
    boxes = tuple(Detection("a" * 200, 0.9, (0.0, 0.0, float(k % 60), float(k % 40))) for k in range(2000))
    made = marked(white, Detections(60, 40, boxes))
    assert made.shape == white.shape
    assert white.min() == 255
    assert np.array_equal(marked(white, Detections(60, 40, ())), white)
