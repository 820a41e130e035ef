"""Fine-tuning MobileNetV2 on TrashNet: `beholder train` against the loop of the tutorials and against fastai, in turn.

    .venv/bin/python bench/finetune.py [ROUNDS [EPOCHS]]

All learn from the same pictures and validate on the same, after every epoch, from the same weights. plain: timm's net,
RandomResizedCrop and flips at 224, a DataLoader with 2 workers, AdamW at 0.001 with a cosine, float32, all layers.
fastai: `vision_learner(…).fine_tune(EPOCHS)` as its book shows it. The clock of both starts when their imports are done; ours
runs over the whole command, from the start of Python. What is compared is the time to each validation accuracy.
Needs the shared pictures and weights, and the environment of bench/peers.txt (BEHOLDER_PEERS: its python).
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
SOURCE, WEIGHTS = SHARED / "data" / "trashnet.zip", SHARED / "weights" / "mobilenetv2_100"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
GOALS = (0.80, 0.82, 0.84, 0.86, 0.87, 0.88, 0.89, 0.90)
SCORE = re.compile(r"(?:epoch \d+: .*validation score|linear head .* reaches) ([01]\.\d+)")

Reached = list[tuple[float, float]]
"""Seconds since the start and validation accuracy, after every epoch."""

PLAIN = """
import json, sys, time
import timm, torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2
table, weights, epochs = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
tail = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
vary = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *tail])
show = v2.Compose([v2.Resize(256), v2.CenterCrop(224), *tail])

class Photos(torch.utils.data.Dataset):
    def __init__(self, rows, transform):
        self.rows, self.transform = rows, transform
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, k):
        path, label = self.rows[k]
        return self.transform(Image.open(path).convert("RGB")), label

def loader(part, transform, shuffle):
    return torch.utils.data.DataLoader(Photos(table[part], transform), 32, shuffle=shuffle, num_workers=2)

began = time.monotonic()
train, valid = loader("train", vary, True), loader("valid", show, False)
net = timm.create_model(f"local-dir:{weights}", pretrained=True, num_classes=6)
optimiser = torch.optim.AdamW(net.parameters(), lr=0.001)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(train))
for _ in range(epochs):
    net.train()
    for images, labels in train:
        optimiser.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        right = sum(int((net(images).argmax(1) == labels).sum()) for images, labels in valid)
    print(json.dumps([time.monotonic() - began, right / len(table["valid"])]), flush=True)
"""

FASTAI = """
import json, sys, time
import pandas
from fastai.vision.all import *
table, weights, epochs = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])

class Tell(Callback):
    order = 60  # after the Recorder
    def after_epoch(self):
        print(json.dumps([time.monotonic() - began, float(self.recorder.values[-1][-1])]), flush=True)

rows = [(path, label, part == "valid") for part in ("train", "valid") for path, label in table[part]]
frame = pandas.DataFrame(rows, columns=["path", "label", "held"])
set_seed(0)
began = time.monotonic()
data = ImageDataLoaders.from_df(
    frame, path="/", valid_col="held", item_tfms=Resize(256), batch_tfms=aug_transforms(size=224), bs=32, num_workers=2
)
learner = vision_learner(data, f"local-dir:{weights}", metrics=accuracy, cbs=Tell())
with learner.no_bar(), learner.no_logging():
    learner.fine_tune(epochs)
"""


def split_into(folder: Path) -> None:
    """Write the pictures, and the table of paths and labels of the split that Beholder makes."""
    import beholder

    parts = beholder.split(beholder.scan(SOURCE), seed=0)
    table: dict[str, list[tuple[str, int]]] = {}
    for name in ("train", "valid"):
        part = getattr(parts, name)
        for key, label in zip(part.keys, part.targets, strict=True):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part.store.read(key))
            table.setdefault(name, []).append((str(path), int(label)))
    (folder / "table.json").write_text(json.dumps(table))


def peer(program: str, folder: Path, epochs: int) -> Reached:
    command = [PEERS, "-W", "ignore", "-c", program, str(folder / "table.json"), str(WEIGHTS), str(epochs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


def ours(folder: Path, epochs: int) -> tuple[Reached, dict]:
    """Return when which accuracy was reached, the whole command's result, and its wall time as `wall`."""
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--net", "timm:mobilenetv2_100"]
    command += [
        "--set",
        f"net.weights={WEIGHTS}",
        "--set",
        f"train.epochs={epochs}",
        "--out",
        str(folder / "m.beholder"),
        "--json",
    ]
    home = {"HOME": tempfile.mkdtemp(dir=folder)}  # nothing is decoded or remembered from before
    began = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **home}
    ) as run:
        assert run.stderr is not None
        assert run.stdout is not None
        found = ((time.monotonic() - began, SCORE.search(line)) for line in run.stderr)
        reached = [(seconds, float(score[1])) for seconds, score in found if score]
        result = json.loads(run.stdout.read())
    return reached, {**result, "wall": time.monotonic() - began}


def seconds_to(reached: Reached, goal: float) -> float:
    return next((seconds for seconds, accuracy in reached if accuracy >= goal), float("inf"))


def main(rounds: int, epochs: int) -> None:
    if not Path(PEERS).is_file() or not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED) and the peers of bench/peers.txt (BEHOLDER_PEERS)")
        return
    runs: dict[str, list[Reached]] = {"plain": [], "fastai": [], "beholder": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split_into(folder)
        for _ in range(rounds):
            runs["plain"].append(peer(PLAIN, folder, epochs))
            runs["fastai"].append(peer(FASTAI, folder, epochs))
            reached, result = ours(folder, epochs)
            runs["beholder"].append(reached)
            for who, found in runs.items():
                print(who, "  ".join(f"{seconds:.0f} s {accuracy:.4f}" for seconds, accuracy in found[-1]), flush=True)
            score, wall = result["scores"]["accuracy"], result["wall"]
            print(f"beholder on test: {score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}], {wall:.0f} s in all")
    print(f"medians of {rounds}: seconds to a validation accuracy, and how many times as long as ours")
    for goal in GOALS:
        median = {who: statistics.median(seconds_to(one, goal) for one in found) for who, found in runs.items()}
        ratios = {who: median[who] / median["beholder"] for who in ("plain", "fastai") if median["beholder"] < float("inf")}
        print(
            f"  {goal:.2f}  " + "  ".join(f"{who} {value:.0f} s" for who, value in median.items()),
            "  " + "  ".join(f"{who} {value:.1f}×" for who, value in ratios.items()),
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
