"""The exercises of the clinic, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradcourse.exercises import Verdict, check_function
from gradcourse.models import seeded
from gradcourse.training import one_thread

__all__ = ["check_share_left", "check_step", "patient", "share_left"]

StepFunction = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Any]

STEPS = 150
CURED = 0.9


def share_left(norms: Sequence[float], max_norm: float) -> float:
    """Return the share of the gradient that clipping typically leaves: the median over steps.

    Examples
    --------
    >>> share_left([0.5, 2.0, 4.0], 1.0)
    0.5
    """
    return float(np.median([min(1.0, max_norm / norm) for norm in norms]))


def check_share_left(function: Callable[[Sequence[float], float], float]) -> Verdict:
    """Check the first exercise: what clipping typically leaves of the gradient."""
    return check_function(
        function,
        share_left,
        [
            ([0.5, 2.0, 4.0], 1.0),
            # Between two steps in the middle lies neither of them.
            ([1.0, 4.0], 1.0),
            ([65536.0, 131072.0, 98304.0, 32768.0, 65536.0], 1.0),
            ([3.0, 1.0, 8.0, 2.0, 1e9], 1e-3),
            ([0.1, 0.2, 0.3], 1.0),
        ],
        mistakes=[
            (
                lambda norms, cap: float(np.median([cap / norm for norm in norms])),
                "a norm below max_norm is left as it is: the share is 1 at most.",
            ),
            (
                lambda norms, cap: float(np.mean([min(1.0, cap / norm) for norm in norms])),
                "that is the mean; a few steps could hide what happens on most: take the median.",
            ),
            (
                lambda norms, cap: float(np.mean([norm > cap for norm in norms])),
                "that is how *often* it clips, not how much it leaves.",
            ),
            (
                lambda norms, cap: float(np.median([max(1.0, norm / cap) for norm in norms])),
                "upside down: the share is what is left over what there was.",
            ),
        ],
        hint="For one step: min(1, max_norm / norm).",
    )


def patient(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the thirteenth patient: a small network, inputs and targets of scale 1.

    Returns
    -------
    model, inputs, targets
        The inputs have shape (200, 8), the targets shape (200,).
    """
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(200, 8, generator=source)
    targets = inputs @ torch.randn(8, generator=source)
    targets = (targets - targets.mean()) / targets.std()
    model = seeded(seed, lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)))
    return model, inputs, targets


class _Seen(torch.optim.SGD):
    """An optimizer that moves nothing and notes the norm of the gradient at each step."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), lr=0.0)
        self.norms: list[float] = []

    def step(self, closure: Any = None) -> Any:
        """Note the norm of all gradients together, 0 if there are none."""
        parameters = [one for group in self.param_groups for one in group["params"]]
        self.norms.append(_norm(parameters))
        return super().step(closure)


def check_step(function: StepFunction) -> Verdict:
    """Check the second exercise: try a training step out, and train the patient with it."""
    name = getattr(function, "__name__", "the function")
    try:
        with one_thread():
            return _examined(function, name)
    except Exception as error:
        return Verdict(False, f"{name} raised {type(error).__name__}: {error}")


def _examined(function: StepFunction, name: str) -> Verdict:
    model, inputs, targets = patient()
    with torch.no_grad():
        right = float((model(inputs)[:, 0] - targets).square().mean())
    seen = _Seen(model)
    said = function(model, seen, inputs, targets)
    if said is None or said is ...:
        return Verdict(False, f"{name} returns nothing. Return the loss as a number.")
    if not math.isclose(float(said), right, rel_tol=1e-4):
        model_out, wanted = tuple(model(inputs).shape), tuple(targets.shape)
        return Verdict(
            False,
            f"the loss should be {right:.3f}, got {float(said):.3f}: outputs {model_out} minus "
            f"targets {wanted} is a table of all pairs, and its best answer is the mean.",
        )
    if not seen.norms:
        return Verdict(False, "the weights stay as they are: call optimizer.step().")
    if not seen.norms[-1]:
        return Verdict(False, "at the step there is no gradient: zero_grad(), backward(), step().")
    # What counts is the gradient that the optimizer meets: a step may clear it before or after.
    # Ten times the targets make a gradient that clipping has to shorten.
    model, inputs, targets = patient()
    seen, norms = _Seen(model), []
    for scale in (10, 10, 1e-3):
        function(model, seen, inputs, scale * targets)
        norms.append(seen.norms[-1])
    first, second, third = norms
    if first > 1.01:
        return Verdict(
            False,
            f"at the step the gradient has norm {first:.2g}: clip it after backward(), which makes "
            "it, and before step(), which uses it.",
        )
    alone, _, _ = patient()
    (alone(inputs)[:, 0] - 1e-3 * targets).square().mean().backward()
    expected = min(1.0, _norm(alone.parameters()))
    if not math.isclose(second, first, rel_tol=1e-3) or not math.isclose(
        third, expected, rel_tol=1e-2
    ):
        return Verdict(
            False,
            "the gradient of the step before is still in this one: call optimizer.zero_grad() "
            "before loss.backward().",
        )
    return _trained(function, name)


def _trained(function: StepFunction, name: str) -> Verdict:
    model, inputs, targets = patient()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(STEPS):
        function(model, optimizer, inputs, targets)
    with torch.no_grad():
        score = 1 - float((model(inputs)[:, 0] - targets).square().mean())
    if not score > CURED:
        return Verdict(
            False,
            f"after {STEPS} steps the score is {score:.2f}: does {name} call optimizer.step()?",
        )
    return Verdict(True, f"after {STEPS} steps the score is {score:.2f}: cured")


def _norm(parameters: Iterable[Tensor]) -> float:
    gradients = [one.grad for one in parameters if one.grad is not None]
    return math.hypot(*(float(gradient.norm()) for gradient in gradients))
