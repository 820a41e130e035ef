"""The labelling page in a browser, with the program behind it: keys, clicks, undo, kills, a second page, a phone."""

from __future__ import annotations

import csv
import io
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contrast import FAINT

from beholder.review.labelling import LabelServer
from beholder.sources import scan
from beholder.study.annotations import begun, journal_of
from beholder.study.labelling import Place, Session
from beholder.study.presort import Presorter

pytestmark = pytest.mark.browser

CLASSES = ("healthy", "mildew & <img src=x>", "rust")
COUNT = 20


class Threaded:
    """A session within this process, with features that tell the classes apart; 12 of 60 are the random sample."""

    def __init__(self, folder: Path, out: Path) -> None:
        pictures = scan(folder, labels=False)
        truth = [("healthy", "mildew", "rust").index(key.split("/")[0]) for key in pictures.keys]
        x = 4 * np.eye(3, 8)[truth] + np.random.default_rng(0).normal(0, 0.6, (len(truth), 8))
        sample = np.zeros(len(truth), np.bool_)
        sample[::5] = True
        notes = begun(journal_of(out), pictures.keys, CLASSES, sample)
        presorter = Presorter(x.astype(np.float16), 3)
        place = Place(out, list(pictures.keys), "photos <b>", "beholder train labels.csv")
        self.out, self.session = out, Session(pictures, notes, presorter, place)
        self.server = LabelServer(self.session)
        self.address = self.server.address
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Program:
    """`beholder label FOLDER` as a process of its own."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.out = out
        given = ["--classes", "healthy,mildew,rust", "--out", str(out)]
        command = [sys.executable, "-m", "beholder", "label", str(folder), *given]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if found := re.search(r"labelling on (http://127\.0\.0\.1:\d+/\S+/)", line):
                self.address = found[1]
                return
        pytest.fail(said)

    def end(self, number: int = signal.SIGKILL) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


Start = Callable[..., Any]


@pytest.fixture
def start(draw: Any, tmp_path: Path) -> Iterator[Start]:
    """A function that serves the page of sixty pictures; `kind`: Threaded or Program."""
    folder = draw(tmp_path / "photos", each=COUNT)
    running: list[Any] = []

    def begin(kind: type[Any] = Threaded, out: str = "labels.csv") -> Any:
        running.append(kind(folder, tmp_path / out))
        return running[-1]

    yield begin
    for program in running:
        program.end()


@contextmanager
def opened(
    browser: Any, address: str, *, width: int = 1280, height: int = 800, quiet: bool = True, **options: Any
) -> Iterator[Any]:
    """Open the page and, when done, look whether it was quiet and asked nobody else."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    wait(page, "document.body.dataset.turn !== undefined")
    yield page
    context.close()
    assert not quiet or said == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def wait(page: Any, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => !!({what})"):
        assert time.monotonic() < end, what
        page.wait_for_timeout(10)


def turn(page: Any, number: int) -> None:
    wait(page, f"document.body.dataset.turn === '{number}'")


def shown(page: Any) -> list[str]:
    return list(page.evaluate("() => [...document.querySelectorAll('#grid .card')].map(c => c.title)"))


def marked(page: Any) -> list[str]:
    return list(page.evaluate("() => [...document.querySelectorAll('#grid [aria-selected=true]')].map(c => c.title)"))


def labels(path: Path) -> dict[str, str]:
    return {row["path"]: row["label"] for row in rows(path)}


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


KINDS = ("healthy", "mildew", "rust")


def answer(page: Any) -> None:
    """Do one thing: mark those of one other class and say what they are, or say what all are."""
    cards, at = shown(page), int(page.evaluate("() => document.body.dataset.turn"))
    asked = int(page.evaluate("() => document.querySelector('#classes .asked')?.dataset.label ?? -1"))
    kinds = [KINDS.index(name.split("/")[0]) for name in cards]
    whole = asked if asked in kinds else kinds[0]
    others = sorted({kind for kind in kinds if kind != whole})
    for place, kind in enumerate(kinds):
        if others and kind == others[0]:
            page.locator("#grid .card").nth(place).click()
    page.keyboard.press(str(others[0] + 1) if others else "Enter" if whole == asked else str(whole + 1))
    turn(page, at + 1)


def test_keys_and_clicks_label_everything(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        while shown(page):
            answer(page)
        assert page.locator("#empty-title").inner_text() == "Everything is labelled"
        assert page.locator("#count").inner_text() == "60"
        assert re.match(r"Presorting is right on \d+ % \[\d+, \d+\]", page.locator("#score").inner_text())
        page.locator("#finish").click()
        page.wait_for_selector("#done[open]")
        assert page.locator("#following").inner_text() == "beholder train labels.csv"
    wanted = {key: CLASSES[KINDS.index(key.split("/")[0])] for key in program.session.pictures.keys}
    assert labels(program.out) == wanted


def test_marks_by_click_drawing_shift_and_keys(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        cards = shown(page)
        assert len(cards) >= 5
        assert marked(page) == []
        page.locator(".card").nth(1).click()
        assert marked(page) == [cards[1]]
        page.locator(".card").nth(3).click(modifiers=["Shift"])
        assert marked(page) == cards[1:4]
        page.locator(".card").nth(2).click()
        assert marked(page) == [cards[1], cards[3]]
        page.keyboard.press("Control+a")
        assert marked(page) == cards
        page.keyboard.press("Escape")
        assert marked(page) == []
        boxes = [page.locator(".card").nth(at).bounding_box() for at in (0, 2)]
        page.mouse.move(boxes[0]["x"] + 30, boxes[0]["y"] + 60)
        page.mouse.down()
        page.mouse.move(boxes[1]["x"] + 30, boxes[1]["y"] + 60, steps=30)
        page.mouse.up()
        assert marked(page) == cards[:3]
        page.keyboard.press("Home")
        page.keyboard.press(" ")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ ")
        assert marked(page) == [cards[2]]
        page.keyboard.press("Enter")  # of no class that is asked about
        assert page.evaluate("() => document.body.dataset.turn") == "0"
        page.locator("#classes button").nth(2).click()
        turn(page, 1)
        assert labels(program.out) == {cards[2]: "rust"}
        assert shown(page) == [*cards[:2], *cards[3:]]


def test_what_is_marked_when_the_rest_is_confirmed_comes_back_as_something_else(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address, height=400) as page:
        while page.evaluate("() => !document.querySelector('#classes .asked')") or len(shown(page)) < 3:
            answer(page)
        cards, at = shown(page), int(page.evaluate("() => document.body.dataset.turn"))
        asked = page.locator("#classes .asked .class").inner_text()
        page.locator(".card").first.click()
        assert page.locator("#confirm").inner_text().startswith(f"The other {len(cards) - 1}")
        page.keyboard.press("Enter")
        turn(page, at + 1)
        held = labels(program.out)
        assert cards[0] not in held
        assert {held[name] for name in cards[1:]} == {asked}


def test_undo_later_unusable_and_the_large_picture(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        cards = shown(page)
        page.keyboard.press("3")
        turn(page, 1)
        assert set(labels(program.out)) == set(cards)
        page.keyboard.press("u")
        turn(page, 2)
        assert shown(page) == cards
        assert labels(program.out) == {}
        page.locator(".card").first.click()
        page.keyboard.press("s")
        turn(page, 3)
        assert shown(page) == cards[1:]
        page.locator(".card").first.click()
        page.keyboard.press("x")
        turn(page, 4)
        assert page.locator("#others").inner_text().strip() == "· 1 unusable · 1 for later"
        page.keyboard.press("z")
        page.wait_for_selector("#large[open] img")
        page.keyboard.press("3")  # it belongs to the dialog
        page.keyboard.press("Escape")
        page.keyboard.press("Control+z")
        turn(page, 5)
        assert page.locator("#others").inner_text().strip() == "· 1 for later"


def test_presorted_labels_only_as_a_person_asks(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        assert page.locator("#presort").is_disabled()
        while page.locator("#presort").is_disabled():
            answer(page)
        at = int(page.evaluate("() => document.body.dataset.turn"))
        page.locator("#presort").click()
        page.locator("#least").select_option("0.8")
        wait(page, "document.getElementById('sure-words').textContent.includes('would get')")
        page.locator("#sure .ends button").first.click()
        assert page.evaluate("() => document.body.dataset.turn") == str(at)
        page.locator("#presort").click()
        wait(page, "!document.getElementById('take').disabled")
        page.locator("#take").click()
        turn(page, at + 1)
        assert "presorted" in page.locator("#others").inner_text()
        assert "presorted" in [row["by"] for row in rows(program.out)]


def test_a_second_page_that_is_behind_is_refused(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as one, opened(browser, program.address, quiet=False) as two:
        one.keyboard.press("1")
        turn(one, 1)
        before = labels(program.out)
        two.keyboard.press("2")
        two.wait_for_selector("#trouble:not([hidden])")
        assert "another page on these labels was faster" in two.locator("#trouble").inner_text()
        assert labels(program.out) == before
        two.reload()
        turn(two, 1)


def test_a_kill_loses_nothing_and_it_goes_on(browser: Any, start: Start) -> None:
    program = start(kind=Program)
    with opened(browser, program.address, quiet=False) as page:
        page.keyboard.press("1")
        turn(page, 1)
        held = labels(program.out)
        program.end(signal.SIGKILL)
        page.keyboard.press("2")
        page.wait_for_selector("#trouble:not([hidden])")
        assert "every action that was taken is kept" in page.locator("#trouble").inner_text()
    assert held
    again = start(kind=Program)
    with opened(browser, again.address) as page:
        assert page.locator("#count").inner_text() == str(len(held))
        assert not set(shown(page)) & set(held)
        page.keyboard.press("u")
        turn(page, 2)
        assert page.locator("#count").inner_text() == "0"
    code, said = again.end(signal.SIGINT)
    assert code == 0
    assert "0 labelled by a person" in said


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_it_is_legible_and_fits(browser: Any, start: Start, width: int, scheme: str, tmp_path: Path) -> None:
    program = start()
    with opened(browser, program.address, width=width, color_scheme=scheme) as page:
        page.keyboard.press("1")
        turn(page, 1)
        wait(page, "[...document.querySelectorAll('.card img')].every(i => i.complete && i.naturalWidth)")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight")
        assert page.locator("#estimate").is_visible()
        assert page.evaluate(FAINT) == []
        assert page.evaluate("() => document.querySelectorAll('#classes img, #source b').length") == 0
        small = page.evaluate(
            "() => [...document.querySelectorAll('button')]"
            ".filter(b => b.offsetWidth && Math.min(b.offsetHeight, b.offsetWidth) < 24).length"
        )
        assert small == 0
        page.locator("#help").click() if width > 400 else page.keyboard.press("?")
        page.wait_for_selector("#keys[open]")
        assert page.evaluate(FAINT) == []
