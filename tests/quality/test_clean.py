"""A cleaned copy: what is in it, what it is called, and that nothing else is touched or half done."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import beholder
import beholder.quality.clean as clean_module
from beholder.base import events
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.records import Finding
from beholder.quality.audit import Findings
from beholder.quality.clean import clean
from beholder.sources import scan
from beholder.sources.digest import digested


def findings(pictures: Any, decisions: dict[str, str]) -> Findings:
    return Findings(pictures, tuple(Finding(k, "dark", 1.0, "", "keep", "", what) for k, what in decisions.items()), {})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def png(value: int = 0, size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


def test_a_folder_becomes_a_folder_with_the_same_bytes_and_names(leaves: Path, tmp_path: Path) -> None:
    before = files(leaves)
    table = tmp_path / "audit.csv"
    table.write_text(
        "picture,check,score,verdict,suggestion,other,decided\n"
        "rust/00.png,dark,1,,drop,,drop\nrust/01.png,dark,1,,drop,,keep\nrust/02.png,labels,1,,relabel:healthy,,relabel:spotted\n"
        "rust/02.png,dark,1,,drop,,relabel:spotted\nhealthy/03.png,labels,1,,review,,relabel:rust\n"
        "gone/1.png,dark,1,,drop,,drop\nmildew/00.png,label,0.99,,relabel:rust,,\nmildew/01.png,duplicate,1,,drop,mildew/00.png,\n"
        "mildew/02.png,label,0.6,,review,,\n"
    )
    done = beholder.clean(leaves, apply=table, out=tmp_path / "cleaned")
    after = files(tmp_path / "cleaned")
    expected = {name: data for name, data in before.items() if name not in ("rust/00.png", "rust/02.png", "healthy/03.png")}
    expected |= {"spotted/02.png": before["rust/02.png"], "rust/03-2.png": before["healthy/03.png"]}
    assert after == expected
    assert files(leaves) == before
    assert (done.pictures, done.dropped, done.relabelled, done.missing) == (35, 1, 2, ("gone/1.png",))
    assert done.classes == {"healthy": 11, "mildew": 12, "rust": 11, "spotted": 1}
    assert "1 decisions are about pictures that are not in the source: gone/1.png" in str(done)
    assert done.json()["missing"] == ["gone/1.png"]
    assert "nobody has decided about 3 pictures for which something is suggested: left untouched" in str(done)
    again = scan(tmp_path / "cleaned")
    assert dict(zip(again.classes, again.counts().tolist(), strict=True)) == done.classes


def test_parts_stay_parts(tmp_path: Path, draw: Any) -> None:
    for part in ("train", "val", "test"):
        draw(tmp_path / "set" / part, each=2)
    pictures = scan(tmp_path / "set")
    clean(pictures, apply=findings(pictures, {"val/rust/00.png": "drop"}), out=tmp_path / "out")
    again = scan(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test", "train", "valid"]
    assert len(again) == 17
    assert np.bincount(again.parts).tolist() == [6, 5, 6]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_becomes_a_folder(kind: str, leaves: Path, tmp_path: Path) -> None:
    packed = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as made:
            for name, data in files(leaves).items():
                made.writestr(name, data)
    else:
        with tarfile.open(packed, "w:gz" if kind == "tar.gz" else "w") as made:
            made.add(leaves, arcname="set")
    pictures = scan(packed)
    done = clean(packed, apply=findings(pictures, {pictures.keys[0]: "drop"}), out=tmp_path / "out")
    assert done.pictures == 35
    assert set(files(tmp_path / "out").items()) == {(k, v) for k, v in files(leaves).items() if k != "healthy/00.png"}


@pytest.mark.parametrize(
    ("dtype", "shape", "mode"),
    [(np.uint8, (5, 7, 3), "RGB"), (np.uint8, (5, 7), "L"), (np.uint8, (5, 7, 4), "RGBA"), (np.uint16, (5, 7), "I;16")],
)
def test_arrays_become_png_without_loss(dtype: Any, shape: tuple[int, ...], mode: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (6, *shape)).astype(dtype)
    y = np.array(["a", "b"] * 3)
    done = clean((x, y), apply=findings(scan((x, y)), {"2": "relabel:b"}), out=tmp_path / "out")
    assert done.notes == ()
    with Image.open(tmp_path / "out" / "b" / "2.png") as picture:
        assert picture.mode == mode
        assert np.array_equal(np.asarray(picture), x[2])
    assert sorted(files(tmp_path / "out")) == ["a/0.png", "a/4.png", "b/1.png", "b/2.png", "b/3.png", "b/5.png"]


def test_floats_are_written_with_bytes_and_it_is_said(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((4, 5, 7, 3))
    done = clean((x, [0, 1, 0, 1]), apply=findings(scan((x, [0, 1, 0, 1])), {}), out=tmp_path / "out")
    assert done.notes == ("4 pictures of more than 8 bits a value were written with 8 bits",)
    with Image.open(tmp_path / "out" / "0" / "0.png") as picture:
        assert np.abs(np.asarray(picture) - x[0] * 255).max() <= 0.51


def test_several_labels_groups_and_half_given_parts_go_to_a_table(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "sub/a.png", "c.png"]):
        (tmp_path / "in" / name).write_bytes(png(number))
    (tmp_path / "in" / "t.csv").write_text(
        "path,label,split,group\na.png,x;y,train,p1\nb.png,y,,p1\nsub/a.png,x,test,p2\nc.png,x,,\n"
    )
    source = tmp_path / "in" / "t.csv"
    pictures = scan(source)
    done = clean(source, apply=findings(pictures, {"b.png": "relabel:x", "c.png": "drop"}), out=tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == ["labels.csv", "pictures/a-2.png", "pictures/a.png", "pictures/b.png"]
    assert (tmp_path / "out" / "labels.csv").read_text().splitlines() == [
        "path,label,split,group",
        "pictures/a.png,x;y,train,0",
        "pictures/b.png,y,,0",
        "pictures/a-2.png,x,test,1",
    ]
    assert any("decisions to relabel left as they are" in note for note in done.notes)
    again = scan(tmp_path / "out")
    assert [again.labels(row) for row in range(3)] == [("x", "y"), ("y",), ("x",)]
    assert again.parts.tolist() == [0, -1, 2]


EVIL = ["../up", "/root", "..", ".", ".hidden", "a/b", "back\\slash", "nul\x01", "train", "con", "x" * 300, "__MACOSX"]


@pytest.mark.parametrize("label", EVIL)
def test_no_class_name_leads_out(label: str, tmp_path: Path) -> None:
    x = np.zeros((4, 3, 3), np.uint8)
    source = (x, ["good", label, "good", label])
    clean(source, apply=findings(scan(source), {}), out=tmp_path / "w" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["out"]
    again = scan(tmp_path / "w" / "out")
    assert set(again.classes) == {"good", label}
    assert len(again) == 4


def test_classes_that_differ_in_case_share_no_folder(tmp_path: Path) -> None:
    source = (np.zeros((4, 3, 3), np.uint8), ["Cat", "cat", "Cat", "cat"])
    with events.listen(alone=True):
        clean(source, apply=findings(scan(source), {}), out=tmp_path / "out")
        assert scan(tmp_path / "out").counts().tolist() == [2, 2]


def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    odd = [b"\xff\xfe.png", 'ü "x", y.png'.encode(), b"-rf.png", b" lead.png", b"new\nline.png", b"n" * 251 + b".png"]
    for label in ("a", "b"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for name in odd:
            (tmp_path / "in" / label / os.fsdecode(name)).write_bytes(png())
    pictures = scan(tmp_path / "in")
    audit = findings(pictures, dict.fromkeys(pictures.keys, "keep") | {pictures.keys[0]: "drop"})
    audit.save(tmp_path / "audit.csv")
    done = clean(tmp_path / "in", apply=tmp_path / "audit.csv", out=tmp_path / "out")
    assert (done.pictures, done.dropped, done.missing) == (11, 1, ())
    kept = {os.fsencode(path.name) for path in (tmp_path / "out" / "b").iterdir()}
    assert len(kept) == 6
    assert {b"\xff\xfe.png", b"-rf.png", b" lead.png"} <= kept
    assert max(map(len, kept)) <= 200


def test_pictures_that_cannot_be_read_are_named(leaves: Path, tmp_path: Path) -> None:
    pictures = scan(leaves)
    (leaves / "rust" / "00.png").unlink()
    done = clean(pictures, apply=findings(pictures, {}), out=tmp_path / "out")
    assert [(bad.key, bad.code) for bad in done.unreadable] == [("rust/00.png", "path-missing")]
    assert done.pictures == 35
    assert done.classes["rust"] == 11


def test_a_table_in_place_of_a_copy(leaves: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "m.csv", tmp_path / "else" / "m.csv"):
        done = clean(leaves, apply=findings(scan(leaves), {"rust/00.png": "drop", "rust/01.png": "relabel:healthy"}), out=out)
        assert done.pictures == 35
        again = scan(out)
        assert again.counts().tolist() == [13, 12, 10]
        where = out.read_text().splitlines()[1]
        assert where == ("leaves/healthy/00.png,healthy" if out.parent == tmp_path else f"{leaves}/healthy/00.png,healthy")
        assert len(digested(again)) == 35


def test_a_table_of_an_archive_lies_beside_it(leaves: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        for name, data in files(leaves).items():
            made.writestr(name, data)
    with pytest.raises(UsageError, match="no files of their own") as refused:
        clean(tmp_path / "set.zip", apply=findings(None, {}), out=tmp_path / "other.csv")
    assert "set.csv" in refused.value.hint
    clean(tmp_path / "set.zip", apply=findings(None, {"rust/00.png": "drop"}), out=tmp_path / "set.csv")
    assert scan(tmp_path / "set.csv").counts().tolist() == [12, 12, 11]


def test_a_table_that_would_lie_is_refused(tmp_path: Path) -> None:
    for label in ("a;b", "c"):
        (tmp_path / "in" / label).mkdir(parents=True)
        (tmp_path / "in" / label / "1.png").write_bytes(png())
    with pytest.raises(DataError, match="cannot hold these names") as refused:
        clean(tmp_path / "in", apply=findings(None, {}), out=tmp_path / "m.csv")
    assert refused.value.code == "bad-names"
    assert not (tmp_path / "m.csv").exists()
    clean(tmp_path / "in", apply=findings(None, {}), out=tmp_path / "out")
    assert scan(tmp_path / "out").classes == ("a;b", "c")


@pytest.mark.parametrize("out", ["leaves", "leaves/cleaned", "leaves/sub/m.csv", "leaves/../leaves/x"])
def test_nothing_is_written_into_the_source(out: str, leaves: Path, tmp_path: Path) -> None:
    before = files(leaves)
    with pytest.raises(UsageError) as refused:
        clean(leaves, apply=findings(None, {}), out=tmp_path / out)
    assert refused.value.code == "inside-source"
    assert files(leaves) == before


def test_nothing_is_overwritten(leaves: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "m.csv").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in ("full", "m.csv", "full/mine.txt", "link"):
        with pytest.raises(UsageError) as refused:
            clean(leaves, apply=findings(None, {}), out=tmp_path / out)
        assert refused.value.code == "exists"
    (tmp_path / "empty").mkdir()
    assert clean(leaves, apply=findings(None, {}), out=tmp_path / "empty").pictures == 36


def test_it_is_whole_or_absent(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10))

    def fail(data: Any, key: str) -> Any:
        if next(calls) == 5:
            raise OSError(28, "No space left on device")
        return data, "", True

    monkeypatch.setattr(clean_module, "_encoded", fail)
    with pytest.raises(MachineError) as refused:
        clean(leaves, apply=findings(None, {}), out=tmp_path / "w" / "out")
    assert refused.value.code == "disk-full"
    assert list((tmp_path / "w").iterdir()) == []


def test_nothing_left_is_an_error(leaves: Path, tmp_path: Path) -> None:
    pictures = scan(leaves)
    with pytest.raises(DataError, match="nothing is left"):
        clean(pictures, apply=findings(pictures, dict.fromkeys(pictures.keys, "drop")), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parquet_becomes_a_folder(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": png(i), "path": f"{i}.png"} for i in range(4)]
    parquet.write_table(arrow.table({"image": cells, "label": ["a", "b", "a", "b"]}), tmp_path / "set.parquet")
    pictures = scan(tmp_path / "set.parquet")
    done = clean(tmp_path / "set.parquet", apply=findings(pictures, {pictures.keys[0]: "relabel:b"}), out=tmp_path / "out")
    assert done.classes == {"a": 1, "b": 3}
    assert sorted(files(tmp_path / "out").values()) == sorted(png(i) for i in range(4))
    with pytest.raises(UsageError, match="no files of their own"):
        clean(tmp_path / "set.parquet", apply=findings(pictures, {}), out=tmp_path / "set.csv")


def test_pictures_without_an_ending_get_the_one_of_their_content(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("one", "two.dat", ".three"):
        (tmp_path / "in" / name).write_bytes(png())
    (tmp_path / "in" / "four").write_bytes(b"no picture")
    (tmp_path / "in" / "t.csv").write_text("path,label\none,a\ntwo.dat,b\n.three,a\nfour,b\n")
    done = clean(tmp_path / "in" / "t.csv", apply=findings(None, {}), out=tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == ["a/_.three.png", "a/one.png", "b/two.dat.png"]
    assert [(bad.key, bad.code) for bad in done.unreadable] == [("four", "not-a-picture")]
