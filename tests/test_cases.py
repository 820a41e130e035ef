"""The programs and recipes of docs/cases/ do what their pages say."""

from __future__ import annotations

import csv
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base import recipe as recipes


@pytest.fixture(scope="module")
def driving(root: Path) -> dict[str, Any]:
    return runpy.run_path(str(root / "examples" / "driving.py"))


@pytest.fixture(scope="module")
def medicine(root: Path) -> dict[str, Any]:
    return runpy.run_path(str(root / "examples" / "medicine.py"))


@pytest.fixture(scope="module")
def objects(root: Path) -> dict[str, Any]:
    return runpy.run_path(str(root / "examples" / "objects.py"))


@pytest.fixture
def packed(draw, tmp_path: Path) -> Path:
    """Three classes of twelve pictures in an archive of class folders."""
    folder = draw(tmp_path / "leaves")
    path = tmp_path / "leaves.zip"
    with zipfile.ZipFile(path, "w") as file:
        for picture in sorted(folder.rglob("*.png")):
            file.write(picture, picture.relative_to(folder).as_posix())
    return path


@pytest.fixture
def chests(tmp_path: Path) -> Callable[[], Path]:
    """An archive of grey noise: two classes that nothing tells apart, 40 pictures each in train and 20 each in test."""

    def write() -> Path:
        rng = np.random.default_rng(0)
        path = tmp_path / "chests.zip"
        with zipfile.ZipFile(path, "w") as file:
            for part, each in (("train", 40), ("test", 20)):
                for label in ("normal", "pneumonia"):
                    for number in range(each):
                        with file.open(f"{part}/{label}/{number:03}.png", "w") as out:
                            Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(out, "PNG")
        return path

    return write


@pytest.mark.parametrize("name", ["driving", "medicine", "objects"])
def test_the_recipe_of_a_case_is_one_and_has_its_page_and_its_program(root: Path, name: str) -> None:
    recipe = recipes.load(root / "docs" / "cases" / f"{name}.toml")
    assert recipe.name == name
    assert recipe != recipes.Recipe().set(name=name)
    page = (root / "docs" / "cases" / f"{name}.md").read_text("utf-8")
    for wanted in (f"{name}.toml", f"examples/{name}.py", "licence", "## What it must not be used for"):
        assert wanted in page, wanted
    assert f"({name}.md)" in (root / "docs" / "cases" / "README.md").read_text("utf-8")


# --- driving ---------------------------------------------------------------------------------------------------------


def test_made_signs_have_the_form_of_gtsrb(driving: dict[str, Any], packed: Path, tmp_path: Path) -> None:
    assert driving["make"](str(packed), tmp_path / "signs", most=4, least=2, frames=5) == 4 + 3 + 2
    pictures = beholder.scan(f"boxes:{tmp_path / 'signs'}")
    assert pictures.classes == ("00000", "00001", "00002")
    assert pictures.counts().tolist() == [20, 15, 10]
    assert len(set(pictures.groups.tolist())) == 9
    assert -1 not in pictures.groups
    lines = (tmp_path / "signs" / "00001" / "GT-00001.csv").read_text("utf-8").splitlines()
    assert lines[0] == driving["HEADER"]
    name, width, height, *roi, number = lines[1].split(";")
    with Image.open(tmp_path / "signs" / "00001" / name) as picture:
        assert picture.format == "PPM"
        assert picture.size == (int(width), int(height))
    assert roi == ["5", "5", "28", "28"]
    assert number == "1"


def test_frames_at_random_share_tracks_and_those_kept_back_do_not(
    driving: dict[str, Any], packed: Path, tmp_path: Path
) -> None:
    driving["make"](str(packed), tmp_path / "signs", most=8, least=6, frames=5)
    parts, kept = driving["by_frames"](beholder.scan(f"boxes:{tmp_path / 'signs'}"))
    keys = {name: {driving_track(key) for key in part.keys} for name, part in parts.items()}
    assert keys["train"] & keys["test"], "a split by frames tears tracks"
    away = {driving_track(key) for key in kept.keys}
    assert away
    assert not away & (keys["train"] | keys["valid"] | keys["test"])


def driving_track(key: str) -> str:
    """The class and the track in the name of a frame, read a second way."""
    return "/".join(key.split("_")[0].split("/")[-2:])


