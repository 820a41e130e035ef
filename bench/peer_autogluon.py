"""AutoGluon MultiModal in the same minutes, on the same backbone weights: a peer of bench/study.py.

    AUTOGLUON_PYTHON bench/peer_autogluon.py FILES.csv MINUTES WEIGHTS

Runs in an environment of its own, as AutoGluon wants another timm (bench/autogluon.txt). FILES.csv: path,label,part with the
parts train, valid and test. It learns from train and chooses weights by accuracy on valid; its settings are its own but for the
backbone and the CPU. `time_limit` is the minutes; the start of the program comes on top. The test part is answered off the
clock, whole. Prints "fitted" when the time is over, then the line of JSON of bench/head.py.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY, REVISION = "models--timm--tf_efficientnet_lite0.in1k", "0" * 40


def cached(weights: Path, home: Path) -> None:
    """Lay out WEIGHTS (a local-dir folder of timm) as the cache in which Hugging Face's hub would keep it."""
    folder = home / "hub" / REPOSITORY
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION, encoding="utf-8")
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(weights.resolve() / name)


def main(files: str, minutes: float, weights: str, place: Path) -> None:
    began = time.monotonic() - time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    cached(Path(weights), place)
    os.environ |= {"HF_HOME": str(place), "HF_HUB_CACHE": str(place / "hub"), "HF_HUB_OFFLINE": "1"}  # read when it is imported
    import pandas
    from autogluon.multimodal import MultiModalPredictor

    with Path(files).open(encoding="utf-8", newline="") as file:
        rows = pandas.DataFrame(list(csv.DictReader(file)))
    parts = {part: rows[rows["part"] == part][["path", "label"]].reset_index(drop=True) for part in ("train", "valid", "test")}
    predictor = MultiModalPredictor(
        label="label", problem_type="classification", eval_metric="accuracy", path=str(place / "model"), verbosity=1
    )
    predictor.fit(
        parts["train"],
        tuning_data=parts["valid"] if len(parts["valid"]) else None,
        time_limit=round(60 * minutes),
        column_types={"path": "image_path"},
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": "tf_efficientnet_lite0",
            "env.num_gpus": 0,
            "env.num_workers": 0,
            "env.num_workers_inference": 0,
        },
    )
    seconds = time.monotonic() - began
    print("fitted", flush=True)
    said = predictor.predict(parts["test"][["path"]], as_pandas=False)
    right = [int(str(answer) == label) for answer, label in zip(said, parts["test"]["label"], strict=True)]
    print(json.dumps({"n": len(parts["train"]) + len(parts["valid"]), "seconds": round(seconds, 1), "right": right}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], float(sys.argv[2]), sys.argv[3], Path(folder))
