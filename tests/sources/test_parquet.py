from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import DataError, MachineError, PictureError
from beholder.base.limits import Limits
from beholder.sources import inflate, parquet, scan

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGE = {"_type": "Image"}


def label(*names: str) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def hub(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, *, group: int = 4) -> Path:
    """A file as `datasets` writes it: pictures as {bytes, path}, what the columns are in the schema's metadata."""
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def pictures(n: int, first: int = 0) -> list[dict[str, object]]:
    return [{"bytes": b"picture %d" % i, "path": f"{i}.jpg"} for i in range(first, first + n)]


@pytest.fixture
def beans(tmp_path: Path) -> Path:
    """Three files, two of the training part."""
    kinds = {"image": IMAGE, "labels": label("rust", "blight", "healthy")}
    for k, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        hub(tmp_path / f"data/{name}.parquet", {"image": pictures(10, 10 * k), "labels": [i % 3 for i in range(10)]}, kinds)
    return tmp_path


def test_a_set_of_the_hub(beans: Path) -> None:
    found = scan(beans)
    assert found.classes == ("blight", "healthy", "rust")
    assert found.parts.tolist() == [2] * 10 + [0] * 20
    assert found.keys[0] == "data/test-00000-of-00001.parquet/00"
    assert [found.labels(i)[0] for i in range(3)] == ["rust", "blight", "healthy"]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(found.store.read, list(found.keys) * 5))
    assert read == [b"picture %d" % i for i in (*range(20, 30), *range(20))] * 5
    assert len({found.store.stamp(key) for key in found.keys}) == 30


def test_one_file_of_plain_bytes_and_text(tmp_path: Path) -> None:
    path = hub(tmp_path / "a.parquet", {"id": [1, 2, 3], "jpg": [b"1", b"2", None], "label": ["cat", "dog", "cat"]})
    found = scan(path)
    assert found.classes == ("cat", "dog")
    assert found.store.read(found.keys[1]) == b"2"
    with pytest.raises(PictureError) as empty:
        found.store.read(found.keys[2])
    assert empty.value.code == "empty"
    for key in ("a.parquet/9", "a.parquet/x", "b.parquet/0"):
        with pytest.raises(PictureError):
            found.store.read(key)


@pytest.mark.parametrize("kind", [{"feature": label("a", "b", "c"), "_type": "Sequence"}, [label("a", "b", "c")]])
def test_several_labels(tmp_path: Path, kind: Any) -> None:
    columns = {"image": pictures(3), "labels": [[0, 2], [1], []]}
    found = scan(hub(tmp_path / "a.parquet", columns, {"image": IMAGE, "labels": kind}))
    assert found.multi
    assert found.classes == ("a", "b", "c")
    assert found.targets.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_several_labels_in_one_text(tmp_path: Path) -> None:
    found = scan(hub(tmp_path / "a.parquet", {"image": pictures(4), "label": ["a|b", "b", None, "a"]}, {"image": IMAGE}))
    assert found.targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert "divided by '|'" in found.notes[0]


def test_two_columns_of_labels_and_rows_without_one(tmp_path: Path) -> None:
    columns = {"img": pictures(4), "coarse_label": [0, 0, 1, 1], "fine_label": [0, 1, -1, 2]}
    kinds = {"img": IMAGE, "coarse_label": label("x", "y"), "fine_label": label("a", "b", "c")}
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        found = scan(hub(tmp_path / "a.parquet", columns, kinds))
    assert found.classes == ("a", "b", "c")
    assert [key[-1] for key in found.keys] == ["0", "1", "3"]
    assert found.notes[0] == "labels are those of the column fine_label; not used: coarse_label"
    assert said[0].fields["code"] == "no-labels"


def test_a_table_of_paths(leaves: Path) -> None:
    path = hub(
        leaves / "t.parquet", {"path": ["rust/00.png", "mildew/00.png"], "label": ["x", "y"], "split": ["train", "test"]}
    )
    found = scan(path)
    assert list(found.keys) == ["rust/00.png", "mildew/00.png"]
    assert found.parts.tolist() == [0, 2]
    several = hub(leaves / "m.parquet", {"path": ["rust/00.png", "mildew/00.png"], "label": [["x", "y"], ["y"]]})
    assert scan(several).targets.tolist() == [[1, 1], [0, 1]]


