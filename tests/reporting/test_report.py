"""The report: whole, escaped, self-contained, and saying what the figures say."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.fakes import FakeEvaluation, bundle, cost, evaluated, evaluated_multi, readings, sections

from beholder.base import events
from beholder.base.records import Bad, PixelPolicy
from beholder.evaluation.words import Words
from beholder.measure.scores import single
from beholder.reporting import render, report
from beholder.reporting.context import ROWS, Room
from beholder.reporting.mistakes import MISTAKES, mistakes

VOID = {"meta", "link", "br", "img", "input"}


class Reader(HTMLParser):
    """Checks that tags are balanced and collects what a browser would fetch and what a person would read."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.scripts = 0
        self.images_without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.links += [str(values[name]) for name in ("src", "href", "srcset", "action") if name in values]
        self.ids += [str(values["id"])] if "id" in values else []
        self.scripts += tag == "script" and values.get("type") != "application/json"
        self.images_without_alt += tag == "img" and "alt" not in values

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def read(html: str) -> tuple[Reader, str]:
    """Return the parsed page and its text; whatever it is, it is balanced and fetches nothing."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)
    assert reader.scripts == 1
    assert reader.images_without_alt == 0
    assert not re.search(r"https?://|@import|url\(", html)
    return reader, re.sub(r"\s+", " ", " ".join(reader.words))


@pytest.mark.parametrize("classes", [2, 3, 10, 40, 200])
def test_is_whole_and_self_contained_for_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    evaluation = evaluated([f"kind {i}" for i in range(classes)], n=classes * 20)
    path = report(bundle(), evaluation, tmp_path / "deep" / "report.html")
    html = path.read_text("utf-8")
    _, text = read(html)
    assert path.stat().st_size < 5_000_000
    assert ("Specificity" in text) == (classes == 2)
    assert ("Top 5" in text) == (classes > 5)
    assert html.count('scope="row">kind') >= classes
    assert ('class="heat"' in html) == (classes > 40)
    assert f"{evaluation.scores.headline['accuracy'].value:.1%}".replace("%", "\u00a0%") in html


def test_verdict_names_the_weakest_class_and_what_it_is_taken_for() -> None:
    targets = np.repeat([0, 1, 2], [50, 40, 60])
    guesses = targets.copy()
    guesses[50:58] = 2
    guesses[58] = 0
    guesses[:2] = 1
    p = np.eye(3)[guesses] * 0.9 + 0.1 / 3
    evaluation = FakeEvaluation(single(p, targets, ["fern", "moss", "oak"]), p, targets, [f"{i}.jpg" for i in range(150)])
    _, text = read(render(bundle(), evaluation))
    assert (
        "It classified 139 of 150 test pictures correctly: 92.7\u00a0%." in text.replace("& nbsp;", "\u00a0")
        or "139 of 150" in text
    )
    assert "weakest on “moss”: it finds 31 of 40 (77.5 %" in text
    assert "most often takes them for “oak” (8 times)" in text
    assert "Look at the mistakes between “moss” and “oak”" in text
    assert "Always answering “oak” would be right on 40.0 %" in text


def test_the_worst_mistake_comes_first_with_its_picture_truth_guess_and_probability() -> None:
    p = np.array([[0.6, 0.4], [0.97, 0.03], [0.2, 0.8], [0.9, 0.1]], np.float32)
    targets = np.array([1, 1, 1, 0])
    evaluation = FakeEvaluation(single(p, targets, ["cat", "dog"]), p, targets, ["a.png", "b.png", "c.png", "d.png"])
    html = render(bundle(), evaluation)
    captions = re.findall(
        r"<figcaption><b>(.*?)</b><br><span class=\"guess\">(.*?)</span> (.*?)<span class=\"file\">(.*?)<", html
    )
    assert captions == [("dog", "cat", "97.0\u00a0%", "b.png"), ("dog", "cat", "60.0\u00a0%", "a.png")]
    images = re.findall(r"src=\"data:image/png;base64,([^\"]+)\" alt", html)
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(images[0]))))
    np.testing.assert_array_equal(first, evaluation.thumbnail(1).transpose(1, 2, 0))


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; alert(1) //", "{{ 7 * 7 }}"]
)
def test_hostile_names_are_shown_not_obeyed(hostile: str) -> None:
    classes = [hostile, "b", "c"]
    changes: dict[str, Any] = {"source": hostile, "bad": (Bad(hostile, "truncated", hostile),)}
    evaluation = evaluated(classes, skill=0.3, **changes)
    evaluation.keys = [hostile] * len(evaluation.keys)
    _, text = read(render(bundle(notes=[hostile], machine={hostile: hostile}), evaluation))
    assert text.count(re.sub(r"\s+", " ", hostile)) > 10
    assert "{{" not in hostile or "49" not in text


def test_undefined_scores_are_dashes_not_nan() -> None:
    p = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    targets = np.array([0, 1])
    evaluation = FakeEvaluation(single(p, targets, ["a", "b", "absent"]), p, targets, ["x", "y"])
    _, text = read(render(bundle(), evaluation))
    assert "nan" not in text.lower()
    assert "No picture here is of absent" in text
    assert "No picture of any class was missed." in text
    assert "There are none in this test." in text


def test_an_empty_test_and_an_empty_history_still_make_a_page() -> None:
    nothing = np.zeros((0, 2), np.float32)
    targets = np.zeros(0, np.int64)
    evaluation = FakeEvaluation(single(nothing, targets, ["a", "b"]), nothing, targets, [])
    made = bundle(machine={}, parts={}, notes=[])
    made.history = []
    _, text = read(render(made, evaluation))
    assert "No picture could be tested" in text
    assert "Learning curves" not in text
    assert "nan" not in text.lower()


def test_multi_label_shows_misses_and_false_alarms() -> None:
    evaluation = evaluated_multi(["RBC", "WBC", "Platelets"])
    _, text = read(render(bundle(task="multi", thresholds=[0.5, 0.5, 0.5]), evaluation))
    assert "mean average precision of" in text
    assert "Confusion" not in text
    assert "missed" in text
    assert re.search(r"raises \d+ false alarms? on \d+ pictures without it", text)


def test_mistakes_are_in_the_order_of_sureness() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 40).astype(np.float32)
    targets = (p.argmax(axis=1) + 1 + rng.integers(0, 4, 40)) % 5
    keys = [f"{i}.png" for i in range(40)]
    evaluation = FakeEvaluation(single(p, targets, list("abcde")), p, targets, keys)
    found = mistakes(Room(bundle(), evaluation, None, Words("en")))["mistakes"]
    assert [m.p for m in found] == sorted(p.max(axis=1).tolist(), reverse=True)[:MISTAKES]


def test_of_fewer_than_five_groups_the_report_says_that_nothing_can_be_estimated() -> None:
    p, targets = np.tile([[0.9, 0.1], [0.2, 0.8]], (20, 1)), np.tile([0, 1], 20)
    scores = single(p, targets, ["cat", "dog"], groups=np.arange(40) // 10)
    evaluation = FakeEvaluation(scores, p.astype(np.float32), targets, [f"{i}.png" for i in range(40)])
    _, text = read(render(bundle(), evaluation))
    assert "too few to estimate an interval" in text
    assert "not estimable" in text
    assert "nan" not in text.lower().split()
    assert "does not show that it has learned more" in text


def test_multi_label_mistakes_follow_the_thresholds_of_the_bundle() -> None:
    evaluation = evaluated_multi(["RBC", "WBC", "Platelets"])
    _, text = read(render(bundle(task="multi", thresholds=[1.1, 1.1, 1.1]), evaluation))
    assert "seen" not in text
    assert "missed" in text


def test_a_recogniser_that_has_not_learned_is_not_recommended() -> None:
    _, text = read(render(bundle(), evaluated(["a", "b", "c"], skill=0.0)))
    assert "this test does not show that it has learned more than that" in text
    assert "Do not use it yet" in text
    assert "Do not use it yet" not in read(render(bundle(), evaluated(["a", "b", "c"])))[1]


def test_one_epoch_is_not_a_curve() -> None:
    made = bundle()
    made.history = made.history[:1]
    assert "Learning curves" not in read(render(made, evaluated(["a", "b"])))[1]
    made.history = [{"epoch": 1, "loss": 0.5, "valid_score": None}, {"epoch": 2, "loss": 0.5, "valid_score": float("nan")}]
    _, text = read(render(made, evaluated(["a", "b"])))
    assert "training" in text
    assert "Score on the validation part" not in text


def test_arrays_are_called_by_the_bundles_name_and_not_typed_into_a_command() -> None:
    _, text = read(render(bundle(), evaluated(["a", "b"], source="arrays")))
    assert "leaves: a Beholder report" in text
    assert "beholder evaluate leaves.beholder SOURCE --report report.html" in text


def test_bad_and_vanished_pictures_are_said_and_cost_nothing() -> None:
    bad = tuple(Bad(f"x/{i}.jpg", "truncated", "the file ends early") for i in range(ROWS + 7))
    evaluation = evaluated(["a", "b", "c"], skill=0.2, bad=bad, unreadable=set(range(300)))
    _, text = read(render(bundle(), evaluation))
    assert f"{ROWS + 7} pictures that could not be read" in text
    assert "And 7 more." in text
    assert "cannot be read any more" in text


def test_names_that_are_not_unicode_are_written(tmp_path: Path) -> None:
    evaluation = evaluated(["a", "b", "c"], skill=0.2)
    evaluation.keys = ["\udcff.jpg"] * 300
    assert "?.jpg" in report(bundle(), evaluation, tmp_path / "r.html").read_text("utf-8")


def test_commands_quote_a_source_with_spaces() -> None:
    _, text = read(render(bundle(), evaluated(["a", "b"], source="my leaves/set 1.zip")))
    assert "beholder evaluate leaves.beholder 'my leaves/set 1.zip' --report report.html" in text


def test_grey_and_large_pictures_become_small_images() -> None:
    for shape, kind, size in (((1, 28, 28), "png", (28, 28)), ((3, 224, 448), "jpeg", (160, 80))):
        evaluation = evaluated(["a", "b", "c"], skill=0.2, shape=shape)
        html = render(bundle(), evaluation)
        found = re.findall(rf"src=\"data:image/{kind};base64,([^\"]+)\" alt", html.split('id="mistakes"')[1])
        assert len(found) == MISTAKES
        assert Image.open(io.BytesIO(base64.b64decode(found[0]))).size == size


PARTS_OF_SECTIONS = ("calibration", "selective", "ood", "corruptions", "slices", "reuse", "cost")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_section_has_its_part_and_its_sentence(lang: str) -> None:
    evaluation = evaluated(["healthy", "mildew", "rust"], sections=sections(ece=0.08, caught=0.2))
    reader, text = read(render(bundle(), evaluation, lang=lang))
    assert set(PARTS_OF_SECTIONS) <= set(reader.ids)
    assert len(re.findall("<li>", render(bundle(), evaluation, lang=lang).split("<nav")[0])) >= 9
    if lang == "en":
        assert "its probabilities are 8.0 % off on average" in text
        assert "of shuffled patches it detects only 20.0 %" in text
        assert "at worst (motion blur, severity 5) it classifies 20.0 % correctly" in text
        assert "It does worse on the slice “brightness: lowest quarter”: 60.0 % right" in text
        assert "93.0 % of “rust” (95 % interval 89.0 to 97.0 %)" in text
    else:
        assert "运动模糊" in text
        assert "最低的四分之一" in text


@pytest.mark.parametrize("name", PARTS_OF_SECTIONS)
def test_a_section_of_another_form_is_left_out_and_costs_nothing_else(name: str) -> None:
    heard: list[events.Event] = []
    given = {**sections(), name: {"something": "else"}}
    with events.listen(heard.append, alone=True):
        reader, _ = read(render(bundle(), evaluated(["healthy", "mildew", "rust"], sections=given)))
    assert set(PARTS_OF_SECTIONS) - set(reader.ids) == {name}
    assert any(f"part '{name}'" in event.message for event in heard)


def test_a_section_that_nobody_knows_is_shown_as_it_stands() -> None:
    own = {"latency": {"p50": 1.5, "steps": [1, 2]}, "energy": None, "rate": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}}
    reader, text = read(render(bundle(), evaluated(["a", "b"], sections={"own_cost": own})))
    assert "others" in reader.ids
    assert "own cost latency.p50 1.5 latency.steps 1, 2 energy None rate 0.5 [0.25, 0.75] (n = 8)" in text


def part(name: str, section: dict[str, Any], lang: str = "en") -> str:
    """Return the text of the page from the heading of a part on, which is the only one with a section of its own."""
    reader, text = read(render(bundle(), evaluated(["a", "b"], sections={name: section}), lang=lang))
    assert name in reader.ids
    assert "others" not in reader.ids
    assert f"#{name}" in reader.links
    return text[text.rindex({"reuse": "Test-set reuse", "cost": "Inference cost"}[name]) :]


def test_many_readings_are_told_with_their_dates_and_intervals() -> None:
    text = part("reuse", readings(25))
    assert "has been read 25 times" in text
    assert "2026-03-01 09:30 , 2026-03-02 09:30" in text
    assert "(and 5 times before)" in text
    for words in ("As at a first reading 90.0 % 86.0 to 94.0 %", "Corrected", "84.0 to 96.0 %", "70.0 to 100.0 %", "99.8 %"):
        assert words in text
    assert "No picture tested here was used in training or validation, or looks the same" in text
    assert "Without these" not in text


def test_one_reading_needs_no_correction() -> None:
    text = part("reuse", {**readings(1), "remembers": False})
    assert "was read once" in text
    assert "Corrected" not in text
    assert "holds no perceptual hashes" in text


def test_pictures_that_are_not_new_are_set_apart() -> None:
    text = part("reuse", readings(1, same=7, alike=5))
    assert "7 were used in training or validation; another 5 look the same" in text
    for words in ("All pictures 90.0 %", "Without these 88.0 %", "(n = 288)", "Only these 97.0 %", "(n = 12)"):
        assert words in text


def test_cost_is_told_in_units_of_people() -> None:
    text = part("cost", cost())
    for words in (
        "a processor of four cores",
        "median p50 12.3 11.1 … 14.8 2.10 1.89 … 2.52",
        "p99 21.1 ≥ 19.0",
        "Loading",
    ):
        assert words in text
    for words in (
        "Fastest at a batch of 32: 540 pictures a second",
        "612 MB",
        "35.4 MB",
        "1.24 GFLOP",
        "3.41 M",
        "13.6 MB",
        "41.0 mJ",
    ):
        assert words in text


def test_what_the_machine_does_not_tell_is_left_out() -> None:
    found = {
        key: value for key, value in cost(flops=None, bundle_bytes=None).items() if key not in ("opening", "memory", "energy")
    }
    text = part("cost", found)
    assert "Parameters 3.41 M" in text
    for words in ("Loading", "Memory", "FLOPs", "Bundle", "Energy", "None"):
        assert words not in text.partition("Data and splits")[0]


def test_chinese_leaves_no_english_sentence_but_records() -> None:
    evaluation = evaluated([f"k{i}" for i in range(12)], skill=0.6, sections=sections(), bad=(Bad("b", "cut", "cut"),))
    reader = read(render(bundle(notes=[]), evaluation, lang="zh"))[0]
    texts = [" ".join(word.split()) for word in reader.words]
    allowed = re.compile(r"beholder .*|[a-z_.]+ = .*|\[[a-z]+\]|.*\.jpg", re.DOTALL)
    english = [text for text in texts if re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", text) and not allowed.match(text)]
    assert [text for text in english if text not in ("own kind",) and not re.search("[\u4e00-\u9fff]", text)] == []


@pytest.mark.slow
def test_a_thousand_classes_fit_in_five_megabytes(tmp_path: Path) -> None:
    names = [f"a rather long name of a class, number {i}" for i in range(1000)]
    evaluation = evaluated(names, n=8000, skill=0.4, shape=(3, 224, 224), sections=sections())
    assert report(bundle(), evaluation, tmp_path / "r.html").stat().st_size < 5_000_000


def test_a_padded_picture_is_shown_without_its_margins() -> None:
    evaluation = evaluated(["a", "b", "c"], skill=0.2, shape=(3, 60, 60))
    picture = np.full((3, 60, 60), 127, np.uint8)
    picture[:, 10:50, 5:] = 30
    evaluation.thumbnail = lambda index: picture  # type: ignore[method-assign]
    html = render(bundle(pixels=PixelPolicy(40, 48, fit="pad", background=(127, 127, 127))), evaluation)
    found = re.search(r"src=\"data:image/png;base64,([^\"]+)\" alt", html)
    assert found is not None
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (55, 40)


def test_names_written_from_right_to_left_are_isolated_in_sentences_and_attributes() -> None:
    name, turning = "\u05d7\u05ea\u05d5\u05dc", "\u202egnp.exe"
    html = render(bundle(), evaluated(["cat", name, turning], skill=0.3))
    for text in (name, turning):
        places = [found.start() for found in re.finditer(re.escape(text), html)]
        assert len(places) > 5
        assert {(html[at - 1], html[at + len(text)]) for at in places} == {("\u2068", "\u2069")}
