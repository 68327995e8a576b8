"""Controls from abbreviations, as in ``ipywidgets.interact``, and what each of them allows."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import ipywidgets
import numpy as np
from traitlets import TraitError

__all__ = ["Control", "Log", "log", "make_controls", "words"]

_KINDS = "(min, max[, step]), log(min, max), a list, a bool, or an ipywidgets widget"
# A play button offers no more stops than this, however fine its slider is.
MOST_POSITIONS = 1000


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


@dataclass(eq=False)
class Control:
    """A widget, and what it allows.

    Attributes
    ----------
    name
        The argument of ``measure`` that the widget sets.
    widget
        Any ipywidgets widget with a value.
    ends
        The smallest and the largest number it allows, or None if it holds no number.
    ours
        Whether it was made from an abbreviation; a ready widget keeps its own ways.
    """

    name: str
    widget: ipywidgets.Widget
    ends: tuple[float, float] | None
    ours: bool

    @property
    def value(self) -> Any:
        """The present value; a power at the end of a logarithmic slider is that end exactly."""
        value = self.widget.value
        return value if self.ends is None else min(max(value, self.ends[0]), self.ends[1])

    def check(self, value: Any) -> Any:
        """Return ``value`` as the widget would hold it, or say in a sentence what it may be.

        Widgets clamp what lies outside their range without a word; a caller in Python is told.

        Raises
        ------
        ValueError
            If the widget does not allow the value.
        """
        if self.ends is not None:
            return self._check_number(value, self.ends)
        if isinstance(self.widget, ipywidgets.Combobox) and not self.widget.ensure_option:
            return value
        if hasattr(self.widget, "options"):
            options = self._options()
            chosen = value if self._takes_several() else (value,)
            if not isinstance(chosen, (tuple, list)) or any(one not in options for one in chosen):
                allowed = ", ".join(repr(option) for option in options)
                raise ValueError(f"{self.name} must be one of {allowed}, got {value!r}")
            return tuple(chosen) if self._takes_several() else value
        if isinstance(self.widget.value, bool):
            if not isinstance(value, (bool, np.bool_)):
                raise ValueError(f"{self.name} must be True or False, got {value!r}")
            return bool(value)
        return value

    def assign(self, value: Any) -> None:
        """Move the widget to a checked value.

        Raises
        ------
        ValueError
            If the widget refuses the value, or would hold another instead.
        """
        refused = f"{self.name} cannot be {value!r} ({type(self.widget).__name__})"
        try:
            self.widget.value = value
        except TraitError:
            raise ValueError(refused) from None
        if self.ends is None and self.widget.value != value:
            raise ValueError(refused)

    def position(self, index: int) -> Any:
        """Return the value at one stop of a play button."""
        if self.ends is None:
            return self._choices()[index]
        low, high = self.ends
        share = index / max(1, self.stops() - 1)
        if isinstance(self.widget, ipywidgets.FloatLogSlider):
            return low * (high / low) ** share if share < 1 else high
        steps = (high - low) / self.widget.step
        value = low + round(share * math.ceil(steps - 1e-9)) * self.widget.step
        return min(value, high)

    def stops(self) -> int:
        """Return the number of stops that a play button makes from end to end.

        Raises
        ------
        ValueError
            If the values have no order, as in a text box.
        """
        if self.ends is None:
            return len(self._choices())
        if not getattr(self.widget, "step", None):
            raise ValueError(f"{self.name} cannot be played: its widget has no step")
        if isinstance(self.widget, ipywidgets.FloatLogSlider):
            span = self.widget.max - self.widget.min
        else:
            span = self.ends[1] - self.ends[0]
        steps: float = span / self.widget.step
        return min(MOST_POSITIONS, math.ceil(steps - 1e-9) + 1)

    def nearest_stop(self) -> int:
        """Return the stop of a play button that lies nearest to the present value."""
        if self.ends is None:
            choices = self._choices()
            return choices.index(self.value) if self.value in choices else 0
        low, high = self.ends
        if isinstance(self.widget, ipywidgets.FloatLogSlider):
            share = math.log(self.value / low) / math.log(high / low)
        else:
            share = (self.value - low) / (high - low)
        # A last step may be shorter than the others, so the neighbours are looked at too.
        guess, last = round(share * (self.stops() - 1)), self.stops() - 1
        near = range(max(0, guess - 1), min(last, guess + 1) + 1)
        return min(near, key=lambda stop: float(abs(self.position(stop) - self.value)))

    def said(self, value: Any) -> str:
        """Return a value in the words of the widget."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if self.ends is None and hasattr(self.widget, "options") and not self._takes_several():
            return str(self.widget._options_labels[self._options().index(value)])
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    def set_continuous(self, continuous: bool) -> None:
        """Let a slider of ours report while it is dragged, or only when it is released."""
        widget = self.widget
        if self.ours and hasattr(widget, "step") and hasattr(widget, "continuous_update"):
            widget.continuous_update = continuous

    def _takes_several(self) -> bool:
        return isinstance(self.widget, ipywidgets.SelectMultiple)

    def _choices(self) -> list[Any]:
        if hasattr(self.widget, "options") and not self._takes_several():
            return self._options()
        if isinstance(self.widget.value, bool):
            return [False, True]
        kind = type(self.widget).__name__
        raise ValueError(f"{self.name} cannot be played: the values of a {kind} have no order")

    def _options(self) -> list[Any]:
        options = self.widget.options
        if isinstance(options, Mapping):
            return list(options.values())
        return [o[1] if isinstance(o, tuple) and len(o) == 2 else o for o in options]

    def _check_number(self, value: Any, ends: tuple[float, float]) -> Any:
        low, high = ends
        whole = isinstance(self.widget.value, int)
        allowed = f"{self.name} must be between {low:g} and {high:g}, got {value!r}"
        if isinstance(value, (bool, np.bool_, str)):
            raise ValueError(allowed)
        try:
            number = operator.index(value) if whole else float(value)
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number" if whole else "a number"
            raise ValueError(allowed.replace("must be", f"must be {kind}", 1)) from None
        # An end of a logarithmic slider is a power, and a power has a rounding error.
        slack = 0 if whole else 1e-9 * max(abs(low), abs(high))
        if not low - slack <= number <= high + slack:
            raise ValueError(allowed)
        return min(max(number, low), high)


