from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.sources import scan
from beholder.sources.digest import digested

RED, BLUE = (250, 0, 0), (0, 0, 250)


def draw(path: Path, *, mode: str = "RGB") -> Path:
    """A black picture, 40 wide and 30 high: red in x 4..10, y 6..9, blue in x 20..40, y 10..30."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[6:9, 4:10], pixels[10:30, 20:40] = RED, BLUE
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def coco(images: list[str], boxes: list[tuple[int, int, list[float]]], **more: Any) -> str:
    return json.dumps(
        {
            "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(images)],
            "annotations": [{"image_id": i, "category_id": c, "bbox": box, **more} for i, c, box in boxes],
            "categories": [{"id": 7, "name": "red"}, {"id": 9, "name": "blue"}, {"id": 11, "name": "never"}],
        }
    )


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """COCO as it is published: annotations/ beside train2017/ and val2017/."""
    for name in ("train2017/1.png", "train2017/2.png", "val2017/1.png"):
        draw(tmp_path / name)
    (tmp_path / "annotations").mkdir()
    both = [(0, 7, [4, 6, 6, 3]), (0, 9, [20, 10, 20, 20]), (1, 9, [20.4, 10.6, 19, 19]), (1, 7, [5, 5, 0, 4])]
    (tmp_path / "annotations/instances_train2017.json").write_text(coco(["1.png", "2.png"], both))
    (tmp_path / "annotations/instances_val2017.json").write_text(coco(["1.png"], [(0, 7, [4, 6, 6, 3])]))
    (tmp_path / "annotations/captions_train2017.json").write_text("[]")
    return tmp_path


def test_coco_by_presence(street: Path) -> None:
    with events.listen(alone=True):
        pictures = scan(street)
    assert pictures.classes == ("blue", "red")
    assert list(pictures.keys) == ["train2017/1.png", "train2017/2.png", "val2017/1.png"]
    assert pictures.targets.tolist() == [[1, 1], [1, 1], [0, 1]], "a box without area says that the thing is there"
    assert pictures.parts.tolist() == [0, 0, 1]
    assert "1 boxes without area count as labels of their pictures: train2017/2.png (red)" in pictures.notes


def test_coco_by_boxes(street: Path) -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(f"boxes:{street}")
    assert [event.fields["code"] for event in said] == ["empty-box"]
    assert not pictures.multi
    assert [pictures.labels(i)[0] for i in range(4)] == ["red", "blue", "blue", "red"]
    assert pictures.groups.tolist() == [0, 0, 1, 2], "boxes of one picture stay together in a split"
    assert pictures.parts.tolist() == [0, 0, 0, 1]
    crops = [pictures.store.read(key) for key in pictures.keys]
    assert [np.shape(crop) for crop in crops] == [(3, 6, 3), (20, 20, 3), (20, 20, 3), (3, 6, 3)]
    for crop, colour in zip(crops, (RED, BLUE, BLUE, RED), strict=True):
        assert (np.asarray(crop) == colour).all()
    digests = digested(pictures).digests
    assert digests is not None
    assert (digests[0] == digests[3]).all()
    assert len({pictures.store.stamp(key) for key in pictures.keys}) == 4
    (street / "train2017/1.png").unlink()
    assert pictures.store.stamp(pictures.keys[0]) == ""


def test_one_coco_file_and_one_in_a_zip(street: Path) -> None:
    with events.listen(alone=True):
        alone = scan(street / "annotations/instances_train2017.json")
        with zipfile.ZipFile(street / "all.zip", "w") as packed:
            for name in ("annotations/instances_train2017.json", "train2017/1.png", "train2017/2.png"):
                packed.write(street / name, f"set/{name}")
        inside = scan(f"boxes:{street / 'all.zip'}")
    assert list(alone.keys) == ["train2017/1.png", "train2017/2.png"]
    assert len(inside) == 3
    assert np.shape(inside.store.read(inside.keys[0])) == (3, 6, 3)


def test_crowds_are_no_boxes_and_files_beside_their_json(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        draw(tmp_path / part / "a.png")
        text = coco(["a.png"], [(0, 7, [4, 6, 6, 3]), (0, 9, [20, 10, 20, 20])])
        (tmp_path / part / "_annotations.coco.json").write_text(text)
    pictures = scan(tmp_path)
    assert list(pictures.keys) == ["train/a.png", "valid/a.png"]
    assert pictures.parts.tolist() == [0, 1]
    (tmp_path / "train/_annotations.coco.json").write_text(coco(["a.png"], [(0, 7, [0, 0, 40, 30])], iscrowd=1))
    assert scan(tmp_path).targets.tolist() == [[0, 1], [1, 1]], "what a crowd shows is there"
    with events.listen(alone=True):
        boxes = scan(f"boxes:{tmp_path}")
    assert len(boxes) == 2
    assert "1 crowds and objects without a box were left out: train/a.png (red)" in boxes.notes


def tags(kind: str) -> list[dict[str, Any]]:
    """One annotation for each of four pictures, without boxes."""
    box = {"none": {}, "empty": {"bbox": []}, "null": {"bbox": None}, "zeros": {"bbox": [0, 0, 0, 0]}}[kind]
    return [{"id": i, "image_id": i, "category_id": 7 + 2 * (i % 2), **box} for i in range(4)]


def whole(path: Path, rows: list[dict[str, Any]]) -> Path:
    for i in range(4):
        draw(path.parent / f"{i}.png")
    found = json.loads(coco([f"{i}.png" for i in range(4)], []))
    path.write_text(json.dumps(found | {"annotations": rows}))
    return path.parent


@pytest.mark.parametrize("kind", ["none", "empty", "null", "zeros"])
def test_presence_asks_for_no_boxes(tmp_path: Path, kind: str) -> None:
    folder = whole(tmp_path / "_annotations.coco.json", tags(kind))
    pictures = scan(folder)
    assert [pictures.labels(i) for i in range(4)] == [("red",), ("blue",)] * 2
    assert pictures.notes == ()
    with events.listen(alone=True), pytest.raises(DataError):
        scan(f"boxes:{folder}")


def test_voc_objects_without_boxes(tmp_path: Path) -> None:
    for i in range(2):
        draw(tmp_path / f"{i}.png").with_suffix(".xml").write_text(
            f"<annotation><object><name>{'ab'[i]}</name><polygon/></object></annotation>"
        )
    assert scan(tmp_path).targets.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("ids", [(77, 78), ("77", None)])
def test_annotations_of_pictures_that_are_gone(tmp_path: Path, ids: tuple[Any, Any]) -> None:
    lost = [{"id": 90 + i, "image_id": key, "category_id": 7, "bbox": [1, 1, 5, 5]} for i, key in enumerate(ids)]
    folder = whole(tmp_path / "_annotations.coco.json", tags("none") + lost)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(folder)
    assert pictures.counts().tolist() == [2, 2]
    assert [event.fields["code"] for event in said] == ["orphans"]
    assert "90, 91" in said[0].message
    assert said[0].message in pictures.notes


def test_pictures_without_an_annotation_are_said(tmp_path: Path) -> None:
    folder = whole(tmp_path / "_annotations.coco.json", tags("none"))
    draw(folder / "new.png")
    draw(folder / "elsewhere/other.png")
    with events.listen(alone=True):
        pictures = scan(folder)
    assert len(pictures) == 4
    assert pictures.notes == ("1 pictures beside those have no annotation and were left out: new.png",)


def test_numbers_of_pictures_as_text(tmp_path: Path) -> None:
    rows = [row | {"image_id": str(row["image_id"]), "category_id": str(row["category_id"])} for row in tags("none")]
    assert scan(whole(tmp_path / "_annotations.coco.json", rows)).counts().tolist() == [2, 2]


def test_an_unknown_category_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotation 5 is of category 8"):
        scan(whole(tmp_path / "_annotations.coco.json", [{"id": 5, "image_id": 0, "category_id": 8}]))


@pytest.mark.parametrize("stale", ["IMG_{i}.jpg", "{next}.png", "C:\\old\\IMG_{i}.png", "image.jpg"])
@pytest.mark.parametrize("pair", [("JPEGImages/{i}.png", "Annotations/{i}.xml"), ("{i}.png", "{i}.xml")])
def test_pictures_and_xml_renamed_together(tmp_path: Path, stale: str, pair: tuple[str, str]) -> None:
    for i in range(4):
        picture, xml = (tmp_path / name.format(i=i) for name in pair)
        draw(picture)
        xml.parent.mkdir(exist_ok=True)
        xml.write_text(voc(stale.format(i=i, next=(i + 1) % 4), (("red", "blue")[i % 2], 4, 6, 10, 9)))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(tmp_path)
    assert [pictures.labels(i) for i in range(4)] == [("red",), ("blue",)] * 2
    assert [event.fields["code"] for event in said] == ["stale-names"]
    assert said[0].message in pictures.notes


@pytest.mark.parametrize("factor", [0.5, 2, 3.21])
def test_boxes_drawn_at_another_size_are_scaled_and_said(tmp_path: Path, factor: float) -> None:
    for i in range(2):
        picture = Image.open(draw(tmp_path / f"{i}.png"))
        text = voc(f"{i}.png", ("blue", 20, 10, 40, 30), ("red", 4, 6, 10, 9))
        (tmp_path / f"{i}.xml").write_text(text)
        picture.resize((round(40 * factor), round(30 * factor)), Image.Resampling.NEAREST).save(tmp_path / f"{i}.png")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        boxes = scan(f"boxes:{tmp_path}")
        present = scan(tmp_path)
    blue = np.asarray(boxes.store.read(boxes.keys[0]))
    assert np.abs(np.array(blue.shape[:2]) - 20 * factor).max() <= 1
    assert (blue[1:-1, 1:-1] == BLUE).all()
    assert [event.fields["code"] for event in said] == ["other-size"] * 2
    assert "their boxes are scaled" in boxes.notes[0]
    assert "40 × 30 said" in present.notes[0]


def test_another_shape_is_said_too(tmp_path: Path) -> None:
    for i in range(2):
        Image.open(draw(tmp_path / f"{i}.png")).resize((30, 40)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.xml").write_text(voc(f"{i}.png", ("blue", 20, 10, 40, 30), ("red", 4, 6, 10, 9)))
    with events.listen(alone=True):
        assert "have another shape" in scan(tmp_path).notes[0]
        boxes = scan(f"boxes:{tmp_path}")
    assert "cannot be cut out" in boxes.notes[0]
    with pytest.raises(PictureError) as caught:
        boxes.store.read(boxes.keys[0])
    assert caught.value.code == "other-size"


def voc(name: str, *boxes: tuple[str, int, int, int, int], size: tuple[int, int] = (40, 30)) -> str:
    things = "".join(
        f"<object><name>{label}</name><part><bndbox><xmin>0</xmin></bndbox></part>"
        f"<bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in boxes
    )
    measured = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{name}</filename>{measured}{things}</annotation>"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """VOC as it is published, with folders of segmentations that are no classes."""
    root = tmp_path / "VOCdevkit/VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        draw(root / f"JPEGImages/{i}.png")
        (root / f"Annotations/{i}.xml").write_text(voc(f"{i}.png", ("red", 4, 6, 10, 9), *[("blue", 20, 10, 40, 30)] * (i > 0)))
    draw(root / "SegmentationClass/1.png")
    for part, rows in (("train", "0\n1\n"), ("test", "2 1\n"), ("red_train", "0 1\n")):
        (root / f"ImageSets/Main/{part}.txt").write_text(rows)
    return tmp_path


def test_voc_by_presence_and_by_boxes(devkit: Path) -> None:
    pictures = scan(devkit)
    assert pictures.classes == ("blue", "red")
    assert [key[-16:] for key in pictures.keys] == [f"JPEGImages/{i}.png"[-16:] for i in range(3)]
    assert pictures.targets.tolist() == [[0, 1], [1, 1], [1, 1]]
    assert pictures.parts.tolist() == [0, 0, 2]
    boxes = scan(f"boxes:{devkit}")
    assert len(boxes) == 5
    assert (np.asarray(boxes.store.read(boxes.keys[0])) == RED).all()


def test_xml_beside_pictures(tmp_path: Path) -> None:
    for part in ("train", "test"):
        draw(tmp_path / part / "a.png", mode="L").with_suffix(".xml").write_text(
            voc("elsewhere/a.png", ("red", 4, 6, 10, 9), ("blue", 20, 10, 40, 30))
        )
    assert scan(tmp_path).parts.tolist() == [2, 0]
    assert np.shape(scan(f"boxes:{tmp_path}").store.read("train/a.png#4,6,10,9")) == (3, 6), "grey stays grey"
    for part, name in (("train", "cat"), ("test", "dog")):
        (tmp_path / part).rename(tmp_path / name)
    assert scan(tmp_path).classes == ("cat", "dog"), "class folders come first"
    assert scan(f"boxes:{tmp_path}").classes == ("blue", "red")


def test_boxes_of_a_table(tmp_path: Path) -> None:
    draw(tmp_path / "pics/1.png")
    path = tmp_path / "b.csv"
    path.write_text("file,label,xmin,ymin,xmax,ymax\n1.png,red,4,6,10,9\n1.png,blue,20,10,40,30\n1.png,blue,9,9,9,12\n")
    with events.listen(alone=True):
        pictures = scan(f"boxes:{path}")
    assert list(pictures.keys) == ["pics/1.png#4,6,10,9", "pics/1.png#20,10,40,30"]
    assert pictures.groups.tolist() == [0, 0]
    assert scan(path).classes == ("blue", "red"), "without boxes: it is a table like any other"


def test_boxes_that_do_not_fit_their_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(draw(tmp_path / "1.png")).save(tmp_path / "2.jpg", exif=exif)
    boxes = [(0, 7, [-5, -5, 10, 100]), (0, 9, [50, 50, 9, 9]), (1, 7, [4, 6, 6, 3])]
    (tmp_path / "t.json").write_text(coco(["1.png", "2.jpg"], [*boxes]))  # type: ignore[arg-type]
    pictures = scan(f"boxes:{tmp_path / 't.json'}")
    assert np.shape(pictures.store.read(pictures.keys[0])) == (30, 5, 3), "clipped to the picture"
    for key, code in ((pictures.keys[1], "box-outside"), (pictures.keys[2], "other-size"), ("1.png#x", "unreadable")):
        with pytest.raises(PictureError) as caught:
            pictures.store.read(key)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("t.json", "{", "bad-annotations"),
        ("t.json", "[1]", "bad-annotations"),
        ("t.json", '{"images": []}', "bad-annotations"),
        ("t.json", "[" * 100_000, "bad-annotations"),
        ("t.json", coco(["1.png"], [(5, 7, [1, 1, 1, 1])]), "bad-annotations"),
        ("t.json", coco(["1.png"], [(0, 8, [1, 1, 1, 1])]), "bad-annotations"),
        ("t.json", coco(["1.png"], [(0, 7, [1, 1])]), "bad-annotations"),
        ("t.json", coco([], []), "no-pictures"),
        ("t.json", coco(["/etc/passwd", "../../secret.png"], []), "missing-files"),
        ("t.json", coco(["1.png"], [(0, 7, [4, 6, 6, 3])]), "one-class"),
        ("1.xml", "<annotation", "bad-annotations"),
        ("1.xml", '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "bad-annotations"),
        ("1.xml", "<annotation><object><bndbox/></object></annotation>", "bad-annotations"),
        ("1.xml", voc("1.png", ("red", 4, 6, 10, 9)).replace(">4<", ">four<"), "bad-annotations"),
        ("t.csv", "file,label\n1.png,red", "no-boxes"),
        ("t.csv", "file,label,xmin,ymin,xmax,ymax\n1.png,red,1,2,3,x", "bad-annotations"),
        ("t.csv", "file,label,xmin,ymin,xmax,ymax\n1.png,red,1,2", "bad-annotations"),
        ("t.npz", "x", "no-boxes"),
        ("t.txt", "x", "no-boxes"),
    ],
)
def test_annotations_that_cannot_be_used(tmp_path: Path, name: str, text: str, code: str) -> None:
    draw(tmp_path / "1.png")
    (tmp_path / name).write_text(text)
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        scan(f"boxes:{tmp_path if name == '1.xml' else tmp_path / name}")
    assert caught.value.code == code
    assert caught.value.hint


def test_a_folder_without_boxes(leaves: Path) -> None:
    with pytest.raises(DataError) as caught:
        scan(f"boxes:{leaves}")
    assert caught.value.code == "no-boxes"


@pytest.mark.shared
def test_real_boxes(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data/blood-cells.zip") as packed:
        packed.extractall(tmp_path)
    table = tmp_path / "boxes.csv"
    table.write_bytes((shared / "data/blood-cells-boxes.csv").read_bytes())
    with events.listen(alone=True):
        pictures = scan(f"boxes:{table}")
    assert "2 boxes without area" in pictures.notes[0]
    assert (len(pictures), len(set(pictures.groups.tolist()))) == (4886, 364)
    assert dict(zip(pictures.classes, pictures.counts().tolist(), strict=True)) == {"Platelets": 361, "RBC": 4153, "WBC": 372}


def test_sources_by_name_have_no_boxes() -> None:
    for name in ("boxes:hf:someone/set", "boxes:torchvision:MNIST"):
        with pytest.raises(DataError, match="there are no boxes in") as caught:
            scan(name, allow_download=True)
        assert caught.value.code == "no-boxes"
