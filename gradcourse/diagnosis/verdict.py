"""From what a monitor has seen to a verdict, and from the verdict to what helps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcourse.diagnosis.history import Floats, History
from gradcourse.diagnosis.norms import layer_of

__all__ = ["ADVICE", "Advice", "Diagnosis", "Verdict", "judge"]

Verdict = Literal["healthy", "vanishing", "exploding", "dead", "saturated", "non-finite"]
"""What :meth:`GradMonitor.diagnose` says of a run."""

# With plain gradient descent, a layer with a thousandth of the gradient learns a thousand times
# slower.
DECADES = 3.0
# Where a gradient lost or won this much on its way back, trouble is said to begin.
BEGINS = 1.0
# A norm that no loss of ordinary size has: a step that suits it does not move a weight of size 1.
ENDLESS = 1e8
# A norm below is what rounding leaves of a run that has converged, and no spike.
ROUNDING = 1e-6
# What clipping leaves of a gradient, on nearly every step, before a verdict mentions it.
LEFT, ALWAYS = 0.01, 0.9
# Of an activation's units. Half of them prove nothing: depth makes the inputs of a ReLU network
# parallel, so that a unit is on for all of a batch or for none (Cho & Saul 2009).
DEAD = 0.8
# Of an activation's values.
SATURATED = 0.5
# Of an Inf or NaN with a gradient scaler at work, which looks for its scale by overflowing.
OVERFLOWS = 0.5
# The path of a model that is a single layer is empty.
WHOLE = "the model"
# What a norm of exactly zero is drawn and fitted as: the smallest float32 number is 1e-45.
FLOOR = 1e-46


class Advice(NamedTuple):
    """What helps, and the lesson that measures how much."""

    text: str
    lesson: str

    def __str__(self) -> str:
        return f"{self.text} (lesson {self.lesson})"


ADVICE: dict[Verdict, tuple[Advice, ...]] = {
    "healthy": (),
    "vanishing": (
        Advice(
            "initialise for the activation: 'he_normal' for ReLU, 'xavier_normal' for tanh", "05"
        ),
        Advice("if the activation is a sigmoid, of slope 1/4 at most: take ReLU or tanh", "01"),
        Advice("normalise: a LayerNorm before each activation", "06"),
        Advice("let the gradient pass by: residual connections", "07"),
        Advice("clipping cannot help: there is nothing to clip", "03"),
    ),
    "exploding": (
        Advice("clip the norm of all gradients, near its median", "03"),
        Advice("lower the learning rate, standardise inputs and targets", "04"),
        Advice(
            "initialise for the activation: 'he_normal' for ReLU, 'xavier_normal' for tanh", "05"
        ),
        Advice("normalise: a LayerNorm before each activation", "06"),
    ),
    "dead": (
        Advice("lower the learning rate: a large step has pushed the biases down", "04"),
        Advice("start again with initialize(model, 'he_normal'), which sets biases to zero", "05"),
        Advice("normalise: a LayerNorm before each activation", "06"),
    ),
    "saturated": (
        Advice("standardise the inputs", "04"),
        Advice("start with smaller weights: initialize(model, 'xavier_normal')", "05"),
        Advice("normalise: a LayerNorm before each activation", "06"),
    ),
    "non-finite": (
        Advice("ask find_nonfinite(model, batch, loss) which operation made it", "02"),
        Advice("skip such a step: training_step(...) guards loss and gradients", "02"),
        Advice("if the norm grew before, clip it: max_norm cannot mend what is NaN already", "03"),
        Advice("or lower the learning rate, standardise inputs and targets", "04"),
        Advice("in float16, scale the loss: torch.amp.GradScaler", "11"),
    ),
}


@dataclass(frozen=True)
class Diagnosis:
    """A verdict on a training run.

    Attributes
    ----------
    verdict
        ``healthy``, ``vanishing``, ``exploding``, ``dead``, ``saturated`` or ``non-finite``.
    reason
        What it rests on, with numbers, in one sentence.
    layer
        The path of the layer where it begins, coming from the loss; empty if healthy.
    decades_per_layer
        By how many powers of ten a layer changes the gradient on its way back: the slope of a line
        through the profile, negative where it vanishes. 0 with fewer than two layers.
    profile
        By layer: log10 of the gradient's norm, median over steps. In the order of the forward pass
        if the layers were watched, else in the order in which the model holds them.
    quantity
        What the profile is made of.
    advice
        What helps, cheapest first; for a vanishing gradient also what does not.
    """

    verdict: Verdict
    reason: str
    layer: str
    decades_per_layer: float
    profile: dict[str, float]
    quantity: str
    advice: tuple[Advice, ...]

    def summary(self) -> str:
        """Return the verdict, where it begins and what it rests on, in one line."""
        where = f", beginning at layer {self.layer}" if self.layer else ""
        return f"{self.verdict}{where}: {self.reason}"

    def __str__(self) -> str:
        return "\n".join([self.summary(), *(f"  - {advice}" for advice in self.advice)])


def judge(history: History, scaled: NDArray[np.bool_]) -> Diagnosis:
    """Return a verdict on a history.

    The first that applies: *non-finite* (a norm that is NaN or Inf; under a gradient scaler, more
    than half of them), *exploding* (the gradient grows a thousandfold from the last layer to the
    first), *dead* (more than four in five units of an activation), *saturated* (more than half of
    its values), *exploding* (the norm of a step is a thousand times the median of the steps before
    it, or the median itself above 1e8), *vanishing* (a thousandfold fall from the last layer to the
    first), *healthy*.

    Parameters
    ----------
    history
        The steps to judge.
    scaled
        On which of them a gradient scaler was at work, shape ``(n,)``.
    """
    profile, quantity = _profile(history)
    slope = _slope(profile)

    def verdict(name: Verdict, reason: str, layer: str) -> Diagnosis:
        return Diagnosis(name, reason, layer, slope, profile, quantity, ADVICE[name])

    if not len(history):
        return verdict("healthy", "no step was recorded yet", "")
    if _without_gradient(history):
        reason = "no parameter had a gradient: call step() after backward() and before zero_grad()"
        return replace(verdict("vanishing", reason, ""), advice=())
    bad = ~np.isfinite(history.norm)
    searching = scaled.any() and bad[scaled].mean() <= OVERFLOWS
    if (bad & ~scaled).any() or (bad.any() and not searching):
        reason = _when(history, bad) + _grew(profile)
        return verdict("non-finite", reason, _first_bad(history))
    levels = np.array(list(profile.values()))
    paths = list(profile)
    if len(levels) > 1:
        # A model may end in several heads, and one that is solved has hardly a gradient left.
        ends = levels[-min(3, len(levels) // 2) :]
        loudest = len(levels) - 1 - int(np.argmax(ends[::-1]))
        won = levels[0] - levels[loudest]
        if won >= DECADES:
            within = dict(list(profile.items())[: loudest + 1])
            begins = _first(list(within), levels[: loudest + 1] - levels[loudest] >= BEGINS)
            return verdict("exploding", _across(within, quantity, "grows"), begins)
    units: tuple[tuple[Verdict, dict[str, Floats], float], ...] = (
        ("dead", history.dead, DEAD),
        ("saturated", history.saturated, SATURATED),
    )
    for name, shares, most in units:
        for path, share in shares.items():
            typical = float(np.nanmedian(share))
            if typical > most:
                what = "units" if name == "dead" else "values"
                reason = f"{typical:.0%} of the {what} of {path or WHOLE} are {name}"
                return verdict(name, reason, path)
    spike = _spike(history.norm[~bad])
    if spike is not None:
        place, before = spike
        norm, step = history.norm[~bad][place], history.steps[~bad][place]
        reason = f"the norm reaches {norm:.2g} at step {step}, after a median of {before:.2g}"
        return verdict("exploding", reason, _loudest(history))
    typical = float(np.median(history.norm[~bad])) if not bad.all() else 0.0
    if typical > ENDLESS:
        reason = f"the norm is {typical:.2g} (median)"
        return verdict("exploding", reason, _loudest(history))
    if len(levels) > 1 and levels[0] - levels[-1] <= -DECADES:
        begins = _first(paths, levels - levels[-1] <= -BEGINS)
        if levels[0] > math.log10(FLOOR):
            return verdict("vanishing", _across(profile, quantity, "falls"), begins)
        reason = f"{quantity} is exactly zero from {_first(paths, levels == levels[0])} back: "
        return verdict("vanishing", reason + "dead units, or a graph that was cut", begins)
    if not history.norm[~bad].any():
        return verdict("vanishing", "every gradient is exactly zero", paths[-1] if paths else "")
    reason = _across(profile, quantity, "keeps")
    reason += _left_by_clipping(history)
    if not history.layers:
        reason += "; the layers themselves were not watched"
    return verdict("healthy", reason, "")


def _without_gradient(history: History) -> bool:
    """Say whether no gradient was there at all, which is another thing than a gradient of zero."""
    # The norm of nothing is 0; in the columns NaN stands for none, and for a gradient that is NaN.
    nothing = all(np.isnan(norms).all() for norms in history.parameters.values())
    return nothing and len(history.measured) > 0 and not history.norm.any()


def _first(paths: list[str], found: NDArray[np.bool_]) -> str:
    """Return the path of the last place found, which the gradient comes to first."""
    return paths[int(np.flatnonzero(found)[-1])]


def _spike(norms: Floats) -> tuple[int, float] | None:
    """Return the place of the first explosion, and the median of the norms before it.

    Against the steps before and not against all: a run that converges ends with norms that are
    thousands of times smaller than those it began with.
    """
    for place in range(1, len(norms)):
        before = float(np.median(norms[:place]))
        if norms[place] > max(10**DECADES * before, ROUNDING) and before > 0:
            return place, before
    return None


def _left_by_clipping(history: History) -> str:
    # No verdict: Adam does not care, and of an exploding gradient little should be left.
    if history.clipped.mean() < ALWAYS:
        return ""
    left = float(np.median(history.max_norm[history.clipped] / history.norm[history.clipped]))
    if left > LEFT:
        return ""
    return f"; clipping leaves {left:.1g} of it: plain gradient descent is that much slower"


def _profile(history: History) -> tuple[dict[str, float], str]:
    if history.layers:
        return _levels(history.layers), "the gradient of the layers' outputs"
    layers: dict[str, list[Floats]] = {}
    for name, norms in history.parameters.items():
        layers.setdefault(layer_of(name), []).append(norms)
    # A layer with a weight and a bias counts by the larger of the two.
    largest = {path: np.fmax.reduce(norms) for path, norms in layers.items()}
    return _levels(largest), "the gradient of the layers' parameters"


def _levels(layers: dict[str, Floats]) -> dict[str, float]:
    levels = {}
    for path, norms in layers.items():
        finite = norms[np.isfinite(norms)]
        # Behind a head that starts at zero the first gradient is zero, and not the next.
        finite = finite[finite > 0] if finite.any() else finite
        if len(finite):
            levels[path] = float(np.median(np.log10(np.maximum(finite, FLOOR))))
    return levels


def _slope(profile: dict[str, float]) -> float:
    if len(profile) < 2:
        return 0.0
    back = np.array(list(profile.values()))[::-1]
    return float(np.polyfit(np.arange(len(back)), back, 1)[0])


def _across(profile: dict[str, float], quantity: str, verb: str) -> str:
    if len(profile) < 2:
        return "there are not two layers to compare"
    paths = [path or WHOLE for path in profile]
    levels = list(profile.values())
    decades = f"{abs(levels[0] - levels[-1]):.1f} decades"
    how = f"stays within {decades}" if verb == "keeps" else f"{verb} by {decades}"
    return f"{quantity} {how} from {paths[-1]} back to {paths[0]}"


def _when(history: History, bad: NDArray[np.bool_]) -> str:
    first = int(np.argmax(bad))
    kind = "NaN" if math.isnan(history.norm[first]) else "Inf"
    reason = f"the norm is {kind} at step {history.steps[first]}"
    before = history.norm[:first][np.isfinite(history.norm[:first])]
    if len(before) > 1 and before[-1] > 10 * np.median(before):
        reason += f", after it grew from {np.median(before):.2g} (median) to {before[-1]:.2g}"
    return reason


def _grew(profile: dict[str, float]) -> str:
    levels = list(profile.values())
    if not levels or levels[0] - levels[-1] < DECADES:
        return ""
    return f"; until then it grew by {levels[0] - levels[-1]:.1f} decades on its way back"


def _first_bad(history: History) -> str:
    """Return the layer nearest to the loss that is not finite on the first such step."""
    found = [entry for entry in history.nonfinite if entry.step == history.nonfinite[0].step]
    return layer_of(found[-1].parameter)


def _loudest(history: History) -> str:
    """Return the layer of the parameter whose gradient has been the largest of all."""
    # Of a parameter that never had a gradient, as a frozen one, the norms are all NaN.
    largest = {
        name: float(np.fmax.reduce(norms, initial=-1.0))
        for name, norms in history.parameters.items()
    }
    return layer_of(max(largest, key=lambda name: largest[name])) if largest else ""
