"""Simulated tests whose truth is known: intervals, comparisons, and repeated readings. See bench/honesty.py."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta, binom, norm

from beholder.evaluation.sections.reuse import adaptive
from beholder.measure.comparison import mcnemar, needed, power
from beholder.measure.curves import auroc, of_area
from beholder.measure.intervals import proportion, wilson
from beholder.measure.scores import single

TESTS = 10_000


def _ends(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The interval for each number of successes 0..n."""
    k = np.arange(n + 1)
    if kind == "Wilson":
        found = [wilson(int(s), n) for s in k]
        return np.array([f.low for f in found]), np.array([f.high for f in found])
    if kind == "Jeffreys":
        return np.where(k == 0, 0, beta.ppf(0.025, k + 0.5, n - k + 0.5)), np.where(
            k == n, 1, beta.ppf(0.975, k + 0.5, n - k + 0.5)
        )
    if kind == "Clopper-Pearson":
        return np.where(k == 0, 0, beta.ppf(0.025, k, n - k + 1)), np.where(k == n, 1, beta.ppf(0.975, k + 1, n - k))
    low, high = np.zeros(n + 1), np.ones(n + 1)  # mid-p: by bisection
    for end, side in ((low, -1), (high, 1)):
        a, b = np.zeros(n + 1), np.ones(n + 1)
        for _ in range(50):
            m = (a + b) / 2
            tail = (binom.sf(k, n, m) if side < 0 else binom.cdf(k - 1, n, m)) + binom.pmf(k, n, m) / 2
            inside = tail >= 0.025
            a, b = (
                (np.where(inside, a, m), np.where(inside, m, b))
                if side < 0
                else (np.where(inside, m, a), np.where(inside, b, m))
            )
        end[:] = (a + b) / 2
    return np.where(k == 0, 0, low), np.where(k == n, 1, high)


KINDS = ("Wilson", "Jeffreys", "mid-p", "Clopper-Pearson")


def coverage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = {(n, kind): _ends(n, kind) for n in (30, 100, 1000) for kind in KINDS}
    print("| n | accuracy | Wilson, 10,000 tests | " + " | ".join(f"{kind}, exact" for kind in KINDS) + " |")
    for n in (30, 100, 1000):
        k = np.arange(n + 1)
        for p in (0.5, 0.9, 0.99):
            held = {kind: (ends[n, kind][0] <= p) & (p <= ends[n, kind][1]) for kind in KINDS}
            drawn = held["Wilson"][rng.binomial(n, p, TESTS)].mean()
            print(
                f"| {n:,} | {p} | {drawn:.4f} | "
                + " | ".join(f"{binom.pmf(k, n, p) @ held[kind]:.4f}" for kind in KINDS)
                + " |"
            )
    print("mean and least coverage over accuracies 0.5 to 0.99")
    grid = np.linspace(0.5, 0.99, 491)
    for n in (30, 100, 1000):
        mass = binom.pmf(np.arange(n + 1)[:, None], n, grid)
        for kind in KINDS:
            low, high = ends[n, kind]
            got = (mass * ((low[:, None] <= grid) & (grid <= high[:, None]))).sum(0)
            width = (mass * (high - low)[:, None]).sum(0).mean()
            print(f"| {n:,} | {kind} | {got.mean():.4f} | {got.min():.4f} | {width:.4f} |")
    _grouped(rng)
    _areas(rng)
    _means(rng)


def _grouped(rng: np.random.Generator, tests: int = 2000) -> None:
    print("accuracy of grouped pictures: groups, pictures of each, coverage, and of Wilson that ignores the groups")
    for groups, each in ((10, 10), (30, 10), (100, 5)):
        held = plain = 0
        clusters = np.repeat(np.arange(groups), each)
        for _ in range(tests):
            right = rng.random(groups * each) < np.repeat(rng.beta(0.85 * 3, 0.15 * 3, groups), each)
            score, naive = proportion(right, clusters), proportion(right)
            held += score.low <= 0.85 <= score.high
            plain += naive.low <= 0.85 <= naive.high
        print(f"| {groups} | {each} | {held / tests:.4f} | {plain / tests:.4f} |")