def test_both_figures_of_the_signs_are_printed(
    driving: dict[str, Any], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driving["make"](str(packed), tmp_path / "signs", most=8, least=6, frames=5)
    driving["split"](str(tmp_path / "signs"), minutes=0, epochs=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("frames at random: accuracy ")
    assert second.startswith("tracks kept back: accuracy ")
    assert second.endswith("tracks")


def test_the_official_test_gets_the_classes_of_the_folders(driving: dict[str, Any], tmp_path: Path) -> None:
    rows = [driving["HEADER"], *(f"{number:05}.ppm;30;30;5;5;24;24;{number}" for number in range(3))]
    table = tmp_path / "GT-final_test.csv"
    table.write_text("\n".join(rows) + "\n", "utf-8")
    for number in range(3):
        Image.new("RGB", (30, 30)).save(tmp_path / f"{number:05}.ppm")
    assert beholder.scan(table).classes == ("00000", "00001", "00002")
    assert beholder.scan(f"boxes:{table}").classes == ("00000", "00001", "00002")


# --- medicine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [0.0, 1.0])
def test_the_audit_finds_the_device_of_the_first_hospital(
    medicine: dict[str, Any], chests: Callable[[], Path], tmp_path: Path, marked: float
) -> None:
    medicine["make"](str(chests()), tmp_path / "chests", marked=marked)
    found = beholder.audit(tmp_path / "chests" / "first", checks=["shortcut"])
    assert any("'pneumonia' can be told by border alone" in row.verdict for row in found.rows) is bool(marked)


def test_patients_stay_together_and_their_pictures_with_their_device(
    medicine: dict[str, Any], chests: Callable[[], Path], tmp_path: Path
) -> None:
    patients = medicine["make"](str(chests()), tmp_path / "chests", marked=0.5)
    paths = sorted((tmp_path / "chests").rglob("*.png"))
    people = {path.name.split("_")[0] for path in paths}
    assert len(people) == patients == 120
    assert 1.2 < len(paths) / patients < 1.5
    frames: dict[str, set[bool]] = {}
    for path in paths:
        frames.setdefault(path.name.split("_")[0], set()).add(not np.asarray(Image.open(path))[0].any())
    assert all(len(seen) == 1 for seen in frames.values())
    assert not any(True in frames[path.name.split("_")[0]] for path in paths if "first/normal" in path.as_posix())
    parts = beholder.split(beholder.scan(tmp_path / "chests" / "first"), group_from=r"person\d+")
    owners = [{key.split("/")[-1].split("_")[0] for key in part.keys} for _, part in parts.items()]
    assert not owners[0] & owners[1]
    assert not owners[1] & owners[2]
    assert not owners[0] & owners[2]


def test_both_hospitals_are_tested(
    medicine: dict[str, Any], chests: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    medicine["make"](str(chests()), tmp_path / "chests", marked=1.0)
    medicine["across"](str(tmp_path / "chests" / "first"), str(tmp_path / "chests" / "second"), epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert "border alone" in "\n".join(lines[:-2])
    assert lines[-2].startswith("first: auroc ")
    assert lines[-1].startswith("second: auroc ")


def test_a_table_of_dicom_has_the_patient_and_not_the_name(medicine: dict[str, Any], tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    for label, number, patient in (("normal", 0, "Ana 1"), ("normal", 1, "Ana 1"), ("pneumonia", 0, "Ben 2")):
        _dicom(pydicom, tmp_path / "scans" / label / f"{number}.dcm", patient)
    assert medicine["table"](tmp_path / "scans", tmp_path / "scans.csv") == 3
    text = (tmp_path / "scans.csv").read_text("utf-8")
    assert "Ana" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert rows[0]["path"] == "scans/normal/0.dcm"
    assert rows[0]["patient"] == rows[1]["patient"] != rows[2]["patient"]
    pictures = beholder.scan(tmp_path / "scans.csv")
    assert pictures.groups.tolist() == [0, 0, 1]
    assert pictures.classes == ("normal", "pneumonia")


def _dicom(pydicom: Any, path: Path, patient: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    file.SOPInstanceUID = pydicom.uid.generate_uid()
    file.PatientID = patient
    file.save_as(path, enforce_file_format=True)


# --- objects ---------------------------------------------------------------------------------------------------------


def test_few_pictures_of_each_class_and_the_same_test(objects: dict[str, Any], packed: Path, tmp_path: Path) -> None:
    assert objects["few"](str(packed), tmp_path / "four", each=4, test=4) == 24
    assert objects["few"](str(packed), tmp_path / "eight", each=8, test=4) == 36
    four, eight = (beholder.scan(tmp_path / name) for name in ("four", "eight"))
    assert np.bincount(four.parts).tolist() == [9, 3, 12]
    assert np.bincount(eight.parts).tolist() == [18, 6, 12]
    tests = [{key for key in pictures.keys if key.startswith("test/")} for pictures in (four, eight)]
    assert tests[0] == tests[1]


def test_boxes_are_counted_and_measured(objects: dict[str, Any], tmp_path: Path) -> None:
    rows = ["file,label,xmin,ymin,xmax,ymax", "a.jpg,RBC,0,0,10,20", "a.jpg,RBC,5,5,25,15", "b.jpg,WBC,1,2,31,42"]
    (tmp_path / "cells.csv").write_text("\n".join(rows), "utf-8")
    assert objects["cells"](tmp_path / "cells.csv") == {"RBC": (2, 15, 15), "WBC": (1, 30, 40)}
