"""A small recogniser and its evaluation, trained once."""

from __future__ import annotations

import numpy as np
import pytest

import beholder
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation, evaluate


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Bundle, Evaluation]:
    """(bundle, evaluation of all its pictures): three classes of thirty tiny pictures."""
    source = draw(tmp_path_factory.mktemp("sections") / "leaves", each=30)
    parts = beholder.split(beholder.scan(source), seed=0)
    bundle = beholder.train(parts, net="cnn", epochs=4, batch=8, precision="fp32")
    found = evaluate(bundle, source, part="all")
    ood.keep(bundle, found.logits, found.features)
    assert np.isfinite(found.features).all()
    return bundle, found
