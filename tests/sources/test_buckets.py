"""Sources on object storage give what their local copies give, and are refused in one message where they cannot be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.sources.conftest import Front, Storage, packed

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, PictureError
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import cached
from beholder.machine.ranks import Ranks
from beholder.sources import buckets, parquet, scan
from beholder.sources.ahead import expect
from beholder.sources.digest import digested


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return beholder.cache(tmp_path / "cache")


def read(url: str, **more: Any) -> Pictures:
    with events.listen(alone=True):
        return scan(url, allow_download=True, **more)


def alike(one: Pictures, other: Pictures) -> None:
    """Compare two sources to the last byte."""
    assert list(one.keys) == list(other.keys)
    assert one.classes == other.classes
    np.testing.assert_array_equal(one.targets, other.targets)
    np.testing.assert_array_equal(one.parts, other.parts)
    one, other = digested(one), digested(other)
    np.testing.assert_array_equal(one.digests, other.digests)
    assert one.store.read(one.keys[0]) == other.store.read(other.keys[0])


def samples(folder: Path, leaves: Path, *, tars: int) -> Path:
    """Write WebDataset tars of the leaves: the label of each as text in KEY.cls."""
    folder.mkdir()
    files = sorted(leaves.rglob("*.png"))
    for number in range(tars):
        held: dict[str, bytes] = {}
        for k, file in enumerate(files[number::tars]):
            held |= {f"{k:04}.cls": file.parent.name.encode(), f"{k:04}.png": file.read_bytes()}
        (folder / f"set-{number:04}.tar").write_bytes(packed(held))
    return folder


def test_class_folders(storage: Storage, leaves: Path, cache: Path) -> None:
    (leaves / ".hidden.png").write_bytes(b"")
    alike(read(storage.put(leaves, "leaves")), scan(leaves))


def test_listing_reads_no_picture(storage: Storage, front: Front, leaves: Path, cache: Path) -> None:
    read(storage.put(leaves, "leaves"))
    assert not [path for path in front.asked if path.endswith(".png")]


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive(kind: str, storage: Storage, leaves: Path, tmp_path: Path, cache: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "set"), kind, leaves))
    found = read(storage.write(path.name, path.read_bytes()))
    alike(found, scan(path))


def test_shards_by_braces_by_pattern_and_by_folder(storage: Storage, leaves: Path, tmp_path: Path, cache: Path) -> None:
    local = samples(tmp_path / "tars", leaves, tars=3)
    (local / "classes.txt").write_text("unused\n")
    url = storage.put(local, "tars")
    for pattern in ("set-{0000..0002}.tar", "set-*.tar", ""):
        alike(read(url + pattern), scan(f"{local}/{pattern}" if pattern else local))


def told(folder: Path, kind: str) -> Path:
    """Write a file that tells what the leaves show; return its path."""
    files = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.png"))]
    rows = [{"path": name, "label": name.partition("/")[0], "split": "test" if "/00" in name else "train"} for name in files]
    path = folder / f"labels.{kind}"
    if kind == "json":
        path = folder / "annotations" / "coco.json"
        path.parent.mkdir()
        classes = sorted({row["label"] for row in rows})
        boxes = [
            {"id": k, "image_id": k, "category_id": classes.index(row["label"]), "bbox": [2, 3, 10, 8]}
            for k, row in enumerate(rows)
        ]
        whole = {
            "images": [{"id": k, "file_name": row["path"], "width": 24, "height": 20} for k, row in enumerate(rows)],
            "categories": [{"id": k, "name": name} for k, name in enumerate(classes)],
            "annotations": boxes,
        }
        path.write_text(json.dumps(whole))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    else:
        mark = "," if kind == "csv" else "\t"
        path.write_text("".join(mark.join(row) + "\n" for row in (["path", "label", "split"], *map(dict.values, rows))))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "json"])
def test_a_file_that_tells_of_pictures_beside_it(kind: str, storage: Storage, leaves: Path, cache: Path) -> None:
    (leaves / "other.csv").write_text("path,label\nrust/00.png,none\nrust/01.png,of these\n")
    path = told(leaves, kind)
    url = storage.put(leaves, "leaves") + path.relative_to(leaves).as_posix()
    found = read(url)
    alike(found, scan(path))
    assert not kind.startswith("json") or kind == "jsonl" or found.boxes is not None
    with pytest.raises(BeholderError, match="is not read where labels are not") as caught:
        read(url, labels=False)
    assert (caught.value.code, "the folder" in caught.value.hint) == ("unknown-source", True)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_pictures_apart_from_what_tells_of_them(
    kind: str, storage: Storage, front: Front, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    folder = storage.put(leaves, "leaves")
    packed = shutil.make_archive(str(tmp_path / "set"), "zip", leaves)
    path = told(shutil.copytree(leaves, tmp_path / "tables"), kind)
    local = scan(path, images=leaves)
    with pytest.raises(BeholderError) as caught:
        scan(path, images=folder)
    assert (caught.value.code, front.asked.total()) == ("download-not-allowed", 0)
    for images in (folder, storage.write("set.zip", Path(packed).read_bytes())):
        found = read(str(path), images=images)
        alike(found, local)
        assert (found.boxes is None) == (local.boxes is None)
    with pytest.raises(BeholderError, match="there is nothing at") as caught:
        read(str(path), images=f"{folder}none/")
    assert caught.value.code == "path-missing"
    with pytest.raises(BeholderError) as caught:
        read(str(leaves), images=folder)
    assert caught.value.code == "images-unused"


def test_a_table_of_pictures_that_are_not_there(storage: Storage, leaves: Path, cache: Path) -> None:
    url = storage.write("t/labels.csv", b"path,label\n../a.png,x\n/etc/b.png,y\n")
    with pytest.raises(BeholderError) as caught:
        read(url)
    assert (caught.value.code, bool(caught.value.hint)) == ("missing-files", True)


def test_pictures_inside_one_file(storage: Storage, leaves: Path, tmp_path: Path, cache: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    files = sorted(leaves.rglob("*.png"))
    columns = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 8, 8), np.uint8), y=np.arange(6) % 2)
    alike(read(storage.write("f/a.parquet", (tmp_path / "a.parquet").read_bytes())), scan(tmp_path / "a.parquet"))
    found = read(storage.write("f/a.npz", (tmp_path / "a.npz").read_bytes()))
    assert (len(found), found.targets.tolist()) == (6, [0, 1] * 3)


def parquet_files(folder: Path, leaves: Path, *, files: int) -> Path:
    """Write Parquet files of the leaves, three pictures a row group; the last is of the test part."""
    arrow, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder.mkdir()
    pictures = sorted(leaves.rglob("*.png"))
    for number in range(files):
        some, part = pictures[number::files], "test" if number == files - 1 else "train"
        columns = {"image": [{"bytes": file.read_bytes(), "path": file.name} for file in some]}
        columns |= {"label": [file.parent.name for file in some]}  # type: ignore[dict-item]
        pq.write_table(arrow.table(columns), folder / f"{part}-{number:03}.parquet", row_group_size=3)
    return folder


def test_several_parquet_files_by_braces_by_pattern_and_by_folder(
    storage: Storage, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    local = parquet_files(tmp_path / "local", leaves, files=4)
    url = storage.put(local, "packed")
    for pattern in ("", "t*.parquet", "train-{000..002}.parquet", "{train-001,test-003}.parquet"):
        found = read(url + pattern)
        alike(found, scan(f"{local}/{pattern}" if pattern else local))
        assert found.store.name == url + pattern
    assert {key.partition("/")[0] for key in read(url, labels=None).keys} == {path.name for path in local.iterdir()}
    with pytest.raises(BeholderError, match="is not read where labels are not") as caught:
        read(url, labels=False)
    assert (caught.value.code, "the folder" in caught.value.hint) == ("unknown-source", True)
    storage.write("packed/set.tar", b"")
    with pytest.raises(BeholderError, match="is not read with others"):
        read(url + "{train-000.parquet,set.tar}")


def test_parquet_files_are_fetched_once_each(storage: Storage, front: Front, leaves: Path, tmp_path: Path, cache: Path) -> None:
    url = storage.put(parquet_files(tmp_path / "local", leaves, files=3), "packed")
    for _ in range(2):
        digested(read(url))
    assert sorted(n for path, n in front.asked.items() if path.endswith(".parquet")) == [1] * 3


def test_parquet_files_that_find_no_room_are_read_where_they_lie(
    storage: Storage, front: Front, leaves: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = parquet_files(tmp_path / "local", leaves, files=3)
    url = storage.put(local, "packed")
    monkeypatch.setenv("BEHOLDER_ROOM", str(sum(file.stat().st_size for file in local.iterdir()) / 2**30 / 2))
    monkeypatch.setattr(parquet, "HELD", 0)
    found = read(url)
    asked = sum(n for path, n in front.asked.items() if path.endswith(".parquet"))
    assert [found.store.read(key)[:4] for key in found.keys] == [b"\x89PNG"] * 36
    assert sum(n for path, n in front.asked.items() if path.endswith(".parquet")) - asked == 12, "a request a row group"
    assert not (cache / "objects").exists()
    alike(found, scan(local))
    assert len({found.store.stamp(key) for key in found.keys}) == 36
    storage.write("packed/train-000.parquet", bytes((local / "train-000.parquet").stat().st_size))
    with pytest.raises(PictureError) as caught:
        found.store.read(next(key for key in found.keys if key.startswith("train-000")))
    assert caught.value.code == "changed"


def test_numbers_get_their_names_from_the_list_beside_the_shards(storage: Storage, leaves: Path, cache: Path) -> None:
    pictures = [file.read_bytes() for file in sorted(leaves.rglob("*.png"))[:4]]
    data = packed(
        {name: data for k, p in enumerate(pictures) for name, data in ((f"{k}.cls", b"%d" % (k % 2)), (f"{k}.png", p))}
    )
    storage.write("n/classes.txt", b"ant\nbee\n")
    storage.write("n/a.tar", data)
    assert read(f"s3://{storage.bucket}/n").classes == ("ant", "bee")


def test_shards_without_labels(storage: Storage, leaves: Path, tmp_path: Path, cache: Path) -> None:
    url = storage.put(samples(tmp_path / "tars", leaves, tars=2), "tars")
    found = read(url + "set-*.tar", labels=False)
    assert (len(found), found.labelled) == (36, False)
    assert len(digested(found)) == 36


def test_a_second_scan_of_shards_fetches_none(
    storage: Storage, front: Front, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    url = storage.put(samples(tmp_path / "tars", leaves, tars=3), "tars")
    read(url)
    shutil.rmtree(cache / "objects")
    front.asked.clear()
    found = read(url)
    assert not [path for path in front.asked if path.endswith(".tar")]
    expect(found.store, list(found.keys))
    assert all(found.store.read(key).startswith(b"\x89PNG") for key in found.keys)
    assert sum(n for path, n in front.asked.items() if path.endswith(".tar")) == 3  # what lies together is one request


def test_nothing_is_asked_of_the_network_unless_it_is_allowed(storage: Storage, front: Front, leaves: Path) -> None:
    url = storage.put(leaves, "leaves")
    with pytest.raises(BeholderError) as caught:
        scan(url)
    assert caught.value.code == "download-not-allowed"
    assert not front.asked


Wrong = Callable[[Storage, pytest.MonkeyPatch], str]


def no_credentials(storage: Storage, patch: pytest.MonkeyPatch) -> str:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")
    return f"s3://{storage.bucket}/x"


def refused(storage: Storage, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("AWS_ENDPOINT_URL", "http://me:pass@127.0.0.1:9")
    return f"s3://{storage.bucket}/x"


ERRORS: dict[str, tuple[Wrong, str, str]] = {
    "no bucket": (lambda *_: "s3://no-such-bucket/x", "path-missing", "there is no bucket s3://no-such-bucket"),
    "no key": (lambda s, _: f"s3://{s.bucket}/nothing/", "path-missing", "there is nothing at"),
    "no archive": (lambda s, _: f"s3://{s.bucket}/set.zip", "path-missing", "there is nothing at"),
    "no shard": (lambda s, _: f"s3://{s.bucket}/set-{{0..1}}.tar", "path-missing", "there is no s3://"),
    "no table": (lambda s, _: f"s3://{s.bucket}/train.csv", "path-missing", "there is nothing at"),
    "another file": (lambda s, _: f"s3://{s.bucket}/data.yaml", "unknown-source", "no kind of file"),
    "password": (lambda *_: "s3://me:pass@bucket/x", "bad-address", "names no bucket"),
    "no credentials": (no_credentials, "no-credentials", "there are no credentials for"),
    "refused": (refused, "download-failed", "after 5 attempts"),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_errors_are_one_message_without_secrets(
    name: str, storage: Storage, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    wrong, code, text = ERRORS[name]
    with pytest.raises(BeholderError, match=text) as caught:
        read(wrong(storage, monkeypatch))
    said = str(caught.value)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)
    assert not {"pass", "not-a-secret", "testing"} & set(said.replace("@", " ").replace(":", " ").split())


def test_what_is_forbidden_ends_the_run(storage: Storage, front: Front, leaves: Path, cache: Path) -> None:
    found = read(storage.put(leaves, "leaves"))
    front.troubles = [403]
    with pytest.raises(BeholderError, match="forbidden") as caught:
        found.store.read(found.keys[0])
    assert (caught.value.code, isinstance(caught.value, PictureError)) == ("forbidden", False)


@pytest.mark.parametrize("trouble", [500, 503, "cut"])
def test_troubles_are_tried_again(trouble: int | str, storage: Storage, front: Front, leaves: Path, cache: Path) -> None:
    found = read(storage.put(leaves, "leaves"))
    front.troubles = [trouble] * 3
    with events.listen(alone=True):
        assert found.store.read(found.keys[0]) == (leaves / found.keys[0]).read_bytes()
        assert not front.troubles
        front.troubles = [trouble] * 5
        with pytest.raises(BeholderError, match="after 5 attempts") as caught:
            found.store.read(found.keys[1])
    assert caught.value.code == "download-failed"


def test_an_object_that_changed_after_the_listing_is_refused(
    storage: Storage, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    found = read(storage.put(leaves, "leaves"))
    old = (leaves / found.keys[0]).read_bytes()
    storage.write(f"leaves/{found.keys[0]}", bytes(len(old)))
    storage.client.rm(f"{storage.bucket}/leaves/{found.keys[1]}")
    for key in found.keys[:2]:
        with pytest.raises(PictureError) as caught:
            found.store.read(key)
        assert caught.value.code == "changed"
    url = storage.put(samples(tmp_path / "tars", leaves, tars=1), "tars")
    tars = read(url)
    shutil.rmtree(cache / "objects")
    storage.write("tars/set-0000.tar", bytes(len((tmp_path / "tars/set-0000.tar").read_bytes())))
    with pytest.raises(PictureError):
        tars.store.read(tars.keys[0])


def test_runs_are_cut_at_gaps_and_at_their_length() -> None:
    spans = [(0, 10, "a"), (20, 10, "b"), (buckets.GAP + 31, 10, "c"), (buckets.RUN * 3, 5, "d"), (buckets.RUN * 4, 5, "e")]
    assert [[address for *_, address in run] for run in buckets._runs(spans)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_each_rank_reads_its_own_tars_and_all_of_them_read_all(
    storage: Storage, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    found = read(storage.put(samples(tmp_path / "tars", leaves, tars=7), "tars"))
    told = buckets.tars_of(found)
    assert told is not None
    units, tars = told
    assert [tar.name.rpartition("/")[2] for tar in tars] == [f"set-{k:04}.tar" for k in range(7)]
    assert [found.keys[row].partition("/")[0] for row in range(36)] == [f"set-{unit:04}.tar" for unit in units]
    for world in (1, 2, 3, 7):
        shares = [buckets.share(found, Ranks(rank, world)) for rank in range(world)]
        assert sorted(np.concatenate(shares).tolist()) == list(range(36))
        touched = [set(units[rows].tolist()) for rows in shares]
        assert sum(map(len, touched)) == len(set.union(*touched)) == 7
    assert buckets.tars_of(scan(leaves)) is None
    assert sorted(np.concatenate([buckets.share(scan(leaves), Ranks(k, 5)) for k in range(5)]).tolist()) == list(range(36))


HOW: dict[str, Any] = {"net": "cnn", "epochs": 2, "batch": 8, "precision": "fp32", "seed": 1}


def weights(pictures: Pictures, out: Path) -> dict[str, Any]:
    with events.listen(alone=True):
        beholder.train(beholder.split(pictures, seed=0), out=out, **HOW)
    return load_file(out / "model.safetensors")


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_audit_and_training_from_storage_are_those_of_the_local_copy(
    storage: Storage, leaves: Path, tmp_path: Path, cache: Path
) -> None:
    shutil.copy(leaves / "rust" / "00.png", leaves / "healthy" / "again.png")  # a duplicate in another class
    url = storage.put(leaves, "leaves")
    with events.listen(alone=True):
        local = beholder.audit(beholder.scan(leaves))
        beholder.cache(tmp_path / "other")
        far = beholder.audit(url, allow_download=True)
    assert far.rows == local.rows
    assert {"conflict"} <= {row.check for row in far.rows}
    assert equal(weights(read(url), tmp_path / "far.beholder"), weights(scan(leaves), tmp_path / "near.beholder"))


@pytest.mark.slow
def test_a_set_larger_than_the_cache_is_learnt_from_tars_as_from_the_local_copy(
    storage: Storage, leaves: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = samples(tmp_path / "tars", leaves, tars=6)
    near = weights(scan(local), tmp_path / "near.beholder")
    url = storage.put(local, "tars")
    limit = 40_000
    monkeypatch.setenv("BEHOLDER_ROOM", str(limit / 2**30))
    folder = beholder.cache(tmp_path / "small")
    assert equal(weights(read(url), tmp_path / "far.beholder"), near)
    for kind in ("objects", "pixels"):
        assert 0 < sum(file.stat().st_size for file in (folder / kind).rglob("*") if file.is_file()) < limit + 2000


def test_pixels_are_never_of_another_version_than_the_digest(storage: Storage, leaves: Path, cache: Path) -> None:
    found = digested(read(storage.put(leaves, "leaves")))
    shutil.rmtree(cache / "objects")
    storage.write(f"leaves/{found.keys[0]}", (leaves / found.keys[20]).read_bytes())
    with events.listen(alone=True):
        pixels = cached(found, PixelPolicy(height=20, width=24))
    assert [(bad.key, bad.code) for bad in pixels.bad] == [(found.keys[0], "changed")]
    assert len(pixels) == 35
