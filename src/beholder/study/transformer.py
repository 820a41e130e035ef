"""`Features`: what a backbone sees in pictures, behind scikit-learn's interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from beholder.base.arrays import F32
from beholder.base.errors import PictureError, UsageError
from beholder.base.recipe import Recipe
from beholder.data.survey import Survey, survey
from beholder.learn.probe import features_name, seen
from beholder.machine.device import device, precision
from beholder.machine.placement import moved
from beholder.nets.build import check, create, known, wants
from beholder.nets.features import features
from beholder.nets.pretrained import weights_hash
from beholder.runtime.inference import Normal, runner
from beholder.sources.digest import digested
from beholder.sources.listing import some
from beholder.study.evidence import Backbone, at_hand, seen_by
from beholder.study.samples import Samples, given, learnt, seed_of, telling, value_errors


class Features(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer from pictures to the features of a backbone, which is not trained (docs/SKLEARN.md).

    X: as `ImageClassifier` takes it

    net: a name of timm or of `beholder nets`, or module:function of yours; "auto": the pretrained net that is on this machine
    weights: "auto": the net's pretrained ones; "none": random ones by `random_state`; or the path of others
    size: side in pixels of the pictures that it is given; None: as the net wants them
    licence: "permissive": pretrained weights under another licence are refused; or "any"
    shape, random_state, verbose: as of `ImageClassifier`

    `fit` looks at sizes and colours, and learns nothing else. After it: n_features_in_: numbers in a picture, where X is one
    array. Features are remembered in the cache folder: those of the same picture are computed once.
    """

    def __init__(
        self,
        net: str = "auto",
        *,
        weights: str = "auto",
        size: int | None = None,
        licence: str = "permissive",
        shape: tuple[int, ...] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.net = net
        self.weights = weights
        self.size = size
        self.licence = licence
        self.shape = shape
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Features:
        """Choose net and pixels by the pictures X, and return the transformer; y is not looked at.

        Raises `UsageError` and `DataError`, which are ValueErrors here.
        """
        with value_errors(), telling(self.verbose):
            samples, reading = learnt(self, X, shape=self.shape)
            fields = {"net": self.net, "weights": self.weights, "licence": self.licence, "size": self.size or 0}
            recipe = Recipe().set(**fields)
            looked = survey(samples.pictures())
            seed = seed_of(self.random_state)
            self.policy_, self.backbone_ = seen_by(_backbone(recipe, looked, seed), recipe, looked)
            self.reading_, self.seed_ = reading, seed
            pixels = torch.zeros(1, self.policy_.channels, self.policy_.height, self.policy_.width)
            with torch.inference_mode():
                self._n_features_out = int(features(self._made(torch.device("cpu")), pixels).shape[1])
        return self

    def transform(self, X: Any) -> F32:
        """Return the features of pictures, float32 (N, F), to the precision of float16.

        Raises `PictureError`, a ValueError here, that names what cannot be read, and `UsageError` where the net's weights on
        this machine are not those of `fit`.
        """
        check_is_fitted(self, "backbone_")
        with value_errors(), telling(self.verbose):
            return self._features(given(self, X, self.reading_))

    def _features(self, samples: Samples) -> F32:
        """Return the features of all samples, float32 (N, F)."""
        on, policy, net = device(), self.policy_, self.backbone_.net
        if net.weights != "none" and weights_hash(net.name, net.weights) != self.backbone_.digest:
            hint = "fetch the same weights, or fit again"
            raise UsageError(f"{net.name} has other weights here than when it was fitted", code="other-weights", hint=hint)
        exact, pictures = precision(on, "auto"), digested(samples.pictures())
        grey = (0.5,) * policy.channels, (0.25,) * policy.channels
        normal = Normal(*(wants(net).normalisation(policy.channels) or grey), on)
        rows, found = seen(
            pictures,
            policy,
            lambda pixels: runner(self._made(on), pixels, normal, exact.dtype, pictures=len(pictures)),
            normal,
            name=features_name(net, self.backbone_.digest, policy, exact, side=net.enlarge),
        )
        if len(rows) < len(pictures):
            bad = [pictures.keys[row] for row in np.setdiff1d(np.arange(len(pictures)), rows).tolist()]
            hint = "leave them out; beholder audit says why they cannot be read"
            raise PictureError(f"{len(bad)} pictures cannot be read: {some(bad)}", code="unreadable", hint=hint)
        return np.asarray(found.numpy())

    def _made(self, on: torch.device) -> nn.Module:
        """Return the net on a device, in evaluation mode."""
        policy = self.policy_
        size = (policy.height, policy.width)
        net = create(self.backbone_.net, channels=policy.channels, size=size, classes=2, seed=self.seed_).net
        return moved(net, on).eval().to(memory_format=torch.channels_last)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _backbone(recipe: Recipe, looked: Survey, seed: int) -> Backbone:
    """Return the net and the hash of its weights; raise `UsageError` for a net, or weights, that cannot be had."""
    if recipe.net.name == "auto":
        found = at_hand(recipe.net, looked, small=True)
        if found is not None:
            return found
        hint = 'name the net that is to have random weights, such as net="fastnet"'
        raise UsageError("weights='none' says no net", code="net-not-chosen", hint=hint)
    net = known(recipe.net)
    if net.weights == "none":
        wants(net)
        return Backbone(net, f"random {seed}")
    check(net)
    digest = weights_hash(net.name, net.weights)
    if not digest:
        hint = 'weights="none" takes random ones; nets of timm have some, and net="auto" comes with some'
        raise UsageError(f"{net.name} has no pretrained weights", code="missing-weights", hint=hint)
    return Backbone(net, digest)
