from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base.errors import UsageError
from beholder.base.records import PARTS
from beholder.sources import manifest


def test_a_table_is_read_back_as_it_was_written(leaves: Path, tmp_path: Path) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    out = tmp_path / "kept.csv"
    manifest.write(parts.valid, out)
    again = beholder.scan(out)
    assert len(again) == len(parts.valid)
    assert set(again.parts.tolist()) == {PARTS.index("valid")}
    assert [again.labels(row) for row in range(len(again))] == [parts.valid.labels(row) for row in range(len(again))]


def test_members_of_an_archive_are_named_beside_it_alone(leaves: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", leaves))
    pictures = beholder.scan(archive)
    manifest.write(pictures.take(np.arange(0, len(pictures), 2)), tmp_path / "packed.csv")
    assert len(beholder.scan(tmp_path / "packed.csv")) == len(pictures) // 2
    with pytest.raises(UsageError) as refused:
        manifest.write(pictures, tmp_path / "other.csv", otherwise="or unpack it")
    assert refused.value.code == "no-files"
    assert "packed.csv, or unpack it" in refused.value.hint


def test_pictures_in_memory_have_no_names() -> None:
    pictures = beholder.scan((np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 1, 1])))
    with pytest.raises(UsageError, match="no files of their own"):
        manifest.paths(pictures, Path("kept.csv"))


def test_no_place_is_taken_that_is_not_free(leaves: Path, tmp_path: Path) -> None:
    for out, code in ((leaves / "kept.csv", "inside-source"), (tmp_path, "exists")):
        with pytest.raises(UsageError) as refused:
            manifest.check_place(out, leaves)
        assert refused.value.code == code


def test_a_source_with_a_scheme_is_not_written_into(leaves: Path) -> None:
    with pytest.raises(UsageError) as refused:
        manifest.check_place(leaves / "new", f"boxes:{leaves}")
    assert refused.value.code == "inside-source"
    manifest.check_place(leaves / "new", "set-*.tar")
