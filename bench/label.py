"""How many keys and clicks does labelling take? TrashNet photos, labelled on the page by a script that knows the truth.

    .venv/bin/python bench/label.py [PICTURES] [SEED] [--no-train]

The program `beholder label` runs as a person starts it, on a folder of PICTURES photos (300) drawn at random from TrashNet and
named by their numbers; Chromium shows its page, 1280 × 800, and the script presses keys and clicks, which are counted: one for
each key pressed and each click, with Shift too. It does what a careful person would: mark what is not of the class asked about
(or, where none is, of the commonest), class by class, press the key of each, and confirm the rest. It labels everything.
Then `beholder train --minutes 5` learns from the table, and the photos that were not drawn say how good the model is.
Prints actions per 100 pictures, the share of labels that are right, the estimate of presorting beside what it rests on, and the
accuracy of the model. Needs playwright and chromium (`beholder[browser]`).
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
WIDTH, HEIGHT = 1280, 800


def drawn(folder: Path, count: int, seed: int) -> tuple[Path, Path, dict[str, str]]:
    """Return the folder of the photos drawn, class folders of all others, and name → class of the first."""
    photos, others, truth = folder / "photos", folder / "others", {}
    photos.mkdir()
    with zipfile.ZipFile(SHARED / "trashnet.zip") as packed:
        names = sorted(name for name in packed.namelist() if name.lower().endswith((".jpg", ".png")))
        order = np.random.default_rng(seed).permutation(len(names))
        for at, place in enumerate(order.tolist()):
            name, kind = names[place], names[place].split("/")[-2]
            if at < count:
                new = f"{at:04}{Path(name).suffix}"
                truth[new] = kind
                (photos / new).write_bytes(packed.read(name))
            else:
                (others / kind).mkdir(parents=True, exist_ok=True)
                (others / kind / Path(name).name).write_bytes(packed.read(name))
    return photos, others, truth


class Hands:
    """Presses keys and clicks, and counts them."""

    def __init__(self, page: Any, classes: list[str], truth: dict[str, str]) -> None:
        self.page, self.classes, self.truth, self.done = page, classes, truth, Counter[str]()

    def key(self, key: str) -> None:
        self.done["keys"] += 1
        self.page.keyboard.press(key)

    def click(self, at: int, *, shift: bool = False) -> None:
        self.done["clicks"] += 1
        card = self.page.locator("#grid .card").nth(at)
        card.click(position={"x": 30, "y": 40}, modifiers=["Shift"] if shift else [])

    def grid(self) -> tuple[str, list[str]]:
        """Return the class asked about, "" for none, and the true class of each picture shown."""
        asked, names = self.page.evaluate(
            "() => [document.querySelector('#classes .asked .class')?.textContent || '',"
            " [...document.querySelectorAll('#grid .card')].map(c => c.title)]"
        )
        return asked, [self.truth[name] for name in names]

    def turned(self, turn: str) -> None:
        end = time.monotonic() + 60
        while self.page.evaluate("() => document.body.dataset.turn") in (None, turn):
            assert time.monotonic() < end, self.page.locator("#trouble").inner_text()
            self.page.wait_for_timeout(5)

    def answer(self) -> bool:
        """Do one thing: mark the pictures of one class that is not the grid's and say what they are, or say it of all."""
        asked, truth = self.grid()
        if not truth:
            return False
        counts = Counter(truth)
        whole = asked if asked in counts else counts.most_common(1)[0][0]
        others = [kind for kind, _ in counts.most_common() if kind != whole]
        turn = self.page.evaluate("() => document.body.dataset.turn")
        if others:
            self.mark([kind == others[0] for kind in truth])
        kind = others[0] if others else whole
        self.key("Enter" if kind == asked and not others else str(self.classes.index(kind) + 1))
        self.turned(turn)
        return True

    def mark(self, those: list[bool]) -> None:
        """Mark pictures: single ones by a click, stretches by a click and one with Shift, what is in between taken back."""
        for first, last in stretches(those):
            self.click(first)
            if last > first:
                self.click(last, shift=True)
            for at in range(first, last + 1):
                if not those[at]:
                    self.click(at)


def stretches(those: list[bool]) -> list[tuple[int, int]]:
    """Return the first and last places of stretches that mark `those` in the fewest clicks."""
    best: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    for end, wanted in enumerate(those):
        if not wanted:
            best.append(best[-1])
            continue
        found = (best[end][0] + 1, [*best[end][1], (end, end)])
        for start in range(end):
            cost = best[start][0] + 2 + those[start:end].count(False)
            if those[start] and cost < found[0]:
                found = (cost, [*best[start][1], (start, end)])
        best.append(found)
    return best[-1][1]


def labelled(photos: Path, out: Path, truth: dict[str, str], shots: Path | None) -> tuple[Hands, dict[str, Any], float]:
    from playwright.sync_api import sync_playwright

    classes = sorted(set(truth.values()))
    command = [sys.executable, "-m", "beholder", "label", photos, "--classes", ",".join(classes), "--out", out, "--json"]
    program = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    address = next(found[1] for line in program.stderr if (found := re.search(r"labelling on (http\S+)", line)))
    with sync_playwright() as play:
        path = os.environ.get("BEHOLDER_CHROMIUM") or shutil.which("chromium")
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        hands = Hands(page, classes, truth)
        hands.turned("")
        began, steps = time.monotonic(), 0
        while hands.answer():
            steps += 1
            if shots is not None and steps % 8 == 1:
                page.wait_for_timeout(500)
                page.screenshot(path=shots / f"step-{steps:03}.png")
        seconds = time.monotonic() - began
        hands.done["clicks"] += 1
        page.locator("#finish").click()
        page.wait_for_selector("#done[open]")
        browser.close()
    said, _ = program.communicate(timeout=60)
    return hands, json.loads(said), seconds


def main() -> None:
    plain = [word for word in sys.argv[1:] if not word.startswith("-")]
    count, seed = int(plain[0]) if plain else 300, int(plain[1]) if len(plain) > 1 else 0
    shots = Path(os.environ["BEHOLDER_SHOTS"]) if "BEHOLDER_SHOTS" in os.environ else None
    with tempfile.TemporaryDirectory() as name:
        photos, others, truth = drawn(Path(name), count, seed)
        out = Path(name) / "labels.csv"
        hands, told, seconds = labelled(photos, out, truth, shots)
        rows = {Path(row["path"]).name: row["label"] for row in csv.DictReader(out.open(newline=""))}
        right = sum(rows.get(name) == kind for name, kind in truth.items())
        actions = hands.done["keys"] + hands.done["clicks"]
        print(f"{count} pictures, seed {seed}: {actions} actions ({dict(hands.done)}), {100 * actions / count:.1f} per 100")
        print(f"labels right: {right} of {count}; the script took {seconds:.0f} s; presorting: {told['estimate']}")
        if "--no-train" in sys.argv:
            return
        model = Path(name) / "m.beholder"
        train = [sys.executable, "-m", "beholder", "train", out, "--minutes", "5", "--out", model, "--json"]
        made = json.loads(subprocess.run(list(map(str, train)), check=True, capture_output=True, text=True).stdout)
        print(f"train --minutes 5: net {made['net']}, parts {made['parts']}, on its test part {made['scores']['accuracy']}")
        test = [sys.executable, "-m", "beholder", "evaluate", model, others, "--part", "all", "--json"]
        found = json.loads(subprocess.run(list(map(str, test)), check=True, capture_output=True, text=True).stdout)
        print(f"on the {found['n']:,} photos that were not drawn: {found['scores']['accuracy']}")


if __name__ == "__main__":
    main()
