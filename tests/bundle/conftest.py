from __future__ import annotations

from pathlib import Path

import pytest

import beholder
from beholder.bundle.bundle import Bundle


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Path, Bundle]:
    """(source, saved path, bundle) of a recogniser trained for two epochs on three classes of tiny pictures."""
    folder = tmp_path_factory.mktemp("small")
    source = draw(folder / "leaves")
    parts = beholder.split(beholder.scan(source), seed=0)
    bundle = beholder.train(parts, net="cnn", epochs=2, batch=8, out=folder / "leaves.beholder", precision="fp32")
    return source, folder / "leaves.beholder", bundle
