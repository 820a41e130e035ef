"""The rule of a search, with trainers that are formulas: what is tried in which order, the budget, and what a kill costs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from beholder.base.errors import MachineError, UsageError
from beholder.study.search import LOST, Book, Job, Plan, Single, Slice, sampler, searched
from beholder.study.space import Range

SPACE = {"train.lr": Range(0.2, 5.0, log=True), "data.augment": Range(choices=("light", "strong"), usual="light")}
FIRST = [{"train.lr": 1.0, "data.augment": "light"}, {"train.lr": 3.0, "data.augment": "strong"}]


def book(path: Path | str | None = None, *, portfolio: Any = FIRST, seed: int = 0, anew: bool = False) -> Book:
    return Book(path, "a study", space=SPACE, seed=seed, portfolio=portfolio, anew=anew)


def plan(trials: int, *, keep: int = 2, narrow: float = 3.0) -> Plan:
    return Plan(1.0, narrow, keep, True, lambda begun: begun >= trials)


class Trainer:
    """A trainer by formula: the nearer the rate is to 2, the better, and better after more epochs; it counts what it spends."""

    def __init__(self, fail: dict[int, str] | None = None, die: int = -1) -> None:
        self.jobs: list[Job] = []
        self.fail, self.die = fail or {}, die
        self.at: dict[int, float] = {}

    def __call__(self, job: Job) -> Slice:
        if len(self.jobs) == self.die:
            raise KeyboardInterrupt
        self.jobs.append(job)
        if job.index in self.fail:
            return Slice(failed=self.fail[job.index])
        spent = job.epochs - self.at.get(job.index, 0.0)
        self.at[job.index] = job.epochs
        score = 0.9 - 0.1 * abs(float(job.recipe) - 2) - 0.3 / (1 + job.epochs)
        return Slice(score=score, cost=spent, curve=((job.epochs, score),), facts={"recipe": job.recipe, "parameters": 7})


def go(held: Book, trainer: Trainer, how: Plan) -> Any:
    told: list[int] = []
    made = lambda params: (str(params["train.lr"]), {})  # noqa: E731
    return searched(held, Single(trainer), how, make=made, told=lambda each: told.append(each.index))


def test_the_portfolio_comes_first_and_the_best_few_go_on_from_where_they_were() -> None:
    held, trainer = book(), Trainer()
    winner = go(held, trainer, plan(6))
    screened, continued = trainer.jobs[:6], trainer.jobs[6:]
    assert [job.index for job in screened] == list(range(6))
    assert [float(job.recipe) for job in screened[:2]] == [1.0, 3.0]
    assert all(0.2 <= float(job.recipe) <= 5.0 for job in screened)
    assert [job.rung for job in continued] == [1, 1]
    best = sorted(range(6), key=lambda k: abs(float(screened[k].recipe) - 2))[:2]
    assert [job.index for job in continued] == best
    assert all(job.epochs == 3.0 for job in continued)
    assert winner.index == best[0]
    assert held.ranked[0] == winner
    assert [len(each.slices) for each in held.ranked] == [2, 2, 1, 1, 1, 1]


def test_the_budget_of_the_search_is_kept_to_the_slice() -> None:
    trainer = Trainer()
    go(book(), trainer, plan(9, keep=3, narrow=2.0))
    assert sum(1.0 for job in trainer.jobs if not job.rung) == 9
    assert sum(trainer.at.values()) == 9 + 3 * (2.0 - 1.0)


def test_what_fails_is_recorded_with_its_reason_and_the_rest_goes_on() -> None:
    held, trainer = book(), Trainer({0: "diverged: the loss became nan", 2: "out of memory"})
    winner = go(held, trainer, plan(5))
    failed = {each.index: each.slices[-1].failed for each in held.candidates if each.state == "failed"}
    assert failed == {0: "diverged: the loss became nan", 2: "out of memory"}
    assert winner.index not in failed
    assert len(held.candidates) == 5
    assert go(book(), Trainer(dict.fromkeys(range(3), "no")), plan(3)) is None


def test_one_that_fails_when_it_goes_on_does_not_win() -> None:
    class Breaking(Trainer):
        def __call__(self, job: Job) -> Slice:
            return Slice(failed="crashed") if job.rung and job.index == 1 else super().__call__(job)

    held = book(portfolio=[{"train.lr": value, "data.augment": "light"} for value in (1.0, 2.0, 4.0)])
    assert go(held, Breaking(), plan(3)).index == 0


def test_equal_scores_go_to_the_smaller_model() -> None:
    def work(job: Job) -> Slice:
        return Slice(score=0.5, facts={"recipe": job.recipe, "parameters": 10 - job.index})

    held = book()
    made = lambda params: (str(params["train.lr"]), {})  # noqa: E731
    winner = searched(held, Single(work), plan(4, narrow=0.0), make=made, told=lambda _: None)
    assert winner is not None
    assert winner.index == 3


@pytest.mark.parametrize("die", range(8))
def test_killed_at_any_slice_the_study_comes_to_the_same_end(die: int, tmp_path: Path) -> None:
    whole = book()
    wanted = go(whole, Trainer(), plan(6))
    path = tmp_path / "m.tune.jsonl"
    first = Trainer(die=die)
    with pytest.raises(KeyboardInterrupt):
        go(book(path), first, plan(6))
    with path.open("ab") as file:
        file.write(b'{"op_code": 5, "wor')  # the line that the kill tore
    held, second = book(path), Trainer()
    second.at = first.at
    winner = go(held, second, plan(6))
    assert len(first.jobs) + len(second.jobs) == 8, "only the slice that was running is done again"
    assert (winner.index, winner.params, winner.score) == (wanted.index, wanted.params, wanted.score)
    assert [each.params for each in held.candidates] == [each.params for each in whole.candidates]


def test_killed_between_any_two_lines_of_the_journal_the_study_comes_to_the_same_end(tmp_path: Path) -> None:
    def scored(held: Book) -> Any:
        return [(each.params, each.state, [slice.score for slice in each.slices]) for each in held.candidates]

    whole = book(tmp_path / "whole.tune.jsonl")
    go(whole, Trainer(), plan(3))
    lines = (tmp_path / "whole.tune.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 20
    for kept in range(len(lines)):
        path = tmp_path / f"{kept}.tune.jsonl"
        path.write_bytes(b"".join(lines[:kept]))
        held = book(path)
        go(held, Trainer(), plan(3))
        assert scored(held) == scored(whole), lines[kept]


def test_what_was_cut_while_it_was_asked_for_does_not_count_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    for _ in range(3):
        assert book(path).ask() == (0, FIRST[0])
        lines = path.read_bytes().splitlines(keepends=True)
        last = max(number for number, line in enumerate(lines) if b"param_name" in line)
        path.write_bytes(b"".join(lines[:last]))


def test_who_asks_to_stop_loses_no_candidate_however_often(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    for _ in range(3):
        held = book(path)
        assert held.ask() == (0, FIRST[0])
        held.leave()
    for _ in range(2):
        held = book(path)
        assert held.ask()[0] == 0
    assert book(path).candidates[0].slices[0].failed == f"twice, {LOST}"


def test_what_ends_the_process_twice_is_recorded_as_that(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    for _ in range(2):
        held = book(path)
        assert held.ask()[0] == 0
    held = book(path)
    assert held.candidates[0].slices[0].failed == f"twice, {LOST}"
    assert held.ask()[0] == 1


def test_a_result_that_was_written_but_not_told_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    held = book(path)
    index, _ = held.ask()
    held._open[index].set_user_attr("slice", {"score": 0.7, "facts": {"recipe": "1"}})
    assert [each.score for each in book(path).candidates] == [0.7]


def test_draws_depend_on_seed_and_number_alone_and_improve() -> None:
    drawn = [
        [each.params for each in play.candidates] for play in (book(), book(), book(seed=1)) if go(play, Trainer(), plan(12))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    rates = [abs(params["train.lr"] - 2) for params in drawn[0]]
    assert min(rates[2:]) < 0.5


def test_the_time_so_far_and_the_winner_in_progress_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    held = book(path)
    assert (held.spent, held.finishing) == (0.0, None)
    held.note(spent=12.5, finishing=3)
    assert (book(path).spent, book(path).finishing) == (12.5, 3)


def test_importance_is_said_of_enough_scores_only() -> None:
    held = book()
    go(held, Trainer(), plan(5))
    assert held.importance() == {}
    go(held, Trainer(), plan(24))
    found = held.importance()
    assert found.keys() == SPACE.keys()
    assert found["train.lr"] > found["data.augment"]


def test_the_sampler_has_its_arguments_whatever_the_release() -> None:
    made = sampler(5)
    assert (made._n_startup_trials, made._n_ei_candidates, made._multivariate, made._group) == (4, 24, True, False)
    assert made._constant_liar is True


def test_something_that_is_no_journal_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "m.tune.jsonl"
    path.write_text("no journal\nat all\n")
    with pytest.raises(UsageError, match="not a search"):
        book(path)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EACCES, "cannot-write")])
def test_a_disk_that_fails_is_not_a_search_to_start_anew(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("optuna.storages.journal.JournalFileBackend.append_logs", fail)
    with pytest.raises(MachineError, match=r"m\.tune\.jsonl") as caught:
        book(tmp_path / "m.tune.jsonl")
    assert caught.value.code == code
    assert "resume" not in caught.value.hint


def test_a_study_in_a_database_goes_on_to_the_end_of_one_in_a_file(tmp_path: Path) -> None:
    whole, url = book(), f"sqlite:///{tmp_path}/studies.db"
    wanted = go(whole, Trainer(), plan(6))
    first = Trainer(die=4)
    with pytest.raises(KeyboardInterrupt):
        go(book(url), first, plan(6))
    held, second = book(url), Trainer()
    second.at = first.at
    assert held.before == 4
    winner = go(held, second, plan(6))
    assert (winner.index, winner.params, winner.score) == (wanted.index, wanted.params, wanted.score)
    assert [each.params for each in held.candidates] == [each.params for each in whole.candidates]
    assert len(first.jobs) + len(second.jobs) == 8
    assert book(url, anew=True).before == 0


@pytest.mark.parametrize(
    ("url", "kind", "code"),
    [
        ("a file", UsageError, "bad-storage"),
        ("://me:hush@here/x", UsageError, "bad-storage"),
        ("oracle://me:hush@here/x", UsageError, "no-driver"),
        ("nonsense://me:hush@here/x", MachineError, "no-storage"),
        ("sqlite:////no/such/folder/x.db", MachineError, "no-storage"),
    ],
)
def test_a_database_that_cannot_be_used_is_an_error_without_its_password(url: str, kind: type, code: str) -> None:
    with pytest.raises(kind) as caught:
        book(url)
    assert caught.value.code == code
    assert "hush" not in str(caught.value)
