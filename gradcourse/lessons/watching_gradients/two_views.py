"""Two logs of one run: the gradients of the weights and those of the layers' outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gradcourse.checks import at_least, more_than_zero
from gradcourse.diagnosis import GradMonitor
from gradcourse.exercises import as_prediction
from gradcourse.initialization import initialize
from gradcourse.lessons.watching_gradients.digits_run import (
    Array,
    Rows,
    batches,
    cross_entropy,
    in_pieces,
    log10,
)
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.models import MLP
from gradcourse.training import NonFiniteError, StepRecord, training_step

__all__ = ["TwoViews", "draw_two_views", "measure_two_views"]

COLORS = (PALETTE[0], PALETTE[2], PALETTE[3], PALETTE[4])
# Beyond these powers of ten nothing is drawn.
EDGES = (-20.0, 12.0)
ASKED = (24, 1.0)


@dataclass(frozen=True)
class View:
    """The log of one kind of gradient.

    Attributes
    ----------
    norms
        Shape (seeds, steps, depth), NaN where there was no step.
    shown
        Those of the layers that are drawn, summed up over the seeds.
    predicted
        log10 of what theory says of these layers at the first step, given what was measured in the
        last one; shape (layers drawn,).
    """

    norms: Array
    shown: tuple[Rows, ...]
    predicted: Array

    @property
    def change(self) -> float:
        """log10 of the first layer's gradient relative to the last's, at step 0, median seed."""
        ratios = log10(self.norms[:, 0, 0]) - log10(self.norms[:, 0, -1])
        return float(np.median(ratios))


@dataclass(frozen=True)
class TwoViews:
    """The gradients of some layers over the steps, seen in two ways.

    Attributes
    ----------
    depth, weight_scale, learning_rate
        As set.
    layers
        Which layers are drawn, counted from 1.
    outputs, weights
        The gradients with respect to the layers' outputs and to their weights.
    loss
        Shape (seeds, steps), NaN where there was no step.
    progress
        The share of the work that is done.
    prediction
        log10 of the first layer's output gradient at step 0 as the learner expects it, if there is
        a prediction.
    """

    depth: int
    weight_scale: float
    learning_rate: float
    layers: tuple[int, ...]
    outputs: View
    weights: View
    loss: Array
    progress: float
    prediction: float | None

    @property
    def stopped(self) -> int | None:
        """The first step whose loss or gradient is not finite in some run, or None."""
        done = round(self.progress * self.loss.shape[1])
        bad = ~np.isfinite(self.loss + self.weights.norms.sum(axis=2)).all(axis=0)[:done]
        return int(bad.argmax()) if bad.any() else None

    def summary(self) -> str:
        """Return the picture in one line."""
        outputs, weights = self.outputs, self.weights
        line = (
            f"{self.depth} layers, weight scale {self.weight_scale:.3g}: at step 0, from the last "
            f"layer to the first, the gradient of the outputs changes by 10^{outputs.change:.1f} "
            f"(theory: 10^{outputs.predicted[0] - outputs.predicted[-1]:.1f}) and that of the "
            f"weights by 10^{weights.change:.1f} (theory: 10^0.0)"
        )
        if self.stopped is not None:
            return f"{line}; not finite from step {self.stopped} on"
        done = round(self.progress * self.loss.shape[1])
        final = np.median(self.loss[:, max(0, done - 5) : done])
        return f"{line}; loss {final:.3g} at learning rate {self.learning_rate:.3g}"


def measure_two_views(
    depth: int = 24,
    weight_scale: float = 1.0,
    learning_rate: float = 0.1,
    steps: int = 60,
    seeds: int = 3,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[TwoViews]:
    """Train deep ReLU networks on digits and log each layer's gradient in two ways (T13).

    Parameters
    ----------
    depth
        Hidden layers, each 64 wide.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``; there are no biases.
    learning_rate
        Of plain SGD; the norm of all gradients is clipped to 1.
    steps, seeds, first_seed
        How many steps, how many runs, and the first of their seeds.
    prediction
        log10 of the output gradient of layer 1 over that of the last layer, at step 0, as the
        learner expects it of the default depth and scale; drawn as a star there.
    """
    depth, steps = at_least(1, "depth", depth), at_least(1, "steps", steps)
    more_than_zero("weight_scale", weight_scale)
    more_than_zero("learning_rate", learning_rate)
    runs = [
        _Run(seed, depth, weight_scale, learning_rate)
        for seed in range(first_seed, first_seed + at_least(1, "seeds", seeds))
    ]
    layers = tuple(sorted({round(1 + (depth - 1) * share / 3) for share in range(4)}))
    guess = as_prediction(prediction) if (depth, weight_scale) == ASKED else None

    def go_on(until: int) -> None:
        for run in runs:
            run.go_on(until)

    for done in in_pieces(go_on, steps):
        tables = [run.tables(steps) for run in runs]
        outputs, weights, loss = (np.stack(found) for found in zip(*tables, strict=True))
        per_layer = math.log10(weight_scale / math.sqrt(2))
        seen = _view(outputs, layers, per_layer)
        yield TwoViews(
            depth=depth,
            weight_scale=weight_scale,
            learning_rate=learning_rate,
            layers=layers,
            outputs=seen,
            weights=_view(weights, layers, 0.0),
            loss=loss,
            progress=done / steps,
            prediction=None if guess is None else guess + float(seen.predicted[-1]),
        )


def _view(norms: Array, layers: tuple[int, ...], per_layer: float) -> View:
    last = float(np.median(log10(norms[:, 0, -1])))
    predicted = last + per_layer * (layers[-1] - np.array(layers))
    return View(norms, tuple(Rows.of(norms[..., layer - 1]) for layer in layers), predicted)


class _Run:
    """One run and its log."""

    def __init__(self, seed: int, depth: int, weight_scale: float, learning_rate: float) -> None:
        self.model = MLP(64, 64, depth, out_features=10, activation="relu", bias=False)
        generator = torch.Generator().manual_seed(seed)
        initialize(self.model, "lecun_normal", gain=weight_scale, generator=generator)
        self.depth = depth
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=learning_rate)
        self.monitor = GradMonitor(self.model)
        self.batches = batches(seed)
        self.records: list[StepRecord] = []
        self.stopped = False

    def go_on(self, until: int) -> None:
        """Train until a step, unless the guard has stopped the run."""
        with self.monitor:
            while len(self.records) < until and not self.stopped:
                try:
                    record = training_step(
                        self.model,
                        self.optimizer,
                        cross_entropy,
                        next(self.batches),
                        max_norm=1.0,
                        monitor=self.monitor,
                    )
                except NonFiniteError:
                    self.stopped = True
                else:
                    self.records.append(record)

    def tables(self, steps: int) -> tuple[Array, Array, Array]:
        """Return both kinds of gradient, shape (steps, depth), and the loss, shape (steps,)."""
        history, done = self.monitor.history, len(self.records)
        found = []
        for norms, ending in ((history.layers, ""), (history.parameters, ".weight")):
            table = np.full((steps, self.depth), np.nan)
            for layer in range(self.depth):
                table[:done, layer] = norms[f"{2 * layer}{ending}"][:done]
            found.append(table)
        loss = np.full(steps, np.nan)
        loss[:done] = [record.loss for record in self.records]
        return found[0], found[1], loss


def draw_two_views(result: TwoViews, axes: dict[str, Panel]) -> None:
    """Show the log of some layers: the gradient of their weights, and of their outputs."""
    steps = np.arange(result.loss.shape[1])
    shown = [end for view in (result.outputs, result.weights) for end in _ends(view)]
    if result.prediction is not None:
        axes["outputs"].mark("prediction", 0, result.prediction, "your prediction")
        shown.append(result.prediction)
    for name, title, view in (
        ("weights", "Gradient of the weights", result.weights),
        ("outputs", "Gradient of the outputs", result.outputs),
    ):
        panel = axes[name]
        panel.set(title=title, xlabel="step", xlim=(0, len(steps)))
        panel.decades("y", max(min(shown), EDGES[0]), min(max(shown), EDGES[1]))
        for place, (layer, rows) in enumerate(zip(result.layers, view.shown, strict=True)):
            color = COLORS[place]
            panel.band(f"band {place}", steps, rows.low, rows.high, color=color, alpha=0.2)
            panel.line(
                f"layer {place}", steps, rows.median, color=color, label=f"measured: layer {layer}"
            )
        for place, level in enumerate(view.predicted):
            label = {"label": "theory: at step 0"} if place == 0 else {}
            panel.line(
                f"theory {place}",
                steps[[0, -1]],
                [level, level],
                color=THEORY,
                ls="--",
                lw=1.5,
                **label,
            )
    axes["weights"].set(ylabel="norm")


def _ends(view: View) -> list[float]:
    return [end for rows in view.shown for end in rows.ends()] + [*view.predicted.tolist()]
