"""The parts of bench/audit.py about twins."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from planted import CHANGES, SECOND_SHOTS, plant

from beholder.base.records import Pictures
from beholder.data.split import split
from beholder.duplicates.facts import facts
from beholder.duplicates.hashing import alike
from beholder.duplicates.near import COPY, LIKE, TIED, Twins, agreements
from beholder.duplicates.near import twins as find
from beholder.quality.audit import audit
from beholder.quality.checks import Evidence
from beholder.quality.checks.duplicates import leaks
from beholder.sources import scan
from beholder.sources.digest import digested

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
EACH = 300
Pairs = set[tuple[int, int]]


class Truth:
    """Which pictures show the same: families of an original and its copies; second shots of one thing count neither way."""

    def __init__(self, keys: list[str], copies: dict[str, str]) -> None:
        self.index = {key: row for row, key in enumerate(keys)}
        self.family = [copies.get(key, key) for key in keys]
        self.kind = [Path(key).name.rsplit("-", 1)[0] if key in copies else "" for key in keys]
        self.planted = {pair(self.index[a], self.index[b]): self.kind[self.index[a]] for a, b in copies.items()}
        self.shots = {frozenset(names) for names in SECOND_SHOTS}

    def judge(self, a: int, b: int) -> str:
        """Return right, shot (a second photo of the same thing, in TrashNet as it comes) or wrong."""
        if self.family[a] == self.family[b]:
            return "right"
        return "shot" if frozenset(Path(self.family[row]).stem for row in (a, b)) in self.shots else "wrong"

    def row(self, found: Pairs, kind: str) -> str:
        """Return recall and precision as they are printed; kind: of the copies, "" for all."""
        wanted = [p for p, what in self.planted.items() if kind in ("", what)]
        recall = sum(p in found for p in wanted) / len(wanted)
        verdicts = [self.judge(a, b) for a, b in found if not kind or kind in (self.kind[a], self.kind[b])]
        right, wrong = verdicts.count("right"), verdicts.count("wrong")
        return f"{recall:6.3f} {right / max(right + wrong, 1):6.3f}"


def pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def pairs_of(found: Twins, least: float = LIKE, most: float = 255) -> Pairs:
    """Return all pairs of pictures that are twins, exact and near, each of a kind with each of the other.

    most: levels by which the light of near twins may differ
    """
    order = np.argsort(found.kinds, kind="stable")
    names, starts = np.unique(found.kinds[order], return_index=True)
    rows = dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
    sure = (found.scores >= least) & ((found.light <= most) if found.light is not None else True)
    near = [(rows[a], rows[b]) for a, b in found.near[sure].tolist()]
    copies = [(some, some) for some in rows.values() if len(some) > 1]
    return {pair(int(a), int(b)) for one, other in near + copies for a in one for b in other if a != b}


def folder_of(seed: int, folder: Path) -> dict[str, str]:
    return plant(SHARED / "trashnet.zip", folder, each=EACH, seed=seed)


def looked_at(source: Path | Pictures, cache: Path) -> tuple[Pictures, npt.NDArray[np.void]]:
    pictures = digested(source if isinstance(source, Pictures) else scan(source), root=cache)
    return pictures, facts(pictures, root=cache)


def twins(seed: int) -> None:
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there) / "planted"
        copies = folder_of(seed, folder)
        began = time.perf_counter()
        pictures, known = looked_at(folder, Path(there) / "cache")
        middle = time.perf_counter()
        found = find(pictures, known)
        seconds = time.perf_counter() - middle
        truth = Truth(list(pictures.keys), copies)
        methods = {"Beholder": pairs_of(found), "its copies": pairs_of(found, most=COPY), **peers(folder, truth)}
        print(f"{len(pictures)} pictures, {len(copies)} copies, seed {seed}")
        print(f"seconds of Beholder: decoding and facts {middle - began:.1f}, twins {seconds:.1f}")
        print(f"{'recall, precision':20}" + "".join(f"{name:>22}" for name in methods))
        for kind in (*CHANGES, ""):
            print(f"{kind or 'all':20}" + "".join(f"{truth.row(pairs, kind):>22}" for pairs in methods.values()))
        verdicts = {name: [truth.judge(a, b) for a, b in pairs] for name, pairs in methods.items()}
        print(f"{'second shots':20}" + "".join(f"{some.count('shot'):22}" for some in verdicts.values()))
        print(f"{'wrong pairs':20}" + "".join(f"{some.count('wrong'):22}" for some in verdicts.values()))
        strict = {n: some.count("right") / max(len(some), 1) for n, some in verdicts.items()}
        print(f"{'precision, strict':20}" + "".join(f"{value:22.3f}" for value in strict.values()))
        unlike(pictures, truth, seed)


def unlike(pictures: Pictures, truth: Truth, seed: int) -> None:
    """Print what the score is of pairs drawn at random, none of which shows the same."""
    rng = np.random.default_rng(seed)
    some = rng.integers(0, len(pictures), (5_000, 2))
    some = np.array([sorted(p) for p in some.tolist() if truth.judge(*p) == "wrong"], np.int64)
    scores = agreements(pictures, some, np.zeros(len(some), np.int64), apart=np.zeros(len(some), bool)).scores
    at = " ".join(f"{q:g}: {np.quantile(scores, q):.3f}" for q in (0.5, 0.9, 0.99, 0.999, 1))
    print(f"score of {len(some)} random pairs of different things, quantiles {at}")


def peers(folder: Path, truth: Truth) -> dict[str, Pairs]:
    """Return what the peers find: hashes at imagededup's distance of 10 and at that which is best in hindsight."""
    if not Path(PEERS).exists():
        print(f"peers are absent ({PEERS}): see bench/peers.txt", file=sys.stderr)
        return {}
    out = subprocess.run(
        [PEERS, str(Path(__file__).parent / "peer_twins.py"), str(folder)], capture_output=True, text=True, check=True
    )
    found = json.loads(out.stdout)
    print("seconds of the peers, decoding included: " + ", ".join(f"{n} {s:.1f}" for n, s in found["seconds"].items()))
    rows = [truth.index[name] for name in found["names"]]
    methods = {}
    for name in ("phash", "dhash"):
        by_distance = hamming([int(code, 16) for code in found[name]], rows)
        best = max(range(0, 17, 2), key=lambda most: f1(within(by_distance, most), truth))
        methods |= {f"{name} <= {most}": within(by_distance, most) for most in sorted({best, 10})}
    sets = [[truth.index[name] for name in group] for group in found["CleanVision"]]
    methods["CleanVision"] = {pair(a, b) for group in sets for a in group for b in group if a < b}
    return methods


