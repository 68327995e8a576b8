"""What float16 keeps of the gradients of a real network, at any loss scale."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP, seeded
from gradcourse.tasks import split_digits
from gradcourse.training import Ensemble, learning_curve, one_thread

__all__ = ["NETWORKS", "Gradients", "draw_gradients", "hidden_gradients", "measure_gradients"]

Array = NDArray[Any]

# The activation, and how many steps of training come before.
NETWORKS = {
    "tanh, fresh": ("tanh", 0),
    "tanh, trained": ("tanh", 300),
    "sigmoid, fresh": ("sigmoid", 0),
}
DEPTH, WIDTH, IMAGES = 6, 64, 256
SCALES = np.arange(-8, 41)
# log2 of a gradient's size, in steps of one half.
EDGES = np.arange(-70, 10.25, 0.5)


@dataclass(frozen=True)
class Gradients:
    """Gradients at the activations of networks on digits, and what a cast to float16 loses.

    Attributes
    ----------
    network, log2_scale
        The settings.
    log2_size
        log2 of the scaled gradients' size, the middles of the histogram's bins, shape (bins,).
    density, predicted_density
        Share of all elements in each bin: measured, and from theory; shape (bins,).
    stds
        Standard deviation of each layer's gradient, shape (seeds, layers).
    log2_scales
        The scales of the curves, shape (scales,).
    flushed, overflowed
        Share of the elements that the cast makes 0, or infinite; shape (seeds, scales).
    by_layers, by_one, overflow_theory
        The same from theory, shape (scales,): a Gaussian for each layer, and one for all of them.
    layers
        Share of each layer that the cast makes 0 at this scale, shape (seeds, layers).
    prediction
        The learner's guess of log2 of the scale that keeps most of the trained network's gradients.
    """

    network: str
    log2_scale: int
    log2_size: Array
    density: Array
    predicted_density: Array
    stds: Array
    log2_scales: Array
    flushed: Array
    overflowed: Array
    by_layers: Array
    by_one: Array
    overflow_theory: Array
    layers: Array
    prediction: float | None

    @property
    def here(self) -> int:
        """The place of the present scale among those of the curves."""
        return int(self.log2_scale - self.log2_scales[0])

    @property
    def lost(self) -> float:
        """Median share that becomes 0 at the present scale."""
        return float(np.median(self.flushed[:, self.here]))

    @property
    def curves(self) -> Array:
        """``flushed`` and ``overflowed``: median, lowest and highest seed, shape (2, 3, scales)."""
        return learning_curve(np.stack([self.flushed, self.overflowed]), 1)

    def summary(self) -> str:
        """Return the picture in one line."""
        infinite = float(np.median(self.overflowed[:, self.here]))
        return (
            f"{self.network}, loss scale 2^{self.log2_scale}: float16 makes "
            f"{100 * self.lost:.3g} % of the gradients 0 (theory, layer by layer: "
            f"{100 * self.by_layers[self.here]:.3g} %; one Gaussian for all: "
            f"{100 * self.by_one[self.here]:.3g} %) and {100 * infinite:.3g} % inf"
        )


def measure_gradients(
    log2_scale: int = 0,
    network: str = "sigmoid, fresh",
    seeds: int = 4,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Gradients:
    """Cast the gradients of a network to float16, times a loss scale (T28).

    Parameters
    ----------
    log2_scale
        -8 to 40.
    network
        A name of ``NETWORKS``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        log2 of the smallest scale at which the learner expects the trained network to lose less
        than 1 %, drawn as a star.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    if not SCALES[0] <= log2_scale <= SCALES[-1]:
        raise ValueError(f"log2_scale must be between -8 and 40, got {log2_scale}")
    guess = as_prediction(prediction) if network == "tanh, trained" else None
    known = _curves(network, seeds, first_seed)
    gradients = hidden_gradients(network, seeds, first_seed)
    with np.errstate(over="ignore"):
        half = (gradients * 2.0**log2_scale).astype(np.float16)
    return replace(
        known,
        log2_scale=log2_scale,
        log2_size=known.log2_size + log2_scale,
        layers=(half == 0).mean(axis=2),
        prediction=guess,
    )


@functools.lru_cache(maxsize=6)
@one_thread()
def hidden_gradients(network: str, seeds: int = 4, first_seed: int = 0) -> Array:
    """Return the gradient of the mean loss at what goes into each hidden layer's activation.

    Returns
    -------
    Array
        float64, shape (seeds, layers, images * units).
    """
    activation, steps = NETWORKS[network]
    (inputs, labels), _ = split_digits(1500, first_seed)
    ensemble = Ensemble(
        _network(activation, seed) for seed in range(first_seed, first_seed + seeds)
    )
    _train(ensemble, inputs, labels, steps, first_seed)
    hidden = inputs[:IMAGES].expand(seeds, -1, -1)
    sums: list[Tensor] = []
    weights = list(ensemble.parameters())
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        hidden = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))
        sums.append(hidden)
        if len(sums) <= DEPTH:
            hidden = torch.tanh(hidden) if activation == "tanh" else torch.sigmoid(hidden)
    loss = _loss(hidden, labels[:IMAGES])
    found = torch.autograd.grad(loss, sums[:DEPTH])
    return np.stack([each.reshape(seeds, -1).double().numpy() for each in found], axis=1)


