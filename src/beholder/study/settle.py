"""The verb `settle`: calibration, operating points and sets of a trained bundle, from the validation part of a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.format import add_file
from beholder.learn import settle as learn
from beholder.use.evaluate import evaluate

KEYS = ("calibration", "operating", "conformal")


@dataclass(frozen=True, eq=False)
class Settled:
    """What was settled: the bundle, and the number of validation pictures behind it."""

    bundle: Bundle
    n: int

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "n", "calibration", "operating", "conformal"} as plain JSON values."""
        path = None if self.bundle.path is None else str(self.bundle.path)
        return {"bundle": path, "n": self.n, **{key: self.bundle.config.get(key) for key in KEYS}}

    def __str__(self) -> str:
        config = self.bundle.config
        lines = [f"on {self.n} validation pictures:", f"calibration {config['calibration']['method']}"]
        for point in config.get("operating", {}).values():
            of = f" of {point['label']}" if point["label"] else ""
            threshold = "none" if point["threshold"] is None else f"{point['threshold']:.4g}"
            lines.append(f"{point['kind']} {point['target']:g}{of}: threshold {threshold}; {point['reason']}")
        if (sets := config.get("conformal")) is not None:
            lines.append(f"sets of classes: coverage {sets['coverage']:g}" + (" for each class" if sets["per_class"] else ""))
        return "\n".join([*lines, "next: beholder evaluate says on the test part whether this holds"])


def settle(
    bundle: Bundle | str | Path,
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    trust: bool = False,
    allow_download: bool = False,
    **fields: Any,
) -> Settled:
    """Settle `bundle` on the validation part of `source`, and save it where it is kept.

    source: what `scan` takes; those of its pictures are read that the bundle's own split calls validation, and those that
            it does not know but the source calls so. Neither training nor test pictures are.
    fields: change fields of the recipe's section `test`: accept_risk=0.02, sensitivity=0.95, positive="rust", coverage=0.9, …
    Raises `UsageError` for a wrong field, `DataError` where no picture serves.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle, trust=trust)
    bundle.recipe = bundle.recipe.set(**fields)
    learn.check(bundle.recipe, bundle.classes)
    try:
        with events.only("progress"):
            found = evaluate(bundle, source, part="valid", allow_download=allow_download)
    except DataError as error:
        if error.code != "empty-part":
            raise
        hint = "give the source that it was trained on, or one with a part valid/ of its own"
        raise DataError("no picture of the source is in the bundle's validation part", code=error.code, hint=hint) from error
    assert found.pictures is not None
    groups = found.pictures.groups if (found.pictures.groups >= 0).any() else None
    learn.settle(bundle, found.logits, found.features, found.targets, groups=groups)
    sections = bundle.scores.get("sections", {})
    for name in ("calibration", "abstention"):  # what was tested before is not this
        sections.pop(name, None)
    if bundle.path is not None:
        _save(bundle, bundle.path)
    return Settled(bundle, len(found.targets))


def _save(bundle: Bundle, path: Path) -> None:
    """Save a bundle in its own place, its report kept."""
    report = path / "report.html"
    kept = report.read_bytes() if report.is_file() else None
    bundle.save(path)
    if kept is not None:
        add_file(path, report.name, kept)
