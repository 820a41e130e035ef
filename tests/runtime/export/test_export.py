from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, BundleError, DataError, UsageError
from beholder.bundle.bundle import Bundle, load
from beholder.cli.run import run
from beholder.runtime import exported, exports
from beholder.runtime.engines import fastest
from beholder.runtime.export import export, parity
from beholder.runtime.export.samples import PIECES, sample


@pytest.fixture
def bundle(small: tuple[Path, Path, Bundle], tmp_path: Path) -> Bundle:
    """A copy of the small bundle, to write into."""
    return load(shutil.copytree(small[1], tmp_path / "leaves.beholder"))


def test_an_export_is_tried_before_it_is_written(small: tuple[Path, Path, Bundle], bundle: Bundle) -> None:
    written = export(bundle, like=small[0])
    assert written.parity.most < 1e-5
    assert written.parity.agreement.value == 1
    assert written.parity.accuracy is not None
    assert written.parity.accuracy[2].value == 0
    assert written.parity.resized is not None
    assert written.parity.resized[0] < 0.05
    kept = json.loads((written.path.parent / exports.LIST).read_bytes())["model.onnx"]
    assert kept["parity"] == written.json()["parity"]
    assert kept["parity"]["n"] == 36 - bundle.config.parts["test"]
    assert "the same label: 1.000" in str(written)


def test_int8_is_calibrated_on_training_pictures(small: tuple[Path, Path, Bundle], bundle: Bundle) -> None:
    written = export(bundle, precision="int8", like=small[0], force=True)
    kinds = [node.op_type for node in onnx.load(written.path).graph.node]
    assert {"QuantizeLinear", "DequantizeLinear", "If"} <= set(kinds)
    runs = exported.load(bundle.path, name="model.int8.onnx")
    assert runs.engine == "onnxruntime int8"
    images = np.random.default_rng(0).integers(0, 256, (2, 3, bundle.policy.height, bundle.policy.width), dtype=np.uint8)
    assert 1e-7 < np.abs(runs.probabilities(images) - bundle.probabilities(images)).max() < 0.2
    assert runs.guess(runs.probabilities(images)[0]).label in bundle.classes


def test_half_precision_halves_the_weights(bundle: Bundle) -> None:
    half = export(bundle, precision="fp16")
    kept = onnx.load(half.path).graph.initializer
    halves = sum(np.prod(tensor.dims) for tensor in kept if tensor.data_type == onnx.TensorProto.FLOAT16)
    body = sum(value.numel() for name, value in bundle.net.named_parameters() if not name.startswith("head"))
    assert halves >= body > 0
    assert 0 < half.parity.most < 0.01
    assert exported.load(bundle.path, name="model.fp16.onnx").engine == "onnxruntime fp16"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_program_of_torch_holds_no_pickle(bundle: Bundle, precision: str) -> None:
    written = export(bundle, to="torch", precision=precision)
    assert written.parity.most < 0.01
    with zipfile.ZipFile(written.path) as archive:
        assert not [name for name in archive.namelist() if archive.read(name)[:2] in (b"PK", b"\x80\x02")]
    extra = {"beholder.json": ""}
    images = torch.zeros(3, 3, bundle.policy.height, bundle.policy.width, dtype=torch.uint8)
    made = torch.export.load(written.path, extra_files=extra).module()(images)[0]
    assert np.allclose(made.detach().numpy(), bundle.probabilities(images.numpy()), atol=0.01)
    assert json.loads(extra["beholder.json"])["classes"] == list(bundle.classes)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino_gives_the_same(small: tuple[Path, Path, Bundle], bundle: Bundle, precision: str) -> None:
    pytest.importorskip("openvino")
    written = export(bundle, to="openvino", precision=precision)
    assert written.parity.most < (1e-4 if precision == "fp32" else 0.01)
    inside = exported.load(bundle.path, name=exports.name("openvino", precision))
    alone = exported.load(shutil.copytree(bundle.path, bundle.path.parent / "other") / written.path.name)
    picture = next(small[0].rglob("*.png"))
    assert alone.engine == inside.engine == f"OpenVINO {precision}"
    assert alone(picture) == inside(picture)
    assert alone(picture).probabilities == pytest.approx(bundle(picture).probabilities, abs=0.01)


