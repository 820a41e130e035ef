"""From pictures with boxes to a tested detector with its report: the six steps for the task `detect`."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.brief import within
from beholder.base.deadline import Deadline
from beholder.base.display import html
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.bundle.detector import Detector
from beholder.bundle.format import finds_boxes, finished
from beholder.data.split import split
from beholder.evaluation.detected import DetectionEvaluation, evaluate
from beholder.learn.detect import Folders, train
from beholder.learn.finish import splits_of
from beholder.learn.resumed import comparable
from beholder.learn.sighted import backbone_of
from beholder.machine.device import device
from beholder.reporting.detected import detected_report
from beholder.sources.digest import digested

LOOKED = 0.6
"""Share of the time left in which the test pictures are looked at; scores and the report come after it."""

CLOSING, MOST = 0.06, 30.0
"""Share of the minutes, and seconds at most, for the test and the report after training."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run made: the detector (saved at `path` unless None), its evaluation on the test part, the seconds it took."""

    bundle: Detector
    evaluation: DetectionEvaluation
    path: Path | None
    seconds: float

    def __repr__(self) -> str:
        return within("Outcome", [repr(self.bundle), repr(self.evaluation), f"{self.seconds:.0f} s"])

    _repr_html_ = html

    @property
    def card(self) -> dict[str, str]:
        """Return the run in a hurry: verdict to next."""
        rows = {"verdict": " ".join(self.evaluation.findings[:2]), "clock": self.bundle.config.clock}
        if self.path is not None:
            rows["report"] = str(self.path / "report.html")
            rows["next"] = f"beholder predict {shlex.quote(str(self.path))} PICTURE… --draw FOLDER"
        return {heading: words for heading, words in rows.items() if words}

    def tried(self) -> list[dict[str, object]]:
        """Return the phases of the run, as a table."""
        names = ("what", "score", "n", "seconds", "outcome")
        return [{name: getattr(row, name) for name in names} for row in self.bundle.config.tried]

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "task", "net", "seconds", "parts", "scores", "tried", "notes"}."""
        config = self.bundle.config
        return {
            **{"bundle": None if self.path is None else str(self.path), "task": "detect", "net": config.net.backbone},
            **{"seconds": round(self.seconds, 2), "parts": dict(config.parts), "scores": self.evaluation.json()["scores"]},
            **{"tried": [asdict(row) for row in config.tried], "notes": [*config.notes, *self.evaluation.notes]},
        }

    def __str__(self) -> str:
        rows = self.card
        where = [f"bundle {self.path}"] if self.path is not None else []
        last = [f"report {rows.pop('report')}", "", f"next: {rows.pop('next')}"] if self.path is not None else []
        words = [f"{heading}: {text}" for heading, text in rows.items()]
        net = f"net {self.bundle.config.net.backbone}, {self.seconds:.0f} s in all"
        return "\n".join(["test part:", str(self.evaluation), "", *words, "", net, *where, *last])


def detected(
    pictures: Pictures,
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    lang: str = "en",
    began: float | None = None,
    profile: bool = False,
) -> Outcome:
    """Take pictures with boxes through the six steps; arguments as of `steps`, and the test part is read once, at the end."""
    began = time.monotonic() if began is None else began
    if profile:
        raise UsageError("--profile is for models of labels", code="unused-option", hint="leave it out")
    boxes = pictures.boxes
    assert boxes is not None
    empty = int((boxes.starts[1:] == boxes.starts[:-1]).sum())
    said = f"{len(boxes.classes):,} boxes in {len(pictures):,} pictures"
    note = f"{said}: a detector is trained; --task multi learns labels alone"
    events.note(f"{note}; {empty:,} pictures have no box" if empty else note)
    parts = split(pictures, seed=recipe.seed, val=recipe.data.val, test=recipe.data.test)
    minutes = recipe.train.minutes
    after = min(MOST, CLOSING * 60 * minutes) + 2.0 if minutes else 0.0
    before = trained(parts, recipe, out) if resume and out is not None else None
    made = before or train(parts, recipe=recipe, out=out, resume=resume, began=began, after=after)
    events.step(6, "test", f"{len(parts.test)} pictures that nothing so far has seen")
    end = Deadline.of(began, minutes)
    found = evaluate(made, parts.test, until=end if end.none else end.within(LOOKED * end.left))
    made.scores = found.json()
    if out is not None:
        made.save(out)
        detected_report(made, found, out / "report.html", lang=lang)
    return Outcome(made, found, out, time.monotonic() - began)


def trained(parts: Parts, recipe: Recipe, out: Path) -> Detector | None:
    """Return the detector at `out` where a run with the same recipe on the same parts made it and only its test is missing."""
    folders = Folders.beside(out)
    if not (finished(out) and finds_boxes(out)) or any(folder.chosen() for folder in (folders.whole, folders.head)):
        return None
    found = Detector.load(out)
    asked = backbone_of(recipe, device())[0]
    pictures = Parts(*(digested(part) for _, part in parts.items()))
    if comparable(found.recipe) != comparable(asked) or sorted(found.splits) != sorted(splits_of(pictures)):
        return None
    events.note(f"{out} is trained already: it is tested")
    return found
