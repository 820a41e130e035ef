from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.server.fakes import BLUE, GREEN, RED, Served, picture, served


@pytest.fixture(scope="module")
def at() -> Iterator[Served]:
    with served(parts=4, pixels=10_000) as found:
        yield found


def tensor(*colours: tuple[int, int, int], size: tuple[int, int] = (7, 9)) -> np.ndarray:
    """Return uint8 (N, 3, height, width), a colour a picture."""
    return np.stack([np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, *size)) for colour in colours])


def infer(at: Served, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return at.ask("POST", "/v2/models/colours/infer", data, headers)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("binary", [True, False])
def test_the_client_of_another_server_works_unchanged(at: Served, binary: bool) -> None:
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"127.0.0.1:{at.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colours")
    assert client.is_model_ready("colours", "1")
    assert client.get_server_metadata()["name"] == "beholder"
    assert client.get_model_metadata("colours")["inputs"][0] == {
        "name": "images",
        "datatype": "UINT8",
        "shape": [-1, 3, -1, -1],
    }

    images = tensor(GREEN, BLUE, RED)
    given = http.InferInput("images", list(images.shape), "UINT8")
    given.set_data_from_numpy(images, binary_data=binary)
    for outputs in (None, [http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]):
        result = client.infer("colours", [given], outputs=outputs, request_id="a")
        assert result.get_response()["id"] == "a"
        found = result.as_numpy("probabilities")
        assert (found.dtype, found.shape) == (np.float32, (3, 3))
        assert found.argmax(axis=1).tolist() == [1, 2, 0]
        labels = result.as_numpy("label")
        assert [text.decode() if isinstance(text, bytes) else text for text in labels] == ["green", "blue", "red"]

    files = np.array([picture(RED), picture(BLUE, kind="JPEG")], dtype=object)
    given = http.InferInput("files", [2], "BYTES")
    given.set_data_from_numpy(files, binary_data=True)
    assert client.infer("colours", [given]).as_numpy("probabilities").argmax(axis=1).tolist() == [0, 2]
    with pytest.raises(Exception, match="no model is called 'nobody'"):
        client.get_model_metadata("nobody")
    client.close()


def test_a_tensor_and_a_file_of_the_same_pixels_get_the_same_answer(at: Served) -> None:
    images = tensor(RED)
    asked = {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 3, 7, 9], "data": images.tolist()}], "id": "x"}
    status, said, _ = infer(at, asked)
    outputs = {output["name"]: output for output in said["outputs"]}
    assert (status, said["id"], said["model_version"]) == (200, "x", "1")
    assert outputs["label"] == {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["red"]}
    text = base64.b64encode(picture(RED, size=(9, 7))).decode()
    other = infer(at, {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": [text]}]})[1]
    assert other["outputs"] == said["outputs"]
    flat = {"inputs": [{**asked["inputs"][0], "data": images.reshape(-1).tolist()}]}
    assert infer(at, flat)[1]["outputs"] == said["outputs"]


GOOD = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [1, 2, 3]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'{"inputs": []}',
        b'{"inputs": [1]}',
        {"inputs": [GOOD, GOOD]},
        {"inputs": [{**GOOD, "parameters": 1}]},
        {"inputs": [{**GOOD, "name": "other"}]},
        {"inputs": [{**GOOD, "datatype": "FP32"}]},
        {"inputs": [{**GOOD, "shape": [1, 3, 1, 2]}]},
        {"inputs": [{**GOOD, "shape": [1, 3, 1, -1]}]},
        {"inputs": [{**GOOD, "shape": [0, 3, 1, 1]}]},
        {"inputs": [{**GOOD, "shape": [1, 3, 1, True]}]},
        {"inputs": [{**GOOD, "shape": [5, 3, 1, 1], "data": [1] * 15}]},
        {"inputs": [{**GOOD, "shape": [1, 3, 101, 100], "data": [1] * 30300}]},
        {"inputs": [{**GOOD, "shape": [1 << 30] * 4}]},
        {"inputs": [{**GOOD, "shape": []}]},
        {"inputs": [{**GOOD, "data": [1, 2, 256]}]},
        {"inputs": [{**GOOD, "data": [1, 2, -1]}]},
        {"inputs": [{**GOOD, "data": [1, 2, 0.5]}]},
        {"inputs": [{**GOOD, "data": [1, 2, 10**400]}]},
        {"inputs": [{**GOOD, "data": [[1, 2], 3]}]},
        {"inputs": [{**GOOD, "data": ["1", "2", "3"]}]},
        {"inputs": [{**GOOD, "data": None}]},
        {"inputs": [{**GOOD, "parameters": {"binary_data_size": 3}}]},
        {"inputs": [GOOD], "outputs": [{"name": "nothing"}]},
        {"inputs": [GOOD], "outputs": "all"},
        {"inputs": [GOOD], "outputs": [1]},
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": ["?"]}]},
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [2], "data": ["aGk="]}]},
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": ["aGk="]}]},
        {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": [1]}]},
    ],
)
def test_what_breaks_the_protocol_is_400_and_a_sentence(at: Served, body: Any) -> None:
    status, said, _ = infer(at, body)
    assert status == 400
    assert isinstance(said["error"], str)


def test_binary_data_has_the_size_it_says(at: Served) -> None:
    for rest, size, head, status in (
        (b"\1\2\3", 3, None, 200),
        (b"\1\2\3", 4, None, 400),
        (b"\1\2", 2, None, 400),
        (b"\1\2\3", 3, "99999", 400),
        (b"\1\2\3", 3, "-1", 400),
    ):
        text = json.dumps(
            {"inputs": [{**{k: GOOD[k] for k in GOOD if k != "data"}, "parameters": {"binary_data_size": size}}]}
        ).encode()
        headers = {"Inference-Header-Content-Length": str(len(text)) if head is None else head}
        assert infer(at, text + rest, **headers)[0] == status, (rest, size, head)
    for data in (struct.pack("<I", 9) + b"abc", b"\1\0", struct.pack("<I", 0xFFFFFFFF)):
        text = json.dumps(
            {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}]}
        )
        assert infer(at, text.encode() + data, **{"Inference-Header-Content-Length": str(len(text))})[0] == 400


def test_models_and_versions_are_known_or_404(at: Served) -> None:
    for path, status in (
        ("/v2", 200),
        ("/v2/models/colours", 200),
        ("/v2/models/colours/versions/1/ready", 200),
        ("/v2/models/colours/versions/2", 404),
        ("/v2/models/nobody/ready", 404),
        ("/v2/nothing", 404),
    ):
        found, said, _ = at.ask("GET", path)
        assert found == status, path
        assert status == 200 or isinstance(said["error"], str)


@pytest.mark.parametrize("binary", [True, False])
def test_a_net_that_answers_no_numbers_is_500(at: Served, binary: bool) -> None:
    images = tensor(RED, GREEN)
    given = {"name": "images", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist()}
    at.recogniser.nan_for = 1
    try:
        status, said, _ = infer(at, {"inputs": [given], "parameters": {"binary_data_output": binary}})
    finally:
        at.recogniser.nan_for = None
    assert (status, "not-finite" in said["error"]) == (500, True)
