"""The exact mean field map of a finite network, layer by layer."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import at_least, at_least_zero, more_than_zero
from gradcourse.theory.activations import ACTIVATIONS, Activation, Array, ArrayFunction
from gradcourse.theory.activations import activation as as_activation
from gradcourse.theory.moments import Moments

__all__ = ["MeanField", "mean_field_profile"]

MOST_KEPT_LENGTHS = 64


@dataclass(frozen=True, eq=False)
class MeanField:
    """What infinitely wide layers do to a signal and to its gradient.

    Arrays of ``depth + 1`` start with the input, layer 0. Logarithms are to base 10 and stay finite
    where ``q`` and ``mean_square`` leave float64.

    Attributes
    ----------
    activation
        Name of the activation.
    weight_variance, bias_variance
        As given.
    q
        Pre-activation variance of each layer, shape ``(depth,)``.
    mean_square
        Mean square activation, shape ``(depth + 1,)``.
    log10_activation
        log10 of the root mean square activation, shape ``(depth + 1,)``.
    log10_gradient
        log10 of the rms norm of dL/dh in each layer, relative to the last, shape ``(depth + 1,)``.
    log10_weight_gradient
        log10 of the rms norm of dL/dW in each layer, relative to the last, shape ``(depth,)``.
    """

    activation: str
    weight_variance: float
    bias_variance: float
    q: Array
    mean_square: Array
    log10_activation: Array
    log10_gradient: Array
    log10_weight_gradient: Array

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.q)


def mean_field_profile(
    activation: str | Activation | ArrayFunction,
    depth: int,
    weight_variance: float,
    bias_variance: float = 0.0,
    input_variance: ArrayLike = 1.0,
    input_ratio: float = 1.0,
) -> MeanField:
    """Predict activations and gradients of every layer with the exact map, not its asymptote.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    depth
        The number of layers, 1 or more.
    weight_variance, bias_variance
        Weights have variance ``weight_variance / fan_in``.
    input_variance
        The mean square of the inputs: one number, or one for each sample of the batch. Each sample
        follows its own path, and means are over samples.
    input_ratio
        Input features divided by the width. It counts in the first weight gradient only.

    Returns
    -------
    MeanField

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function; if ``depth`` is not a whole number
        of 1 or more; if ``weight_variance`` or ``input_ratio`` is not finite and above 0; if
        ``bias_variance`` or one of ``input_variance`` is below 0 or not finite; or if
        ``input_variance`` is empty or has two dimensions or more.
    TypeError
        If ``weight_variance``, ``bias_variance`` or ``input_ratio`` is no number.

    Examples
    --------
    >>> theory = mean_field_profile("relu", depth=10, weight_variance=1.0)
    >>> round(float(theory.log10_gradient[0]), 4)  # 1/2 per layer, in the square
    -1.5051
    """
    phi = as_activation(activation)
    depth = at_least(1, "depth", depth)
    weight = more_than_zero("weight_variance", weight_variance)
    bias = at_least_zero("bias_variance", bias_variance)
    ratio = more_than_zero("input_ratio", input_ratio)
    inputs = np.atleast_1d(np.asarray(input_variance, dtype=np.float64))
    if inputs.ndim != 1 or inputs.size == 0:
        raise ValueError(
            f"input_variance must be a number or one per sample, got shape {inputs.shape}"
        )
    for value in inputs[~((inputs >= 0) & (inputs < math.inf))][:1]:
        raise ValueError(f"input_variance must be a finite number, 0 or more, got {value:g}")

    log_weight, log_bias = math.log(weight), math.log(bias) if bias else -math.inf
    # Samples of one length share a path.
    lengths, counts = np.unique(inputs, return_counts=True)
    share = np.log(counts / inputs.size)
    with np.errstate(divide="ignore"):
        start = tuple(np.log(lengths))
    kept = ACTIVATIONS.get(phi.name) is phi and lengths.size <= MOST_KEPT_LENGTHS
    path = (_kept_path if kept else _Path)(phi, log_weight, log_bias, start)
    log_q, squares, chis = path.layers(depth)
    # gradient[l] is what the layers above l have made of a unit gradient at the top.
    gradient = np.concatenate([np.cumsum(chis[::-1], 0)[::-1], np.zeros((1, lengths.size))])
    # dW of a layer is the gradient at its pre-activation times the activation below.
    by_weight = gradient[1:] + (chis - log_weight) + squares[:-1]
    by_weight[0] += math.log(ratio)
    log10_by_weight = _log10_root(by_weight, share)
    with np.errstate(over="ignore", invalid="ignore"):
        relative = log10_by_weight - log10_by_weight[-1]
        return MeanField(
            activation=phi.name,
            weight_variance=weight,
            bias_variance=bias,
            q=np.exp(scipy.special.logsumexp(log_q + share, axis=1)),
            mean_square=np.exp(scipy.special.logsumexp(squares + share, axis=1)),
            log10_activation=_log10_root(squares, share),
            log10_gradient=_log10_root(gradient, share),
            log10_weight_gradient=relative,
        )


class _Path:
    """Logarithms of what each layer does to samples of some lengths; deeper ones begin alike."""

    def __init__(
        self, phi: Activation, log_weight: float, log_bias: float, start: tuple[float, ...]
    ) -> None:
        self._moments = Moments(phi)
        self._log_weight, self._log_bias = log_weight, log_bias
        self._q = np.empty((0, len(start)))
        self._squares = np.array([start])
        self._chis = np.empty((0, len(start)))

    def layers(self, depth: int) -> tuple[Array, Array, Array]:
        """Return ln of ``q``, (depth, lengths), squares, (depth + 1, lengths), and ``chi``."""
        more = depth - len(self._q)
        if more > 0:
            squares, q = [self._squares[-1]], []
            for _ in range(more):
                q.append(np.logaddexp(self._log_weight + squares[-1], self._log_bias))
                squares.append(self._moments.log_value(q[-1]))
            new = np.stack(q)
            slopes = self._moments.log_slope(new.ravel()).reshape(new.shape)
            self._q = np.concatenate([self._q, new])
            self._squares = np.concatenate([self._squares, squares[1:]])
            self._chis = np.concatenate([self._chis, self._log_weight + slopes])
        return self._q[:depth], self._squares[: depth + 1], self._chis[:depth]


# Behind a slider of the depth only the new layers are computed.
_kept_path = functools.lru_cache(maxsize=16)(_Path)


def _log10_root(log_squares: Array, share: Array) -> Array:
    means = scipy.special.logsumexp(log_squares + share, axis=1)
    return np.asarray(means / (2 * math.log(10)))
