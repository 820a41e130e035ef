"""Data sets of PyTorch as sources."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from torchvision.datasets import FakeData
from torchvision.transforms import Compose, Normalize, ToTensor

import beholder
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.data.arrays import arrays


class Cells(Dataset[Any]):
    """Twelve pictures of the grey level 20·i, with labels i mod 3, made into what an item may be."""

    def __init__(self, picture: Any = None, label: Any = None, **more: Any) -> None:
        self.picture, self.label = picture or (lambda x: x), label or (lambda k: k)
        self.__dict__.update(more)

    def __getitem__(self, i: int) -> Any:
        if i >= 12:
            raise IndexError(i)
        return self.picture(Image.new("RGB", (6, 5), (20 * i, 0, 0))), self.label(i % 3)

    def __len__(self) -> int:
        return 12


def reds(pictures: beholder.Pictures) -> list[int]:
    """Return the red level of every picture, as bytes."""
    found = [np.asarray(pictures.store.read(key)) for key in pictures.keys]
    assert {picture.shape for picture in found} == {(5, 6, 3)}
    return [round(float(p[0, 0, 0]) * (255 if p.dtype.kind == "f" else 1)) for p in found]


@pytest.mark.parametrize(
    "picture",
    [None, ToTensor(), lambda x: torch.from_numpy(np.array(x)).movedim(2, 0), np.array, lambda x: np.array(x).astype(int)],
    ids=["pil", "float tensor", "byte tensor", "array", "int64"],
)
@pytest.mark.parametrize("label", [None, torch.tensor, np.int64, str, float], ids=["int", "tensor", "numpy", "text", "float"])
def test_whatever_an_item_may_be(picture: Any, label: Any) -> None:
    found = beholder.scan(Cells(picture, label))
    assert found.classes == ("0", "1", "2")
    assert found.targets.tolist() == [i % 3 for i in range(12)]
    assert reds(found) == [20 * i for i in range(12)]
    assert found.store.stamp(found.keys[0]) == ""
    with pytest.raises(PictureError):
        found.store.read("12")


def test_classes_are_called_as_the_set_calls_them() -> None:
    found = beholder.scan(Cells(classes=["cat", "dog", "eel"]))
    assert [found.classes[k] for k in found.targets[:4]] == ["cat", "dog", "eel", "cat"]
    with pytest.raises(DataError, match="2 names") as caught:
        beholder.scan(Cells(classes=["cat", "dog"]))
    assert caught.value.code == "bad-dataset"


def test_subsets_and_sums_keep_names_and_order() -> None:
    named = Cells(classes=["cat", "dog", "eel"])
    found = beholder.scan(Subset(named, [4, 2, 9]))
    assert [found.classes[k] for k in found.targets] == ["dog", "eel", "cat"]
    assert reds(found) == [80, 40, 180]
    both = beholder.scan(ConcatDataset([named, named]))
    assert (len(both), both.classes) == (24, ("cat", "dog", "eel"))
    first, _ = random_split(named, [8, 4], generator=torch.Generator().manual_seed(0))
    assert len(beholder.scan(first)) == 8


def test_labels_that_a_set_lists_are_taken_where_its_items_bear_them_out() -> None:
    read: list[int] = []
    targets = [i % 3 for i in range(12)] * 100
    listed = Long(label=lambda k: read.append(k) or k, targets=targets)
    assert beholder.scan(listed).targets.tolist() == targets
    assert len(read) == 65, "32 items are looked at, twice, and one of the class that is not among them"
    below = beholder.scan(Subset(listed, [5, 1, 0]))
    assert [below.classes[k] for k in below.targets] == ["2", "1", "0"]
    named = Cells(label=lambda k: "abc"[k], targets=torch.arange(12) % 3, classes=["a", "b", "c"])
    assert beholder.scan(named).classes == ("a", "b", "c")


class Long(Cells):
    """The same twelve pictures a hundred times."""

    def __getitem__(self, i: int) -> Any:
        return super().__getitem__(i % 12)

    def __len__(self) -> int:
        return 1200


class Remapped(Dataset[Any]):
    """Some items of a set, as `Subset` keeps them, with the label 2 told as 0."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, i: int) -> Any:
        x, y = self.dataset[self.indices[i]]
        return x, y % 2

    def __len__(self) -> int:
        return len(self.indices)


