"""What every test may ask for: the shared folder, tiny pictures, and a home that is not the user's."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

ROOT = Path(__file__).parent.parent
COLOURS = {"healthy": (40, 160, 60), "mildew": (210, 210, 220), "rust": (180, 80, 20)}

# Deadlines measure the machine, not the code; on CI the examples are the same at every run.
settings.register_profile(
    "beholder", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("beholder")


@pytest.fixture(scope="session", autouse=True)
def _home_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of what is made once for all tests: nothing of the user's own is read, and no hub is asked for models."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(folder))
        for name in ("BEHOLDER_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "TORCH_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("MPLCONFIGDIR", str(folder / "matplotlib"))  # looking for fonts takes seconds
        yield folder


@pytest.fixture(scope="module", autouse=True)
def home(_home_of_all: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home of the file's own, with its cache: what other files' tests decoded or looked at is nothing to these."""
    folder = _home_of_all / request.node.nodeid.replace("/", ".")
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _cache_of_one_test() -> Iterator[None]:
    """What a test chose with `--cache` or `beholder.cache` holds for that test alone."""
    before = os.environ.get("BEHOLDER_CACHE")
    yield
    os.environ.pop("BEHOLDER_CACHE", None)
    if before is not None:
        os.environ["BEHOLDER_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C as at a terminal: a shell makes what it starts in the background ignore it, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared pictures and weights; the test is skipped where it is absent."""
    folder = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"the shared folder is absent: {folder.name} (set BEHOLDER_SHARED)")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes with one thread: on a busy machine a run takes as many as are quickest then, and has other bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Draw(Protocol):
    """Writes `each` pictures of every class into `folder` and returns the folder."""

    def __call__(self, folder: Path, *, each: int = 12, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Path: ...


@pytest.fixture(scope="session")
def draw() -> Draw:
    """A function that writes a folder of class folders; the classes differ in colour, so a net can learn them."""

    def write(folder: Path, *, each: int = 12, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Path:
        rng = np.random.default_rng(0)
        for name, colour in COLOURS.items():
            (folder / name).mkdir(parents=True)
            for number in range(each):
                noise = rng.integers(-30, 30, (size[1], size[0], 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / name / f"{number:02}.png")
        return folder

    return write


@pytest.fixture
def leaves(tmp_path: Path, draw: Draw) -> Path:
    """Three classes of twelve pictures, 24 wide and 20 high: healthy, mildew, rust."""
    return draw(tmp_path / "leaves")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Path, Any]:
    """(source, saved path, bundle) of a recogniser trained for two epochs on three classes of tiny pictures."""
    import beholder

    folder = tmp_path_factory.mktemp("small")
    source = draw(folder / "leaves")
    parts = beholder.split(beholder.scan(source), seed=0)
    bundle = beholder.train(parts, net="cnn", epochs=2, batch=8, out=folder / "leaves.beholder", precision="fp32")
    return source, folder / "leaves.beholder", bundle


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("BEHOLDER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed (or set BEHOLDER_CHROMIUM to its path)")
    with sync_api.sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--use-fake-device-for-media-stream"]
        launched = play.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()
