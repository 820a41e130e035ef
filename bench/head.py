"""What anybody gets in a few lines and the same minutes: the baseline of bench/busy.py.

    .venv/bin/python bench/head.py KIND FILES.csv MINUTES [WEIGHTS]

KIND: features   timm's features of frozen WEIGHTS (a local-dir folder) and scikit-learn's logistic regression
      grid       the same with the strength of the penalty from a grid, by cross-validation
      fastai     fastai's vision_learner on WEIGHTS as `fine_tune` trains it (a frozen epoch, then all layers), with the rate of
                 its lr_find, and as many epochs as the time of the frozen one says that there is time for
      pixels     scikit-learn's logistic regression on the pixels
      cnn        the classic small convolutional net (32 and 64 filters, 128 units) with Adam at 0.001, batches of 32
FILES.csv: path,label,part with the parts train, valid and test; here train and valid are one. Pictures are read from files, in
a fixed shuffle, until the time is nearly up; what was seen by then is learnt from. The test part is answered off the clock,
whole.
Prints "fitted" when the time is over, then a line of JSON: {"n": pictures that were learnt from, "seconds", "right": 0 or 1 for
each test picture}.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

FITTING = 0.75
"""Share of the time after which no picture is read any more, so that something is left to fit what was read."""


def read(path: str, *, mode: str, size: tuple[int, int] | None = None) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        picture = image.convert(mode)
        return np.asarray(picture if size is None else picture.resize(size, Image.Resampling.BICUBIC))


def features(train: list, test: list, end: float, weights: str, *, grid: bool = False) -> tuple[int, object]:
    import timm
    import torch
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    net = timm.create_model(f"local-dir:{weights}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))

    def seen(paths: list[str]) -> np.ndarray:
        batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
        with torch.inference_mode():
            return net(batch).numpy()

    began, rows, at = time.monotonic(), [], 0
    while at < len(train) and (not rows or time.monotonic() < began + FITTING * (end - began)):
        rows.append(seen([path for path, _ in train[at : at + 32]]))
        at += 32
    x, y = np.concatenate(rows), [label for _, label in train[:at]]
    scale = StandardScaler().fit(x)
    head = LogisticRegression(max_iter=200)
    if grid:
        from sklearn.model_selection import GridSearchCV

        head = GridSearchCV(head, {"C": [0.001, 0.01, 0.1, 1.0]}, cv=3)
    head = head.fit(scale.transform(x), y)

    def answers() -> np.ndarray:
        chunks = (test[k : k + 64] for k in range(0, len(test), 64))
        return head.predict(scale.transform(np.concatenate([seen([path for path, _ in chunk]) for chunk in chunks])))

    return len(x), answers


def fastai(train: list, test: list, end: float, weights: str) -> tuple[int, object]:
    import pandas
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, aug_transforms, vision_learner
    from safetensors.torch import load_file

    frame = pandas.DataFrame(train, columns=["path", "label"])
    loaders = ImageDataLoaders.from_df(
        frame,
        path="/",
        valid_pct=0.15,
        seed=0,
        bs=32,
        num_workers=2,
        item_tfms=Resize(256),
        batch_tfms=aug_transforms(size=224),
    )
    learner = vision_learner(loaders, Path(weights).name, pretrained=False, metrics=accuracy)
    state = load_file(next(Path(weights).glob("*.safetensors")))
    body = learner.model[0].model
    body.load_state_dict({name: state[name] for name in body.state_dict()})
    with learner.no_bar(), learner.no_logging():
        learner.freeze()
        rate = learner.lr_find(num_it=30, show_plot=False).valley
        began = time.monotonic()
        learner.fit_one_cycle(1, slice(rate), pct_start=0.99)
        took = time.monotonic() - began
        epochs = max(1, int((end - time.monotonic()) / (1.6 * took)))  # all layers cost more than the head
        learner.unfreeze()
        learner.fit_one_cycle(epochs, slice(rate / 200, rate / 2), pct_start=0.3)

    def answers() -> list[str]:
        said = learner.get_preds(dl=loaders.test_dl([path for path, _ in test]))[0].argmax(1)
        return [str(loaders.vocab[k]) for k in said.tolist()]

    return len(train), answers


def pixels(train: list, test: list, end: float, size: tuple[int, int], mode: str) -> tuple[int, object]:
    from sklearn.linear_model import LogisticRegression

    def flat(rows: list) -> np.ndarray:
        return np.stack([read(path, mode=mode, size=size).ravel() for path, _ in rows]) / 255.0

    began, x = time.monotonic(), []
    for path, _ in train:
        if len(x) > 200 and time.monotonic() > began + 0.4 * (end - began):
            break
        x.append(read(path, mode=mode, size=size).ravel() / 255.0)
    x, y = np.stack(x), np.array([label for _, label in train[: len(x)]])
    count, head = min(2000, len(x)), None
    while True:  # of more and more pictures, as long as the next fit is likely to end in time
        at = time.monotonic()
        head = LogisticRegression(max_iter=100).fit(x[:count], y[:count])
        took = time.monotonic() - at
        if count == len(x) or time.monotonic() + 2.5 * took > end:
            break
        count = min(2 * count, len(x))
    return count, lambda: head.predict(flat(test))


def cnn(train: list, test: list, end: float, size: tuple[int, int], mode: str) -> tuple[int, object]:
    import torch
    from torch import nn

    names = sorted({label for _, label in train})
    channels = 1 if mode == "L" else 3

    def images(rows: list) -> torch.Tensor:
        found = np.stack([read(path, mode=mode, size=size) for path, _ in rows]).reshape(len(rows), size[1], size[0], channels)
        return torch.from_numpy(found).permute(0, 3, 1, 2).float() / 255

    side = (size[0] // 4) * (size[1] // 4)
    net = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * side, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, len(names))),
    )
    optimiser, loss = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    known: dict[int, torch.Tensor] = {}
    goal = torch.tensor([names.index(label) for _, label in train])
    taken, epoch = 0, 0
    while time.monotonic() < end and epoch < 30:
        order = np.random.default_rng(epoch).permutation(len(train)) if epoch else np.arange(len(train))
        for at in range(0, len(train), 32):
            if time.monotonic() >= end:
                break
            rows = order[at : at + 32].tolist()
            for row in rows:
                if row not in known:
                    known[row] = images([train[row]])[0]
            optimiser.zero_grad()
            loss(net(torch.stack([known[row] for row in rows])), goal[rows]).backward()
            optimiser.step()
            taken += len(rows)
        epoch += 1
    net.eval()

    def answers() -> list[str]:
        with torch.inference_mode():
            said = torch.cat([net(images(test[k : k + 256])).argmax(1) for k in range(0, len(test), 256)])
        return [names[k] for k in said.tolist()]

    return taken, answers


def main(kind: str, files: str, minutes: float, weights: str = "") -> None:
    began = time.monotonic() - time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    end = began + 60 * minutes
    with Path(files).open(encoding="utf-8", newline="") as file:
        rows = [(row["path"], row["label"], row["part"]) for row in csv.DictReader(file)]
    train = [(path, label) for path, label, part in rows if part != "test"]
    test = [(path, label) for path, label, part in rows if part == "test"]
    train = [train[k] for k in np.random.default_rng(0).permutation(len(train)).tolist()]
    first = read(train[0][0], mode="RGB")
    grey = all(read(path, mode="RGB").std(axis=2).max() == 0 for path, _ in train[:20])
    size = (min(first.shape[1], 64), min(first.shape[0], 64))
    if kind in ("features", "grid"):
        n, answers = features(train, test, end, weights, grid=kind == "grid")
    elif kind == "fastai":
        n, answers = fastai(train, test, end, weights)
    else:
        n, answers = {"pixels": pixels, "cnn": cnn}[kind](train, test, end, size, "L" if grey else "RGB")
    seconds = time.monotonic() - began
    print("fitted", flush=True)  # what follows is off the clock: nothing need keep the machine busy any more
    right = [int(said == label) for said, (_, label) in zip(answers(), test, strict=True)]
    print(json.dumps({"n": n, "seconds": round(seconds, 1), "right": right}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *sys.argv[4:])
