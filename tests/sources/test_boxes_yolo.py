"""YOLO's text files: presence, boxes, crops, names, parts, and files that are none."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.boxes import Boxes
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Pictures
from beholder.sources import scan
from beholder.sources.described import described

NAMES = "names: [cat, dog, never]\n"


def picture(path: Path, *, width: int = 40, height: int = 20, turned: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new("RGB", (width, height)).save(path, exif=exif)


def put(root: Path, key: str, text: str | None, *, label: str = "") -> None:
    """A picture of 40 × 20 and its text file: in labels/ for images/, unless `label` says where."""
    picture(root / key)
    if text is not None:
        path = root / (label or str(Path(key.replace("images", "labels")).with_suffix(".txt")))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(source: Any, **more: Any) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(source, **more)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


def boxes_of(pictures: Pictures) -> Boxes:
    assert pictures.boxes is not None
    assert len(pictures.boxes) == len(pictures)
    return pictures.boxes


@pytest.mark.parametrize("form", ["images/{part}/{n}.png", "{part}/images/{n}.png", "a/{part}/images/{n}.png"])
@pytest.mark.parametrize("described", [True, False])
def test_presence_and_boxes(tmp_path: Path, form: str, described: bool) -> None:
    put(tmp_path, form.format(part="train", n=1), "0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.1 1\n")
    put(tmp_path, form.format(part="train", n=2), "")
    put(tmp_path, form.format(part="val", n=3), "1 0.5 0.5 1 1")
    put(tmp_path, form.format(part="val", n=4), None)
    folders = {part: form.format(part=part, n=0).rpartition("/")[0] for part in ("train", "val")}
    if described:
        (tmp_path / "data.yaml").write_text(f"{NAMES}train: ../{folders['train']}\nval: {folders['val']}\nnc: 3\n")
    pictures, codes = read(tmp_path)
    assert pictures.classes == (("cat", "dog") if described else ("0", "1"))
    assert [key.rpartition("/")[2] for key in pictures.keys] == ["1.png", "2.png", "3.png", "4.png"]
    assert pictures.targets.tolist() == [[1, 1], [0, 0], [0, 1], [0, 0]]
    assert pictures.parts.tolist() == [0, 0, 1, 1]
    boxes = boxes_of(pictures)
    assert boxes.corners.tolist() == [[10, 5, 30, 15], [8, 0, 12, 20], [0, 0, 40, 20]]
    assert boxes.classes.tolist() == [0, 1, 1]
    assert boxes.starts.tolist() == [0, 2, 2, 3, 3]
    assert boxes.sizes.tolist()[::2] == [[40, 20]] * 2
    assert any("2 pictures have no text file, or an empty one" in note for note in pictures.notes)
    assert codes == ([] if described else ["no-names"])
    crops, _ = read(f"boxes:{tmp_path}")
    assert [np.shape(crops.store.read(key))[:2] for key in crops.keys] == [(10, 20), (20, 4), (20, 40)]
    assert crops.parts.tolist() == [0, 0, 1]


def test_the_same_in_a_zip_and_by_its_yaml(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        put(tmp_path / "set", f"{part}/images/{part}.png", "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 1 1")
    (tmp_path / "set/data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: {0: cat, 1: 'no'}\n")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in sorted((tmp_path / "set").rglob("*")):
            packed.write(path, path.relative_to(tmp_path / "set"))
    found = [read(source)[0] for source in (tmp_path / "set", tmp_path / "set.zip", tmp_path / "set/data.yaml")]
    for pictures in found:
        assert pictures.classes == ("cat", "no"), "as text: no is a name, not a truth value"
        assert pictures.parts.tolist() == [0, 1]
        assert boxes_of(pictures).corners.tolist() == [[10, 5, 30, 15], [0, 0, 40, 20]] * 2


def test_sizes_are_those_of_upright_pictures(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "0 0.5 0.5 1 0.5\n1 0.5 0.5 0.5 0.5")
    picture(tmp_path / "images/a.jpg", turned=True)
    boxes = boxes_of(read(tmp_path)[0])
    assert boxes.sizes.tolist() == [[20, 40]]
    assert boxes.corners[0].tolist() == [0, 10, 20, 30]


def test_polygons_and_key_points(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "0 0.1 0.1 0.5 0.1 0.5 0.9\n1 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5")
    boxes = boxes_of(read(tmp_path)[0])
    np.testing.assert_allclose(boxes.corners, [[4, 2, 20, 18], [10, 5, 30, 10]])
    (tmp_path / "data.yaml").write_text(f"{NAMES}kpt_shape: [1, 2]\n")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.9 0.9")
    assert boxes_of(read(tmp_path)[0]).corners.tolist() == [[10, 5, 30, 15]]


def test_names_of_classes_txt_and_one_class(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "1 0.5 0.5 0.5 0.5")
    put(tmp_path, "b.png", None)
    (tmp_path / "classes.txt").write_text("cat\nguinea pig\n")
    pictures, codes = read(tmp_path)
    assert pictures.classes == ("guinea pig",), "one class is enough where there are boxes"
    assert pictures.targets.tolist() == [[1], [0]]
    assert len(boxes_of(pictures).classes) == 1
    assert codes == []


def test_lists_of_pictures(tmp_path: Path) -> None:
    for n in range(4):
        put(tmp_path, f"obj/images/{n}.png", f"{n % 2} 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("path: /home/x/set\ntrain: [obj/a.txt, obj/b.txt]\ntest: obj/c.txt\nnames: [a, b]\n")
    (tmp_path / "obj/a.txt").write_text("./images/0.png\n")
    (tmp_path / "obj/b.txt").write_text("/home/x/set/obj/images/1.png\n")
    (tmp_path / "obj/c.txt").write_text("obj/images/2.png\n")
    pictures, codes = read(tmp_path)
    assert dict(zip(pictures.keys, pictures.parts.tolist(), strict=True)) == {
        "obj/images/0.png": 0, "obj/images/1.png": 0, "obj/images/2.png": 2
    }  # fmt: skip
    assert codes == ["no-annotation"], "3.png is in no list"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("3 0.5 0.5 0.1 0.1", "line 2: class 3 is not among the names"),
        ("-1 0.5 0.5 0.1 0.1", "line 2: class -1 is not among the names"),
        ("0.5 0.5 0.5 0.1 0.1", "line 2: '0.5' is no class"),
        ("nan 0.5 0.5 0.1 0.1", "line 2: 'nan' is no class"),
        ("0 0.5 0.5 0.1", "line 2: it has 4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "line 2: it has 6 numbers"),
        ("0 0.5 0.5 0.1 x", "line 2: could not convert"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, says: str) -> None:
    put(tmp_path, "images/a.png", f"0 0.5 0.5 0.1 0.1\n{row}\n")
    (tmp_path / "data.yaml").write_text(NAMES)
    with pytest.raises(DataError, match=r"labels/a\.txt") as caught:
        read(tmp_path)
    assert caught.value.code == "bad-annotations"
    assert says in caught.value.message


def test_boxes_without_a_place_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = ["nan 0.5 0.1 0.1", "1e308 0.5 1e308 0.5", "0.5 0.5 -0.5 0.5", "0.5 0.5 0 0.5", "3 3 0.1 0.1", "0.9 0.5 0.4 0.5"]
    put(tmp_path, "images/a.png", "".join(f"0 {row}\n" for row in rows))
    pictures, codes = read(tmp_path)
    np.testing.assert_allclose(boxes_of(pictures).corners, [[28, 5, 40, 15]])
    assert codes == ["no-names", "empty-box", "box-outside"]
    assert any("4 boxes without area" in note for note in pictures.notes)
    assert any("1 boxes reach over the edges" in note for note in pictures.notes)
    (tmp_path / "labels/a.txt").write_text("0 320 200 40 40\n")
    with pytest.raises(DataError, match="not one box lies in its picture") as caught:
        read(tmp_path)
    assert caught.value.code == "bad-annotations"


def test_a_picture_that_cannot_be_read_keeps_its_labels(tmp_path: Path) -> None:
    for n in "ab":
        put(tmp_path, f"images/{n}.png", "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "images/b.png").write_bytes(b"no picture")
    pictures, codes = read(tmp_path)
    assert pictures.targets.tolist() == [[1, 1], [1, 1]]
    assert boxes_of(pictures).starts.tolist() == [0, 2, 2]
    assert "unreadable" in codes


def test_pictures_apart(tmp_path: Path) -> None:
    for part in ("train", "val"):
        put(tmp_path / "here", f"images/{part}/{part}.png", f"{int(part == 'val')} 0.5 0.5 0.5 0.5")
    (tmp_path / "here/images").rename(tmp_path / "there")
    pictures, _ = read(tmp_path / "here", images=tmp_path / "there")
    assert list(pictures.keys) == ["train/train.png", "val/val.png"]
    assert pictures.parts.tolist() == [0, 1]
    assert boxes_of(pictures).corners.tolist() == [[10, 5, 30, 15]] * 2


def test_texts_that_are_no_rows_are_no_boxes(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path, f"{n}.png", "a cat on a mat")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.code == "no-labels"
    assert "YOLO" in caught.value.hint


def test_class_folders_come_first(tmp_path: Path) -> None:
    for n, name in enumerate(["cat", "dog"]):
        put(tmp_path, f"{name}/1.png", f"{n} 0.5 0.5 0.5 0.5")
    pictures, _ = read(tmp_path)
    assert not pictures.multi
    assert pictures.boxes is None
    assert read(f"boxes:{tmp_path}")[0].classes == ("0", "1")


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "names: 3", "names: []", "names: [a, [b]]", "names: {x: a}", "[" * 5000, "a: &a [*a", "\0", "x" * (2 << 20)],
)
def test_a_yaml_that_is_none(tmp_path: Path, text: str) -> None:
    put(tmp_path, "images/a.png", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "data.yaml")
    assert caught.value.code == "bad-annotations"
    assert caught.value.hint


def test_aliases_that_would_grow_are_no_names() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(DataError):
        described("\n".join([*rows, "names: *a11"]).encode(), "data.yaml")


def test_a_yaml_without_texts(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    (tmp_path / "data.yaml").write_text(NAMES)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "data.yaml")
    assert caught.value.code == "no-labels"


def test_images_is_refused_where_nothing_uses_it(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / name / "1.png")
    for source, more in ((tmp_path, {}), (([[[0]]], [0]), {}), (tmp_path, {"labels": False}), ("torchvision:MNIST", {})):
        with pytest.raises(UsageError) as caught:
            read(source, images=tmp_path, **more)
        assert caught.value.code == "images-unused"
    with pytest.raises(UsageError) as caught:
        read(tmp_path, images=tmp_path / "nothing")
    assert caught.value.code == "path-missing"


def test_a_yaml_that_lies_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "set", "images/train/a.png", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "yamls").mkdir()
    (tmp_path / "yamls/set.yaml").write_text(f"path: ../set\ntrain: images/train\n{NAMES}")
    pictures, codes = read(tmp_path / "yamls/set.yaml")
    assert list(pictures.keys) == ["images/train/a.png"]
    assert pictures.classes == ("cat",)
    assert pictures.parts.tolist() == [0]
    assert codes == ["outside-names"]


def test_lists_that_lead_out_of_an_archive_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "0 0.5 0.5 0.5 0.5")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for name in ("images/a.png", "labels/a.txt"):
            packed.write(tmp_path / name, name)
        packed.writestr("data.yaml", f"{NAMES}train: train.txt\n")
        packed.writestr("train.txt", "images/a.png\n../../secret.png\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "set.zip")
    assert caught.value.code == "unsafe-names"
