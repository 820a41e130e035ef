"""Joules by the counters of the processor."""

from __future__ import annotations

from pathlib import Path

from beholder.machine.energy import joules, spent


def test_energy_is_read_where_it_is_counted(tmp_path: Path) -> None:
    assert joules(tmp_path) is None
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()
    (zone / "energy_uj").write_text("3000000\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")
    first = joules(tmp_path)
    assert first == {"intel-rapl:0": 3.0}
    assert spent(first, {"intel-rapl:0": 5.5}, tmp_path) == 2.5
    assert spent(first, {"intel-rapl:0": 1.0}, tmp_path) == 8.0  # it began anew
    assert spent(None, first) is None
