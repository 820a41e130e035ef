"""What folders, files and columns call the parts train, valid and test."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from beholder.base.names import composed

_WORDS = {
    "train": 0, "training": 0, "trn": 0, "trainval": 0, "valid": 1, "val": 1, "validation": 1, "validate": 1, "dev": 1,
    "development": 1, "test": 2, "testing": 2, "tst": 2, "holdout": 2, "heldout": 2, "eval": 2, "evaluation": 2,
    "训练": 0, "验证": 1, "测试": 2, "訓練": 0, "学習": 0, "検証": 1, "テスト": 2, "학습": 0, "검증": 1, "테스트": 2,
    "обучение": 0, "тест": 2, "trainings": 0, "validierung": 1, "validierungs": 1, "entrainement": 0, "entraînement": 0,
    "apprentissage": 0, "entrenamiento": 0, "validación": 1, "prueba": 2, "treino": 0, "treinamento": 0, "teste": 2,
    "validação": 1, "addestramento": 0, "validazione": 1,
}  # fmt: skip
"""Words for the parts, in lower case; values are indices into `PARTS`."""

_FILLERS = {
    "set", "sets", "data", "dataset", "datasets", "image", "images", "img", "imgs", "picture", "pictures", "pics", "photo",
    "photos", "jpg", "jpeg", "jpegs", "png", "split", "part", "subset", "folder", "dir", "files", "samples", "batch",
    "metadata", "labels", "annotations", "public", "private", "集", "daten", "bilder", "satz",
}  # fmt: skip
"""Words beside them that say nothing about what a picture shows."""

_JOINED = {("hold", "out"): "holdout", ("held", "out"): "heldout", ("train", "val"): "trainval", ("train", "valid"): "trainval"}


@lru_cache(maxsize=65536)
def divided(name: str) -> tuple[int | None, tuple[str, ...]]:
    """Return the part that a name speaks of (None: of none, or of several), and its words that mean something else.

    >>> divided("training_set"), divided("seg_train"), divided("trainer")
    ((0, ()), (0, ('seg',)), (None, ('trainer',)))
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed(name.strip()))
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    for i in range(len(words) - 1):
        joined = _JOINED.get((words[i], words[i + 1]))
        words[i : i + 2] = [joined, ""] if joined else words[i : i + 2]
    parts: set[int] = set()
    rest: list[str] = []
    for word in filter(None, words):
        part = _of_word(word)
        if part is not None:
            parts.add(part)
        elif word not in _FILLERS:
            rest.append(word)
    return (parts.pop() if len(parts) == 1 else None), tuple(rest)


def _of_word(word: str) -> int | None:
    """Return the part of one word in lower case, which may have a word such as "set" grown to it: trainset, testdata."""
    if word in _WORDS:
        return _WORDS[word]
    for filler in _FILLERS:
        bare = word.removesuffix(filler) if word.endswith(filler) else word.removeprefix(filler)
        if bare != word and bare in _WORDS:
            return _WORDS[bare]
    return None


def part_of(name: str) -> int | None:
    """Return the index into `PARTS` that a folder's or a cell's name stands for, or None.

    >>> part_of("test_set"), part_of("val2017"), part_of("Images-Train"), part_of("train station")
    (2, 1, 0, None)
    """
    part, rest = divided(name)
    return None if rest else part


def says_nothing(name: str) -> bool:
    """Return True for a folder whose name is no class, such as "images" or "dataset"."""
    part, rest = divided(name)
    return part is None and not rest and bool(re.search(r"[^\W\d_]", name))


def in_part(path: str) -> int:
    """Return the index into `PARTS` that a word of a path stands for, the last one that does; else -1.

    >>> in_part("data/train-00000-of-00002.parquet"), in_part("val2017/1.jpg"), in_part("trainer.tar")
    (0, 1, -1)
    """
    found = [part for name in path.split("/") if (part := _in_name(name)) is not None]
    return found[-1] if found else -1


@lru_cache(maxsize=65536)
def _in_name(name: str) -> int | None:
    part = divided(name)[0]
    if part is not None:
        return part
    found = [part for word in re.findall(r"[^\W\d_]+", name.lower()) if (part := _of_word(word)) is not None]
    return found[-1] if found else None


def among(names: Collection[str]) -> dict[str, int]:
    """Return which of the folders beside each other are named as parts, by themselves or as seg_train and seg_test are.

    >>> sorted(among(["seg_train", "seg_test", "seg_pred"]).items())
    [('seg_test', 2), ('seg_train', 0)]
    """
    rests: dict[tuple[str, ...], dict[str, int]] = {}
    for name in names:
        part, rest = divided(name)
        if part is not None:
            rests.setdefault(rest, {})[name] = part
    return {
        name: part for rest, same in rests.items() if not rest or len(set(same.values())) > 1 for name, part in same.items()
    }
