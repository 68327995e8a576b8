"""Clipping by norm at a limit that follows the training run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, between, more_than_zero
from gradcourse.clipping.gradients import Gradients, Parameters
from gradcourse.clipping.limits import limit_of, order
from gradcourse.clipping.norms import accumulator, as_returned, measure, readable
from gradcourse.clipping.scaling import limit

__all__ = ["AdaptiveClip", "PercentileClip", "SpikeClip"]

# A deviation below this share of the mean is what rounding makes of norms that are alike.
ROUNDING = 1e-6


class AdaptiveClip(ABC):
    """A limit on the norm of all gradients that is learned from the norms seen so far.

    Call it in the place of ``clip_grad_norm_``. Nothing in it makes an accelerator's host wait.

    Parameters
    ----------
    norm_type
        The order p > 0 of the norm, or ``inf``.

    Raises
    ------
    ValueError
        If ``norm_type`` is not above 0.
    TypeError
        If ``norm_type`` is no number.
    """

    def __init__(self, norm_type: float) -> None:
        self.norm_type = order(norm_type)

    @torch.no_grad()
    def __call__(self, parameters: Parameters) -> Tensor:
        """Clip in place and return the norm before, as ``clip_grad_norm_`` does.

        Raises
        ------
        TypeError
            If something other than tensors is found.
        ValueError
            If a sparse gradient has a layout without values to scale, or that of a ``DTensor`` has
            not been reduced over the processes yet.
        """
        gradients = Gradients.of(parameters)
        norms = measure(gradients, self.norm_type)
        if len(gradients):
            limit(gradients, norms, self.observe(norms.total), None)
        return as_returned(gradients, norms)

    @abstractmethod
    def observe(self, norm: Tensor) -> Tensor:
        """Take in the norm of this step, shape ``()``, and return the limit for this step.

        A norm that is not finite is not taken in.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for a run to go on as if never stopped."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""


