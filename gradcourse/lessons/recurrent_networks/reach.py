"""How much gradient reaches back: a tanh RNN, an LSTM and a GRU on the same inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse import theory
from gradcourse.checks import at_least, between
from gradcourse.exercises import as_prediction
from gradcourse.initialization import chrono_, forget_gate_bias_, update_gate_bias_
from gradcourse.live import PALETTE, THEORY, Panel, snap_up
from gradcourse.models import Unrolled, seeded
from gradcourse.signals.words import median
from gradcourse.training import Ensemble, one_thread

__all__ = [
    "COLORS",
    "NETWORKS",
    "WEIGHTS",
    "Reach",
    "cell_gradient",
    "draw_reach",
    "measure_reach",
    "reached_back",
]

Array = NDArray[Any]
Layer = nn.RNN | nn.LSTM | nn.GRU

NETWORKS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {
    "tanh RNN": nn.RNN,
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
}
COLORS = {"tanh RNN": PALETTE[2], "LSTM": PALETTE[0], "GRU": PALETTE[3]}
WEIGHTS = ("torch's default", "orthogonal", "zero")
FEATURES, HIDDEN, SAMPLES, SEEDS = 8, 32, 8, 6
LOWEST = -30.0


@dataclass(frozen=True)
class Reach:
    """How much of a gradient reaches back, for three networks.

    Attributes
    ----------
    steps, forget_bias, weights
        As given.
    log10
        By network: log10 of the gradient's norm at each step back, relative to the last step; at
        the state, for the LSTM at the memory cell. Shape (seeds, steps); -inf for 0.
    median, low, high
        By network: the median, lowest and highest seed of it.
    gate
        Theory: log10 of ``sigmoid(forget_bias)**t``, shape (steps,).
    mean_field
        Theory: log10 for the tanh RNN, shape (steps,).
    prediction
        The learner's guess of log10 of what is left of the LSTM's gradient, if there is one.
    """

    steps: int
    forget_bias: float
    weights: str
    log10: dict[str, Array]
    median: dict[str, Array]
    low: dict[str, Array]
    high: dict[str, Array]
    gate: Array
    mean_field: Array
    prediction: float | None

    def rates(self, network: str) -> Array:
        """Return the factor per step of each seed, shape (seeds,): over the second half.

        The first steps back differ, while the gradient still finds its way.
        """
        rows = self.log10[network]
        half = (self.steps - 1) // 2
        with np.errstate(invalid="ignore"):
            slopes = (rows[:, -1] - rows[:, half]) / (self.steps - 1 - half)
        return np.asarray(10 ** np.where(np.isneginf(rows[:, -1]), -np.inf, slopes))

    def summary(self) -> str:
        """Return the picture in one line."""
        left = ", ".join(f"{name} {_power(row[-1])}" for name, row in self.median.items())
        rates = ", ".join(f"{np.median(self.rates(name)):.3f}" for name in self.log10)
        return (
            f"{self.weights} weights, forget bias {self.forget_bias:g}, {self.steps} steps: "
            f"left of the gradient {left} (a gate alone: 10^{self.gate[-1]:.1f}); "
            f"per step {rates} (sigmoid(bias): {theory.gate_memory(1, self.forget_bias):.3f})"
        )


class _Last(nn.Module):
    """A layer whose last output depends on zeros that were added to every state."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.run = Unrolled(layer)

    def forward(self, inputs: tuple[Tensor, Any]) -> Tensor:
        outputs, _ = self.run(inputs[0], nudge=inputs[1])
        last: Tensor = outputs[-1]
        return last


@one_thread()
def reached_back(layers: list[Layer], inputs: Tensor, seed: int = 0) -> Array:
    """Send a random gradient from the last state of some layers of one kind back to every state.

    Parameters
    ----------
    layers
        Alike but for their weights, in float64.
    inputs
        Shape (layers, steps, batch, features).
    seed
        Chooses the gradient at the last state.

    Returns
    -------
    array of shape (layers, steps)
        log10 of the norm at each state, for an LSTM at each memory cell, from the last step back
        and relative to it.
    """
    ensemble = Ensemble([_Last(layer) for layer in layers])
    shape = *inputs.shape[:3], layers[0].hidden_size
    nudge = torch.zeros(shape, dtype=inputs.dtype, requires_grad=True)
    zeros = torch.zeros(shape, dtype=inputs.dtype)
    nudges = (zeros, nudge) if isinstance(layers[0], nn.LSTM) else nudge
    last = ensemble((inputs, nudges), shared=False)
    source = torch.Generator().manual_seed(seed)
    cotangent = torch.randn(last.shape, generator=source, dtype=inputs.dtype)
    (gradient,) = torch.autograd.grad((last * cotangent).sum(), nudge)
    norms = gradient.flatten(2).norm(dim=2).flip(1).numpy()
    with np.errstate(divide="ignore"):
        log10 = np.log10(norms)
    return np.asarray(log10 - log10[:, :1])


