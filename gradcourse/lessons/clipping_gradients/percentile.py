"""A clip that is often copied: each tensor at a percentile of the norms of the same gradient."""

from __future__ import annotations

import math

import numpy as np

from gradcourse.checks import between

__all__ = ["percentile_per_tensor"]

TENSORS, ELEMENTS = 16, 50


def percentile_per_tensor(percentile: float, first_seed: int = 0) -> tuple[float, float, float]:
    """Return the angle turned, the length left, and the length left of 1000 times the gradient.

    The gradient is one of 16 tensors of 50 elements, the k-th of them k times as long. Each tensor
    is scaled so that its norm is at most the given percentile of the 16 norms.

    Parameters
    ----------
    percentile
        From 0 to 100.
    first_seed
        Draws the gradient.

    Examples
    --------
    >>> angle, length, longer = percentile_per_tensor(50)
    >>> round(longer / length)
    1000
    """
    between(0, 100, "percentile", percentile)
    source = np.random.default_rng(first_seed)
    gradient = source.standard_normal((TENSORS, ELEMENTS)) * np.arange(1, TENSORS + 1)[:, None]
    lengths = []
    for size in (1.0, 1000.0):
        norms = np.linalg.norm(size * gradient, axis=1)
        factors = np.minimum(1, np.percentile(norms, percentile) / norms)
        clipped = size * gradient * factors[:, None]
        lengths.append(float(np.linalg.norm(clipped)))
    cosine = (gradient * clipped).sum() / np.linalg.norm(gradient) / lengths[1]
    return math.degrees(math.acos(min(1.0, cosine))), lengths[0], lengths[1]