def test_files_that_are_missing_are_said(beans: Path) -> None:
    (beans / "data/train-00001-of-00002.parquet").unlink()
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        found = scan(beans)
    assert found.notes == ("only 1 of the 2 files data/train-… are there",)
    assert said[0].fields["code"] == "missing-files"


def test_scanning_takes_little_memory(tmp_path: Path) -> None:
    n = 20_000
    path = hub(tmp_path / "many.parquet", {"image": [b"x"] * n, "label": [f"class {i % 9}" for i in range(n)]}, group=1000)
    scan(path)
    tracemalloc.start()
    try:
        found = scan(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.counts().sum() == n
    assert most / n < 300


def test_only_a_few_row_groups_are_held(beans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "HELD", 0)
    found = scan(beans / "data/train-00000-of-00002.parquet")
    store = found.store.found(found.keys[0])[0]  # type: ignore[attr-defined]
    order: Sequence[int] = np.random.default_rng(0).permutation(10).tolist()
    assert [store.read(str(i)) for i in order] == [b"picture %d" % i for i in order]
    assert len(store.groups._held) == 1


def test_the_files_of_a_source_hold_row_groups_together(beans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "HELD", 100)
    found = scan(beans)
    assert [found.store.read(key) for key in found.keys] == [b"picture %d" % i for i in (*range(20, 30), *range(20))]
    groups = {id(store.groups) for store in found.store.stores.values()}  # type: ignore[attr-defined]
    held = next(iter(found.store.stores.values())).groups._held  # type: ignore[attr-defined]
    assert (len(groups), sum(column.nbytes for column in held.values()) <= 100) == (1, True)


@pytest.mark.parametrize(
    ("columns", "features", "code"),
    [
        ({"path": ["a"], "text": ["b"]}, None, "no-label-column"),
        ({"image": pictures(2), "caption": ["a", "b"]}, None, "no-label-column"),
        ({"image": pictures(2), "label": [0, 7]}, {"image": IMAGE, "label": label("a", "b")}, "bad-labels"),
        ({"image": pictures(2), "label": [0, 0]}, {"image": IMAGE, "label": label("a", "b")}, "one-class"),
        ({"image": pictures(0), "label": []}, None, "no-pictures"),
        ({"image": pictures(2), "label": [-1, -1]}, None, "no-labels"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, columns: dict[str, Any], features: dict[str, Any] | None, code: str) -> None:
    columns = {
        name: pa.array(v, pa.struct({"bytes": pa.binary(), "path": pa.string()})) if name == "image" else v
        for name, v in columns.items()
    }
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        scan(hub(tmp_path / "a.parquet", columns, features))
    assert caught.value.code == code
    assert caught.value.hint


def test_damage_and_bounds(tmp_path: Path, beans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (beans / "data/train-00000-of-00002.parquet").read_bytes()
    for i, data in enumerate((b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], b"x" * 999)):
        path = tmp_path.parent / f"{tmp_path.name}-{i}.parquet"
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            scan(path)
        assert caught.value.code == "not-parquet"
    found = scan(beans, limits=Limits(bytes=5))
    with pytest.raises(PictureError) as large:
        found.store.read(found.keys[0])
    assert large.value.code == "too-many-bytes"
    with pytest.raises(DataError) as many:
        scan(beans, limits=Limits(members=9))
    assert many.value.code == "too-many-members"
    monkeypatch.setattr(inflate, "RATIO_FLOOR", 1000)
    bomb = hub(tmp_path / "bomb.parquet", {"image": [bytes(10_000)] * 100, "label": ["a", "b"] * 50}, group=1000)
    with pytest.raises(DataError) as caught:
        scan(bomb, limits=Limits(ratio=1.5))
    assert caught.value.code == "too-many-bytes"


def test_without_the_library(beans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MachineError) as caught:
        scan(beans)
    assert caught.value.code == "missing-library"
    assert "beholder[hf]" in caught.value.hint
