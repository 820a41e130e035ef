"""Both ends of the supported range of huggingface_hub, each in a process of its own, against a hub on this machine."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.hubserver import COMMIT, FORBIDDEN, Hub, Repository, serving

import beholder
from beholder.bundle.bundle import Bundle

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
from pathlib import Path

import huggingface_hub
import beholder
from beholder.bundle import hub

sent, came, forbidden = sys.argv[1:]
said = {"version": huggingface_hub.__version__}
with beholder.listen(alone=True):
    said["address"] = hub.push(sent, "someone/leaves")
    said["again"] = hub.push(sent, "someone/leaves")
    hub.pull("someone/leaves", came)
    for name, call in {
        "unknown": lambda: hub.pull("someone/nothing", came + ".2"),
        "forbidden": lambda: hub.push(sent, forbidden),
    }.items():
        try:
            call()
        except beholder.MachineError as error:
            said[name] = [error.code, error.message]
    try:
        beholder.scan("hf:someone/pets")
    except beholder.UsageError as error:
        said["asks"] = error.code
    said["pets"] = list(map(int, beholder.scan("hf:someone/pets", allow_download=True).counts()))
    said["kept"] = len(beholder.scan("hf:someone/pets"))
    try:
        beholder.scan("hf:someone/none", allow_download=True)
    except beholder.MachineError as error:
        said["none"] = error.code
card = huggingface_hub.ModelCard.load(Path(came) / "README.md")
again = huggingface_hub.ModelCardData(**huggingface_hub.ModelCard(f"---\\n{card.data.to_yaml()}\\n---\\n").data.to_dict())
said["card"], said["again_card"] = card.data.to_dict(), again.to_dict()
print(json.dumps(said))
"""


def lowest(root: Path) -> str:
    """The version that pyproject.toml names as the lower bound, in full."""
    found = re.search(r'"huggingface_hub>=([\d.]+)"', (root / "pyproject.toml").read_text("utf-8"))
    assert found is not None
    return found[1] + ".0" * (2 - found[1].count("."))


AWAY = re.compile(
    r"connection|network|timed? ?out|name resolution|proxy|ssl|certificate|HTTP error|from versions: none",
    re.IGNORECASE,
)
"""What pip says where the network or the index is what fails, and not the package."""


def unreachable(said: str) -> str:
    """The line in which pip says that the network or the index fails; "" where it is anything else."""
    return next((line for line in said.splitlines() if AWAY.search(line)), "")


def test_only_a_failing_network_or_index_is_a_reason_to_skip() -> None:
    for line in (
        "WARNING: Retrying … after connection broken by 'NewConnectionError'",
        "ERROR: Could not find a version that satisfies the requirement huggingface_hub==0.23.0 (from versions: none)",
        "ERROR: HTTP error 503 while getting https://index/huggingface_hub.whl",
        "pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.",
        "Temporary failure in name resolution",
    ):
        assert unreachable(f"first\n{line}\n") == line
    assert not unreachable("ERROR: Could not install packages due to an OSError: No space left on device")
    assert not unreachable("ERROR: Could not find a version that satisfies huggingface_hub==0.1 (from versions: 0.2, 0.3)")
    assert not unreachable("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")


@pytest.fixture
def oldest(root: Path, pytestconfig: pytest.Config) -> Path:
    """A folder with the oldest supported release, fetched once."""
    version = lowest(root)
    folder = Path(pytestconfig.cache.mkdir(f"huggingface_hub-{version}"))
    if not (folder / f"huggingface_hub-{version}.dist-info").is_dir():
        what = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder), f"huggingface_hub=={version}"]
        done = subprocess.run([sys.executable, "-m", "pip", "install", *what], capture_output=True, text=True)
        if done.returncode and (why := unreachable(done.stderr)):
            pytest.skip(f"huggingface_hub {version} cannot be fetched here: {why}")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def pets() -> Repository:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"bytes": b"picture %d" % i, "path": None} for i in range(6)]
    made = io.BytesIO()
    pq.write_table(pa.table({"image": rows, "label": ["cat", "dog", "dog"] * 2}), made)
    return Repository(files={"data/train-00000-of-00001.parquet": made.getvalue(), "README.md": b"pets", "load.py": b"1/0"})


def told(hub: Hub, sent: Path, folder: Path, path: str) -> dict[str, Any]:
    """What the program says of a hub. path: folders before all others in which modules are looked for."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": path}
    env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", "HF_TOKEN": "hf_" + "x" * 34, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", PROGRAM, str(sent), str(folder / "came.beholder"), FORBIDDEN]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, f"{done.stderr}\n{hub.asked}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_pushed_pulled_and_read_with_both_ends_of_the_range(
    end: str, small: tuple[Path, Path, Bundle], pets: Repository, tmp_path: Path, root: Path, request: pytest.FixtureRequest
) -> None:
    path = str(request.getfixturevalue("oldest")) if end == "oldest" else ""
    source, _, bundle = small
    sent = tmp_path / "sent.beholder"
    bundle.scores = beholder.evaluate(bundle, beholder.scan(source)).json()
    bundle.save(sent)
    (sent / "report.html").write_text("pictures of the test part")
    with serving(Hub({"datasets/someone/pets": pets})) as hub:
        said = told(hub, sent, tmp_path, path)
    import huggingface_hub

    assert said["version"] == (lowest(root) if end == "oldest" else huggingface_hub.__version__)
    assert said["address"] == said["again"] == f"{hub.address}/someone/leaves/commit/{COMMIT}"
    there = hub.repositories["models/someone/leaves"]
    assert there.private
    files = {str(p.relative_to(sent)): p.read_bytes() for p in sent.rglob("*") if p.is_file() and p.name != "report.html"}
    assert there.files == files
    assert all(card.startswith("---\nlibrary_name: beholder\n") for card in hub.cards)
    assert list(hub.large.values()) == [files["model.safetensors"]]
    came = tmp_path / "came.beholder"
    assert {str(p.relative_to(came)): p.read_bytes() for p in came.rglob("*") if p.is_file()} == files
    assert {key: said[key][0] for key in ("unknown", "forbidden")} == {"unknown": "hub", "forbidden": "hub"}
    assert (said["asks"], said["pets"], said["kept"], said["none"]) == ("download-not-allowed", [2, 4], 6, "download-failed")
    fetched = [line for line in hub.asked if line.startswith("GET /datasets")]
    assert len(fetched) == 1, "neither code nor anything but Parquet is fetched"
    check_card(said, bundle, json.loads(files["scores.json"]))


def check_card(said: dict[str, Any], bundle: Bundle, scores: dict[str, Any]) -> None:
    """The card says of the bundle what it holds, and comes back from the Hub's own values as it was."""
    card = said["card"]
    assert said["again_card"] == card
    assert (card["library_name"], card["pipeline_tag"]) == ("beholder", "image-classification")
    assert card["tags"] == ["beholder", "single", bundle.config.net.name]
    assert "license" not in card, "of random weights nobody stated one"
    (result,) = card["model-index"][0]["results"]
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values == {name: score["value"] for name, score in scores["scores"].items() if score["value"] is not None}
    assert values["accuracy"] == scores["scores"]["accuracy"]["value"]
    assert "/" not in result["dataset"]["name"], "no path of this machine"