class PercentileClip(AdaptiveClip):
    """Clip the norm at a percentile of the norms seen so far: AutoClip.

    On stationary gradients a share of ``1 - percentile / 100`` of all steps is clipped: by default
    nine steps in ten, which is nearly a normalisation of the gradient.

    Parameters
    ----------
    percentile
        From 0 to 100.
    history
        How many of the latest norms are kept, the current one included.
    norm_type
        The order p > 0 of the norm, or ``inf``.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If ``percentile`` or ``norm_type`` is no number.

    References
    ----------
    Seetharaman, Wichern, Pardo & Le Roux 2020, *AutoClip: adaptive gradient clipping for source
    separation networks*. The authors' code keeps all norms and counts the current one. Here a norm
    of 0, as of a batch without a loss, is left out: with enough of them the limit would be 0, and
    stay there.

    Examples
    --------
    >>> clip = PercentileClip(percentile=50)
    >>> weight = torch.zeros(1, requires_grad=True)
    >>> for size in (1.0, 3.0, 5.0):
    ...     weight.grad = torch.tensor([size])
    ...     norm = clip(weight)
    ...     print(f"{norm:.0f} -> {weight.grad.item():.0f}")
    1 -> 1
    3 -> 2
    5 -> 3
    """

    def __init__(
        self, percentile: float = 10.0, history: int = 10_000, norm_type: float = 2.0
    ) -> None:
        super().__init__(norm_type)
        self.percentile = between(0, 100, "percentile", percentile)
        self.history = at_least(1, "history", history)
        self._norms: Tensor | None = None
        self._seen = 0

    @property
    def norms(self) -> Tensor:
        """The norms that the percentile is taken of, oldest first; shape ``(n,)``.

        Reading it makes an accelerator's host wait.
        """
        if self._norms is None:
            return torch.zeros(0, dtype=torch.float64)
        norms = self._norms[: self._seen].roll(-(self._seen % self.history))
        return norms[~norms.isnan()]

    def observe(self, norm: Tensor) -> Tensor:
        """Take in the norm of this step and return the percentile of all."""
        if self._norms is None:
            self._norms = torch.full(
                (self.history,), math.nan, dtype=accumulator(norm.device), device=norm.device
            )
        self._norms = self._norms.to(norm.device)
        if not readable(norm.device) or _tells(norm):
            # On an accelerator a norm that tells nothing takes a place as NaN, which counts as
            # nothing: only the host could leave it out, and it would have to wait for the number.
            place = self._seen % self.history
            self._norms[place] = torch.where(_tells(norm), norm, math.nan)
            self._seen += 1
        seen = self._norms[: self._seen]
        if not readable(norm.device):
            return torch.nanquantile(seen, self.percentile / 100)
        if not len(seen):
            return torch.tensor(math.inf)
        # NumPy finds a percentile without sorting: a tenth of the time of torch.quantile.
        return torch.tensor(np.percentile(seen.numpy(), self.percentile))

    def state_dict(self) -> dict[str, Any]:
        """Return the norms seen so far, oldest first."""
        return {"norms": self.norms.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned; of a longer history the latest are taken."""
        norms = state["norms"][-self.history :]
        self._norms = torch.full((self.history,), math.nan, dtype=norms.dtype)
        self._norms[: len(norms)] = norms
        self._seen = len(norms)


class SpikeClip(AdaptiveClip):
    r"""Clip only a norm that stands out of its running average: ZClip.

    Mean and variance of the norm are taken over the first ``warmup`` steps, in which nothing is
    clipped, and followed by exponential averages from then on. A norm more than ``z`` standard
    deviations above the mean is clipped to

    .. math:: \mu + z^2 \sigma^2 / (\lVert g \rVert - \mu)

    so the larger the spike, the nearer to the mean it ends. The averages take in the norm after
    this limit, but not after ``max_norm``.

    Parameters
    ----------
    z
        How many standard deviations a spike is, above 0.
    warmup
        Steps that the first averages are taken over, 2 or more.
    alpha
        Share of the old in the exponential averages, from 0 to 1.
    max_norm
        A limit that holds as well, in the warmup too; ``None`` for none.
    norm_type
        The order p > 0 of the norm, or ``inf``.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If ``z``, ``alpha``, ``max_norm`` or ``norm_type`` is no number.

    References
    ----------
    Kumar, Owen, Roy Chowdhury & Güra 2025, *ZClip: adaptive spike mitigation for LLM
    pre-training*.
    The authors' code divides by the standard deviation plus 1e-6; the form above does not divide by
    it and needs no such number. Theirs also has ``max_norm=1`` by default, and takes in norms of 0.

    Examples
    --------
    >>> clip = SpikeClip(warmup=4)
    >>> weight = torch.zeros(1, requires_grad=True)
    >>> for size in (0.9, 1.1, 0.9, 1.1, 20.0):
    ...     weight.grad = torch.tensor([size])
    ...     norm = clip(weight)
    >>> print(f"{norm:.1f} -> {weight.grad.item():.4f}")
    20.0 -> 1.0033
    """

    def __init__(
        self,
        z: float = 2.5,
        warmup: int = 25,
        alpha: float = 0.97,
        max_norm: float | None = None,
        norm_type: float = 2.0,
    ) -> None:
        super().__init__(norm_type)
        self.z = more_than_zero("z", z)
        self.warmup = at_least(2, "warmup", warmup)
        self.alpha = between(0, 1, "alpha", alpha)
        self.max_norm = limit_of("max_norm", max_norm)
        # The number of norms taken in, their mean and their variance.
        self._state = torch.zeros(3, dtype=torch.float64)

    def observe(self, norm: Tensor) -> Tensor:
        """Take in the norm of this step and return the limit, ``inf`` where it is no spike."""
        state = self._state.to(norm.device, accumulator(norm.device))
        norm = norm.to(state.dtype)
        count, mean, variance = state
        settled = count >= self.warmup
        above = norm - mean
        # Norms that were all alike, up to rounding, say nothing of how far one may lie from them.
        known = variance.sqrt() > ROUNDING * mean
        spike = settled & known & (above > self.z * variance.sqrt())
        cap = torch.where(spike, mean + self.z**2 * variance / above, math.inf)
        taken = torch.minimum(norm, cap)

        # Welford's running mean and variance at first, exponential averages once they are settled.
        share = torch.where(settled, 1 - self.alpha, 1 / (count + 1))
        moved = mean + share * (taken - mean)
        spread = torch.where(settled, taken - moved, taken - mean) * (taken - moved)
        after = torch.stack([count + 1, moved, variance + share * (spread - variance)])
        self._state = torch.where(_tells(norm), after, state)
        return cap.clamp(max=self.max_norm)

    @property
    def mean(self) -> float:
        """The average norm; reading it makes an accelerator's host wait."""
        return float(self._state[1])

    @property
    def std(self) -> float:
        """The standard deviation of the norm; reading it makes an accelerator's host wait."""
        return math.sqrt(float(self._state[2]))

    def state_dict(self) -> dict[str, Any]:
        """Return the number of norms taken in, their mean and their variance."""
        return {"averages": self._state.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self._state = state["averages"]


def _tells(norm: Tensor) -> Tensor:
    """Say whether a norm tells anything of the size of the others."""
    return norm.isfinite() & (norm > 0)
