"""Very many pictures in ranges, here a few: one row a picture, whatever dies; the answers are those of a run without ranges."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests import detectors

import beholder
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.locks import alone
from beholder.cli.run import run
from beholder.duplicates.facts import FACTS, fingerprinted
from beholder.study import columns, ranges
from beholder.study import plan as plans
from beholder.study.columns import read_facts
from beholder.study.listed import listed
from beholder.study.measured import facts_parts, measured
from beholder.study.plan import Plan
from beholder.study.ranges import InParts, predict_parts


@pytest.fixture(scope="module")
def source(small: tuple[Path, Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pictures, one of which is none, and one that is cut off."""
    folder = tmp_path_factory.mktemp("ranges") / "leaves"
    shutil.copytree(small[0], folder)
    (folder / "rust" / "05.png").write_bytes(b"nonsense")
    whole = (folder / "mildew" / "07.png").read_bytes()
    (folder / "mildew" / "07.png").write_bytes(whole[: len(whole) // 3])
    return folder


@pytest.fixture(scope="module")
def plain(small: tuple[Path, Path, Any], source: Path) -> list[dict[str, Any]]:
    return list(beholder.predict(small[1], source))


def rows(found: InParts) -> list[dict[str, Any]]:
    assert [path.name for path in found.files] == sorted(path.name for path in found.folder.glob("part-*.parquet"))
    assert not list(found.folder.glob(".*"))
    return pa.concat_tables(pq.read_table(path) for path in found.files).to_pylist()


NUMBERS = {"p", "ood_score", "probabilities"}


def same(found: InParts, plain: list[dict[str, Any]], *, close: float = 1e-6) -> None:
    """Compare rows with lines. close: by how much numbers may differ, which come from other batches or threads perhaps."""
    given = rows(found)
    assert [row["row"] for row in given] == list(range(len(plain)))
    for row, line in zip(given, plain, strict=True):
        told = {**line, **_error(line)}
        if "probabilities" in told:
            told["probabilities"] = list(told["probabilities"].values())
        for name in set(row) - {"row"}:
            value = list(told[name]) if name == "set" and name in told else told.get(name)
            assert row[name] == (pytest.approx(value, abs=close) if name in NUMBERS and value is not None else value), name


def _error(line: dict[str, Any]) -> dict[str, Any]:
    error = line.get("error", {})
    return {"error_code": error.get("code"), "error": error.get("message")}


def test_rows_are_the_lines_of_a_run_without_ranges(small: Any, source: Path, plain: Any, tmp_path: Path) -> None:
    found = predict_parts(small[1], source, tmp_path / "parts")
    assert (len(found.files), found.pictures, found.answered) == (2, 36, 34)
    assert found.errors == {"not-a-picture": 1, "truncated": 1}
    same(found, plain, close=0)
    assert str(found).startswith("36 pictures: 34 answered, 2 with errors (")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_processes_give_the_same_rows(count: int, small: Any, source: Path, plain: Any, tmp_path: Path) -> None:
    same(predict_parts(small[1], source, tmp_path / "parts", launch=f"local:{count}"), plain)


def test_it_goes_on_with_what_is_not_whole(small: Any, source: Path, plain: Any, tmp_path: Path) -> None:
    found = predict_parts(small[1], source, tmp_path / "parts", ranges=6)
    before = {path: path.stat().st_mtime_ns for path in found.files}
    found.files[1].unlink()
    found.files[2].write_bytes(found.files[2].read_bytes()[:-100])
    shutil.copy(found.files[0], found.files[3])  # of another range
    (found.folder / ".part-00001-of-00006.parquet.elsewhere.77.abcd.tmp").write_bytes(b"half")
    again = predict_parts(small[1], source, tmp_path / "parts")
    same(again, plain)
    assert [path.stat().st_mtime_ns == before[path] for path in again.files] == [True, False, False, False, True, True]
    whole = predict_parts(small[1], source, tmp_path / "parts")
    assert [path.stat().st_mtime_ns for path in whole.files] == [path.stat().st_mtime_ns for path in again.files]


def test_something_else_in_the_same_folder_is_refused(small: Any, source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    parts, model = tmp_path / "parts", small[1]
    predict_parts(model, source, parts, ranges=2)
    other = shutil.copytree(model, tmp_path / "other.beholder")
    changed = json.loads((other / "config.json").read_text())
    del changed["seal"]
    from beholder.bundle.format import _sealed

    (other / "config.json").write_bytes(_sealed({**changed, "created": "2001-01-01T00:00:00+00:00"}))

    def refused(words: str, *given: Any, **more: Any) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            predict_parts(*given, **more)
        assert caught.value.code == "other-plan"

    refused("begun with other model", other, source, parts)
    refused("begun with other features", model, source, parts, features=True)
    refused("begun with other ranges", model, source, parts, ranges=3)
    refused("other source: 36 pictures then, 12 now", model, source / "rust", parts)
    refused("other engine", model, source, parts, engine="fast")
    monkeypatch.setattr(plans, "versions", lambda: {"beholder": "9.9"})
    refused("other versions: beholder .*, now 9.9", model, source, parts)


def test_a_moved_model_is_the_same_one(small: Any, source: Path, plain: Any, tmp_path: Path) -> None:
    first = shutil.copytree(small[1], tmp_path / "first.beholder")
    found = predict_parts(first, source, tmp_path / "parts", ranges=3)
    first.rename(tmp_path / "second.beholder")
    found.files[1].unlink()
    same(predict_parts(tmp_path / "second.beholder", source, tmp_path / "parts"), plain)


def test_two_at_once_are_refused(small: Any, source: Path, tmp_path: Path) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with alone(tmp_path / "parts"):
            held.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        with pytest.raises(UsageError, match="another run") as caught:
            predict_parts(small[1], source, tmp_path / "parts")
        assert (caught.value.code, "--out" in caught.value.hint) == ("in-use", False)
    finally:
        over.set()
        thread.join()


def test_other_files_are_left_alone(small: Any, source: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        predict_parts(small[1], source, tmp_path / "parts")
    (tmp_path / "parts" / "plan.json").write_text('{"kind": "labels", "of": "another version"}')
    with pytest.raises(DataError, match="is no plan"):
        predict_parts(small[1], source, tmp_path / "parts")


def test_features_are_those_of_the_net(small: Any, source: Path, tmp_path: Path) -> None:
    _, model, bundle = small
    found = predict_parts(model, source, tmp_path / "parts", features=True, ranges=3)
    table = pq.read_table(found.files[0])
    column = table.schema.field("features")
    assert column.metadata == {
        b"net": b"cnn",
        b"weights": beholder.load(model).config.files["model.safetensors"].sha256.encode(),
    }
    keys = [row["path"] for row in table.to_pylist()]
    images = np.stack([bundle.pixels(key) for key in keys])
    assert np.array_equal(np.array(table["features"].to_pylist(), np.float32), bundle.outputs(images)[1])
    bad = [row for row in rows(found) if row["error_code"]]
    assert [row["features"] for row in bad] == [None, None]


def test_sources_of_any_kind(small: Any, tmp_path: Path) -> None:
    folder, model, _ = small
    with zipfile.ZipFile(tmp_path / "leaves.zip", "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(folder))
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path},x{n % 2}\n" for n, path in enumerate(sorted(folder.rglob("*.png"))))
    )
    same(
        predict_parts(model, tmp_path / "leaves.zip", tmp_path / "zip"), list(beholder.predict(model, tmp_path / "leaves.zip"))
    )
    mixed = [folder / "rust", folder / "mildew" / "00.png", tmp_path / "gone.png"]
    same(predict_parts(model, mixed, tmp_path / "mixed"), list(beholder.predict(model, mixed)))
    found = rows(predict_parts(model, tmp_path / "labels.csv", tmp_path / "csv"))
    assert {row["path"] for row in found} == {str(path) for path in folder.rglob("*.png")}
    with pytest.raises(UsageError, match="an archive among other paths"):
        predict_parts(model, [folder, tmp_path / "leaves.zip"], tmp_path / "two")
    with pytest.raises(UsageError, match="there is no"):
        predict_parts(model, tmp_path / "nowhere", tmp_path / "none")


def test_what_has_no_path_is_refused(small: Any, tmp_path: Path) -> None:
    source, model, bundle = small
    with pytest.raises(UsageError, match="Bundle is no path of a model"):
        predict_parts(bundle, source, tmp_path / "parts")
    with pytest.raises(UsageError, match="other processes cannot read arrays"):
        predict_parts(model, beholder.scan(np.zeros((4, 8, 8), np.uint8), labels=False), tmp_path / "parts")
    with pytest.raises(UsageError, match="are made of paths, not of int"):
        predict_parts(model, [3], tmp_path / "parts")  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())
    pictures = beholder.scan(source)
    same(predict_parts(model, pictures, tmp_path / "parts"), list(beholder.predict(model, source)), close=0)


def test_names_that_are_no_text_are_rows_too(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    picture = (small[0] / "rust" / "00.png").read_bytes()
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))).write_bytes(picture)
    (folder / "größe.png").write_bytes(picture)
    found = rows(predict_parts(small[1], folder, tmp_path / "parts"))
    assert [Path(row["path"]).name for row in found] == ["größe.png", "café.png"] or len(found) == 2
    assert all(row["label"] for row in found)


