from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from beholder.base.errors import BundleError, UsageError
from beholder.bundle import format
from beholder.bundle.bundle import Bundle, load
from beholder.runtime import exported, exports
from beholder.runtime.export import export


@pytest.fixture(scope="module")
def carried(small: tuple[Path, Path, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small bundle with a graph in it."""
    path = tmp_path_factory.mktemp("carried") / "leaves.beholder"
    shutil.copytree(small[1], path)
    export(load(path))
    return path


@pytest.fixture
def copied(carried: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(carried, tmp_path / "copy.beholder"))


def test_the_answer_is_that_of_the_bundle(small: tuple[Path, Path, Bundle], carried: Path) -> None:
    runs, bundle = exported.load(carried), load(carried)
    files = sorted(small[0].rglob("*.png"))
    for mine, theirs in zip(runs(list(files)), bundle(list(files)), strict=True):
        assert mine.label == theirs.label
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
    assert runs.outputs(np.zeros((0, 3, 20, 24), np.uint8))[0].shape == (0, 3)


def test_one_file_is_enough(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    bundle = small[2]
    references = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    whole = Bundle(bundle.config, bundle.net, bundle.recipe, references=references)
    runs = exported.load(export(whole, tmp_path / "one.onnx").path)
    assert runs.references is not None
    assert np.array_equal(runs.references, references)
    assert runs.policy == bundle.policy
    picture = next(small[0].rglob("*.png"))
    assert runs(picture).probabilities == pytest.approx(bundle(picture).probabilities, abs=1e-4)


def test_no_torch_is_loaded(carried: Path) -> None:
    code = (
        "import sys, numpy as np; from beholder.runtime import exported; from beholder.bundle.answers import answers;"
        f"r = exported.load({str(carried)!r}); p = r.policy;"
        "answers(r, np.zeros((2, p.channels, p.height, p.width), np.uint8));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_graph_that_was_changed_or_left_over_is_refused(copied: Path) -> None:
    graph = copied / exports.GRAPH
    data = graph.read_bytes()
    graph.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError) as changed:
        exported.load(copied)
    assert changed.value.code == "damaged"
    graph.write_bytes(data)
    facts = json.loads((copied / exports.LIST).read_bytes())
    facts[exports.GRAPH]["of"] = "0" * 64
    format.add_file(copied, exports.LIST, json.dumps(facts).encode())
    with pytest.raises(BundleError, match="not what was exported from these weights"):
        exported.load(copied)


@pytest.mark.parametrize("said", [b"", b"[]", b"{", b'{"model.onnx": 1}', b"[" * 100000])
def test_a_list_that_is_none_counts_as_absent(copied: Path, said: bytes) -> None:
    (copied / exports.LIST).write_bytes(said)
    with pytest.raises(BundleError) as caught:
        exported.load(copied)
    assert caught.value.code == "no-export"
    assert "beholder export" in caught.value.hint


def test_a_bundle_without_a_graph_and_files_of_others(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    with pytest.raises(BundleError) as absent:
        exported.load(small[1])
    assert absent.value.code == "no-export"
    with pytest.raises(UsageError):
        exported.load(tmp_path / "nothing.onnx")
    for name, data in {"text.onnx": b"hello", "empty.onnx": b"", "other.onnx": _other()}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BundleError) as foreign:
            exported.load(tmp_path / name)
        assert foreign.value.code == "not-a-graph"


def _other() -> bytes:
    """A graph that is whole and not ours."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    made = onnx.helper.make_graph([node], "g", [value], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])])
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_graph_that_says_what_does_not_fit_is_refused_by_name(copied: Path, tmp_path: Path) -> None:
    graph = onnx.load(copied / "model.onnx")
    [said] = [prop for prop in graph.metadata_props if prop.key == "beholder"]
    said.value = json.dumps({**json.loads(said.value), "thresholds": [0.5]})
    onnx.save(graph, tmp_path / "odd.onnx")
    with pytest.raises(BundleError, match="thresholds") as caught:
        exported.load(tmp_path / "odd.onnx")
    assert caught.value.code == "inconsistent"
