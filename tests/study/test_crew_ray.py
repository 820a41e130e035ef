"""Slices in tasks of a cluster, which here only pretends: what is lost is begun again, and what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base.errors import MachineError, UsageError
from beholder.base.recipe import Recipe
from beholder.machine import cluster
from beholder.machine.head import Head
from beholder.study import crew_ray, crews, worker
from beholder.study.crew_ray import Tasks, advance
from beholder.study.search import Job, Single, Slice
from beholder.study.trial import Field


class RayError(Exception):
    pass


class OutOfMemoryError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class FakeRay:
    """A cluster whose tasks are over at once. acts: what a job gives the first, second, … time: a slice, or an error"""

    def __init__(self, acts: Callable[[int, int], Any]) -> None:
        self.acts, self.options = acts, dict[str, Any]()
        self.begun: list[dict[str, Any]] = []
        self.most, self.under_way, self.waited = 0, set[int](), list[list[int]]()
        self.exceptions = SimpleNamespace(RayError=RayError, OutOfMemoryError=OutOfMemoryError, RayTaskError=RayTaskError)

    def remote(self, **options: Any) -> Any:
        self.options = options

        def begin(folder: str, token: str, job: dict[str, Any], cpus: int) -> int:
            self.begun.append(job)
            self.under_way.add(len(self.begun) - 1)
            self.most = max(self.most, len(self.under_way))
            return len(self.begun) - 1

        return lambda _: SimpleNamespace(remote=begin)

    def wait(self, refs: list[int], **_: Any) -> tuple[list[int], list[int]]:
        self.waited.append(refs)
        return refs[:1], refs[1:]

    def get(self, ref: int) -> Any:
        self.under_way.discard(ref)
        index = self.begun[ref]["index"]
        found = self.acts(index, sum(job["index"] == index for job in self.begun[: ref + 1]))
        if isinstance(found, BaseException):
            raise found
        return found


def carried_out(
    tmp_path: Path, acts: Callable[[int, int], Any], *, jobs: int = 4, count: int = 2
) -> tuple[Any, dict[int, Slice]]:
    ray, found = FakeRay(acts), dict[int, Slice]()
    held: Any = ray
    given = iter([Job(index, Recipe().toml(), {}) for index in range(jobs)])
    Tasks(held, tmp_path, 64, count).run(given, lambda one, what: found.update({one.index: what}))
    return ray, found


def good(index: int, _: int) -> dict[str, Any]:
    return {"score": index / 10}


def test_every_job_is_a_task_and_no_more_at_a_time_than_asked_for(tmp_path: Path) -> None:
    ray, found = carried_out(tmp_path, good, jobs=7, count=3)
    assert {index: what.score for index, what in found.items()} == {index: index / 10 for index in range(7)}
    assert (ray.most, len(ray.begun), ray.options["max_retries"]) == (3, 7, 0)
    assert json.loads(json.dumps(ray.begun[0])) == ray.begun[0]


def test_what_is_lost_is_begun_again_as_it_was_four_times(tmp_path: Path) -> None:
    ray, found = carried_out(tmp_path, lambda index, nth: RayError() if index == 1 and nth < 4 else good(index, nth))
    assert found[1].score == 0.1
    assert len({job["recipe"] for job in ray.begun}) == 1
    _, found = carried_out(tmp_path, lambda index, nth: RayError() if index == 1 else good(index, nth))
    assert found[1].failed == "its worker was lost (RayError), 4 times"
    assert [found[index].score for index in (0, 2, 3)] == [0.0, 0.2, 0.3]


def test_where_memory_did_not_suffice_the_batch_is_halved_once(tmp_path: Path) -> None:
    ray, found = carried_out(tmp_path, lambda index, nth: OutOfMemoryError() if nth < 2 else good(index, nth), jobs=1)
    assert found[0].score == 0.0
    assert "batch = 32" in ray.begun[1]["recipe"]
    _, found = carried_out(tmp_path, lambda *_: OutOfMemoryError(), jobs=1)
    assert found[0].failed == "its machine ran out of memory, 2 times"


def test_a_machine_that_cannot_take_part_ends_the_search_and_other_errors_the_candidate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the version"):
        carried_out(tmp_path, lambda *_: RayTaskError(UsageError("not the version", code="other-version")))
    _, found = carried_out(tmp_path, lambda *_: RayTaskError(ZeroDivisionError("by zero")), jobs=1)
    assert found[0].failed == "ZeroDivisionError: by zero"


def test_when_the_search_is_left_no_task_stays(tmp_path: Path) -> None:
    ray: Any = FakeRay(good)

    def took(one: Job, what: Slice) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tasks(ray, tmp_path, 64, 3).run(iter([Job(index, "", {}) for index in range(9)]), took)
    assert ray.waited[-1] == [1, 2]
    assert not (tmp_path / crew_ray.TOKEN).exists()


def test_a_search_whose_cluster_is_lost_ends_and_its_tasks_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray: Any = FakeRay(good)
    monkeypatch.setattr(cluster, "_heads", [Head(lambda: "", why="another head")])
    with pytest.raises(MachineError, match="another head"):
        Tasks(ray, tmp_path, 64, 3).run(iter([Job(0, "", {})]), lambda *_: None)
    assert len(ray.waited) == 1
    assert not (tmp_path / crew_ray.TOKEN).exists()


def test_a_task_works_only_where_it_sees_the_file_of_whoever_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = [0.0]
    monkeypatch.setattr(crew_ray.time, "sleep", lambda seconds: at.__setitem__(0, at[0] + seconds))
    file = tmp_path / crew_ray.TOKEN
    for text in (None, "another"):
        if text:
            file.write_text(text)
        at[0] = 0.0
        with pytest.raises(UsageError, match="does not see") as caught:
            crew_ray._check_shared(file, "mine", now=lambda: at[0])
        assert caught.value.code == "not-shared"
        assert at[0] > crew_ray.SEEN
    file.write_text("mine")
    crew_ray._check_shared(file, "mine", now=lambda: at[0])
    reads: list[Path] = []
    monkeypatch.setattr(worker, "read", reads.append)
    monkeypatch.setattr(
        worker, "shared", lambda field, job, threads, memory: Slice(score=float(job.index), facts={"is": threads})
    )
    found = [advance(str(tmp_path), "mine", {"index": index, "recipe": "", "factors": {}}, 1) for index in (3, 4)]
    assert [(what["score"], what["facts"]) for what in found] == [(3.0, {"is": 1}), (4.0, {"is": 1})]
    assert reads == [tmp_path], "read once by a process"
    crew_ray._read.cache_clear()


def test_a_task_ends_once_the_search_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_ray, "LOOK", 0.01)
    file = tmp_path / crew_ray.TOKEN
    file.write_text("mine")

    def left(*_: Any) -> Slice:
        file.unlink()
        for _ in range(1000):
            crew_ray.time.sleep(0.01)
        return Slice(score=1.0)

    monkeypatch.setattr(worker, "read", lambda folder: None)
    monkeypatch.setattr(worker, "shared", left)
    assert advance(str(tmp_path), "mine", {"index": 0, "recipe": "", "factors": {}}, 1)["failed"] == "the search was left"
    crew_ray._read.cache_clear()
    monkeypatch.setattr(crew_ray, "SEEN", 0.02)
    with pytest.raises(UsageError, match="does not see"):
        advance(str(tmp_path), "mine", {"index": 0, "recipe": "", "factors": {}}, 1)


def test_a_disk_that_does_not_answer_ends_no_task(tmp_path: Path) -> None:
    file = tmp_path / "a" / crew_ray.TOKEN
    assert crew_ray._holds(file, "mine") is False
    file.parent.write_text("no folder: another error than that the file is missing")
    assert crew_ray._holds(file, "mine") is None
    file.parent.unlink()
    file.parent.mkdir()
    for text, held in (("mine", True), ("another", False)):
        file.write_text(text)
        assert crew_ray._holds(file, "mine") is held


def test_where_trials_are_carried_out_is_said_once(tmp_path: Path) -> None:
    assert [(where.kind, where.count) for where in (crews.where(1, ""), crews.where(3, ""), crews.where(1, "ray:5"))] == [
        ("local", 1),
        ("local", 3),
        ("ray", 5),
    ]
    assert crews.where(1, "local:3") == crews.where(3, "")
    for code, asked in {
        "two-launches": (2, "ray", False),
        "bad-launch": (1, "mars", False),
        "join-cluster": (1, "ray", True),
    }.items():
        with pytest.raises(UsageError) as caught:
            crews.where(asked[0], asked[1], join=asked[2])
        assert caught.value.code == code


def test_others_can_join_what_is_kept_alone(tmp_path: Path, leaves: Path) -> None:
    on: Any = Field(None, tmp_path)  # type: ignore[arg-type]
    for kept in (True, False):
        with crews.crew(on, crews.where(1, ""), batch=8, offer=lambda: None, kept=kept) as among:
            assert isinstance(among, Single) is not kept
