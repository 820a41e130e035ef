"""The part of bench/honesty.py about strangers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base.records import Pictures, Score
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle, load
from beholder.data.cache import cached
from beholder.evaluation.sections.ood import built_in, named
from beholder.measure.ood import NAMES, fpr95, separation
from beholder.sources import scan
from beholder.sources.digest import digested

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
BUNDLES = Path(os.environ.get("BEHOLDER_BUNDLES", ROOT / "bench" / "out" / "bundles"))
SETS = {"trashnet": ("ants-bees.zip", "sign-digits.zip"), "cifar": ("trashnet.zip", "fashion-mnist.zip")}
"""Recogniser → sets of other things; ants and bees sit on flowers."""

NAMED = 400
"""Pictures of each set of other things."""

Images = npt.NDArray[np.uint8]
Outputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def strangers(seed: int = 0) -> None:
    """Print, for each recogniser that is there, which score is best on validation, and all scores on the test."""
    for name in SETS:
        path = BUNDLES / f"{name}.beholder"
        if path.is_dir():
            _recogniser(name, load(path), seed)
        else:
            print(f"{name}: left out, there is no {path.name} in BEHOLDER_BUNDLES")


def _recogniser(name: str, bundle: Bundle, seed: int) -> None:
    source = SHARED / {"trashnet": "trashnet.zip", "cifar": "cifar10.zip"}[name]
    pixels, test = (_part(bundle, source, part) for part in ("valid", "test"))
    logits, features = bundle.outputs(pixels)
    half = np.random.default_rng(seed).permutation(len(pixels))
    fitted, held = half[: len(half) // 2], half[len(half) // 2 :]
    print(f"\n{name}, validation only: fitted on {len(fitted)}, the other {len(held)} beside the built-in strangers")
    ood.keep(bundle, logits[fitted], features[fitted], seed=seed)
    _table(bundle, (logits[held], features[held]), built_in(bundle, pixels[held], seed=seed), peer=False)
    ood.keep(bundle, logits, features, seed=seed)
    print(f"\n{name}, test: fitted on {len(pixels)} validation pictures; {len(test)} of its own")
    _table(bundle, bundle.outputs(test), _all(bundle, name, test, seed), peer=True)


def _all(bundle: Bundle, name: str, test: Images, seed: int) -> Iterator[tuple[str, Images]]:
    for other in SETS[name]:
        yield other.removesuffix(".zip"), named(bundle, SHARED / other, seed=seed)[:NAMED]
    yield from built_in(bundle, test, seed=seed)


def _part(bundle: Bundle, source: Path, part: str) -> Images:
    """Return the pixels of one part of the source, as the bundle's split has it: uint8 (N, C, H, W), at most 2,000."""
    pictures: Pictures = digested(scan(source))
    assert pictures.digests is not None
    parts = np.array(bundle.part_of([row.tobytes().hex() for row in pictures.digests]))
    rows = np.flatnonzero(parts == part)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:2000])
    pixels = cached(pictures.take(rows), bundle.policy, on_bad="skip")
    return pixels.take(np.arange(len(pixels)))


def _table(bundle: Bundle, mine: Outputs, sets: Iterator[tuple[str, Images]], *, peer: bool) -> None:
    inside = ood.scores(bundle, *mine)
    judged = ood.judged(bundle, *mine)
    assert judged is not None
    print(f"own pictures that pass: {(~judged[0]).mean():.3f} (n={len(judged[0])})")
    print("| strangers | n | score | AUROC | FPR95 |" + (" pytorch-ood AUROC | FPR95 |" if peer else ""))
    print("|---|---|---|---|---|" + ("---|---|" if peer else ""))
    for name, images in sets:
        other = bundle.outputs(images)
        outside = ood.scores(bundle, *other)
        beside = _peer(bundle, mine, other) if peer else {}
        for score in NAMES:
            row = [name, str(len(images)), score, _short(separation(inside[score], outside[score]))]
            row += [_short(fpr95(inside[score], outside[score])), *(f"{value:.3f}" for value in beside.get(score, ()))]
            print("| " + " | ".join(row) + " |", flush=True)


def _peer(bundle: Bundle, own: Outputs, other: Outputs) -> dict[str, tuple[float, float]]:
    """Return score → (AUROC, FPR95) of pytorch-ood's detectors and metrics on the same logits, features and references."""
    try:
        import torch
        from pytorch_ood.detector import KNN, EnergyBased, MaxSoftmax
        from pytorch_ood.metrics import OODMetrics
    except ImportError:
        return {}
    assert bundle.references is not None
    logits, features = (torch.from_numpy(np.concatenate([own[k], other[k]])) for k in (0, 1))
    labels = torch.cat([torch.zeros(len(own[0])), -torch.ones(len(other[0]))]).long()
    references = torch.from_numpy(bundle.references.astype(np.float32))
    knn = KNN(None, k=min(10, len(references))).fit_features(references, torch.zeros(len(references)).long())
    scores = {
        "energy": EnergyBased.score(logits),
        "softmax": MaxSoftmax.score(logits),
        "knn": knn.predict_features(features),
    }
    found = {}
    for name, values in scores.items():
        metrics = OODMetrics()
        metrics.update(values, labels)
        result = metrics.compute()
        found[name] = (float(result["AUROC"]), float(result["FPR95TPR"]))
    return found


def _short(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
