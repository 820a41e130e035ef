"""Data sets of PyTorch as sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split
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


def test_labels_that_a_set_lists_are_not_read_from_its_items() -> None:
    read: list[int] = []
    listed = Cells(label=lambda k: read.append(k) or k, targets=[2 - i % 3 for i in range(12)])
    assert beholder.scan(listed).targets.tolist() == [(2 - i % 3) for i in range(12)]
    assert len(read) == 16, "eight items are looked at, twice"
    below = beholder.scan(Subset(listed, [0, 1, 5]))
    assert [below.classes[k] for k in below.targets] == ["2", "1", "0"]
    changed = Cells(targets=[0] * 12, target_transform=int)
    assert beholder.scan(changed).targets.tolist() == [i % 3 for i in range(12)], "what changes labels is asked"


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
        (Cells(label=lambda k: torch.rand(4)), "bad-dataset", "a label is"),
        (TensorDataset(torch.rand(5, 3, 4, 4)), "no-labels", "without a label"),
        (Cells(lambda x: torch.rand(3, 5, 6)), "random-pictures", "another picture"),
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
