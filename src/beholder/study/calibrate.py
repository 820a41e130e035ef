"""The verb `calibrate`: calibration, operating points and prediction sets of a trained bundle, on validation pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.brief import shown
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.base.used import refuse
from beholder.bundle.bundle import Bundle, opened
from beholder.bundle.format import add_file
from beholder.evaluation.chosen import of_part
from beholder.evaluation.evaluate import evaluate
from beholder.learn import calibrate as learn
from beholder.sources.digest import digested


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated bundle, and the number of validation pictures behind it."""

    bundle: Bundle
    n: int

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "n", "calibration", "operating_points", "prediction_sets"} as plain JSON values.

        "operating" and "conformal" say the same under the names of before, until 0.3.0.
        """
        config = self.bundle.config
        said = {"calibration": None, "prediction_sets": None} | config.json()
        if config.calibration is not None:
            said["calibration"]["temperature"] = config.calibration.temperature
        return {
            "bundle": None if self.bundle.path is None else str(self.bundle.path),
            "n": self.n,
            **{name: said[name] for name in ("calibration", "operating_points", "prediction_sets")},
            "operating": {point["kind"]: point for point in said["operating_points"]} or None,
            "conformal": said["prediction_sets"],
        }

    def __str__(self) -> str:
        config = self.bundle.config
        lines = [f"on {self.n} validation pictures:"]
        if config.calibration is not None:
            lines.append(f"calibration {config.calibration.method}")
        for point in config.operating_points:
            of = f" of {point.label}" if point.label else ""
            threshold = "none" if point.threshold is None else f"{point.threshold:.4g}"
            lines.append(f"{point.kind} {point.target:g}{of}: threshold {threshold}; {point.reason}")
        if (sets := config.prediction_sets) is not None:
            lines.append(f"prediction sets: coverage {sets.coverage:g}" + (" for each class" if sets.per_class else ""))
        return "\n".join([*lines, "next: beholder evaluate says on the test part whether this holds"])


def calibrate(
    bundle: Bundle | str | Path,
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    trust: bool = False,
    allow_download: bool = False,
    **fields: Any,
) -> Calibrated:
    """Calibrate `bundle` on the validation part of `source`, and save it where it is kept.

    source: what `scan` takes or returns; those of its pictures are read that the bundle's own split calls validation, and
            those that it does not know but the source calls so. Neither training nor test pictures are.
    fields: change fields of the recipe's section `test`: target_risk=0.02, sensitivity=0.95, positive="rust", coverage=0.9, …
    Raises `UsageError` for a wrong field, `DataError` where no picture serves.
    """
    bundle = opened(bundle, trust=trust)
    refuse("calibrate", fields)
    bundle.recipe = bundle.recipe.set(**fields)
    learn.check(bundle.recipe, bundle.classes, bundle.task)
    try:
        with events.only("progress"):
            if isinstance(source, Pictures):  # of which `evaluate` scores all
                source = of_part(bundle, digested(source), "valid")[0]
            found = evaluate(bundle, source, part="valid", allow_download=allow_download)
    except DataError as error:
        if error.code != "empty-part":
            raise
        hint = "give the source that it was trained on, or one with a folder val/ of its own"
        raise DataError("no picture of the source is in the bundle's validation part", code=error.code, hint=hint) from error
    assert found.pictures is not None
    groups = found.pictures.groups if (found.pictures.groups >= 0).any() else None
    learn.fit(bundle, found.logits, found.features, found.targets, groups=groups)
    sections = bundle.scores.get("sections", {})
    for name in ("calibration", "selective", "abstention"):  # what was tested before is not this
        sections.pop(name, None)
    if bundle.path is not None:
        _save(bundle, bundle.path)
    return Calibrated(bundle, len(found.targets))


def _save(bundle: Bundle, path: Path) -> None:
    """Save a bundle in its own place, its report kept."""
    report = path / "report.html"
    kept = report.read_bytes() if report.is_file() else None
    bundle.save(path)
    if kept is not None:
        add_file(path, report.name, kept)
