"""A bundle that was trained already is calibrated on the validation part of its source, in its own place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.bundle.bundle import load
from beholder.cli.run import run
from beholder.sources.digest import digested
from beholder.study import calibrate as module
from beholder.study.calibrate import calibrate


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("calibrated")
    source, out = draw(folder / "leaves", each=30), folder / "leaves.beholder"
    with events.listen(alone=True):
        parts = beholder.split(beholder.scan(source), seed=0)
        beholder.train(parts, net="logistic", epochs=1, out=out, coverage=0.0)
    (out / "report.html").write_text("kept")
    return source, out


def test_it_reads_the_validation_part_and_nothing_else(trained: tuple[Path, Path]) -> None:
    source, out = trained
    before = load(out)
    assert before.config.prediction_sets is None
    with events.listen(alone=True):
        calibrated = calibrate(out, source, coverage=0.8, per_class=True)
    after = load(out)
    assert calibrated.n == before.config.parts["valid"] == after.config.prediction_sets.n
    assert after.config.prediction_sets.coverage == 0.8
    assert after.recipe.test.per_class is True
    assert after.readings == before.readings == []
    assert (out / "report.html").read_text() == "kept"
    assert all((after.net.state_dict()[name] == value).all() for name, value in before.net.state_dict().items())


def test_validation_pictures_of_a_table_are_read_with_their_groups_and_no_others(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = trained
    bundle, pictures = load(out), beholder.scan(source)
    given: list[Any] = []
    monkeypatch.setattr(module.learn, "fit", lambda *_, groups: given.append(groups))
    monkeypatch.setattr(module, "_save", lambda bundle, path: None)
    with events.listen(alone=True):
        calibrate(bundle, pictures)
        found = calibrate(bundle, replace(pictures, groups=np.arange(len(pictures)) // 3))
    assert given[0] is None
    assert len(given[1]) == found.n == bundle.config.parts["valid"]
    of = np.array(bundle.part_of(digested(pictures).hexdigests))
    assert given[1].tolist() == (np.flatnonzero(of == "valid") // 3).tolist()
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        calibrate(bundle, pictures.take(np.flatnonzero(of != "valid")))
    assert caught.value.code == "empty-part"


def test_the_command_says_what_it_found(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    source, out = trained
    assert (
        run(["calibrate", str(out), str(source), "--sensitivity", "0.5", "--for", "rust", "--confidence", "0.6", "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["operating_points"][0]["label"] == "rust"
    assert told["operating"]["sensitivity"] == told["operating_points"][0], "the name of before, for one release"
    assert told["operating"]["sensitivity"]["threshold"] is not None
    assert run(["predict", str(out), str(source / "rust" / "00.png")]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["positive"] in (True, False)
    assert set(line["set"]) <= {"healthy", "mildew", "rust"}
    assert run(["calibrate", str(out), str(source), "--sensitivity", "0.5", "--positive", "moss"]) == 2
    assert "no class 'moss'" in capsys.readouterr().err


def test_what_cannot_be_used_is_refused(trained: tuple[Path, Path], tmp_path: Path, draw) -> None:
    source, out = trained
    with pytest.raises(UsageError):
        calibrate(out, source, covrage=0.8)
    with events.listen(alone=True), pytest.raises(DataError):
        calibrate(out, draw(tmp_path / "others", size=(30, 30)))