class Rare(Long):
    """One class has a single item, which bears another label than the set lists."""

    targets = [i % 2 for i in range(1199)] + [7]

    def __getitem__(self, i: int) -> Any:
        return super().__getitem__(i)[0], (self.targets[i] if i < 1199 else 0)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (Cells(label=lambda k: k % 2, targets=[i % 3 for i in range(12)]), [i % 3 % 2 for i in range(12)]),
        (Remapped(Cells(targets=[i % 3 for i in range(12)]), range(3, 9)), [0, 1, 0, 0, 1, 0]),
        (Cells(targets=[0] * 12, target_transform=int), [i % 3 for i in range(12)]),
        (Cells(targets=[float("inf")] * 12), [i % 3 for i in range(12)]),
        (Cells(datasets=7), [i % 3 for i in range(12)]),
        (Cells(dataset=Cells(targets=[0, 1, 2]), indices=range(12)), [i % 3 for i in range(12)]),
        (Rare(), [i % 2 for i in range(1199)] + [0]),
    ],
    ids=["parity", "subset", "transform", "no labels", "no data sets", "out of range", "one item of a class"],
)
def test_labels_of_items_overrule_those_that_a_set_lists(source: Any, wanted: list[int]) -> None:
    found = beholder.scan(source)
    assert [int(found.classes[k]) for k in found.targets] == wanted


def test_pictures_and_labels_that_are_stacked() -> None:
    """The labels of the parts are not those of the whole, whose items are (picture of one, label of the other)."""
    greys, marks = Greys(range(12)), Marks([0, 1] * 6)
    greys.targets, marks.targets = [0, 1, 2] * 4, [0, 1] * 6  # type: ignore[attr-defined]
    found = beholder.scan(StackDataset(greys, marks))
    assert (len(found), found.targets.tolist()) == (12, [0, 1] * 6)
    with pytest.raises(DataError, match="a dict without a label") as caught:
        beholder.scan(StackDataset(image=greys, label=marks))
    assert "hf:OWNER/NAME" in caught.value.hint