def make_controls(
    measure: Callable[..., Any], abbreviations: Mapping[str, Any]
) -> dict[str, Control]:
    """Make one control for each abbreviation, set to the default that ``measure`` declares.

    Raises
    ------
    ValueError
        If an abbreviation is not understood, if ``measure`` does not take a control's name or
        needs an argument that has no control, or if a default lies outside its control.
    """
    parameters = signature(measure)
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
    for name, parameter in parameters.items():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variadic and parameter.default is parameter.empty and name not in abbreviations:
            raise ValueError(f"measure needs {name!r}: give it a control, or a default")
    nothing = inspect.Parameter.empty
    return {
        name: _make(name, abbreviation, named[name].default if name in named else nothing)
        for name, abbreviation in abbreviations.items()
    }


def signature(measure: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of ``measure``.

    Raises
    ------
    ValueError
        If it cannot be called or does not tell its arguments, as some built-in functions.
    """
    try:
        return inspect.signature(measure).parameters
    except (TypeError, ValueError):
        raise ValueError(
            f"measure must be a function that tells its arguments, got {measure!r}"
        ) from None


def _make(name: str, abbreviation: Any, default: Any) -> Control:
    ready = isinstance(abbreviation, ipywidgets.Widget)
    widget = abbreviation if ready else _widget(name, abbreviation)
    if not hasattr(widget, "value") or not hasattr(widget, "description"):
        raise ValueError(f"the control for {name!r} must be {_KINDS}, got {abbreviation!r}")
    control = Control(name, widget, _ends(abbreviation, widget), ours=not ready)
    if not ready and default is not inspect.Parameter.empty:
        control.assign(control.check(default))
    if not widget.description:
        widget.description = name.replace("_", " ")
    if hasattr(getattr(widget, "style", None), "description_width"):
        widget.style.description_width = "initial"
    return control


def _widget(name: str, abbreviation: Any) -> ipywidgets.Widget:
    if isinstance(abbreviation, Log):
        return _log_slider(abbreviation)
    if isinstance(abbreviation, tuple):
        abbreviation = _checked_range(name, abbreviation)
    if isinstance(abbreviation, (list, dict)) and not abbreviation:
        raise ValueError(f"the list for {name!r} is empty")
    if isinstance(abbreviation, dict):
        # ipywidgets 7 warns of a mapping; pairs of label and value mean the same everywhere.
        abbreviation = list(abbreviation.items())
    try:
        widget = ipywidgets.interactive.widget_from_abbrev(abbreviation)
    except (TraitError, TypeError, ValueError):
        widget = None
    if not isinstance(widget, ipywidgets.Widget):
        raise ValueError(f"the control for {name!r} must be {_KINDS}, got {abbreviation!r}")
    if isinstance(widget, ipywidgets.FloatSlider) and len(abbreviation) == 2:
        span = widget.max - widget.min
        if span < 2:
            # The step of 0.1 that interact takes would leave a short slider with a few stops.
            widget.step, widget.readout_format = span / 100, ".3g"
    return widget


def _checked_range(name: str, ends: tuple[Any, ...]) -> tuple[float, ...]:
    numbers = all(
        not isinstance(end, bool) and isinstance(end, Real) and math.isfinite(end) for end in ends
    )
    if not numbers or len(ends) not in (2, 3) or not ends[0] < ends[1]:
        raise ValueError(
            f"the control for {name!r} must be (min, max) or (min, max, step) in finite "
            f"numbers with min < max, got {ends!r}"
        )
    if len(ends) == 3 and not ends[2] > 0:
        raise ValueError(f"the step for {name!r} must be above 0, got {ends[2]}")
    return tuple(int(end) if isinstance(end, (int, np.integer)) else float(end) for end in ends)


def _log_slider(ends: Log) -> ipywidgets.FloatLogSlider:
    low, high = math.log10(ends.min), math.log10(ends.max)
    # A whole number of steps, so that the keyboard reaches both ends.
    step = (high - low) / max(1, round((high - low) / 0.05))
    middle = 10 ** (low + step * round((high - low) / step / 2))
    return ipywidgets.FloatLogSlider(value=middle, base=10, min=low, max=high, step=step)


def _ends(abbreviation: Any, widget: ipywidgets.Widget) -> tuple[float, float] | None:
    if isinstance(abbreviation, Log):
        return abbreviation.min, abbreviation.max
    if isinstance(widget, ipywidgets.FloatLogSlider):
        return widget.base**widget.min, widget.base**widget.max
    one_number = isinstance(widget.value, (int, float)) and not isinstance(widget.value, bool)
    if one_number and hasattr(widget, "min") and hasattr(widget, "max"):
        return widget.min, widget.max
    return None


def words(settings: Mapping[str, Any]) -> str:
    """Return settings in one line: ``depth 20, weight scale 1.5``."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
    )
