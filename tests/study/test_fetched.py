"""Each verb that takes a source or pictures fetches what lies elsewhere where it may, and else says how to allow it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.sources.conftest import Storage
from tests.sources.conftest import _s3 as _s3
from tests.sources.conftest import storage as storage
from typer.main import get_command

import beholder
from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.cli.commands import app
from beholder.evaluation.sections import examined
from beholder.explanation.look import look
from beholder.learn.distil import taught_by
from beholder.runtime.export import export
from beholder.server.loading import Bundles
from beholder.sources.remote import not_allowed
from beholder.study import unlabelled
from beholder.study.policy import Curated
from beholder.study.ranges import predict_parts
from beholder.study.synthetic import _offered

Small = tuple[Path, Path, Any]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path) -> Iterator[None]:
    beholder.cache(tmp_path / "cache")
    with events.listen(alone=True):
        yield


@pytest.fixture
def site(tmp_path: Path, small: Small) -> Iterator[str]:
    """The address of a server of this machine that has the pictures in set.zip, and one of them as leaf.png."""
    folder = tmp_path / "site"
    shutil.make_archive(str(folder / "set"), "zip", small[0])
    shutil.copy(small[0] / "rust" / "00.png", folder / "leaf.png")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}/"
    listener.shutdown()
    listener.server_close()
    thread.join()


def parts_of(bundle: Any, zipped: str, out: Path, allowed: bool) -> object:
    return predict_parts(bundle.path, zipped, out / "parts", allow_download=allowed)


def labelled(zipped: str, out: Path, allowed: bool) -> object:
    """Begin to label, which ends where a table cannot name what was fetched."""
    with pytest.raises(UsageError) as caught:
        beholder.label(zipped, classes="a,b", out=out / "labels.csv", allow_download=allowed)
    if caught.value.code != "no-files":
        raise caught.value
    return caught.value


def joined(bundle: Any, zipped: str, allowed: bool) -> object:
    """Look at pictures without labels as `train` does that are offered to its training part."""
    parts = beholder.split(beholder.scan(bundle.source), seed=0)
    recipe = beholder.Recipe().set(unlabelled=zipped, audit="off")
    recipe, beside = taught_by(recipe, bundle, allow_download=allowed)
    return unlabelled.joining(Curated(parts), recipe, beside, began=0.0, until=beholder.base.deadline.NEVER)


def made(bundle: Any, zipped: str, allowed: bool) -> object:
    """Look at made pictures as `train` does that are offered to its training part."""
    parts = beholder.split(beholder.scan(bundle.source), seed=0)
    recipe, beside = taught_by(beholder.Recipe().set(synthetic=zipped), allow_download=allowed)
    return _offered(parts, recipe, beside, None, beholder.base.deadline.NEVER, again=False)


Verb = Callable[[Any, str, str, Path, bool], Any]
VERBS: dict[str, Verb] = {
    "predict pictures": lambda b, one, _, __, ok: list(beholder.predict(b, [one], allow_download=ok)),
    "predict an archive": lambda b, _, zipped, __, ok: list(beholder.predict(b, zipped, allow_download=ok)),
    "predict in parts": lambda b, _, zipped, out, ok: parts_of(b, zipped, out, ok),
    "explain": lambda b, one, _, __, ok: beholder.explain(b, one, method="gradients", allow_download=ok),
    "explain like": lambda b, _, zipped, __, ok: beholder.explain(
        b, np.zeros((20, 24, 3), np.uint8), method="gradients", like=zipped, allow_download=ok
    ),
    "look": lambda b, one, _, __, ok: look(b, one, allow_download=ok),
    "label": lambda _, __, zipped, out, ok: labelled(zipped, out, ok),
    "show": lambda _, __, zipped, out, ok: beholder.show(zipped, out=out / "show.html", allow_download=ok),
    "export like": lambda b, _, zipped, out, ok: export(b, out / "m.onnx", like=zipped, force=True, allow_download=ok),
    "serve like": lambda b, _, zipped, __, ok: Bundles({"m": b.path}, like=zipped, allow_download=ok).load().nearby["m"],
    "unlabelled": lambda b, _, zipped, __, ok: joined(b, zipped, ok),
    "synthetic": lambda b, _, zipped, __, ok: made(b, zipped, ok),
}


@pytest.mark.parametrize("name", list(VERBS))
def test_a_verb_fetches_where_it_may(name: str, site: str, small: Small, tmp_path: Path) -> None:
    bundle = small[2]
    bundle.source = small[0]
    given = bundle, site + "leaf.png", site + "set.zip", tmp_path
    with pytest.raises(UsageError) as caught:
        VERBS[name](*given, False)
    assert (caught.value.code, caught.value.hint) == ("download-not-allowed", not_allowed("").hint)
    found = VERBS[name](*given, True)
    assert found is not None
    assert name != "predict an archive" or [len(found), found[0]["path"]] == [36, f"{site}set.zip/healthy/00.png"]
    assert name != "serve like" or len(found) > 0


def test_out_of_distribution_pictures_are_fetched_where_they_may(site: str, small: Small) -> None:
    evaluation = beholder.evaluate(small[2], small[0])
    for allowed in (False, True):
        found = examined(small[2], evaluation, ["ood"], ood=[site + "set.zip"], allow_download=allowed)
        assert ("set.zip" in found.sections.get("ood", {}).get("sets", {})) is allowed


@pytest.mark.parametrize("of", ["a folder", "a picture", "a zip"])
def test_pictures_on_object_storage_are_recognised(of: str, storage: Storage, small: Small, tmp_path: Path) -> None:
    source, path, bundle = small
    url = storage.put(source, "leaves")
    name = {"a folder": url, "a picture": f"{url}rust/00.png", "a zip": f"s3://{storage.bucket}/set.zip"}[of]
    if of == "a zip":
        storage.write("set.zip", Path(shutil.make_archive(str(tmp_path / "set"), "zip", source)).read_bytes())
    with pytest.raises(UsageError, match="not allowed"):
        list(beholder.predict(bundle, [name]))
    lines = list(beholder.predict(bundle, [name], allow_download=True))
    files = sorted(source.rglob("*.png")) if of != "a picture" else [source / "rust" / "00.png"]
    plain = list(beholder.predict(bundle, files))
    top = url if of == "a folder" else f"{name}/"
    named = [name] if of == "a picture" else [top + file.relative_to(source).as_posix() for file in files]
    assert [line["path"] for line in lines] == named
    assert [line["probabilities"] for line in lines] == [line["probabilities"] for line in plain]
    if of == "a folder":
        done = predict_parts(path, name, tmp_path / "parts", allow_download=True)
        assert (done.pictures, done.answered) == (36, 36)


@pytest.mark.parametrize(
    ("name", "code"), [("leaves", "no-picture"), ("leaves/none.png", "path-missing")], ids=["a folder", "nothing"]
)
def test_what_is_no_picture_on_object_storage(name: str, code: str, storage: Storage, small: Small) -> None:
    storage.put(small[0], "leaves")
    with pytest.raises(UsageError) as caught:
        small[2]([f"s3://{storage.bucket}/{name}"], allow_download=True)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


def test_parts_of_several_sources_are_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies elsewhere") as caught:
        predict_parts(small[1], ["a.png", "https://example.org/set.zip"], tmp_path / "parts", allow_download=True)
    assert caught.value.code == "several-sources"


def test_a_table_that_cannot_name_the_pictures_is_refused_before_they_are_looked_at(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beholder.study.label._features", lambda *_: pytest.fail("it looked at pictures first"))
    with pytest.raises((UsageError, DataError)) as caught:
        beholder.label(site + "set.zip", classes="a,b", out=tmp_path / "labels.csv", allow_download=True)
    assert (caught.value.code, "--out FOLDER" in caught.value.hint) == ("no-files", True)


def test_each_command_with_a_source_has_the_option() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        options = {option for each in command.params for option in each.opts}
        words = {each.metavar for each in command.params if each.param_type_name == "argument" or each.metavar == "SOURCE"}
        assert ("--allow-download" in options) is bool(words & {"SOURCE", "PATH...", "IMAGE", "FOLDER"}), f"{name}: {words}"
