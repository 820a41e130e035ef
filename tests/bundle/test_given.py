"""Whatever a person gives as a picture: the same picture in every form, and a plain word to whatever is none."""

from __future__ import annotations

import http.server
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.loopback import Quiet, listening

from beholder import image
from beholder.base import events
from beholder.base.errors import BeholderError, MachineError, PictureError, UsageError
from beholder.base.records import Prediction
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.given import one, several
from beholder.evaluation.evaluate import evaluate
from beholder.evaluation.predict import predict
from beholder.explanation import explain
from beholder.sources import scan

OPENED = ExitStack()
"""Closes what the forms below have opened."""

Forms = dict[str, Callable[[Path], Any]]


def pixels_of(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


FORMS: Forms = {
    "text": str,
    "pathlib": Path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "open file": lambda path: OPENED.enter_context(path.open("rb")),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "pillow": Image.open,
    "pillow, loaded": lambda path: Image.open(path).copy(),
    "HWC": pixels_of,
    "CHW": lambda path: pixels_of(path).transpose(2, 0, 1),
    "not contiguous": lambda path: np.asfortranarray(pixels_of(path)),
    "int64": lambda path: pixels_of(path).astype(np.int64),
    "float32 in 0..1": lambda path: (pixels_of(path) / 255).astype(np.float32),
    "float64 in 0..255": lambda path: pixels_of(path).astype(np.float64),
    "uint16": lambda path: pixels_of(path).astype(np.uint16) * 257,
    "tensor": lambda path: torch.from_numpy(pixels_of(path)).permute(2, 0, 1),
    "tensor, HWC": lambda path: torch.from_numpy(pixels_of(path)),
    "float tensor": lambda path: torch.from_numpy(pixels_of(path)).permute(2, 0, 1) / 255,
    "tensor with a gradient": lambda path: (torch.from_numpy(pixels_of(path)).permute(2, 0, 1) / 255).requires_grad_(),
}


@pytest.fixture(autouse=True)
def _closing() -> Iterator[None]:
    yield
    OPENED.close()


@pytest.fixture(scope="module")
def file(small: tuple[Path, Path, Bundle]) -> Path:
    return sorted((small[0] / "rust").iterdir())[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_in_any_form_is_the_same_picture(form: str, small: tuple[Path, Path, Bundle], file: Path) -> None:
    bundle = small[2]
    given = FORMS[form](file)
    with events.listen(alone=True):
        guess = bundle(given)
        assert isinstance(guess, Prediction)
        np.testing.assert_array_equal(bundle.pixels(FORMS[form](file)), bundle.pixels(file))
        (listed,) = bundle([FORMS[form](file)])
    assert listed.probabilities == pytest.approx(bundle(file).probabilities, abs=1e-6)
    assert guess.label == "rust"


@pytest.mark.parametrize("form", ["grey", "grey tensor", "grey, one channel", "bool"])
def test_grey_pictures(form: str, small: tuple[Path, Path, Bundle]) -> None:
    grey = np.arange(480, dtype=np.int64).reshape(20, 24) % 256
    given = {
        "grey": grey.astype(np.uint8),
        "grey tensor": torch.from_numpy(grey.astype(np.uint8))[None],
        "grey, one channel": grey.astype(np.uint8)[:, :, None],
        "bool": grey > 99,
    }[form]
    array = grey.astype(np.uint8) if form != "bool" else ((grey > 99) * 255).astype(np.uint8)
    np.testing.assert_array_equal(small[2].pixels(given), small[2].pixels(array))


def test_three_channels_are_one_picture_and_four_axes_are_several(small: tuple[Path, Path, Bundle]) -> None:
    bundle = small[2]
    with events.listen(alone=True):
        assert isinstance(bundle(torch.zeros(3, 96, 96)), Prediction)
        assert isinstance(bundle(torch.zeros(3, 96, 3)), Prediction)
        assert isinstance(bundle(np.zeros((3, 96, 96), np.uint8)), Prediction)
        assert isinstance(bundle(torch.zeros(1, 96, 96)), Prediction)
        for batch in (torch.zeros(2, 3, 20, 24), np.zeros((2, 20, 24, 3), np.uint8), np.zeros((2, 3, 20, 24), np.uint8)):
            assert [type(guess) for guess in bundle(batch)] == [Prediction, Prediction]
        mixed = torch.stack([torch.zeros(3, 3, 24), torch.ones(3, 3, 24)])
        assert len(bundle(mixed)) == 2


def test_a_folder_a_generator_and_an_array_of_names_are_lists(small: tuple[Path, Path, Bundle]) -> None:
    source, _, bundle = small
    files = sorted((source / "rust").iterdir())
    expected = bundle(files)
    assert len(expected) == 12
    for given in (source / "rust", str(source / "rust"), iter(files), map(str, files), np.array([str(file) for file in files])):
        assert [guess.probabilities for guess in bundle(given)] == [guess.probabilities for guess in expected]
    assert bundle([]) == bundle(()) == bundle(iter([])) == []


def test_pillow_sees_the_pixels_of_the_file(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 256, (20, 24, 4), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "turned.jpg": (pixels.convert("RGB"), {"exif": exif}),
        "clear.png": (pixels, {}),
        "palette.gif": (pixels.convert("RGB").quantize(9), {}),
        "grey.png": (pixels.convert("L"), {}),
        "grey_clear.png": (pixels.convert("LA"), {}),
        "bit.png": (pixels.convert("1"), {}),
        "cmyk.jpg": (pixels.convert("RGB").convert("CMYK"), {}),
        "deep.png": (Image.fromarray(rng.integers(0, 65536, (20, 24), np.uint16)), {}),
        "turned.tif": (pixels.convert("RGB"), {"exif": exif}),
    }
    for name, (picture, options) in files.items():
        picture.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as opened:
            np.testing.assert_array_equal(small[2].pixels(opened), small[2].pixels(tmp_path / name), name)
            whole = image.decode((tmp_path / name).read_bytes(), channels=3)
            np.testing.assert_array_equal(image.decode(one(opened), channels=3), whole, name)


def test_how_floats_are_read_is_said_once(small: tuple[Path, Path, Bundle]) -> None:
    from dataclasses import replace

    bundle = replace(small[2])
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        bundle([np.full((9, 9), 0.5), np.full((9, 9), 0.25)])
        bundle(np.full((9, 9), 0.75))
        bundle(np.full((9, 9), 90.0))
    assert [event.message for event in said] == [
        "floats from 0 to 1 are taken as levels from black to white",
        "floats from 90 to 90 are taken as levels of 255",
    ]


WRONG: dict[str, tuple[Callable[[Path], Any], type[BeholderError], str]] = {
    "None": (lambda _: None, UsageError, "no-picture"),
    "a number": (lambda _: 3, UsageError, "no-picture"),
    "a dict": (lambda _: {"a": 1}, UsageError, "no-picture"),
    "a set": (lambda _: {"a.png"}, UsageError, "no-picture"),
    "a list of numbers": (lambda _: [[0, 1], [2, 3]], UsageError, "no-picture"),
    "a list in a list": (lambda path: [[path]], UsageError, "no-picture"),
    "a list with None": (lambda path: [path, None], UsageError, "no-picture"),
    "an empty name": (lambda _: "", UsageError, "no-picture"),
    "a name with a zero": (lambda _: "a\0b.png", PictureError, "unreadable"),
    "a very long name": (lambda _: "a" * 5000, PictureError, "unreadable"),
    "a missing file": (lambda path: path.with_name("gone.png"), PictureError, "path-missing"),
    "a folder in a list": (lambda path: [path.parent], UsageError, "no-picture"),
    "an address": (lambda _: "https://example.org/a.png", UsageError, "download-not-allowed"),
    "plain http": (lambda _: "http://example.org/a.png", UsageError, "not-https"),
    "object storage": (lambda _: "s3://bucket/a.png", UsageError, "download-not-allowed"),
    "another address": (lambda _: "ftp://example.org/a.png", UsageError, "no-picture"),
    "no bytes": (lambda _: b"", PictureError, "empty"),
    "bytes that are text": (lambda _: b"hello", PictureError, "not-a-picture"),
    "a file of text": (lambda path: OPENED.enter_context(path.open(encoding="utf-8")), UsageError, "no-picture"),
    "a closed file": (lambda path: _closed(path.open("rb")), PictureError, "unreadable"),
    "a closed picture": (lambda path: _closed(Image.open(path)), PictureError, "damaged"),
    "one axis": (lambda _: np.zeros(9, np.uint8), PictureError, "bad-array"),
    "no axis": (lambda _: np.array(3), PictureError, "bad-array"),
    "five axes": (lambda _: np.zeros((1, 1, 2, 2, 3), np.uint8), PictureError, "bad-array"),
    "two channels": (lambda _: torch.zeros(2, 9, 9), PictureError, "bad-array"),
    "nothing in it": (lambda _: np.zeros((0, 9, 3), np.uint8), PictureError, "bad-array"),
    "complex": (lambda _: np.zeros((9, 9), complex), PictureError, "bad-array"),
    "objects": (lambda _: np.array([[None]]), PictureError, "bad-array"),
    "NaN": (lambda _: np.full((9, 9), np.nan), PictureError, "not-finite"),
    "normalised": (lambda _: torch.randn(3, 9, 9), PictureError, "bad-array"),
    "below nought": (lambda _: np.full((9, 9), -3, np.int32), PictureError, "bad-array"),
    "sparse": (lambda _: torch.zeros(3, 9, 9).to_sparse(), PictureError, "bad-array"),
    "on no device": (lambda _: torch.zeros(3, 9, 9, device="meta"), PictureError, "bad-array"),
    "records": (lambda path: scan(path.parent.parent), UsageError, "no-picture"),
}


def _closed(file: Any) -> Any:
    file.close()
    return file


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_picture_gets_one_clear_word(
    form: str, small: tuple[Path, Path, Bundle], file: Path, tmp_path: Path
) -> None:
    give, kind, code = WRONG[form]
    if form == "a file of text":
        file = tmp_path / "notes.txt"
        file.write_text("hello", encoding="utf-8")
    given = give(file)
    with events.listen(alone=True), pytest.raises(kind) as refused:
        small[2](given)
    assert refused.value.code == code
    assert refused.value.hint
    assert "\n" not in refused.value.message


def test_an_error_in_a_list_names_the_picture(small: tuple[Path, Path, Bundle], file: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"hello")
    with pytest.raises(PictureError, match=r"^picture 2: "):
        small[2]([file, file.read_bytes(), b"hello"])
    for given in ([file, tmp_path / "notes.png"], tmp_path / "notes.png", tmp_path):
        with pytest.raises(PictureError, match=r"^.*notes\.png: "):
            small[2](given)


def test_a_file_that_was_just_written_is_read_from_its_start(small: tuple[Path, Path, Bundle], file: Path) -> None:
    written = io.BytesIO()
    Image.open(file).save(written, "PNG")
    np.testing.assert_array_equal(small[2].pixels(written), small[2].pixels(file))


@pytest.fixture
def address(file: Path) -> Iterator[str]:
    class Handler(Quiet, http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(file.parent))

    with listening(Handler) as found:
        yield found


def test_an_address_is_fetched_where_that_is_allowed(address: str, small: tuple[Path, Path, Bundle], file: Path) -> None:
    bundle = small[2]
    assert bundle(f"{address}/{file.name}", allow_download=True) == bundle(file)
    assert bundle([f"{address}/{file.name}"], allow_download=True) == [bundle(file)]
    with pytest.raises(UsageError) as refused:
        bundle(f"{address}/{file.name}")
    assert refused.value.code == "download-not-allowed"
    with pytest.raises(MachineError, match="404"):
        bundle(f"{address}/gone.png", allow_download=True)


def test_predict_and_explain_take_what_is_natural(small: tuple[Path, Path, Bundle], file: Path) -> None:
    bundle = small[2]
    assert list(predict(bundle, str(file))) == list(predict(bundle, [file])) == list(predict(bundle, file))
    assert len(list(predict(bundle, file.parent))) == 12
    with pytest.raises(UsageError, match="predict takes paths, not ndarray"):
        list(predict(bundle, [np.zeros((9, 9), np.uint8)]))  # type: ignore[list-item]
    assert explain(bundle, Image.open(file)).label == explain(bundle, file).label
    with pytest.raises(UsageError):
        explain(bundle, None)  # type: ignore[arg-type]


def test_whole_numbers_are_of_the_range_of_the_set() -> None:
    dark = np.arange(200, dtype=np.int64).reshape(10, 20)
    assert one(dark).dtype == np.uint8  # type: ignore[union-attr]
    assert one(dark, bits=12).dtype == np.uint16  # type: ignore[union-attr]
    assert one(dark.astype(np.uint8), bits=12).dtype == np.uint8  # type: ignore[union-attr]


def test_verbs_take_a_bundle_or_its_path(small: tuple[Path, Path, Bundle], file: Path) -> None:
    _, path, bundle = small
    assert list(predict(path, [file])) == list(predict(str(path), [file])) == list(predict(bundle, [file]))
    assert explain(path, file).label == "rust"
    assert evaluate(str(path), scan(small[0])).scores.n == 36
    for wrong in (
        lambda: load(None),
        lambda: evaluate(3, small[0]),
        lambda: list(predict(None, [file])),
        lambda: explain({}, file),
    ):
        with pytest.raises(UsageError) as refused:
            wrong()
        assert refused.value.code == "no-bundle"
        assert "beholder.load" in refused.value.hint
    for nothing in (None, 3):
        with pytest.raises(UsageError, match="predict takes paths"):
            list(predict(bundle, nothing))  # type: ignore[arg-type]


def test_one_picture_is_no_list() -> None:
    for given in ("a.png", Path("a.png"), b"x", io.BytesIO(b"x"), np.zeros((3, 9, 9)), torch.zeros(3, 9, 9), None, 3, os):
        assert several(given) is None


def test_nothing_is_fetched_unasked() -> None:
    with pytest.raises(UsageError) as caught:
        one("https://example.org/a.png")
    assert caught.value.code == "download-not-allowed"
