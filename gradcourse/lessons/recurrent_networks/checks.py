"""The exercises of lesson 08, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from gradcourse.exercises import Verdict, check_function
from gradcourse.initialization import forget_gate_bias_
from gradcourse.models import seeded

__all__ = ["check_forget_bias", "check_reach", "try_reach"]


def check_forget_bias(function: Callable[[int, float], float]) -> Verdict:
    """Check the first exercise: the forget bias with which a share is left after some steps."""

    def root(steps: int, share: float) -> float:
        return float(share ** (1 / steps))

    return check_function(
        function,
        lambda steps, share: float(scipy.special.logit(root(steps, share))),
        [(50, 0.5), (100, 0.1), (20, 0.9), (2, 0.5)],
        mistakes=[
            (root, "that is what the gate must keep at each step; which bias opens it so far?"),
            (
                lambda steps, share: -float(scipy.special.logit(root(steps, share))),
                "the sign: a large bias opens the forget gate, and an open gate remembers.",
            ),
            (
                lambda _steps, share: float(scipy.special.logit(share)),
                "that bias keeps the share after *one* step.",
            ),
            (
                lambda steps, share: float(scipy.special.logit(share)) / steps,
                "take the root before the logit: sigmoids are multiplied, biases are not added.",
            ),
            (
                lambda steps, _share: math.log(steps - 1),
                "ln(T - 1) keeps about 1/e after T steps, whatever share you ask for.",
            ),
            (
                lambda steps, share: math.log(steps / -math.log(share)),
                "nearly: that is the limit of many steps; take the root itself.",
            ),
            (
                lambda steps, share: float(scipy.special.expit(root(steps, share))),
                "the sigmoid takes a bias to a gate; you need its inverse, the logit.",
            ),
        ],
        hint="Solve sigmoid(bias)**steps == share for the bias.",
    )


def check_reach(function: Callable[[nn.Module, Tensor], Any]) -> Verdict:
    """Check the second exercise: the gradient's norm at the input of every step."""
    name = getattr(function, "__name__", "the function")
    hint = "A leaf that requires a gradient, the last output, backward, one norm for each step."
    kinds: tuple[type[nn.RNN] | type[nn.LSTM], ...] = (nn.RNN, nn.LSTM)
    for number, kind in enumerate(kinds):
        layer = seeded(number, partial(kind, 3, 5))
        inputs = seeded(number + 7, lambda: torch.randn(6, 4, 3))
        try:
            answer = function(layer, inputs.clone())
        except Exception as error:
            return Verdict(False, f"{name} raised {type(error).__name__}: {error}")
        if answer is None or answer is ...:
            return Verdict(False, f"{name} returns nothing. {hint}")
        try:
            found = np.asarray(torch.as_tensor(answer).detach().double())
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"{name} must return numbers, got {repr(answer)[:60]}.")
        said = _wrong(found, layer, inputs)
        if said:
            return Verdict(False, said)
    return Verdict(True, f"{name} agrees for an RNN and an LSTM")


def try_reach(function: Callable[[nn.Module, Tensor], Any], bias: float, seed: int = 0) -> str:
    """Run the learner's function on an LSTM of 32 units and 100 steps, and say what it found."""
    # The squares of such small gradients underflow float32.
    layer = forget_gate_bias_(seeded(seed, lambda: nn.LSTM(8, 32)), bias).double()
    inputs = seeded(seed, lambda: torch.randn(100, 1, 8)).double()
    norms = np.asarray(torch.as_tensor(function(layer, inputs)).detach().double())
    with np.errstate(divide="ignore"):
        left = np.log10(norms[0]) - np.log10(norms[-1])
    return f"10^{left:.1f} of the gradient reaches the first of 100 steps"


def _wrong(found: Any, layer: nn.Module, inputs: Tensor) -> str:
    gradient = _gradient(layer, inputs, last=True)
    every = _gradient(layer, inputs, last=False)
    norms = _norms(gradient)
    if found.shape == norms.shape and np.allclose(found, norms, rtol=1e-3, atol=0):
        return ""
    mistakes = (
        (gradient, "that is the gradient itself; take one norm for each step."),
        (_norms(every), "sum the *last* output only: every output pulls on the steps before it."),
        (norms[::-1], "the right norms in the wrong order: step 0 of the inputs comes first."),
        (gradient.norm(dim=(0, 1)), "the norm was taken over the steps; steps are dimension 0."),
        (gradient.norm(dim=(0, 2)), "the norm was taken over the steps; steps are dimension 0."),
        (gradient.norm(dim=2), "one norm for each step, over batch and features: dim=(1, 2)."),
        (gradient.sum(dim=(1, 2)), "add squares and not numbers: those of both signs cancel."),
        (norms**2, "that is the square of the norm; take its root."),
    )
    for wrong, why in mistakes:
        expected = np.asarray(wrong)
        if found.shape == expected.shape and np.allclose(found, expected, rtol=1e-3, atol=0):
            return why
    if found.shape != norms.shape:
        return f"there are {len(norms)} steps, so {len(norms)} norms; got shape {found.shape}."
    return f"step 0 should be {norms[0]:.4g}, got {found[0]:.4g}."


def _gradient(layer: nn.Module, inputs: Tensor, *, last: bool) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    outputs, _ = layer(leaf)
    target = outputs[-1].sum() if last else outputs.sum()
    (gradient,) = torch.autograd.grad(target, leaf)
    return gradient


def _norms(gradient: Tensor) -> Any:
    return np.asarray(gradient.norm(dim=(1, 2)).double())
