"""The server's page in a browser: ways in, answers in words, many pictures, and everything that can go wrong with a server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contrast import FAINT
from tests.server.fakes import Fake, Served, served
from tests.server.stub import NAMES, PAGE, Acts, Stub, png
from tests.server.test_nearby import bundle

from beholder.base.bidi import isolated, isolating
from beholder.server.guard import Access
from beholder.server.nearby import indexed

REFUSED = "Failed to load resource"
"""What a browser's console says by itself of an answer other than 200."""

EXPLAIN = PAGE.parents[1] / "explanation"

Start = Callable[..., Stub]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a stub server: its acts by name, and `port`."""
    running: list[Stub] = []

    def begin(*, port: int = 0, **acts: Any) -> Stub:
        running.append(Stub(Acts(**acts), port=port))
        return running[-1]

    yield begin
    for stub in running:
        stub.end()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a leaf.png"
    path.write_bytes(png((200, 90, 40)))
    return path


@contextmanager
def opened(
    browser: Any, stub: Stub | Served, *, width: int = 1280, lang: str = "en-GB", ready: bool = True, **options: Any
) -> Iterator[Any]:
    """Open the page and, when done, look whether it was quiet and asked nobody else."""
    address = f"http://127.0.0.1:{stub.port}/"
    context = browser.new_context(viewport={"width": width, "height": 800}, locale=lang, **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    if ready:
        wait(page, "document.getElementById('model').textContent !== '…'")
    yield page
    context.close()
    assert [line for line in said if not line.startswith(REFUSED)] == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def wait(page: Any, what: str, seconds: float = 30) -> None:
    """Wait until a JavaScript expression is true; the page's own policy forbids what Playwright would do."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => !!({what})"):
        assert time.monotonic() < end, what
        page.wait_for_timeout(10)


def answered(page: Any, words: str) -> None:
    wait(page, f"document.getElementById('answer').textContent === {json.dumps(words)}")


def text(page: Any, where: str) -> str:
    return str(page.locator(where).inner_text())


# --- what needs no browser ---


def strings() -> dict[str, dict[str, str]]:
    """The table of strings.js: language → key → sentence."""
    source = (PAGE / "strings.js").read_text("utf-8")
    found = {}
    for code, block in re.findall(r"^  (en|zh): \{\n(.*?)^  \},", source, re.MULTILINE | re.DOTALL):
        pairs = re.findall(r'("?)([\w-]+)\1: ("(?:[^"\\]|\\.)*")', block)
        found[code] = {key: json.loads(value) for _, key, value in pairs}
    return found


def test_both_languages_say_the_same_with_the_same_facts() -> None:
    found = strings()
    english, chinese = found["en"], found["zh"]
    assert len(english) > 60
    assert set(english) <= set(chinese)  # what is wrong with a picture the server says, in English
    for key, words in english.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    same = {key for key in english if english[key] == chinese[key]}
    assert same <= {"column_p"}


def test_what_goes_wrong_is_said_in_the_page_s_language_and_not_in_the_server_s() -> None:
    server, pictures = PAGE.parent, PAGE.parents[1] / "image"
    refused = "".join(path.read_text("utf-8") for path in server.glob("*.py"))
    codes = set(re.findall(r'Refusal\(\s*(?:[0-9]+|status),\s*"([a-z-]+)"', refused))
    assert {"no-answer", "wrong-host", "header-twice", "needs-torch", "no-index"} <= codes
    sources = [*pictures.glob("*.py"), pictures.parent / "base" / "limits.py", *EXPLAIN.glob("*.py")]
    said = set(re.findall(r'code="([a-z-]+)"', "".join(path.read_text("utf-8") for path in sources)))
    assert {"not-a-picture", "too-slow", "crashed", "unknown-class"} <= said
    elsewhere = {
        "bad-out",
        "bad-method",
        "not-trained-on",
        "no-key",
        "body-too-large",
        "too-many-parts",
        "no-replica",
        "overloaded",
        "stopping",
    }
    assert codes | said <= set(strings()["zh"]) | elsewhere


