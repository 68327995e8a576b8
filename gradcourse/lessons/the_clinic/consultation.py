"""The clinic: curves and a verdict, a cause and a cure to pick, and what the cure does."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse.lessons.the_clinic.cases import (
    CASES,
    CAUSES,
    TREATMENTS,
    Case,
    NothingToTreatError,
    prepare,
)
from gradcourse.lessons.the_clinic.training import Chart, train
from gradcourse.live import GHOST, MEASURED, PALETTE, THEORY, Panel

__all__ = [
    "CURES",
    "NAMES",
    "SUSPECTS",
    "Consultation",
    "chart_of",
    "draw_case",
    "measure_case",
    "outcome",
    "signs_of",
]

Array = NDArray[Any]

NAMES = tuple(f"case {number}" for number in range(1, 1 + len(CASES)))
NOBODY, UNTREATED = "not yet", "not yet"
SUSPECTS = (NOBODY, *CAUSES)
CURES = (UNTREATED, *TREATMENTS)
# From top to bottom in the picture.
SIGNS = {
    "start": "loss at the start",
    "layers": "first against last layer",
    "clipping": "taken away by clipping",
    "steps": "longest step",
    "dead": "dead units",
    "number": "loss is no number",
    "code": "seen in the code only",
}
# A sign is drawn as a power of ten, and this is the last one that fits.
FARTHEST = 6.0


@dataclass(frozen=True)
class Consultation:
    """A sick run, what was thought of it, and what a treatment has done.

    Attributes
    ----------
    name, case
        The patient.
    before
        Its run as it came.
    after
        Its run with the treatment, None without one.
    cause, cure
        What was picked.
    refused
        Why the treatment could not be tried, empty if it could.
    progress
        Share of the work that is done.
    """

    name: str
    case: Case
    before: Chart
    after: Chart | None
    cause: str
    cure: str
    refused: str
    progress: float

    @property
    def ring(self) -> int | None:
        """The row of the sign that the picked cause would change, counted from the top."""
        return list(SIGNS).index(CAUSES[self.cause]) if self.cause in CAUSES else None

    def summary(self) -> str:
        """Return the picture in one line."""
        said = f"“{self.case.complaint}” GradMonitor: {self.before.diagnosis.summary()}."
        if self.cause in CAUSES:
            right = self.cause == self.case.cause
            said += f" Cause: right. {self.case.told}" if right else " Cause: it is another one."
        if self.refused:
            said += f" Cure: {self.refused}."
        elif self.after is not None and self.progress < 1:
            said += " Cure: under treatment."
        elif self.after is not None:
            score, found = self.after.score, outcome(self.case, self.after)
            said += f" Cure: score {self.before.score:.2f} before, {score:.2f} after: {found}"
            said += f" (cured is {self.case.cured:.2g} or more)."
        return said


@functools.lru_cache(maxsize=256)
def chart_of(number: int, seed: int, treatment: str = "") -> Chart:
    """Return the whole run of a case, counted from 1, treated or as it came.

    Raises
    ------
    NothingToTreatError
        If the run has nothing that the treatment could change.
    """
    *_, chart = train(prepare(CASES[number - 1], seed, treatment))
    return chart


def outcome(case: Case, chart: Chart) -> str:
    """Say what became of a run; between the two ends there is room for chance."""
    if chart.score >= case.cured:
        return "cured"
    return "better, but not cured" if chart.score > case.cured - 0.3 else "still sick"


def measure_case(
    case: str = NAMES[0], cause: str = NOBODY, cure: str = UNTREATED, seed: int = 0
) -> Iterator[Consultation]:
    """Run a case as it came, and again with a cure.

    Parameters
    ----------
    case
        ``"case 1"`` to ``"case 12"``.
    cause
        What the learner thinks it is.
    cure
        What is to be tried.
    seed
        Of data and weights.

    Yields
    ------
    Consultation
        What there is so far; the last one is whole.
    """
    for name, value, known in (
        ("case", case, NAMES),
        ("cause", cause, SUSPECTS),
        ("cure", cure, CURES),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    number = 1 + NAMES.index(case)
    patient = CASES[number - 1]

    def found(before: Chart, after: Chart | None, refused: str, share: float) -> Consultation:
        return Consultation(case, patient, before, after, cause, cure, refused, share)

    before = chart_of(number, seed)
    if cure == UNTREATED:
        yield found(before, None, "", 1.0)
        return
    try:
        treated = prepare(patient, seed, cure)
    except NothingToTreatError as nothing:
        yield found(before, None, str(nothing), 1.0)
        return
    for after in train(treated):
        yield found(before, after, "", after.progress)


def draw_case(result: Consultation, axes: dict[str, Panel]) -> None:
    """Show loss and gradient norm before and after, and the signs of the run."""
    loss, norm, signs = axes["loss"], axes["norm"], axes["signs"]
    steps = result.before.total
    runs = [("before", result.before, GHOST)]
    if result.after is not None:
        runs.append(("after", result.after, MEASURED))
    score = f"score {result.before.score:.2f}"
    if result.after is not None:
        score += f" → {result.after.score:.2f}" if result.progress == 1 else " → …"
    loss.set(title=f"{result.name}: {score}", ylabel="loss", xlim=(0, steps))
    norm.set(title="Gradient, before clipping", ylabel="norm", xlabel="step", xlim=(0, steps))
    signs.set(title=f"GradMonitor: {result.before.diagnosis.verdict}")
    _draw_steps(loss, runs, "losses", result.before.guess, "theory: guessing")
    _draw_steps(norm, runs, "norms", result.before.max_norm, "theory: max_norm")
    for chart, side in ((result.before, "right"), (result.after, "left")):
        if chart is not None and not np.isfinite(chart.losses).all():
            first = int(np.argmin(np.isfinite(chart.losses)))
            who = "no number" if side == "right" else "treated: none"
            loss.note(f"{who} from step {first}", f"upper {side}")
    _draw_signs(signs, runs, result.ring)


def _draw_steps(
    panel: Panel, runs: list[tuple[str, Chart, str]], what: str, limit: float, words: str
) -> None:
    seen: list[Array] = []
    for key, chart, colour in runs:
        log10 = _log10(getattr(chart, what))
        seen.append(log10[np.isfinite(log10)])
        label = "measured: as it came" if key == "before" else "measured: treated"
        panel.line(
            key,
            np.arange(len(log10)),
            log10,
            color=colour,
            lw=4 if key == "before" else 2,
            label=label,
        )
    line = math.log10(limit) if 0 < limit < math.inf else math.nan
    every = np.concatenate([*seen, np.array([line] if math.isfinite(line) else [0.0])])
    # Beyond these the curve says only that all is lost.
    low, high = (float(np.clip(end, -8, 8)) for end in (every.min(), every.max()))
    panel.decades("y", min(low, high - 1), high + 0.2)
    if math.isfinite(line):
        panel.hline("theory", line, color=THEORY, ls="--", lw=2, label=words)


def _draw_signs(panel: Panel, runs: list[tuple[str, Chart, str]], ring: int | None) -> None:
    rows = np.arange(len(SIGNS))[::-1]
    panel.set(
        xlabel="off by a factor of",
        xlim=(-0.4, FARTHEST + 0.4),
        ylim=(-0.6, len(SIGNS) - 0.4),
        yticks=rows,
        yticklabels=list(SIGNS.values()),
        xticks=[0, 2, 4, 6],
        xticklabels=["1", "100", r"$10^4$", "more"],
    )
    panel.vline("theory", 0.0, color=THEORY, ls="--", lw=2, label="theory: healthy")
    for key, chart, colour in runs:
        found = signs_of(chart)
        x = [found.get(sign, math.nan) for sign in SIGNS]
        label = "measured: as it came" if key == "before" else "measured: treated"
        size = 13 if key == "before" else 9
        panel.line(key, x, rows, color=colour, ls="", marker="o", ms=size, label=label)
    if ring is not None:
        style = {"color": PALETTE[2], "ls": "", "marker": "s", "ms": 20, "mfc": "none", "mew": 2.5}
        place = found_at(runs[0][1], ring)
        panel.line("ring", [place], [rows[ring]], label="your cause shows here", **style)


def found_at(chart: Chart, ring: int) -> float:
    """Return where in its row a sign lies; 0 for one that no chart holds."""
    return signs_of(chart).get(list(SIGNS)[ring], 0.0)


def signs_of(chart: Chart) -> dict[str, float]:
    """Return by how many powers of ten each sign is off, at most ``FARTHEST``.

    ``start``: the first loss over that of guessing. ``layers``: the gradient at the first layer
    against that at the last. ``clipping``: the typical norm over max_norm. ``steps``: the largest
    norm over the typical one. ``dead``: all units over those that live. ``number``: as far as can
    be if a loss is NaN or Inf.
    """
    norms = _log10(chart.norms)
    norms = norms[np.isfinite(norms)]
    typical = float(np.median(norms)) if norms.size else 0.0
    levels = list(chart.diagnosis.profile.values())
    first = _log10(chart.losses[:1])[0]
    found = {
        "start": first - math.log10(chart.guess),
        "layers": abs(levels[0] - levels[-1]) if levels else 0.0,
        "clipping": typical - math.log10(chart.max_norm),
        "steps": float(norms.max()) - typical if norms.size else FARTHEST,
        "dead": -float(_log10(np.array([1 - chart.dead]))[0]),
        "number": 0.0 if np.isfinite(chart.losses).all() else FARTHEST,
    }
    return {sign: float(np.clip(np.nan_to_num(by), 0, FARTHEST)) for sign, by in found.items()}


def _log10(values: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))
