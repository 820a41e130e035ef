"""What recognising costs: every figure is there, and those that can be known are right."""

from __future__ import annotations

from pathlib import Path

import pytest

import beholder
from beholder.evaluation.sections import cost as section


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
    passes = 2 if bundle.config.mirror else 1
    assert found["flops"] == passes * sum(2 * w.numel() for w in weights)
    assert found["parameters"] == sum(p.numel() for p in bundle.net.parameters())
    assert found["bundle_bytes"] == sum(f.stat().st_size for f in (tmp_path / "m.beholder").iterdir())
    assert section.size_of(None) is None
