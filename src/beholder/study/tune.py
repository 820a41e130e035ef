"""The verb `tune`: search for a better recipe on the validation part; the winner goes on from its checkpoint and is tested."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import BeholderError, Interrupted, MachineError, UsageError
from beholder.base.files import followed, remove_folder, sha256
from beholder.base.locks import alone
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import Parts, Pictures
from beholder.base.used import changed
from beholder.learn.checkpoint import RunFolder, check_out
from beholder.learn.distil import taught_by
from beholder.learn.prepare import Prepared
from beholder.learn.resumed import parts_kept, sample_of
from beholder.machine.launch import Launch
from beholder.machine.stop import stopping
from beholder.measure.optimism import Luck
from beholder.nets import onboard
from beholder.nets.build import wants
from beholder.nets.choose import dial
from beholder.sources.digest import digested
from beholder.study import space as spaces
from beholder.study.crew_shared import cleared, over, study_at
from beholder.study.crews import crew, where
from beholder.study.dryrun import DryRun
from beholder.study.foresee import dry
from beholder.study.luck import luck
from beholder.study.outcome import Tuning
from beholder.study.policy import Curated
from beholder.study.replayed import begun
from beholder.study.search import Book, Candidate, Plan, searched, unanswered
from beholder.study.steps import check_net, preprocess, train_and_test
from beholder.study.trial import Field, Limits, amount, handed_over, paused
from beholder.study.worker import written

SCREEN, NARROW, FINISH = 0.35, 0.15, 0.4
"""Shares of the time left after preprocessing for the screening, the best few and the winner; the rest is for the test."""

SLICE, SHORTEST, LONGEST = 1 / 24, 4.0, 60.0
"""A slice of the screening: share of the time left, and seconds at least and at most."""

AS_IT_IS = "the recipe as it is"

PLANNED = 8
"""Candidates that are screened where epochs say how long a run is and nobody says how many."""


def tune(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    minutes: float,
    recipe: Recipe | str = "quick",
    trials: int = 0,
    workers: int = 1,
    launch: str = "",
    space: Mapping[str, object] | str | Path | None = None,
    max_latency: float | str = 0.0,
    max_size: float | str = 0.0,
    out: str | Path | None = None,
    storage: str = "",
    resume: bool = True,
    lang: str = "en",
    allow_download: bool = False,
    dry_run: bool = False,
    **fields: Any,
) -> Tuning | DryRun:
    """Search for a better recipe for `minutes`, in which the winner is trained to its end and tested, too.

    source: what `scan` takes, or Pictures; recipe, fields: as `train` takes them: what they set is not searched
    trials: screen so many candidates (0: as many as the minutes allow); workers: at a time, each a process of its own
    launch: or local:N, which is the same, or ray, ray:N: tasks of a cluster; storage: URL of a database to keep the trials in
    space: ranges in place of the declared ones (`beholder.study.space`), a table or a TOML file
    max_latency, max_size: what a model may take: seconds a picture ("20ms") and bytes of weights ("5MB")
    lang: of the report, en | zh; allow_download: fetch a source that is not on this machine; dry_run: as of `steps`
    With `out` = M.beholder the study is kept in M.tune.jsonl and M.tune/, from which a later call goes on unless `resume` is
    False. With train.epochs set, slices are counted in epochs, and the same study comes to the same winner.
    Raises `UsageError` for minutes that are not above 0, for `storage` without `out`, and what `train` raises.
    """
    _check(minutes, storage, out)
    began, limits = time.monotonic(), Limits(amount(max_latency, "latency"), int(amount(max_size, "size")))
    asked, at = _asked(recipe, fields, space, out, fetch=not dry_run), where(workers, launch)
    if dry_run:
        return dry("tune", source, asked, out, minutes=minutes, workers=max(1, at.count), allow_download=allow_download)
    with _held(out) as place:
        found = preprocess(source, asked, allow_download=allow_download, until=Deadline.of(began, minutes))
        study = _opened(source, found, asked, place, began, minutes, limits, space, storage, resume=resume)
        with _kept(study, kept=out is not None):
            return _carried_out(replace(study, allow_download=allow_download), trials, at, lang, kept=out is not None)


def _check(minutes: float, storage: str, out: str | Path | None) -> None:
    if not 0 < minutes < math.inf:
        raise UsageError(f"tune cannot search for {minutes:g} minutes", code="bad-minutes", hint="give --minutes above 0")
    if storage and out is None:
        hint = "give out=: checkpoints of the trials are kept beside it"
        raise UsageError("trials are kept in a database, but nothing beside it", code="no-out", hint=hint)


def _asked(recipe: Recipe | str, fields: Mapping[str, Any], space: Any, out: str | Path | None, *, fetch: bool) -> Recipe:
    """Return the recipe as it is; its net, those of `space` and its teacher can be had."""
    nets, asked = spaces.nets(space), check_net(changed(recipe, fields, verb="tune"), fetch=fetch)
    taught_by(asked, out=out)
    for net in nets:
        check_net(asked.set(net=net), fetch=fetch)
    return asked


@contextmanager
def _held(out: str | Path | None) -> Iterator[Path]:
    """Hold the place of the bundle, a temporary one where none is given, and heed signals inside the block."""
    with ExitStack() as stack:
        folder = None if out is not None else stack.enter_context(tempfile.TemporaryDirectory())
        place = followed(Path(out)) if out is not None else Path(str(folder)) / "m.beholder"
        check_out(place)
        stack.enter_context(stopping())
        stack.enter_context(alone(place))
        cleared(study_at(place))
        yield place


@dataclass(frozen=True, eq=False)
class Study:
    """A study in progress.

    base: the recipe as it is, prepared; began: from which its minutes count, on the monotonic clock
    allow_download: whether those who carry out slices may fetch the source
    """

    source: str | Path | tuple[Any, Any] | Pictures
    curated: Curated
    asked: Recipe
    base: Prepared
    space: Mapping[str, spaces.Range]
    book: Book
    field: Field
    place: Path
    began: float
    minutes: float
    allow_download: bool = False

    @property
    def until(self) -> Deadline:
        """Return when all is to be over."""
        return Deadline.of(self.began, self.minutes)

    def made(self, params: spaces.Params) -> tuple[str, Mapping[str, float]]:
        """Return the recipe of a candidate, as TOML, and the factors on what its run plans."""

        def width(net: str) -> float:
            own = net in ("auto", self.base.recipe.net.name)
            n = len(self.base.train.pixels)
            return (self.base.recipe.net.width if own else dial(net, n=n, device=self.base.normal.device.type)) or 1.0

        made = spaces.candidate(self.asked, params, self.space, width=width)
        made = made if self.asked.train.epochs else made.set(minutes=max(0.01, self.field.seconds / 60))
        return made.toml(), spaces.factors(params, self.space)


def _opened(
    source: str | Path | tuple[Any, Any] | Pictures,
    found: Curated,
    asked: Recipe,
    place: Path,
    began: float,
    minutes: float,
    limits: Limits,
    given: Mapping[str, object] | str | Path | None,
    storage: str,
    *,
    resume: bool,
) -> Study:
    """Return the study of these pictures and this recipe: continued where its journal is there, else new."""
    journal, folder = study_at(place, ".jsonl"), study_at(place)
    if (old := study_at(place, ".sqlite")).exists():
        events.warn(f"{old} is of an earlier release and is not continued", hint="delete it: a search is in a .tune.jsonl")
    if not resume:
        journal.unlink(missing_ok=True)
        if folder.exists():
            remove_folder(folder)
    own = {path: asdict(kept) for path, kept in spaces.changed({}, given).items()}
    found, base = begun(found, asked, folder, json.dumps([own, asdict(limits)]), Deadline.of(began, minutes))
    ranges = spaces.changed(_space(base, asked), given)
    of = asked.toml() + json.dumps({path: asdict(kept) for path, kept in ranges.items()}) + _digest(found.parts)
    of += json.dumps(asdict(limits)) if limits != Limits() else ""
    name = sha256((of + (str(place.resolve()) if storage else "")).encode())[:16]
    how: dict[str, Any] = {"portfolio": spaces.portfolio(ranges, pretrained=base.created.pretrained), "anew": not resume}
    book = Book(storage or journal, name, space=ranges, seed=asked.seed, **how)
    if book.before:
        events.note(f"continuing a search of {book.before} trials in {book.place}")
    parts = Parts(base.train.pictures, base.valid.pictures, found.parts.test)
    began -= min(book.spent, 0.6 * 60 * minutes)
    left = Deadline.of(began, minutes).left
    seconds = 0.0 if asked.train.epochs else (SLICE + NARROW / 3 + FINISH) * left
    tried_on = Field(parts, folder, limits, seconds, " ".join(base.plan.augment.axes) or "none")
    if tried_on.taken(name, new=book.new):
        book.note(spent=book.spent)
    return Study(source, found, asked, base, ranges, book, tried_on, place, began, minutes)


def _digest(parts: Parts) -> str:
    digests = digested(parts.train).digests
    return sha256(digests.tobytes()) if digests is not None else ""


def _space(base: Prepared, asked: Recipe) -> dict[str, spaces.Range]:
    """Return the ranges that are open for these pictures and the nets at hand."""
    net, pretrained = base.recipe.net.name, base.created.pretrained
    nets: tuple[str, ...] = ("auto",)
    if asked.net.name == "auto" and asked.net.weights == "auto" and pretrained:
        nets += tuple(f"timm:{name}" for name in onboard.BACKBONES if onboard.installed(name) and f"timm:{name}" != net)
    elif asked.net.name == "auto" and not pretrained:
        nets += tuple(name for name in ("resnet",) if name != net)
    side, flexible = max(base.policy.height, base.policy.width), wants(base.recipe.net).flexible
    sizes = (0, 32 * round(1.25 * side / 32)) if pretrained and flexible else ()
    counts = base.train.pictures.counts()
    skewed = bool(counts.max() >= 3 * max(1, np.partition(counts, 0)[0]))
    return spaces.space(asked, net=net, pretrained=pretrained, nets=nets, sizes=sizes, skewed=skewed)


def _carried_out(study: Study, trials: int, launch: Launch, lang: str, *, kept: bool) -> Tuning:
    """Return what the search finds, its winner finished and tested."""
    finishing = study.book.finishing
    found = None if finishing is None else next((each for each in study.book.candidates if each.index == finishing), None)
    going_on = found is not None and paused(RunFolder.beside(study.place))
    if going_on:
        over(study.field.folder)
    else:
        found = _winner(study, trials, launch, kept=kept)
    if found is None:
        reasons = {each.slices[-1].failed for each in study.book.candidates if each.slices}
        said = "; ".join(sorted(reasons)[:3]) or "there was no time for one"
        raise BeholderError(f"no trial came to a score: {said}", code="no-trial", hint="give more --minutes, or looser limits")
    study.book.note(spent=time.monotonic() - study.began, finishing=found.index)
    events.note("best-trial", trials=len(study.book.candidates), trial=found.index + 1, params=_changes(study, found))
    recipe = _finish(study, found, going_on=going_on)
    unscored = [each for each in study.book.candidates if each.score is None]
    rows, importance = [_row(study, each) for each in (*study.book.ranked, *unscored)], study.book.importance()
    search = {"trials": rows, "importance": importance, "luck": asdict(_luck(study))}
    how: dict[str, Any] = {"lang": lang, "began": study.began, "search": search}
    outcome = train_and_test(study.curated, recipe, out=study.place, resume=True, **how)
    study.book.note(spent=0.0)
    return Tuning(rows, recipe, outcome if kept else replace(outcome, path=None), study.book.path if kept else None, importance)


def _luck(study: Study) -> Luck:
    ranked = [each.index for each in study.book.ranked]
    return luck(study.field.folder, ranked, study.base.valid.targets.numpy(), study.base.task.objective)


def _winner(study: Study, trials: int, launch: Launch, *, kept: bool) -> Candidate | None:
    """Return the best candidate; None where none came to a score."""
    base, own = study.base, {"net": study.asked.net.name, "task": study.asked.task}
    offer = partial(written, study.field, study.source, **own, allow_download=study.allow_download)
    how: dict[str, Any] = {"batch": base.plan.batch, "offer": offer, "kept": kept}
    with crew(study.field, launch, **how) as among:
        return searched(study.book, among, plan(study, trials), make=study.made, told=lambda each: _told(study, each))


def plan(study: Study, trials: int) -> Plan:
    """Return how the search goes: its slices in epochs where the recipe says how many a run has, else by the time left."""
    left, epochs, now = study.until.left, study.asked.train.epochs, time.monotonic
    if epochs:
        return _counted(study, trials or PLANNED, epochs)
    each = SCREEN * left / trials if trials else min(LONGEST, max(SHORTEST, SLICE * left))
    expected = trials or SCREEN * left / each
    keep, began = 3 if expected >= 6 else 2 if expected >= 3 else 1, now()

    def longest(least: float) -> float:  # a slice takes longer than asked for where its net has to be made ready
        costs = [slice.cost for each in study.book.candidates for slice in each.slices]
        return max(least, sum(costs) / max(1, len(costs)))

    def enough(begun: int) -> bool:
        return begun > 0 and (now() + longest(0.7 * each) > began + SCREEN * left or (0 < trials <= begun))

    def late() -> bool:
        return now() + longest(0.0) > began + (SCREEN + NARROW) * left

    return Plan(each, NARROW * left / keep, keep, False, enough, late)


def _counted(study: Study, most: int, epochs: int) -> Plan:
    """Return how a search goes whose slices are epochs: a quarter of a run, the best few to its half."""
    screen, narrow = max(1, round(epochs / 4)), max(1, round(epochs / 2))
    keep = 3 if most >= 6 else 2 if most >= 3 else 1

    def enough(begun: int) -> bool:
        return begun >= most or _late(study, begun, epochs, narrow, keep)

    return Plan(screen, narrow if narrow > screen else 0, keep, True, enough)


def _late(study: Study, begun: int, epochs: int, narrow: int, keep: int) -> bool:
    """Return whether there is only time left for the best few and the winner, by the slowest epoch so far."""
    paces = [each.slices[0].facts.get("seconds_an_epoch", 0.0) for each in study.book.candidates if each.slices]
    needed = max(paces, default=0.0) * (narrow * keep + epochs)
    return begun > 0 and needed > 0.9 * study.until.left


def _finish(study: Study, found: Candidate, *, going_on: bool) -> Recipe:
    """Put the winner's checkpoint where its run goes on, and return the recipe to go on with."""
    recipe = from_toml(str(found.slices[0].facts["recipe"]), done=True)
    run, own = RunFolder.beside(study.place), study.field.run_folder(found.index)
    if not going_on and own.path.is_dir():
        run.discard()
        handed_over(own, run, partial(_keep, study))
    pace = float(found.slices[0].facts.get("seconds_an_epoch", 0.0))
    free = study.asked.train.epochs and pace * study.asked.train.epochs < study.until.left
    return recipe.set(minutes=0.0 if free else study.minutes)


