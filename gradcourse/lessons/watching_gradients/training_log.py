"""The training log: loss, gradient norm and update:weight ratio of small networks on digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.diagnosis import GradMonitor, layer_grad_norms, update_ratios
from gradcourse.exercises import as_prediction
from gradcourse.initialization import initialize
from gradcourse.lessons.watching_gradients.digits_run import (
    Array,
    Rows,
    batches,
    cross_entropy,
    in_pieces,
)
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP
from gradcourse.training import NonFiniteError, training_step

__all__ = ["TrainingLog", "draw_training_log", "measure_training_log"]

GUIDE = -3.0
ASKED = (0.1, 1.0, "xavier_normal", 4)
CHANCE = math.log10(math.log(10))
LABEL = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
# What lies beyond is not drawn: an update a million times its weight says enough.
EDGES = (-9.0, 6.0)


@dataclass(frozen=True)
class Shown:
    """What is drawn of a log: log10, summed up over the runs.

    Attributes
    ----------
    loss, norm
        Measured.
    layers
        The norm from those of the layers, median over the runs, shape (steps,).
    ratio
        Measured, of the first and of the last layer.
    predicted
        The same by SGD's formula, median over the runs, each of shape (steps,).
    """

    loss: Rows
    norm: Rows
    layers: Array
    ratio: tuple[Rows, Rows]
    predicted: tuple[Array, Array]


@dataclass(frozen=True)
class TrainingLog:
    """The log of some training runs; rows are seeds, columns steps, NaN where there was no step.

    Attributes
    ----------
    learning_rate, max_norm, scheme, depth
        As set.
    loss, norm
        The loss, and the norm of all gradients before clipping; shape (seeds, steps).
    layers_norm
        The root of the sum of the layers' squared norms, shape (seeds, steps).
    ratio
        ``|change| / |weights|`` of the first and of the last layer, shape (2, seeds, steps).
    predicted_ratio
        What SGD's formula says of it, shape (2, seeds, steps).
    clip_rate
        The share of steps that were clipped.
    predicted_clip_rate
        The same if the logarithm of all these norms were normal.
    shown
        The same as it is drawn.
    progress
        The share of the work that is done.
    prediction
        The learner's guess of log10 of the first layer's ratio at the end, if there is one.
    """

    learning_rate: float
    max_norm: float
    scheme: str
    depth: int
    loss: Array
    norm: Array
    layers_norm: Array
    ratio: Array
    predicted_ratio: Array
    clip_rate: float
    predicted_clip_rate: float
    shown: Shown
    progress: float
    prediction: float | None

    @property
    def stopped(self) -> int | None:
        """The first step whose loss or gradient is not finite in some run, or None."""
        done = round(self.progress * self.loss.shape[1])
        bad = ~np.isfinite(self.loss[:, :done] + self.norm[:, :done]).all(axis=0)
        return int(bad.argmax()) if bad.any() else None

    @property
    def typical_ratio(self) -> Array:
        """The median ratio of the first and of the last layer, over runs and steps."""
        values = self.ratio.reshape(2, -1)
        return np.array([_median(row[np.isfinite(row)]) for row in values])

    def summary(self) -> str:
        """Return the picture in one line."""
        first, last = (_power(ratio) for ratio in self.typical_ratio)
        line = (
            f"{self.depth} layers, {self.scheme}, learning rate {self.learning_rate:.3g}: "
            f"max_norm {self.max_norm:.3g} clipped {self.clip_rate:.0%} of the steps "
            f"(theory: {self.predicted_clip_rate:.0%}); "
            f"a step moves the first layer by {first} of its weights, the last by {last}"
        )
        if self.stopped is not None:
            return f"{line}; a run is not finite from step {self.stopped} on"
        done = round(self.progress * self.loss.shape[1])
        return f"{line}; loss {np.median(self.loss[:, max(0, done - 10) : done]):.3g}"


def measure_training_log(
    learning_rate: float = 0.1,
    max_norm: float = 1.0,
    scheme: str = "xavier_normal",
    depth: int = 4,
    steps: int = 150,
    seeds: int = 4,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[TrainingLog]:
    """Train small ReLU networks on digits and write the log, some steps at a time.

    Parameters
    ----------
    learning_rate, max_norm
        Of plain SGD, and of clipping by the global norm; above 0.
    scheme
        A name that ``gradcourse.initialization.initialize`` knows.
    depth
        Hidden layers, each 64 wide.
    steps, seeds, first_seed
        How many steps, how many runs, and the first of their seeds.
    prediction
        log10 of the first layer's update:weight ratio that the learner expects at the end with the
        default settings, drawn as a star there.
    """
    more_than_zero("learning_rate", learning_rate)
    more_than_zero("max_norm", max_norm)
    steps, seeds = at_least(1, "steps", steps), at_least(1, "seeds", seeds)
    runs = [
        _Run(seed, learning_rate, max_norm, scheme, depth, steps)
        for seed in range(first_seed, first_seed + seeds)
    ]
    settings = (learning_rate, max_norm, scheme, depth)
    guess = as_prediction(prediction) if settings == ASKED else None

    def go_on(until: int) -> None:
        for run in runs:
            run.go_on(until)

    for done in in_pieces(go_on, steps):
        table = np.stack([run.table for run in runs], axis=1)
        clipped = float(np.mean([run.monitor.clip_rate() for run in runs]))
        loss, norm, layers, *ratios = table
        ratio, predicted = np.array(ratios[:2]), np.array(ratios[2:])
        shown = Shown(
            Rows.of(loss),
            Rows.of(norm),
            Rows.of(layers).median,
            (Rows.of(ratio[0]), Rows.of(ratio[1])),
            (Rows.of(predicted[0]).median, Rows.of(predicted[1]).median),
        )
        yield TrainingLog(
            learning_rate=learning_rate,
            max_norm=max_norm,
            scheme=scheme,
            depth=depth,
            loss=loss,
            norm=norm,
            layers_norm=layers,
            ratio=ratio,
            predicted_ratio=predicted,
            clip_rate=clipped,
            predicted_clip_rate=_predicted_clip_rate(norm, max_norm),
            shown=shown,
            progress=done / steps,
            prediction=guess,
        )


def _predicted_clip_rate(norm: Array, max_norm: float) -> float:
    logs = np.log(norm[np.isfinite(norm) & (norm > 0)])
    if logs.size == 0 or not logs.std() > 0:
        return math.nan
    rate = theory.lognormal_clip_rate(max_norm, math.exp(logs.mean()), float(logs.std()))
    return float(rate)


class _Run:
    """One run and its log."""

    def __init__(
        self,
        seed: int,
        learning_rate: float,
        max_norm: float,
        scheme: str,
        depth: int,
        steps: int,
    ) -> None:
        self.model = MLP(64, 64, depth, out_features=10, activation="relu")
        initialize(self.model, scheme, generator=torch.Generator().manual_seed(seed))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=learning_rate)
        self.monitor = GradMonitor(self.model)
        self.batches = batches(seed)
        self.learning_rate, self.max_norm = learning_rate, max_norm
        layers = [module for module in self.model if isinstance(module, nn.Linear)]
        self.ends = {"0.weight": layers[0].weight, f"{2 * depth}.weight": layers[-1].weight}
        self.table = np.full((7, steps), np.nan)
        self.done, self.stopped = 0, False

    def go_on(self, until: int) -> None:
        """Train until a step, unless the guard has stopped the run."""
        while self.done < until and not self.stopped:
            self._step()
            self.done += 1

    def _step(self) -> None:
        before = [float(weight.detach().norm()) for weight in self.ends.values()]
        try:
            with update_ratios(self.model) as ratios:
                record = training_step(
                    self.model,
                    self.optimizer,
                    cross_entropy,
                    next(self.batches),
                    max_norm=self.max_norm,
                    monitor=self.monitor,
                )
        except NonFiniteError:
            self.stopped = True
            return
        self.table[:2, self.done] = record.loss, record.norm
        if record.skipped:
            return
        # The gradients are clipped by now; the layers' norms before that are all longer by this.
        factor = record.norm / self.max_norm if record.clipped else 1.0
        layers = [factor * norm for norm in layer_grad_norms(self.model).values()]
        self.table[2, self.done] = math.hypot(*layers)
        for row, (name, size) in enumerate(zip(self.ends, before, strict=True)):
            own = factor * float(self.ends[name].grad.norm())  # type: ignore[union-attr]
            self.table[3 + row, self.done] = ratios[name]
            self.table[5 + row, self.done] = theory.sgd_update_ratio(
                self.learning_rate, own, size, record.norm, self.max_norm
            )


def draw_training_log(result: TrainingLog, axes: dict[str, Panel]) -> None:
    """Show loss, gradient norm and update:weight ratio, each beside theory."""
    shown = result.shown
    loss, norm, ratio = axes["loss"], axes["norm"], axes["ratio"]
    steps = np.arange(len(shown.loss.median))
    for panel, title in ((loss, "Loss"), (norm, "Gradient norm"), (ratio, "Update : weight")):
        panel.set(title=title, xlabel="step", xlim=(0, len(steps)))

    _draw_rows(loss, "loss", steps, shown.loss, MEASURED, "measured")
    loss.hline("chance", CHANCE, color=THEORY, ls="--", label="theory: guessing")
    _decades(loss, [shown.loss], [CHANCE - 0.5, CHANCE + 0.5])

    _draw_rows(norm, "norm", steps, shown.norm, MEASURED, "measured")
    norm.line(
        "layers", steps, shown.layers, color=THEORY, ls="--", lw=1.8, label="theory: from layers"
    )
    cap = math.log10(result.max_norm)
    norm.hline("max_norm", cap, color="black", ls=":", lw=2)
    norm.text("its name", 2, cap, "max_norm", va="top", bbox=LABEL)
    norm.note(f"clipped {result.clip_rate:.0%}", "lower right")
    _decades(norm, [shown.norm], [cap, cap + 0.5])

    for row, (name, color) in enumerate((("first", MEASURED), ("last", PALETTE[2]))):
        _draw_rows(ratio, name, steps, shown.ratio[row], color, f"measured: {name} layer")
        style = {"label": "theory: lr·|g|/|w|"} if row == 0 else {}
        predicted = shown.predicted[row]
        ratio.line(f"theory {name}", steps, predicted, color=THEORY, ls="--", lw=1.8, **style)
    ratio.hline("guide", GUIDE, color="black", ls=":", lw=2)
    ratio.text("its name", 2, GUIDE, "guide", va="bottom", bbox=LABEL)
    also = [GUIDE - 1, GUIDE + 1]
    if result.prediction is not None:
        ratio.mark("prediction", len(steps) - 1, result.prediction, "your prediction")
        also.append(result.prediction)
    _decades(ratio, list(shown.ratio), also)


def _draw_rows(panel: Panel, key: str, steps: Array, rows: Rows, color: str, label: str) -> None:
    panel.band(f"{key} band", steps, rows.low, rows.high, color=color, alpha=0.2)
    panel.line(key, steps, rows.median, color=color, label=label)


def _decades(panel: Panel, rows: list[Rows], also: list[float]) -> None:
    seen = [end for one in rows for end in one.ends()] + also
    panel.decades("y", max(min(seen), EDGES[0]), min(max(seen), EDGES[1]))


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _power(value: float) -> str:
    return f"10^{math.log10(value):.1f}" if value > 0 else "0"
