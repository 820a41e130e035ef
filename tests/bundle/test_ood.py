from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base.errors import BundleError
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle, load

RNG = np.random.default_rng(0)


def kept(small: tuple[Path, Path, Bundle], n: int = 200) -> Bundle:
    bundle = load(small[1])
    ood.keep(bundle, *rows(n))
    return bundle


def rows(n: int, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    features = RNG.normal(size=(n, 6)) + np.array([5, 0, 0, 0, 0, 0]) - shift * np.eye(6)[0] * 10
    return RNG.normal(size=(n, 3)).astype(np.float32), features.astype(np.float32)


def test_its_own_kind_passes_and_strangers_do_not(small) -> None:
    bundle = kept(small)
    own, other = ood.judged(bundle, *rows(400)), ood.judged(bundle, *rows(400, shift=1))
    assert own is not None
    assert other is not None
    assert 0.85 < (~own[0]).mean() <= 1
    assert other[0].all()
    for strange, share in (own, other):
        assert ((share >= 0.95) >= strange).all()
        assert (share[~strange] <= 0.95).all()


def test_what_is_kept_is_bounded(small) -> None:
    bundle = kept(small, 3000)
    assert bundle.references is not None
    assert bundle.references.shape == (2000, 6)
    assert bundle.references.dtype == np.float16
    assert bundle.config.ood.n == 3000
    wide = load(small[1])
    ood.keep(wide, rows(300)[0], RNG.normal(size=(300, 40_000)).astype(np.float32))
    assert wide.references is not None
    assert wide.references.nbytes <= ood.BYTES


def test_too_few_pictures_promise_nothing(small) -> None:
    bundle = kept(small, 19)
    assert bundle.references is None
    assert bundle.config.ood is None
    assert ood.judged(bundle, *rows(3)) is None


def test_saved_loaded_and_marked_in_predictions(small, tmp_path: Path) -> None:
    source, path, _ = small
    bundle = load(path)
    images = np.stack([bundle.pixels(file) for file in sorted(source.rglob("*.png"))])
    ood.keep(bundle, *bundle.outputs(images))
    bundle.save(tmp_path / "a.beholder")
    again = load(tmp_path / "a.beholder")
    assert (again.references == bundle.references).all()
    (line,) = beholder.predict(again, [next(source.rglob("*.png"))])
    assert line["ood"] in (True, False)
    assert 0 <= line["ood_score"] <= 1
    told = again(next(source.rglob("*.png")))
    assert (told.ood, told.ood_score) == (line["ood"], line["ood_score"])
    assert (line["stranger"], line["strangeness"]) == (line["ood"], line["ood_score"])  # for one release
    (tmp_path / "a.beholder" / ood.FILE).write_bytes(b"x")
    with pytest.raises(BundleError, match="references") as caught:
        load(tmp_path / "a.beholder")
    assert caught.value.code == "damaged"


def test_predictions_say_of_each_picture_whether_it_is_out_of_distribution(small) -> None:
    bundle = kept(small)
    (own, features), (_, far) = rows(40), rows(40, shift=1)
    strange, share = ood.judged(bundle, own, features)
    told = bundle.predictions(own, features)
    assert [one.ood for one in told] == strange.tolist()
    assert [one.ood_score for one in told] == pytest.approx(share, abs=5e-5)
    assert [one.label for one in told] == [bundle.guess(row).label for row in bundle.activated(own)]
    assert repr(told[0]).endswith(f"ood={told[0].ood}, ood_score={told[0].ood_score})")
    assert all(one.ood and one.ood_score >= 0.95 for one in bundle.predictions(own, far))
    (none,) = kept(small, 19).predictions(own[:1], features[:1])
    assert (none.ood, none.ood_score) == (None, None)
    features[3] = np.nan
    with pytest.raises(BundleError, match=r"1 of 40 pictures") as caught:
        bundle.predictions(own, features)
    assert caught.value.code == "not-finite"


def test_a_file_that_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        ood.decoded(ood.encoded(np.zeros((2, 2))))  # type: ignore[arg-type]
