"""From a folder of one's own photos to a model and an answer: Beholder beside fastai and Keras, in turn on the same cores.

    .venv/bin/python bench/newcomer.py [MINUTES [EPOCHS]]       (2 minutes; 0: fastai with its one epoch only)

The photos are the 245 of ants and bees (ants-bees.zip, train/) in two class folders, nothing else said; each program divides
them as it does. It is judged on the 153 of val/, which none has seen, by what it answers for a list of files. Two clocks: from
the start of the program, imports included, to the saved model and to all answers; and the seconds of CPU that it took, which a
busy machine does not change.
Beholder: what a newcomer types, with the net that comes with it; and with the same weights as fastai (mobilenetv2_100).
fastai: the program of its tutorials, `fine_tune(1)` as printed there, and with epochs that fill the same minutes of CPU.
Keras: a program in the form of its example "Image classification from scratch", 25 epochs as there, stopped after the minutes
of CPU; no pretrained weights could be had for it here, with which it would be much better.
Lines, decisions and commands are counted of what is printed below. Needs the shared pictures and weights, and the environment
of bench/peers.txt (BEHOLDER_PEERS: its python).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
SOURCE, WEIGHTS = SHARED / "data" / "ants-bees.zip", SHARED / "weights" / "mobilenetv2_100"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))

FASTAI = """
from fastai.vision.all import *
dls = ImageDataLoaders.from_folder("own", valid_pct=0.2, seed=42, item_tfms=Resize(224))
learn = vision_learner(dls, NET, metrics=error_rate)
learn.fine_tune(EPOCHS)
learn.export("model.pkl")
"""
FASTAI_DECIDES = ("share for validation", "seed", "size of the pictures", "net", "metric", "epochs", "file of the model")
FASTAI_ANSWERS = """
told("model")
files = [PILImage.create(path) for path in new]
scores, _ = learn.get_preds(dl=dls.test_dl(files))
answer([dls.vocab[int(row.argmax())] for row in scores])
"""

KERAS = """
import keras
from keras import layers
train, val = keras.utils.image_dataset_from_directory(
    "own", validation_split=0.2, subset="both", seed=1337, image_size=(180, 180), batch_size=32
)
vary = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
inputs = keras.Input((180, 180, 3))
x = layers.Rescaling(1 / 255)(vary(inputs))
for width in (64, 128, 256):
    x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(width, 3, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
net = keras.Model(inputs, layers.Dense(len(train.class_names))(x))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
net.compile(optimizer=keras.optimizers.Adam(3e-4), loss=loss, metrics=["accuracy"])
net.fit(train, epochs=25, callbacks=[STOP], validation_data=val, verbose=2)
net.save("model.keras")
"""
KERAS_DECIDES = (
    "share for validation", "seed", "size of the pictures", "batch size", "augmentation", "layers and their widths", "dropout",
    "optimiser", "learning rate", "loss", "metric", "epochs", "file of the model",
)  # fmt: skip
KERAS_ANSWERS = """
told("model")
import numpy
files = [keras.utils.img_to_array(keras.utils.load_img(path, target_size=(180, 180))) for path in new]
answer([train.class_names[int(row.argmax())] for row in net.predict(numpy.stack(files), verbose=0)])
"""

AROUND = """
import json, os, sys, time
began, new = float(sys.argv[1]), json.load(open(sys.argv[2]))
def told(what):
    print(json.dumps([what, time.time() - began]), flush=True)
def answer(labels):
    print(json.dumps(["answers", time.time() - began, labels]), flush=True)
"""
STOPPING = """
import keras
class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = time.process_time() > MINUTES * 60
        print("epochs", epoch + 1, flush=True)
STOP = Stop()
"""


def unpack(folder: Path) -> list[Path]:
    """Write own/CLASS/… and new/CLASS/…; return the files of new/."""
    with zipfile.ZipFile(SOURCE) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            part, label, file = name.split("/")[-3:]
            path = folder / {"train": "own", "val": "new"}[part] / label / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    return sorted(path for path in (folder / "new").rglob("*") if path.is_file())


def cpu() -> float:
    """Return the seconds of CPU of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peer(program: str, folder: Path, new: list[Path]) -> dict[str, object]:
    (folder / "new.json").write_text(json.dumps([str(path) for path in new]))
    command = [PEERS, "-W", "ignore", "-c", AROUND + program, str(time.time()), "new.json"]
    before, environment = cpu(), {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": done.stderr[-400:]}
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    epochs = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("epochs ")]
    (model,), (answers,) = ([row for row in rows if row[0] == name] for name in ("model", "answers"))
    rest = {"epochs": epochs[-1]} if epochs else {}
    return {"model": model[1], "answers": answers[1], "labels": answers[2], "cpu": cpu() - before, **rest}


def ours(options: list[str], folder: Path, new: list[Path]) -> dict[str, object]:
    """Train, then predict a folder, as a newcomer types it; nothing is remembered from before."""
    environment = {**os.environ, "BEHOLDER_CACHE": tempfile.mkdtemp(dir=folder)}
    before, started, command = cpu(), time.time(), [sys.executable, "-m", "beholder"]
    train = [*command, "train", "own", "--out", "own.beholder", "--json", *options]
    done = subprocess.run(train, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": done.stderr[-400:]}
    made = time.time() - started
    predict = [*command, "predict", "own.beholder", "new", "--json"]
    told = subprocess.run(predict, cwd=folder, capture_output=True, text=True, env=environment, check=True).stdout
    said = {Path(row["path"]).name: row.get("label") for row in map(json.loads, told.splitlines())}
    score = json.loads(done.stdout)["scores"]["accuracy"]
    subprocess.run(["rm", "-r", str(folder / "own.beholder")], check=True)
    own = "{value:.3f} [{low:.3f}, {high:.3f}] (n={n})".format(**score)
    found = {"model": made, "answers": time.time() - started, "labels": [said.get(path.name) for path in new]}
    return {**found, "cpu": cpu() - before, "net": json.loads(done.stdout)["net"], "own test": own}


def show(who: str, found: dict[str, object], new: list[Path]) -> None:
    from beholder.measure.intervals import wilson

    if "failed" in found:
        print(f"{who}: failed: {found['failed']}", flush=True)
        return
    labels = found.pop("labels")
    right = [label == path.parent.name for label, path in zip(labels, new, strict=True)]
    score = wilson(sum(right), len(right))
    rest = {key: value for key, value in found.items() if key not in {"model", "answers", "cpu"}}
    seconds = (
        f"model after {found['model']:.0f} s, {len(right)} answers after {found['answers']:.0f} s, {found['cpu']:.0f} s of CPU"
    )
    print(f"{who}: {seconds}; of the new ones right: {score} {rest or ''}", flush=True)


def lines_of(program: str) -> int:
    return sum(bool(line.strip()) for line in program.splitlines())


def main(minutes: float, epochs: int | None) -> None:
    if not Path(PEERS).is_file() or not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED) and the peers of bench/peers.txt (BEHOLDER_PEERS)")
        return
    print("to type: Beholder 2 commands (train, predict), no decision that has to be made")
    for who, program, decides in (("fastai", FASTAI, FASTAI_DECIDES), ("Keras", KERAS, KERAS_DECIDES)):
        print(f"to type: {who} {lines_of(program)} lines to a model, {len(decides)} decisions: {', '.join(decides)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        new = unpack(folder)
        budget = ["--minutes", str(minutes)]
        same = ["--net", "timm:mobilenetv2_100", "--set", f"net.weights={WEIGHTS}"]
        fastai = FASTAI.replace("NET", f'"local-dir:{WEIGHTS}"') + FASTAI_ANSWERS

        show("beholder", ours(budget, folder, new), new)
        show("beholder, weights of fastai", ours([*budget, *same], folder, new), new)
        once = peer(fastai.replace("EPOCHS", "1"), folder, new)
        seconds = float(str(once.get("cpu", 0)))
        show("fastai, fine_tune(1)", once, new)
        fill = int((minutes * 60 - seconds) / max(seconds / 3, 1)) + 1 if epochs is None else epochs  # imports, head, one epoch
        if fill > 1:
            show(f"fastai, fine_tune({fill})", peer(fastai.replace("EPOCHS", str(fill)), folder, new), new)
        keras = STOPPING.replace("MINUTES", str(minutes)) + KERAS + KERAS_ANSWERS
        show("keras", peer(keras, folder, new), new)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2, int(sys.argv[2]) if len(sys.argv) > 2 else None)
