"""A signal in any phase ends a run with its exit code, and the resumed run says what the undisturbed one says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.files import file_sha256
from beholder.base.recipe import load
from beholder.evaluation.sections import SECTIONS
from beholder.study.steps import steps

MOMENTS = {
    "[1/6]": signal.SIGTERM,
    "[3/6]": signal.SIGINT,
    "epoch 2": signal.SIGINT,
    "[5/6]": signal.SIGTERM,
    "calibration": signal.SIGINT,
    "prediction sets": signal.SIGTERM,
    "[6/6]": signal.SIGINT,
    "testing": signal.SIGTERM,
    "out-of-distribution": signal.SIGTERM,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np
    from PIL import Image

    top, rng = tmp_path_factory.mktemp("leaves"), np.random.default_rng(0)
    for name, colour in {"healthy": (40, 160, 60), "mildew": (210, 210, 220), "rust": (180, 80, 20)}.items():
        (top / name).mkdir()
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.integers(-90, 90, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(top / name / f"{number:02}.png")
    return top


def run(source: Path, out: Path, *, resume: bool = False) -> None:
    steps(source, recipe=load("quick").set(net="cnn", epochs=2, batch=8), out=out, resume=resume)


def said(out: Path) -> dict[str, Any]:
    """What is to be the same: weights, what was fitted on validation, readings, scores, report; not the seconds."""
    bundle = beholder.load(out)
    scores = {name: value for name, value in bundle.scores.items() if name not in ("seconds", "source")}
    (scores["sections"].get("reuse") or {}).pop("dates", None)
    fitted = {name: bundle.config.json().get(name) for name in ("calibration", "prediction_sets", "ood", "interrupted")}
    return {
        "weights": file_sha256(out / "model.safetensors"),
        "fitted": fitted,
        "readings": len(bundle.readings),
        "scores": rounded(scores),
        "report": (out / "report.html").is_file(),
        "beside": [path.name for path in out.parent.iterdir()],
    }


def rounded(value: Any) -> Any:
    """Nine digits of each number: on a busy machine the test may take other threads, which sum in another order."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("whole") / "m.beholder"
    with events.listen(alone=True):
        run(source, out)
    return said(out)


def at(words: str, number: int) -> Callable[[events.Event], None]:
    """A sink that sends this process a signal the first time that it hears something."""
    done: list[int] = []

    def hear(event: events.Event) -> None:
        if event.message.startswith(words) and not done:
            done.append(number)
            os.kill(os.getpid(), number)

    return hear


@pytest.mark.parametrize(("words", "number"), MOMENTS.items())
def test_in_any_phase(words: str, number: signal.Signals, source: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "m.beholder"
    with events.listen(at(words, number), alone=True), pytest.raises(Interrupted) as caught:
        run(source, out)
    assert caught.value.exit_code == 128 + number
    with events.listen(alone=True):
        run(source, out, resume=True)
    assert said(out) == undisturbed


def test_what_a_section_swallows(
    source: Path, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A section, of somebody else's plug-in say, may catch whatever there is: the run ends all the same."""
    out, real = tmp_path / "m.beholder", SECTIONS.load("calibration")

    def deaf(*given: Any, **options: Any) -> Any:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given, **options)

    monkeypatch.setattr("beholder.evaluation.sections.calibration.calibration", deaf)
    with events.listen(alone=True), pytest.raises(Interrupted, match="not over") as caught:
        run(source, out)
    assert caught.value.exit_code == 143
    monkeypatch.undo()
    with events.listen(alone=True):
        run(source, out, resume=True)
    assert said(out) == undisturbed
