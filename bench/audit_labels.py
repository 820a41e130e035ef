"""Label errors: how well they are ranked, beside cleanlab, and what following the suggestions is worth in training.

    .venv/bin/python bench/audit_labels.py scores [NOISE …]
        CIFAR-10 with the labels that people gave (aggre, random1, worse): cleanlab on the same probabilities
    .venv/bin/python bench/audit_labels.py usual [sorted] [NOISE …]
        the same by cleanlab's usual set-up, a logistic regression in 5 folds on the same features, the pictures in CIFAR-10's
        own order, or sorted by their true class; goes on where it was ended
    .venv/bin/python bench/audit_labels.py training NOISE [SEED …] [given] [fixed] [true]
        accuracy on the test part, whose labels are sound, without and with the suggestions followed, and with true labels;
        goes on where it was ended
    .venv/bin/python bench/audit_labels.py planted [trashnet | fashion-mnist …] [COUNT]
        labels turned at random
    .venv/bin/python bench/audit_labels.py candidates
        the 275 suspect test labels that people looked at
    .venv/bin/python bench/audit_labels.py cells
        several labels a picture

All use MobileNetV2's features of pictures enlarged to 128 pixels. cleanlab runs in an environment of its own (bench/peers.txt;
BEHOLDER_PEERS: its python), on the same probabilities, or for `usual` on the same features.
Needs the shared pictures (BEHOLDER_SHARED, default ../shared).
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student

import beholder
from beholder.base.recipe import load
from beholder.base.records import Parts, Pictures
from beholder.data.folds import folds
from beholder.duplicates.facts import facts
from beholder.measure.curves import auroc, average_precision
from beholder.quality.audit import applied
from beholder.quality.checks import Evidence
from beholder.quality.checks.labels import beliefs, label
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.evidence import gathered
from beholder.study.examine import examined

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
WEIGHTS = str(SHARED / "weights" / "mobilenetv2_100")
OUT = ROOT / "bench" / "out" / "labels"
NOISES = ("aggre", "random1", "worse")
ARMS = ("given", "fixed")
SETTING = {"recipe": "quick", "epochs": 6, "width": 0.25}
COUNT = 10_000

CLEANLAB = """
import sys, json, time
import numpy as np
from cleanlab.rank import get_label_quality_scores
data = np.load(sys.argv[1])
labels, found, began = data["labels"], {}, time.monotonic()
if "features" in data:
    # cross_val_predict(make_pipeline(StandardScaler(), LogisticRegression()), features, labels, cv=5), fold by fold: a fold
    # that was fitted before is not fitted again
    from pathlib import Path
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    p = np.zeros((len(labels), labels.max() + 1))
    for number, (inside, held) in enumerate(StratifiedKFold(5).split(data["features"], labels)):
        done = Path(f"{sys.argv[3]}-{number}.npy")
        if not done.exists():
            model = make_pipeline(StandardScaler(), LogisticRegression())
            found_here = model.fit(data["features"][inside], labels[inside]).predict_proba(data["features"][held])
            np.save(done, found_here)
        p[held] = np.load(done)
else:
    p = data["probabilities"]
for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
    found[method] = 1 - get_label_quality_scores(labels, p, method=method)
