"""Pictures without labels beside a source: which of them join the training part, with which labels, and whether that helps.

With a teacher they are given its probabilities. Without one they are given pseudo-labels (`study.pseudo`), and join only if a
paired test on labelled pictures says that it helps. Those that look the same as a picture of the validation or the test part
are left out in any case, and so are copies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import F32, I64
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.bundle.config import Tried
from beholder.data.cache import cached
from beholder.data.folds import folds
from beholder.data.known import confirmed, hashes
from beholder.data.survey import survey
from beholder.learn.account import told
from beholder.learn.checkpoint import RunFolder
from beholder.learn.distil import asked as said_by
from beholder.learn.distil import columns_of, probabilities
from beholder.learn.material import Beside, targets_of
from beholder.sources.digest import digested
from beholder.sources.joined import JoinedStore
from beholder.study.evidence import at_hand, features_of, seen_by
from beholder.study.introduce import introduced
from beholder.study.policy import Curated
from beholder.study.pseudo import Judgement, Pseudo, judged
from beholder.study.setting import joined as both
from beholder.study.setting import tied
from beholder.tasks import asked, named
from beholder.tasks.objectives import aim, name_of
from beholder.tasks.targets import arranged
from beholder.tasks.task import Task

MOST, JUDGED = 20_000, 4000
"""Pictures without labels that are looked at, and labelled ones on which they are judged, at most."""

SHARE = 0.35
"""Share of the time left that it may take to find out."""

NAMES = "labelled", "unlabelled"
"""What the two stores of a training part are called that others have joined."""


@dataclass(frozen=True, eq=False)
class Joining:
    """The parts to train on, what is learnt beside labels, and what was tried."""

    parts: Parts
    beside: Beside
    tried: tuple[Tried, ...] = ()


def joining(curated: Curated, recipe: Recipe, beside: Beside, *, began: float, until: Deadline) -> Joining:
    """Return the parts with the pictures of `data.unlabelled` in the training part, where they help, and what was found out.

    began: `time.monotonic()` of the start of the run; until: when the whole run should be over. The test part is not learnt
    from: its pictures are only compared with those that are offered.
    Raises what `scan` raises, `UsageError` (no-features) where no pretrained net is at hand, and what asking a teacher raises.
    """
    task = named(asked(recipe.task, curated.parts.train))
    parts = arranged(curated.parts, task, order=recipe.data.order)
    task = aim(recipe, task, parts.train.classes)
    on = On(curated, parts, recipe, task, until if until.none else until.within(SHARE * until.left))
    start = time.monotonic()
    pool, said = _pool(on, beside)
    if not len(pool):
        return without_others(parts, beside, f"{said}: none of them joins the training part")
    if beside.teacher is not None:
        return _taught(on, pool, said, beside)
    judgement, given = _tried(on, pool)
    if judgement is None:
        few = "there was no time" if on.until.passed else "there are too few labelled pictures"
        return without_others(parts, beside, f"{said}: {few} to find out what they give: none of them joins the training part")
    row = told(_row(judgement, len(given.rows), round(start - began, 2), round(time.monotonic() - start, 2)))
    words = f"{said}: {_words(judgement, len(given.rows), name_of(task) or 'score')}"
    if not judgement.helps:
        return replace(without_others(parts, beside, words), tried=(row,))
    own = given.hot.astype(np.uint8) if task.several else given.hot.argmax(axis=1).astype(np.int64)
    return replace(with_others(parts, beside, pool.take(given.rows), own, words), tried=(row,))


@dataclass(frozen=True)
class On:
    """What is joined to, and by when it has to be known whether it helps."""

    curated: Curated
    parts: Parts
    recipe: Recipe
    task: Task
    until: Deadline

    def policy(self, beside: Beside) -> PixelPolicy:
        """Return the pixels by which pictures are compared: those of the teacher, or of the backbone."""
        if beside.teacher is not None:
            return beside.teacher.policy
        looked = survey(self.parts.train)
        backbone = at_hand(self.recipe.net, looked, small=True)
        if backbone is None:
            what = "no pretrained net is on this machine by whose features pictures without labels could be given some"
            hint = "leave net.weights=none out, name weights (--set net.weights=PATH) or a teacher (--teacher M.beholder)"
            raise UsageError(what, code="no-features", hint=hint)
        return seen_by(backbone, self.recipe, looked)[0]

    def features(self, pictures: Pictures, what: str) -> F32:
        """Return the features of the backbone, float32 (N, F), rows of NaN where there was no time."""
        looked = survey(self.parts.train)
        backbone = at_hand(self.recipe.net, looked, small=True)
        assert backbone is not None
        minutes = 0.0 if self.until.none else max(1e-3, self.until.left / 60)
        return features_of(pictures, backbone, self.recipe, looked, minutes, what=what)


def _pool(on: On, beside: Beside) -> tuple[Pictures, str]:
    """Return the pictures that may join, readable, each once, and a sentence on what was left out."""
    policy, train = on.policy(beside), digested(on.parts.train)
    offered = digested(introduced(on.recipe.data.unlabelled, labels=False, allow_download=beside.allow_download))
    known = np.concatenate([digested(part).digests for _, part in on.parts.items()])
    assert offered.digests is not None
    _, first = np.unique(offered.digests, axis=0, return_index=True)
    seen = {row.tobytes() for row in known}
    rows = np.array([row for row in np.sort(first).tolist() if offered.digests[row].tobytes() not in seen], np.int64)
    copies, some = len(offered) - len(rows), np.sort(np.random.default_rng(on.recipe.seed).permutation(rows)[:MOST])
    targets = np.zeros((len(offered), len(train.classes)), np.uint8) if train.multi else np.zeros(len(offered), np.int64)
    pool = replace(offered, targets=targets, classes=train.classes, bits=train.bits).take(some)
    near, bad = 0, 0
    if len(pool):
        stay, near, bad = apart(on, pool, policy)
        pool = pool.take(stay)
    words = [f"{copies:,} copies" if copies else "", f"{near:,} that look like validation or test pictures" if near else ""]
    words += [f"{bad:,} unreadable" if bad else "", f"all but {MOST:,}" if len(some) < len(rows) else ""]
    out = ", ".join(word for word in words if word)
    return pool, f"{len(offered):,} pictures without labels" + (f" (left out: {out})" if out else "")


def apart(on: On, pool: Pictures, policy: PixelPolicy) -> tuple[I64, int, int]:
    """Return the rows of the pool that may join, int64 (M,), how many look like pictures that are held out, and bad ones."""
    how = {"on_bad": "skip", "workers": on.recipe.data.workers}
    try:
        mine = cached(pool, policy, **how, enough=lambda: on.until.passed)  # type: ignore[arg-type]
    except DataError:
        return np.zeros(0, np.int64), 0, len(pool)
    held = cached(both(digested(on.parts.valid), digested(on.parts.test))[0], policy, **how)  # type: ignore[arg-type]
    near = confirmed(mine, hashes(mine), held, hashes(held))
    return mine.rows[~near], int(near.sum()), len(mine.bad)


def _tried(on: On, pool: Pictures) -> tuple[Judgement | None, Pseudo]:
    """Return what pseudo-labels for the pool do on labelled pictures, None where nobody can tell, and those that are given.

    The ones that are given follow from the training part alone: validation judges what is learnt from them.
    """
    whole, valid = both(digested(on.parts.train), digested(on.parts.valid))
    some = np.sort(stratified(whole.targets)[:JUDGED])
    whole, valid = whole.take(some), valid[some]
    x = on.features(whole, "labelled pictures are seen by features")
    z = on.features(pool, "pictures without labels are seen by features")
    ours, theirs = (np.flatnonzero(np.isfinite(each).all(axis=1)) for each in (x, z))
    fold = folds(whole, seed=on.recipe.seed, twins=tied(on.curated, whole))[ours]
    y = targets_of(whole).numpy()[ours]
    judgement, given = judged(x[ours], y, fold, ~valid[ours], z[theirs], task=on.task, until=on.until)
    return judgement, Pseudo(theirs[given.rows], given.hot)


def _row(found: Judgement, count: int, began: float, seconds: float) -> Tried:
    outcome = "kept" if found.helps else "not better in enough resamples" if found.telling else "below what any test can tell"
    return Tried("head", f"a linear head with {count:,} pseudo-labels", found.after, found.n, began, seconds, outcome)


def _words(found: Judgement, count: int, objective: str) -> str:
    """Return what pseudo-labels give, in words."""
    change = f"{objective} {found.before:.4f} → {found.after:.4f} by cross-fitting on {found.n:,} labelled pictures"
    right = f"about {found.precision.value:.0%} of the pseudo-labels are right" if found.precision.n else ""
    sure = f"better in {found.ahead:.0%} of resamples"
    if found.helps:
        return f"{count:,} of them join the training part: {change}, {sure}; {right}"
    if not found.telling:
        few = f"only {found.won + found.lost:,} answers change"
        return f"none of them joins the training part: {change}, and {few}: below what any test can tell"
    return f"none of them joins the training part: {change}, {sure}, which is not enough"


def _taught(on: On, pool: Pictures, said: str, beside: Beside) -> Joining:
    """Return the parts with what the teacher had time to look at: it says what they show, and nobody judges that."""
    teacher = beside.teacher
    assert teacher is not None
    columns = columns_of(teacher, on.parts.train.classes, on.task)
    logits = said_by(teacher, pool, until=on.until, workers=on.recipe.data.workers)
    rows = np.flatnonzero(np.isfinite(logits).all(axis=1))
    if not len(rows):
        return without_others(on.parts, beside, f"{said}: the teacher had no time for them")
    p = probabilities(logits[rows], columns, on.task)
    answers = on.task.family.answers(p)
    words = f"{said}: {len(rows):,} of them join the training part with the teacher's probabilities, {_sure(on.task, p)}"
    targets = answers.astype(np.uint8) if on.task.several else answers.astype(np.int64)
    return with_others(on.parts, replace(beside, logits=logits[rows]), pool.take(rows), targets, words)


def _sure(task: Task, p: F32) -> str:
    return f"whose answers it gives {float(task.family.certainty(p).mean()):.0%} on average; no test judges them"


def without_others(parts: Parts, beside: Beside, words: str, kind: str = NAMES[1]) -> Joining:
    """Return the parts as they are, and say why; kind: what the others are called."""
    events.note(f"{kind}: {words}")
    noted = replace(parts.train, notes=(*parts.train.notes, f"{kind}: {words}"))
    return Joining(replace(parts, train=noted), beside)


def with_others(
    parts: Parts, beside: Beside, others: Pictures, targets: npt.NDArray[np.integer], words: str, kind: str = NAMES[1]
) -> Joining:
    """Return the parts with others, which have the targets that are given, after the pictures of the training part.

    kind: what the others are called
    """
    events.note(f"{kind}: {words}")
    own = digested(parts.train)
    assert own.digests is not None
    assert others.digests is not None
    train = replace(
        own,
        store=JoinedStore(own.store.name, {NAMES[0]: own.store, kind: others.store}),
        keys=[f"{name}/{key}" for name, some in ((NAMES[0], own), (kind, others)) for key in some.keys],
        targets=np.concatenate([own.targets, targets.astype(own.targets.dtype)]),
        parts=np.concatenate([own.parts, np.zeros(len(others), np.int8)]),
        groups=np.concatenate([own.groups, np.full(len(others), -1, np.int64)]),
        digests=np.concatenate([own.digests, others.digests]),
        notes=(*own.notes, f"{kind}: {words}"),
    )
    return Joining(replace(parts, train=train), replace(beside, own=len(own)))


def joined_before(curated: Curated, recipe: Recipe, beside: Beside, out: Path) -> Joining | None:
    """Return the parts of the interrupted run of `out`, with the pictures that had joined it; None where there is none."""
    folder = RunFolder.beside(out)
    known = folder.decided()
    if not known:
        return None
    task = named(asked(recipe.task, curated.parts.train))
    parts, kept = arranged(curated.parts, task, order=recipe.data.order), folder.kept("joined")
    tried = tuple(Tried(**{**row, "curve": ()}) for row in known["tried"])
    words = f"as before the interruption{'; ' + tried[-1].what + ': ' + tried[-1].outcome if tried else ''}"
    if kept is None:
        return replace(without_others(parts, beside, words), tried=tried)
    offered = digested(introduced(recipe.data.unlabelled, labels=False, allow_download=beside.allow_download))
    assert offered.digests is not None
    place = {row.tobytes(): k for k, row in enumerate(offered.digests)}
    there = [k for k, row in enumerate(kept["digests"]) if row.tobytes() in place]
    rows = np.array([place[kept["digests"][k].tobytes()] for k in there], np.int64)
    again = with_others(parts, beside, replace(offered, bits=parts.train.bits).take(rows), kept["targets"][there], words)
    return replace(again, tried=tried)


def rows_of(tried: Sequence[Tried], more: Sequence[Tried]) -> tuple[Tried, ...]:
    """Return what was tried, and `more` of it, each once."""
    return (*tried, *(row for row in more if row not in tried))
