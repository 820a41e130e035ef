"""Every program of examples/ runs and does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


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


def test_every_example_is_tested(root: Path) -> None:
    assert {path.name for path in (root / "examples").glob("*.py")} == {"classic_cnn.py"}