def _network(activation: str, seed: int) -> MLP:
    """Return a network whose weights are normal with variance 1 / fan_in, and biases 0."""

    def make() -> MLP:
        network = MLP(64, WIDTH, DEPTH, 10, activation)
        for module in network:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        return network

    return seeded(seed, make)


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over networks of the mean loss over images."""
    networks = len(outputs)
    return networks * cross_entropy(outputs.flatten(0, 1), labels.repeat(networks))


def _train(ensemble: Ensemble, inputs: Tensor, labels: Tensor, steps: int, seed: int) -> None:
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(0, len(inputs), (128,), generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward(_loss(ensemble(inputs[rows]), labels[rows]))
        optimizer.step()


@functools.lru_cache(maxsize=6)
def _curves(network: str, seeds: int, first_seed: int) -> Gradients:
    """Return what does not depend on the present scale; the rest is that of scale 1."""
    gradients = hidden_gradients(network, seeds, first_seed)
    stds = np.sqrt(np.square(gradients).mean(axis=2))
    with np.errstate(divide="ignore"):
        sizes = np.log2(np.abs(gradients)).ravel()
    density = np.histogram(sizes, EDGES)[0] / sizes.size
    ends = scipy.special.erf(2.0**EDGES / (math.sqrt(2) * stds[..., None]))
    predicted_density = np.diff(ends, axis=-1).mean(axis=(0, 1))
    flushed, overflowed = (np.empty((seeds, SCALES.size)) for _ in range(2))
    flat = gradients.reshape(seeds, -1)
    for place, power in enumerate(SCALES):
        with np.errstate(over="ignore"):
            half = (flat * 2.0**power).astype(np.float16)
        flushed[:, place] = (half == 0).mean(axis=1)
        overflowed[:, place] = np.isinf(half).mean(axis=1)
    scales = 2.0**SCALES
    by_layers = theory.flushed_share(stds[..., None], scales).mean(axis=(0, 1))
    overflow = theory.overflowing_share(stds[..., None], scales).mean(axis=(0, 1))
    whole = math.sqrt(float(np.square(stds).mean()))
    return Gradients(
        network=network,
        log2_scale=0,
        log2_size=(EDGES[1:] + EDGES[:-1]) / 2,
        density=density,
        predicted_density=predicted_density,
        stds=stds,
        log2_scales=SCALES,
        flushed=flushed,
        overflowed=overflowed,
        by_layers=by_layers,
        by_one=theory.flushed_share(whole, scales),
        overflow_theory=overflow,
        layers=(gradients.astype(np.float16) == 0).mean(axis=2),
        prediction=None,
    )


def draw_gradients(result: Gradients, axes: dict[str, Panel]) -> None:
    """Show the histogram over the zones of float16, and what is lost against the scale."""
    sizes, lost = axes["sizes"], axes["lost"]
    kind = theory.float_format("float16")
    zero, normal, infinite = (
        math.log2(edge) for edge in (kind.flush_to, kind.smallest_normal, kind.overflow_from)
    )
    top = 0.17
    sizes.set(
        title="Scaled gradients, one by one",
        xlabel="size of a scaled gradient",
        ylabel="share of all gradients",
        xlim=(-60, 30),
        ylim=(0, top),
        xticks=range(-60, 31, 20),
        xticklabels=[f"$2^{{{power}}}$" for power in range(-60, 31, 20)],
    )
    for key, low, high, colour, words in (
        ("zero", -60, zero, "#CC3311", "0"),
        ("subnormal", zero, normal, "#EE9933", "few\nbits"),
        ("inf", infinite, 30, "#CC3311", "inf"),
    ):
        sizes.band(key, [low, high], [0, 0], [top, top], color=colour, alpha=0.13)
        sizes.text(
            f"{key} words",
            (low + high) / 2,
            0.7 * top,
            words,
            ha="center",
            va="center",
            fontweight="bold",
        )
    x = result.log2_size
    sizes.line("measured", x, result.density, color=MEASURED, label="measured")
    sizes.line(
        "theory",
        x,
        result.predicted_density,
        color=THEORY,
        ls="--",
        label="theory: a Gaussian per layer",
    )
    lost.set(
        title="Lost in float16",
        xlabel="loss scale",
        ylabel="share lost",
        xlim=(SCALES[0], SCALES[-1]),
        ylim=(-0.03, 1.05),
        xticks=range(-8, 41, 8),
        xticklabels=[f"$2^{{{power}}}$" for power in range(-8, 41, 8)],
    )
    powers = result.log2_scales
    zeros, infinities = result.curves
    for key, (middle, low, high), predicted, colour, words in (
        ("zero", zeros, result.by_layers, MEASURED, "0"),
        ("inf", infinities, result.overflow_theory, PALETTE[2], "inf"),
    ):
        lost.band(f"{key} band", powers, low, high, color=colour, alpha=0.2)
        lost.line(key, powers, middle, color=colour, lw=4, label=f"measured: becomes {words}")
        label = "theory: erf per layer" if key == "zero" else "_"
        lost.line(f"{key} theory", powers, predicted, color=THEORY, ls="--", label=label)
    lost.line(
        "one", powers, result.by_one, color=THEORY, ls=":", lw=1.8, label="theory: one erf for all"
    )
    lost.vline("scale", result.log2_scale, color="black", lw=1.2)
    if result.prediction is not None:
        place = float(np.clip(result.prediction, SCALES[0], SCALES[-1]))
        lost.mark("prediction", place, 0.01, "your prediction")
