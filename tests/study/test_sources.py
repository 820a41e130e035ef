"""Every kind of source that is no folder or table, through the six steps."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.study.steps import steps


def to_parquet(leaves: Path, out: Path) -> str:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    files = sorted(leaves.rglob("*.png"))
    out.mkdir()
    for k in range(2):
        rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files[k::2]]
        table = pa.table({"image": rows, "label": [file.parent.name for file in files[k::2]]})
        pq.write_table(table, out / f"train-{k:05}-of-00002.parquet", row_group_size=5)
    return str(out)


def to_shards(leaves: Path, out: Path) -> str:
    out.mkdir()
    for k in range(3):
        with tarfile.open(out / f"set-{k}.tar", "w") as tar:
            for i, file in enumerate(sorted(leaves.rglob("*.png"))[k::3]):
                for ending, data in (("png", file.read_bytes()), ("cls", file.parent.name.encode())):
                    info = tarfile.TarInfo(f"{i:03}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return str(out / "set-{0..2}.tar")


def to_boxes(leaves: Path, out: Path) -> str:
    """One annotated picture per three leaves, a leaf of each class side by side."""
    out.mkdir()
    whole: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": []}
    whole["categories"] = [{"id": k, "name": name} for k, name in enumerate(("healthy", "mildew", "rust"))]
    for i in range(12):
        picture = Image.new("RGB", (72, 20))
        for k, name in enumerate(("healthy", "mildew", "rust")):
            picture.paste(Image.open(leaves / name / f"{i:02}.png"), (24 * k, 0))
            whole["annotations"].append({"image_id": i, "category_id": k, "bbox": [24 * k, 0, 24, 20]})
        picture.save(out / f"{i}.png")
        whole["images"].append({"id": i, "file_name": f"{i}.png", "width": 72, "height": 20})
    (out / "instances.json").write_text(json.dumps(whole))
    return f"boxes:{out}"


@pytest.mark.slow
def test_names_that_are_no_utf8_go_the_whole_way(leaves: Path, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"bl\xe4tter")
    leaves.rename(source)
    (source / "rust").rename(source / os.fsdecode(b"ro\xdft"))
    (source / "mildew/00.png").rename(source / "mildew" / os.fsdecode(b"\xff.png"))
    (source / "mildew" / os.fsdecode(b"bad\xff.png")).write_bytes(b"no picture")
    recipe = load("tutorial").set(net="logistic").override(["train.epochs=2", "data.size=8"])
    with events.listen(alone=True):
        outcome = steps(source, recipe=recipe, out=tmp_path / "m.beholder")
    assert outcome.bundle.classes == ("healthy", "mildew", "roßt")
    assert (tmp_path / "m.beholder/report.html").read_text("utf-8")


@pytest.mark.parametrize("pack", [to_parquet, *(pytest.param(pack, marks=pytest.mark.slow) for pack in (to_shards, to_boxes))])
def test_a_source_goes_through_the_six_steps(leaves: Path, tmp_path: Path, pack: Callable[[Path, Path], str]) -> None:
    source = pack(leaves, tmp_path / "packed")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "packed").rglob("*")}
    recipe = load("tutorial").set(net="logistic").override(["train.epochs=2", "data.size=8"])
    with events.listen(alone=True):
        outcome = steps(source, recipe=recipe, out=tmp_path / "m.beholder")
    bundle = beholder.load(tmp_path / "m.beholder")
    assert bundle.classes == ("healthy", "mildew", "rust")
    assert sum(outcome.bundle.config.parts.values()) == 36
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "packed").rglob("*")} == before
