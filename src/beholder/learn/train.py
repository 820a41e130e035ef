"""The verb `train`: from the three parts of a split to a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.files import followed
from beholder.base.locks import alone
from beholder.base.recipe import Recipe
from beholder.base.records import Parts
from beholder.base.spans import span
from beholder.base.used import changed
from beholder.bundle.bundle import Bundle
from beholder.bundle.config import Tried
from beholder.bundle.format import finished
from beholder.data.groups import asked_of_parts
from beholder.learn import finish
from beholder.learn.account import decided, expectation, luck_in, tried
from beholder.learn.begin import Learning, begun
from beholder.learn.budget import Budget
from beholder.learn.checkpoint import RunFolder, check_out
from beholder.learn.distil import taught_by
from beholder.learn.loop import Run
from beholder.learn.material import Beside
from beholder.learn.monitors import Best, NotFiniteError
from beholder.learn.prepare import Prepared, prepare
from beholder.learn.profile import tell_stall
from beholder.learn.resumed import before_of, parts_kept
from beholder.learn.seeds import gone, seeded
from beholder.machine.pace import restored
from beholder.machine.stop import stopping
from beholder.measure.optimism import Luck
from beholder.tasks.objectives import name_of


def train(
    parts: Parts,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    after: float = 0.0,
    again: int = 0,
    whole_run: bool = False,
    before: Sequence[Tried] = (),
    teacher: Bundle | str | Path | None = None,
    beside: Beside | None = None,
    luck: Luck | None = None,
    **fields: Any,
) -> Bundle:
    """Train a model on `parts.train`, choose its weights on `parts.valid`, and return it; `parts.test` is not read.

    recipe: a Recipe, the name of one, or the path of a TOML file; `fields` change its fields by name: net="cnn", lr=0.01,
            minutes=10 (of wall-clock time), seed=1, augment="strong", …
    out:    where to save the bundle; until it is whole its run folder lies beside it, from which `resume` continues
    began:  when the budget of `minutes` started, by `time.monotonic()`; default now; after: seconds of it for what follows the
            test; again: pictures that the net is given there
    before: what was tried to choose this recipe; luck: of a search that did; whole_run: of which the parts are, too
    teacher: a bundle, or its path, to learn from beside the labels; beside: which pictures have none (docs/UNLABELLED.md)
    Raises `UsageError` for a wrong field, `DataError` for pictures that cannot be learnt from, `Interrupted` after Ctrl-C, when
    the best so far has been saved to `out`.
    """
    began = time.monotonic() if began is None else began
    asked, beside = taught_by(_asked(recipe, fields, parts, whole_run), teacher, beside, out=out)
    folder, until = _folder(path := None if out is None else followed(Path(out))), Deadline.of(began, asked.train.minutes)
    settled = before_of(folder) if folder and resume else None
    with stopping() as stop, alone(path), restored():
        with span("prepare"):
            prepared = prepare(parts, asked, until=until, before=settled, beside=beside)
        learning = begun(prepared, parts, folder, stop, resume=resume, until=until, room=(began, after, again))
        bundle = _learnt(learning, prepared, parts, path, until=until, began=began, before=before, luck=luck)
        with stop.held():
            _saved(bundle, path, folder)
    return bundle


def _saved(bundle: Bundle, path: Path | None, folder: RunFolder | None) -> None:
    if path and folder:
        bundle.save(path)
        folder.discard()


def _asked(recipe: Recipe | str, fields: Mapping[str, Any], parts: Parts, whole_run: bool) -> Recipe:
    """Return the recipe with its fields; what has no effect on parts that are given is refused."""
    return changed(recipe, fields) if whole_run else asked_of_parts(recipe, fields, parts, verb="train")


def _learnt(
    learning: Learning,
    prepared: Prepared,
    parts: Parts,
    path: Path | None,
    *,
    until: Deadline,
    began: float,
    before: Sequence[Tried],
    luck: Luck | None,
) -> Bundle:
    """Train where there is time, and return the bundle, calibrated; what is cut short is saved to `path`."""
    run = learning.run
    events.figures("recipe", values={**prepared.recipe.flat(), **prepared.plan.flat()})
    if run.saves.folder is not None:
        run.saves.folder.decide(decided(prepared.recipe, before))
        if prepared.recipe.train.minutes:
            run.saves.folder.keep("parts", parts_kept(parts, prepared.own))
    try:
        if not learning.tempo.left_out:
            gone(run, prepared.plan.batch)
        seeds = seeded(learning, prepared, run.stop, began=began) if luck is None else []
        _tell_pace(prepared, run, learning.limits)
        prepared, floor = learning.worth(prepared)
        bare = until.none and luck is None
        chance = luck or luck_in(run.saves.folder)
        account = {"tried": tuple(before)} if bare else _account((before, seeds), learning, prepared, parts, began, chance)
        more = {"floor": floor, **account, **learning.told(prepared, parts, began)}
        bundle = finish.bundle_of(prepared, parts, run, more=more)
        with span("evaluate"):
            finish.calibrated(bundle, prepared, until, head=learning.kept)
    except (KeyboardInterrupt, NotFiniteError) as error:
        with run.stop.held():
            run.keep()
            prepared = learning.cut(prepared)
            bundle = finish.bundle_of(prepared, parts, run, more=learning.told(prepared, parts, began), cut=True)
            raise saved_cut(error, bundle, run, path) from error
    return bundle


def _account(
    others: tuple[Sequence[Tried], Sequence[Tried]],
    learning: Learning,
    prepared: Prepared,
    parts: Parts,
    began: float,
    luck: Luck,
) -> dict[str, Any]:
    """Return what a bundle's config says of what was tried, and of what its test should find, which is said.

    others: what was tried before training, and after it
    """
    expected = expectation(learning, prepared, len(parts.test), luck)
    if expected is not None:
        events.note("expected", **vars(expected))
    return {"tried": tried(others[0], learning, prepared, began, seeds=others[1]), "expected": expected}


def _folder(path: Path | None) -> RunFolder | None:
    """Return the run folder of a bundle that may be written to `path`, None where there is no path."""
    if path is None:
        return None
    check_out(path)
    return RunFolder.beside(path)


def _when(best: Best, objective: str, *, last: int) -> str:
    if not best.weights:
        return "no step was taken"
    when = "with the linear head" if best.epoch < 0 else f"after epoch {best.epoch + 1}"
    when = "with more than one seed" if best.epoch > last else when
    return f"best {objective or 'score'} {best.score:.4f} {when}"


def _tell_pace(prepared: Prepared, run: Run, limits: Budget) -> None:
    if not run.batches.resident:
        tell_stall(run.batches.stall, run.clock.spent)
    if run.clock.unused > max(3.0, 0.03 * limits.seconds):
        prepared.said(f"all planned epochs are done, {run.clock.unused:.0f} s before the time is up")
    events.step(5, "validation", _when(run.best, name_of(prepared.task), last=run.at.epoch))


class Saved(Protocol):
    """What a run makes: a bundle, or a generator."""

    def save(self, path: str | Path) -> Path:
        """Write it."""


def saved_cut(
    error: BaseException, bundle: Saved, run: Run, path: Path | None, *, whole: Callable[[Path], bool] = finished
) -> BaseException:
    """Save the best of a run that is cut short, and return the error that says what is kept of it.

    whole: whether what lies at a path is of a run that was not cut short, and so stays
    """
    saved = path is not None and run.worthy and not whole(path)
    if path is not None and saved:
        bundle.save(path)
    where = "" if path is None else f"; the best so far is in {path}" if saved else f"; {path} is as it was before"
    if isinstance(error, NotFiniteError):
        said = NotFiniteError(f"at half the rate too, {error.message}{where}")
        said.keys = error.keys
        return said
    hint = "run the same command with --resume to go on" if path else "give out= (--out) to have the best so far saved"
    at = f"interrupted at step {run.clock.step} of {run.clock.total}"
    return run.stop.error(at + (where or "; nothing is kept of it"), hint=hint)
