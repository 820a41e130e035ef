"""The nearest training pictures: only of the training part, the most like first, as small pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.server.fakes import Fake, picture, served

from beholder.base.errors import DataError, PictureError
from beholder.base.limits import LIMITS
from beholder.server import nearby
from beholder.sources import scan
from beholder.sources.digest import digested


def bundle(folder: Path, leaves: Path, *, part: str) -> Path:
    """A folder that says that the first six of each class were in `part`."""
    pictures = digested(scan(leaves))
    assert pictures.digests is not None
    rows = [f"{digest.tobytes().hex()},{part if i % 12 < 6 else 'test'}" for i, digest in enumerate(pictures.digests)]
    folder.mkdir()
    (folder / "splits.csv").write_text("\n".join(["digest,part", *rows]))
    return folder


def test_the_nearest_are_of_the_same_kind_and_of_the_training_part(leaves: Path, tmp_path: Path) -> None:
    made = nearby.indexed(Fake(), bundle(tmp_path / "m", leaves, part="train"), leaves)
    assert len(made) == 18
    found = made.like((leaves / "rust" / "11.png").read_bytes(), limits=LIMITS)
    assert [one["labels"] for one in found] == [["rust"]] * 5
    similar = [one["similarity"] for one in found]
    assert similar == sorted(similar, reverse=True)
    assert similar[0] > 0.99
    own = made.like((leaves / "rust" / "03.png").read_bytes(), limits=LIMITS)[0]
    assert own["similarity"] == pytest.approx(1, abs=1e-4)
    kind, _, data = own["image"].partition(";base64,")
    assert kind == "data:image/png"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(shown, np.asarray(Image.open(leaves / "rust" / "03.png")))


def test_a_file_that_went_is_named_without_its_picture(leaves: Path, tmp_path: Path) -> None:
    made = nearby.indexed(Fake(), bundle(tmp_path / "m", leaves, part="train"), leaves)
    data = (leaves / "rust" / "03.png").read_bytes()
    (leaves / "rust" / "03.png").unlink()
    found = made.like(data, limits=LIMITS)
    assert [("image" in one) for one in found] == [False, True, True, True, True]


def test_what_was_not_trained_on_and_what_is_no_picture_are_refused(leaves: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        nearby.indexed(Fake(), bundle(tmp_path / "m", leaves, part="valid"), leaves)
    assert refused.value.code == "not-trained-on"
    with pytest.raises(DataError):
        nearby.indexed(Fake(), tmp_path / "none", leaves)
    made = nearby.indexed(Fake(), bundle(tmp_path / "n", leaves, part="train"), leaves)
    with pytest.raises(PictureError):
        made.like(b"no picture", limits=LIMITS)


def test_each_bundle_has_an_index_where_it_was_trained_on_the_source(leaves: Path, tmp_path: Path) -> None:
    paths = {"own": bundle(tmp_path / "m", leaves, part="train"), "other": tmp_path / "none"}
    both = {"own": Fake(), "other": Fake()}
    assert list(nearby.indexes(both, paths, str(leaves))) == ["own"]
    assert nearby.indexes(both, paths, None) == {}
    with pytest.raises(DataError):
        nearby.indexes({"other": Fake()}, paths, str(leaves))


def test_the_server_says_which_are_nearest(leaves: Path, tmp_path: Path) -> None:
    fake = Fake()
    index = nearby.indexed(fake, bundle(tmp_path / "m", leaves, part="train"), leaves)
    with served(fake, nearby={"colours": index}) as at:
        assert at.ask("GET", "/models")[1][0]["likes"] is True
        status, found, _ = at.ask("POST", "/nearest", picture((200, 90, 20)))
        assert (status, found["model"]) == (200, "colours")
        assert [one["labels"] for one in found["like"]] == [["rust"]] * 5
        assert at.ask("POST", "/nearest", b"no picture")[0] == 422
        assert at.form(picture(), picture(), path="/nearest")[0] == 400
    with served() as at:
        assert at.ask("GET", "/models")[1][0]["likes"] is False
        status, found, _ = at.ask("POST", "/nearest", picture())
        assert (status, found["error"]["code"]) == (501, "no-index")
