"""The page in a browser: its numbers are those of NumPy from model.safetensors; quiet, narrow, readable, by keyboard too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.contrast import FAINT
from tests.explanation.look.pages import CLOSE, Page, bundle, close, convolved, forward, picture, temperature, weights
from torch import Tensor, nn

from beholder.bundle.bundle import Bundle
from beholder.explanation.look import fit, look
from beholder.nets.features import Net

pytestmark = pytest.mark.browser


class Stem(Net):
    """A grouped, strided, unevenly padded, dilated first convolution; then a mean and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 1), groups=3)
        self.head = nn.Linear(6, 4)

    def body(self, images: Tensor) -> Tensor:
        return torch.relu(self.stem(images)).mean(dim=(2, 3))


STEM = {"stride": (2, 1), "pads": (2, 2, 1, 1), "dilation": (2, 1), "groups": 3}

MADE: dict[str, Any] = {
    "cnn": lambda: bundle("cnn", calibration=temperature(4)),
    "grey": lambda: bundle("cnn", channels=1),
    "stem": lambda: bundle(Stem()),
    "fastnet": lambda: bundle("fastnet"),
    "logistic": lambda: bundle("logistic", channels=3, task="multi", calibration=temperature(4)),
    "mlp": lambda: bundle("mlp", task="ordinal"),
    "names": lambda: bundle("cnn", names=("</script><b>x</b>", "\u05d7\u05ea\u05d5\u05dc", "long" * 40, "<i>")),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Bundle, Path, dict[str, np.ndarray]]]:
    """name → bundle, its page, its file of weights."""
    folder, found = tmp_path_factory.mktemp("look"), {}
    for name, make in MADE.items():
        each = make()
        inside = folder / name
        inside.mkdir()
        held = {} if name == "stem" else weights(each, inside)
        held = held or {key: value.double().numpy() for key, value in each.net.state_dict().items()}
        found[name] = (each, look(each, picture(), label=each.classes[1]).save(inside / "page.html"), held)
    return found


