"""`ImageClassifier`: the training of `beholder.train` behind scikit-learn's interface."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from beholder.base import events
from beholder.base.arrays import F32, F64, U8, Bools
from beholder.base.errors import DataError, UsageError
from beholder.base.recipe import Recipe, find
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.base.used import changed
from beholder.bundle.bundle import Bundle
from beholder.bundle.zipped import packed, unpacked
from beholder.data.split import split
from beholder.image.sandbox import decoders
from beholder.nets.build import known
from beholder.sources.digest import digested
from beholder.sources.listing import some
from beholder.study.door import train
from beholder.study.samples import ROWS, Samples, given, labels, learnt, numbered, seed_of, telling, value_errors

AT_ONCE = 256
"""Pictures that are decoded and answered at a time."""

NAMED = ("net", "weights", "size", "augment", "epochs", "minutes", "batch", "lr")
"""Parameters that are fields of the recipe by the same name."""

NONE = np.zeros(0, np.int64)


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of pictures with scikit-learn's interface, trained as `beholder.train` trains (docs/SKLEARN.md).

    X: uint8 arrays (N, H, W) or (N, H, W, C); a list, array or column of paths; a list of pictures of Pillow, of encoded bytes
       or of arrays of several sizes; or numbers (N, F), each row the pixels of a picture of `shape`
    y: (N,) classes as numbers or text, or (N, K) of 0 and 1, several labels a picture

    net, weights, size, augment, epochs, minutes, batch, lr: fields of the recipe (docs/RECIPES.md); None: as `recipe` has them
       net may also be an nn.Module, of which a copy is trained, or what makes one (docs/PYTORCH.md)
    recipe: a Recipe, the name of one, or the path of a TOML file; fields: a dict of other fields of it, by name
    class_weight: None, or "balanced": rare classes count as much as common ones
    validation_fraction: share of the pictures on which weights are chosen and probabilities calibrated, with near-duplicates
       and `groups` in one part; shape: (H, W) or (H, W, C) of the picture that a row of numbers is; None: one row of pixels
    random_state: split, initial weights, order and augmentation follow from it; None: drawn from NumPy's global generator
    verbose: whether what is done is said; warnings always are

    After `fit`: classes_ (K,); bundle_: the trained `Bundle`; n_features_in_: numbers in a picture, where X is one array;
    net_: your net as it was given, None for one that is named.
    """

    def __init__(
        self,
        net: Any = None,
        *,
        recipe: Any = "quick",
        weights: str | None = None,
        size: int | None = None,
        augment: str | None = None,
        epochs: int | None = None,
        minutes: float | None = None,
        batch: int | None = None,
        lr: float | None = None,
        class_weight: str | None = None,
        validation_fraction: float = 0.15,
        shape: tuple[int, ...] | None = None,
        fields: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.net = net
        self.recipe = recipe
        self.weights = weights
        self.size = size
        self.augment = augment
        self.epochs = epochs
        self.minutes = minutes
        self.batch = batch
        self.lr = lr
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.shape = shape
        self.fields = fields
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> ImageClassifier:
        """Train on pictures X with labels y and return the estimator; a part of them is kept for validation.

        groups: (N,), pictures of one group (a patient, a track) stay in one part
        Raises `UsageError`, `DataError` and `PictureError`, which are ValueErrors here; `Interrupted` after Ctrl-C.
        """
        began = time.monotonic()
        with value_errors(), telling(self.verbose):
            recipe = self._recipe()
            samples, reading = learnt(self, X, shape=self.shape)
            found = labels(y, samples)
            pictures = samples.pictures(found.targets, found.names, numbered(groups, samples))
            near = reading.kind != ROWS or self.shape is not None
            parts = _divided(pictures, self.validation_fraction, recipe.seed, near=near)
            own = None if self._named() else self.net
            model = train(parts, recipe=recipe, began=began, **({} if own is None else {"net": own}))
        assert isinstance(model, Bundle)
        self.classes_, self.reading_, self.bundle_, self.net_ = found.classes, reading, model, own
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class of each picture, (N,); of several labels a picture 0 or 1 for each, int64 (N, K)."""
        probabilities = self.predict_proba(X)
        answers = self.bundle_.answers(probabilities)
        return answers.astype(np.int64) if answers.ndim == 2 else self.classes_[answers]

    def predict_proba(self, X: Any) -> F32:
        """Return calibrated probabilities in the order of `classes_`, float32 (N, K)."""
        logits = self._logits(X)
        return self.bundle_.activated(logits)

    def decision_function(self, X: Any) -> F64:
        """Return how much speaks for each class: log-probabilities, float64 (N, K).

        Of two classes the log-odds of the second, (N,); of several labels a picture the log-odds of each, (N, K).
        """
        logits, bundle = self._logits(X), self.bundle_
        scaling, family = bundle.config.calibration, bundle.task.family
        calibrated = np.asarray(logits if scaling is None else scaling(logits), np.float64)
        if family.several:
            return calibrated
        logs = family.logs(calibrated)
        return np.asarray(logs[:, 1] - logs[:, 0]) if len(self.classes_) == 2 else logs

    def _logits(self, X: Any) -> F32:
        """Return what the net gives for each picture, float32 (N, W), not calibrated."""
        check_is_fitted(self, "bundle_")
        with value_errors(), telling(self.verbose):
            samples = given(self, X, self.reading_)
            bundle = self.bundle_.ready()
            return np.concatenate([bundle.outputs(images)[0] for images in _decoded(samples, bundle.policy)])

    def _named(self) -> bool:
        """Return whether the net is named, and no object."""
        return self.net is None or isinstance(self.net, str)

    def _recipe(self) -> Recipe:
        """Return the recipe with the fields that are changed. Raises `UsageError` for what is no parameter of such a kind."""
        more = {} if self.fields is None else self.fields
        if not isinstance(more, Mapping):
            hint = 'for example fields={"smoothing": 0.0, "mirror": False}'
            raise UsageError(f"fields is a dict, not {type(more).__name__}", code="bad-value", hint=hint)
        if self.class_weight not in (None, "balanced"):
            hint = 'None, or "balanced": the loss weighs classes by how rare they are, not by weights of your own'
            raise UsageError(f"class_weight cannot be {self.class_weight!r}", code="bad-value", hint=hint)
        named = NAMED if self._named() else NAMED[1:]
        own = {name: value for name in named if (value := getattr(self, name)) is not None}
        own |= {} if self.class_weight is None else {"class_weights": "balanced"}
        own["seed"] = seed_of(self.random_state)
        if twice := sorted({find(name) for name in more} & {find(name) for name in own}):
            hint = "name a field once: by its parameter where there is one; seed is random_state"
            raise UsageError(f"given twice, by name and in fields: {', '.join(twice)}", code="bad-value", hint=hint)
        recipe = changed(self.recipe, {**own, **more}, verb="train")
        return replace(recipe, net=known(recipe.net))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the bundle as the bytes of a zip."""
        state = dict(super().__getstate__())
        if isinstance(state.get("bundle_"), Bundle):
            state["bundle_"] = packed(state["bundle_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state back; its bundle is verified as one in a folder is. Raises `BundleError`.

        A net of one's own is imported by name, which reading a pickle does anyway.
        """
        if isinstance(state.get("bundle_"), bytes):
            state = {**state, "bundle_": unpacked(state["bundle_"], trust=True, net=state.get("net_"))}
        super().__setstate__(state)


def _decoded(samples: Samples, policy: PixelPolicy) -> Iterator[U8]:
    """Yield the pictures, `AT_ONCE` at a time, as the net is given them: uint8 (B, C, H, W)."""
    with decoders() as (pool, _):
        for start in range(0, len(samples), AT_ONCE):
            keys = samples.keys[start : start + AT_ONCE]
            yield np.stack(list(pool.map(lambda key: samples.pixels(key, policy), keys)))


def _divided(pictures: Pictures, share: float, seed: int, *, near: bool) -> Parts:
    """Return the training and the validation part: near-duplicates and groups together, classes spread evenly.

    A class of which nothing would be left to learn from keeps its pictures in training. Where nothing is left for validation,
    the training pictures serve for it too, which is said. Raises `DataError` (unreadable) for a class without a readable one.
    """
    if not (isinstance(share, (int, float, np.number)) and 0 < share < 1):
        hint = "0.15 is usual: weights are chosen and probabilities calibrated on it"
        raise UsageError(f"validation_fraction lies between 0 and 1, not {share!r}", code="bad-share", hint=hint)
    try:
        parts = split(pictures, val=float(share), test=0.0, seed=seed, near=near)
    except DataError as error:
        if error.code != "too-few-pictures":
            raise
        pictures = digested(pictures)
        parts = Parts(pictures, pictures.take(NONE), pictures.take(NONE))
    if lost := sorted(set(pictures.classes) - set(parts.train.classes)):
        hint = "leave the class out, or fetch its pictures again"
        raise DataError(f"not one picture of {some(lost)} can be read", code="unreadable", hint=hint)
    missing = (parts.train.counts() == 0) & (parts.valid.counts() > 0)
    return parts if len(parts.valid) and not missing.any() else _mended(pictures, parts, missing)


def _mended(pictures: Pictures, parts: Parts, missing: Bools) -> Parts:
    """Return the parts with the classes that are `missing` in training, bool (K,), there instead of in validation."""
    valid, row = parts.valid, {key: at for at, key in enumerate(pictures.keys)}
    moved = np.any(valid.targets[:, missing], axis=1) if valid.multi else missing[valid.targets]
    own = sorted(row[key] for key in (*parts.train.keys, *valid.take(np.flatnonzero(moved)).keys))
    train, valid = digested(pictures).take(np.array(own, np.int64)), valid.take(np.flatnonzero(~moved))
    if not len(valid):
        events.warn(
            f"{len(pictures):,} pictures are too few, or too much alike, for a validation part: weights are chosen on those "
            "that were trained on",
            hint="give some dozen pictures of each class",
            code="no-validation",
        )
    return Parts(train, valid if len(valid) else train, parts.test)
