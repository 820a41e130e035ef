"""A detector that is served: boxes over HTTP, by protocol v2, to the client and on the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.detectors import CLASSES, detector
from tests.server.fakes import Fake, Served, picture, served
from tests.server.test_page import opened, text, wait

from beholder.base.errors import UsageError
from beholder.base.records import Detections
from beholder.server.client import Client
from beholder.server.nearby import indexes

FORM = {"Content-Type": "multipart/form-data; boundary=xyz"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served({"parts": detector(), "colours": Fake()}) as found:
        yield found


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 15, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    path = tmp_path_factory.mktemp("detector") / "parts on a table.png"
    Image.fromarray(pixels).save(path)
    return path


def test_boxes_are_answered_in_pixels_of_the_picture(server: Served, photograph: Path) -> None:
    status, said, _ = server.ask("POST", "/predict?model=parts&threshold=0", photograph.read_bytes())
    assert status == 200
    (answer,) = said["answers"]
    assert (answer["width"], answer["height"]) == (240, 160)
    wanted = server.recogniser["parts"](photograph, threshold=0).json()
    assert [box["label"] for box in answer["boxes"]] == [box["label"] for box in wanted["boxes"]]
    assert answer["boxes"][0]["box"] == pytest.approx(wanted["boxes"][0]["box"], abs=0.1)
    assert said["timing"].keys() == {"queue_ms", "decode_ms", "infer_ms"}


def test_requests_that_run_together_each_get_what_they_asked_for(server: Served, photograph: Path) -> None:
    data = photograph.read_bytes()
    every = server.ask("POST", "/predict?model=parts&threshold=0", data)[1]["answers"][0]["boxes"]
    usual = server.ask("POST", "/predict?model=parts", data)[1]["answers"][0]["boxes"]
    least = dict(zip(CLASSES, (0.12, 0.11, 0.1), strict=True))
    assert usual == [box for box in every if box["p"] >= least[box["label"]]]
    assert 0 < len(usual) < len(every)
    assert server.ask("POST", "/predict?model=parts&threshold=0&most=3", data)[1]["answers"][0]["boxes"] == every[:3]
    answers = server.recogniser["parts"]
    from beholder.server.answering import Asked, BoxesSaid

    speaks = BoxesSaid(answers)
    looked = answers.looked(data)
    some = speaks.answers([looked] * 3, [Asked(), Asked(0.0, 3), Asked(0.0)])
    assert [len(one["boxes"]) for one in some] == [len(usual), 3, len(every)]


def test_what_cannot_be_asked_is_refused(server: Served) -> None:
    for query in ("model=parts&threshold=2", "model=parts&most=0", "model=parts&most=5000", "model=colours&threshold=0.5"):
        status, said, _ = server.ask("POST", f"/predict?{query}", picture())
        assert (status, said["error"]["code"]) == (422, "bad-parameter"), query
    assert server.ask("POST", "/predict?model=parts", b"no picture")[0] == 422
    for path in ("/explain", "/nearest"):
        status, said, _ = server.ask("POST", f"{path}?model=parts", picture())
        assert (status, said["error"]["code"]) == (501, "finds-boxes")
    assert server.ask("POST", "/predict?model=colours", picture())[1]["answers"][0]["label"] == "red"
    with pytest.raises(UsageError) as caught:
        indexes({"parts": detector()}, {"parts": Path("parts.beholder")}, "source")
    assert caught.value.code == "no-labels"


def test_what_a_model_says_of_itself(server: Served) -> None:
    about, other = server.ask("GET", "/models")[1]
    assert about["task"] == "detect"
    assert about["classes"] == list(CLASSES)
    assert (about["most"], about["thresholds"]) == (100, [0.12, 0.11, 0.1])
    assert not about["explains"]
    assert not about["likes"]
    assert "thresholds" not in other
    schema = server.ask("GET", "/openapi.json")[1]
    names = {parameter["name"] for parameter in schema["paths"]["/predict"]["post"]["parameters"]}
    assert names == {"model", "threshold", "most"}
    assert 'beholder_pictures_total{model="parts",outcome="answered"}' in server.ask("GET", "/metrics")[1].decode()


def test_protocol_v2_has_boxes_as_tensors(server: Served, photograph: Path) -> None:
    outputs = server.ask("GET", "/v2/models/parts")[1]["outputs"]
    assert [output["name"] for output in outputs] == ["boxes", "scores", "labels", "counts", "sizes"]
    files = [base64.b64encode(data).decode() for data in (photograph.read_bytes(), picture(size=(40, 30)))]
    asked: dict[str, Any] = {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [2], "data": files}]}
    asked["parameters"] = {"threshold": 0.06, "most": 7}
    status, said, _ = server.ask("POST", "/v2/models/parts/infer", json.dumps(asked))
    assert status == 200
    found = {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in said["outputs"]}
    assert found["sizes"].tolist() == [[240, 160], [40, 30]]
    assert found["boxes"].shape == (2, max(found["counts"]), 4)
    for k, n in enumerate(found["counts"].tolist()):
        assert n <= 7
        assert (found["scores"][k, :n] >= 0.06).all()
        assert not found["scores"][k, n:].any()
        assert set(found["labels"][k, n:].tolist()) <= {""}
    asked["parameters"] = {"threshold": "high"}
    assert server.ask("POST", "/v2/models/parts/infer", json.dumps(asked))[0] == 400


def test_the_client_gives_detections(server: Served, photograph: Path) -> None:
    with Client(f"http://127.0.0.1:{server.port}", model="parts") as client:
        found = client(photograph, threshold=0, most=4)
        assert isinstance(found, Detections)
        assert (found.width, found.height, len(found)) == (240, 160, 4)
        assert client.predict([photograph], threshold=0, most=4)[0] == found.json()


@pytest.mark.browser
def test_the_page_draws_boxes_and_a_slider_moves_the_threshold(
    browser: Any, server: Served, photograph: Path, tmp_path: Path
) -> None:
    every = server.ask("POST", "/predict?model=parts&threshold=0", photograph.read_bytes())[1]["answers"][0]["boxes"]
    least = dict(zip(CLASSES, (0.12, 0.11, 0.1), strict=True))
    usual = [box for box in every if box["p"] >= least[box["label"]]]
    with opened(browser, server) as page:
        assert text(page, "#knows").startswith("Finds 3 classes, each with its place: bolt, <b>nut</b>")
        page.locator("#files").set_input_files(photograph)
        wait(page, "document.querySelectorAll('#shot svg g').length > 0")
        assert page.locator("#shot svg g").count() == page.locator("#found button").count() == len(usual)
        assert page.locator("#shot svg").get_attribute("viewBox") == "0 0 240 160"
        left, top, right, bottom = usual[0]["box"]
        drawn = page.locator("#shot svg g").last.locator("rect").first
        sides = [float(drawn.get_attribute(name)) for name in ("x", "y", "width", "height")]
        assert sides == pytest.approx([left, top, right - left, bottom - top], abs=0.01)
        shown = page.locator("#shot img").bounding_box()
        scale = min(shown["width"] / 240, shown["height"] / 160)
        wide = page.evaluate("document.querySelector('#shot svg g:last-of-type rect').getBoundingClientRect().width")
        assert wide == pytest.approx(scale * (right - left), abs=6)
        page.locator("#least").fill("0")
        assert page.locator("#found button").count() == len(every)
        middle = round(100 * every[len(every) // 2]["p"])
        page.locator("#least").fill(str(middle))
        wanted = sum(box["p"] >= middle / 100 for box in every)
        assert page.locator("#found button").count() == page.locator("#shot svg g").count() == wanted
        assert text(page, "#least-said") == f"{middle}\u00a0%"
        page.locator("#own").click()
        assert page.locator("#found button").count() == len(usual)
        page.locator("#found button").first.click()
        assert page.locator("#shot svg g.marked").count() == 1
        assert page.locator("#heat").is_hidden()
        page.locator("#models").select_option("colours")
        wait(page, "document.querySelectorAll('#bars li').length === 3")
        assert page.locator("#shot svg").count() == 0
        assert page.locator("#boxes").is_hidden()


@pytest.mark.browser
def test_boxes_follow_the_camera(browser: Any, server: Served) -> None:
    with opened(browser, server, permissions=["camera"]) as page:
        page.locator("#photograph").click()
        wait(page, "!document.getElementById('camera-found').hidden")
        assert " ms" in text(page, "#camera-found")
        wait(page, "document.querySelectorAll('#view svg').length === 1")
        page.locator("#take").click()
        wait(page, "document.querySelectorAll('#shot svg').length === 1")
        assert page.locator("#view svg").count() == 0