def test_every_sentence_that_is_asked_for_exists_and_none_is_left_over() -> None:
    code = "".join(
        path.read_text("utf-8") for path in PAGE.iterdir() if path.suffix in (".js", ".html") and path.stem != "strings"
    )
    english = strings()["en"]
    asked = set(re.findall(r'say\("([\w-]+)"', code)) | set(re.findall(r'data-(?:say|name)="([\w-]+)"', code))
    assert asked <= set(english)
    prefixes = ("tell_", "column_")
    others = {key for key in set(english) - asked if not key.startswith(prefixes) and not key.endswith("_one")}
    assert all(f'"{key}"' in code for key in others), others
    for key, words in re.findall(r'data-say="([\w-]+)"[^>]*>([^<]+)<', (PAGE / "index.html").read_text("utf-8")):
        assert english[key] == words, key


def test_the_page_holds_no_inline_code_and_no_address_of_others() -> None:
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son\w+=", html)
    for path in PAGE.iterdir():
        found = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|\beval\(", found), path.name
        assert len(found.splitlines()) <= 400, path.name


def test_names_that_turn_text_are_isolated_as_python_does_it(browser: Any, start: Start) -> None:
    names = ["cat", "\u05d7\u05ea\u05d5\u05dc", "\u202egnp.exe", "a\u2069b", "\u0643 (A4)", "猫", "\U0001e900", "\U0001f600"]
    texts = [*names, f"{names[1]} (1), {names[0]} {names[2]}: 3 %", f"{names[2][:4]}…", names[4] + names[1], "\u064a"]
    with opened(browser, start()) as page:
        said = page.evaluate(
            "([names, texts]) => import('/bidi.js').then(b => [names.map(b.isolated), texts.map(b.isolating(names))])",
            [names, texts],
        )
    assert said == [[isolated(name) for name in names], [isolating(names)(text) for text in texts]]


# --- ways in ---


@pytest.mark.browser
def test_one_picture_is_answered_with_bars_and_words(browser: Any, start: Start, picture: Path) -> None:
    stub = start()
    with opened(browser, stub) as page:
        assert text(page, "#knows") == f"7 classes: {', '.join(NAMES[:6])} and 1 more"
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose pictures").click()
        chooser.value.set_files(picture)
        answered(page, "rust")
        assert stub.acts.bodies == [picture.read_bytes()]
        assert text(page, "#sentence") == "Most likely “rust”: 87.1\u00a0%."
        rows = [item.inner_text().split("\n") for item in page.locator("#bars li").all()]
        assert rows[:3] == [["rust", "87.1\u00a0%"], ["mildew", "5.0\u00a0%"], ["<b>spot & blight</b>", "4.0\u00a0%"]]
        assert len(rows) == 5
        page.locator("#more").click()
        assert page.locator("#bars li").count() == 7
        assert page.locator("#bars li").last.inner_text().split("\n") == ["wilt", "< 0.1\u00a0%"]
        assert page.locator("#bars .held").count() == 1
        page.wait_for_timeout(300)
        filled, whole = (page.locator(f"#bars .held {part}").bounding_box()["width"] for part in ("i", ".track"))
        assert filled / whole == pytest.approx(0.871, abs=0.01)
        assert page.locator("#shot img").get_attribute("alt") == "a leaf.png"
        assert text(page, "#live") == "a leaf.png: rust, 87.1\u00a0%."
        assert re.fullmatch(r"leaves · \d+ ms \(queue 1, decode 4, inference 13\) · 1 kB", text(page, "#facts"))


@pytest.mark.browser
def test_dropped_and_pasted_pictures_are_taken(browser: Any, start: Start, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    (folder / "below").mkdir(parents=True)
    for name in ("1.png", "below/2.png", ".hidden"):
        (folder / name).write_bytes(png((1, 2, 3)))
    stub = start()
    with opened(browser, stub, permissions=["clipboard-read", "clipboard-write"]) as page:
        devtools = page.context.new_cdp_session(page)
        at = {"x": 400, "y": 300, "data": {"items": [], "files": [str(picture), str(folder)], "dragOperationsMask": 1}}
        for kind in ("dragEnter", "dragOver"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **at})
        assert page.locator("#veil").is_visible()
        devtools.send("Input.dispatchDragEvent", {"type": "drop", **at})
        wait(page, "document.getElementById('told').textContent === '3 of 3 pictures answered'")
        assert page.locator("#veil").is_hidden()
        assert "a leaf.png" in text(page, "#place")
        page.evaluate(
            """async () => { const canvas = Object.assign(document.createElement('canvas'), { width: 40, height: 30 });
              canvas.getContext('2d').fillRect(0, 0, 40, 30);
              const blob = await new Promise(give => canvas.toBlob(give));
              await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]); }"""
        )
        page.locator("#choose").focus()
        page.keyboard.press("Control+v")
        wait(page, "document.getElementById('told').textContent === '4 of 4 pictures answered'")
        assert stub.acts.bodies[-1].startswith(b"\x89PNG")


@pytest.mark.browser
def test_a_photo_is_taken_with_the_camera(browser: Any, start: Start) -> None:
    stub = start()
    with opened(browser, stub, permissions=["camera"]) as page:
        page.get_by_role("button", name="Take a photo").click()
        wait(page, "!document.getElementById('take').disabled")
        assert page.evaluate("document.activeElement.id") == "take"
        page.keyboard.press("Enter")
        answered(page, "rust")
        assert page.locator("#camera").is_hidden()
        assert page.evaluate("document.getElementById('video').srcObject") is None
        assert stub.acts.bodies[0].startswith(b"\xff\xd8")
        assert "photo 1.jpg" in text(page, "#place")


@pytest.mark.browser
def test_a_camera_that_may_not_be_used_is_said_in_words(browser: Any, start: Start) -> None:
    with opened(browser, start()) as page:
        for name, words in (
            ("NotAllowedError", "The browser was not allowed"),
            ("NotFoundError", "No camera was found"),
            ("NotReadableError", "The camera cannot be used now"),
        ):
            page.evaluate(
                f"() => {{ navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}')); }}"
            )
            page.locator("#photograph").click()
            wait(page, "!document.getElementById('camera-words').hidden")
            assert text(page, "#camera-words").startswith(words)
            page.keyboard.press("Escape")
            assert page.locator("#camera").is_hidden()


# --- answers ---


@pytest.mark.browser
def test_doubts_come_before_labels(browser: Any, start: Start, picture: Path) -> None:
    stub = start(beyond={"abstain": True, "set": ["rust", "mildew"]})
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        answered(page, "Not sure")
        assert "The model abstains" in text(page, "#sentence")
        assert "Its prediction would be “rust”." in text(page, "#sentence")
        assert text(page, "#set") == "Prediction set: rust, mildew."
        stub.acts.beyond = {"ood": True, "ood_score": 0.97, "set": []}
        page.set_input_files("#files", picture)
        answered(page, "Out of distribution")
        assert "97\u00a0% of the validation pictures have a lower OOD score" in text(page, "#sentence")
        assert text(page, "#set") == "The prediction set is empty: no class is likely enough."
        assert page.locator(".tile.ood").count() == 1
        assert page.locator(".tile.unsure").count() == 1
        assert text(page, "#live").endswith("a leaf.png: Out of distribution (rust), 87.1\u00a0%.")
        page.locator("#language").click()
        answered(page, "分布外")


@pytest.mark.browser
def test_several_labels_and_none(browser: Any, start: Start, picture: Path) -> None:
    stub = start(multi=True, beyond={"label": "rust;mildew"})
    with opened(browser, stub) as page:
        assert text(page, "#knows").startswith("7 classes, any number of them in a picture")
        page.set_input_files("#files", picture)
        answered(page, "rust, mildew")
        assert text(page, "#sentence") == "Predicted: rust, mildew."
        assert page.locator("#bars .held").count() == 2
        stub.acts.beyond = {"label": ""}
        page.set_input_files("#files", picture)
        answered(page, "none of them")
        assert page.locator("#bars .held").count() == 0


@pytest.mark.browser
def test_where_it_looked_lies_over_the_picture_and_goes_again(browser: Any, start: Start, picture: Path) -> None:
    known = {"digest": "ab" * 32, "similarity": 0.87, "image": "like-1", "labels": ["rust"]}
    stub = start(beyond={"like": [known, {"digest": "cd" * 32, "similarity": 0.8}]})
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        answered(page, "rust")
        own = page.locator("#shot img").get_attribute("src")
        page.locator("#heat").click()
        wait(page, "document.getElementById('heat').getAttribute('aria-pressed') === 'true'")
        assert page.locator("#shot img").get_attribute("alt") == "Where it looked: what speaks for “rust” is warm"
        assert page.locator("#shot img").get_attribute("src") != own
        assert stub.acts.asked[-1] == "/explain?model=leaves&class=rust"
        assert text(page, "#heat") == "Hide where it looked"
        page.locator("#heat").click()
        assert page.locator("#shot img").get_attribute("src") == own
        near = [item.inner_text().split("\n") for item in page.locator("#near li").all()]
        assert near == [["rust", "87\u00a0% alike"], ["cdcdcdcd", "80\u00a0% alike"]]
        wait(page, "document.querySelector('#near img').naturalWidth === 320")
        stub.acts.explains = False
        page.set_input_files("#files", picture)
        answered(page, "rust")
        page.locator("#heat").click()
        wait(page, "!document.getElementById('remark').hidden")
        assert text(page, "#remark") == "This server cannot show where it looked. The export has no net to look into."


@pytest.mark.browser
def test_a_map_that_should_not_be_believed_is_called_so_in_both_languages(browser: Any, start: Start, picture: Path) -> None:
    doubtful = {"Beholder-Map": "doubtful", "Beholder-Covered": "share=0.1;p=0.8512;elsewhere=0.86"}
    stub = start(heat={**doubtful, "Beholder-Remark": "in English"})
    english = "Do not trust this map: with its warmest 10\u00a0% covered the probability is 85.1\u00a0%, with as much covered "
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        answered(page, "rust")
        page.locator("#heat").click()
        wait(page, "!document.getElementById('remark').hidden")
        assert text(page, "#remark") == text(page, "#live") == f"{english}elsewhere 86.0\u00a0%."
        page.locator("#language").click()
        assert text(page, "#remark") == "不要相信这张热图：遮住其中最暖的 10% 时概率为 85.1%，在别处遮住同样大小时为 86.0%。"
        page.locator("#heat").click()
        assert page.locator("#remark").is_hidden()
        for said, words in (
            (doubtful | {"Beholder-Map": "sound"}, ""),
            ({"Beholder-Map": "empty"}, "图片中没有支持“rust”的内容。"),
        ):
            stub.acts.heat = said
            page.set_input_files("#files", picture)
            answered(page, "rust")
            page.locator("#heat").click()
            wait(page, "document.getElementById('heat').getAttribute('aria-pressed') === 'true'")
            assert text(page, "#remark") == words
        page.set_input_files("#files", picture)
        answered(page, "rust")
        stub.acts.busy = 1
        page.locator("#heat").click()
        wait(page, "!document.getElementById('remark').hidden")
        assert text(page, "#remark") == "服务器繁忙，请稍后再试。"


@pytest.mark.browser
def test_many_pictures_by_keyboard_and_as_a_table(browser: Any, start: Start, picture: Path, tmp_path: Path) -> None:
    bad = tmp_path / "=bad.png"
    bad.write_bytes(b"no picture")
    stub = start()
    with opened(browser, stub) as page:
        page.set_input_files("#files", [picture, bad] + [picture] * 28)
        wait(page, "document.getElementById('told').textContent === '29 of 30 pictures answered, 1 could not be'")
        assert page.evaluate("document.activeElement.id") == "list"
        assert page.get_by_role("option").count() == 30
        assert page.get_by_role("option", selected=True).count() == 1
        page.keyboard.press("ArrowRight")
        answered(page, "No answer")
        assert text(page, "#sentence") == "The file is no picture."
        assert page.locator("#live").inner_text() == "=bad.png: The file is no picture."
        page.keyboard.press("h")
        page.keyboard.press("End")
        assert text(page, "#place").startswith("Picture 30 of 30")
        page.keyboard.press("h")
        wait(page, "document.getElementById('heat').getAttribute('aria-pressed') === 'true'")
        page.keyboard.press("Delete")
        assert text(page, "#place").startswith("Picture 29 of 29")
        with page.expect_download() as download:
            page.locator("#save").click()
        assert download.value.suggested_filename == "leaves.csv"
        rows = Path(download.value.path()).read_text("utf-8-sig").splitlines()
        assert len(rows) == 30
        assert rows[0].startswith('"picture","label","p","not sure","out of distribution","error","healthy"')
        assert rows[1].startswith('"a leaf.png","rust","0.871","","","","0.02"')
        assert rows[2].startswith('"\'=bad.png","","","","","The file is no picture."')
        page.locator("#clear").click()
        assert page.locator("#bench").is_hidden()
        assert page.evaluate("document.activeElement.id") == "choose"


# --- what goes wrong ---


@pytest.mark.browser
def test_a_busy_server_is_asked_again(browser: Any, start: Start, picture: Path) -> None:
    stub = start(busy=1)
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        wait(page, "!document.getElementById('trouble').hidden")
        assert text(page, "#trouble-words") == "The server is busy. Trying again in 1 s."
        answered(page, "rust")
        assert page.locator("#trouble").is_hidden()


@pytest.mark.browser
def test_a_server_that_went_is_waited_for_and_loses_nothing(browser: Any, start: Start, picture: Path) -> None:
    stub = start()
    with opened(browser, stub) as page:
        stub.end()
        page.set_input_files("#files", [picture, picture])
        wait(page, "!document.getElementById('trouble').hidden")
        assert text(page, "#trouble-words").startswith("The server cannot be reached. Your pictures are kept here")
        assert page.locator(".tile.waiting").count() == 2
        start(port=stub.port)
        page.get_by_role("button", name="Try again").click()
        wait(page, "document.getElementById('told').textContent === '2 of 2 pictures answered'")
        assert page.locator("#trouble").is_hidden()


@pytest.mark.browser
def test_a_connection_that_breaks_twice_is_the_pictures_own_trouble(browser: Any, start: Start, picture: Path) -> None:
    stub = start(broken=99)
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        answered(page, "No answer")
        assert text(page, "#sentence").startswith("The server broke off twice")
        stub.acts.broken = 0
        page.locator("#retry").click()
        answered(page, "rust")


@pytest.mark.browser
def test_a_slow_server_is_said_and_can_be_stopped(browser: Any, start: Start, picture: Path) -> None:
    stub = start(seconds=6)
    with opened(browser, stub) as page:
        page.set_input_files("#files", [picture, picture, picture, picture])
        answered(page, "predicting …")
        wait(page, "document.getElementById('sentence').textContent.startsWith('The server is slow: ')")
        stub.acts.seconds = 0
        page.locator("#stop").click()
        wait(page, "document.querySelectorAll('.tile.stopped').length === 4")
        page.locator("#retry").click()
        answered(page, "rust")
        assert page.locator(".tile.stopped").count() == 3


@pytest.mark.browser
def test_nonsense_is_no_answer(browser: Any, start: Start, picture: Path) -> None:
    stub = start()
    with opened(browser, stub) as page:
        stub.acts.odd = True
        page.set_input_files("#files", picture)
        answered(page, "No answer")
        assert "this page does not understand" in text(page, "#sentence")
        stub.acts.odd, stub.acts.beyond = False, {"label": None}
        page.locator("#retry").click()
        answered(page, "No answer")


@pytest.mark.browser
def test_a_key_is_asked_for(browser: Any, start: Start, picture: Path) -> None:
    stub = start(key="open sesame")
    with opened(browser, stub, ready=False) as page:
        page.set_input_files("#files", picture)
        page.wait_for_selector("#door:not([hidden])")
        page.locator("#key").fill("wrong")
        page.keyboard.press("Enter")
        wait(page, "document.getElementById('trouble-words').textContent === 'The server did not take this key.'")
        page.locator("#key").fill("open sesame")
        page.keyboard.press("Enter")
        answered(page, "rust")
        assert page.locator("#door").is_hidden()
        assert page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"


@pytest.mark.browser
def test_another_model_answers_again(browser: Any, start: Start, picture: Path) -> None:
    stub = start(names=("leaves", "birds"))
    with opened(browser, stub) as page:
        page.set_input_files("#files", picture)
        answered(page, "rust")
        page.get_by_label("Model").select_option("birds")
        wait(page, "document.getElementById('facts').textContent.startsWith('birds · ')")
        assert stub.acts.asked == ["/predict?model=leaves", "/predict?model=birds"]


# --- with the server itself ---


@pytest.mark.browser
def test_the_real_server_gives_the_page_and_answers(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png((220, 20, 20)))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with served() as real, opened(browser, real, permissions=["camera"]) as page:
        page.set_input_files("#files", [tmp_path / "red.png", tmp_path / "bad.png"])
        wait(page, "document.getElementById('told').textContent === '1 of 2 pictures answered, 1 could not be'")
        answered(page, "red")
        assert page.locator("#bars li").first.inner_text().startswith("red\n")
        page.keyboard.press("End")
        answered(page, "No answer")
        page.locator("#photograph").click()
        wait(page, "!document.getElementById('take').disabled")
        page.locator("#take").click()
        wait(page, "document.getElementById('told').textContent.startsWith('2 of 3')")


@pytest.mark.browser
def test_the_real_server_asks_for_its_key(browser: Any, picture: Path) -> None:
    with served(access=Access(keys=("open sesame",))) as real, opened(browser, real, ready=False) as page:
        page.wait_for_selector("#door:not([hidden])")
        page.locator("#key").fill("open sesame")
        page.keyboard.press("Enter")
        wait(page, "document.getElementById('door').hidden")
        page.set_input_files("#files", picture)
        answered(page, "red")


@pytest.mark.browser
def test_the_nearest_training_pictures_are_shown(browser: Any, leaves: Path, tmp_path: Path) -> None:
    fake = Fake()
    index = indexed(fake, bundle(tmp_path / "m", leaves, part="train"), leaves)
    with served(fake, nearby={"colours": index}) as real, opened(browser, real) as page:
        page.set_input_files("#files", leaves / "rust" / "11.png")
        wait(page, "document.querySelectorAll('#near img').length === 5")
        wait(page, "[...document.querySelectorAll('#near img')].every(one => one.naturalWidth === 24)")
        assert [item.inner_text().split("\n") for item in page.locator("#near li").all()] == [["rust", "100\u00a0% alike"]] * 5
        assert text(page, "#remark") == "This server cannot show where it looked."
        assert page.locator("#heat").is_hidden()


# --- for everybody ---


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_it_fits_and_can_be_read(browser: Any, start: Start, picture: Path, tmp_path: Path, width: int, scheme: str) -> None:
    stub = start(beyond={"abstain": True, "ood": True, "ood_score": 0.99, "set": list(NAMES)})
    (tmp_path / "bad.png").write_bytes(b"")
    lang = "zh-CN" if width in (390, 1280) else "en-GB"
    with opened(browser, stub, width=width, lang=lang, color_scheme=scheme, has_touch=width < 500) as page:
        fits = f"document.documentElement.scrollWidth <= {width}"
        assert page.evaluate(fits)
        assert page.evaluate(FAINT) == []
        assert page.evaluate("document.documentElement.lang") == ("zh-Hans" if lang == "zh-CN" else "en")
        page.set_input_files("#files", [picture, tmp_path / "bad.png", picture])
        wait(page, "document.querySelectorAll('.tile.done').length === 2 && document.querySelector('.tile.failed')")
        for key in ("Home", "ArrowRight"):
            page.keyboard.press(key)
            assert page.evaluate(fits)
            assert page.evaluate(FAINT) == []
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert box["height"] >= 44
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


@pytest.mark.browser
def test_a_screen_reader_finds_its_way(browser: Any, start: Start, picture: Path) -> None:
    with opened(browser, start(), reduced_motion="reduce") as page:
        page.set_input_files("#files", [picture, picture])
        wait(page, "document.querySelectorAll('.tile.done').length === 2")
        for role in ("banner", "main", "status", "article"):
            assert page.get_by_role(role).count() == 1, role
        assert page.get_by_role("listbox", name="Pictures").count() == 1
        option = page.get_by_role("option", selected=True)
        assert option.get_attribute("aria-label") == "a leaf.png: rust, 87.1\u00a0%."
        assert page.locator("#list").get_attribute("aria-activedescendant") == option.get_attribute("id")
        unnamed = "[...document.querySelectorAll('button, input:not([type=file]), select')]"
        unnamed += ".filter(e => !e.labels?.length && !e.textContent.trim()).length"
        assert page.evaluate(unnamed) == 0
        stops = []
        for _ in range(24):
            page.keyboard.press("Tab")
            stops.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        expected = ["skip", "language", "choose", "photograph", "save", "clear", "list", "heat", "more"]
        met = [name for name in stops if name in expected]
        assert met[met.index("skip") :][: len(expected)] == expected
        assert page.evaluate("getComputedStyle(document.querySelector('.tile')).transitionDuration") == "0s"