def _keep(study: Study, folder: RunFolder) -> None:
    """Keep what the winner's run resumes with besides its checkpoint."""
    folder.keep("parts", parts_kept(study.curated.parts))
    folder.keep("sample", sample_of(study.base))


def _told(study: Study, each: Candidate) -> None:
    """Say what a slice gave, note the time, and delete the checkpoint of a candidate that will not go on."""
    study.book.note(spent=time.monotonic() - study.began)
    last = each.slices[-1]
    if last.failed:
        events.warn(f"trial {each.index + 1}: {last.failed}")
    else:
        events.note("trial", trial=each.index + 1, valid_score=last.score, params=_changes(study, each))
    keep = {one.index for one in study.book.ranked[:3]}
    for one in study.book.candidates:
        folder = study.field.run_folder(one.index).path
        if one.state != "running" and one.index not in keep and folder.is_dir():
            remove_folder(folder)


def _changes(study: Study, each: Candidate) -> dict[str, Any]:
    """Return by what a candidate differs from the recipe as it is."""
    return {path: value for path, value in each.params.items() if value != study.space[path].usual}


@contextmanager
def _kept(study: Study, *, kept: bool) -> Iterator[None]:
    """Say of an interruption inside the block, or of a database that is gone, what is kept of the search and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        said = stopped.message if isinstance(stopped, Interrupted) else "interrupted"
        study.book.leave()
        done = len([each for each in study.book.candidates if each.score is not None])
        number = "1 finished trial is" if done == 1 else f"{done} finished trials are"
        what = f"{number} kept in {study.book.place}" if kept else "nothing is kept of the search"
        hint = "run the same command again to go on with the search" if kept else "give out= (--out) to have the trials saved"
        code = stopped.exit_code if isinstance(stopped, Interrupted) else Interrupted.exit_code
        raise Interrupted(f"{said}; {what}", hint=hint, exit_code=code) from stopped
    except Exception as error:
        if study.book.path is None and unanswered(error):
            hint = "run the same command again to go on with the search"
            raise MachineError(f"{study.book.place} does not answer any more", code="no-storage", hint=hint) from error
        raise


def _row(study: Study, each: Candidate) -> dict[str, Any]:
    """Return what is told of a candidate: its number, score, state, values, cost, and what was measured of its model."""
    facts = each.slices[0].facts if each.slices else {}
    return {
        "trial": each.index + 1,
        "valid_score": each.score,
        "screened": each.slices[0].score if each.slices and not each.slices[0].failed else None,
        "went_on": len(each.slices) > 1,
        "state": each.state,
        **{path: _short(value) for path, value in each.params.items()},
        "seconds": round(sum(slice.cost for slice in each.slices), 1),
        "latency_ms": _short(1000 * facts["latency"]) if "latency" in facts else None,
        "megabytes": _short(facts["bytes"] / 1e6) if "bytes" in facts else None,
        "change": ", ".join(f"{path} {_short(value)}" for path, value in _changes(study, each).items()) or AS_IT_IS,
        "reason": each.slices[-1].failed if each.slices else "",
    }


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