def hamming(codes: list[int], rows: list[int], most: int = 16) -> dict[int, Pairs]:
    """Return the pairs at each Hamming distance up to `most`."""
    values = np.array(codes, np.uint64)
    found: dict[int, Pairs] = {distance: set() for distance in range(most + 1)}
    for k in range(len(values) - 1):
        apart = np.bitwise_count(values[k + 1 :] ^ values[k])
        for other in np.flatnonzero(apart <= most).tolist():
            found[int(apart[other])].add(pair(rows[k], rows[k + 1 + other]))
    return found


def within(by_distance: dict[int, Pairs], most: int) -> Pairs:
    return set().union(*(pairs for distance, pairs in by_distance.items() if distance <= most))


def f1(found: Pairs, truth: Truth) -> float:
    recall, precision = (float(value) for value in truth.row(found, "").split())
    return 2 * recall * precision / max(recall + precision, 1e-9)


def leakage(seed: int) -> None:
    """Give half of the copies another part than their original, and look which pictures of earlier parts are marked."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there) / "planted"
        copies = folder_of(seed, folder)
        pictures, known = looked_at(folder, Path(there) / "cache")
        found = find(pictures, known)
        truth = Truth(list(pictures.keys), copies)
        parts = rng.choice(3, len(pictures), p=(0.7, 0.15, 0.15)).astype(np.int8)
        for copy, original in copies.items():
            here = parts[truth.index[original]]
            other = rng.choice([part for part in range(3) if part != here])
            parts[truth.index[copy]] = other if rng.random() < 0.5 else here
        score, other = leaks(replace(pictures, parts=parts), found)
        earlier = {p[int(parts[p[0]] > parts[p[1]])] for p in truth.planted if parts[p[0]] != parts[p[1]]}
        marked = {int(row) for row in np.flatnonzero(score >= LIKE)}
        # What is a leak by a second shot alone is neither planted nor wrong.
        judged = [row for row in marked if row in earlier or truth.judge(row, int(other[row])) == "wrong"]
        right = len(marked & earlier)
        print(f"planted leaks {len(earlier)}: recall {right / len(earlier):.3f}, precision {right / max(len(judged), 1):.3f}")
        print(f"also marked, for TrashNet has a second shot of them: {len(marked) - len(judged)}")
        for name, given in (("without", None), ("with", found)):
            where = {key: part for part, held in split(pictures, seed=seed, twins=given).items() for key in held.keys}
            torn = Counter(truth.kind[truth.index[copy]] for copy, original in copies.items() if where[copy] != where[original])
            print(f"split {name} twins: {torn.total()} of {len(copies)} copies are torn from their original {dict(torn)}")


def cifar(seed: int) -> None:
    """Count the test pictures of CIFAR-10 that have a twin among the training pictures."""
    with tempfile.TemporaryDirectory() as there:
        pictures, known = looked_at(SHARED / "cifar10.zip", Path(there))
        began = time.perf_counter()
        found = find(pictures, known)
        seconds = time.perf_counter() - began
    test = pictures.parts == 2
    print(f"{len(pictures)} pictures, twins in {seconds:.1f} s; published: 3.25 % of the test pictures (Barz & Denzler 2020)")
    for least in (LIKE, 0.8, TIED):
        pairs = pairs_of(found, least)
        across = [(a, b) if test[b] else (b, a) for a, b in pairs if test[a] != test[b]]
        share = len({b for _, b in across}) / test.sum()
        apart = sum(pictures.labels(a) != pictures.labels(b) for a, b in across)
        print(f"score >= {least:g}: {len(across)} pairs, {share:.2%} of the test pictures, {apart} pairs with different labels")
        listed(pictures, across)


def listed(pictures: Pictures, across: Iterable[tuple[int, int]]) -> None:
    """Compare with the published list, where its path is given (CIFAIR: meta/duplicates_cifar10.csv of ciFAIR)."""
    path = os.environ.get("CIFAIR")
    if path:
        numbers = [int("".join(c for c in Path(key).stem if c.isdigit())) for key in pictures.keys]
        found = {(numbers[b], numbers[a]) for a, b in across}
        with Path(path).open() as file:
            rows = [(int(row["TestID"]), int(row["TrainID"]), row["Judgment"]) for row in csv.DictReader(file)]
        for code, name in (("1", "near-duplicates"), ("2", "very similar")):
            some = {(a, b) for a, b, verdict in rows if verdict == code}
            print(f"  of {len(some)} published {name} {len(some & found)} are found")
        print(f"  of {len(found)} pairs {len(found - {(a, b) for a, b, _ in rows})} are not in the published list")


def exact(seed: int) -> None:
    for name in ("brain-mri.zip", "trashnet.zip"):
        with tempfile.TemporaryDirectory() as there:
            pictures, known = looked_at(SHARED / name, Path(there))
            found = find(pictures, known)
        result = audit(Evidence(pictures, known, twins=found), names=["duplicate", "near-duplicate", "conflict", "colour-mode"])
        beyond = len(pictures) - len(np.unique(found.kinds))
        counts = ", ".join(f"{row['check']} {row['found']}" for row in result.summary())
        print(f"{name}: {len(pictures)} pictures, {beyond} exact copies beyond the first; {counts}")


class Waves:
    """A store of made-up pictures: random low frequencies by number; a negative number is a copy, mirrored and darker."""

    name = "waves"

    def stamp(self, key: str) -> str:
        return ""

    def read(self, key: str) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng(abs(int(key)))
        side = 96
        waves = np.cos(np.pi * np.arange(24)[:, None] * (np.arange(side) + 0.5) / side)
        fall = 1 / (1 + np.hypot(*np.mgrid[:24, :24]))
        picture = waves.T @ (rng.normal(size=(24, 24)) * fall) @ waves
        pixels = np.clip(128 + 60 * picture / picture.std(), 0, 255)
        return (pixels[:, ::-1] * 0.9 if key.startswith("-") else pixels).astype(np.uint8)


def scale(seed: int) -> None:
    """Time 100,000 pictures, 10,000 of which are copies."""
    keys = [str(number) for number in range(1, 90_001)] + [f"-{number}" for number in range(1, 10_001)]
    n = len(keys)
    none = np.full(n, -1, np.int64)
    digests = np.zeros((n, 32), np.uint8)
    digests[:, :8] = np.arange(n, dtype="<u8")[:, None].view(np.uint8).reshape(n, 8)
    pictures = Pictures(Waves(), keys, np.zeros(n, np.int64), ("a",), none.astype(np.int8), none, digests)
    with tempfile.TemporaryDirectory() as there:
        began = time.perf_counter()
        known = facts(pictures, root=there)
        middle = time.perf_counter()
        candidates, _ = alike(known["hash"])
        later = time.perf_counter()
        found = find(pictures, known)
        end = time.perf_counter()
    right = sum((keys[a], keys[b]) == (keys[a], f"-{keys[a]}") for a, b in pairs_of(found))
    print(f"{n} pictures of 96 × 96: made and measured in {middle - began:.0f} s")
    print(f"candidates {len(candidates)} in {later - middle:.1f} s; candidates and comparison in {end - later:.1f} s")
    print(f"of 10,000 copies {right} are found; {len(pairs_of(found)) - right} other pairs")
