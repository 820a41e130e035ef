"""Detection on blood cells: how good in so many minutes, and beside torchvision's Faster R-CNN on the same backbone and split.

    python bench/detect.py ours --minutes 5 --seeds 0 1 2
    python bench/detect.py peer --minutes 20 --seeds 0
    python bench/detect.py speed MODEL.beholder

The set is blood-cells-boxes.csv of the shared folder (BEHOLDER_SHARED, default ../shared): 364 pictures, 70/15/15.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import beholder
from beholder.base.recipe import Recipe
from beholder.data.boxed import sized, upright
from beholder.data.cache import cached
from beholder.machine.device import precision
from beholder.measure.detection_matching import matched
from beholder.measure.detection_precision import average_precision, summary
from beholder.measure.detections import Detected, Found

SOURCE = Path(os.environ.get("BEHOLDER_SHARED", "../shared")) / "data" / "blood-cells-boxes.csv"


def ours(minutes: float, seed: int) -> dict[str, Any]:
    """Return what the whole command gives: scan, split, train, test, report."""
    began = time.monotonic()
    out = Path(tempfile.mkdtemp(prefix="beholder-bench-")) / "cells.beholder"
    outcome = beholder.steps(SOURCE, minutes=minutes, seed=seed, out=out)
    scores = outcome.json()["scores"]
    return {"who": "ours", "seconds": time.monotonic() - began, "scores": scores}


class Pyramid(nn.Module):
    """The same backbone with torchvision's pyramid, as torchvision's detectors take one."""

    def __init__(self, backbone: nn.Module, widths: list[int]) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.backbone = backbone
        self.pyramid = FeaturePyramidNetwork(widths, 128)
        self.out_channels = 128

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps by name."""
        found: OrderedDict[str, Tensor] = self.pyramid(OrderedDict((str(k), x) for k, x in enumerate(self.backbone(images))))
        return found


def peer(minutes: float, seed: int) -> dict[str, Any]:
    """Return what torchvision's Faster R-CNN gives on the same backbone weights, pictures, split and minutes."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    from beholder.nets.detector import begun

    torch.manual_seed(seed)
    parts = beholder.split(beholder.scan(SOURCE), seed=seed)
    detector, _, _ = begun(Recipe().set(net="timm:tf_efficientnet_lite0"), channels=3, classes=3)
    widths = [40, 112, 320]
    anchors = AnchorGenerator(((16, 24), (48, 72), (128, 200)), ((0.7, 1.0, 1.4),) * 3)
    net = FasterRCNN(
        Pyramid(detector.backbone, widths),
        4,
        min_size=320,
        max_size=416,
        rpn_anchor_generator=anchors,
        box_detections_per_img=100,
    )
    pictures = parts.train
    own, _ = sized(pictures.boxes, upright(pictures))
    images = [_picture(pictures, k) for k in range(len(pictures))]
    targets = [
        {"boxes": torch.from_numpy(own[k].corners).float(), "labels": torch.from_numpy(own[k].classes) + 1}
        for k in range(len(pictures))
    ]
    weights = [p for p in net.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(weights, lr=2e-4, weight_decay=0.02)
    low = precision(torch.device("cpu"))
    began, step, seconds = time.monotonic(), 0, 60 * minutes
    net.train()
    rng = np.random.default_rng(seed)
    while time.monotonic() - began < seconds:
        rows = rng.choice(len(images), 4, replace=False)
        some, wanted = zip(*(_flipped(images[k], targets[k], rng.random() < 0.5) for k in rows), strict=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=low.mixed):
            loss = sum(net(list(some), list(wanted)).values())
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            done = (time.monotonic() - began) / seconds
            group["lr"] = 2e-4 * min(1.0, (step + 1) / 50) * max(0.02, 1 - done)
        adam.step()
        step += 1
    return {"who": "Faster R-CNN", "seconds": time.monotonic() - began, "steps": step, "scores": _tested(net, parts.test)}


def _flipped(image: Tensor, target: dict[str, Tensor], turn: bool) -> tuple[Tensor, dict[str, Tensor]]:
    if not turn:
        return image, target
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image.shape[2]
    return image.flip(2), {**target, "boxes": torch.stack([width - right, top, width - left, bottom], 1)}


def _picture(pictures: beholder.Pictures, row: int) -> Tensor:
    from beholder.image import decode

    pixels = decode(pictures.store.read(pictures.keys[row]), channels=3)
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@torch.inference_mode()
def _tested(net: nn.Module, test: beholder.Pictures) -> dict[str, float]:
    net.eval()
    rows = []
    for k in range(len(test)):
        found = net([_picture(test, k)])[0]
        rows.append(Detected(found["boxes"].double().numpy(), (found["labels"] - 1).numpy(), found["scores"].double().numpy()))
    own, _ = sized(test.boxes, upright(test))
    matches = matched(own, Found.of(rows), 3)
    return {**summary(matches), "classes": average_precision(matches)[:, 0].tolist()}


def speed(model: str) -> dict[str, Any]:
    """Return pictures a second of a detector's net alone, by batches of 8, of 96 test pictures in memory."""
    made = beholder.load(model)
    pictures = beholder.scan(SOURCE).take(np.arange(96))
    images = cached(pictures, made.policy).take(np.arange(96))
    made.found(images[:8])
    began = time.monotonic()
    made.found(images)
    return {"pictures_per_second": 96 / (time.monotonic() - began), "engine": made.engine}


def main() -> None:
    """Run what was asked for, and print a JSON object for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ours", "peer", "speed"))
    parser.add_argument("model", nargs="?")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = parser.parse_args()
    if asked.what == "speed":
        print(json.dumps(speed(asked.model)))
        return
    for seed in asked.seeds:
        print(
            json.dumps(
                {"seed": seed, "minutes": asked.minutes, **{"ours": ours, "peer": peer}[asked.what](asked.minutes, seed)}
            )
        )


if __name__ == "__main__":
    main()
