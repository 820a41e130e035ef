"""The notebooks of docs/notebooks run from top to bottom, and are kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert "/home/" not in path.read_text("utf-8")


def outputs(cell: Any, form: str) -> list[str]:
    """What a cell shows in a form, such as text/html, in order."""
    return ["".join(found["data"][form]) for found in cell["outputs"] if form in found.get("data", {})]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_first_model_is_made_as_the_notebook_says(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "first_model.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = {cell.source.splitlines()[0]: cell for cell in notebook.cells if cell.cell_type == "code"}
    (pictures,) = outputs(code["pictures = beholder.scan((x, y))"], "text/html")
    assert "1,797 pictures of 10 classes" in pictures
    assert pictures.count("data:image/png") == 10
    assert "three parts" in outputs(code["parts = beholder.split(findings.kept, seed=0)"], "text/html")[-1]
    training = code['model = beholder.train(parts, net="cnn", epochs=60, seed=0)']
    shown = outputs(training, "text/html")
    assert "Classifier by cnn" in shown[-1]
    bars = [html for html in shown if html.startswith("<progress") and "training" in html]
    assert len(bars) == 1, "progress is one output that changes in place"
    done = re.match(r'<progress max="(\d+)" value="(\d+)"', bars[0])
    assert done is not None
    assert done[1] == done[2], "its last state is the end"
    stderr = [found["text"] for cell in code.values() for found in cell["outputs"] if found.get("name") == "stderr"]
    assert stderr == [], "it would be shown in red"
    accuracy = outputs(code['tested.scores.headline["accuracy"]'], "text/html")[0]
    assert float(re.findall(r"(0\.\d{3}|1\.000) \[", accuracy)[0]) > 0.9
    assert "data:image/png" in outputs(code["model(x[0])"], "text/html")[0]
    (several,) = outputs(code["beholder.show(model(list(x[:12])))"], "text/html")
    assert several.count("data:image/png") == 12
    assert "model.safetensors" in outputs(code["import tempfile"], "text/plain")[0]
