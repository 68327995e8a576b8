"""One recurrent unit, its loss and the gradient of that, for many weights and biases at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

__all__ = ["START", "STEPS_IN_TIME", "TARGET", "Walk", "settled_output", "unit_gradient", "walk"]

Array = NDArray[Any]

START, TARGET, STEPS_IN_TIME = 0.5, 0.7, 50


def settled_output(weight: Array, bias: Array, steps: int = STEPS_IN_TIME) -> Array:
    """Return the unit's output after that many steps in time; arguments of shapes that fit."""
    state: Array = np.full(np.broadcast_shapes(weight.shape, bias.shape), START)
    for _ in range(steps):
        state = weight * scipy.special.expit(state) + bias
    output: Array = scipy.special.expit(state)
    return output


def unit_gradient(weight: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Return the loss and its slopes by weight and by bias, each of the shape (units,).

    The loss is ``(sigmoid(x) - 0.7)**2`` after 50 steps ``x <- weight * sigmoid(x) + bias`` from
    0.5. Backpropagation through time: each step's share is multiplied by the slopes of all later
    ones, and those products are taken for all steps at once.
    """
    values = np.empty((STEPS_IN_TIME, *weight.shape))
    state: Array = np.full(weight.shape, START)
    for step in range(STEPS_IN_TIME):
        values[step] = scipy.special.expit(state)
        state = weight * values[step] + bias
    slopes = weight * values * (1 - values)
    later = np.ones_like(values)
    later[:-1] = np.cumprod(slopes[:0:-1], axis=0)[::-1]
    output: Array = scipy.special.expit(state)
    error = 2 * (output - TARGET) * output * (1 - output)
    by_weight = error * np.einsum("tu,tu->u", values, later)
    return (output - TARGET) ** 2, by_weight, error * later.sum(axis=0)


@dataclass(frozen=True)
class Walk:
    """Gradient descent of many walkers; arrays of shape (steps + 1, walkers) or (steps, walkers).

    Attributes
    ----------
    weight, bias, loss
        Where each walker is, the start included.
    norm
        Of the gradient before clipping, at each step.
    length
        Of the step that was taken.
    """

    weight: Array
    bias: Array
    loss: Array
    norm: Array
    length: Array


def walk(weight: Array, bias: Array, learning_rate: float, max_norm: ArrayLike, steps: int) -> Walk:
    """Descend from each start; ``max_norm`` is one number or one for each walker."""
    places, losses, norms, lengths = [(weight, bias)], [], [], []
    for _ in range(steps):
        loss, by_weight, by_bias = unit_gradient(weight, bias)
        norm = np.hypot(by_weight, by_bias)
        # A gradient of 0 needs no clipping.
        rate = learning_rate * np.minimum(1, max_norm / np.maximum(norm, 1e-300))
        weight, bias = weight - rate * by_weight, bias - rate * by_bias
        places.append((weight, bias))
        losses.append(loss)
        norms.append(norm)
        lengths.append(rate * norm)
    losses.append(unit_gradient(weight, bias)[0])
    weights, biases = np.stack(places, axis=1)
    return Walk(weights, biases, np.stack(losses), np.stack(norms), np.stack(lengths))
