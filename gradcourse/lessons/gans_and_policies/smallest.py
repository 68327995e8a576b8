"""The smallest GAN: one number against one number, and a spiral that theory knows exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["LOSSES", "Spiral", "draw_spiral", "measure_spiral", "play"]

Array = NDArray[Any]

# The slope of each loss at a score of 0.
LOSSES = {"Wasserstein": 1.0, "logistic": 0.5}
START = (1.0, 0.0)
PENALTIES = np.linspace(0.0, 3.0, 61)
# Starts this near to the equilibrium feel only the slope of the loss there.
NEAR = 1e-6
LONG_RUN = 400
# A path further out than this is not drawn on.
FAR = 6.0
# Where the learner is asked for a prediction.
ASKED_STEP = 100


@dataclass(frozen=True)
class Spiral:
    """Generator and critic of the smallest GAN, step by step, beside the linear theory.

    Attributes
    ----------
    path, predicted
        Generator and critic after each step, shape (steps + 1, 2).
    rates
        How a step changes the distance in the long run for each of the penalties, measured near the
        equilibrium, shape (penalties,).
    predicted_rates
        The size of the larger eigenvalue, the same shape.
    penalty
        The present one.
    here, predicted_here
        The factor per step at the present penalty.
    window
        Theory: the penalties between which the game converges.
    prediction
        The learner's guess of the distance after 100 steps, if there is one.
    """

    path: Array
    predicted: Array
    rates: Array
    predicted_rates: Array
    penalty: float
    here: float
    predicted_here: float
    window: tuple[float, float]
    prediction: float | None

    @property
    def distance(self) -> Array:
        """log10 of the measured distance from the equilibrium, shape (steps + 1,)."""
        return _log10(self.path)

    @property
    def predicted_distance(self) -> Array:
        """The same from theory."""
        return _log10(self.predicted)

    def summary(self) -> str:
        """Return the picture in one line."""
        low, high = self.window
        converges = f"penalties from {low:.3g} to {high:.3g}" if low < high else "no penalty"
        last = len(self.path) - 1
        found = " and ".join(
            f"{10 ** self.distance[step]:.3g} after {step} steps "
            f"(theory: {10 ** self.predicted_distance[step]:.3g})"
            for step in sorted({min(ASKED_STEP, last), last})
        )
        return (
            f"the distance is {found}; a step near the equilibrium "
            f"changes it by {self.here:.4f} (theory: {self.predicted_here:.4f}); converges with "
            f"{converges}"
        )


def measure_spiral(
    generator_rate: float = 0.2,
    critic_rate: float = 0.2,
    penalty: float = 0.0,
    updates: str = "simultaneous",
    loss: str = "Wasserstein",
    steps: int = 150,
    prediction: float | None = None,
) -> Spiral:
    """Let generator and critic of the smallest GAN descend, and predict where they go.

    Parameters
    ----------
    generator_rate, critic_rate
        Learning rates, above 0.
    penalty
        Strength of the gradient penalty, 0 or more.
    updates
        ``"simultaneous"``, or ``"alternating"``: the generator answers the critic's new score.
    loss
        A name from ``LOSSES``.
    steps
        How many, 1 or more.
    prediction
        The distance after 100 steps that the learner expects of the first setting, drawn as a star.
    """
    at_least(1, "steps", steps)
    if updates not in ("simultaneous", "alternating"):
        raise ValueError(f"updates must be simultaneous or alternating, got {updates!r}")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    more_than_zero("critic_rate", critic_rate)
    rates, slope = (generator_rate, critic_rate), LOSSES[loss]
    alternating = updates == "alternating"
    predicted = theory.dirac_gan_path(steps, *rates, slope, penalty, alternating, START)
    path = play(steps, *rates, penalty, alternating, loss)
    present = np.array([penalty])
    plain = math.isclose(penalty, 0, abs_tol=1e-9) and (updates, loss) == (
        "simultaneous",
        "Wasserstein",
    )
    asked = plain and all(math.isclose(rate, 0.2) for rate in rates)
    guess = as_prediction(prediction) if asked else None
    return Spiral(
        path,
        predicted,
        _long_run(PENALTIES, *rates, alternating, loss),
        np.array([theory.dirac_gan_rate(*rates, slope, each, alternating) for each in PENALTIES]),
        penalty,
        float(_long_run(present, *rates, alternating, loss)[0]),
        theory.dirac_gan_rate(*rates, slope, penalty, alternating),
        theory.dirac_gan_penalties(*rates, slope, alternating),
        more_than_zero("prediction", guess) if guess is not None else None,
    )


def play(
    steps: int,
    generator_rate: float,
    critic_rate: float,
    penalty: float = 0.0,
    alternating: bool = False,
    loss: str = "Wasserstein",
    max_norm: float = math.inf,
    start: tuple[float, float] = START,
) -> Array:
    """Return generator and critic after each step, shape (steps + 1, 2).

    ``max_norm`` clips the gradient of both players together, as one vector; simultaneous only.
    """
    place = np.array(start, np.float64)
    path = [place]
    for _ in range(steps):
        place = _step(place, generator_rate, critic_rate, penalty, alternating, loss, max_norm)
        path.append(place)
    return np.array(path)


def _step(
    place: Array,
    generator_rate: float,
    critic_rate: float,
    penalty: Any,
    alternating: bool,
    loss: str,
    max_norm: float = math.inf,
) -> Array:
    """Return the pairs of generator and critic, in the first axis, after one step."""
    sample, score = place
    with np.errstate(over="ignore", invalid="ignore"):
        critic = _push(score * sample, loss) * sample + penalty * score
        answered = score - critic_rate * critic if alternating else score
        generator = -_push(-answered * sample, loss) * answered
        factor = np.minimum(1.0, max_norm / np.maximum(np.hypot(generator, critic), 1e-300))
        moved = sample - generator_rate * factor * generator, score - critic_rate * factor * critic
    return np.array(moved)


def _push(cost: Array, loss: str) -> Any:
    """Return the slope of the loss: of the cost itself, or of ``log(1 + exp(cost))``."""
    return np.ones_like(cost) if loss == "Wasserstein" else scipy.special.expit(cost)


def _long_run(
    penalties: Array, generator_rate: float, critic_rate: float, alternating: bool, loss: str
) -> Array:
    """Return the measured factor per step near the equilibrium for each penalty."""
    place = NEAR * np.stack([np.ones_like(penalties), np.full_like(penalties, 0.5)])
    logs = np.zeros((2, len(penalties)))
    for half in range(2):
        for _ in range(LONG_RUN // 2):
            place = _step(place, generator_rate, critic_rate, penalties, alternating, loss)
            size = np.maximum(np.hypot(*place), 1e-300)
            logs[half] += np.log(size / NEAR)
            place = place * (NEAR / size)
    return np.asarray(np.exp(logs[1] / (LONG_RUN // 2)))


def _log10(path: Array) -> Array:
    return np.asarray(np.log10(np.maximum(np.hypot(*path.T), 1e-300)))


def draw_spiral(result: Spiral, axes: dict[str, Panel]) -> None:
    """Show both players in the plane, their distance from it all, and the factor per step."""
    plane, distance, rate = axes["plane"], axes["distance"], axes["rate"]
    reach = float(np.clip(np.abs(result.path).max(), 1.0, FAR))
    edge = next(limit for limit in (1.25, 2.5, FAR) if reach <= limit)
    plane.set(
        title="Generator against critic",
        xlabel="generator: place of its samples",
        ylabel="critic: its slope",
        xlim=(-edge, edge),
        ylim=(-edge, edge),
    )
    styles: dict[str, dict[str, Any]] = {
        "measured": {"color": MEASURED, "marker": ".", "ms": 6, "lw": 1.5},
        "theory": {"color": THEORY, "ls": "--", "lw": 1.8},
    }
    for (name, style), path in zip(styles.items(), (result.path, result.predicted), strict=True):
        seen = np.where(np.abs(path).max(axis=1, keepdims=True) <= 2 * FAR, path, np.nan)
        plane.line(name, *seen.T, label=f"{name}: path", **style)
    plane.line("data", [0], [0], color="black", marker="X", ms=11, ls="", label="equilibrium")
    steps = np.arange(len(result.path))
    distance.set(title="Distance from the equilibrium", xlabel="step", xlim=(0, steps[-1]))
    shown = np.concatenate([result.distance, result.predicted_distance, [-0.5, 0.5]])
    if result.prediction is not None:
        shown = np.append(shown, math.log10(result.prediction))
    shown = np.clip(shown[np.isfinite(shown)], -12, 40)
    distance.decades("y", float(shown.min()), float(shown.max()))
    distance.line("measured", steps, result.distance, color=MEASURED, lw=4, label="measured")
    distance.line(
        "theory", steps, result.predicted_distance, color=THEORY, ls="--", label="theory: linear"
    )
    rate.set(
        title="Factor per step, near it",
        xlabel="gradient penalty",
        xlim=(0, PENALTIES[-1]),
        ylim=(0.4, 1.6),
    )
    rate.hline("one", 1.0, color="black", lw=1)
    rate.line("measured", PENALTIES, result.rates, color=MEASURED, lw=4, label="measured")
    rate.line(
        "theory",
        PENALTIES,
        result.predicted_rates,
        color=THEORY,
        ls="--",
        label="theory: |eigenvalue|",
    )
    rate.line(
        "here",
        [result.penalty],
        [float(np.clip(result.here, 0.42, 1.58))],
        color=PALETTE[6],
        marker="o",
        ms=9,
        ls="",
        label="here",
    )
    if result.prediction is not None:
        height = math.log10(result.prediction)
        distance.mark("prediction", ASKED_STEP, height, "your prediction")
