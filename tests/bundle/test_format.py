from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from beholder.base.errors import BundleError, MachineError, UsageError
from beholder.bundle import format
from beholder.bundle.bundle import Bundle, load


@pytest.fixture
def copy(small, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small[1], tmp_path / "copy.beholder"))


def _flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", [*format.HASHED, format.CONFIG])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.95])
def test_one_changed_bit_is_found(copy: Path, name: str, where: float) -> None:
    file = copy / name
    _flip(file, int(file.stat().st_size * where))
    with pytest.raises(BundleError) as caught:
        load(copy)
    assert caught.value.code in ("damaged", "newer-schema")
    assert caught.value.hint


@pytest.mark.parametrize("name", format.HASHED)
def test_a_missing_or_longer_file_is_found(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(BundleError, match="bytes instead of"):
        load(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match="missing"):
        load(copy)


def test_a_newer_schema_says_so(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "schema": format.SCHEMA + 1}))
    with pytest.raises(BundleError) as caught:
        load(copy)
    assert caught.value.code == "newer-schema"
    assert "update" in caught.value.hint
    assert f"schema {format.SCHEMA + 1}," in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", '{"schema": "1"}', "[" * 100_000, '{"schema": 1, "x": NaN, "seal": ""}']
)
def test_a_config_that_is_no_config_is_refused(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(BundleError):
        load(copy)


def test_no_bundle_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        load(tmp_path / "nothing.beholder")
    assert (missing.value.exit_code, missing.value.hint) == (2, "found here: none")
    (tmp_path / "other.beholder").mkdir()
    with pytest.raises(UsageError) as beside:
        load(tmp_path / "nothing.beholder")
    assert beside.value.hint == "found here: other.beholder"
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError) as empty:
        load(tmp_path / "empty")
    assert (empty.value.code, empty.value.exit_code) == ("not-a-bundle", 1)


def test_something_else_is_never_overwritten(small, tmp_path: Path) -> None:
    file = tmp_path / "precious.beholder"
    file.write_text("precious")
    with pytest.raises(UsageError):
        small[2].save(file)
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_text("precious")
    with pytest.raises(UsageError):
        small[2].save(folder)
    assert file.read_text() == (folder / "a.jpg").read_text() == "precious"
    weights = tmp_path / "mobilenet"
    weights.mkdir()
    (weights / "config.json").write_text('{"architecture": "mobilenetv2_100"}')
    with pytest.raises(UsageError):
        small[2].save(weights)


def test_a_bundle_that_a_kill_left_aside_is_found(copy: Path) -> None:
    copy.rename(copy.with_name(".copy.beholder.old"))
    assert load(copy).classes == ("healthy", "mildew", "rust")


def test_a_full_disk_while_saving_leaves_the_older_bundle_whole(
    small: tuple[Path, Path, Bundle], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "scores.json":
            raise OSError(28, "No space left on device")
        return real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(MachineError) as caught:
            small[2].save(copy)
    assert caught.value.code == "disk-full"
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]
    load(copy)


def test_the_header_of_the_weights_is_bounded(copy: Path) -> None:
    weights = copy / format.WEIGHTS
    data = (2**40).to_bytes(8, "little") + weights.read_bytes()[8:]
    weights.write_bytes(data)
    config = json.loads((copy / "config.json").read_text())
    config.pop("seal")
    config["files"][format.WEIGHTS] = {"bytes": len(data), "sha256": format.sha256(data)}
    (copy / "config.json").write_bytes(format._sealed(config))
    with pytest.raises(BundleError, match="header"):
        load(copy)
