"""The parts of bench/honesty.py about what is fitted on validation: calibration, sets of classes, operating points."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.bundle.bundle import load
from beholder.evaluation.evaluate import evaluate
from beholder.evaluation.sections.selective import abstention
from beholder.measure import conformal
from beholder.measure.calibration import choose
from beholder.measure.families import CATEGORICAL
from beholder.measure.intervals import wilson
from beholder.measure.reliability import calibration_error, certainties, measures
from beholder.measure.selective import accepting, finding, mistakes
from beholder.study.calibrate import calibrate

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
BUNDLES = Path(os.environ.get("BEHOLDER_BUNDLES", ROOT / "bench" / "out" / "bundles"))
SOURCES = {"cifar": "cifar10.zip", "trashnet": "trashnet.zip"}

Part = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Row = dict[str, Any]


@cache
def parts(name: str) -> tuple[Part, Part]:
    """Return (logits (N, K), targets (N,)) of the validation and of the test part, read without counting the reading."""
    bundle = replace(load(BUNDLES / f"{name}.beholder"), path=None)
    found = []
    for part in ("valid", "test"):
        with events.listen(alone=True):
            evaluation = evaluate(bundle, SHARED / SOURCES[name], part=part)
        found.append((evaluation.logits, evaluation.targets))
    return found[0], found[1]


def here() -> list[str]:
    """Return the names of the recognisers that are there."""
    for name in SOURCES:
        if not (BUNDLES / f"{name}.beholder").is_dir():
            print(f"{name}: left out, there is no {name}.beholder in BEHOLDER_BUNDLES")
    return [name for name in SOURCES if (BUNDLES / f"{name}.beholder").is_dir()]


def splits(name: str, repeats: int, seed: int) -> Iterator[tuple[Part, Part]]:
    """Yield new divisions of the validation and test pictures into two parts of the same sizes."""
    (z, y), (other, more) = parts(name)
    logits, targets = np.concatenate([z, other]), np.concatenate([y, more])
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(logits))
        one, two = order[: len(z)], order[len(z) :]
        yield (logits[one], targets[one]), (logits[two], targets[two])


def calibration(seed: int = 0) -> None:
    """Print calibration error, Brier score and loss before and after, and how often a new split was made worse."""
    for name in here():
        (z, y), (new, truth) = parts(name)
        found = choose(z, y, family=CATEGORICAL)
        print(f"{name}: {found.method}, temperature {1 / found.scale.mean():.3f}, fitted on {found.n}; {found.reason}")
        both = [(CATEGORICAL.probabilities(a), CATEGORICAL.losses(a, truth)) for a in (new, found(new))]
        told = measures(both, truth, family=CATEGORICAL)
        for label, scores in (("before", told.scores(0)), ("after", told.scores(1)), ("difference", told.difference(1, 0))):
            print(f"  {label:10} " + "  ".join(f"{key} {score}" for key, score in scores.items()))
        rows = [_again(*split, number) for number, split in enumerate(splits(name, 20, seed))]
        methods = [row["method"] for row in rows]
        print(f"  20 splits: { ({m: methods.count(m) for m in sorted(set(methods))}) }")
        for key in ("ece", "ece_plain", "nll"):
            before, after = (np.array([row[key][i] for row in rows]) for i in (0, 1))
            words = f"{before.mean():.4f} → {after.mean():.4f} (largest after {after.max():.4f})"
            print(f"    {key:9} {words}, worse in {int((after > before).sum())} of 20, by at most {(after - before).max():.5f}")


def _again(valid: Part, test: Part, seed: int) -> Row:
    found = choose(*valid, family=CATEGORICAL, seed=seed)
    new, truth = test
    row: Row = {"method": found.method, "ece": [], "ece_plain": [], "nll": []}
    for z in (new, found(new)):
        pair = certainties(CATEGORICAL.probabilities(z), truth, family=CATEGORICAL)
        row["ece"].append(calibration_error(*pair))
        row["ece_plain"].append(calibration_error(*pair, debiased=False))
        row["nll"].append(float(CATEGORICAL.losses(z, truth).mean()))
    return row


def sets(seed: int = 0) -> None:
    """Print the mean coverage of sets in 200 new splits beside the promise, with the mean size of a set."""
    for name in here():
        (z, y), (_, truth) = parts(name)
        scaling = choose(z, y, family=CATEGORICAL)
        divided = [[(CATEGORICAL.probabilities(scaling(a)), b) for a, b in both] for both in splits(name, 200, seed)]
        print(f"{name}: fitted on {len(y)}, tried on {len(truth)} pictures, 200 splits")
        for kind in conformal.KINDS:
            for per_class in (False, True):
                for promise in (0.8, 0.9, 0.95, 0.99):
                    print("  " + _covered(divided, kind, promise, per_class=per_class))


def _covered(divided: list[list[tuple[Any, Any]]], kind: str, promise: float, *, per_class: bool) -> str:
    covered, sizes, worst = [], [], []
    for (p, y), (q, truth) in divided:
        inside = conformal.fit(p, y, coverage=promise, kind=kind, per_class=per_class)(q)
        held = inside[np.arange(len(truth)), truth]
        covered.append(held.mean())
        sizes.append(inside.sum(axis=1).mean())
        worst.append(min(held[truth == k].mean() for k in range(p.shape[1])))
    words = f"{kind:8} {'each class' if per_class else 'overall':10} promised {promise:.2f}: covered {np.mean(covered):.4f}"
    return f"{words} (sd {np.std(covered):.4f}), size {np.mean(sizes):.2f}, worst class {np.mean(worst):.3f}"


def risk(seed: int = 0) -> None:
    """Print how often promises of risk and of sensitivity were broken, where 5 % may be."""
    for n in (200, 1000, 5000):
        for target in (0.02, 0.05, 0.1):
            _simulated(n, target, seed)
    for n in (59, 93, 200, 1000):
        thresholds = [finding(np.random.default_rng([seed, r]).random(n), sensitivity=0.95).threshold for r in range(4000)]
        lost = np.array([t for t in thresholds if t is not None])
        broken = wilson(int((lost > 0.05).sum()), len(thresholds))
        print(f"sensitivity 0.95, n = {n}: broken in {broken}; mean sensitivity {1 - lost.mean():.4f}")
    for name in here():
        (z, y), _ = parts(name)
        scaling = choose(z, y, family=CATEGORICAL)
        for target in (0.02, 0.05):
            _split_risk(name, scaling, target, seed)


def _simulated(n: int, target: float, seed: int) -> None:
    """Certainties s uniform in 0..1 and wrong with probability (1 - s)²: above t the risk is (1 - t)² / 3."""
    thresholds = []
    for repeat in range(2000):
        rng = np.random.default_rng([seed, n, repeat])
        sure = rng.random(n)
        thresholds.append(accepting(sure, rng.random(n) < (1 - sure) ** 2, risk=target).threshold)
    made = np.array([t for t in thresholds if t is not None])
    broken = wilson(int(((1 - made) ** 2 / 3 > target).sum()), len(thresholds))
    answered = (1 - made).mean() if len(made) else 0.0
    words = f"answered {answered:.3f}, at best {(3 * target) ** 0.5:.3f}"
    print(f"risk {target}, n = {n}: a threshold in {len(made) / 2000:.3f}, broken in {broken}; {words}")


def _split_risk(name: str, scaling: Any, target: float, seed: int) -> None:
    """Of splits of a finite set the risk on the other part is itself a sample: it may be above more often than the true one."""
    above, answered, risks = 0, [], []
    for (z, y), (new, truth) in splits(name, 200, seed):
        p, q = (CATEGORICAL.probabilities(scaling(a)) for a in (z, new))
        point = accepting(CATEGORICAL.certainty(p), mistakes(CATEGORICAL.answers(p), y), risk=target)
        if point.threshold is None:
            continue
        taken = CATEGORICAL.certainty(q) >= point.threshold
        wrong = mistakes(CATEGORICAL.answers(q), truth)[taken].mean()
        above, answered, risks = above + (wrong > target), [*answered, taken.mean()], [*risks, wrong]
    mean = f"answered {np.mean(answered):.3f}, risk {np.mean(risks):.4f} on average" if answered else "no threshold"
    print(f"{name}, risk {target}: a threshold in {len(answered)} of 200 splits; {mean}, above the target in {above}")


def pneumonia(seed: int = 0) -> None:
    """Print sensitivity and specificity of pneumonia.beholder on the test, as guessed and at the operating point."""
    path, source = BUNDLES / "pneumonia.beholder", SHARED / "pneumonia.zip"
    if not path.is_dir():
        print("left out: there is no pneumonia.beholder in BEHOLDER_BUNDLES")
        return
    bundle = replace(load(path), path=None)
    with events.listen(alone=True):
        calibrated = calibrate(bundle, source, sensitivity=0.95, positive="pneumonia")
        tested = evaluate(calibrated.bundle, source)
    print(calibrated)
    of = tested.scores.classes["pneumonia"]
    print(f"as guessed:         sensitivity {of['recall']}, specificity {of['specificity']}")
    told = abstention(calibrated.bundle, tested)
    assert told is not None
    for name in ("sensitivity", "specificity", "precision"):
        score = told["sensitivity"][name]
        print(f"operating point:    {name} {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] (n={score['n']})")
