"""Controls from abbreviations, as in ``ipywidgets.interact``, and what each of them allows."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np

__all__ = ["Log", "check_value", "log", "make_controls", "positions", "set_continuous", "words"]

_KINDS = "(min, max[, step]), log(min, max), a list, a bool, or an ipywidgets widget"


@dataclass(frozen=True)
class Log:
    """A slider whose steps multiply instead of adding; made by :func:`log`."""

    min: float
    max: float


def log(min: float, max: float) -> Log:  # noqa: A002 - the names that ipywidgets gives these ends
    """Abbreviate a logarithmic slider from ``min`` to ``max``.

    Raises
    ------
    ValueError
        If the ends are not finite, positive and in order.

    Examples
    --------
    >>> log(0.01, 100)
    Log(min=0.01, max=100.0)
    """
    low, high = float(min), float(max)
    if not (0 < low < high < math.inf):
        raise ValueError(f"log(min, max) needs 0 < min < max, got log({min}, {max})")
    return Log(low, high)


def make_controls(
    measure: Callable[..., Any], abbreviations: Mapping[str, Any]
) -> dict[str, ipywidgets.Widget]:
    """Make one widget for each abbreviation, set to the default that ``measure`` declares.

    Raises
    ------
    ValueError
        If an abbreviation is not understood, if ``measure`` does not take a control's name or
        needs an argument that has no control, or if a default lies outside its control.
    """
    parameters = inspect.signature(measure).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    for name in abbreviations:
        if name not in named and not takes_any:
            takes = ", ".join(named) or "nothing"
            raise ValueError(f"measure takes no argument {name!r}; it takes {takes}")
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in abbreviations:
            raise ValueError(f"measure needs {name!r}: give it a control, or a default")
    return {
        name: _make(
            name, abbreviation, named[name].default if name in named else inspect.Parameter.empty
        )
        for name, abbreviation in abbreviations.items()
    }


def _make(name: str, abbreviation: Any, default: Any) -> ipywidgets.Widget:
    has_default = default is not inspect.Parameter.empty
    if isinstance(abbreviation, ipywidgets.Widget):
        if not hasattr(abbreviation, "value"):
            raise ValueError(f"the widget for {name!r} has no value")
        widget = abbreviation
    else:
        if isinstance(abbreviation, Log):
            widget = _log_slider(abbreviation)
        else:
            widget = _from_interact(name, abbreviation)
        if has_default:
            widget.value = check_value(name, widget, default)
    if not widget.description:
        widget.description = name.replace("_", " ")
    if hasattr(getattr(widget, "style", None), "description_width"):
        widget.style.description_width = "initial"
    return widget


def _from_interact(name: str, abbreviation: Any) -> ipywidgets.Widget:
    if isinstance(abbreviation, tuple):
        ends = all(isinstance(end, (int, float)) and math.isfinite(end) for end in abbreviation)
        if not ends or len(abbreviation) not in (2, 3) or not abbreviation[0] < abbreviation[1]:
            raise ValueError(
                f"the control for {name!r} must be (min, max) or (min, max, step) in finite "
                f"numbers with min < max, got {abbreviation!r}"
            )
        if len(abbreviation) == 3 and not abbreviation[2] > 0:
            raise ValueError(f"the step for {name!r} must be above 0, got {abbreviation[2]}")
    if isinstance(abbreviation, (list, dict)) and not abbreviation:
        raise ValueError(f"the list for {name!r} is empty")
    if isinstance(abbreviation, dict):
        # ipywidgets 7 warns of a mapping; pairs of label and value mean the same everywhere.
        abbreviation = list(abbreviation.items())
    widget = ipywidgets.interactive.widget_from_abbrev(abbreviation)
    if widget is None:
        raise ValueError(f"the control for {name!r} must be {_KINDS}, got {abbreviation!r}")
    return widget


def _log_slider(ends: Log) -> ipywidgets.FloatLogSlider:
    low, high = math.log10(ends.min), math.log10(ends.max)
    # A whole number of steps, so that the keyboard reaches both ends.
    step = (high - low) / max(1, round((high - low) / 0.05))
    middle = 10 ** (low + step * round((high - low) / step / 2))
    return ipywidgets.FloatLogSlider(value=middle, base=10, min=low, max=high, step=step)


def _bounds(widget: ipywidgets.Widget) -> tuple[float, float] | None:
    one_number = isinstance(getattr(widget, "value", None), (int, float))
    if not (one_number and hasattr(widget, "min") and hasattr(widget, "max")):
        return None
    if isinstance(widget, ipywidgets.FloatLogSlider):
        return widget.base**widget.min, widget.base**widget.max
    return widget.min, widget.max


def _options(widget: ipywidgets.Widget) -> list[Any]:
    options = widget.options
    if isinstance(options, Mapping):
        return list(options.values())
    return [o[1] if isinstance(o, tuple) and len(o) == 2 else o for o in options]


def check_value(name: str, widget: ipywidgets.Widget, value: Any) -> Any:
    """Return ``value`` as ``widget`` would hold it, or raise a sentence that says what is allowed.

    Widgets clamp what lies outside their range without a word; a caller in Python is told.

    Raises
    ------
    ValueError
        If the widget does not allow the value.
    """
    bounds = _bounds(widget)
    if bounds is not None:
        return _check_number(name, value, bounds, whole=isinstance(widget.value, int))
    if hasattr(widget, "options"):
        options = _options(widget)
        if value not in options:
            allowed = ", ".join(repr(option) for option in options)
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        return value
    if isinstance(widget.value, bool) and not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def _check_number(name: str, value: Any, bounds: tuple[float, float], *, whole: bool) -> Any:
    low, high = bounds
    allowed = f"{name} must be between {low:g} and {high:g}, got {value!r}"
    if isinstance(value, (bool, np.bool_, str)):
        raise ValueError(allowed)
    try:
        number = operator.index(value) if whole else float(value)
    except (TypeError, ValueError):
        kind = "a whole number " if whole else "a number "
        raise ValueError(allowed.replace("must be ", f"must be {kind}", 1)) from None
    # An end of a logarithmic slider is a power, and a power has a rounding error.
    slack = 0 if whole else 1e-9 * max(abs(low), abs(high))
    if not low - slack <= number <= high + slack:
        raise ValueError(allowed)
    return min(max(number, low), high)


def positions(widget: ipywidgets.Widget) -> list[Any]:
    """Return every value that the control can take, in order: what a play button steps through.

    Raises
    ------
    ValueError
        If the control has no order, such as a text box.
    """
    if isinstance(widget, ipywidgets.FloatLogSlider):
        count = round((widget.max - widget.min) / widget.step)
        return [widget.base**e for e in np.linspace(widget.min, widget.max, count + 1).tolist()]
    bounds = _bounds(widget)
    if bounds is not None:
        low, high = bounds
        count = math.floor((high - low) / widget.step + 1e-9)
        return [low + index * widget.step for index in range(count + 1)]
    if hasattr(widget, "options"):
        return _options(widget)
    if isinstance(widget.value, bool):
        return [False, True]
    raise ValueError(f"{type(widget).__name__} cannot be played: its values have no order")


def set_continuous(widget: ipywidgets.Widget, continuous: bool) -> None:
    """Let a slider report while it is dragged, or only when it is released."""
    if hasattr(widget, "continuous_update") and widget.continuous_update != continuous:
        widget.continuous_update = continuous


def words(settings: Mapping[str, Any]) -> str:
    """Return settings in one line: ``depth 20, weight scale 1.5``."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
    )
