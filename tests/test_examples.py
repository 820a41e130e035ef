"""Every program of examples/ runs and does what it says."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
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


@pytest.mark.slow
def test_the_program_of_the_textbooks_runs_with_keras_and_the_five_lines_do_as_well(root: Path, digits: Path) -> None:
    if find_spec("keras") is None:  # not importorskip: imported without its backend said, Keras asks for TensorFlow
        pytest.skip("Keras is not installed")
    found = []
    for command in (["examples/classic_keras.py", str(digits), "--epochs", "8"], ["examples/classic_beholder.py", str(digits)]):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=root, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
        found.append(float(done.stdout.splitlines()[-1].removeprefix("Accuracy: ")))
    assert min(found) > 92
    assert abs(found[0] - found[1]) < 4


def test_every_example_is_tested(root: Path) -> None:
    here = {"classic_beholder.py", "classic_cnn.py", "classic_keras.py"}
    cases = {"driving.py", "medicine.py", "objects.py"}  # in test_cases.py
    assert {path.name for path in (root / "examples").glob("*.py")} == here | cases
