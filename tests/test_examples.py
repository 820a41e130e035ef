"""Every program of examples/ runs and does what it says."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import beholder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_digits

    found = load_digits()
    path = tmp_path_factory.mktemp("examples") / "digits.npz"
    np.savez(path, x=(found.images * 15).astype(np.uint8), y=found.target)
    return path


def test_the_classic_program_and_its_five_lines_agree(root: Path, digits: Path) -> None:
    done = subprocess.run(
        [sys.executable, "examples/classic_cnn.py", str(digits), "--epochs", "8"],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
        timeout=200,
    )
    first, second = (float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("Accuracy: "))
    assert first > 92
    assert second > 92
    assert abs(first - second) < 4
    assert "Traceback" not in done.stderr


class Writer:
    """A stand-in for SummaryWriter, with its one method that the example calls."""

    def __init__(self) -> None:
        self.scalars: dict[str, list[tuple[float, int]]] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars.setdefault(tag, []).append((value, step))


def test_tensorboard_is_given_the_numbers_of_a_run(root: Path, draw, tmp_path: Path) -> None:
    sink, writer = runpy.run_path(str(root / "examples" / "to_tensorboard.py"))["tensorboard"], Writer()
    with beholder.listen(sink(writer), alone=True):
        bundle = beholder.train(beholder.split(beholder.scan(draw(tmp_path / "leaves"))), net="logistic", epochs=2)
    scores = [row["valid_score"] for row in bundle.history]
    assert [value for value, _ in writer.scalars["epoch/valid_score"]] == pytest.approx(scores, rel=1e-5)
    assert [step for _, step in writer.scalars["epoch/loss"]] == [row["step"] for row in bundle.history]
    assert {"training/loss", "training/lr", "training/rate"} <= set(writer.scalars)


def test_every_example_is_tested(root: Path) -> None:
    here = {"classic_cnn.py", "to_tensorboard.py"}
    cases = {"driving.py", "medicine.py", "objects.py"}  # in test_cases.py
    assert {path.name for path in (root / "examples").glob("*.py")} == here | cases