def _areas(rng: np.random.Generator, tests: int = 2000) -> None:
    print("AUROC: positives, negatives, truth, coverage of ours, of DeLong with the normal quantile")
    for m, n in ((15, 15), (15, 100), (50, 50), (200, 200)):
        for area in (0.7, 0.9, 0.98):
            held = plain = 0
            truth = np.arange(m + n) < m
            for _ in range(tests):
                scores = rng.standard_normal(m + n) + truth * norm.ppf(area) * np.sqrt(2)
                value, added = auroc(scores, truth)
                variance = float(np.square(added).sum())
                score = of_area(value, added, m + n, units=min(m, n))
                held += score.low <= area <= score.high
                plain += abs(value - area) <= 1.96 * np.sqrt(variance)
            print(f"| {m} | {n} | {area} | {held / tests:.4f} | {plain / tests:.4f} |")


def _means(rng: np.random.Generator, tests: int = 400) -> None:
    print("means over the classes: pictures, classes, score, coverage")
    for n, k in ((60, 3), (200, 10)):
        held: dict[str, list[bool]] = {}
        truth: dict[str, float] = {}
        y = np.arange(200_000) % k
        truth = {
            name: score.value for name, score in single(_guessed(y, k, rng), y, [str(c) for c in range(k)]).headline.items()
        }
        for _ in range(tests):
            y = np.arange(n) % k
            for name, score in single(_guessed(y, k, rng), y, [str(c) for c in range(k)]).headline.items():
                held.setdefault(name, []).append(score.low <= truth[name] <= score.high)
        for name, rows in held.items():
            print(f"| {n} | {k} | {name} | {np.mean(rows):.3f} |")


def _guessed(y: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    p = rng.gumbel(size=(len(y), k)) + 3.0 * np.eye(k)[y]
    p = np.exp(p - p.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def compare(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tests = 10 * TESTS
    print("false alarms at 0.05 of equal recognisers: pictures, share that only one has right, mid-p, exact")
    for n in (30, 100, 1000, 10_000):
        for share in (0.02, 0.1, 0.3):
            changed = rng.binomial(n, share, tests)
            won = rng.binomial(changed, 0.5)
            kinds = [(mcnemar(changed - won, won, mid=mid) <= 0.05).mean() for mid in (True, False)]
            print(f"| {n:,} | {share} | {kinds[0]:.4f} | {kinds[1]:.4f} |")
    print("power: only the first right, only the second, pictures that `needed` names, power as computed, as simulated")
    for lost, won in ((0.02, 0.04), (0.05, 0.08), (0.1, 0.12), (0.01, 0.06), (0.1, 0.3)):
        n = needed(lost, won)
        assert n is not None
        drawn = rng.multinomial(n, [lost, won, 1 - lost - won], size=tests)
        found = (mcnemar(drawn[:, 0], drawn[:, 1]) <= 0.05).mean()
        print(f"| {lost} | {won} | {n:,} | {power(n, lost, won):.4f} | {found:.4f} |")


def readings(seed: int, truth: float = 0.9) -> None:
    """Recognisers that are all equally good, of which the best on the test part is kept; then a vote of those that did well."""
    rng = np.random.default_rng(seed)
    print("the best of T equal recognisers: pictures, T, how often its interval holds the truth: of 0.95, of 1 - 0.05 / T")
    for n in (100, 1000):
        for times in (1, 2, 5, 10, 50):
            best = rng.binomial(n, truth, (TESTS, times)).max(axis=1)
            seen = {int(k): (wilson(int(k), n), wilson(int(k), n, level=1 - 0.05 / times)) for k in np.unique(best)}
            held = [np.mean([seen[int(k)][i].low <= truth <= seen[int(k)][i].high for k in best]) for i in (0, 1)]
            print(f"| {n:,} | {times} | {held[0]:.4f} | {held[1]:.4f} |")
    print(
        "guesses at two classes by a vote of T coins' tosses that did well on the test part (truth 0.5): score, then intervals"
    )
    n, tests = 1000, 200
    for times in (2, 10, 50, 200):
        scores = []
        for _ in range(tests):
            guesses = rng.integers(0, 2, (times, n))
            good = guesses.mean(axis=1) > 0.5  # the truth is 1 for every picture, which the tosses do not know
            votes = np.where(good[:, None], guesses, 1 - guesses)
            scores.append(((votes.sum(0) + rng.random(n) - 0.5) > times / 2).mean())
        mean = float(np.mean(scores))
        score = wilson(mean * n, n)
        wide, sure = wilson(mean * n, n, level=1 - 0.05 / (times + 1)), adaptive(score, times + 1)
        print(f"| {times} | {mean:.3f} | {score.low:.3f} | {wide.low:.3f} | {sure.low:.3f} |")