def cell_gradient(
    forget_bias: float | None, chrono: float | None, inputs: Tensor, hidden: int, first_seed: int
) -> Array:
    """Return what :func:`reached_back` finds for LSTMs of torch's weights, one for each input.

    Parameters
    ----------
    forget_bias
        Of the forget gates, or None for torch's own biases.
    chrono
        The longest time of chrono biases, or None for none.
    inputs
        Shape (layers, steps, batch, features), float64.
    hidden
        Units.
    first_seed
        The first of the layers' seeds.
    """

    def make() -> nn.LSTM:
        layer = nn.LSTM(inputs.shape[-1], hidden)
        if forget_bias is not None:
            forget_gate_bias_(layer, forget_bias)
        if chrono is not None:
            chrono_(layer, chrono)
        return layer.double()

    layers: list[Layer] = [seeded(first_seed + one, make) for one in range(len(inputs))]
    return reached_back(layers, inputs, first_seed)


def measure_reach(
    steps: int = 50,
    forget_bias: float = 0.0,
    weights: str = "torch's default",
    first_seed: int = 0,
    prediction: float | None = None,
) -> Reach:
    """Send gradients back through an RNN, an LSTM and a GRU of 32 units (T22).

    Parameters
    ----------
    steps
        Length of the sequences, whose 8 inputs are standard normal; 3 or more.
    forget_bias
        The bias of the LSTM's forget gates and of the GRU's update gates, both biases of torch
        added up; -10 to 10. Other biases are torch's.
    weights
        ``"torch's default"``, ``"orthogonal"`` for orthogonal recurrent weights, gate by gate, or
        ``"zero"`` for weights and other biases of 0.
    first_seed
        The first of the seeds of six networks of each kind.
    prediction
        log10 of what the learner expects to be left in the LSTM after 50 steps, with torch's
        weights and forget bias 0; drawn as a star there.
    """
    steps = at_least(3, "steps", steps)
    bias = between(-10, 10, "forget_bias", forget_bias)
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    source = torch.Generator().manual_seed(first_seed)
    shape = SEEDS, steps, SAMPLES, FEATURES
    inputs = torch.randn(shape, generator=source, dtype=torch.float64)
    log10 = {}
    for name in NETWORKS:
        layers = [_layer(name, bias, weights, first_seed + seed) for seed in range(SEEDS)]
        log10[name] = reached_back(layers, inputs, first_seed)
    back = np.arange(steps)
    asked = (steps, bias, weights) == (50, 0.0, WEIGHTS[0])
    mean_field = np.where(back > 0, -np.inf, 0.0)
    if weights != "zero":
        mean_field = back * math.log10(_root_chi(weights))
    return Reach(
        steps,
        bias,
        weights,
        log10,
        {name: median(rows) for name, rows in log10.items()},
        {name: rows.min(axis=0) for name, rows in log10.items()},
        {name: rows.max(axis=0) for name, rows in log10.items()},
        np.log10(theory.gate_memory(back, bias)),
        mean_field,
        as_prediction(prediction) if asked else None,
    )


def _layer(network: str, bias: float, weights: str, seed: int) -> Layer:
    layer = seeded(seed, lambda: NETWORKS[network](FEATURES, HIDDEN)).double()
    if weights == "zero":
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    if weights == "orthogonal":
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for block in torch.split(layer.get_parameter("weight_hh_l0"), HIDDEN):
                block.copy_(nn.init.orthogonal_(torch.empty_like(block), generator=source))
    if isinstance(layer, nn.LSTM):
        forget_gate_bias_(layer, bias)
    if isinstance(layer, nn.GRU):
        update_gate_bias_(layer, bias)
    return layer


def _root_chi(weights: str) -> float:
    """Return the factor per step that mean field predicts for the tanh RNN."""
    # Torch draws every number of a layer with variance 1 / (3 units): inputs, weights, two biases.
    drive = (FEATURES + 2) / (3 * HIDDEN)
    variance = 1.0 if weights == "orthogonal" else 1 / 3
    q = theory.length_fixed_point("tanh", variance, drive)
    return math.sqrt(theory.chi("tanh", q, variance))


def _power(log10: float) -> str:
    return "0" if np.isneginf(log10) else f"10^{log10:.1f}"


def draw_reach(result: Reach, axes: Panel) -> None:
    """Show the gradient of each network at each step back, beside theory."""
    back = np.arange(result.steps)
    axes.set(
        xlabel="steps back",
        ylabel="norm, relative to the last step",
        xlim=(0, snap_up(result.steps)),
    )
    shown = [np.array([-1.0, 0.5]), result.gate]
    for name, row in result.median.items():
        shown += [result.low[name], result.high[name]]
        color = COLORS[name]
        axes.band(f"{name} band", back, result.low[name], result.high[name], color=color, alpha=0.2)
        label = f"measured: {name}"
        axes.line(name, back, row, color=color, lw=3.5, label=label)
    axes.line("gate", back, result.gate, color=THEORY, ls="--", label="theory: sigmoid(bias)$^t$")
    axes.line(
        "mean field",
        back,
        result.mean_field,
        color=THEORY,
        ls=":",
        label="theory: tanh, mean field",
    )
    if result.prediction is not None:
        shown.append(np.array([result.prediction]))
        axes.mark("prediction", result.steps - 1, result.prediction, "your prediction")
    ends = np.concatenate(shown)
    ends = np.clip(ends[np.isfinite(ends)], LOWEST, None)
    axes.decades("y", float(ends.min()), float(ends.max()))
    if result.weights == "zero":
        axes.note("tanh RNN: exactly 0 after one step", "lower left")