np.savez(sys.argv[2], seconds=time.monotonic() - began, **found)
"""


def cifar(noise: str, part: int = 0) -> tuple[Pictures, np.ndarray]:
    """The training pictures of CIFAR-10 with the labels that people gave, and their true classes."""
    pictures = digested(scan(SHARED / "data" / "cifar10.zip"))
    pictures = pictures.take(np.flatnonzero(pictures.parts == part))
    true = pictures.targets.copy()
    if noise != "clean":
        with (SHARED / "data" / "cifar10n.csv").open() as file:
            given = {int(row["index"]): pictures.classes.index(row[noise]) for row in csv.DictReader(file)}
        pictures = replace(pictures, targets=np.array([given[number(key)] for key in pictures.keys], np.int64))
    return replace(pictures, parts=np.full(len(pictures), -1, np.int8)), true


def number(key: str) -> int:
    return int(Path(key).stem)


def looked(pictures: Pictures, *, nets: bool = True) -> Evidence:
    """What is known of the pictures; nets: with nets in folds beside the heads on features, where `gathered` asks them."""
    bare, recipe = Evidence(pictures, facts(pictures)), load("quick").set(weights=WEIGHTS)
    return gathered(bare, recipe, needed={"features", "probabilities"}, minutes=0, from_scratch=nets)


def cleanlab(resume: str = "", **arrays: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(given, **arrays)
        subprocess.run(
            [PEERS, "-c", CLEANLAB, str(given), str(answer), resume], check=True, env={**os.environ, "PYTHONPATH": ""}
        )
        with np.load(answer) as found:
            return {name: found[name] for name in found.files if name != "seconds"}, float(found["seconds"])


def ranked(who: str, scores: np.ndarray, bad: np.ndarray) -> None:
    print(f"  {who:44s} AUROC {auroc(scores, bad)[0]:.4f}  average precision {average_precision(scores, bad):.4f}", flush=True)


def scores(noises: list[str]) -> None:
    for noise in noises:
        pictures, true = cifar(noise)
        began = time.monotonic()
        evidence = looked(pictures)
        assert evidence.probabilities is not None
        marks = label(evidence)
        bad, seconds = pictures.targets != true, time.monotonic() - began
        print(
            f"{noise}: {bad.mean():.1%} of {len(bad):,} labels wrong; {seconds:.0f} s with remembered features or as they come"
        )
        ranked("Beholder", marks.scores, bad)
        for method, found in cleanlab(labels=pictures.targets, probabilities=evidence.probabilities)[0].items():
            ranked(f"cleanlab, same probabilities, {method}", found, bad)
        suspects = marks.scores >= 0.5
        assert marks.relabel is not None
        some = marks.relabel >= 0
        dropped = np.isin(np.arange(len(bad)), list(marks.suggest))
        print(
            f"  found {suspects.sum():,}: {bad[suspects].mean():.3f} wrong, {suspects[bad].mean():.3f} of the wrong ones; "
            f"relabel {some.sum():,}: {(marks.relabel[some] == true[some]).mean():.3f} right; "
            f"drop {dropped.sum():,}: {bad[dropped].mean():.3f} wrong",
            flush=True,
        )


def planted(name: str, count: int) -> None:
    """A tenth of the labels of `count` pictures turned at random: heads alone, then with nets in folds where they are asked."""
    pictures = digested(scan(SHARED / "data" / f"{name}.zip"))
    pictures = pictures.take(np.sort(np.random.default_rng(0).permutation(len(pictures))[:count]))
    pictures = replace(pictures, parts=np.full(len(pictures), -1, np.int8))
    rng, true = np.random.default_rng(1), pictures.targets
    bad = np.isin(np.arange(len(true)), rng.permutation(len(true))[: len(true) // 10])
    k = len(pictures.classes)
    pictures = replace(pictures, targets=np.where(bad, (true + rng.integers(1, k, len(true))) % k, true))
    for nets in (False, True):
        evidence = looked(pictures, nets=nets)
        assert evidence.probabilities is not None
        marks = label(evidence)
        assert marks.relabel is not None
        print(f"{name}, {len(true):,} pictures, {'with nets where they are asked' if nets else 'heads alone'}:")
        ranked("Beholder", marks.scores, bad)
        for method, found in cleanlab(labels=pictures.targets, probabilities=evidence.probabilities)[0].items():
            ranked(f"cleanlab, same probabilities, {method}", found, bad)
        some, dropped = marks.relabel >= 0, np.isin(np.arange(len(bad)), list(marks.suggest))
        print(
            f"  relabel {some.sum():,}: {(marks.relabel[some] == true[some]).mean():.3f} right; "
            f"drop {dropped.sum():,}: {bad[dropped].mean():.3f} wrong",
            flush=True,
        )


def usual(noises: list[str], sorted_by_class: bool = False) -> None:
    """cleanlab's usual set-up. Its folds are cut without shuffling, so the order of the pictures matters: see docs/LOG.md."""
    OUT.mkdir(parents=True, exist_ok=True)
    for noise in noises:
        pictures, true = cifar(noise)
        order = np.arange(len(true)) if sorted_by_class else np.argsort([number(key) for key in pictures.keys])
        pictures, true = pictures.take(order), true[order]
        bare = Evidence(pictures, facts(pictures))
        evidence = gathered(bare, load("quick").set(weights=WEIGHTS), needed={"features"}, minutes=0)
        assert evidence.features is not None
        resume = str(OUT / f"usual-{noise}{'-sorted' if sorted_by_class else ''}")
        found, seconds = cleanlab(resume=resume, labels=pictures.targets, features=evidence.features)
        print(f"{noise}: logistic regression in 5 folds and cleanlab: {seconds:.0f} s")
        for method, values in found.items():
            ranked(f"cleanlab, its usual set-up, {method}", values, pictures.targets != true)


