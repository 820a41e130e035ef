"""Pictures of a detector's report: true boxes dashed and found ones solid, drawn as SVG over small JPEGs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from beholder import image
from beholder.base.arrays import F64, I64, U8
from beholder.base.bidi import isolated
from beholder.base.errors import BeholderError
from beholder.base.records import PixelPolicy
from beholder.evaluation.detected import DetectionEvaluation
from beholder.evaluation.words import Words
from beholder.measure.detection_errors import ERRORS, KINDS
from beholder.measure.detections import Found
from beholder.reporting import charts

WORST, TYPICAL, EACH = 16, 8, 3
"""Pictures with most errors, typical ones, and examples of each kind of error."""

SIDE, LARGEST, CROP = 320, 1024, 150
"""Pixels of the longer side of a shown picture, of one that an example is cut from, and of the example."""

BOXES = 300
"""Boxes of each kind that are drawn in a picture at most."""

AROUND, LEAST = 0.6, 40.0
"""What is shown around the box of an example, as a share of its longer side, and in pixels at least."""

Strings = npt.NDArray[np.str_]

RIGHT, MISSED, IGNORED = (KINDS.index(name) for name in ("right", "missed", "ignored"))


@dataclass(frozen=True)
class Shown:
    """A picture: its SVG (None where it cannot be read any more), its key, and what is said of it, in one or two lines."""

    svg: Markup | None
    key: str
    said: str
    more: str = ""


@dataclass(frozen=True, eq=False)
class Drawer:
    """Draws pictures of an evaluation; told: the found boxes at or above the thresholds, to which `scores.kinds` belongs."""

    evaluation: DetectionEvaluation
    policy: PixelPolicy
    words: Words
    told: Found

    @staticmethod
    def of(evaluation: DetectionEvaluation, policy: PixelPolicy, words: Words) -> Drawer:
        """Return one for an evaluation."""
        return Drawer(evaluation, policy, words, evaluation.found.above(evaluation.thresholds))

    def gallery(self) -> tuple[list[Shown], list[Shown]]:
        """Return the pictures with most errors for their objects, the worst first, and typical ones."""
        right, false, missed = self.counts()
        f1 = 2 * right / np.maximum(2 * right + false + missed, 1)
        f1[right + false + missed == 0] = 1.0
        order = np.lexsort((-(false + missed), f1))
        worst = [row for row in order.tolist() if false[row] + missed[row]][:WORST]
        rest = np.setdiff1d(order, worst)
        typical = rest[np.argsort(np.abs(f1[rest] - np.median(f1)), kind="stable")][:TYPICAL]
        return [self.picture(row) for row in worst], [self.picture(row) for row in typical.tolist()]

    def counts(self) -> tuple[F64, F64, F64]:
        """Return how many boxes of each picture are right, wrong, and not found: float64 (N,) each."""
        kinds, n = self.evaluation.scores.kinds, len(self.told)
        of_told, of_truth = self.told.pictures, self.evaluation.truth.pictures
        right = np.bincount(of_told[kinds.found == RIGHT], minlength=n)
        false = np.bincount(of_told[(kinds.found != RIGHT) & (kinds.found != IGNORED)], minlength=n)
        missed = np.bincount(of_truth[(kinds.truth != RIGHT) & (kinds.truth != IGNORED)], minlength=n)
        return right.astype(float), false.astype(float), missed.astype(float)

    def picture(self, row: int) -> Shown:
        """Return a whole picture with its boxes."""
        right, false, missed = (int(column[row]) for column in self.counts())
        said = self.words("boxes.picture_counts", right=right, false=false, missed=missed)
        width, height = self.evaluation.truth.sizes[row].tolist()
        key = str(self.evaluation.pictures.keys[row])
        alt = self.words("boxes.picture_alt", file=key, said=said)
        return Shown(self._svg(row, (0.0, 0.0, float(width), float(height)), SIDE, alt), key, said, self._errors(row))

    def _errors(self, row: int) -> str:
        """Return the errors of a picture by kind and class, the most frequent first."""
        kinds, truth, names = self.evaluation.scores.kinds, self.evaluation.truth, self.evaluation.classes
        told, true = _rows(self.told.starts, row), _rows(truth.starts, row)
        found = Counter(
            (KINDS[kind], names[label])
            for kind, label in zip(kinds.found[told].tolist(), self.told.classes[told].tolist(), strict=True)
            if KINDS[kind] in ERRORS
        )
        lost = truth.classes[true][kinds.truth[true] == MISSED].tolist()
        found.update(("missed", names[label]) for label in lost)
        each = [(self.words(f"boxes.kind_{kind}"), isolated(name), n) for (kind, name), n in found.most_common(3)]
        said = (self.words("boxes.picture_error", kind=kind, label=label, n=n) for kind, label, n in each)
        return self.words("form.semicolon").join(said)

    def examples(self, kind: str) -> list[Shown]:
        """Return examples of a kind of error, of different pictures where there are enough, the surest or the largest first."""
        kinds, truth = self.evaluation.scores.kinds, self.evaluation.truth
        if kind == "missed":
            rows = np.flatnonzero(kinds.truth == MISSED)
            sides = truth.corners[:, 2:] - truth.corners[:, :2]
            rows = rows[np.argsort(-sides[rows].prod(1), kind="stable")]
            return [self._of_truth(row) for row in _apart(rows, truth.pictures)]
        rows = np.flatnonzero(kinds.found == KINDS.index(kind))
        rows = rows[np.argsort(-self.told.scores[rows], kind="stable")]
        return [self._of_found(row, kind) for row in _apart(rows, self.told.pictures)]

    def _of_truth(self, row: int) -> Shown:
        truth = self.evaluation.truth
        said = self.words("boxes.example_truth", truth=isolated(self.evaluation.classes[int(truth.classes[row])]))
        return self._example(int(truth.pictures[row]), truth.corners[row], "missed", said, (-1, row))

    def _of_found(self, row: int, kind: str) -> Shown:
        names, about = self.evaluation.classes, int(self.evaluation.scores.kinds.about[row])
        said = f"{isolated(names[int(self.told.classes[row])])} {self.told.scores[row]:.2f}"
        corners = self.told.corners[row]
        if about >= 0:
            truth = self.evaluation.truth
            told = self.words("boxes.example_truth", truth=isolated(names[int(truth.classes[about])]))
            said = self.words("form.semicolon").join([said, told])
            both = np.stack([corners, truth.corners[about]])
            corners = np.concatenate([both[:, :2].min(0), both[:, 2:].max(0)])
        return self._example(int(self.told.pictures[row]), corners, kind, said, (row, about))

    def _example(self, picture: int, corners: F64, kind: str, said: str, only: tuple[int, int]) -> Shown:
        """Return a square cut-out around a box, as far as the picture goes; only: see `_paths`."""
        size = self.evaluation.truth.sizes[picture].astype(float)
        sides = corners[2:] - corners[:2]
        half = (float(sides.max()) + 2 * max(LEAST / 2, AROUND * float(sides.max()))) / 2
        middle = (corners[2:] + corners[:2]) / 2
        low, high = np.clip(middle - half, 0, size), np.clip(middle + half, 0, size)
        alt = self.words("boxes.example_alt", kind=self.words(f"boxes.kind_{kind}"), said=said)
        window = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return Shown(self._svg(picture, window, CROP, alt, only), str(self.evaluation.pictures.keys[picture]), said)

    def _svg(
        self, row: int, window: tuple[float, float, float, float], side: int, alt: str, only: tuple[int, int] | None = None
    ) -> Markup | None:
        """Return what lies in a window (left, top, right, bottom) of a picture, with its boxes; only: see `_paths`."""
        left, top, right, bottom = window
        whole = right - left >= self.evaluation.truth.sizes[row][0] and bottom - top >= self.evaluation.truth.sizes[row][1]
        pixels = self._pixels(row, side if whole else LARGEST)
        if pixels is None or right <= left or bottom <= top:
            return None
        scale = np.array(pixels.shape[:0:-1]) / self.evaluation.truth.sizes[row]
        a, b = np.floor(np.array([left, top]) * scale).astype(int), np.ceil(np.array([right, bottom]) * scale).astype(int)
        uri = charts.thumbnail(pixels[:, a[1] : b[1], a[0] : b[0]], side=side)
        place = f'x="{a[0] / scale[0]:.2f}" y="{a[1] / scale[1]:.2f}"'
        area = f'width="{(b[0] - a[0]) / scale[0]:.2f}" height="{(b[1] - a[1]) / scale[1]:.2f}"'
        head = f'<svg class="shot" viewBox="{left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}" role="img"'
        drawn = f'<image {place} {area} preserveAspectRatio="none" href="{uri}"/>{"".join(self._paths(row, only))}'
        return Markup(f'{head} aria-label="{escape(alt)}">{drawn}</svg>')

    def _pixels(self, row: int, side: int) -> U8 | None:
        """Return a picture uint8 (C, H, W), upright and at most `side` on a side; None where it cannot be read any more."""
        store, key = self.evaluation.pictures.store, self.evaluation.pictures.keys[row]
        width, height = self.evaluation.truth.sizes[row].tolist()
        scale = min(1.0, side / max(width, height))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        how = PixelPolicy(*size, self.policy.channels, "squash", self.policy.background, self.policy.bits)
        try:
            return image.load(store.read(key), how)
        except BeholderError:
            return None

    def _paths(self, row: int, only: tuple[int, int] | None) -> Iterable[str]:
        """Yield the boxes of a picture, those of one state and class as one path; true ones last, so that they stay visible.

        only: the row of the one found and of the one true box to draw, -1: none; None: all
        """
        kinds, truth = self.evaluation.scores.kinds, self.evaluation.truth
        told = np.arange(*self.told.starts[row : row + 2]) if only is None else np.array([k for k in only[:1] if k >= 0], int)
        true = np.arange(*truth.starts[row : row + 2]) if only is None else np.array([k for k in only[1:] if k >= 0], int)
        states = np.where(kinds.found[told] == RIGHT, "right", "wrong")
        states[kinds.found[told] == IGNORED] = ""
        yield from self._drawn(self.told.corners[told], self.told.classes[told], states)
        states = np.where(kinds.truth[true] == RIGHT, "true", "missed")
        states[truth.crowd[true]] = ""
        yield from self._drawn(truth.corners[true], truth.classes[true], states)

    def _drawn(self, corners: F64, classes: I64, states: Strings) -> Iterable[str]:
        for state in ("right", "wrong", "true", "missed"):
            here = np.flatnonzero(states == state)[:BOXES]
            for label in np.unique(classes[here]).tolist():
                some = corners[here[classes[here] == label]]
                path = "".join(f"M{a:.1f} {b:.1f}H{c:.1f}V{d:.1f}H{a:.1f}Z" for a, b, c, d in some.tolist())
                said = f"{isolated(self.evaluation.classes[label])}: {self.words(f'boxes.key_{state}')}"
                title = f"<title>{escape(said)}</title>"
                yield f'<path class="under" d="{path}"/><path class="{state}" d="{path}">{title}</path>'


def _rows(starts: I64, picture: int) -> slice:
    return slice(int(starts[picture]), int(starts[picture + 1]))


def _apart(rows: I64, pictures: I64) -> list[int]:
    """Return the first `EACH` rows of different pictures, then others where these are too few."""
    _, first = np.unique(pictures[rows], return_index=True)
    order = np.concatenate([np.sort(first), np.setdiff1d(np.arange(len(rows)), first)])
    return [int(row) for row in rows[order[:EACH]]]
