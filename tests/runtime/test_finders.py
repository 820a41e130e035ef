from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.detectors import KNOTS, detector, saved
from tests.squares import drawn

from beholder.base.errors import BundleError, UsageError
from beholder.bundle.detector import Detector
from beholder.bundle.door import load as opened_bundle
from beholder.bundle.finder import Looked
from beholder.measure.detections import Detected
from beholder.runtime import exports, finders, picker
from beholder.runtime.export import export
from beholder.runtime.export.boxes import Parity, check
from beholder.runtime.export.found import encoded
from beholder.runtime.finders import LEAST, OUTPUTS, ExportedFinder, fastest_finder, finds_boxes, load, opened, same

SHAPES = ((64, 96), (50, 96), (200, 40), (64, 64))


def noise(shape: tuple[int, int], seed: int = 0) -> Any:
    """Return coarse noise uint8 (h, w, 3)."""
    height, width = shape
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width]


def running(found: Detector, **options: Any) -> ExportedFinder:
    return ExportedFinder(found.config, opened(encoded(found, **options), Path("model.onnx"))[0])


@pytest.fixture(scope="module", params=["squash", "pad", "crop"])
def pair(request: pytest.FixtureRequest) -> tuple[Detector, ExportedFinder]:
    """A detector and its graph, for each way to fit pictures."""
    ours = detector(fit=request.param)
    return ours, running(ours)


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector's bundle with its graph."""
    path = saved(tmp_path_factory.mktemp("finders") / "parts.beholder")
    export(Detector.load(path))
    return path


def test_the_graph_finds_the_same_boxes_in_pixels_of_the_picture(pair: tuple[Detector, ExportedFinder]) -> None:
    ours, theirs = pair
    for seed, shape in enumerate(SHAPES):
        looked = [ours.looked(noise(shape, seed)), ours.looked(noise((80, 80), seed + 9))]
        images = np.stack([each.pixels for each in looked])
        wanted = [ours.own(row, each.size) for row, each in zip(ours.found(images), looked, strict=True)]
        sizes = np.array([each.size for each in looked])
        given = theirs.run({"images": images, "sizes": sizes})
        got = [Detected(b[:n].astype(float), c[:n], s[:n].astype(float)) for b, s, _, c, n in zip(*given, strict=True)]
        right, most = same(wanted, got)
        assert most > 50
        assert right >= LEAST * most
        assert [len(told) for told in ours.detections(looked)] == [len(told) for told in theirs.detections(looked)]
        for one, other in zip(ours.detections(looked), theirs.detections(looked), strict=True):
            assert [box.label for box in one.boxes] == [box.label for box in other.boxes]
            assert np.allclose([box.box for box in one.boxes], [box.box for box in other.boxes], atol=0.02)


def test_the_graph_resizes_and_needs_only_pictures(pair: tuple[Detector, ExportedFinder]) -> None:
    (ours, theirs), picture = pair, noise((150, 90))
    boxes, scores, probabilities, classes, counts = theirs.run({"images": picture.transpose(2, 0, 1)[None]})
    wanted = ours.detections([ours.looked(picture)], threshold=0)[0]
    assert boxes.shape == (1, 100, 4)
    assert counts[0] == len(wanted)
    assert np.allclose(boxes[0, : counts[0]][0], wanted.boxes[0].box, atol=0.05)
    assert not boxes[0, counts[0] :].any()
    assert np.allclose(probabilities[0], np.where(scores[0] > 0, np.interp(scores[0], *KNOTS), 0), atol=1e-5)
    assert classes.dtype == np.int64


def test_as_many_boxes_as_are_asked_for(carried: Path) -> None:
    theirs, ours = load(carried), Detector.load(carried)
    images = ours.looked(noise((64, 96))).pixels[None]
    assert len(theirs.found(images, most=5)[0].scores) == 5
    size = (96, 64)
    many, wanted = theirs.found(images, most=2000), [ours.own(row, size) for row in ours.found(images, most=2000)]
    right, most = same(wanted, many)
    assert most > 30
    assert right >= LEAST * most


def test_where_nothing_is_found_and_where_the_net_answers_no_numbers() -> None:
    ours = detector()
    with torch.no_grad():
        ours.net.head.classes.weight.zero_()
        ours.net.head.classes.bias.fill_(-20)
    looked = [ours.looked(noise((64, 96)))]
    assert len(running(ours).detections(looked, threshold=0)[0]) == len(ours.detections(looked, threshold=0)[0]) == 0
    with torch.no_grad():
        ours.net.head.classes.bias[0] = float("nan")
    with pytest.raises(BundleError) as caught:
        running(ours).detections(looked)
    assert caught.value.code == "not-finite"


