"""What recognising costs: every figure is there, and those that can be known are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import beholder
from beholder.machine.energy import joules, spent
from beholder.machine.memory import peak_memory
from beholder.use.sections import cost as section


def test_the_cost_of_a_small_net(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "REPEATS", 25)
    monkeypatch.setattr(section, "BATCHES", (1, 2, 4))
    parts = beholder.split(beholder.scan(leaves), seed=0)
    bundle = beholder.train(parts, net="mlp", epochs=1, batch=8)
    bundle.save(tmp_path / "m.beholder")
    found = section.cost(bundle, beholder.evaluate(bundle, parts.test))
    assert found is not None
    for name in ("latency", "opening"):
        assert 0 < found[name]["p50"]["value"] <= found[name]["p95"]["value"] <= found[name]["p99"]["value"]
        assert found[name]["p50"]["n"] == 25
        assert found[name]["p50"]["low"] <= found[name]["p50"]["value"] <= found[name]["p50"]["high"]
    assert found["throughput"]["per_second"] == max(
        found["throughput"][str(b)] for b in (1, 2, 4) if str(b) in found["throughput"]
    )
    weights = [p for p in bundle.net.parameters() if p.ndim == 2]
    passes = 2 if bundle.config["mirror"] else 1
    assert found["flops"] == passes * sum(2 * w.numel() for w in weights)
    assert found["parameters"] == sum(p.numel() for p in bundle.net.parameters())
    assert found["bundle_bytes"] == sum(f.stat().st_size for f in (tmp_path / "m.beholder").iterdir())
    assert section.size_of(None) is None


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


def test_the_peak_of_memory_is_what_was_taken() -> None:
    found = peak_memory(lambda: torch.ones(16, 1024, 1024).sum(), torch.device("cpu"))
    if found is not None:
        assert found[1] > 40 * 2**20
        assert found[0] >= found[1]
