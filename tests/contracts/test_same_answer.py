"""One picture, one answer: torch and ONNX, alone and among others, as a file, as bytes and as an array, and over HTTP."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.server.fakes import served

import beholder
from beholder.bundle.bundle import Bundle, load
from beholder.evaluation.predict import predict
from beholder.runtime import exported
from beholder.runtime.engines import fastest
from beholder.runtime.export import export
from beholder.server.client import Client

CLOSE = 1e-4
MODES = ("RGB", "L", "RGBA", "P", "LA", "1", "CMYK", "I;16")


def encoded(number: int) -> bytes:
    """Picture `number`: of an odd size, in the next of the modes, as JPEG where that can hold it, else as PNG or TIFF."""
    rng = np.random.default_rng(number)
    height, width = (int(n) for n in rng.integers(1, 180, 2))
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 4), dtype=np.uint8)
    image = Image.fromarray(coarse, "RGBA").resize((width, height), Image.Resampling.BICUBIC)
    mode = MODES[number % len(MODES)]
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode != "RGBA":
        image = image.convert("RGB").convert(mode) if mode in ("P", "CMYK") else image.convert(mode)
    kind = "JPEG" if mode in ("RGB", "L") and number % 3 else "TIFF" if mode == "CMYK" else "PNG"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80 + number % 20} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory, draw, each_device: torch.device) -> Bundle:
    return taught(tmp_path_factory.mktemp("same"), draw, net="cnn")


def taught(folder: Path, draw, **net) -> Bundle:
    parts = beholder.split(beholder.scan(draw(folder / "leaves")), seed=0)
    beholder.train(parts, **net, epochs=2, batch=8, out=folder / "leaves.beholder", precision="fp32")
    bundle = load(folder / "leaves.beholder")
    export(bundle)
    return bundle


def rows(guesses) -> np.ndarray:
    return np.array([list(guess.probabilities.values()) for guess in guesses])


def check(bundle: Bundle, folder: Path, n: int) -> None:
    assert bundle.path is not None
    files = []
    for number in range(n):
        files.append(folder / f"{number}.picture")
        files[-1].write_bytes(encoded(number))
    wanted = rows(bundle([*files]))
    assert wanted.std(axis=0).max() > 0.01
    whole = exported.load(bundle.path)
    alone = exported.load(Path(shutil.copy(bundle.path / "model.onnx", folder / "alone.onnx")))
    found = {
        "torch, one at a time": rows([bundle(file) for file in files]),
        "torch, bytes": rows(bundle([file.read_bytes() for file in files])),
        "torch, predict": np.array([list(line["probabilities"].values()) for line in predict(bundle, files, batch=7)]),
        "onnx": rows(whole([*files])),
        "onnx, one at a time": rows([whole(file) for file in files]),
        "onnx, one file": rows(alone([*files])),
        "onnx, predict": np.array([list(line["probabilities"].values()) for line in predict(alone, files, batch=5)]),
        "the engine chosen": rows(fastest(bundle.path)([*files])),
    }
    arrays = [number for number in range(n) if MODES[number % len(MODES)] in ("RGB", "L")]
    opened = [np.asarray(Image.open(files[number])) for number in arrays]
    found["arrays"] = wanted.copy()
    found["arrays"][arrays] = rows(whole(opened))
    with served(whole) as at, Client(f"http://127.0.0.1:{at.port}") as client:
        found["http, one at a time"] = rows([client(file) for file in files])
        found["http, many"] = np.array([list(line["probabilities"].values()) for line in client.predict(files, batch=8)])
    apart = {name: float(np.abs(made - wanted).max()) for name, made in found.items()}
    assert max(apart.values()) <= CLOSE, apart


def test_a_picture_has_one_answer(carried: Bundle, tmp_path: Path) -> None:
    check(carried, tmp_path, 64)


def test_a_net_that_enlarges_its_pictures_has_one_answer(tmp_path: Path, draw, each_device: torch.device) -> None:
    enlarged = taught(tmp_path, draw, net="timm:test_resnet", weights="none", enlarge=64)
    assert max(enlarged.policy.height, enlarged.policy.width) < 64
    check(enlarged, tmp_path, 16)


@pytest.mark.slow
def test_a_thousand_pictures_have_one_answer_each(carried: Bundle, tmp_path: Path) -> None:
    check(carried, tmp_path, 1000)
