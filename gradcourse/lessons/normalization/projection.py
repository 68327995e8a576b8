"""One layer of normalisation, seen from a gradient: what is taken away, and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel

__all__ = ["Projection", "draw_projection", "measure_projection"]

Array = NDArray[Any]

NORMS: tuple[str, ...] = ("BatchNorm, LayerNorm", "RMSNorm")
PUSHES: tuple[str, ...] = ("random", "all up", "stretch")
LARGEST = 32
DRAWS = 400
# Small against any spread of the slider, so that what is measured is the projection.
EPSILON = 1e-12


@dataclass(frozen=True)
class Projection:
    """A gradient above and below one norm, and how much of random ones is left.

    Attributes
    ----------
    norm, push
        As given.
    spread
        Standard deviation of the numbers that are normalised.
    above
        The gradient that arrives, shape (size,).
    measured
        The gradient below the norm, by autograd through torch's own function.
    predicted
        The same by the formula.
    sizes
        Numbers normalised together, shape (sizes,).
    share, low, high
        The share of a random gradient's squared length that is left, times the squared spread: mean
        and the band that holds 90 % of the draws.
    predicted_share
        Theory.
    prediction
        The learner's guess of that share for 4 numbers, if there is one.
    """

    norm: str
    push: str
    spread: float
    above: Array
    measured: Array
    predicted: Array
    sizes: Array
    share: Array
    low: Array
    high: Array
    predicted_share: Array
    prediction: float | None

    @property
    def kept(self) -> float:
        """The share of the squared length that is left before the division by the spread."""
        below = np.square(self.measured * self.spread).sum()
        return float(below / np.square(self.above).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        expected = self.predicted_share[len(self.above) - 2]
        return (
            f"{self.norm} of {len(self.above)} numbers, gradient {self.push!r}: "
            f"{self.kept:.0%} of its squared length is left (a random one: {expected:.0%} on "
            f"average), then it is divided by {self.spread:.2g}"
        )


def measure_projection(
    norm: str = NORMS[0],
    together: int = 8,
    push: str = "random",
    spread: float = 1.0,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Projection:
    """Send a gradient back through one norm, by autograd and by the formula.

    Parameters
    ----------
    norm
        ``"BatchNorm, LayerNorm"``, which do the same to numbers that they normalise together, or
        ``"RMSNorm"``, which subtracts no mean.
    together
        How many numbers are normalised together, 2 to 32.
    push
        The gradient that arrives: ``"random"``, ``"all up"`` (the loss wants all of them larger) or
        ``"stretch"`` (it wants them further apart).
    spread
        Standard deviation of the numbers.
    first_seed
        Chooses numbers and gradients.
    prediction
        The share of a random gradient's squared length that the learner expects to be left of 4
        numbers, drawn as a star.
    """
    size = at_least(2, "together", together)
    if size > LARGEST:
        raise ValueError(f"together must be {LARGEST} or less, got {size}")
    spread = more_than_zero("spread", spread)
    for name, value, choices in (("norm", norm, NORMS), ("push", push, PUSHES)):
        if value not in choices:
            raise ValueError(f"{name} must be one of {'; '.join(choices)}, got {value!r}")
    source = torch.Generator().manual_seed(first_seed)
    centred = norm == NORMS[0]
    numbers = torch.randn(DRAWS, LARGEST, generator=source, dtype=torch.float64)
    gradients = torch.randn(DRAWS, LARGEST, generator=source, dtype=torch.float64)

    hat = _hat(numbers[:1, :size], centred)
    above = {"random": gradients[:1, :size], "all up": torch.ones_like(hat), "stretch": hat}[push]
    measured = _by_autograd(hat * spread, above, centred)
    predicted = above - hat * (above * hat).mean()
    if centred:
        predicted = predicted - above.mean()

    sizes = range(2, LARGEST + 1)
    shares = np.stack([_shares(numbers[:, :n], gradients[:, :n], centred) for n in sizes])
    known = "BatchNorm" if centred else "RMSNorm"
    return Projection(
        norm=norm,
        push=push,
        spread=spread,
        above=above[0].numpy(),
        measured=measured[0].numpy(),
        predicted=predicted[0].numpy() / spread,
        sizes=np.array(sizes),
        share=shares.mean(1),
        low=np.quantile(shares, 0.05, axis=1),
        high=np.quantile(shares, 0.95, axis=1),
        predicted_share=np.array([theory.surviving_share(known, n) for n in sizes]),
        prediction=as_prediction(prediction) if centred else None,
    )


def draw_projection(result: Projection, axes: dict[str, Panel]) -> None:
    """Show one gradient above and below the norm, and the share that is left of random ones."""
    one, share = axes["one"], axes["share"]
    size = len(result.above)
    places = np.arange(1, size + 1)
    one.set(
        title="One gradient",
        xlabel="number",
        ylabel="gradient",
        xlim=(0.5, size + 0.5),
        xticks=range(1, size + 1, 1 + size // 10),
    )
    one.hline("zero", 0, color="#444444", lw=1)
    one.line("above", places, result.above, color="black", marker=".", ms=9, ls=":", label="above")
    dots: dict[str, Any] = {"ls": "", "marker": "o", "ms": 11}
    one.line("measured", places, result.measured, color=MEASURED, label="measured: below", **dots)
    cross: dict[str, Any] = {"ls": "", "marker": "x", "ms": 8, "mew": 2.5, "zorder": 3}
    one.line("theory", places, result.predicted, color=THEORY, label="theory", **cross)
    if np.abs(result.measured * result.spread).max() < 1e-6:
        one.note("nothing is left", "center")

    share.set(
        title="Random gradients",
        xlabel="numbers normalised together",
        ylabel="share of squared length left",
        xlim=(1, LARGEST + 1),
        ylim=(0, 1.05),
    )
    share.band("band", result.sizes, result.low, result.high, color=MEASURED, alpha=0.2)
    share.line("measured", result.sizes, result.share, color=MEASURED, label="measured: mean")
    share.line(
        "theory", result.sizes, result.predicted_share, color=THEORY, ls="--", label="theory"
    )
    share.vline("size", size, color="#444444", lw=1.2, ls=":")
    if result.prediction is not None:
        share.mark("prediction", 4, result.prediction, "your prediction")


def _hat(numbers: Tensor, centred: bool) -> Tensor:
    if centred:
        return functional.layer_norm(numbers, numbers.shape[1:], eps=EPSILON)
    return functional.rms_norm(numbers, list(numbers.shape[1:]), eps=EPSILON)


def _by_autograd(numbers: Tensor, above: Tensor, centred: bool) -> Tensor:
    leaf = numbers.detach().requires_grad_()
    with torch.enable_grad():
        (below,) = torch.autograd.grad(_hat(leaf, centred), leaf, above)
    return below


def _shares(numbers: Tensor, gradients: Tensor, centred: bool) -> Array:
    """Return the shares that are left of gradients of shape (draws, size)."""
    spread = numbers.std(1, correction=0) if centred else numbers.square().mean(1).sqrt()
    below = _by_autograd(numbers, gradients, centred).square().sum(1) * spread.square()
    # Of two numbers nothing is left, but what rounding leaves may lie a hair below 0.
    return np.asarray((below / gradients.square().sum(1)).clamp(0, 1).numpy())
