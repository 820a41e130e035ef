"""Folders, tables and annotations as public data sets and tools have them, each of a kind that was once read wrongly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import scan


def tree(root: Path, folders: Iterable[str], n: int = 2) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / folder / f"{folder.replace('/', '_')}{i}.png").touch()
    return root


def read(source: object) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(source)  # type: ignore[arg-type]
    return pictures, [str(event.fields["code"]) for event in said if event.kind == "warn"]


def of_table(root: Path, text: str, name: str = "labels.csv") -> tuple[Pictures, list[str]]:
    for i in range(8):
        (root / f"{i}.png").touch()
    (root / name).write_text(text, encoding="utf-8")
    return read(root / name)


def rows(header: str, labels: Iterable[str], mark: str = ",") -> str:
    return header + "\n" + "\n".join(f"{i}.png{mark}{label}" for i, label in enumerate(labels))


@pytest.mark.parametrize(
    ("folders", "parts", "codes"),
    [
        (["Training", "PublicTest"], {0, 2}, []),
        (["Trainingsdaten", "Testdaten"], {0, 2}, []),
        (["entraînement", "test"], {0, 2}, []),
        (["learning", "testing"], {0, 2}, ["beside-parts"]),
        (["train", "query"], {0}, ["beside-parts"]),
    ],
)
def test_parts_that_only_their_classes_show(folders: list[str], parts: set[int], codes: list[str], tmp_path: Path) -> None:
    pictures, said = read(tree(tmp_path, [f"{part}/{name}" for part in folders for name in ("cat", "dog")]))
    assert (pictures.classes, set(pictures.parts.tolist()), said) == (("cat", "dog"), parts, codes)


def test_a_class_called_train_among_classes_with_views(tmp_path: Path) -> None:
    vehicles = [f"{name}/{view}" for name in ("bus", "car", "ship", "train") for view in ("front", "side")]
    pictures, said = read(tree(tmp_path, vehicles))
    assert pictures.classes == ("bus", "car", "ship", "train")
    assert said == ["part-class", "levels"]


def test_parts_below_a_class_and_a_folder_that_says_nothing(tmp_path: Path) -> None:
    pictures, _ = read(tree(tmp_path, [f"{name}/imgs/{part}" for name in ("cat", "dog") for part in ("train", "val")]))
    assert pictures.classes == ("cat", "dog")
    assert set(pictures.parts.tolist()) == {0, 1}


def test_sets_of_parts_of_classes(tmp_path: Path) -> None:
    folders = [
        f"{size}/{part}/{name}" for size in ("64x64", "128x128") for part in ("train", "test") for name in ("cat", "dog")
    ]
    pictures, said = read(tree(tmp_path, folders))
    assert (pictures.classes, set(pictures.parts.tolist()), said) == (("cat", "dog"), {0, 2}, ["levels"])


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (rows("path;label", "abababab", ";"), []),
        ("sep=;\n" + rows("path;label", "abababab", ";"), []),
        ('"Path" , "Label"\n' + "\n".join(f'"{i}.png" , "{label}"' for i, label in enumerate("abababab")), []),
        (rows("image,level", "abababab"), ["columns"]),
        (rows("id_code,diagnosis", "abababab"), ["columns"]),
        (rows("patientId,Target", "abababab"), ["columns"]),
        ("id,name,label\n" + "\n".join(f"{i + 100},{i}.png,{label}" for i, label in enumerate("abababab")), []),
        ("path,label,label\n" + "\n".join(f"{i}.png,{label},x" for i, label in enumerate("abababab")), ["columns"]),
    ],
)
def test_tables_as_programs_write_them(text: str, codes: list[str], tmp_path: Path) -> None:
    pictures, said = of_table(tmp_path, text)
    assert (pictures.classes, len(pictures), said) == (("a", "b"), 8, codes)


@pytest.mark.parametrize("header", ["path,weight", "path,caption"])
def test_the_only_other_column_is_none_of_labels_where_it_does_not_repeat(header: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        of_table(tmp_path, rows(header, [f"{i}.5" for i in range(8)]))
    assert caught.value.code == "no-label-column"


def test_a_column_of_parts_by_another_name(tmp_path: Path) -> None:
    uses = ["Training", "PublicTest", "PrivateTest", "Training"] * 2
    pictures, _ = of_table(tmp_path, rows("path,label,Usage", [f"{'ab'[i % 2]},{use}" for i, use in enumerate(uses)]))
    assert pictures.parts.tolist() == [0, 2, 2, 0] * 2
    pictures, _ = of_table(tmp_path, rows("path,label,dataset", [f"{'ab'[i % 2]},{'train'[: i + 3]}" for i in range(8)]))
    assert (pictures.parts < 0).all(), "not all cells name a part"


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (["-1", "0"] * 4, {"-1", "0"}, ["minus-one"]),
        (["1e+00", "0.0e+00"] * 4, {"0", "1"}, []),
        (["b'K\\xc3\\xa4fer'", "b'dog'"] * 4, {"Käfer", "dog"}, []),
        (["b'cat'", "b'dog'", "nan", "b'dog'"] * 2, {"cat", "dog", "nan"}, ["nan-label"]),
        (["\"array(['a', 'b'], dtype=object)\"", "\"array(['b'])\""] * 4, {"a", "b"}, []),
        (['"a\nb"', '"a"', '"b"', '"b"'] * 2, {"a", "b"}, []),
        (["a；b", "a", "b", "b"] * 2, {"a", "b"}, []),
        (["a#b", "a", "b", "b"] * 2, {"a", "b", "a#b"}, ["several-labels"]),
        (["a_b", "a", "b", "b"] * 2, {"a", "b", "a_b"}, ["several-labels"]),
    ],
)
def test_cells(labels: list[str], classes: set[str], codes: list[str], tmp_path: Path) -> None:
    pictures, said = of_table(tmp_path, rows("path,label", labels))
    assert (set(pictures.classes), said) == (classes, codes)


def test_names_of_two_words_are_no_several_labels(tmp_path: Path) -> None:
    names = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("car", "bus", "ship")]
    text = "path,label\n" + "\n".join(f"{i % 8}.png,{names[i % 8]}" for i in range(8))
    assert not of_table(tmp_path, text)[0].multi


def test_labels_padded_with_zeros_as_fixed_length_bytes_are() -> None:
    x = np.zeros((4, 8, 8), np.uint8)
    assert read((x, np.array([b"cat\0\0", b"dog"] * 2, object)))[0].classes == ("cat", "dog")


def coco(root: Path, **changed: object) -> Path:
    tree(root, [""], n=4)
    whole: dict[str, object] = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(4)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": i, "image_id": float(i), "category_id": 1 + i % 2, "bbox": [1, 1, 4, 4]} for i in range(4)],
    }
    (root / "_annotations.coco.json").write_text(json.dumps(whole | changed))
    return root


@pytest.mark.parametrize("box", [[1, 2, 3], ["a", 1, 2, 3], {"x": 1}, [5, 5, -3, -3], [1, 2, 0, 5]])
def test_presence_needs_no_box(box: object, tmp_path: Path) -> None:
    rows = [{"image_id": i, "category_id": 1 + i % 2, "bbox": box if i == 0 else [1, 1, 4, 4]} for i in range(4)]
    pictures, codes = read(coco(tmp_path, annotations=rows))
    assert pictures.targets.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert codes == ["empty-box"]


@pytest.mark.parametrize(
    "changed",
    [
        {"images": [{"id": 0, "file_name": "0.png"}, {"id": 0, "file_name": "1.png"}]},
        {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
        {"categories": [{"id": 1, "name": None}, {"id": 2, "name": "dog"}]},
        {"categories": [{"id": 1, "name": ""}, {"id": 2, "name": "dog"}]},
    ],
)
def test_ids_that_mean_two_things_and_classes_without_a_name(changed: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(coco(tmp_path, **changed))
    assert caught.value.code == "bad-annotations"


def test_columns_of_parts_and_groups_beside_pictures_in_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "image": [{"bytes": b"%d" % i, "path": None} for i in range(4)],
        "diagnosis": ["a", "b"] * 2,
        "split": ["train", "test", "train", None],
        "patient_id": ["p1", "p1", "p2", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    pictures, _ = read(tmp_path / "x.parquet")
    assert pictures.classes == ("a", "b")
    assert pictures.parts.tolist() == [0, 2, 0, -1]
    assert pictures.groups.tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize("after", ["_lesion", "_L", " roi", "Mask", "-contour"])
def test_masks_are_noticed_by_any_word_that_follows_the_name(after: str, tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    for i in range(8):
        picture = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"{i}{after}.png")
    pictures, said = read(tmp_path)
    assert (len(pictures), said) == (8, ["masks"])


@pytest.mark.parametrize("after", ["_flip", "_2", "b"])
def test_versions_of_pictures_are_no_masks(after: str, tmp_path: Path) -> None:
    for i in range(8):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        for name in (f"{i}.png", f"{i}{after}.png"):
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)).save(folder / name)
    pictures, said = read(tmp_path)
    assert (len(pictures), said) == (16, [])


@pytest.mark.parametrize("name", ["/etc/secret.png", "C:/x/secret.png", "file:///etc/secret.png", "~/secret.png"])
def test_absolute_names_in_an_archive_are_refused_unless_all_come_from_there(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for i in range(4):
            packed.writestr(f"p/{i}.png", b"")
        packed.writestr("t.csv", f"path,label\n{name},a\n" + "\n".join(f"p/{i}.png,{'ab'[i % 2]}" for i in range(4)))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.zip")
    assert caught.value.code == "unsafe-names"


def test_paths_of_another_machine_in_an_archive_are_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for i in range(4):
            packed.writestr(f"p/{i}.png", b"")
        packed.writestr("t.csv", "path,label\n" + "\n".join(f"/home/ana/set/p/{i}.png,{'ab'[i % 2]}" for i in range(5)))
    assert len(read(tmp_path / "a.zip")[0]) == 4, "one is missing; it is of the same machine as the others"


STAMPS = """
import sys
from beholder.sources import scan
pictures = scan(sys.argv[1])
print(len([key for key in pictures.keys if pictures.store.stamp(key) and pictures.store.read(key) == b"1"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_the_locale_cannot_hold(tmp_path: Path) -> None:
    for name in ("Käfer", "甲虫"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ö.png").write_bytes(b"1")
    around = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", STAMPS, str(tmp_path)], env=around, capture_output=True, check=True)
    assert done.stdout.split() == [b"2"]
