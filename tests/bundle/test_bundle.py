from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import beholder
from beholder.base.errors import BundleError, PictureError
from beholder.bundle.answers import answers
from beholder.bundle.bundle import load

READ = """
import sys, numpy, beholder
bundle = beholder.load(sys.argv[1])
images = numpy.stack([bundle.pixels(path) for path in sys.argv[3:]])
numpy.save(sys.argv[2], bundle.probabilities(images))
"""


def test_a_fresh_process_gives_bit_identical_probabilities(small, tmp_path: Path) -> None:
    source, path, bundle = small
    files = [str(file) for file in sorted(source.rglob("*.png"))]
    subprocess.run([sys.executable, "-c", READ, str(path), str(tmp_path / "p.npy"), *files], check=True)
    here = bundle.probabilities(np.stack([bundle.pixels(file) for file in files]))
    assert np.array_equal(np.load(tmp_path / "p.npy"), here)
    assert here.shape == (36, 3)
    assert np.allclose(here.sum(axis=1), 1, atol=1e-6)


def test_a_picture_is_the_same_as_path_bytes_or_array(small) -> None:
    source, _, bundle = small
    file = source / "rust" / "00.png"
    from PIL import Image

    array = np.asarray(Image.open(file))
    guesses = [bundle(file), bundle(str(file)), bundle(file.read_bytes()), bundle(array)]
    assert len({str(guess.probabilities) for guess in guesses}) == 1
    assert guesses[0].label == "rust"
    assert guesses[0].p == max(guesses[0].probabilities.values())
    assert bundle([file, array])[1].probabilities == pytest.approx(guesses[0].probabilities, abs=1e-6)
    assert bundle([]) == []


def test_what_cannot_be_read_is_a_picture_error(small, tmp_path: Path) -> None:
    bundle = small[2]
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    for bad, code in ((text, "not-a-picture"), (tmp_path / "gone.jpg", "path-missing"), (b"", "empty")):
        with pytest.raises(PictureError) as caught:
            bundle(bad)
        assert caught.value.code == code


def test_saving_and_loading_keeps_everything(small, tmp_path: Path) -> None:
    bundle = small[2]
    again = load(bundle.save(tmp_path / "again.beholder"))
    assert again.classes == ("healthy", "mildew", "rust")
    assert (again.recipe, again.history, again.splits) == (bundle.recipe, bundle.history, bundle.splits)
    assert again.policy == bundle.policy
    parts = [part for _, part in again.splits]
    assert (parts.count("train"), parts.count("valid"), parts.count("test")) == tuple(again.config.parts.values())
    assert again.part_of([again.splits[0][0], "0" * 64]) == ["train", ""]
    assert "trained with Beholder" in (tmp_path / "again.beholder" / "README.md").read_text()
    assert not [file for file in (tmp_path / "again.beholder").iterdir() if file.suffix in (".pkl", ".pt", ".bin")]


def test_readings_of_the_test_part_are_counted_on_disk(small, tmp_path: Path) -> None:
    source, _, bundle = small
    (bundle.save(tmp_path / "counted.beholder") / "readings.json").unlink(missing_ok=True)  # other tests read it, too
    saved = load(tmp_path / "counted.beholder")
    first, second = beholder.evaluate(saved, source), beholder.evaluate(saved, source)
    assert len(load(tmp_path / "counted.beholder").readings) == 2
    assert "read once" in first.notes[-1]
    assert "2 times" in second.notes[-1]


def test_readings_go_with_a_copy_and_a_bundle_without_any_has_none(small, tmp_path: Path) -> None:
    bundle = load(small[2].save(tmp_path / "first.beholder"))
    bundle.count_reading(3, "2026-01-01T00:00:00+00:00")
    again = bundle.save(tmp_path / "second.beholder")
    assert load(again).readings == bundle.readings
    assert json.loads((again / "readings.json").read_bytes())[-1]["when"] == "2026-01-01T00:00:00+00:00"
    (again / "readings.json").unlink()
    assert load(again).readings == []


def test_a_net_of_the_users_is_not_run_unasked(tmp_path: Path, leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "own_nets_for_bundles.py"
    module.write_text(
        "from torch import nn\n"
        "def tiny(*, channels, size, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    parts = beholder.split(beholder.scan(leaves))
    bundle = beholder.train(parts, net="own_nets_for_bundles:tiny", epochs=1, out=tmp_path / "own.beholder")
    with pytest.raises(BundleError) as caught:
        load(tmp_path / "own.beholder")
    assert caught.value.code == "untrusted-net"
    image = np.zeros((1, 3, bundle.policy.height, bundle.policy.width), np.uint8)
    trusted = load(tmp_path / "own.beholder", trust=True)
    assert np.array_equal(trusted.probabilities(image), bundle.probabilities(image))


def test_weights_that_do_not_fit_the_config_are_refused(small, tmp_path: Path) -> None:
    bundle = small[2]
    from dataclasses import replace

    broken = replace(bundle, net=torch.nn.Linear(2, 2), path=None)
    broken.save(tmp_path / "broken.beholder")
    with pytest.raises(BundleError) as caught:
        load(tmp_path / "broken.beholder")
    assert caught.value.code == "inconsistent"


def test_multi_label_guesses_name_every_class_above_its_threshold(small) -> None:
    from dataclasses import replace

    bundle = small[2]
    multi = replace(bundle, config=replace(bundle.config, task="multi", thresholds=(0.5, 0.2, 0.9)))
    guess = multi.guess(np.array([0.6, 0.3, 0.8], np.float32))
    assert (guess.label, guess.p) == ("healthy;mildew", pytest.approx(0.3))
    none = multi.guess(np.array([0.1, 0.1, 0.2], np.float32))
    assert (none.label, none.p) == (None, pytest.approx(0.8))


def test_no_label_above_its_threshold_is_null_and_never_empty(small) -> None:
    from dataclasses import replace

    bundle = small[2]
    multi = replace(bundle, config=replace(bundle.config, task="multi", thresholds=(1.0, 1.0, 1.0)))
    images = np.zeros((2, bundle.policy.channels, bundle.policy.height, bundle.policy.width), np.uint8)
    found = json.loads(json.dumps(answers(multi, images)))
    assert [line["label"] for line in found] == [None, None]
    assert all(0 <= line["p"] <= 1 and len(line["probabilities"]) == 3 for line in found)


def test_of_no_pictures_there_is_nothing_to_say(small) -> None:
    bundle = small[2]
    logits, features = bundle.outputs(np.zeros((0, 3, bundle.config.pixels.height, bundle.config.pixels.width), np.uint8))
    assert (logits.shape, features.shape) == ((0, 3), (0, 0))
    assert logits.dtype == features.dtype == np.float32


def test_it_says_by_what_plan_it_was_trained(small) -> None:
    plan = small[2].config.plan
    assert plan["net"] == small[2].config.net.name
    assert plan["batch"] >= 1
