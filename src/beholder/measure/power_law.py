"""The power law of learning curves, error ∝ n^−exponent, with an exponent that may drift from each doubling of n to the next.

In doublings of n the logarithm of the error is a line whose slope is a random walk: what bends is followed, and what lies ahead
is the less sure the farther. A law with a fixed exponent and an asymptote was tried first: its intervals were too short where
curves grow steeper (docs/LOG.md).
Sources: C. Cortes, L. Jackel, S. Solla, V. Vapnik, J. Denker, Learning curves: asymptotic values and rate of convergence
(NeurIPS 1993); T. Viering, M. Loog, The shape of learning curves: a review (IEEE TPAMI 45, 2023); of the random walk:
C. Rasmussen, C. Williams, Gaussian Processes for Machine Learning (2006), section 6.3.1 (integrated Wiener process).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F64

EXPONENT = (0.3, 0.25)
"""Mean and standard deviation of the exponent at the largest size, before anything is measured."""

DRIFT = 0.12
"""Standard deviation by which the exponent changes at each doubling."""

MISFIT = 0.02
"""Standard deviation by which an error may lie off the law, in doublings."""

ANY = 10.0
"""That of the error itself, before anything is measured: any."""

BEHIND, AHEAD = 12, (0.5, 1.0, 1.5, 2.0)
"""Places in doublings at which a law is drawn: so many from the smallest size to the largest, and these beyond it."""

DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Law:
    """Laws that may be behind measured errors, drawn from what these leave likely.

    largest: the largest size that was measured; places: float64 (P,), rising, in doublings of that
    logs: float64 (D, P), logarithms to base 2 of the errors of each draw there, which do not rise beyond 0
    """

    largest: float
    places: F64
    logs: F64

    def at(self, size: float) -> F64:
        """Return the errors at a size, float64 (D,); there is nothing beyond the first and the last place."""
        x = np.log2(size / self.largest)
        upper = int(np.clip(np.searchsorted(self.places, x), 1, len(self.places) - 1))
        share = (x - self.places[upper - 1]) / (self.places[upper] - self.places[upper - 1])
        return np.asarray(2 ** ((1 - share) * self.logs[:, upper - 1] + share * self.logs[:, upper]))

    @property
    def exponent(self) -> F64:
        """Return the exponents just beyond the largest size, float64 (D,), 0 at least."""
        return np.asarray(2 * np.log2(self.at(self.largest) / self.at(self.largest * 2**0.5)))


def fitted(sizes: F64, errors: F64, covariance: F64, *, seed: int = 0) -> Law:
    """Return the laws that errors (S,), above 0, at rising sizes (S,) leave likely; covariance: (S, S), of the errors."""
    largest = float(sizes[-1])
    measured = np.log2(sizes / largest)
    places = np.concatenate([np.linspace(min(measured[0], -1.0), 0, BEHIND), AHEAD])
    noise = covariance / np.outer(errors, errors) / np.log(2) ** 2 + MISFIT**2 * np.eye(len(sizes))
    weights = np.linalg.solve(_likeness(measured, measured) + noise, _likeness(measured, places)).T
    mean = weights @ (np.log2(errors) + EXPONENT[0] * measured) - EXPONENT[0] * places
    cover = _likeness(places, places) - weights @ _likeness(measured, places)
    logs = np.random.default_rng(seed).multivariate_normal(mean, cover, DRAWS, method="eigh")
    logs[:, BEHIND - 1 :] = np.minimum.accumulate(logs[:, BEHIND - 1 :], axis=1)
    return Law(largest, places, logs)


def _likeness(one: F64, other: F64) -> F64:
    """Return the covariance of logarithms of errors at places (N,) and (M,), float64 (N, M), before anything is measured."""
    a, b = np.abs(one)[:, None], np.abs(other)[None, :]
    near, far = np.minimum(a, b), np.maximum(a, b)
    bend = np.where(np.multiply.outer(one, other) > 0, near**2 * (3 * far - near) / 6, 0.0)
    lines = EXPONENT[1] ** 2 * np.multiply.outer(one, other)
    return np.asarray(ANY**2 + lines + DRIFT**2 * bend)
