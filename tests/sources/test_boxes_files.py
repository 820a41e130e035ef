"""`Pictures.boxes` of COCO and Pascal VOC: which boxes are kept, where, and what is said of the others."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.boxes import Boxes
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import scan

NAN, INF = float("nan"), float("inf")


def put(path: Path, *, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)
    return path


def read(source: Any, **more: Any) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(source, **more)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


def boxes_of(pictures: Pictures) -> Boxes:
    assert pictures.boxes is not None
    assert len(pictures.boxes) == len(pictures)
    return pictures.boxes


def coco(boxes: list[tuple[int, int, Any]], *, images: int = 3, sized: bool = True, **more: Any) -> dict[str, Any]:
    """Pictures 0.png, 1.png, … and boxes (picture, category, [x, y, w, h]) of red (7), blue (9) and never (11)."""
    size = {"width": 40, "height": 30} if sized else {}
    return {
        "images": [{"id": i, "file_name": f"{i}.png", **size} for i in range(images)],
        "annotations": [{"id": n, "image_id": i, "category_id": c, "bbox": box, **more} for n, (i, c, box) in enumerate(boxes)],
        "categories": [{"id": 7, "name": "red"}, {"id": 9, "name": "blue"}, {"id": 11, "name": "never"}],
    }


def write(root: Path, whole: dict[str, Any], name: str = "_annotations.coco.json") -> Path:
    for row in whole["images"]:
        put(root / row["file_name"])
    (root / name).write_text(json.dumps(whole))
    return root / name


def test_rows_follow_keys_and_classes(tmp_path: Path) -> None:
    whole = coco([(2, 7, [1, 2, 3, 4]), (0, 9, [5, 5, 5, 5]), (2, 9, [0, 0, 40, 30])])
    write(tmp_path, whole)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for name in ("_annotations.coco.json", "0.png", "1.png", "2.png"):
            packed.write(tmp_path / name, name)
    for source in (tmp_path / "_annotations.coco.json", tmp_path / "set.zip"):
        pictures, codes = read(source)
        boxes = boxes_of(pictures)
        assert pictures.classes == ("blue", "red")
        assert pictures.targets.dtype == np.uint8
        assert pictures.targets.tolist() == [[1, 0], [0, 0], [1, 1]]
        assert boxes.starts.tolist() == [0, 1, 1, 3]
        assert boxes.corners.tolist() == [[5, 5, 10, 10], [1, 2, 4, 6], [0, 0, 40, 30]]
        assert boxes.classes.tolist() == [0, 1, 0]
        assert boxes.sizes.tolist() == [[40, 30]] * 3
        assert not boxes.crowd.any()
        assert codes == []
    assert boxes_of(pictures.take(np.array([2, 1])))[0].classes.tolist() == [1, 0]


def test_one_picture_in_two_files_and_numbers_as_names(tmp_path: Path) -> None:
    first, second = coco([(0, 7, [1, 1, 2, 2])], images=1), coco([(0, 9, [3, 3, 2, 2])], images=1)
    for whole in (first, second):
        whole["categories"] = [{"id": 7, "name": "10"}, {"id": 9, "name": "2"}]
    write(tmp_path, first, "instances_a.json")
    write(tmp_path, second, "instances_b.json")
    pictures, _ = read(tmp_path)
    boxes = boxes_of(pictures)
    assert pictures.classes == ("2", "10"), "by value"
    assert boxes.classes.tolist() == [1, 0]
    assert boxes.starts.tolist() == [0, 2]


def test_names_of_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    whole = coco([(0, 7, [1, 1, 2, 2]), (1, 9, [3, 3, 2, 2]), (1, 11, [0, 0, 9, 9])])
    for row, name in zip(whole["categories"], ("caf\u00e9", "cafe\u0301", "bar"), strict=True):
        row["name"] = name
    pictures, _ = read(write(tmp_path, whole))
    assert pictures.classes == ("bar", "caf\u00e9")
    assert boxes_of(pictures).classes.tolist() == [1, 1, 0]


def test_crowds_are_marked(tmp_path: Path) -> None:
    whole = coco([(0, 7, [1, 2, 3, 4]), (0, 9, [5, 5, 5, 5]), (1, 7, [0, 0, 9, 9])])
    whole["annotations"][2]["iscrowd"] = 1
    path = write(tmp_path, whole)
    pictures, _ = read(path)
    boxes = boxes_of(pictures)
    assert boxes.crowd.tolist() == [False, False, True]
    assert boxes.counts(2).tolist() == [1, 1]
    assert pictures.targets.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert len(read(f"boxes:{path}")[0]) == 2, "crowds are not cut out"


def test_one_class_is_enough_where_there_are_boxes(tmp_path: Path) -> None:
    pictures, _ = read(write(tmp_path, coco([(0, 7, [1, 2, 3, 4])])))
    assert pictures.classes == ("red",)
    assert pictures.targets.tolist() == [[1], [0], [0]]
    assert boxes_of(pictures).starts.tolist() == [0, 1, 1, 1]


def test_labels_without_boxes_leave_none(tmp_path: Path) -> None:
    pictures, _ = read(write(tmp_path, coco([(0, 7, None), (1, 9, [])])))
    assert pictures.boxes is None
    pictures, _ = read(write(tmp_path, coco([(0, 7, None), (1, 9, [1, 1, 1, 1])])))
    assert boxes_of(pictures).classes.tolist() == [0]
    assert pictures.targets.tolist() == [[0, 1], [1, 0], [0, 0]]


BAD = [
    [1, 1, 0, 5], [5, 5, -3, 4], [NAN, 1, 1, 1], [NAN] * 4, [INF, 1, 1, 1], [1, 1, INF, 1], [-INF, 0, INF, 5], [1e308] * 4,
    [1, 1, 10**400, 2], [1, 2], "abcd", {"x": 1}, ["a", 1, 1, 1], [[1], 1, 1, 1], [None, 1, 1, 1],
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:30])
@pytest.mark.parametrize("sized", [True, False])
def test_boxes_without_a_place_are_left_out_and_counted(tmp_path: Path, bad: Any, sized: bool) -> None:
    path = write(tmp_path, coco([(0, 7, bad), (1, 9, [1, 1, 5, 5])], sized=sized))
    pictures, codes = read(path)
    assert boxes_of(pictures).corners.tolist() == [[1, 1, 6, 6]]
    assert pictures.targets.tolist() == [[0, 1], [1, 0], [0, 0]], "of presence it tells all the same"
    assert codes == ["empty-box"]
    assert any(note.startswith("1 boxes without area count as labels") for note in pictures.notes)


@pytest.mark.parametrize("sized", [True, False])
def test_boxes_over_the_edge(tmp_path: Path, sized: bool) -> None:
    over = [[-5, -5, 10, 10], [35, 25, 10, 10], [40, 0, 5, 5], [0, 30, 5, 5], [-9, 0, 9, 5], [39.8, 1, 0.4, 1]]
    pictures, codes = read(write(tmp_path, coco([(0, 7, box) for box in over], sized=sized)))
    boxes = boxes_of(pictures)
    if not sized:
        assert len(boxes.classes) == 6, "of a picture of unknown size nothing is known to be outside"
        assert boxes.sizes.tolist() == [[0, 0]] * 3
        return
    np.testing.assert_allclose(boxes.corners, [[0, 0, 5, 5], [35, 25, 40, 30], [39.8, 1, 40, 2]])
    assert codes == ["box-outside"]
    assert any(note.startswith("3 boxes outside their pictures were left out: 0.png (red)") for note in pictures.notes)
    assert any(note.startswith("2 boxes reach over the edges") for note in pictures.notes)


@pytest.mark.parametrize(("box", "says"), [([NAN, 1, 1, 1], "four numbers"), ([50, 50, 5, 5], "lies in its picture")])
def test_where_no_box_can_be_used_the_source_is_refused(tmp_path: Path, box: list[float], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(write(tmp_path, coco([(0, 7, box), (1, 9, box)])))
    assert caught.value.code == "bad-annotations"
    assert caught.value.hint


@pytest.mark.parametrize("size", [1e308, INF, NAN, -40, 0, "x", None, [1], 10**400])
def test_sizes_that_no_picture_has_are_unknown(tmp_path: Path, size: Any) -> None:
    whole = coco([(0, 7, [1, 1, 5, 5])])
    for row in whole["images"]:
        row["width"] = size
    pictures, _ = read(write(tmp_path, whole))
    assert boxes_of(pictures).sizes.tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("whole", [{}, [], 3, {"images": 3}, {"images": [], "annotations": 3, "categories": []}, "x", None])
def test_json_of_another_shape(tmp_path: Path, whole: Any) -> None:
    put(tmp_path / "0.png")
    (tmp_path / "a.json").write_text(json.dumps(whole))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.json")
    assert caught.value.code in ("bad-annotations", "no-pictures")


def test_as_pycocotools_reads_it(tmp_path: Path) -> None:
    """Random boxes in random order: each picture has those that pycocotools gives it, of the same class and kind."""
    tool = pytest.importorskip("pycocotools.coco")
    random = np.random.default_rng(3)
    rows = [
        (int(random.integers(20)), int(random.choice([7, 9, 11])), [*random.uniform(0, 15, 2), *random.uniform(1, 14, 2)])
        for _ in range(200)
    ]
    whole = coco(rows, images=24)
    for row in whole["annotations"]:
        row |= {"iscrowd": int(random.random() < 0.1), "area": 1.0}
    path = write(tmp_path, whole)
    pictures, boxes = (found := read(path)[0]), boxes_of(found)
    known = tool.COCO(str(path))
    names = {key: row["name"] for key, row in known.cats.items()}
    for k, key in enumerate(pictures.keys):
        theirs = known.loadAnns(known.getAnnIds(imgIds=[int(Path(key).stem)]))
        row = boxes[k]
        ours = sorted(zip(row.corners.round(9).tolist(), row.classes.tolist(), row.crowd.tolist(), strict=True))
        assert ours == sorted(
            (np.round([x, y, x + w, y + h], 9).tolist(), pictures.classes.index(names[one["category_id"]]), one["iscrowd"] == 1)
            for one in theirs
            for x, y, w, h in [one["bbox"]]
        )


def voc(*boxes: tuple[str, Any, Any, Any, Any], difficult: int = 0, size: tuple[Any, Any] = (40, 30)) -> str:
    things = "".join(
        f"<object><name>{label}</name><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in boxes
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{things}</annotation>"


def test_voc(tmp_path: Path) -> None:
    texts = [voc(("red", 4, 6, 10, 9), ("blue", 20, 10, 50, 30)), voc(("red", 1, 1, 2, 2), difficult=1), voc()]
    texts.append(voc(("red", 9, 9, 4, 4), ("red", "nan", 1, 2, 3), ("blue", 60, 1, 70, 2), ("blue", 0, 0, 1, "1e999")))
    for n, text in enumerate(texts):
        put(tmp_path / f"JPEGImages/{n}.png")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / f"Annotations/{n}.xml").write_text(text)
    pictures, codes = read(tmp_path)
    boxes = boxes_of(pictures)
    assert pictures.classes == ("blue", "red")
    assert pictures.targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 1]], "a file without objects is a picture of none"
    assert boxes.corners.tolist() == [[4, 6, 10, 9], [20, 10, 40, 30], [1, 1, 2, 2]]
    assert boxes.crowd.tolist() == [False, False, True]
    assert boxes.starts.tolist() == [0, 2, 3, 3, 3]
    assert boxes.sizes.tolist() == [[40, 30]] * 4
    assert codes == ["empty-box", "box-outside"]
    assert any("3 boxes without area" in note for note in pictures.notes)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("form", ["coco", "coco folder", "voc"])
def test_pictures_apart(tmp_path: Path, kind: str, form: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    if form == "voc":
        (here / "Annotations").mkdir()
        for n in range(2):
            put(there / f"pics/{n}.png")
            (here / f"Annotations/{n}.xml").write_text(voc(("red", 4, 6, 10, 9)))
    else:
        whole = coco([(0, 7, [4, 6, 6, 3]), (1, 7, [4, 6, 6, 3])], images=2)
        write(here, whole)
        for n in range(2):
            (here / f"{n}.png").unlink()
            put(there / f"pics/{n}.png")
    images = there
    if kind == "zip":
        images = tmp_path / "pictures.zip"
        with zipfile.ZipFile(images, "w") as packed:
            for path in sorted(there.rglob("*.png")):
                packed.write(path, path.relative_to(there))
    source = here / "_annotations.coco.json" if form == "coco" else here
    with pytest.raises(DataError):
        read(source)
    pictures, _ = read(source, images=images)
    assert list(pictures.keys) == ["pics/0.png", "pics/1.png"]
    assert boxes_of(pictures).corners.tolist() == [[4, 6, 10, 9]] * 2
    assert pictures.store.name == str(images)


def test_the_one_archive_beside_a_coco_file(tmp_path: Path) -> None:
    path = write(tmp_path, coco([(0, 7, [4, 6, 6, 3]), (1, 9, [4, 6, 6, 3])]), "labels.json")
    for name, inside in (("right.zip", "in/{n}.png"), ("other.zip", "in/{n}0.png")):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            for n in range(3):
                packed.write(tmp_path / f"{n}.png", inside.format(n=n))
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4")
    for n in range(3):
        (tmp_path / f"{n}.png").unlink()
    pictures, codes = read(path)
    assert list(pictures.keys) == ["in/0.png", "in/1.png", "in/2.png"]
    assert "the pictures of labels.json are those in right.zip beside it" in pictures.notes
    assert codes == []
    (tmp_path / "copy.zip").write_bytes((tmp_path / "right.zip").read_bytes())
    with pytest.raises(DataError, match="none of the 3 pictures") as caught:
        read(path)
    assert caught.value.code == "missing-files"
    assert "images=" in caught.value.hint
    assert len(read(path, images=tmp_path / "copy.zip")[0]) == 3


def test_a_stray_picture_in_the_folder_does_not_hide_the_archive(tmp_path: Path) -> None:
    path = write(tmp_path, coco([(0, 7, [4, 6, 6, 3]), (1, 9, [4, 6, 6, 3])]), "labels.json")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for n in range(3):
            packed.write(tmp_path / f"{n}.png", f"in/{n}.png")
    for n in range(1, 3):
        (tmp_path / f"{n}.png").unlink()
    pictures, _ = read(path)
    assert list(pictures.keys) == ["in/0.png", "in/1.png", "in/2.png"]
