"""What was measured, as tables, and whether it is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.report import ratios, spread, table
from benchmarks.slider.catalogue import BASE, WAYS
from benchmarks.slider.session import DRAG_KEYS, Drag, Press

__all__ = ["Measured", "drag_table", "goal_table", "high", "press_table", "remarks"]

# A gap between two keys of a drag as long as two gaps is no steady pace.
LONGEST_GAP = 100.0
Results = Mapping[str, "Measured"]


@dataclass
class Measured:
    """All presses and drags of one way, in the order in which they were made."""

    new: list[Press] = field(default_factory=list)
    seen: list[Press] = field(default_factory=list)
    drags: list[Drag] = field(default_factory=list)

    @property
    def latency(self) -> float:
        """The median of milliseconds from key press to picture, of values that are new."""
        return median(press.latency for press in self.new)

    @property
    def settle(self) -> float:
        """The median of milliseconds from the last key press of a drag to the last picture."""
        return median(drag.settle for drag in self.drags)

    @property
    def pictures(self) -> float:
        """The median of pictures in a drag."""
        return median(drag.pictures for drag in self.drags)


def high(values: Sequence[float]) -> float:
    """Return what 95 % of the values do not exceed."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def press_table(results: Results) -> str:
    """Return the table of single key presses."""
    head = ["key press to painted picture", "median, ms", "95 %, ms"]
    head += ["of interact's (10 to 90 %)", "kernel, ms", "the rest, ms"]
    base = results[BASE].new if BASE in results else None
    rows = []
    for name, measured in results.items():
        label = WAYS[name].label
        rows.append(_press_row(label, measured.new, base))
        if measured.seen:
            rows.append(_press_row(f"{label}, a value seen before", measured.seen, base))
    return table(head, rows)


def _press_row(label: str, presses: Sequence[Press], base: Sequence[Press] | None) -> list[str]:
    latency = [press.latency for press in presses]
    compared = "-"
    if base is not None and len(base) == len(presses):
        both = {"base": [press.latency for press in base], "mine": latency}
        compared = spread(ratios(both, "base")["mine"])
    return [
        label,
        f"{median(latency):.0f}",
        f"{high(latency):.0f}",
        compared,
        f"{median(press.kernel for press in presses):.1f}",
        f"{median(press.latency - press.kernel for press in presses):.0f}",
    ]


def drag_table(results: Results) -> str:
    """Return the table of fast drags."""
    head = [f"{DRAG_KEYS} key presses in 1 s", "pictures", "settled after, ms", "of interact's"]
    head += ["last picture is right", "empty frames", "height changes", "longest gap, ms"]
    rows = []
    for name, measured in results.items():
        drags = measured.drags
        right = sum(drag.right for drag in drags)
        rows.append(
            [
                WAYS[name].label,
                f"{measured.pictures:g}",
                f"{measured.settle:.0f}",
                f"{measured.settle / results[BASE].settle:.2f}" if BASE in results else "-",
                f"{right} of {len(drags)}",
                f"{sum(drag.empty for drag in drags)} of {sum(drag.frames for drag in drags)}",
                str(sum(drag.heights for drag in drags)),
                f"{max(drag.gap for drag in drags):.0f}",
            ]
        )
    return table(head, rows)


def goal_table(results: Results) -> str:
    """Return the goals for ``gradcourse.live``, what was measured, and whether that meets them.

    Ratios are of medians. A goal that compares with a way that was not measured is left out.
    """
    rows: list[list[str]] = []

    def goal(words: str, value: float, show: Callable[[float], str], met: bool) -> None:
        rows.append([words, show(value), "met" if met else "**not met**"])

    ours = results.get("live")
    if ours is None:
        return ""
    for other, share in ((BASE, 5.0), ("ipympl", 2.5), ("plotly", 1.4)):
        if other in results:
            words = f"key press to picture at most 1/{share:g} of {WAYS[other].label}"
            faster = results[other].latency / ours.latency
            goal(words, faster, lambda value: f"1/{value:.2f}", faster >= share)
    if "round-trip" in results:
        times = ours.latency / results["round-trip"].latency
        words = "key press to picture at most 1.5 times the round trip alone"
        goal(words, times, lambda value: f"{value:.2f} times", times <= 1.5)
    tail = high([press.latency for press in ours.new])
    goal("95 % of key presses under 80 ms", tail, lambda value: f"{value:.0f} ms", tail < 80)
    shown = ours.pictures
    goal("fast drag: at least 16 pictures", shown, lambda value: f"{value:g}", shown >= 16)
    if BASE in results:
        words = f"fast drag: settled within 1/3 of {WAYS[BASE].label}"
        faster = results[BASE].settle / ours.settle
        goal(words, faster, lambda value: f"1/{value:.2f}", faster >= 3)
    wrong = sum(not drag.right for drag in ours.drags)
    words = "fast drag: the last picture is that of the last value"
    goal(words, wrong, lambda value: f"{value:g} wrong", wrong == 0)
    empty = sum(drag.empty + drag.heights for drag in ours.drags)
    words = "fast drag: no empty frame, no change of height"
    goal(words, empty, lambda value: f"{value:g}", empty == 0)
    return table(["goal", "measured", ""], rows)


def remarks(results: Results) -> list[str]:
    """Return a sentence for each thing that makes a number less sure."""
    found = []
    for name, measured in results.items():
        label = WAYS[name].label.strip("*")
        gaps = [drag.gap for drag in measured.drags]
        keys = {drag.keys for drag in measured.drags}
        if keys != {DRAG_KEYS} or max(gaps) > LONGEST_GAP:
            found.append(
                f"{label}: the pace of a drag did not hold (longest gap {max(gaps):.0f} ms, "
                f"{min(keys)} of {DRAG_KEYS} keys)"
            )
        twice = sum(press.pictures > 1 for press in (*measured.new, *measured.seen))
        if twice:
            found.append(f"{label}: {twice} key presses were answered in steps; the last counts")
    return found
