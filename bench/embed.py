"""Features of 2,527 photos from files: the fastest verified engine against a plain torch loop in float32, in turn.

    .venv/bin/python bench/embed.py [ROUNDS]

Both read the files of TrashNet, give MobileNetV2 pictures of 192 × 192, and return what its head would be given. The plain
loop: Pillow in a DataLoader with 2 workers, batches of 64, float32, torch as it comes. Ours: no pixels in the cache, so every
picture is decoded, and the engine is made and verified, within the time that counts; the first round also tries which engine
is the fastest (OpenVINO where it is installed), later ones remember that.
Agreement: share of the photos to which a linear head, fitted on the plain loop's features, gives the same class on ours.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
WEIGHTS = SHARED / "weights" / "mobilenetv2_100"
SIDE = 192


class Files(torch.utils.data.Dataset):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> Tensor:
        from PIL import Image
        from torchvision.transforms import functional as T

        with Image.open(self.paths[k]) as image:
            pixels = T.to_tensor(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        return T.normalize(pixels, [0.5] * 3, [0.5] * 3)


def plain(paths: list[Path]) -> tuple[Tensor, dict[str, float]]:
    import timm

    began = time.monotonic()
    net = timm.create_model(f"local-dir:{WEIGHTS}", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        found = torch.cat([net(images) for images in torch.utils.data.DataLoader(Files(paths), 64, num_workers=2)])
    return found, {"total": time.monotonic() - began}


def ours(folder: Path) -> tuple[Tensor, dict[str, float]]:
    from beholder.base.fields import NetRecipe
    from beholder.base.records import PixelPolicy
    from beholder.data.cache import cached
    from beholder.machine.device import device, precision
    from beholder.nets.build import create, wants
    from beholder.runtime.inference import Normal, embed, runner
    from beholder.sources import scan

    with tempfile.TemporaryDirectory() as root:
        marks = [time.monotonic()]
        pictures = scan(folder)
        pixels = cached(pictures, PixelPolicy(SIDE, SIDE), root=root)
        marks.append(time.monotonic())
        recipe = NetRecipe(name="timm:mobilenetv2_100", weights=str(WEIGHTS))
        net = create(recipe, channels=3, size=(SIDE, SIDE), classes=6).net.to(memory_format=torch.channels_last)
        want, on = wants(recipe), device()
        normal = Normal(want.mean, want.std, on)
        run = runner(net, pixels, normal, precision(on).dtype)
        marks.append(time.monotonic())
        found = embed(run, pixels, normal)
        marks.append(time.monotonic())
    parts = dict(zip(("decode", "engine", "features"), (b - a for a, b in pairwise(marks)), strict=True))
    return found, {**parts, "total": marks[-1] - marks[0]}


def agreement(theirs: Tensor, mine: Tensor, labels: Tensor) -> float:
    from beholder.nets.head import fit
    from beholder.tasks.single import SINGLE

    weight, bias = fit(theirs, torch.nn.functional.one_hot(labels).float(), task=SINGLE, decay=1e-3)
    return float(((theirs @ weight.T + bias).argmax(1) == (mine @ weight.T + bias).argmax(1)).float().mean())


def main(rounds: int) -> None:
    from beholder.base import events

    if not WEIGHTS.is_dir():
        print("left out: it needs the shared pictures and weights (BEHOLDER_SHARED)")
        return
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # so that no choice of an engine is remembered from elsewhere
        zipfile.ZipFile(SHARED / "data" / "trashnet.zip").extractall(name)
        paths = sorted(Path(name).rglob("*.jpg"), key=lambda path: path.relative_to(name).as_posix())
        classes = sorted({path.parent.name for path in paths})
        labels = torch.tensor([classes.index(path.parent.name) for path in paths])
        theirs, mine = [], []
        for _ in range(rounds):
            wanted, took = plain(paths)
            theirs.append(took["total"])
            with events.listen(alone=True):
                found, parts = ours(paths[0].parent.parent)
            mine.append(parts)
            print(f"plain {took['total']:.1f} s  beholder " + "  ".join(f"{k} {v:.1f} s" for k, v in parts.items()), flush=True)
    n, peer = len(paths), statistics.median(theirs)
    median = {key: statistics.median(run[key] for run in mine) for key in mine[0]}
    print(f"medians of {rounds}, {n} photos: plain {n / peer:.0f} pictures/s, beholder {n / median['total']:.0f}")
    print(f"  ratio {peer / median['total']:.2f}; agreement of a linear head {agreement(wanted, found, labels):.4f}")
    print(f"  decoding alone {n / median['decode']:.0f} pictures/s ({median['decode'] / median['total']:.0%} of the time),")
    print(f"  engine made in {median['engine']:.1f} s, features alone {n / median['features']:.0f} pictures/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
