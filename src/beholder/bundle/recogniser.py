"""What recognises pictures, whatever its net runs on: pixels in, guesses out. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from beholder.base.records import Guess, PixelPolicy
from beholder.data.image import load as load_picture
from beholder.data.sources.folder import file_bytes
from beholder.measure.abstention import Operating, certainty
from beholder.measure.calibration import Calibration, probabilities
from beholder.measure.conformal import Sets

Picture = str | Path | bytes | npt.NDArray[np.generic]


class Recogniser:
    """What a bundle and its exports have in common.

    config: what config.json holds (docs/BUNDLE.md)
    references: float16 (M, F), features of validation pictures that strangers are told by; None where there are none
    """

    config: dict[str, Any]
    references: npt.NDArray[np.float16] | None
    engine: str = ""
    """What the net runs on, and in which precision, in words."""

    def ready(self) -> Recogniser:
        """Return the same recogniser where it runs: one whose net torch runs, on the GPU where there is one."""
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""
        return tuple(self.config["classes"])

    @property
    def multi(self) -> bool:
        """Return True where a picture may carry several labels."""
        return bool(self.config["task"] == "multi")

    @property
    def policy(self) -> PixelPolicy:
        """Return how pictures become tensors for this net."""
        pixels = self.config["pixels"]
        return PixelPolicy(**{**pixels, "background": tuple(pixels["background"])})

    @overload
    def __call__(self, pictures: Picture) -> Guess: ...
    @overload
    def __call__(self, pictures: list[Picture] | tuple[Picture, ...]) -> list[Guess]: ...
    def __call__(self, pictures: Picture | list[Picture] | tuple[Picture, ...]) -> Guess | list[Guess]:
        """Recognise one picture (a path, encoded bytes, or an array (H, W) or (H, W, C)) or a list of them.

        Raises `PictureError` for a picture that cannot be read; `beholder.predict` goes on past bad ones instead.
        """
        if isinstance(pictures, (str, Path, bytes, np.ndarray)):
            return self._guesses([pictures])[0]
        return self._guesses(pictures)

    def _guesses(self, pictures: Sequence[Picture]) -> list[Guess]:
        images = [self.pixels(picture) for picture in pictures]
        if not images:
            return []
        return [self.guess(row) for row in self.probabilities(np.stack(images))]

    def pixels(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """Return the uint8 tensor (C, height, width) that the net is given for a picture."""
        if isinstance(picture, (str, Path)):
            picture = file_bytes(picture)
        return load_picture(picture, self.policy)

    def probabilities(self, images: npt.NDArray[np.uint8], *, batch: int | None = None) -> npt.NDArray[np.float32]:
        """Return float32 (N, K) for `images` uint8 (N, C, height, width): softmax, or one sigmoid per class if `multi`.

        batch: pictures at once; None: as many as suit the machine.
        """
        return self.activated(self.outputs(images, batch=batch)[0])

    def outputs(
        self, images: npt.NDArray[np.uint8], *, batch: int | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits float32 (N, K), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width).

        batch: pictures at once; None: as many as suit the machine.
        """
        raise NotImplementedError

    def activated(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities float32 (N, K) of logits that `outputs` gave: calibrated, where a calibration is kept."""
        kept = self.config.get("calibration")
        calibrated = logits if kept is None else Calibration.from_json(kept)(logits)
        return probabilities(calibrated, multi=self.multi).astype(np.float32)

    @property
    def sets(self) -> Sets | None:
        """Return how conformal sets are made of probabilities; None where nothing is promised."""
        kept = self.config.get("conformal")
        return None if kept is None else Sets.from_json(kept)

    def operating(self, kind: str) -> Operating | None:
        """Return the operating point of a kind, risk or sensitivity; None where none was asked for."""
        kept = self.config.get("operating", {}).get(kind)
        return None if kept is None else Operating(**kept)

    def guess(self, row: npt.NDArray[np.float32]) -> Guess:
        """Return the guess for one row of probabilities, float32 (K,)."""
        named = {name: float(p) for name, p in zip(self.classes, row, strict=True)}
        if not self.multi:
            best = int(row.argmax())
            return Guess(label=self.classes[best], p=float(row[best]), probabilities=named, **self._beyond(row))
        above = [k for k, threshold in enumerate(self.config["thresholds"]) if row[k] >= threshold]
        p = min((float(row[k]) for k in above), default=float(1 - row.max()))
        return Guess(label=";".join(self.classes[k] for k in above), p=p, probabilities=named, **self._beyond(row))

    def _beyond(self, row: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Return what a guess says beyond its label: abstain, positive, set."""
        found: dict[str, Any] = {}
        risk, sensitivity, sets = self.operating("risk"), self.operating("sensitivity"), self.sets
        if risk is not None and risk.threshold is not None:
            found["abstain"] = bool(certainty(row[None], multi=self.multi)[0] < risk.threshold)
        if sensitivity is not None and sensitivity.threshold is not None:
            found["positive"] = bool(row[self.classes.index(sensitivity.label)] >= sensitivity.threshold)
        if sets is not None:
            found["set"] = tuple(name for name, inside in zip(self.classes, sets(row[None])[0], strict=True) if inside)
        return found
