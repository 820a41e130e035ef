"""Every program of examples/ runs and does what it says."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.runtime import exported
from beholder.runtime.export import export


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


@pytest.mark.slow
def test_an_angle_is_a_task_that_is_tested_exported_compared_and_reported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(root / "examples"))
    import angle

    path = tmp_path / "angle.beholder"
    with events.only("warn"):
        model = angle.main(720, epochs=10, precision="fp32", out=path)
    first, second = capsys.readouterr().out.splitlines()
    assert float(first.split()[0]) < 20, "a guess is 90 degrees off on average"
    assert abs(float(second.rpartition(" ")[2])) < 45
    with pytest.raises(UsageError, match="not part of Beholder"):
        exported.load(path)
    images, truth = angle.arrows(48, seed=1)
    cosine, sine = model.outputs(np.stack([model.pixels(picture) for picture in images]))[0].T
    off = np.abs((np.degrees(np.arctan2(sine, cosine)) - truth + 180) % 360 - 180)
    assert off.mean() < 20
    with events.only("warn"):
        evaluation = beholder.evaluate(model, (images, truth), part="all")
        assert evaluation.scores.headline["degrees"].value == pytest.approx(off.mean(), abs=1)
        beholder.report(model, evaluation, tmp_path / "report.html")
        export(beholder.load(path, trust=True))
        (pair,) = beholder.compare([model, path], (images, truth), part="all", trust=True).pairs
    assert pair.others["degrees"].value == pytest.approx(0, abs=1e-4)
    graph = exported.load(path, trust=True)
    sample = np.stack([model.pixels(picture) for picture in images[:4]])
    np.testing.assert_allclose(graph.outputs(sample)[0], model.outputs(sample)[0], atol=1e-4)
    assert "degrees" in (tmp_path / "report.html").read_text("utf-8")


def test_every_example_is_tested(root: Path) -> None:
    here = {"angle.py", "classic_beholder.py", "classic_cnn.py", "classic_keras.py"}
    cases = {"driving.py", "medicine.py", "objects.py"}  # in test_cases.py
    assert {path.name for path in (root / "examples").glob("*.py")} == here | cases
