"""One rule for labels that are none, over every source."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import scan

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def of_arrays(labels: list[Any], folder: Path) -> Pictures:
    return scan((np.zeros((len(labels), 4, 4, 3), np.uint8), np.array(labels, object)))


def of_table(labels: list[Any], folder: Path) -> Pictures:
    for i in range(len(labels)):
        (folder / f"{i}.png").touch()
    cells = ["" if v is None or v != v else v.decode() if isinstance(v, bytes) else str(v) for v in labels]
    (folder / "t.csv").write_text("path,label\n" + "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells)))
    return scan(folder / "t.csv")


def of_parquet(labels: list[Any], folder: Path) -> Pictures:
    pictures = [{"bytes": b"%d" % i, "path": ""} for i in range(len(labels))]
    pq.write_table(pa.table({"image": pictures, "label": pa.array(labels, from_pandas=False)}), folder / "t.parquet")
    return scan(folder / "t.parquet")


def of_parquet_paths(labels: list[Any], folder: Path) -> Pictures:
    names = [f"{i}.png" for i in range(len(labels))]
    for name in names:
        (folder / name).touch()
    pq.write_table(pa.table({"path": names, "label": pa.array(labels, from_pandas=False)}), folder / "t.parquet")
    return scan(folder / "t.parquet")


def of_shards(labels: list[Any], folder: Path) -> Pictures:
    with tarfile.open(folder / "t.tar", "w") as tar:
        for i, label in enumerate(labels):
            said = label.decode() if isinstance(label, bytes) else label
            for name, data in ((f"{i}.png", b"x"), (f"{i}.json", json.dumps({"label": said}).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return scan(folder / "t.tar")


SOURCES = [of_arrays, of_table, of_parquet, of_parquet_paths, of_shards]
Source = Callable[[list[Any], Path], Pictures]
NAN = float("nan")


def read(source: Source, labels: list[Any], folder: Path) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = source(labels, folder)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("labels", "classes", "n", "codes"),
    [
        ([0.0, 1.0, NAN, 1.0], ("0", "1"), 3, ["no-labels"]),
        ([0.0, 1.0, None, 1.0], ("0", "1"), 3, ["no-labels"]),
        (["a", "b", None, ""], ("a", "b"), 2, ["no-labels"]),
        ([0, 1, -1, 2], ("0", "1", "2"), 3, ["minus-one", "no-labels"]),
        ([0.0, 1.0, -1.0, NAN], ("0", "1"), 2, ["minus-one", "no-labels"]),
        ([-1, 1, 1, -1], ("-1", "1"), 4, ["minus-one"]),
        ([-1, 0, 3, 5], ("-1", "0", "3", "5"), 4, ["minus-one"]),
        (["cat", "nan", "dog", "cat"], ("cat", "dog", "nan"), 4, ["nan-label"]),
        (["1", "nan", "0", "1"], ("0", "1"), 3, ["nan-label", "no-labels"]),
        ([b"cat", b"dog", b"caf\xc3\xa9", b"cat"], ("café", "cat", "dog"), 4, []),
        (["b'cat'", "b'dog'", "b'dog'", "b'cat'"], ("cat", "dog"), 4, []),
        (["K\u00e4fer", "Ka\u0308fer", "Blume", "Blume"], ("Blume", "K\u00e4fer"), 4, []),
    ],
)  # fmt: skip
def test_the_rule(
    source: Source, labels: list[Any], classes: tuple[str, ...], n: int, codes: list[str], tmp_path: Path
) -> None:
    pictures, said = read(source, labels, tmp_path)
    assert set(pictures.classes) == set(classes)
    assert len(pictures) == n
    assert said == codes
    assert len(pictures.keys) == len(pictures.targets) == len(pictures.parts) == len(pictures.groups)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("labels", [[None, None], [NAN, NAN], [-1, -1]])
def test_no_label_at_all(source: Source, labels: list[Any], tmp_path: Path) -> None:
    if source is of_parquet and labels[0] is None:
        labels = pa.array(labels, pa.string())
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        source(labels, tmp_path)
    assert caught.value.code == "no-labels"


def test_class_names_of_arrays_of_bytes() -> None:
    pictures = scan((np.zeros((2, 4, 4), np.uint8), np.array([b"cat", b"dog"])))
    assert pictures.classes == ("cat", "dog")


def test_folders_follow_the_rule(tmp_path: Path) -> None:
    for name in ("0", "1", "-1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    with events.listen(alone=True):
        pictures = scan(tmp_path)
    assert pictures.classes == ("0", "1", "2")
    assert any("-1: taken for no label" in note for note in pictures.notes)


def test_parts_in_two_unicode_forms_have_one_class(tmp_path: Path) -> None:
    for part, form in (("train", "NFC"), ("test", "NFD")):
        for name in ("Käfer", "Blume"):
            folder = tmp_path / part / unicodedata.normalize(form, name)  # type: ignore[arg-type]
            folder.mkdir(parents=True)
            (folder / "1.png").touch()
    pictures = scan(tmp_path)
    assert pictures.classes == ("Blume", unicodedata.normalize("NFC", "Käfer"))
    assert pictures.counts().tolist() == [2, 2]
    assert any("2 Unicode forms" in note for note in pictures.notes)


def test_several_labels_a_row_follow_it_too(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"image": [{"bytes": b"x", "path": ""}] * 3, "labels": [[0.0, 1.0], [NAN, 1.0], None]}), tmp_path / "t.parquet"
    )
    pictures = scan(tmp_path / "t.parquet")
    assert pictures.classes == ("0", "1")
    assert pictures.targets.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert "1 pictures carry no label" in pictures.notes[-1]