def training(noise: str, seeds: list[int], arms: tuple[str, ...] = ARMS) -> None:
    """Train with `SETTING` on `COUNT` pictures with labels as given, and with the suggestions followed.

    What was measured before is read back.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    known = {(row["noise"], row["seed"], row["arm"]): row["accuracy"] for row in measured()}
    todo = [(seed, arm) for seed in seeds for arm in arms if (noise, seed, arm) not in known]
    test, _ = cifar("clean", part=2)
    for seed, arm in todo:
        some = armed(noise, seed, arm)
        held = folds(some, count=20, seed=seed) == 0
        parts = Parts(some.take(np.flatnonzero(~held)), some.take(np.flatnonzero(held)), test)
        began = time.monotonic()
        model = beholder.train(parts, seed=seed, **SETTING)
        value = beholder.evaluate(model, test).scores.headline["accuracy"].value
        known[noise, seed, arm] = value
        row = {"noise": noise, "seed": seed, "arm": arm, "accuracy": value, "count": COUNT, **SETTING}
        with (OUT / "training.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"  {noise}, seed {seed}, {arm}: {value:.4f} in {time.monotonic() - began:.0f} s", flush=True)
    gains = [100 * (known[noise, seed, "fixed"] - known[noise, seed, "given"]) for seed in seeds if both(known, noise, seed)]
    for arm in ("given", "fixed", "true"):
        values = [known[noise, seed, arm] for seed in seeds if (noise, seed, arm) in known]
        if values:
            print(f"  {noise}, {arm}: mean {statistics.mean(values):.4f}, {', '.join(f'{value:.4f}' for value in values)}")
    if len(gains) > 1:
        half = float(student.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / len(gains) ** 0.5
        print(f"  {noise}: {statistics.mean(gains):+.2f} ± {half:.2f} points (95 %, {len(gains)} seeds)")


def armed(noise: str, seed: int, arm: str) -> Pictures:
    """`COUNT` pictures, drawn by the seed, with the labels as given, the true ones, or as `--audit relabel` leaves them."""
    pictures, true = cifar(noise)
    rows = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:COUNT])
    pictures, true = pictures.take(rows), true[rows]
    if arm != "fixed":
        return pictures if arm == "given" else replace(pictures, targets=true)
    findings = examined(pictures, load("quick").set(weights=WEIGHTS), checks=["label"])
    followed = {key: what for key, what in findings.suggestions.items() if what != "review"}
    kept = applied(pictures, followed)
    right = dict(zip(pictures.keys, true.tolist(), strict=True))
    wrong = np.mean([right[key] != label for key, label in zip(kept.keys, kept.targets.tolist(), strict=True)])
    moved = [what == f"relabel:{pictures.classes[right[key]]}" for key, what in followed.items() if what != "drop"]
    print(
        f"{noise}, seed {seed}: {np.mean(pictures.targets != true):.1%} wrong; {len(followed) - len(moved):,} dropped, "
        f"{len(moved):,} relabelled, {np.mean(moved):.1%} of them rightly; {wrong:.1%} are wrong now",
        flush=True,
    )
    return kept


def measured() -> list[dict[str, object]]:
    """What was measured with the same setting."""
    path = OUT / "training.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if all(row[name] == value for name, value in {**SETTING, "count": COUNT}.items())]


def both(known: dict[tuple[str, int, str], float], noise: str, seed: int) -> bool:
    return all((noise, seed, arm) in known for arm in ARMS)


def candidates() -> None:
    """Where the 275 suspects rank among the 10,000 test labels, judged by heads that saw the other folds of train and test."""
    pictures = digested(scan(SHARED / "data" / "cifar10.zip"))
    evidence = looked(pictures)
    assert evidence.probabilities is not None
    wrong = beliefs(evidence.probabilities, pictures.targets).wrong
    rows = np.flatnonzero(pictures.parts == 2)
    rank = {number(pictures.keys[row]): place + 1 for place, row in enumerate(rows[np.argsort(-wrong[rows])].tolist())}
    given = {number(pictures.keys[row]): pictures.labels(row)[0] for row in rows.tolist()}
    by: dict[str, list[int]] = {}
    with (SHARED / "data" / "cifar10-label-errors.csv").open() as file:
        for line in csv.DictReader(file):
            assert given[int(line["index"])] == line["given"]
            by.setdefault(line["verdict"], []).append(rank[int(line["index"])])
    print(f"ranks among the {len(rows):,} test labels, 1 = most suspect")
    for verdict, ranks in sorted(by.items()):
        hundred = sum(r <= 100 for r in ranks)
        print(f"  {verdict:8s} n={len(ranks):3d}  median rank {statistics.median(ranks):6.0f}  in the first hundred {hundred}")


def cells() -> None:
    """BCCD: which kinds of cell are there; as given, then with a tenth of the labels of each class turned, class by class."""
    pictures = digested(scan(SHARED / "data" / "blood-cells.csv"))
    findings = examined(pictures, load("quick").set(weights=WEIGHTS), checks=["label", "imbalance"])
    for row in findings.rows:
        print(f"  {row.check:9s} {row.score:.2f}  {row.picture:32s} {row.verdict}")
    for k, name in enumerate(pictures.classes):
        turned = np.random.default_rng(0).permutation(len(pictures))[: len(pictures) // 10]
        targets = pictures.targets.copy()
        targets[turned, k] ^= 1
        bad = np.isin(np.arange(len(pictures)), turned)
        planted = replace(pictures, targets=targets)
        evidence = looked(planted)
        assert evidence.probabilities is not None
        p = evidence.probabilities[:, k].astype(np.float64)
        wrong = beliefs(np.column_stack([1 - p, p]), targets[:, k].astype(np.int64)).wrong
        print(f"{name}: {pictures.targets[:, k].sum()} of {len(pictures)} have it, {bad.sum()} labels turned")
        ranked("Beholder", wrong, bad)
        both = np.column_stack([1 - p, p])
        for method, found in cleanlab(labels=targets[:, k], probabilities=both)[0].items():
            ranked(f"cleanlab, same probabilities, {method}", found, bad)


if __name__ == "__main__":
    what, rest = sys.argv[1] if len(sys.argv) > 1 else "scores", sys.argv[2:]
    if not SHARED.is_dir():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
    elif what == "scores":
        scores(rest or list(NOISES))
    elif what == "usual":
        usual([name for name in rest if name != "sorted"] or list(NOISES), sorted_by_class="sorted" in rest)
    elif what == "planted":
        planted(rest[0] if rest else "trashnet", int(rest[1]) if len(rest) > 1 else 1_000_000)
    elif what == "training":
        named = tuple(name for name in rest[1:] if name in (*ARMS, "true"))
        training(rest[0], [int(seed) for seed in rest[1:] if seed.isdigit()] or [0, 1, 2], named or ARMS)
    elif what == "candidates":
        candidates()
    else:
        cells()
