"""The verb `tune` on pictures: a real small study, what is kept of it, and what a candidate may not do."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import BeholderError, Interrupted, MachineError, UsageError
from beholder.base.files import file_sha256
from beholder.base.recipe import Recipe, from_toml, load
from beholder.learn.checkpoint import RunFolder
from beholder.learn.loop import Run
from beholder.learn.monitors import NotFiniteError
from beholder.study import trial as trials
from beholder.study.search import Candidate, Job, Slice
from beholder.study.trial import Field, Limits, advanced, amount
from beholder.study.tune import plan, tune

SHORT: dict[str, Any] = {"net": "cnn", "epochs": 4, "batch": 8, "precision": "fp32"}


def heard() -> tuple[list[events.Event], Any]:
    said: list[events.Event] = []
    return said, events.listen(said.append, alone=True)


def test_a_study_ends_with_a_tested_winner_that_is_its_checkpoint_and_goes_on_later(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.beholder"
    said, listening = heard()
    with listening:
        first = tune(leaves, minutes=5, trials=3, out=out, objective="macro_f1", **SHORT)
    bundle = beholder.load(out)
    assert len(bundle.readings) == 1
    assert bundle.config.objective == "macro_f1"
    assert [row["epoch"] for row in bundle.history] == [1, 2, 3, 4], "no epoch is trained twice"
    assert any(event.name == "resumed" and event.fields["step"] > 0 for event in said)
    assert {row["trial"] for row in first.trials} == {1, 2, 3}
    assert first.recipe.train == bundle.recipe.train
    assert first.recipe.train.lr > 0
    assert first.journal == tmp_path / "m.tune.jsonl"
    assert not list(tmp_path.glob("*.run"))
    second = tune(leaves, minutes=5, trials=4, out=out, objective="macro_f1", **SHORT)
    assert len(second.trials) == 4
    assert {"scores", "trials", "bundle", "importance"} <= json.loads(json.dumps(second.json())).keys()
    assert {"change", "seconds", "megabytes"} <= second.rows()[0].keys()
    fresh = tune(leaves, minutes=5, trials=1, out=out, resume=False, objective="macro_f1", **SHORT)
    assert len(fresh.trials) == 1


def test_killed_as_the_winner_is_handed_over_its_run_has_what_it_resumes_with(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, how = tmp_path / "m.beholder", {"minutes": 5, "trials": 1, **SHORT}

    def cut(*given: Any) -> None:
        trials.handed_over(*given)
        raise Cut

    with monkeypatch.context() as patch, suppress(Cut):
        patch.setattr("beholder.study.tune.handed_over", cut)
        tune(leaves, out=out, **how)
    run = RunFolder.beside(out)
    parts, sample = run.kept("parts"), run.kept("sample")
    assert parts is not None
    assert sample is not None
    assert (len(parts["digests"]), {name: len(rows) for name, rows in sample.items()}) == (36, {"train": 24, "valid": 6})
    assert [row["epoch"] for row in tune(leaves, out=out, **how).outcome.bundle.history] == [1, 2, 3, 4]


def test_without_a_place_nothing_is_left_behind(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    found = tune(leaves, minutes=5, trials=1, **SHORT)
    assert (found.journal, found.outcome.path) == (None, None)
    assert found.outcome.bundle.scores
    assert set(tmp_path.iterdir()) == before


def test_with_a_clock_the_slices_are_shares_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    at = [100.0]
    monkeypatch.setattr("beholder.study.tune.time.monotonic", lambda: at[0])
    book = SimpleNamespace(candidates=[])
    study: Any = SimpleNamespace(until=Deadline(400.0, lambda: at[0]), asked=load("quick"), book=book)
    found = plan(study, 0)
    assert (found.screen, found.narrow, found.keep, found.epochs) == (300 / 24, 0.15 * 300 / 3, 3, False)
    assert not found.enough(0)
    assert not found.enough(5)
    at[0] = 100 + 0.34 * 300
    assert found.enough(5)
    assert not found.late()
    book.candidates.append(Candidate(0, {}, (Slice(score=0.5, cost=60.0),), "scored"))
    assert found.late(), "a slice that takes a minute has no time any more"
    at[0] = 100.0
    assert plan(study, 3).enough(3)
    assert plan(study, 3).keep == 2


def test_with_a_clock_a_study_has_a_tested_winner(leaves: Path, tmp_path: Path) -> None:
    found = tune(leaves, minutes=0.3, net="cnn", batch=8, out=tmp_path / "m.beholder")
    assert found.trials
    assert found.outcome.evaluation.scores.n > 0
    assert found.outcome.bundle.config.search is not None


class Broken(Exception):
    pass


def made(leaves: Path, tmp_path: Path, limits: Limits | None = None, **fields: Any) -> tuple[Field, Job]:
    parts = beholder.split(beholder.scan(leaves), seed=0, near=False)
    recipe = load("quick").set(**{**SHORT, **fields})
    return Field(parts, tmp_path / "m.tune", limits or Limits()), Job(0, recipe.toml(), {"train.lr": 0.5}, epochs=1)


def test_a_slice_pauses_and_goes_on_to_the_same_weights_as_a_run_without_pauses(leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path)
    once = advanced(field, job)
    assert once.score is not None
    assert (once.done, once.facts["epochs"]) == (False, 1.0)
    assert once.facts["bytes"] == 4 * once.facts["parameters"]
    recipe = once.facts["recipe"]
    later = [advanced(field, Job(0, recipe, {"train.lr": 0.5}, 1, epochs=epochs)) for epochs in (2, 4)]
    assert [found.done for found in later] == [False, True]
    straight = advanced(Field(field.parts, tmp_path / "other"), Job(0, recipe, {}, epochs=4))
    states = [field.run_folder(0).path / "checkpoint", tmp_path / "other" / "0000.run" / "checkpoint"]
    assert file_sha256(states[0] / "state.safetensors") == file_sha256(states[1] / "state.safetensors")
    assert later[1].curve == straight.curve


def test_the_rate_is_a_factor_on_what_the_run_plans(leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path)
    slices = [
        advanced(field, Job(index, job.recipe, {"train.lr": factor}, epochs=1)) for index, factor in enumerate((1.0, 0.5))
    ]
    rates = [from_toml(found.facts["recipe"]).train.lr for found in slices]
    assert rates[1] == pytest.approx(0.5 * rates[0])


def test_a_slice_whose_result_was_lost_goes_on_from_its_checkpoint(leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path)
    once, again = advanced(field, job), advanced(field, job)
    assert (again.failed, again.score, again.curve) == ("", once.score, once.curve)
    assert again.facts["recipe"] == once.facts["recipe"]


class Cut(BaseException):
    """A kill: nothing catches it."""


def test_cut_off_after_each_checkpoint_a_study_comes_to_the_same_end(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, seen, how = Run.keep, set[tuple[Path, int]](), {"minutes": 5, "trials": 3, **SHORT}

    def cut(run: Run) -> None:
        keep(run)
        assert run.saves.folder is not None
        at = run.saves.folder.path, run.clock.step
        if at not in seen:
            seen.add(at)
            raise Cut

    wanted, found = tune(leaves, out=tmp_path / "whole.beholder", **how), None
    monkeypatch.setattr(Run, "keep", cut)
    while found is None:
        with suppress(Cut):
            found = tune(leaves, out=tmp_path / "m.beholder", **how)
    assert len({path for path, _ in seen}) >= 3, "each candidate was cut off at its end"
    known = [[(row["trial"], row["state"], row["reason"], row["valid_score"]) for row in one.trials] for one in (found, wanted)]
    assert known[0] == known[1]
    assert found.recipe == wanted.recipe
    weights = {file_sha256(tmp_path / name / "model.safetensors") for name in ("m.beholder", "whole.beholder")}
    assert len(weights) == 1


def test_what_a_candidate_says_is_kept_when_its_slice_is_cut_off_at_its_end(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(run: Run) -> None:
        keep(run)
        raise KeyboardInterrupt

    keep, (field, job) = Run.keep, made(leaves, tmp_path)
    monkeypatch.setattr(Run, "keep", cut)
    with pytest.raises(KeyboardInterrupt):
        advanced(field, job)
    monkeypatch.undo()
    assert advanced(field, job).score is not None
    assert (field.folder / "0000.heard.npz").is_file()
    assert field.taken("another search", new=True) is False
    assert [path.name for path in field.folder.iterdir()] == ["search.txt"]


def test_a_halved_batch_whose_result_was_lost_is_tried_anew(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Run.go

    def go(run: Run) -> None:
        if run.batches.batch > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        whole(run)

    monkeypatch.setattr(Run, "go", go)
    field, job = made(leaves, tmp_path, batch=16)
    once, again = advanced(field, job), advanced(field, job)
    assert (once.facts["batch"], again.facts["batch"]) == (8, 8)
    assert (again.failed, again.score, again.curve) == ("", once.score, once.curve)


@pytest.mark.parametrize("rung", [0, 1])
def test_a_candidate_whose_checkpoint_is_damaged_begins_anew(rung: int, leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path)
    once = advanced(field, job)
    (field.run_folder(0).path / "checkpoint" / "state.safetensors").write_bytes(b"torn")
    recipe = once.facts["recipe"] if rung else job.recipe
    again = advanced(field, Job(0, recipe, job.factors, rung, epochs=1))
    assert (again.failed, again.score, again.curve) == ("", once.score, once.curve)


def test_what_is_damaged_whenever_it_is_tried_fails(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go(_: Run) -> None:
        raise UsageError("the pixels of row 3 are damaged", code="damaged", hint="run again")

    monkeypatch.setattr(Run, "go", go)
    assert advanced(*made(leaves, tmp_path)).failed == "the pixels of row 3 are damaged"


def test_a_candidate_is_within_the_limits_or_not_before_it_is_trained(leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path)
    recipe = advanced(field, job).facts["recipe"]
    now = Field(field.parts, field.folder, Limits(latency=1e-9))
    assert [advanced(now, each).failed for each in (job, Job(0, recipe, {}, 1, epochs=2))] == ["", ""]
    assert "beyond the limits" in advanced(Field(field.parts, tmp_path / "other", now.limits), job).failed


def test_a_search_with_other_options_at_the_same_place_begins_anew(leaves: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "m.beholder", {"minutes": 5, "trials": 2, **SHORT}
    wanted = tune(leaves, out=tmp_path / "alone.beholder", mixup=0.1, **how)
    first = tune(leaves, out=out, **how)
    assert (tmp_path / "m.tune" / "0000.run").is_dir()
    said, listening = heard()
    with listening:
        second, third = tune(leaves, out=out, mixup=0.1, **how), tune(leaves, out=out, **how)
    assert [(row["trial"], row["valid_score"], row["reason"]) for row in second.trials] == [
        (row["trial"], row["valid_score"], "") for row in wanted.trials
    ]
    assert third.trials == first.trials
    assert sum("its checkpoints are deleted" in event.message for event in said if event.kind == "warn") == 2
    weights = [file_sha256(each / "model.safetensors") for each in (tmp_path / "alone.beholder", out)]
    assert weights[0] != weights[1]


def test_limits_that_have_changed_make_another_search(leaves: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "m.beholder", {"minutes": 5, "trials": 1, **SHORT}
    tune(leaves, out=out, **how)
    with pytest.raises(BeholderError, match="beyond the limits") as caught:
        tune(leaves, out=out, max_size="1kB", **how)
    assert caught.value.code == "no-trial"
    assert tune(leaves, out=out, **how).trials[0]["state"] == "scored"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Broken("a tap"), "Broken: a tap"),
        (BeholderError("no good", code="x"), "no good"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out of memory"),
    ],
)
def test_what_goes_wrong_in_a_candidate_is_its_reason(
    error: Exception, said: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go(_: Run) -> None:
        raise error

    monkeypatch.setattr(Run, "go", go)
    found = advanced(*made(leaves, tmp_path))
    assert found.score is None
    assert said in found.failed


def test_a_candidate_that_diverges_says_so(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go(_: Run) -> None:
        raise NotFiniteError("the loss became nan at step 3")

    monkeypatch.setattr(Run, "go", go)
    assert advanced(*made(leaves, tmp_path)).failed == "diverged: the loss became nan at step 3"


def test_the_batch_is_halved_until_memory_suffices(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, sizes = Run.go, []

    def go(run: Run) -> None:
        sizes.append(run.batches.batch)
        if run.batches.batch > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        whole(run)

    monkeypatch.setattr(Run, "go", go)
    assert advanced(*made(leaves, tmp_path, batch=20)).failed
    assert sizes == [20, 10]
    monkeypatch.setattr(trials, "LEAST_BATCH", 4)
    sizes.clear()
    found = advanced(*made(leaves, tmp_path, batch=20))
    assert sizes == [20, 10, 5]
    assert found.score is not None
    assert found.facts["batch"] == 5
    assert "batch = 5" in found.facts["recipe"]


def test_a_model_beyond_the_limits_is_not_trained_and_never_wins(leaves: Path, tmp_path: Path) -> None:
    field, job = made(leaves, tmp_path, Limits(size=1000))
    found = advanced(field, job)
    assert "MB, above 0.001 MB" in found.failed
    assert found.score is None
    assert found.facts["bytes"] > 1000
    assert not field.run_folder(0).path.exists()
    assert "ms a picture" in Limits(latency=1e-9).broken(0.5, 10)
    assert Limits(1.0, 1000).broken(0.5, 1000) == ""
    with pytest.raises(BeholderError, match="no trial came to a score: beyond the limits") as caught:
        tune(leaves, minutes=5, trials=2, max_size="1kB", **SHORT)
    assert caught.value.code == "no-trial"


def test_limits_are_said_in_the_usual_units() -> None:
    assert [amount(said, "latency") for said in ("20ms", "0.02", 0.02, "0.02 s")] == [pytest.approx(0.02)] * 4
    assert [amount(said, "size") for said in ("5 MB", "5000kB", 5e6, "5000000b")] == [5e6] * 4
    assert [amount(said, "size") for said in ("5e6", 5e6, 1e16)] == [5e6, 5e6, 1e16]
    assert amount(2e-05, "latency") == 2e-05
    for said in ("fast", "20 MB", "-1ms", "ms", "9e999", float("inf")):
        with pytest.raises(UsageError) as caught:
            amount(said, "latency")
        assert caught.value.code == "bad-limit"


@pytest.mark.parametrize(
    ("at", "said"),
    [("crews.advanced", "interrupted; 0 "), ("tune.train_and_test", "interrupted; 1 finished trial is")],
)
def test_an_interruption_says_what_is_kept(
    at: str, said: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"beholder.study.{at}", cut)
    with pytest.raises(Interrupted, match=r"kept in .*m\.tune\.jsonl") as caught:
        tune(leaves, minutes=5, trials=1, out=tmp_path / "m.beholder", **SHORT)
    assert caught.value.message.startswith(said)
    assert caught.value.exit_code == 130
    monkeypatch.undo()
    found = tune(leaves, minutes=5, trials=1, out=tmp_path / "m.beholder", **SHORT)
    assert [row["state"] for row in found.trials] == ["scored"]


def test_minutes_must_be_there_and_a_place_for_what_a_database_does_not_hold(leaves: Path) -> None:
    for minutes in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError) as caught:
            tune(leaves, minutes=minutes)
        assert caught.value.code == "bad-minutes"
    with pytest.raises(UsageError) as caught:
        tune("nowhere", minutes=1, space={"lr": 3})
    assert caught.value.code == "bad-space", "before the source is read"
    with pytest.raises(UsageError, match="no net named 'nonet'") as caught:
        tune("nowhere", minutes=1, space={"net.name": ["cnn", "nonet"]})
    assert caught.value.code == "unknown-net"
    with pytest.raises(UsageError) as caught:
        tune(leaves, minutes=1, storage="sqlite:///x.db")
    assert caught.value.code == "no-out"


def test_a_study_in_a_database_goes_on_without_a_journal(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise StorageInternalError("the server closed the connection")

    def stop(*_: object) -> Slice:
        monkeypatch.setattr(RDBStorage, "set_trial_user_attr", gone)
        return Slice(score=0.5)

    out, url = tmp_path / "m.beholder", f"sqlite:///{tmp_path}/studies.db"
    first = tune(leaves, minutes=5, trials=2, out=out, storage=url, **SHORT)
    assert (first.journal, (tmp_path / "m.tune.jsonl").exists()) == (None, False)
    monkeypatch.setattr("beholder.study.crews.advanced", stop)
    with pytest.raises(MachineError, match="does not answer") as caught:
        tune(leaves, minutes=5, trials=3, out=out, storage=url, **SHORT)
    monkeypatch.undo()
    assert caught.value.code == "no-storage"
    said, listening = heard()
    with listening:
        second = tune(leaves, minutes=5, trials=2, out=out, storage=url, **SHORT)
    assert f"continuing a search of 2 trials in {url}" in [event.message for event in said]
    assert {row["trial"]: row["valid_score"] for row in second.trials} == {
        row["trial"]: row["valid_score"] for row in first.trials
    }


def test_something_that_is_no_search_is_not_continued_and_an_earlier_release_is_named(leaves: Path, tmp_path: Path) -> None:
    (tmp_path / "m.tune.jsonl").write_text("this is no journal\nbut two lines of text\n")
    (tmp_path / "m.tune.sqlite").write_text("of an earlier release")
    said, listening = heard()
    with listening, pytest.raises(UsageError, match="not a search"):
        tune(leaves, minutes=1, recipe=Recipe().set(**SHORT), trials=1, out=tmp_path / "m.beholder")
    assert any("m.tune.sqlite is of an earlier release" in event.message for event in said if event.kind == "warn")
