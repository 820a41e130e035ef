"""The review page in a browser, with the program behind it: keys, twins, filters, kills, 50,000 findings, a phone."""

from __future__ import annotations

import json
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

import pytest
from tests.contrast import FAINT

from beholder.base.records import Finding
from beholder.quality.audit import Findings, decided, read
from beholder.quality.decisions import reopened
from beholder.review.server import Server
from beholder.review.session import Session
from beholder.sources import scan

pytestmark = pytest.mark.browser

SPACE = "a name & <img src=x>"


@pytest.fixture
def source(leaves: Path) -> Path:
    """Three classes of twelve; one file is no picture; one class name is hostile."""
    (leaves / "mildew").rename(leaves / SPACE)
    (leaves / "rust" / "11.png").write_bytes(b"no picture")
    return leaves


def rows() -> tuple[Finding, ...]:
    dark = [Finding(f"rust/{i:02}.png", "dark", 0.9 - i / 100, "it is too dark") for i in range(8)]
    wrong = [Finding(f"healthy/{i:02}.png", "labels", 0.9 - i / 100, "the label is wrong", "relabel:rust") for i in range(6)]
    twins = [Finding(f"{SPACE}/{i:02}.png", "twins", 1.0, "it is a twin", "drop", f"healthy/{i:02}.png") for i in range(4)]
    torn = Finding("rust/11.png", "unreadable", 1.0, "it cannot be read", "drop")
    return (Finding("", "imbalance", 0.8, "rust has too few"), *dark, *wrong, *twins, torn)


