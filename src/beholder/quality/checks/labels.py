"""Labels that may be wrong, by confident learning on out-of-fold probabilities.

A net that never saw a picture says how probable each class is; the given labels say how the people who gave them err. Both
together give, for each picture, the probability that its label is wrong, if people err as the set suggests: so suspects are
found. Whether a suspect is more than a mistake of the net's is for `beholder.quality.checks.certainty` to say, and where that
cannot be known for a person. Pure arithmetic on arrays.

Source: Northcutt, Jiang & Chuang, Confident learning, JAIR 70 (2021): thresholds by class, and the joint counts of given and
confidently guessed classes. Those counts are where expectation-maximisation of the noise begins here (Dawid & Skene 1979,
with the net in the place of the other raters). What was compared is in docs/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F64, I64, Floating
from beholder.base.order import spread
from beholder.quality.checks import Check, Evidence, Marks
from beholder.quality.checks.certainty import settled

TEMPERATURES = (0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 4.0)
"""Exponents of the probabilities that are tried: above 1 where the net is less sure than it could be."""

PRIOR = 10.0
"""Pictures' worth of the belief that nine labels in ten of each class are right."""

EVEN = 0.5
"""How far the noise is drawn towards one that confuses all classes alike: who errs and what the net cannot tell go together."""

FITTED = 20_000
"""Pictures that the noise is fitted to, an even sample of a larger set: or 50 a class, where these are more."""

CONFIDENT = 0.05
"""Share of the pictures guessed to be of a class, the surest, whose labels bound its noise: a net that is poor, not the labels,
is to blame for the rest (anchor points: Patrini et al. 2017, Making deep neural networks robust to label noise)."""

SURE, SURE_OF_TWO = 0.6, 0.9
"""Least probability of another class for which it is suggested, and else of a wrong label for which dropping is: of two classes
more, for there no other pair shows whether a net's sure mistakes are its own (docs/LOG.md)."""

SUSPECT = 0.5
"""What a suspicion counts at most where it is not settled that the label is wrong: as much as its being right."""

LEAST = 10
"""Pictures of a class below which nothing is said of those that carry its label."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What probabilities and labels together say.

    wrong:       float64 (N,), the probability that the given label is wrong
    classes:     float64 (N, K), the probability of each class, given the label; rows sum to 1
    noise:       float64 (K, K), how probable it is that a picture of class i (row) is given label j
    temperature: the exponent that the probabilities were raised to
    """

    wrong: F64
    classes: F64
    noise: F64
    temperature: float


def confident_joint(probabilities: F64, given: I64) -> F64:
    """Return counts, float64 (K, K): pictures that are confidently of class i (row) and given label j.

    probabilities: (N, K), out of fold; given: int64 (N,). A picture is confidently of a class where its probability is at
    least the mean probability of that class over the pictures with its label, and of several such classes the most probable.
    """
    k = probabilities.shape[1]
    sums = np.zeros(k)
    np.add.at(sums, given, probabilities[np.arange(len(given)), given])
    counts = np.bincount(given, minlength=k)
    limits = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    sure = np.where(probabilities >= limits, probabilities, -1.0)
    known = sure.max(axis=1) >= 0
    joint = np.zeros((k, k))
    np.add.at(joint, (sure.argmax(axis=1)[known], given[known]), 1.0)
    return joint


def beliefs(probabilities: Floating, given: I64, *, steps: int = 50) -> Beliefs:
    """Return how probable each class is given both the picture and its label.

    probabilities: (N, K), out of fold, without NaN; given: int64 (N,) in 0..K-1.
    The noise and the temperature are those under which the given labels are most probable, found by expectation-maximisation
    from the confident joint on, with a weak belief in the labels (`PRIOR`); then the noise is made more even (`EVEN`)
    and bounded (`CONFIDENT`), and the doubt about all labels raised alike (`_doubted`).
    """
    p = probabilities.astype(np.float64)
    logs = np.log(np.clip(p, 1e-6, 1.0))
    some = spread(len(p), max(FITTED, 50 * p.shape[1]))
    start = _shares(confident_joint(p, given))
    found = [_fitted(logs[some], given[some], start, temperature, steps) for temperature in TEMPERATURES[1::2]]
    noise = _bounded(max(found, key=lambda one: one[0])[1], np.diag(_anchors(p, given)))
    temperature = max(TEMPERATURES, key=lambda each: _likelihood(logs[some], given[some], noise, each))
    joint = _sharpened(logs, temperature) * noise[:, given].T
    classes = joint / joint.sum(axis=1, keepdims=True)
    classes = _doubted(classes, given, _suspected(p, given), _knowledge(p, classes, given))
    return Beliefs(1 - classes[np.arange(len(given)), given], classes, noise, temperature)