def test_a_detector_has_boxes(small: Any, tmp_path: Path) -> None:
    model = detectors.saved(tmp_path / "d.beholder")
    found = predict_parts(model, small[0] / "rust", tmp_path / "parts", threshold=0.05, ranges=2)
    told = list(beholder.predict(model, small[0] / "rust", threshold=0.05))
    for row, line in zip(rows(found), told, strict=True):
        assert {name: row[name] for name in ("path", "width", "height", "boxes")} == line
    assert any(line["boxes"] for line in told)
    with pytest.raises(UsageError, match="features are for models of labels"):
        predict_parts(model, small[0], tmp_path / "more", features=True)
    with pytest.raises(UsageError, match="threshold and most are for detectors"):
        predict_parts(small[1], small[0], tmp_path / "more", most=3)


def test_without_pyarrow_that_is_said(small: Any, source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        predict_parts(small[1], source, tmp_path / "parts")
    assert (caught.value.code, caught.value.hint) == ("no-pyarrow", 'pip install "beholder[hf]"')


def test_ranges_that_were_given_up_are_told_and_come_next_time(
    small: Any, source: Path, plain: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    real = ranges.WORK
    monkeypatch.setattr(ranges, "WORK", "tests.study.test_ranges:_fails_at_one")
    with pytest.raises(MachineError, match=r"1 of 4 ranges were given up: range 1: ValueError: odd, after 3 tries") as caught:
        predict_parts(small[1], source, tmp_path / "parts", ranges=4)
    assert caught.value.code == "ranges-failed"
    monkeypatch.setattr(ranges, "WORK", real)
    same(predict_parts(small[1], source, tmp_path / "parts"), plain)


def _fails_at_one(folder: str, index: int, threads: int) -> Any:
    from beholder.study.range_work import work

    if index == 1:
        raise ValueError("odd")
    return work(folder, index, threads)


def test_the_command_ends_with_its_counts(small: Any, source: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["predict", str(small[1]), str(source), "--parts", str(tmp_path / "parts"), "--ranges", "3"]
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("36 pictures: 34 answered, 2 with errors")
    assert run([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["pictures"], said["answered"], said["parts"], sum(said["errors"].values())) == (36, 34, 3, 2)
    assert run([*words, "--csv"]) == 2
    assert run(["predict", str(small[1]), str(source), "--launch", "local:2"]) == 2
    assert run([*words[:-4], "--parts", str(tmp_path / "more"), "--launch", "moon:2"]) == 2
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"none")
    assert run(["predict", str(small[1]), str(tmp_path / "bad"), "--parts", str(tmp_path / "none")]) == 1


# --- facts --------------------------------------------------------------------------------------------------


def deep(folder: Path) -> Path:
    """Add a 12-bit picture in a 16-bit file."""
    values = np.random.default_rng(0).integers(0, 4096, (20, 24)).astype(np.uint16)
    Image.fromarray(values).save(folder / "rust" / "deep.png")
    return folder


@pytest.mark.parametrize("launch", ["", pytest.param("local:2", marks=pytest.mark.slow)])
def test_facts_in_ranges_are_those_in_one_pass(launch: str, source: Path, tmp_path: Path) -> None:
    folder = deep(shutil.copytree(source, tmp_path / "leaves"))
    pictures = beholder.scan(folder)
    expected, wanted = fingerprinted(pictures, root=tmp_path / "cache")
    found, facts = measured(pictures, folder, tmp_path / "parts", launch=launch, ranges=3)
    assert np.array_equal(facts, wanted)
    assert found.bits == expected.bits == 12
    assert found.digests is not None
    assert np.array_equal(found.digests, expected.digests)
    done = facts_parts(pictures, folder, tmp_path / "parts", launch="", ranges=0, allow_download=False)
    assert (done.pictures, sum(done.errors.values())) == (37, 2)
    [row] = np.flatnonzero(read_facts(done.files)["height"] == 0)[-1:]
    names = pq.read_table(done.files[0]).schema.names
    assert names[:3] == ["row", "path", "digest"]
    assert row >= 0


@pytest.mark.parametrize(("mapped", "most"), [(1 << 20, 1.4), (1, 0.4)])
def test_facts_are_read_from_parts_with_little_more_than_themselves_in_memory(
    mapped: int, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, parts, rng = 40_000, 20, np.random.default_rng(0)
    facts = np.frombuffer(rng.bytes(n * FACTS.itemsize), FACTS).copy()
    for name in ("error", "format"):
        facts[name] = rng.choice([b"", b"JPEG", b"corrupt"], n)
    for name in ("light", "spread", "mode", "blur", "fine", "tint", "border", "corners"):
        facts[name] = rng.random(facts[name].shape, np.float32)
    paths = [tmp_path / f"{k:02}.parquet" for k in range(parts)]
    for path, some in zip(paths, np.split(facts, parts), strict=True):
        path.write_bytes(columns.written(columns.of_facts(some, [""] * len(some), 0), {}, named={}))
    monkeypatch.setattr(columns, "MAPPED", mapped)
    read_facts(paths[:1])
    tracemalloc.start()
    try:
        found = read_facts(paths)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tobytes() == facts.tobytes()
    assert peak < most * facts.nbytes


def test_without_room_in_the_temporary_folder_facts_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(columns, "MAPPED", 1)
    monkeypatch.setattr(columns.os, "posix_fallocate", full, raising=False)
    found = columns.room_for(5)
    found["height"] = 3
    assert (found["height"].tolist(), found.dtype) == ([3] * 5, FACTS)


def test_an_audit_from_parts_is_the_audit(source: Path, tmp_path: Path) -> None:
    source = shutil.copytree(source, tmp_path / "leaves")
    checks = ["unreadable", "duplicate", "near-duplicate", "dark", "blurred"]
    shutil.copy(source / "healthy" / "01.png", source / "healthy" / "copy.png")
    plain = beholder.audit(source, checks=checks)
    ranged = beholder.audit(source, checks=checks, parts=tmp_path / "parts", ranges=4)
    assert ranged.rows == plain.rows
    assert len(ranged.rows) >= 3
    with pytest.raises(UsageError, match="have a path"):
        beholder.audit((np.zeros((4, 8, 8), np.uint8), np.array([0, 0, 1, 1])), parts=tmp_path / "none")
    with pytest.raises(UsageError, match="launch and ranges are for parts"):
        beholder.audit(source, launch="local:2")


# --- the plan -----------------------------------------------------------------------------------------------


@given(st.integers(1, 10**9), st.integers(0, 1000))
def test_ranges_are_all_rows_once(pictures: int, asked: int) -> None:
    size = plans.size_of(pictures, asked)
    plan = Plan("labels", {}, pictures, size, "", "", "", 100)
    assert plan.within(0)[0] == 0
    assert plan.within(plan.ranges - 1)[1] == pictures
    for index in {1, plan.ranges // 2, plan.ranges - 1} - {0}:
        if index < plan.ranges:
            assert plan.within(index - 1)[1] == plan.within(index)[0] < plan.within(index)[1]
    assert plan.ranges <= asked if asked else (size % 32 == 0 and size <= plans.SIZE)


def test_many_names_take_little_memory(tmp_path: Path) -> None:
    """Some 90 bytes a name (docs/LOG.md)."""
    plans.write(tmp_path, Plan("labels", {}, 1, 32, "", "", "", 100), listed(["a.jpg"]).keys)
    assert plans.keys_of(tmp_path, 0) == ["a.jpg"]  # pyarrow is loaded now
    tracemalloc.start()
    try:
        keys = listed(f"class-{n % 100:03}/picture-{n:06}.jpg" for n in range(20_000)).keys
        plan = Plan("labels", {}, len(keys), plans.size_of(len(keys), 0), "", "", "", 100)
        plans.write(tmp_path, plan, keys)
        assert len(plans.digests(plan, keys)) == plan.ranges == 63
        assert plans.keys_of(tmp_path, plan.ranges - 1)[-1] == "class-099/picture-019999.jpg"
        assert tracemalloc.get_traced_memory()[1] < 250 * len(keys)
    finally:
        tracemalloc.stop()


def test_a_list_of_names_is_read_once_and_in_order(tmp_path: Path) -> None:
    names = iter([f"{n}.png" for n in (3, 1, 2)])
    assert list(listed(names).keys) == ["3.png", "1.png", "2.png"]
    with pytest.raises(DataError, match="there are no pictures"):
        listed([])


# --- what dies ----------------------------------------------------------------------------------------------


def started(words: list[str], cache: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "BEHOLDER_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "beholder", *words]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def grown(parts: Path, by: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until there are so many parts more, or the run is over."""
    before, until = len(list(parts.glob("part-*.parquet"))), time.monotonic() + 200
    while len(list(parts.glob("part-*.parquet"))) < before + by and running.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def gone(pid: int) -> None:
    """Wait until a process is over; whether anybody has taken its status is not asked."""
    until, place = time.monotonic() + 100, Path(f"/proc/{pid}/stat")
    while place.exists() and " Z " not in place.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == pid:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it finds the children of a process by /proc")
def test_killed_at_random_moments_it_goes_on_to_the_same_rows(small: Any, source: Path, plain: Any, tmp_path: Path) -> None:
    """First a worker is killed, then the command, then it is told to stop; each after a part more."""
    parts, moments = tmp_path / "parts", Random(0)
    words = ["predict", str(small[1]), str(source), "--parts", str(parts), "--ranges", "36", "--launch", "local:1"]
    for what in ("worker", "command", "stop"):
        running = started(words, tmp_path / "cache")
        grown(parts, 3, running)
        time.sleep(moments.uniform(0, 0.05))
        inside = children(running.pid)
        if what == "worker" and inside:
            os.kill(inside[0], signal.SIGKILL)
            grown(parts, 3, running)
        running.send_signal(signal.SIGTERM if what == "stop" else signal.SIGKILL)
        assert running.wait(60) in ({143} if what == "stop" else {-signal.SIGKILL}) | {0}
        for pid in inside:
            gone(pid)
    same(predict_parts(small[1], source, parts), plain)