class Program:
    """`beholder audit SOURCE --web` as a process of its own. address: of its page; audit: the file it writes."""

    def __init__(self, source: Path, audit: Path) -> None:
        self.audit = audit
        command = [sys.executable, "-m", "beholder", "audit", str(source), "--web", "--out", str(audit)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            found = re.search(r"reviewing on (http://127\.0\.0\.1:\d+/\S+/)", line)
            if found:
                self.address = found[1]
                return
        pytest.fail(said)

    def end(self, number: int = signal.SIGKILL) -> tuple[int, str]:
        """Return the exit code and what was said on stdout."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


class Threaded:
    """The same within this process, which starts at once."""

    def __init__(self, source: Path, audit: Path) -> None:
        self.audit = audit
        self.server = Server(Session(reopened(scan(source), audit), audit), following="beholder clean SOURCE")
        self.address = self.server.address
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


Start = Callable[..., Any]


@pytest.fixture
def start(source: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that serves the page; `kind`: Threaded or Program."""
    running: list[Any] = []

    def begin(findings: tuple[Finding, ...] | None = None, kind: type[Any] = Threaded) -> Any:
        audit = tmp_path / "audit.csv"
        if not audit.exists():
            Findings(scan(source), rows() if findings is None else findings, {}).save(audit)
        running.append(kind(source, audit))
        return running[-1]

    yield begin
    for program in running:
        program.end()


@contextmanager
def opened(browser: Any, address: str, *, width: int = 1280, quiet: bool = True, **options: Any) -> Iterator[Any]:
    """Open the page and, when done, look whether it was quiet and asked nobody else."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    wait(page, "!!(document.querySelector('#empty:not([hidden])') || document.querySelector('.card:not(.wait)'))")
    yield page
    context.close()
    assert not quiet or said == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def wait(page: Any, what: str, seconds: float = 30) -> None:
    """Wait until a JavaScript expression is true; the page's own policy forbids what Playwright would do."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => !!({what})"):
        assert time.monotonic() < end, what
        page.wait_for_timeout(10)


def count(page: Any, expected: int) -> None:
    wait(page, f"document.getElementById('count').textContent === '{expected}'")


def now(page: Any) -> str:
    wait(page, "document.querySelector('.card.now')?.hasAttribute('aria-label')")
    return str(page.locator(".card.now").get_attribute("aria-label"))


def place(page: Any, at: int) -> None:
    wait(page, f"document.getElementById('place').textContent.startsWith('{at} of')")


def test_one_key_decides_writes_and_goes_on(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        assert now(page) == "rust, dark 0.90, suggestion keep, undecided"
        for at, key in enumerate("kda", start=1):
            page.keyboard.press(key)
            count(page, at)
            place(page, at + 1)
        assert decided(read(program.audit)) == {"rust/00.png": "keep", "rust/01.png": "drop", "rust/02.png": "keep"}
        page.keyboard.press("r")
        page.keyboard.type("heal")
        page.keyboard.press("Enter")
        count(page, 4)
        page.keyboard.press("r")
        page.keyboard.type("spotted rust")
        assert page.locator("#options li").last.inner_text().split("\n") == ["spotted rust", "new class"]
        page.keyboard.press("Enter")
        count(page, 5)
        made = decided(read(program.audit))
        assert (made["rust/03.png"], made["rust/04.png"]) == ("relabel:healthy", "relabel:spotted rust")
        for left in (4, 3):
            page.keyboard.press("u")
            count(page, left)
        assert set(decided(read(program.audit))) == {"rust/00.png", "rust/01.png", "rust/02.png"}
        page.keyboard.press("Control+z")
        count(page, 2)
        page.keyboard.press("Home")
        place(page, 1)
        page.keyboard.press("x")
        count(page, 1)
        assert decided(read(program.audit)) == {"rust/01.png": "drop"}
        page.keyboard.press("End")
        assert now(page).startswith("rust, unreadable 1.00, suggestion drop, undecided")
        wait(page, "document.querySelector('#shots .gone')")


def test_keys_held_down_lose_nothing(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        for _ in range(8):
            page.keyboard.press("d")
        page.keyboard.press("u")
        wait(page, "document.getElementById('live').textContent.startsWith('Undone. rust, dark 0.83')")
        count(page, 7)
        assert decided(read(program.audit)) == {f"rust/{i:02}.png": "drop" for i in range(7)}


def test_filters_and_accepting_all(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        page.locator("#checks button", has_text="labels").click()
        place(page, 1)
        assert page.locator("#place").inner_text() == "1 of 6"
        page.locator("#grid").focus()
        page.keyboard.press("k")
        count(page, 1)
        page.locator("#show").select_option("open")
        wait(page, "document.getElementById('place').textContent === '1 of 5'")
        page.locator("#accept").click()
        page.keyboard.press("Escape")
        page.locator("#accept").click()
        page.locator("#sure .main").click()
        wait(page, "!document.getElementById('empty').hidden")
        count(page, 6)
        expected = {"healthy/00.png": "keep"} | {f"healthy/{i:02}.png": "relabel:rust" for i in range(1, 6)}
        assert decided(read(program.audit)) == expected
        page.locator("#undo").click()
        count(page, 1)
        page.locator("#checks button").first.click()
        page.locator("#show").select_option("all")
        page.locator("#label").select_option(SPACE)
        wait(page, "document.getElementById('place').textContent === '1 of 4'")
        assert now(page).startswith(f"{SPACE}, beside healthy, twins 1.00")


def test_keys_work_after_any_click(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        clicks = [
            "#checks li:nth-child(2) button",
            "#title",
            "#checks li:nth-child(1) button",
            "#verdict",
            "#next",
            "#undo",
            "header",
            "#place",
        ]
        for done, where in enumerate(clicks):
            page.locator(where).click(force=True)
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            place(page, 2)
            page.keyboard.press("d")
            count(page, 1)
            page.keyboard.press("u")
            count(page, 0)
            assert page.evaluate("document.activeElement.tagName") != "BUTTON", (done, where)
        page.locator("#help").click()
        page.locator("#keys button").click()
        page.keyboard.press("k")
        count(page, 1)
        page.locator("#checks button", has_text="labels").focus()
        page.keyboard.press("Enter")  # who goes by keys stays where they are, and the letters work there too
        wait(page, "document.getElementById('place').textContent === '1 of 6'")
        assert page.evaluate("document.activeElement.closest('nav') !== null")
        page.keyboard.press("d")
        count(page, 2)


def test_what_a_person_has_to_look_at_is_not_accepted_and_stays_undecided(browser: Any, start: Start) -> None:
    looked = (
        Finding("healthy/00.png", "label", 0.7, "w", "review"),
        Finding("healthy/01.png", "label", 0.9, "w", "relabel:rust"),
    )
    program = start((Finding("rust/00.png", "dark", 0.7, "w"), *looked))
    with opened(browser, program.address) as page:
        assert now(page).startswith("healthy, label 0.90, suggestion relabel rust")
        page.keyboard.press("n")
        place(page, 2)
        assert page.locator("#take").is_disabled()
        page.keyboard.press("a")
        wait(page, "document.getElementById('live').textContent.startsWith('Nothing to accept')")
        page.locator("#accept").click()
        assert page.locator("#sure-words").inner_text() == (
            "What is suggested for 2 of the findings shown will be decided; 1 that a person has to look at stay undecided. "
            "One Undo takes it all back."
        )
        page.locator("#sure .main").click()
        count(page, 2)
        assert page.locator("#checks button").first.inner_text().split() == ["All", "checks", "1"]
        assert page.locator("#accept").is_disabled()
        page.locator("#finish").click()
        page.wait_for_selector("#done[open]")
        assert page.locator("#done-words").inner_text() == (
            "2 of 3 findings are decided. Pictures: 1 kept, 0 dropped, 1 relabelled. "
            "What nobody decided about stays untouched. Next:"
        )
    assert decided(read(program.audit)) == {"healthy/01.png": "relabel:rust", "rust/00.png": "keep"}


def test_twins_stand_side_by_side(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        page.locator("#checks button", has_text="twins").click()
        wait(page, "document.querySelectorAll('#shots img').length === 2")
        wait(page, "[...document.querySelectorAll('#shots img')].every(i => i.complete && i.naturalWidth === 24)")
        left, right = (page.locator("#shots .shot").nth(i).bounding_box() for i in (0, 1))
        assert left["x"] + left["width"] < right["x"]
        assert abs(left["y"] - right["y"]) < 1
        assert "24 × 20 · PNG" in page.locator("#shots figcaption").first.inner_text()
        page.locator("#grid").focus()
        page.keyboard.press("o")
        count(page, 2)
        assert decided(read(program.audit)) == {f"{SPACE}/00.png": "keep", "healthy/00.png": "drop"}
        page.keyboard.press("u")
        count(page, 0)
        assert decided(read(program.audit)) == {}


def test_a_kill_loses_nothing(browser: Any, start: Start) -> None:
    program = start(kind=Program)
    with opened(browser, program.address, quiet=False) as page:
        page.keyboard.press("d")
        page.keyboard.press("k")
        count(page, 2)
        program.end(signal.SIGKILL)
        page.keyboard.press("d")
        page.wait_for_selector("#trouble:not([hidden])")
        assert "every decision that was taken is kept" in page.locator("#trouble").inner_text()
        assert page.locator(".card.now").get_attribute("aria-posinset") == "3"
        assert "undecided" in now(page)
    assert decided(read(program.audit)) == {"rust/00.png": "drop", "rust/01.png": "keep"}
    again = start(kind=Program)
    assert again.address != program.address
    with opened(browser, again.address) as page:
        count(page, 2)
        place(page, 3)


def test_ctrl_c_ends_with_a_summary(browser: Any, start: Start) -> None:
    program = start(kind=Program)
    with opened(browser, program.address) as page:
        page.keyboard.press("d")
        count(page, 1)
    code, out = program.end(signal.SIGINT)
    assert code == 0
    assert out == f"1 of 19 findings decided (pictures: 0 kept, 1 dropped, 0 relabelled) in {program.audit}\n"


def test_finish_says_what_comes_next(browser: Any, start: Start) -> None:
    program = start(kind=Program)
    with opened(browser, program.address) as page:
        page.keyboard.press("d")
        count(page, 1)
        page.locator("#finish").click()
        page.wait_for_selector("#done[open]")
        assert page.locator("#following").inner_text().startswith("beholder clean ")
    program.process.wait(timeout=20)
    assert program.end()[0] == 0


@pytest.mark.slow
def test_fifty_thousand_findings(browser: Any, start: Start, source: Path) -> None:
    keys = list(scan(source).keys)
    many = tuple(
        Finding(keys[i % len(keys)], f"check {i % 5}", 1 - i / 100_000, f"finding {i} is one of many of its kind")
        for i in range(50_000)
    )
    program = start(many)
    began = time.perf_counter()
    with opened(browser, program.address) as page:
        first = time.perf_counter() - began
        assert page.locator("#place").inner_text() == "1 of 50,000"
        began = time.perf_counter()
        page.keyboard.press("End")
        wait(page, "document.querySelector('.card.now:not(.wait)')?.getAttribute('aria-posinset') === '50000'")
        jump = time.perf_counter() - began
        assert page.locator(".card").count() < 150
        began = time.perf_counter()
        page.evaluate("document.getElementById('grid').scrollTop = document.getElementById('floor').offsetHeight / 2")
        wait(page, "document.querySelectorAll('.card:not(.wait)').length > 8 && !document.querySelector('.card.wait')")
        middle = time.perf_counter() - began
        page.keyboard.press("Home")
        taken = page.evaluate(
            """async () => { const times = [];
              for (let i = 0; i < 10; i++) { const at = performance.now();
                const body = JSON.stringify({ changes: [[i, i % 2 ? 'keep' : 'drop']] });
                await (await fetch('decide', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })).json();
                times.push(performance.now() - at); }
              return times; }"""
        )
    figures = {"first": first, "end": jump, "middle": middle, "decision": sorted(taken)[5] / 1000}
    sys.stderr.write(json.dumps(figures) + "\n")
    assert first < 10, figures
    assert max(jump, middle) < 5, figures
    assert figures["decision"] < 2, figures
    assert len(read(program.audit)) == 50_000
    assert len(decided(read(program.audit))) == 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_it_fits_and_can_be_read(browser: Any, start: Start, width: int, scheme: str) -> None:
    program = start()
    with opened(browser, program.address, width=width, color_scheme=scheme, has_touch=width < 500) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(FAINT) == []
        page.locator(".card").nth(1).click()
        page.wait_for_selector("#look:not([hidden])")
        page.locator("#drop").click()
        count(page, 1)
        place(page, 3)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.locator("#look button:visible").all():
            box = button.bounding_box()
            assert box["height"] >= 40
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        page.locator("#relabel").click()
        assert page.evaluate(FAINT) == []
        page.keyboard.press("Escape")
        if width < 1024:
            page.locator("#close").click()
            assert page.locator("#look").is_hidden()
            assert page.evaluate("document.activeElement.id") == "grid"
    assert decided(read(program.audit)) == {"rust/01.png": "drop"}


def test_a_screen_reader_finds_its_way(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address, reduced_motion="reduce") as page:
        for role in ("banner", "navigation", "main", "complementary", "status", "progressbar"):
            assert page.get_by_role(role).count() == 1, role
        assert page.get_by_role("listbox", name="Findings").count() == 1
        option = page.locator("#grid").get_by_role("option", selected=True)
        assert option.count() == 1
        assert option.get_attribute("aria-setsize") == "19"
        assert page.locator("#grid").get_attribute("aria-activedescendant") == option.get_attribute("id")
        assert page.evaluate("[...document.querySelectorAll('button, input, select')].filter(e => !e.labels?.length"
                             " && !e.textContent.trim() && !e.ariaLabel).length") == 0  # fmt: skip
        page.keyboard.press("d")
        wait(page, "document.getElementById('live').textContent.startsWith('Dropped. 2 of 19: rust, dark 0.89')")
        stops = []
        for _ in range(60):
            page.keyboard.press("Tab")
            stops.append(page.evaluate("document.activeElement.id"))
        known = ["undo", "help", "finish", "label", "show", "accept", "grid", "keep", "drop"]
        met = [name for name in stops if name in known]
        assert met[met.index("undo") :][: len(known)] == known
        page.locator("#label").focus()
        page.keyboard.press("d")  # a letter in a list of classes chooses one, and decides nothing
        page.locator("#grid").focus()
        page.keyboard.press("?")
        assert page.get_by_role("dialog", name="Keys").count() == 1
        page.keyboard.press("Escape")
        count(page, 1)
        assert page.evaluate("getComputedStyle(document.querySelector('.card')).transitionDuration") == "0s"


def test_nothing_found_is_said(browser: Any, start: Start) -> None:
    program = start((Finding("", "imbalance", 0.8, "rust has too few"),))
    with opened(browser, program.address) as page:
        assert page.locator("#empty").inner_text() == "Nothing to see here\n\nThe audit suspects no picture."
        assert page.locator("#remarks").inner_text() == "About the whole set\nimbalance: rust has too few"
        assert page.evaluate(FAINT) == []
        page.keyboard.press("d")
        count(page, 0)


def test_names_are_text_and_never_markup(browser: Any, start: Start) -> None:
    program = start()
    with opened(browser, program.address) as page:
        page.locator("#checks button", has_text="twins").click()
        wait(page, "document.getElementById('place').textContent === '1 of 4'")
        assert page.locator("#shots figcaption b").first.inner_text() == SPACE
        assert page.locator("main b b, aside b b").count() == 0


def test_names_that_turn_the_text_around_them_are_isolated(browser: Any, tmp_path: Path, draw: Any) -> None:
    source, name = draw(tmp_path / "leaves", each=2), "\u202egnp.exe"
    (source / "rust").rename(source / name)
    key = scan(source).keys[-1]
    found = Finding(key, "label", 0.9, f"given '{name}', looks like 'healthy' (90%)", "relabel:healthy")
    Findings(scan(source), (found,), {}).save(tmp_path / "audit.csv")
    program = Threaded(source, tmp_path / "audit.csv")
    try:
        with opened(browser, program.address) as page:
            wait(page, "document.getElementById('verdict').textContent")
            texts = page.evaluate(
                "[...document.querySelectorAll('body *')].flatMap(e => [...e.childNodes].filter(n => n.nodeType === 3)"
                ".map(n => n.data).concat(['title', 'aria-label', 'alt'].map(a => e.getAttribute(a) ?? '')))"
            )
    finally:
        program.end()
    held = [text for text in texts if name in text]
    assert len(held) >= 6
    assert [text for text in held if f"\u2068{name}\u2069" not in text] == []
