"""The number lines of 16 bits: which numbers there are around a value, and how many bits it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import between
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["Numbers", "Row", "bits_left", "draw_numbers", "measure_numbers"]

Array = NDArray[Any]

# As torch names them, with the whole numbers that have as many bits.
DTYPES = {
    "float16": (torch.float16, torch.int16),
    "bfloat16": (torch.bfloat16, torch.int16),
    "float32": (torch.float32, torch.int32),
}
COLOURS = dict(zip(DTYPES, (MEASURED, PALETTE[2], PALETTE[3]), strict=True))
LOWEST, HIGHEST = -30, 17
# More numbers than this are drawn as one solid line.
MOST = 110


@dataclass(frozen=True)
class Row:
    """What one format has around a value.

    Attributes
    ----------
    name
        Of the format.
    held
        What the format makes of the value: itself, 0 or infinity.
    numbers
        Measured: the format's numbers inside of the window, over the value; shape (numbers,), or
        only the two ends where there are too many to draw.
    predicted
        The same from theory.
    count
        How many numbers there are in the window.
    gap
        Measured: the distance from the value to the next number, NaN where it is 0 or infinite.
    bits
        Measured: fraction bits that are left at each power of two from 2^-30 to 2^17, shape (48,);
        NaN where the format has 0 or infinity.
    predicted_bits
        The same from theory.
    """

    name: str
    held: float
    numbers: Array
    predicted: Array
    count: int
    gap: float
    bits: Array
    predicted_bits: Array


@dataclass(frozen=True)
class Numbers:
    """Three number lines around one value.

    Attributes
    ----------
    log2_value, zoom
        The settings: the window reaches from ``1 - 2**-zoom`` to ``1 + 2**-zoom`` times the value.
    rows
        One for each format.
    prediction
        The learner's guess of the bits that float16 has left at 2^-20, if there is one.
    """

    log2_value: int
    zoom: int
    rows: tuple[Row, ...]
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        value = 2.0**self.log2_value
        words = []
        for row in self.rows:
            if not math.isfinite(row.held) or row.held == 0:
                words.append(f"{row.name} has {'0' if row.held == 0 else 'inf'}")
            else:
                gap = 100 * row.gap / value
                words.append(f"{row.name} next after {gap:.2g} %, {row.count} in the window")
        return f"2^{self.log2_value} = {value:.3g}: {'; '.join(words)}"


def bits_left(value: float, dtype: str) -> float:
    """Measure how many fraction bits a power of two has: log2 of it over the gap to the next.

    The next number is the one whose bit pattern is one higher. NaN for 0 and infinity.
    """
    held, gap = _held(value, dtype), _gap(value, dtype)
    return math.log2(held / gap) if held > 0 and math.isfinite(gap) else math.nan


def measure_numbers(log2_value: int = 0, zoom: int = 6, prediction: float | None = None) -> Numbers:
    """List the numbers of three formats around a power of two, and count its bits.

    Parameters
    ----------
    log2_value
        -30 to 17.
    zoom
        1 to 10; each step halves the window.
    prediction
        The bits that the learner expects float16 to have left at 2^-20, drawn as a star.
    """
    log2_value = int(between(LOWEST, HIGHEST, "log2_value", log2_value))
    zoom = int(between(1, 10, "zoom", zoom))
    rows = tuple(_row(name, 2.0**log2_value, 2.0**-zoom) for name in DTYPES)
    return Numbers(log2_value, zoom, rows, as_prediction(prediction))


def _held(value: float, name: str) -> float:
    return torch.tensor(value, dtype=DTYPES[name][0]).double().item()


def _pattern(value: float, name: str) -> int:
    dtype, whole = DTYPES[name]
    return int(torch.tensor(value, dtype=dtype).view(whole).item())


def _number(patterns: Array, name: str) -> Array:
    dtype, whole = DTYPES[name]
    return np.asarray(torch.as_tensor(patterns).to(whole).view(dtype).double().numpy())


def _gap(value: float, name: str) -> float:
    pattern = _pattern(value, name)
    here, after = _number(np.array([pattern, pattern + 1]), name)
    return float(after - here) if math.isfinite(here) and here > 0 else math.nan


def _row(name: str, value: float, reach: float) -> Row:
    kind = theory.float_format(name)
    held = _held(value, name)
    powers = 2.0 ** np.arange(LOWEST, HIGHEST + 1)
    there = (powers > kind.flush_to) & (powers < kind.overflow_from)
    steps = theory.spacing(powers, name)
    predicted_bits = np.where(there, np.log2(powers / steps), np.nan)
    bits = np.array([bits_left(power, name) for power in powers])
    if held == 0 or not math.isfinite(held):
        none = np.array([])
        return Row(name, held, none, none, 0, math.nan, bits, predicted_bits)
    ends = value * (1 - reach), value * (1 + reach)
    low, high = (_pattern(end, name) for end in ends)
    inside = np.array([low, high])
    if high - low <= MOST:
        inside = np.arange(low, high + 1)
    numbers = _number(inside, name)
    numbers = numbers[(numbers >= ends[0]) & (numbers <= ends[1]) & np.isfinite(numbers)]
    count = numbers.size if high - low <= MOST else high - low + 1
    predicted = np.array([])
    if count <= MOST:
        # Below a power of two the spacing is that of the numbers below it.
        below = 2 * float(theory.largest_swallowed(value, name))
        above = float(theory.spacing(value, name))
        down = value - below * np.arange(math.floor(value * reach / below), 0, -1)
        up = value + above * np.arange(math.floor(value * reach / above) + 1)
        predicted = np.concatenate([down, up[up <= kind.largest]])
    gap = _gap(value, name)
    return Row(name, held, numbers / value, predicted / value, count, gap, bits, predicted_bits)


def draw_numbers(result: Numbers, axes: dict[str, Panel]) -> None:
    """Show three number lines, and the bits that each format has left."""
    line, bits = axes["numbers"], axes["bits"]
    reach = 2.0**-result.zoom
    line.set(
        title=f"Numbers around $2^{{{result.log2_value}}}$",
        xlabel=f"number / $2^{{{result.log2_value}}}$",
        xlim=(1 - 1.1 * reach, 1 + 1.1 * reach),
        ylim=(-0.45, 3.05),
        yticks=[],
        xticks=[1 - reach, 1 - reach / 2, 1, 1 + reach / 2, 1 + reach],
        xticklabels=[
            f"1 - $2^{{-{result.zoom}}}$",
            "",
            "1",
            "",
            f"1 + $2^{{-{result.zoom}}}$",
        ],
    )
    bits.set(
        title="Bits after the first one",
        xlabel="number",
        ylabel="bits left",
        xlim=(LOWEST - 1, HIGHEST + 1),
        ylim=(-1.5, 30),
        xticks=range(-30, 17, 10),
        xticklabels=[f"$2^{{{power}}}$" for power in range(-30, 17, 10)],
    )
    powers = np.arange(LOWEST, HIGHEST + 1)
    tick: dict[str, Any] = {"color": THEORY, "ls": "", "marker": "|", "ms": 20, "mew": 1.5}
    for height, row in zip((2.3, 1.15, 0.0), result.rows, strict=True):
        colour = COLOURS[row.name]
        ends = (1 - 1.1 * reach, 1 + 1.1 * reach)
        line.line(f"{row.name} axis", ends, [height] * 2, color="#BBBBBB", lw=1.0)
        words = f"{row.name}: {row.count} numbers"
        if row.held == 0 or not math.isfinite(row.held):
            words = f"{row.name}: {'rounded to 0' if row.held == 0 else 'inf'}"
        line.text(
            f"{row.name} words", ends[0], height + 0.48, f" {words}", color=colour, va="center"
        )
        here = np.full(row.numbers.size, float(height))
        if row.count > MOST:
            line.line(f"{row.name} dense", row.numbers, here, color=colour, lw=9, label="_")
        else:
            measured = "measured: bit pattern + 1" if row.name == "float16" else "_"
            line.line(
                row.name, row.numbers, here, color=colour, marker="o", ms=6, ls="", label=measured
            )
            height_of = np.full(row.predicted.size, float(height))
            label = "theory: spacing" if row.name == "float16" else "_"
            line.line(f"{row.name} theory", row.predicted, height_of, label=label, **tick)
        bits.line(
            row.name,
            powers,
            row.bits,
            color=colour,
            marker="o",
            ms=5,
            ls="",
            label=f"measured: {row.name}",
        )
        bits.line(
            f"{row.name} theory",
            powers,
            row.predicted_bits,
            color=THEORY,
            lw=1.5,
            ls="--",
            label="theory: IEEE 754" if row.name == "float16" else "_",
        )
    bits.vline("value", result.log2_value, color="black", lw=1.2)
    if result.prediction is not None:
        guess = float(np.clip(result.prediction, -1.5, 30))
        bits.mark("prediction", -20, guess, "your prediction")
