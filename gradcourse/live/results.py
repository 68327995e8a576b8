"""What ``measure`` finds, or found before, at a setting."""

from __future__ import annotations

import contextlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Mapping
from typing import Any

from gradcourse.checks import at_least

__all__ = ["Results", "Steps"]

Steps = Generator[Any, None, None]


class Results:
    """A measurement, and the last few of its results.

    Attributes
    ----------
    goes_on
        Whether ``measure`` is a generator function, which yields what there is so far.
    """

    def __init__(self, measure: Callable[..., Any], remember: int) -> None:
        self._measure = measure
        self._remember = at_least(0, "remember", remember)
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self.goes_on = inspect.isgeneratorfunction(measure)

    def forget(self) -> None:
        """Let everything be measured again."""
        self._kept.clear()

    def known(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the result at these settings is remembered."""
        try:
            return tuple(settings.values()) in self._kept
        except TypeError:
            # A widget of the reader's own may hold a value that cannot be looked up.
            return False

    def steps(self, settings: Mapping[str, Any]) -> Steps:
        """Yield every result on the way; the last one is remembered once all are taken."""
        if self.known(settings):
            key = tuple(settings.values())
            self._kept.move_to_end(key)
            yield self._kept[key]
            return
        found = self._measure(**settings)
        result = None
        for result in found if self.goes_on else [found]:
            yield result
        if self.goes_on and result is None:
            raise RuntimeError("measure is a generator that yielded no result")
        with contextlib.suppress(TypeError):
            self._kept[tuple(settings.values())] = result
        if len(self._kept) > self._remember:
            self._kept.popitem(last=False)
