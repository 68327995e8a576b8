"""Activation functions and their derivatives, for NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "Activation", "Array", "ArrayFunction", "activation"]

Array = NDArray[np.float64]
ArrayFunction = Callable[[Array], Array]

LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """An activation function with its derivative, both applied element by element.

    Attributes
    ----------
    name
        What the reader calls it.
    function
        The function of an array.
    derivative
        Its derivative; 0 at the kink of a ReLU, as in torch.
    """

    name: str
    function: ArrayFunction = field(repr=False)
    derivative: ArrayFunction = field(repr=False)


def activation(activation: str | Activation | ArrayFunction) -> Activation:
    """Return an activation by its name, or make one of any NumPy function.

    Parameters
    ----------
    activation
        A name from ``ACTIVATIONS``, an ``Activation`` (returned as it is), or a function that takes
        and returns an array. A plain function is differentiated numerically.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> float(activation("sigmoid").derivative(np.array(0.0)))
    0.25
    >>> cube = activation(lambda x: x**3)
    >>> round(float(cube.derivative(np.array(2.0))), 6)
    12.0
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        try:
            return ACTIVATIONS[activation]
        except KeyError:
            names = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation must be one of {names}, got {activation!r}") from None
    if not callable(activation):
        raise ValueError(f"activation must be a name or a function, got {activation!r}")
    name = getattr(activation, "__name__", type(activation).__name__)
    return Activation(name, activation, _differentiated(activation))


def _differentiated(function: ArrayFunction) -> ArrayFunction:
    def slope(x: Array) -> Array:
        x = np.asarray(x, dtype=np.float64)
        # The first step is half the distance to 0 at most, so that a kink at 0 stays outside of it.
        step = np.clip(np.abs(x) / 2, 1e-12, 0.5)
        return np.asarray(scipy.differentiate.derivative(function, x, initial_step=step).df)

    return slope


def _sigmoid_slope(x: Array) -> Array:
    y = scipy.special.expit(x)
    return np.asarray(y * scipy.special.expit(-x))


def _tanh_slope(x: Array) -> Array:
    # 1 - tanh(x)**2 loses all its digits in the tails; 4 sigmoid'(2x) does not.
    return 4 * _sigmoid_slope(2 * x)


def _gelu_slope(x: Array) -> Array:
    return np.asarray(scipy.special.ndtr(x) + x * _normal_density(x))


def _silu_slope(x: Array) -> Array:
    y = scipy.special.expit(x)
    return np.asarray(y + x * y * scipy.special.expit(-x))


def _normal_density(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * np.square(np.clip(x, -40, 40))) / math.sqrt(2 * math.pi))


def _erf_slope(x: Array) -> Array:
    return np.asarray(2 / math.sqrt(math.pi) * np.exp(-np.square(np.clip(x, -28, 28))))


_ALL = (
    Activation("linear", lambda x: np.asarray(x, dtype=np.float64), lambda x: np.ones(np.shape(x))),
    Activation(
        "sigmoid",
        lambda x: np.asarray(scipy.special.expit(x)),
        _sigmoid_slope,
    ),
    Activation("tanh", lambda x: np.asarray(np.tanh(x)), _tanh_slope),
    Activation(
        "relu",
        lambda x: np.maximum(x, 0.0),
        lambda x: np.asarray(np.greater(x, 0), dtype=np.float64),
    ),
    Activation(
        "leaky_relu",
        lambda x: np.where(np.greater(x, 0), x, LEAK * np.asarray(x)),
        lambda x: np.where(np.greater(x, 0), 1.0, LEAK),
    ),
    Activation(
        "elu",
        lambda x: np.where(np.greater(x, 0), x, np.expm1(np.minimum(x, 0.0))),
        lambda x: np.exp(np.minimum(x, 0.0)),
    ),
    Activation("gelu", lambda x: np.asarray(x * scipy.special.ndtr(x)), _gelu_slope),
    Activation("silu", lambda x: np.asarray(x * scipy.special.expit(x)), _silu_slope),
    Activation(
        "softplus",
        lambda x: np.asarray(np.logaddexp(0.0, x)),
        lambda x: np.asarray(scipy.special.expit(x)),
    ),
    Activation("erf", lambda x: np.asarray(scipy.special.erf(x)), _erf_slope),
)

ACTIVATIONS: dict[str, Activation] = {one.name: one for one in _ALL}
"""The activations by name; ``identity`` is another name of ``linear``."""
ACTIVATIONS["identity"] = ACTIVATIONS["linear"]
