"""Values made to hurt, in arrays, npz, COCO, VOC and tables: each is refused in the house's words, or read."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import BeholderError, DataError
from beholder.base.names import readable
from beholder.sources import scan
from beholder.sources.voc import parse_voc

X = np.zeros((4, 8, 8), np.uint8)
INF, NAN = float("inf"), float("nan")


def outcome(source: Any) -> str:
    """The code of the error, or "read"."""
    try:
        scan(source)
    except BeholderError as error:
        return error.code if error.hint else "no hint"
    return "read"


@pytest.mark.parametrize(
    "y",
    [
        [INF, 0, 1, 2],
        [-INF, 0, 1, 1],
        [NAN, INF, 0, 1],
        [1e300, 0, 1, 2],
        np.array([1 + 2j, 0, 1, 2]),
        [[INF, 0]] * 4,
        np.array([b"\xff", b"a", b"b", b"c"]),
        np.array(["\ud800", "a", "b", "b"], object),
        [[]] * 4,
        [],
        3,
        None,
        ["a"] * 3,
        np.array(["2020-01-01"] * 4, "M8[D]"),
        np.array([{}, [], 1, 2], object),
        [(1, 2), (1,), 2, 3],
        [float("1e30"), 0, 1, 1],
        np.zeros((4, 0)),
        np.zeros((4, 2, 2)),
        np.array([(1, 2.0)] * 4, [("a", int), ("b", float)]),
        [10**400, 0, 1, 2],
    ],
    ids=lambda y: type(y).__name__,
)
def test_labels_in_arrays(y: Any) -> None:
    assert outcome((X, y)) in ("read", "bad-arrays", "one-class", "no-labels", "no-pictures", "bad-labels")


def test_infinity_is_no_label() -> None:
    assert outcome((X, np.array([INF, 0, 1, 2]))) == "bad-arrays"
    assert outcome((X, np.array([0.0, 0, 1, 2]))) == "read"


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 0, 8)),
        np.zeros((4, 0, 0, 3), np.float32),
        np.zeros((0, 8, 8)),
        np.zeros((4, 8, 8, 7)),
        np.zeros(4),
        np.full((4, 8, 8), NAN),
        np.full((4, 8, 8), INF),
        np.full((4, 8, 8), 1e308),
        np.full((4, 8, 8), -1e308),
        np.zeros((4, 8, 8), complex),
        np.zeros((4, 8, 8), "U3"),
        np.zeros((4, 8, 8), object),
        np.zeros((4, 8, 8), "M8[s]"),
        np.zeros((4, 8, 8), [("a", int)]),
        None,
        "arrays",
        5,
        [],
        [[]] * 4,
        [[[1, 2], [3]]] * 4,
        [np.zeros((8, 8)), None, 3, "x"],
        [np.zeros((0, 3)), np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))],
        np.full((4, 8, 8), 2**63, np.uint64),
    ],
    ids=lambda x: type(x).__name__,
)
def test_pictures_in_arrays(x: Any) -> None:
    assert outcome((x, [0, 1, 0, 1])) in ("read", "bad-arrays", "no-pictures", "bad-source")


def npy(shape: str, *, kind: str = "|u1", body: bytes = b"\0" * 256, fortran: str = "False") -> bytes:
    """An .npy whose header says whatever it is told to."""
    head = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode("latin-1")
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head + body


@pytest.mark.parametrize(
    "member",
    [
        npy("(1000000000000, 8, 8)"),
        npy("(4611686018427387904, 4, 4)"),
        npy("(-1, 8, 8)"),
        npy("(4, 8.5, 8)"),
        npy("()"),
        npy("(4, 8, 8)", kind="|O"),
        npy("(4, 8, 8)", kind="<U9999999"),
        npy("(4, 8, 8)", body=b""),
        npy("(4, 0, 8)"),
        npy("(0, 99999999999999999999, 3)"),
        npy("(4, 8, 8)", kind="|V0"),
        npy("__import__('os')"),
        npy("(" * 500),
        npy("(4, 8, 8)", kind="<f8", body=b"\xff" * 2048),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\0",
        npy("(4, 8, 8)", kind="<M8[zz]"),
        npy("(True, 8, 8)"),
        npy("(4, 10000000000, 1)"),
        npy("'abc'"),
        npy("(4, 8, 8)", fortran="2"),
        b"PK\3\4 no array",
    ],
    ids=lambda member: str(member[10:70]),
)
def test_arrays_in_npz(tmp_path: Path, member: bytes) -> None:
    labels = io.BytesIO()
    np.save(labels, np.array([0, 1, 0, 1]))
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as packed:
        packed.writestr("x.npy", member)
        packed.writestr("y.npy", labels.getvalue())
    assert outcome(tmp_path / "set.npz") in ("read", "not-an-archive", "bad-arrays", "no-pictures")


def test_an_npz_that_claims_more_than_it_holds_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as packed:
        packed.writestr("x.npy", npy("(4000000, 1000, 1000)"))
        packed.writestr("y.npy", npy("(4,)", body=b"\0\1\0\1"))
    with pytest.raises(DataError, match="holds 256 bytes") as caught:
        scan(tmp_path / "set.npz")
    assert caught.value.code == "not-an-archive"


GOOD: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]},
        {"image_id": 2, "category_id": 2, "bbox": [1, 1, 4, 4]},
    ],
}

HOSTILE_TEXT = (
    "\ud800",
    "\udfff\ud800",
    "a\ud83d",
    "\udce9",
    "",
    "\0",
    "../../x",
    "x" * 5000,
    7,
    None,
    [],
    {},
    1e400,
    True,
    -0.0,
)


def coco(tmp_path: Path, changed: dict[str, Any]) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(changed), "ascii")
    return path


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("value", HOSTILE_TEXT, ids=ascii)
@pytest.mark.parametrize(
    "place",
    [
        ("images", 0, "file_name"),
        ("images", 0, "id"),
        ("images", 0, "width"),
        ("categories", 0, "name"),
        ("categories", 0, "id"),
        ("annotations", 0, "image_id"),
        ("annotations", 0, "category_id"),
        ("annotations", 0, "bbox"),
        ("annotations", 0, "iscrowd"),
        ("images", 0),
        ("annotations", 0),
        ("categories",),
        ("images",),
    ],
    ids=str,
)
def test_values_in_coco(tmp_path: Path, place: tuple[Any, ...], value: Any, boxes: bool) -> None:
    changed = json.loads(json.dumps(GOOD))
    inner: Any = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path = coco(tmp_path, changed)
    assert outcome(f"boxes:{path}" if boxes else path) in (
        "read",
        "bad-annotations",
        "missing-files",
        "no-pictures",
        "one-class",
        "no-boxes",
        "no-labels",
        "unsafe-names",
    )


def test_lone_surrogates_in_class_names_are_written_out(tmp_path: Path) -> None:
    changed = json.loads(json.dumps(GOOD))
    changed["categories"] = [{"id": 1, "name": "\ud800"}, {"id": 2, "name": "\ud801"}]
    assert scan(coco(tmp_path, changed)).classes == ("\\ud800", "\\ud801")
    assert readable("a\ud800") == "a\\ud800"
    assert readable("caf\udce9") == "café"


VOC = """<annotation><filename>a.png</filename><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax>
<ymax>4</ymax></bndbox></object></annotation>"""
LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + VOC.replace("cat", "&b;")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"])
def test_a_doctype_is_refused_in_any_encoding(encoding: str) -> None:
    for text in (LAUGHS, f'<?xml version="1.0" encoding="{encoding}"?>{LAUGHS}'):
        with pytest.raises(DataError) as caught:
            parse_voc(text.encode(encoding), "a.xml")
        assert caught.value.code == "bad-annotations"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_honest_voc_is_read_in_its_encoding(encoding: str) -> None:
    assert [box.label for box in parse_voc(VOC.encode(encoding), "a.xml").boxes] == ["cat"]
    latin = '<?xml version="1.0" encoding="iso-8859-1"?>' + VOC.replace("cat", "Käfer")
    assert parse_voc(latin.encode("latin-1"), "a.xml").boxes[0].label == "Käfer"


@pytest.mark.parametrize(
    "text", ["<a>" * 100_000, "<annotation/>" * 2, "", "\0", VOC.replace(">1<", ">1e999<"), VOC.replace(">1<", ">x<")]
)
def test_other_hostile_voc(text: str) -> None:
    with contextlib.suppress(DataError):
        parse_voc(text.encode(), "a.xml")


def drawn(folder: Path, name: str, level: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(folder / name)


def test_names_that_lead_outside_the_folder_of_a_table_are_counted_and_said(tmp_path: Path) -> None:
    for k in range(4):
        drawn(tmp_path / "set", f"{k}.png", k)
        drawn(tmp_path / "other", f"{k}.png", 100 + k)
    names = ["0.png", "1.png", "../other/0.png", str(tmp_path / "other/1.png"), str(tmp_path / "set/2.png"), "a/../3.png"]
    table = tmp_path / "set" / "t.csv"
    table.write_text("path,label\n" + "".join(f"{name},{'ab'[k % 2]}\n" for k, name in enumerate(names)), "utf-8")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(table)
    assert len(pictures) == 6
    assert any("2 of the 6 names" in note and "../other/0.png" in note for note in pictures.notes)
    assert [event.fields.get("code") for event in said if event.kind == "warn"] == ["outside-names"]


@pytest.mark.parametrize("bad", ["../../secret.png", "a/../../../secret.png", "..\\..\\secret.png"])
@pytest.mark.parametrize("kind", ["table", "coco", "voc"])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path: Path, bad: str, kind: str) -> None:
    drawn(tmp_path, "secret.png", 3)
    for k in range(4):
        drawn(tmp_path / "in", f"{k}.png", k)
    names = ["0.png", "1.png", "2.png", bad]
    coco = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [{"image_id": k, "category_id": k % 2, "bbox": [1, 1, 4, 4]} for k in range(4)],
    }
    files = {
        "table": {"t.csv": "path,label\n" + "".join(f"{name},{'ab'[k % 2]}\n" for k, name in enumerate(names))},
        "coco": {"instances.json": json.dumps(coco)},
        "voc": {f"Annotations/{k}.xml": VOC.replace("a.png", name) for k, name in enumerate(names)},
    }[kind]
    with zipfile.ZipFile(tmp_path / "in" / "set.zip", "w") as packed:
        for k in range(4):
            packed.write(tmp_path / "in" / f"{k}.png", f"{k}.png")
        for name, text in files.items():
            packed.writestr(name, text)
    with pytest.raises(DataError) as caught:
        scan(tmp_path / "in" / "set.zip")
    assert caught.value.code == "unsafe-names"


def test_a_table_in_an_archive_may_go_up_within_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for k in range(4):
            drawn(tmp_path, f"{k}.png", k)
            packed.write(tmp_path / f"{k}.png", f"pics/{k}.png")
        packed.writestr("t.csv", "path,label\n" + "".join(f"a/../pics/{k}.png,{'ab'[k % 2]}\n" for k in range(4)))
    assert len(scan(tmp_path / "set.zip")) == 4
