"""The schemes: how one matrix or one convolution kernel is filled, and the variance that follows.

A block is one matrix ``(out, in)`` or one kernel ``(out, in, *taps)``: fans are those of the block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import init

from gradcourse.checks import at_least_zero, more_than_zero

__all__ = ["SCHEME_NAMES", "Mode", "Scheme", "scheme_by_name"]

Mode = Literal["fan_in", "fan_out"]

_ALIASES = {
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "he_uniform": "kaiming_uniform",
    "he_normal": "kaiming_normal",
}
_KAIMING = ("kaiming_uniform", "kaiming_normal")

SCHEME_NAMES = (
    "xavier_uniform",
    "xavier_normal",
    *_KAIMING,
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "delta_orthogonal",
    "mean_field",
    "torch",
    *_ALIASES,
)
"""What :func:`initialize` takes as ``scheme``."""


@dataclass(frozen=True)
class Scheme:
    """A scheme with its numbers.

    Attributes
    ----------
    name
        A name that is no alias.
    gain
        The weights of unit gain are multiplied by it.
    mode
        The fan that Kaiming's schemes keep the variance over.
    bias_std
        Standard deviation of the biases.
    """

    name: str
    gain: float = 1.0
    mode: Mode = "fan_in"
    bias_std: float = 0.0

    @property
    def for_matrix(self) -> Scheme:
        """The scheme for a layer that is no convolution: it has no centre to put a matrix in."""
        return replace(self, name="orthogonal") if self.name == "delta_orthogonal" else self

    @property
    def for_hidden(self) -> Scheme:
        """The scheme from one hidden state to the next, where keeping a norm matters most."""
        matrix = self.for_matrix
        return matrix if matrix.name in ("orthogonal", "mean_field") else Scheme("orthogonal")

    @property
    def words(self) -> str:
        """The scheme and its numbers, where they are not 1 and fan in."""
        gain = "" if self.gain == 1 else f", gain {self.gain:.4g}"
        return f"{self.name}{gain}{'' if self.mode == 'fan_in' else f', {self.mode}'}"

    def fill_(self, block: Tensor, generator: torch.Generator | None) -> Tensor:
        """Fill a contiguous block in place, and return it."""
        match self.name:
            case "xavier_uniform":
                init.xavier_uniform_(block, generator=generator)
            case "xavier_normal":
                init.xavier_normal_(block, generator=generator)
            case "kaiming_uniform" | "lecun_uniform":
                init.kaiming_uniform_(
                    block, mode=self.mode, nonlinearity="linear", generator=generator
                )
            case "kaiming_normal" | "lecun_normal" | "mean_field":
                init.kaiming_normal_(
                    block, mode=self.mode, nonlinearity="linear", generator=generator
                )
            case "orthogonal":
                init.orthogonal_(block, generator=generator)
            case "delta_orthogonal":
                centre = init.zeros_(block)
                for taps in block.shape[2:]:
                    centre = centre.select(2, taps // 2)
                init.orthogonal_(centre, generator=generator)
        return block.mul_(self.gain)

    def std(self, shape: tuple[int, ...]) -> float:
        """Return the standard deviation that the elements of a block should have."""
        outputs, inputs, *rest = shape
        taps = math.prod(rest)
        match self.name:
            case "xavier_uniform" | "xavier_normal":
                variance = 2 / ((inputs + outputs) * taps)
            case "orthogonal":
                variance = 1 / max(outputs, inputs * taps)
            case "delta_orthogonal":
                variance = 1 / (max(outputs, inputs) * taps)
            case _:
                variance = 1 / ((inputs if self.mode == "fan_in" else outputs) * taps)
        return self.gain * math.sqrt(variance)


def scheme_by_name(
    name: str,
    nonlinearity: str | None = None,
    gain: float | None = None,
    mode: Mode | None = None,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
) -> Scheme:
    """Return a scheme, and refuse options that it has no use for."""
    if name not in SCHEME_NAMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEME_NAMES)}, got {name!r}")
    known = _ALIASES.get(name, name)
    given = {
        "nonlinearity": nonlinearity,
        "gain": gain,
        "mode": mode,
        "weight_variance": weight_variance,
        "bias_variance": bias_variance,
    }
    for option, value in given.items():
        if value is not None and option not in _options(known):
            raise ValueError(f"the scheme {name} has no option {option}, got {option}={value!r}")
    if mode not in (None, "fan_in", "fan_out"):
        raise ValueError(f"mode must be fan_in or fan_out, got {mode!r}")
    if known == "mean_field":
        if weight_variance is None:
            raise ValueError("the scheme mean_field needs weight_variance, a number of 0 or more")
        gain = math.sqrt(at_least_zero("weight_variance", weight_variance))
        bias_std = math.sqrt(at_least_zero("bias_variance", bias_variance or 0.0))
        return Scheme(known, gain, bias_std=bias_std)
    if gain is not None and nonlinearity is not None:
        raise ValueError("give gain or nonlinearity, not both: a nonlinearity stands for a gain")
    if gain is not None:
        gain = more_than_zero("gain", gain)
    else:
        gain = _gain(nonlinearity or ("relu" if known in _KAIMING else "linear"))
    return Scheme(known, gain, mode or "fan_in")


def _options(name: str) -> tuple[str, ...]:
    if name == "torch":
        return ()
    if name == "mean_field":
        return "weight_variance", "bias_variance"
    return ("nonlinearity", "gain", "mode") if name in _KAIMING else ("nonlinearity", "gain")


def _gain(nonlinearity: str) -> float:
    try:
        # torch's annotation lists the names that it knows: any other is answered below.
        return float(init.calculate_gain("linear" if nonlinearity == "identity" else nonlinearity))  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(
            f"torch.nn.init.calculate_gain has no gain for {nonlinearity!r}: pass gain=, a number, "
            "such as the root of gradcourse.theory.critical_weight_variance"
        ) from None
