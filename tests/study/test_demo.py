from __future__ import annotations

from pathlib import Path

import pytest

from beholder.study.demo import demo


@pytest.mark.slow
def test_the_demonstration_keeps_its_promise(tmp_path: Path) -> None:
    outcome = demo(tmp_path)
    accuracy = outcome.evaluation.scores.headline["accuracy"]
    assert accuracy.value >= 0.975
    assert accuracy.low < accuracy.value < accuracy.high or accuracy.value == 1
    assert outcome.seconds < 60
    assert (tmp_path / "digits.beholder" / "report.html").is_file()
    assert "beholder predict" in str(outcome)
