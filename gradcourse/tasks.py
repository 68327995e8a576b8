"""Data: real sets that ship inside packages, so that nothing is downloaded."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least

__all__ = ["digits"]


def digits(batch: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's handwritten digits, 1797 images of 8 by 8 pixels.

    Each pixel is standardised to mean 0 and variance 1 over all 1797 images (three corner pixels
    that are the same in every image become 0), and then all are multiplied by one number so that
    the mean square over all pixels and images is exactly 1: the variance that mean field theory
    starts from. An image's numbers do not depend on the batch it is drawn into.

    Parameters
    ----------
    batch
        How many images to draw, without repetition; ``None`` returns all, in their order.
    seed
        Chooses which images are drawn.

    Returns
    -------
    inputs : Tensor of shape (batch, 64)
        float32.
    labels : Tensor of shape (batch,)
        int64, 0 to 9.

    Examples
    --------
    >>> inputs, labels = digits(batch=32)
    >>> inputs.shape, labels.shape
    (torch.Size([32, 64]), torch.Size([32]))
    """
    inputs, labels = _all_digits()
    if batch is None:
        return inputs.clone(), labels.clone()
    if not 1 <= batch <= len(labels):
        raise ValueError(f"batch must be between 1 and {len(labels)}, got {batch}")
    seed = at_least(0, "seed", seed)
    drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels))[:batch])
    return inputs[drawn], labels[drawn]


@functools.cache
def _all_digits() -> tuple[Tensor, Tensor]:
    # Imported late: it takes longer to import than all of the rest.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    spread = images.std(axis=0)
    standard = (images - images.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    standard /= np.sqrt(np.mean(np.square(standard)))
    return torch.from_numpy(standard.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