def test_what_differs_too_much_is_refused(
    small: tuple[Path, Path, Bundle], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exports.LEAST, "fp32", 1.01)
    with pytest.raises(BundleError) as caught:
        export(bundle)
    assert caught.value.code == "not-the-same"
    assert "--force" in caught.value.hint
    assert exports.listed(bundle.path) == {}
    assert export(bundle, force=True).path.is_file()


def test_parity_sees_what_differs(small: tuple[Path, Path, Bundle], bundle: Bundle) -> None:
    tried = sample(bundle, small[0])
    logits, features = bundle.outputs(tried.images)
    turned = exported.Exported(bundle.config, lambda images: (np.roll(bundle.outputs(images)[0], 1, 1), features))
    found = parity.parity(bundle, turned, tried, resizes=False)
    assert found.agreement.value == 0
    assert found.accuracy is not None
    right = np.array([bundle.guess(row).label for row in bundle.activated(logits)]) == np.array(tried.truth)
    assert found.accuracy[0] == pytest.approx(right.mean())
    assert found.most > 0.1


def test_samples_are_of_the_parts_that_were_trained_and_chosen_on(small: tuple[Path, Path, Bundle]) -> None:
    source, _, bundle = small
    own, pieces = sample(bundle, source), sample(bundle)
    assert len(own.truth) == len(own.images) == 36 - bundle.config.parts["test"]
    assert len(own.training) == bundle.config.parts["train"]
    assert "valid and" in own.what
    assert len(pieces.images) == PIECES
    assert not pieces.truth
    assert len({pixels.shape for _, pixels in pieces.whole}) > 50
    again = sample(bundle)
    assert np.array_equal(pieces.images, again.images)


def test_another_source_is_not_taken(bundle: Bundle, draw, tmp_path: Path) -> None:
    other = draw(tmp_path / "other", each=3, size=(30, 30))
    with pytest.raises(DataError) as caught:
        export(bundle, like=other)
    assert caught.value.code == "other-source"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"to": "coreml"}, "unknown-export"),
        ({"precision": "int4"}, "unknown-precision"),
        ({"to": "torch", "precision": "int8"}, "unknown-precision"),
        ({"precision": "int8"}, "needs-pictures"),
        ({"out": "leaves.bin"}, "wrong-ending"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(small: tuple[Path, Path, Bundle], options: dict[str, str], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        export(small[2], **options)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_bundle_that_lies_nowhere_needs_a_place(small: tuple[Path, Path, Bundle]) -> None:
    bundle = small[2]
    with pytest.raises(UsageError) as nowhere:
        export(Bundle(bundle.config, bundle.net, bundle.recipe))
    assert nowhere.value.code == "no-place"


def test_the_command_prints_what_it_measured(bundle: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["export", str(bundle.path), "--out", str(tmp_path / "a.onnx"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(tmp_path / "a.onnx")
    assert said["parity"]["agreement"]["value"] == 1
    assert said["opset"] == 18
    assert run(["export", str(bundle.path), "--int8", "--fp16"]) == 2
    assert "exclude" in capsys.readouterr().err
    assert beholder.load(bundle.path).classes == bundle.classes


def test_int8_alone_says_what_it_lacks_and_a_file_runs_in_python_as_on_the_command_line(
    small: tuple[Path, Path, Bundle], bundle: Bundle, tmp_path: Path
) -> None:
    said: list[str] = []
    with events.listen(lambda event: said.append(event.message), alone=True):
        export(bundle, precision="int8", like=small[0], force=True)
    assert any("predict and serve take model.int8.onnx only beside model.onnx" in text for text in said)
    assert bundle.path is not None
    with pytest.raises(UsageError) as refused:
        fastest(bundle.path, engine="onnxruntime int8")
    assert refused.value.hint.startswith("an export is used beside model.onnx")
    said.clear()
    with events.listen(lambda event: said.append(event.message), alone=True):
        export(bundle)
        export(bundle, precision="int8", like=small[0], force=True)
    assert not any("only beside" in text for text in said)
    alone = export(bundle, tmp_path / "alone.onnx").path
    picture = next(small[0].rglob("*.png"))
    (by_file,), (by_bundle,) = beholder.predict(str(alone), picture), beholder.predict(bundle, picture)
    assert by_file["label"] == by_bundle["label"]
    assert by_file["p"] == pytest.approx(by_bundle["p"], abs=1e-4)
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    with pytest.raises(BeholderError):
        next(beholder.predict(tmp_path / "other.onnx", picture))