@contextmanager
def opened(browser: Any, path: Path, *, width: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """Open a page, wait until it is drawn, and see afterwards that it was quiet and asked nobody."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    for _ in range(600):
        if page.evaluate("document.body.dataset.ready === 'yes'"):
            break
        page.wait_for_timeout(50)
    assert page.locator("#trouble").is_hidden()
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def value(page: Any, where: str) -> float:
    return float(page.locator(where).first.get_attribute("data-v"))


def values(page: Any, where: str) -> list[float]:
    return [float(v) for v in page.locator(where).evaluate_all("all => all.map(e => e.dataset.v)")]


def choose(page: Any, o: int, y: int, x: int) -> None:
    page.select_option("#channel", label=f"channel {o}")
    for where, at in (("#row", y), ("#column", x)):
        page.fill(where, str(at))


@pytest.mark.parametrize("name", ["cnn", "grey", "stem", "fastnet"])
def test_any_value_of_the_first_convolution_is_that_of_numpy(browser: Any, made: dict[str, Any], name: str) -> None:
    each, path, held = made[name]
    layer = {"stem": "stem", "fastnet": "whiten"}.get(name, "layers.0")
    x = (each.pixels(picture()) / 255 - 0.5) / 0.25
    how: dict[str, Any] = STEM if name == "stem" else {}
    wanted = convolved(x, held[f"{layer}.weight"], held[f"{layer}.bias"], **how)
    scale = np.abs(wanted).max()
    with opened(browser, path) as page:
        for o, y, i in [(0, 0, 0), (len(wanted) - 1, wanted.shape[1] - 1, wanted.shape[2] - 1), (3, 4, 5)]:
            choose(page, o, y, i)
            assert abs(value(page, "#value") - wanted[o, y, i]) <= CLOSE * scale
            assert abs(value(page, "#bias") - held[f"{layer}.bias"][o]) <= CLOSE
            products = page.locator("#sum .sum figure:nth-of-type(3) td").evaluate_all(
                "all => all.map(e => Number(e.dataset.v))"
            )
            assert abs(sum(products) + value(page, "#bias") - value(page, "#value")) <= CLOSE * scale
            if not page.locator("#sum details[open]").count():  # it stays open
                page.locator("#sum summary").click()
            page.locator("#sum details tbody tr").first.wait_for()
            assert page.locator("#sum details tbody tr").count() == held[f"{layer}.weight"][o].size
        box = page.locator("#first-work canvas").nth(1).bounding_box()
        page.locator("#first-work canvas").nth(1).click(position={"x": box["width"] - 2, "y": 2})
        assert (page.input_value("#row"), page.input_value("#column")) == ("0", str(wanted.shape[2] - 1))
        assert abs(value(page, "#value") - wanted[3, 0, -1]) <= CLOSE * scale


@pytest.mark.parametrize("name", ["cnn", "grey", "fastnet", "logistic", "mlp"])
def test_logits_probabilities_and_the_step_are_those_of_numpy(browser: Any, made: dict[str, Any], name: str) -> None:
    each, path, held = made[name]
    x = (each.pixels(picture()) / 255 - 0.5) / 0.25
    with opened(browser, path) as page:
        told = Page(path.read_text("utf-8")).facts
        if name == "fastnet":
            features = Page(path.read_text("utf-8")).array(told["head"]["features"]).astype(np.float64)
            z = each.net.scale * (held["head.weight"] @ features)
        else:
            z = forward({"grey": "cnn"}.get(name, name), x, held)
        for k, row in enumerate(told["head"]["rows"]):
            page.select_option("#class", str(k))
            assert abs(value(page, "#logit") - z[row["at"]]) <= CLOSE * np.abs(z).max()
        shown = values(page, "#probability-work .p")
        wanted = each.probabilities(each.pixels(picture())[None])[0]
        assert np.abs(np.sort(shown) - np.sort(wanted)).max() <= CLOSE
        if name == "fastnet":
            assert page.locator("#step").count() == 0
            return
        step(page, each, x, z, held)


def step(page: Any, each: Bundle, x: np.ndarray, z: np.ndarray, held: dict[str, np.ndarray]) -> None:
    """The loss, δ and the loss after the step of a page whose label is class 1."""
    family, truth = each.task.family, np.eye(4)[1]
    [loss], [delta] = family.cost(z[None], truth[None])
    assert value(page, "#loss") == pytest.approx(loss, rel=CLOSE)
    assert close(np.sort(values(page, "#step-work .delta")), np.sort(delta))
    if each.config.net.name == "logistic":
        after = z - 0.01 * delta * ((x**2).sum() + 1)
        assert value(page, "#after") == pytest.approx(family.cost(after[None], truth[None])[0][0], rel=CLOSE)
        largest = 0.01 * np.abs(np.outer(delta, x.reshape(-1))).max()
        assert max(abs(v) for v in values(page, "#step-work .dw")) == pytest.approx(largest, rel=CLOSE)
    assert value(page, "#after") < value(page, "#loss")


def test_a_dense_first_layer_is_that_of_numpy(browser: Any, made: dict[str, Any]) -> None:
    for name, layer in (("logistic", "head"), ("mlp", "layers.1")):
        each, path, held = made[name]
        x = ((each.pixels(picture()) / 255 - 0.5) / 0.25).reshape(-1)
        wanted = held[f"{layer}.weight"] @ x + held[f"{layer}.bias"]
        with opened(browser, path) as page:
            units = Page(path.read_text("utf-8")).facts["first"]["channels"]
            for k in (0, len(units) - 1):
                page.select_option("#channel", str(k))
                assert abs(value(page, "#value") - wanted[units[k]]) <= CLOSE * np.abs(wanted).max()


def test_pixels_are_normalised_before_the_eye_and_moved_over_by_keys(browser: Any, made: dict[str, Any]) -> None:
    each, path, _ = made["cnn"]
    image = each.pixels(picture())
    with opened(browser, path) as page:
        pad = page.locator("#pixel-work canvas")
        pad.focus()
        for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        assert (page.input_value("#pixel-row"), page.input_value("#pixel-column")) == ("7", "6")
        assert close(values(page, "#pixel-sum .x"), (image[:, 7, 6] / 255 - 0.5) / 0.25)
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        assert page.input_value("#pixel-column") == "15"
        page.locator("#first-work canvas").nth(1).focus()
        before = page.input_value("#column")
        page.keyboard.press("ArrowLeft" if before != "0" else "ArrowRight")
        assert page.input_value("#column") != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["names", "logistic", "mlp", "fastnet"])
def test_fits_and_can_be_read(browser: Any, made: dict[str, Any], name: str, width: int, scheme: str) -> None:
    with opened(browser, made[name][1], width=width, scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(FAINT) == []
        assert page.evaluate("[...document.querySelectorAll('canvas')].filter(c => !c.getAttribute('aria-label')).length") <= 1
        assert page.evaluate("[...document.querySelectorAll('input, select')].filter(i => !i.labels.length).length") == 0
        if name == "names":
            assert page.locator("main b").count() == 0
            assert "</script><b>x</b>" in page.locator("#probability-work").inner_text()


def test_the_colours_follow_the_scheme(browser: Any, made: dict[str, Any]) -> None:
    with opened(browser, made["cnn"][1]) as page:
        cell = "getComputedStyle(document.querySelector('.grid td')).backgroundColor"
        before = page.evaluate(cell)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(300)
        assert page.evaluate(cell) != before
        assert page.evaluate(FAINT) == []


def test_a_browser_without_streams_is_told_so(browser: Any, made: dict[str, Any]) -> None:
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(made["cnn"][1].as_uri())
    page.wait_for_timeout(300)
    assert "too old" in page.locator("#trouble").inner_text()
    page.close()


def test_inputs_of_a_first_dense_layer_too_large_to_show_are_called_pixels(browser: Any, tmp_path: Path) -> None:
    path = look(bundle("mlp", size=270, width=0.1), picture()).save(tmp_path / "a.html")
    told = Page(path.read_text("utf-8")).facts
    assert (told["first"]["kind"], told["step"]["layers"][-1]["name"]) == ("none", "layers.1")
    with opened(browser, path) as page:
        rows = page.locator('[aria-label="Changes of layers.1"] tbody th').all_inner_texts()
        assert all(" ← red, row" in row or " ← green, row" in row or " ← blue, row" in row for row in rows if "bias" not in row)
        assert "unit" in page.locator('[aria-label="Changes of layers.4"] tbody th').first.inner_text().partition("←")[2]
        assert "too many for a page" in page.locator("#first-work").inner_text()


def test_what_is_left_out_is_said(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "LARGEST", 1)
    monkeypatch.setattr(fit, "FEWER", ((2, 3),))
    monkeypatch.setattr("beholder.explanation.look.step.MOST", 1)
    monkeypatch.setattr("beholder.explanation.look.head.ROWS", 2)
    path = look(bundle("cnn", classes=8), picture()).save(tmp_path / "a.html")
    with opened(browser, path) as page:
        said = page.locator("main").inner_text()
        assert "No maps fit" in said
        assert "The 4 layers after these do not fit" in said
        assert "5 classes are not listed" in said
        assert "Of 8 logits 2 can be chosen" in said
        assert "One step of learning" in said
        assert "No step is shown: one pass through this net takes" in said
        assert page.locator("#pixel-work img").get_attribute("src").startswith("data:image/png")
