"""What the weights' variance does in a layer whose fans differ: one factor each way."""

from __future__ import annotations

from collections.abc import Callable

from gradcourse.checks import at_least

__all__ = ["fan_factors"]

# The variance of a weight, from its numbers of inputs and outputs.
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, _: 2 / fan_in,
    "he_fan_out": lambda _, fan_out: 2 / fan_out,
    "lecun": lambda fan_in, _: 1 / fan_in,
    "default": lambda fan_in, _: 1 / (3 * fan_in),
}


def fan_factors(scheme: str, fan_in: int, fan_out: int) -> tuple[float, float]:
    """Return by what a linear layer multiplies the mean square of a signal, forward and backward.

    ``fan_in`` and ``fan_out`` times the variance of a weight: each output adds up ``fan_in``
    products, and each input gets its gradient from ``fan_out`` of them. A ReLU halves both.

    Parameters
    ----------
    scheme
        ``"xavier"`` (Glorot & Bengio 2010), ``"he"``, which is ``mode="fan_in"``, ``"he_fan_out"``
        (He et al. 2015), ``"lecun"`` or ``"default"``, what ``torch.nn.Linear`` does.
    fan_in, fan_out
        Inputs and outputs of the layer.

    Returns
    -------
    forward, backward : float
        Of the mean square of the activation, and of the mean square of the gradient.

    Raises
    ------
    ValueError
        If the scheme is unknown or a fan is below 1.

    Examples
    --------
    >>> fan_factors("xavier", 128, 512)
    (0.4, 1.6)
    """
    if scheme not in VARIANCES:
        raise ValueError(f"scheme must be one of {', '.join(VARIANCES)}, got {scheme!r}")
    fan_in, fan_out = at_least(1, "fan_in", fan_in), at_least(1, "fan_out", fan_out)
    variance = VARIANCES[scheme](fan_in, fan_out)
    return fan_in * variance, fan_out * variance