def _suspected(p: F64, given: I64) -> float:
    """Return the share of wrong labels by the confident joint, each label counted as often as it is given."""
    counts = confident_joint(p, given)
    sums, given_counts = counts.sum(axis=0), np.bincount(given, minlength=len(counts))
    kept = np.diag(counts) / np.maximum(sums, 1)
    return float(1 - (kept * given_counts)[sums > 0].sum() / max(1, given_counts[sums > 0].sum()))


def _knowledge(p: F64, classes: F64, given: I64) -> float:
    """Return how much oftener the net is believed to be right than who always says the commonest label: 0 not, 1 always."""
    right = classes[np.arange(len(given)), p.argmax(axis=1)].mean()
    common = np.bincount(given).max() / len(given)
    return float(np.clip((right - common) / max(1 - common, 1e-12), 0, 1))


def _doubted(classes: F64, given: I64, suspected: float, knowledge: float) -> F64:
    """Return the probabilities with the odds of all labels' being wrong raised alike; the order of the pictures stays.

    Their mean becomes the geometric mean of itself and of the share that is `suspected`, where that is more; nearer to itself
    for a net of little `knowledge`, and the more the two disagree. The noise alone doubts too little where people err on the
    pictures that a net cannot tell either; the confident joint doubts too much, for it takes the net's mistakes for the
    labels' (docs/LOG.md).
    """
    wrong = np.clip(1 - classes[np.arange(len(given)), given], 1e-12, 1 - 1e-12)
    weight = min(0.5, knowledge, wrong.mean() / max(suspected, 1e-12))
    share = wrong.mean() ** (1 - weight) * suspected**weight
    low, high = 0.0, 6.0
    for _ in range(40):
        middle = (low + high) / 2
        raised = wrong / (wrong + (1 - wrong) * np.exp(-middle))
        low, high = (middle, high) if raised.mean() < share else (low, middle)
    found = classes * np.exp(low)
    found[np.arange(len(given)), given] = classes[np.arange(len(given)), given]
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _anchors(p: F64, given: I64) -> F64:
    """Return the shares of the given labels (columns), (K, K), among the pictures most surely guessed of each class."""
    k = p.shape[1]
    best = p.argmax(axis=1)
    counts = np.zeros((k, k))
    for label in range(k):
        rows = np.flatnonzero(best == label)
        surest = rows[np.argsort(-p[rows, label], kind="stable")][: max(20, int(CONFIDENT * len(rows)))]
        counts[label] = np.bincount(given[surest], minlength=k)
    return _shares(counts)


def _bounded(noise: F64, right: F64) -> F64:
    """Return the noise drawn towards an even one, with labels right at least as often as `right`, (K,), says."""
    k = len(noise)
    own = np.diag(noise)
    others = np.where(np.eye(k, dtype=bool), 0.0, (1 - EVEN) * noise + EVEN * ((1 - own) / max(k - 1, 1))[:, None])
    own = np.maximum(own, right)
    others *= ((1 - own) / np.maximum(others.sum(axis=1), 1e-12))[:, None]
    return np.asarray(others + np.diag(own))


def _likelihood(logs: F64, given: I64, noise: F64, temperature: float) -> float:
    return float(np.log((_sharpened(logs, temperature) * noise[:, given].T).sum(axis=1)).mean())


def _fitted(logs: F64, given: I64, noise: F64, temperature: float, steps: int) -> tuple[float, F64]:
    """Return (mean log-likelihood of the labels, noise) after so many steps of expectation-maximisation."""
    k = logs.shape[1]
    prior = _sharpened(logs, temperature)
    order = np.argsort(given, kind="stable")
    starts = np.searchsorted(given[order], np.arange(k))
    filled = np.flatnonzero(np.bincount(given, minlength=k))
    for _ in range(steps):
        joint = prior * noise[:, given].T
        joint /= joint.sum(axis=1, keepdims=True)
        counts = np.zeros((k, k))
        counts[:, filled] = np.add.reduceat(joint[order], starts[filled], axis=0).T
        noise = _shares(counts)
    return _likelihood(logs, given, noise, temperature), noise