class Marks(Dataset[Any]):
    """Labels alone."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __getitem__(self, i: int) -> Any:
        return self.values[i]

    def __len__(self) -> int:
        return len(self.values)


class Greys(Marks):
    """Pictures alone."""

    def __getitem__(self, i: int) -> Any:
        return np.full((5, 6), 20 * self.values[i], np.uint8)


@pytest.mark.parametrize("nan", [float("nan"), np.float32("nan"), torch.tensor(float("nan")), np.array([np.nan])], ids=repr)
def test_nan_is_no_label(nan: Any) -> None:
    found = beholder.scan(StackDataset(Greys(range(6)), Marks([0, nan, 1, -1, 1, nan])))
    assert (list(found.keys), found.targets.tolist()) == (["0", "2", "4"], [0, 1, 1])


def test_fake_data_of_torchvision_is_a_source_to_the_end() -> None:
    fake = FakeData(size=10, image_size=(3, 8, 8), num_classes=2, transform=ToTensor())
    found = beholder.scan(fake)
    np.testing.assert_allclose(found.store.read("3"), fake[3][0].numpy().transpose(1, 2, 0))
    assert [found.classes[k] for k in found.targets] == [str(int(fake[i][1])) for i in range(10)]
    (x, _), (x_test, _) = arrays(fake)  # type: ignore[arg-type]
    assert (x.shape[1:], len(x) + len(x_test)) == ((8, 8, 3), 10)


def test_normalised_pictures_are_scaled_back_alike() -> None:
    wide = Cells(Compose([ToTensor(), Normalize((0.5,) * 3, (0.25,) * 3)]))
    found = beholder.scan(wide)
    assert "from -2 to" in found.notes[0]
    read = [float(np.asarray(found.store.read(key))[0, 0, 0]) for key in found.keys]
    np.testing.assert_allclose(read, np.arange(12) / 11, atol=1e-6)


def test_rows_of_0_and_1_are_several_labels() -> None:
    several = beholder.scan(Cells(label=lambda k: torch.tensor([1, int(k > 0), 0]), classes=["sky", "tree", "sea"]))
    assert several.multi
    assert several.targets.sum(axis=0).tolist() == [12, 8]
    one = beholder.scan(Cells(label=lambda k: np.eye(3)[k], classes=["sky", "tree", "sea"]))
    assert not one.multi
    assert one.classes == ("sea", "sky", "tree")


def test_without_labels() -> None:
    assert len(beholder.scan(Cells(), labels=False)) == 12
    bare = beholder.scan(TensorDataset(torch.rand(5, 3, 4, 4) * 4 - 2), labels=None)
    assert (len(bare), bare.classes) == (5, ())
    values = np.stack([bare.store.read(key) for key in bare.keys])
    assert (values.min(), values.max()) == (0, 1)


class Endless(Dataset[Any]):
    def __getitem__(self, i: int) -> Any:
        return torch.rand(3, 4, 4), 0


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


class Broken(Cells):
    def __getitem__(self, i: int) -> Any:
        if i == 3:
            raise RuntimeError("no such file")
        return super().__getitem__(i)


class Seldom(Long):
    """One reading in ten gives another picture, as random transforms do that seldom strike."""

    rng = np.random.default_rng(0)

    def __getitem__(self, i: int) -> Any:
        x, y = super().__getitem__(i)
        return (x if self.rng.random() < 0.9 else x.point(lambda v: 255 - v)), y


@pytest.mark.parametrize("kind", [AttributeError, EOFError, AssertionError, struct.error, zlib.error, RuntimeError, KeyError])
def test_one_item_that_cannot_be_read_is_a_picture_that_cannot_be_read(kind: type[Exception]) -> None:
    def picture(x: Image.Image) -> Image.Image:
        if broken and x.getpixel((0, 0)) == (60, 0, 0):
            raise kind("lost")
        return x

    broken = False
    found = beholder.scan(Cells(picture))
    broken = True
    with pytest.raises(PictureError, match=f"picture 03 of Cells: {kind.__name__}: .*lost"):
        found.store.read("03")


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (Endless(), "bad-source", "no length"),
        (Stream(), "bad-source", "no length"),
        (DataLoader(Cells()), "bad-source", "batches"),
        (Broken(), "bad-dataset", "item 3 .* no such file"),
        (Cells(lambda x: "a.jpg"), "bad-dataset", "no picture"),
        (Cells(lambda x: torch.rand(1, 3, 4, 4)), "bad-dataset", r"shape \(1, 3, 4, 4\)"),
        (Cells(label=lambda k: {"boxes": []}), "bad-dataset", "a label is"),
        (Cells(label=lambda k: k + 0.5), "bad-dataset", "a label is"),
        (Cells(label=lambda k: float("inf")), "bad-dataset", "a label is 'inf'"),
        (Cells(label=lambda k: torch.tensor(-np.inf)), "bad-dataset", "a label is"),
        (Cells(label=lambda k: torch.rand(4)), "bad-dataset", "a label is"),
        (TensorDataset(torch.rand(5, 3, 4, 4)), "no-labels", "without a label"),
        (Cells(lambda x: torch.rand(3, 5, 6)), "random-pictures", "another picture"),
        (Seldom(), "random-pictures", "another picture"),
        (TensorDataset(torch.rand(0, 3, 4, 4), torch.zeros(0)), "no-pictures", "no pictures"),
        (Cells(label=lambda k: 1), "one-class", "class"),
        (torch.rand(3, 4, 4), "bad-source", "data set"),
        ({"x": 1}, "bad-source", "dict"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:12],
)
def test_what_is_no_fit_source_is_refused(source: Any, code: str, words: str) -> None:
    with pytest.raises((UsageError, DataError), match=words) as caught:
        beholder.scan(source)
    assert caught.value.code == code
    assert caught.value.hint