def test_an_export_is_written_with_what_it_says_of_itself(carried: Path, tmp_path: Path) -> None:
    facts = exports.listed(carried)["model.onnx"]
    assert facts["parity"]["same"]["value"] >= LEAST
    assert finders.sound(facts, finders.verified(carried))
    found = export(Detector.load(carried), tmp_path / "alone.onnx")
    assert "the same boxes" in str(found)
    said = {row.key: row.value for row in onnx.load(tmp_path / "alone.onnx").metadata_props}
    assert json.loads(said["classes"]) == list(Detector.load(carried).classes)
    assert json.loads(said["thresholds"]) == [0.12, 0.11, 0.1]
    alone = fastest_finder(tmp_path / "alone.onnx")
    assert alone.engine == "onnxruntime fp32"
    assert alone.config == Detector.load(carried).config
    assert finds_boxes(tmp_path / "alone.onnx")
    assert finds_boxes(carried)
    assert not finds_boxes(Path(__file__))


def test_lower_precisions_are_measured_by_what_they_lose(tmp_path: Path) -> None:
    table = drawn(tmp_path / "squares")
    path = saved(tmp_path / "parts.beholder")
    with pytest.raises(UsageError) as caught:
        export(Detector.load(path), precision="int8")
    assert caught.value.code == "needs-pictures"
    with pytest.raises(UsageError) as caught:
        export(Detector.load(path), to="openvino")
    assert caught.value.code == "unknown-export"
    from beholder.sources import scan
    from beholder.sources.digest import digested

    ours = Detector.load(path)
    rows = digested(scan(table)).hexdigests
    ours.splits = [(digest, "train" if k % 2 else "valid") for k, digest in enumerate(rows)]
    found = export(ours, precision="int8", like=table, force=True)
    assert found.facts["precision"] == "int8"
    assert 0 < found.facts["parity"]["told"]["value"] <= 1
    assert len(load(path, name="model.int8.onnx").found(np.zeros((1, 3, 64, 96), np.uint8))[0].scores)


def test_what_loses_too_much_is_refused() -> None:
    from beholder.base.records import Score

    whole, half = Score(1.0, 1.0, 1.0, 9), Score(0.5, 0.4, 0.6, 9)
    check(Parity(whole, whole, 9, None, "nine"), "fp32")
    check(Parity(half, half, 9, (0.50, 0.49), "nine"), "int8")
    for wrong, precision in ((Parity(half, whole, 9, None, "n"), "fp32"), (Parity(whole, half, 9, None, "n"), "int8")):
        with pytest.raises(BundleError) as caught:
            check(wrong, precision)
        assert caught.value.code == "not-the-same"
    with pytest.raises(BundleError, match=r"loses 0\.050"):
        check(Parity(half, whole, 9, (0.50, 0.45), "nine"), "fp16")


def test_the_fastest_is_remembered(carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finders.names(carried) == ["torch fp32", "onnxruntime fp32"]
    assert fastest_finder(carried, probe=False).engine == "onnxruntime fp32"
    monkeypatch.setattr(picker, "least_seconds", lambda ways, **_: {name: 2.0 - (name == "torch fp32") for name in ways})
    assert fastest_finder(carried).engine == "torch fp32"
    monkeypatch.setattr(picker, "least_seconds", lambda *_, **__: pytest.fail("it was remembered"))
    assert fastest_finder(carried, probe=False).engine == "torch fp32"
    assert fastest_finder(carried, engine="onnxruntime fp32").engine == "onnxruntime fp32"
    with pytest.raises(UsageError) as caught:
        fastest_finder(carried, engine="openvino")
    assert caught.value.code == "unknown-engine"


def test_a_graph_of_other_weights_is_not_used(carried: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.beholder", seed=1)
    for name in ("model.onnx", "exports.json"):
        shutil.copy(carried / name, other / name)
    assert fastest_finder(other).engine == "torch fp32"
    with pytest.raises(BundleError) as caught:
        load(other)
    assert caught.value.code == "damaged"


def test_an_exported_detector_finds_without_torch(carried: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from beholder.runtime.finders import fastest_finder\n"
        f"finder = fastest_finder({str(carried)!r}, engine='onnxruntime fp32')\n"
        "found = finder(np.full((40, 60, 3), 90, np.uint8), threshold=0)\n"
        "assert len(found) and found.width == 60\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_one_door_opens_both_kinds(carried: Path, small: Any) -> None:
    assert isinstance(opened_bundle(carried), Detector)
    assert type(opened_bundle(small[1])).__name__ == "Bundle"
    with pytest.raises(UsageError) as caught:
        opened_bundle(carried.parent / "none.beholder")
    assert caught.value.code == "path-missing"


def test_outputs_are_as_the_graph_has_them(carried: Path) -> None:
    graph = onnx.load(carried / "model.onnx").graph
    assert [value.name for value in graph.output] == list(OUTPUTS)
    assert isinstance(Detector.load(carried).looked(noise((8, 8))), Looked)
