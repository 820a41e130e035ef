"""The six steps in order: from a source to a tested bundle with its report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.brief import without_secrets
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import DataError, Interrupted, UsageError
from beholder.base.limits import allow_as
from beholder.base.locks import alone
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Parts, Pictures
from beholder.base.spans import current, recorded, span
from beholder.base.used import changed, refuse
from beholder.bundle.bundle import Bundle
from beholder.bundle.format import finished, unfinished
from beholder.data.groups import named_groups
from beholder.duplicates.facts import fingerprinted
from beholder.evaluation.evaluate import Evaluation, beside_leaks, evaluate
from beholder.evaluation.sections import chosen, examined, looked
from beholder.learn.budget import CLOSING
from beholder.learn.checkpoint import placed
from beholder.learn.distil import taught_by
from beholder.learn.first import keep_first
from beholder.learn.followed import check_together, launched
from beholder.learn.material import Beside
from beholder.learn.profile import renewed
from beholder.learn.profile import text as profile_text
from beholder.learn.train import train
from beholder.machine.pace import calm, slowness
from beholder.machine.stop import check_stop, stopping
from beholder.measure.optimism import luck_of
from beholder.nets.build import check, known
from beholder.nets.pretrained import weights_file
from beholder.reporting import report as write_report
from beholder.reporting.audited import seconds as showing
from beholder.study.again import gone_on
from beholder.study.asked import crops, on_boxes, wanted
from beholder.study.dryrun import DryRun
from beholder.study.foresee import dry
from beholder.study.introduce import introduced
from beholder.study.ladder import Ladder, begun_before, climbed
from beholder.study.outcome import Outcome
from beholder.study.policy import Curated, check_readable, curated
from beholder.study.slices import Room, sliced
from beholder.study.synthetic import synthetic
from beholder.study.unlabelled import Joining, joined_before, joining, rows_of
from beholder.tasks import BOXES, asked, named
from beholder.tasks import check as check_task
from beholder.tasks.objectives import check as check_objective
from beholder.tasks.targets import classes_of

if TYPE_CHECKING:
    from beholder.study.detect import Outcome as Found


def steps(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    profile: bool = False,
    lang: str = "en",
    began: float | None = None,
    allow_download: bool = False,
    teacher: Bundle | str | Path | None = None,
    images: str | Path | None = None,
    launch: str = "",
    dry_run: bool = False,
    **fields: Any,
) -> Outcome | Found | DryRun:
    """Take `source` through the six steps: preprocess, build, initialise, train, validate, test.

    source: what `scan` takes, or Pictures; recipe, fields: as `train` takes them, those that shape the parts too
    out: where bundle, scores and report.html are saved; profile: say and show where the time goes; lang: of the report, en | zh
    began: `time.monotonic()` from which the time counts, default now; allow_download: fetch a source that is not here
    teacher, launch: as of `train`; images: as of `scan`; dry_run: return what would be done, and do none of it
    Where the source has boxes and no other task is named, it is a detector that is trained (docs/DETECTION.md).
    The test part is read once, at the end. Raises what `scan`, `split`, `train` and `evaluate` raise.
    """
    began = time.monotonic() if began is None else began
    source, recipe = crops(source, check_net(changed(recipe, fields, verb="steps"), fetch=not dry_run))
    recipe, beside = taught_by(recipe, teacher, allow_download=allow_download, out=out)
    if dry_run:
        return dry("train", source, recipe, out, images=images, allow_download=allow_download, given=fields, launch=launch)
    check_together(recipe, launch)
    out, until = placed(out), Deadline.of(began, recipe.train.minutes)
    with stopping(), _first_told(out), alone(out), calm(), recorded(began=began) if profile else nullcontext():
        early = partial(keep_first, recipe=recipe, path=None if resume else out, until=until)
        pictures = given(source, recipe, images=images, allow_download=allow_download)
        if wanted(pictures, recipe.task):
            return on_boxes(pictures, recipe, launch=launch, out=out, resume=resume, lang=lang, began=began, profile=profile)
        refuse("labels", fields, recipe=recipe)
        parts = divided(pictures, recipe, until=until, early=early)
        check_stop()
        return train_and_test(parts, recipe, out=out, resume=resume, lang=lang, began=began, beside=beside, launch=launch)


def train_and_test(
    curated: Curated,
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    lang: str = "en",
    began: float | None = None,
    search: Mapping[str, Any] | None = None,
    beside: Beside | None = None,
    launch: str = "",
) -> Outcome:
    """Train on the parts, then read the test part once; steps 2 to 6.

    began: when the budget of minutes started; search: of a recipe that a search chose, what `reporting.search` shows of it
    beside: with the teacher, where there is one; launch: as of `train`
    """
    began = time.monotonic() if began is None else began
    curated, bundle = gone_on(curated, recipe, out, climbs=not search) if resume and out is not None else (curated, None)
    parts = curated.parts
    if bundle is None:
        after = showing(curated.findings) if out is not None and recipe.train.minutes else 0.0
        ladder = Ladder(recipe) if search else _ladder(curated, recipe, out, resume=resume, began=began)
        joins = _joining(curated, ladder, beside, out, resume=resume, began=began)
        how: dict[str, Any] = {"out": out, "resume": resume, "began": began, "after": after, "luck": luck_of(search)}
        how["again"] = looked(len(parts.test))
        ladder = replace(ladder, tried=joins.tried)
        if not (search or launch):
            ladder, how["resume"] = _sliced(ladder, joins, how)
        with launched(launch):
            bundle = train(joins.parts, recipe=ladder.recipe, before=ladder.tried, whole_run=True, beside=joins.beside, **how)
    if search:
        bundle.config = replace(bundle.config, search=search)
    with _kept(bundle, out):
        check_stop()
        evaluation = _tested(bundle, curated, recipe, out=out, lang=lang, until=Deadline.of(began, recipe.train.minutes))
        check_stop()
    profile = _renew_profile(bundle)
    if profile is not None:
        events.note(profile_text(profile), profile=profile)
    return Outcome(bundle, evaluation, out, time.monotonic() - began, profile=profile)


def _ladder(curated: Curated, recipe: Recipe, out: Path | None, *, resume: bool, began: float) -> Ladder:
    """Return the recipe to train with: where there is a budget, that of the best head; a run that is resumed keeps its own."""
    if not recipe.train.minutes:
        return Ladder(recipe)
    before = begun_before(recipe, out) if resume and out is not None else None
    return before or climbed(curated, recipe, began=began, until=Deadline.of(began, recipe.train.minutes))


def _joining(
    curated: Curated, ladder: Ladder, beside: Beside | None, out: Path | None, *, resume: bool, began: float
) -> Joining:
    """Return the parts to train on, with pictures that join them: without labels, or made. A resumed run keeps its own."""
    recipe, beside = taught_by(ladder.recipe, beside=beside)
    if recipe.data.synthetic:
        found = synthetic(curated, recipe, beside, out=out, resume=resume, began=began)
        return replace(found, tried=rows_of(ladder.tried, found.tried))
    if not recipe.data.unlabelled:
        return Joining(curated.parts, beside, ladder.tried)
    before = joined_before(curated, recipe, beside, out) if out is not None and resume else None
    found = before or joining(curated, recipe, beside, began=began, until=Deadline.of(began, recipe.train.minutes))
    return replace(found, tried=rows_of(ladder.tried, found.tried))


def _sliced(ladder: Ladder, joins: Joining, how: Mapping[str, Any]) -> tuple[Ladder, bool]:
    """Return the ladder with the best of its trained candidates, and whether its run is to be gone on with.

    Nothing is compared of what learns from a teacher or from pictures without labels of their own.
    """
    data = ladder.recipe.data
    if how["out"] is None or joins.beside.teacher is not None or data.unlabelled or data.synthetic:
        return ladder, how["resume"]
    until = Deadline.of(how["began"], ladder.recipe.train.minutes)
    return sliced(ladder, joins.parts, how["out"], Room(until, how["began"], how["after"], how["again"]), resume=how["resume"])


SHARES = 0.8, 0.5
"""Of the time that is left before the report: the test may take the one, its sections the other of what that leaves."""


def _tested(bundle: Bundle, curated: Curated, recipe: Recipe, *, out: Path | None, lang: str, until: Deadline) -> Evaluation:
    """Read the test part and write what it says into the bundle, and with `out` the bundle and its report there; step 6."""
    parts, findings = curated.parts, curated.findings
    events.step(6, "test", f"{len(parts.test)} pictures that nothing so far has seen")
    end = until if until.none else until.before(CLOSING * slowness())
    first = end if end.none else end.within(SHARES[0] * end.left)
    with span("evaluate"):
        evaluation = beside_leaks(bundle, evaluate(bundle, parts.test, until=first), parts.test, curated.leaked)
        bundle.audit = findings.csv(done=curated.done) if findings is not None else ""
        evaluation = examined(bundle, evaluation, chosen("usual"), until=end if end.none else end.within(SHARES[1] * end.left))
    bundle.scores = evaluation.json()
    bundle.config = replace(bundle.config, audit=curated.record(recipe.data.audit))
    _renew_profile(bundle)
    if out is not None:
        bundle.save(out)
        with span("save"):
            write_report(bundle, evaluation, out / "report.html", findings=findings, lang=lang, until=end)
    return evaluation


@contextmanager
def _first_told(out: Path | None) -> Iterator[None]:
    """Say of an interruption of which nothing is said yet that the first model of the run lies at `out`, if it does."""
    try:
        yield
    except Interrupted as stopped:
        if stopped.hint or out is None or not unfinished(out):
            raise
        message = f"{stopped.message} before training; a first model, a head on frozen features, is in {out}"
        hint = "run the same command again: what was computed so far is remembered"
        raise Interrupted(message, hint=hint, exit_code=stopped.exit_code) from stopped


@contextmanager
def _kept(bundle: Bundle, out: Path | None) -> Iterator[None]:
    """Say of an interruption inside the block that the bundle at `out` is trained, and how its test is made up for.

    Nobody saw what that test would have said: it does not count as a reading of the test part.
    """
    readings = list(bundle.readings)
    try:
        yield
    except KeyboardInterrupt as stopped:
        bundle.set_readings(readings)
        if out is None or not finished(out):
            raise
        message = f"interrupted in the test; {out} is trained and kept, but its test is not over"
        code = stopped.exit_code if isinstance(stopped, Interrupted) else Interrupted.exit_code
        raise Interrupted(message, hint="run again with --resume to test it", exit_code=code) from stopped


def _renew_profile(bundle: Bundle) -> dict[str, Any] | None:
    """Bring the profile that a bundle carries up to now and return it; None where no time is recorded."""
    ledger = current()
    if ledger is None:
        return None
    found = renewed(bundle.config.profile or {}, ledger)
    bundle.config = replace(bundle.config, profile=found)
    return found


def check_net(recipe: Recipe, *, fetch: bool = True) -> Recipe:
    """Return the recipe with its net's full name; raise `UsageError` for a net, weights or a task that cannot be had.

    This comes before any picture is looked at; fetch: bring weights of the hub here now.
    """
    recipe = dataclasses.replace(recipe, net=known(recipe.net))
    if recipe.data.synthetic and recipe.data.unlabelled:
        hint = "give one of --synthetic and --unlabelled: what either gives is judged by itself"
        raise UsageError("made pictures and pictures without labels do not join together", code="two-sources", hint=hint)
    check_task(recipe.task, trust=True)
    if recipe.task not in BOXES:
        check_objective(recipe)
    if recipe.net.name != "auto":
        check(recipe.net, fetch=fetch)
    elif recipe.net.weights not in ("auto", "none"):
        weights_file(recipe.net.weights)
    return recipe


def preprocess(
    source: str | Path | tuple[Any, Any] | Pictures,
    recipe: Recipe,
    *,
    allow_download: bool = False,
    until: Deadline = NEVER,
    early: Callable[[Parts], object] = lambda _: None,
) -> Curated:
    """Return the three parts of a source: read, fingerprinted, examined and split.

    until: when the whole run should be over; early: see `policy.curated`
    """
    check_net(recipe)
    return divided(given(source, recipe, allow_download=allow_download), recipe, until=until, early=early)


def given(
    source: str | Path | tuple[Any, Any] | Pictures,
    recipe: Recipe,
    *,
    images: str | Path | None = None,
    allow_download: bool = False,
) -> Pictures:
    """Return the pictures of a source, which is told."""
    allow_as(recipe.data)
    events.step(
        1, "data preprocessing", without_secrets(str(source)) if isinstance(source, (str, Path)) else "pictures in memory"
    )
    with span("decode"):
        return named_groups(introduced(source, images=images, allow_download=allow_download), recipe.data.group_from)


def divided(
    pictures: Pictures, recipe: Recipe, *, until: Deadline = NEVER, early: Callable[[Parts], object] = lambda _: None
) -> Curated:
    """Return the three parts of pictures with labels: fingerprinted, examined and split; until, early: as of `preprocess`."""
    classes_of(pictures, named(asked(recipe.task, pictures)), order=recipe.data.order)
    with span("audit"):
        found = curated(pictures, recipe, until=until, early=early)
    parts = found.parts
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        check_readable(pictures, fingerprinted(pictures)[1])
        few = dict(zip(pictures.classes, pictures.counts().tolist(), strict=True))
        if max(few.values()) < len(PARTS):
            raise DataError(
                "too few pictures to train and to test: " + ", ".join(f"{name} has {n}" for name, n in list(few.items())[:5]),
                code="too-few-pictures",
                hint="give three of each class at least, one for each part; dozens, for a result that means something",
            )
        raise DataError(
            f"nothing is left for the {' and the '.join(empty)} part: too many pictures are duplicates or of one group",
            code="too-few-pictures",
            hint="give pictures of more groups (people, patients, plates), or a larger data.val and data.test",
        )
    labels = "several labels a picture" if pictures.multi else "one label a picture"
    counts = {name: len(part) for name, part in parts.items()}
    events.note("split", classes=len(parts.train.classes), labels=labels, parts=counts)
    return found
