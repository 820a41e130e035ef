"""The verb `tune`: search for a better recipe on the validation part, then train and test the winner once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import BeholderError, Interrupted, UsageError
from beholder.base.files import sha256, telling_disk_errors
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures
from beholder.data.digest import digested
from beholder.learn.checkpoint import check_out
from beholder.learn.prepare import prepare
from beholder.learn.train import train
from beholder.learn.watch import NotFiniteError
from beholder.machine.stop import terminating
from beholder.study.space import defaults, suggest
from beholder.study.steps import Outcome, preprocess, train_and_test

SEARCH_SHARE = 0.6
"""Share of the minutes that the search gets; the rest trains the winner."""

PLANNED_TRIALS = 8
"""How many trials share the search's minutes where no number is asked for."""


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search found: one row per trial, the best recipe, and the outcome of training it."""

    trials: list[dict[str, Any]]
    recipe: Recipe
    outcome: Outcome
    database: Path | None

    def rows(self) -> list[dict[str, Any]]:
        """Return the trials as a table, the best first."""
        return sorted(
            self.trials, key=lambda row: -math.inf if row["valid_score"] is None else row["valid_score"], reverse=True
        )

    def json(self) -> dict[str, Any]:
        """Return what `train` returns, and "trials"."""
        return {**self.outcome.json(), "trials": self.rows()}

    def __str__(self) -> str:
        return f"\nthe winner, trained for the rest of the time:\n{self.outcome}"


def tune(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    minutes: float,
    recipe: Recipe | str = "quick",
    trials: int = 0,
    out: Path | None = None,
    resume: bool = True,
    allow_download: bool = False,
) -> Tuning:
    """Search learning rate, weight decay, augmentation strength and width for `minutes`, then train and test the winner.

    source: what `scan` takes, or Pictures; trials: stop the search after so many (0: as many as the minutes allow).
    allow_download: fetch a source that is not on this machine
    With `out` = M.beholder the trials are kept in M.tune.sqlite, from which a later call goes on unless `resume` is False.
    Raises `UsageError` for minutes that are not above 0, and what `train` raises.
    """
    if not minutes > 0:
        raise UsageError(f"tune cannot search for {minutes:g} minutes", code="bad-minutes", hint="give --minutes above 0")
    began = time.monotonic()
    asked = recipe if isinstance(recipe, Recipe) else load(recipe)
    if out is not None:
        check_out(out)
    found = preprocess(source, asked, allow_download=allow_download)
    parts = found.parts
    prepared = prepare(parts, asked)
    around = {**prepared.plan.json(), "width": prepared.recipe.net.width}
    database = out.with_suffix(".tune.sqlite") if out is not None else None
    study = _study(database, parts, asked, around, resume=resume)
    each = minutes * SEARCH_SHARE / (trials or PLANNED_TRIALS)
    with terminating(), _kept(study, database):
        while not _enough(study, trials, spent=(time.monotonic() - began) / 60, each=each, most=minutes * SEARCH_SHARE):
            _try(study, parts, asked, around, minutes=each)
        best = _best(study, asked, around)
        left = max(0.2 * minutes, minutes - (time.monotonic() - began) / 60)
        outcome = train_and_test(found, best.set(minutes=left), out=out)
    return Tuning([_row(trial) for trial in study.get_trials()], best, outcome, database)


@contextmanager
def _kept(study: Any, database: Path | None) -> Iterator[None]:
    """Say of an interruption inside the block what is kept of the search, and how to go on with it."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stopped:
        said = stopped.message if isinstance(stopped, Interrupted) else "interrupted"
        done = len([trial for trial in study.get_trials(deepcopy=False) if trial.value is not None])
        trials = "1 finished trial is" if done == 1 else f"{done} finished trials are"
        kept = f"{trials} kept in {database}" if database else "nothing is kept of the search"
        hint = "run again with --resume to go on with the search" if database else "give out= (--out) to have the trials saved"
        code = stopped.exit_code if isinstance(stopped, Interrupted) else Interrupted.exit_code
        raise Interrupted(f"{said}; {kept}", hint=hint, exit_code=code) from stopped


def _best(study: Any, asked: Recipe, around: Mapping[str, Any]) -> Recipe:
    """Return the recipe of the best trial, and say which it is. Raises `BeholderError` (no-trial)."""
    scored = [trial for trial in study.get_trials() if trial.value is not None]
    if not scored:
        raise BeholderError("no trial came to a score", code="no-trial", hint="give more --minutes, or a lower --set train.lr")
    events.note(f"best of {len(scored)} trials, number {study.best_trial.number + 1}: {_words(study.best_trial.params)}")
    return suggest(study.best_trial, asked, around)


def _enough(study: Any, trials: int, *, spent: float, each: float, most: float) -> bool:
    done = len([trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()])
    return done >= trials if trials else done > 0 and spent + 0.7 * each > most


def _try(study: Any, parts: Parts, asked: Recipe, around: Mapping[str, Any], *, minutes: float) -> None:
    """Run one trial: train for `minutes` and record the best validation score; a run that diverges is a failed trial."""
    from optuna.trial import TrialState

    trial = study.ask()
    wanted = suggest(trial, asked, around).set(minutes=minutes, probe=False)
    try:
        with events.listen(alone=True):
            bundle = train(parts, recipe=wanted)
    except NotFiniteError as error:
        study.tell(trial, state=TrialState.FAIL)
        events.warn(f"trial {trial.number + 1} diverged: {error.message}")
        return
    except (Interrupted, KeyboardInterrupt) as stopped:
        study.tell(trial, state=TrialState.FAIL)
        code = stopped.exit_code if isinstance(stopped, Interrupted) else Interrupted.exit_code
        raise Interrupted(f"interrupted in trial {trial.number + 1}", exit_code=code) from stopped
    reached = bundle.config["valid_score"]
    trial.set_user_attr("seconds", bundle.config["seconds"])
    if reached is None:
        study.tell(trial, state=TrialState.FAIL)
        return
    study.tell(trial, reached)
    events.note(f"trial {trial.number + 1}: validation score {reached:.4f} ({_words(trial.params)})")


def _study(database: Path | None, parts: Parts, asked: Recipe, around: Mapping[str, Any], *, resume: bool) -> Any:
    """Return the search of these pictures and this recipe: continued where `database` holds one, else new."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    digests = digested(parts.train).digests
    name = sha256((asked.toml() + (digests.tobytes().hex() if digests is not None else "")).encode())[:16]
    storage = None
    if database is not None:
        if not resume:
            database.unlink(missing_ok=True)
        with telling_disk_errors(database):
            database.parent.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{database}"
    try:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    except Exception as error:
        raise UsageError(
            f"{database} is not a search that can be continued: {error}",
            code="bad-search",
            hint="give --no-resume to start anew",
        ) from error
    before = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=asked.seed + before, n_startup_trials=4)  # not the same draws again
    if before:
        events.note(f"continuing a search of {before} trials in {database}")
    else:
        study.enqueue_trial(defaults(around))
    return study


def _row(trial: Any) -> dict[str, Any]:
    return {
        "trial": trial.number + 1,
        "valid_score": trial.value,
        "state": trial.state.name.lower(),
        **{name: float(f"{value:.4g}") for name, value in trial.params.items()},
        "seconds": trial.user_attrs.get("seconds"),
    }


def _words(params: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in params.items())
