"""The script that measures a GPU, tried where there is none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("beholder_bench_gpu", root / "bench" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("Tesla T4", 65),
        ("AMD EPYC", 0),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(name: str, tflops: float, script: ModuleType) -> None:
    assert script.sheet(name) == tflops


def test_every_part_has_a_limit_and_the_likely_ones_fit_in_nine_minutes(script: ModuleType) -> None:
    assert list(script.LIMITS) == list(script.PARTS)
    assert script.ENOUGH < 540
    assert sum(seconds for name, seconds in script.LIMITS.items() if name != "airbench") < 1.35 * script.ENOUGH


def test_a_part_that_takes_too_long_is_ended_and_said_to_be(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        'import time\nprint(\'{"figure": "first", "value": 1}\', flush=True)\nprint(\'words\', flush=True)\ntime.sleep(60)\n'
    )
    monkeypatch.setattr(script, "__file__", str(slow))
    rows = list(script.lines_of("agree", cpu=True, seconds=2))
    assert [row["figure"] for row in rows] == ["first", "part"]
    assert rows[1]["ended"] == "out of time"
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert script.table([{"figure": "speed", "value": 2, "none": None}, {"figure": "ratio", "ok": False}]).splitlines()[2:] == [
        "| speed | value 2 |  |",
        "| ratio |  | ! |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_way_works_on_the_cpu(root: Path) -> None:
    parts = ["agree", "waits", "sprint", "compile"]
    command = [str(root / "bench" / "gpu.sh"), "--cpu", "--only", *parts]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["part"] for row in rows if row["figure"] == "part"] == parts
    assert {row["ended"] for row in rows if row["figure"] == "part"} == {"whole"}
    ways = {row["way"]: row for row in rows if row["figure"] == "training"}
    assert set(ways) == {"bare", "ours", "ours, nothing varied"}
    assert all(row["tflops"] > 0 and row["speed_over_bare"] > 0 for row in ways.values())
    assert done.stdout.rstrip().splitlines()[-1].startswith("| part ")
