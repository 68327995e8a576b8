"""What a picture shows of several trainings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse.checks import at_least

__all__ = ["learning_curve"]


def learning_curve(values: NDArray[Any], every: int) -> NDArray[Any]:
    """Return the median, lowest and highest network of means over some steps.

    A single step's batch is mostly chance. Steps that do not fill a last mean are left out.

    Parameters
    ----------
    values
        Shape (..., networks, steps).
    every
        Steps in a mean, 1 or more.

    Returns
    -------
    Array of shape (..., 3, steps // every)

    Raises
    ------
    ValueError
        If ``every`` is not a whole number of 1 or more.

    Examples
    --------
    >>> learning_curve(np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0], [9.0, 9.0, 9.0]]), 2).tolist()
    [[3.0], [2.0], [9.0]]
    """
    every = at_least(1, "every", every)
    whole = values.shape[-1] // every * every
    means = values[..., :whole].reshape(*values.shape[:-1], -1, every).mean(axis=-1)
    rows = [np.median(means, axis=-2), means.min(axis=-2), means.max(axis=-2)]
    curve: NDArray[Any] = np.stack(rows, axis=-2)
    return curve
