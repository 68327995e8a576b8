"""What every benchmark prints: the machine it ran on, and medians of ratios taken in turns."""

from __future__ import annotations

import datetime
import os
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

__all__ = ["interleaved", "machine", "ratios", "spread", "table", "timed"]


def machine(*versions: str) -> str:
    """Return what the numbers depend on, in one line: date, processor, system and versions."""
    system = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    python = f"Python {platform.python_version()}"
    return "; ".join([f"{datetime.date.today():%d %B %Y}", system, ", ".join([python, *versions])])


def processor() -> str:
    """Return the processor's own name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def timed(way: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 3,
    seconds_of: Callable[[Callable[[], object]], float] = timed,
) -> dict[str, list[float]]:
    """Return the seconds of each way, one measurement a round, in an order drawn anew each round.

    What else the machine does meanwhile then falls on all of them alike.
    """
    times: dict[str, list[float]] = {label: [] for label in ways}
    for turn in range(warm_up + rounds):
        for label in random.sample(list(ways), len(ways)):
            seconds = seconds_of(ways[label])
            if turn >= warm_up:
                times[label].append(seconds)
    return times


def ratios(times: Mapping[str, Sequence[float]], base: str) -> dict[str, list[float]]:
    """Return the ratio of each way's time to the base's time in the same round."""
    return {
        label: [mine / its for mine, its in zip(seconds, times[base], strict=True)]
        for label, seconds in times.items()
    }


def spread(values: Sequence[float]) -> str:
    """Return the median and the 10 to 90 % range, as ``1.02 (0.98 to 1.10)``."""
    if len(values) < 2:
        return f"{values[0]:.3g}"
    low, *_, high = quantiles(values, n=10, method="inclusive")
    return f"{median(values):.3g} ({low:.3g} to {high:.3g})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned, to be read on a terminal as well."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