def _shares(counts: F64) -> F64:
    """Return counts (K, K) as rows that sum to 1, with `PRIOR` pictures added to each row, nine in ten on the diagonal."""
    k = len(counts)
    belief = np.full((k, k), 0.1 / max(k - 1, 1))
    np.fill_diagonal(belief, 0.9 if k > 1 else 1.0)
    mixed = counts + PRIOR * belief
    return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))


def _sharpened(logs: F64, temperature: float) -> F64:
    powers = np.exp(temperature * (logs - logs.max(axis=1, keepdims=True)))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def doubts(probabilities: Floating, given: I64) -> tuple[F64, F64, I64]:
    """Return how doubtful each label is, (N,), what is settled of the classes, (N, K), and the class that is likest but for it.

    The doubt is the settled probability that the label is wrong, or half (`SUSPECT`) the suspicion, where that is more.
    """
    rows = np.arange(len(given))
    said, classes = beliefs(probabilities, given), settled(probabilities, given)
    doubt = np.maximum(1 - classes[rows, given], SUSPECT * said.wrong)
    others = probabilities.astype(np.float64)
    others[rows, given] = -1.0
    return doubt, classes, others.argmax(axis=1)


AGREES = 0.5
"""Share of labels that a net must give itself to judge them. One that learnt from a few dozen pictures is sure of wrong things,
which looks like wrong labels: of 120 clean photos it doubted 70."""


def label(evidence: Evidence) -> Marks:
    """Score by how doubtful the label is; with several labels a picture, by that of the most doubtful of its classes.

    Another class, or to drop the picture, is suggested only where that is settled (`SURE`): else a person has to look. Pictures
    whose label is carried by fewer than `LEAST` get no score, and none does where the net knows too little to judge (`AGREES`).
    """
    assert evidence.probabilities is not None
    pictures, p = evidence.pictures, evidence.probabilities
    known = np.flatnonzero(np.isfinite(p).all(axis=1))
    if pictures.multi:
        return _multi(evidence, known)
    counts = np.bincount(pictures.targets[known].astype(np.int64), minlength=len(pictures.classes))
    common = known[counts[pictures.targets[known]] >= LEAST]
    scores = np.full(len(pictures), np.nan)
    relabel = np.full(len(pictures), -1, np.int64)
    suggest: dict[int, str] = {}
    words: dict[int, str] = {}
    given = pictures.targets[common].astype(np.int64)
    knows = len(common) > 0 and (p[common].argmax(axis=1) == given).mean() >= AGREES
    if knows and np.count_nonzero(counts >= LEAST) > 1:
        doubt, classes, best = doubts(p[common], given)
        scores[common] = doubt
        share, right = classes[np.arange(len(given)), best], classes[np.arange(len(given)), given]
        least = SURE if np.count_nonzero(counts >= LEAST) > 2 else SURE_OF_TWO
        for at in np.flatnonzero(doubt >= LABEL.limit).tolist():
            row, name = int(common[at]), pictures.classes[best[at]]
            words[row] = f"given '{pictures.classes[given[at]]}', may be '{name}'"
            if share[at] >= least:
                suggest[row], relabel[row] = "relabel", best[at]
                words[row] = f"given '{pictures.classes[given[at]]}', looks like '{name}' ({share[at]:.0%})"
            elif 1 - right[at] >= least:
                suggest[row] = "drop"
    return Marks(scores, relabel=relabel, words=words, suggest=suggest)


def _multi(evidence: Evidence, known: I64) -> Marks:
    pictures, p = evidence.pictures, evidence.probabilities
    assert p is not None
    scores = np.full(len(pictures), np.nan)
    words: dict[int, str] = {}
    for k, name in enumerate(pictures.classes):
        given = (pictures.targets[known, k] > 0).astype(np.int64)
        if not LEAST <= given.sum() <= len(given) - LEAST:
            continue
        doubt = doubts(np.column_stack([1 - p[known, k], p[known, k]]), given)[0]
        worse = ~(doubt <= scores[known])  # also where nothing was said yet
        scores[known[worse]] = doubt[worse]
        for at in np.flatnonzero(worse & (doubt >= LABEL.limit)).tolist():
            what = "is given, but does not seem to be there" if given[at] else "is not given, but seems to be there"
            words[int(known[at])] = f"'{name}' {what} ({doubt[at]:.0%})"
    return Marks(scores, words=words)


LABEL = Check(
    label,
    limit=0.25,
    sentence="its label may be wrong",
    hint="check it; another class is suggested where it is at least 60 % probable (of two classes 90 %)",
    group="labels",
    suggestion="review",
    needs=("probabilities",),
)
