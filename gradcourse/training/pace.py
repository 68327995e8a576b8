"""When a training that goes on shows what there is."""

from __future__ import annotations

import time

__all__ = ["Pace"]


class Pace:
    """Says that some seconds of work are done; the time that others take is left out.

    Parameters
    ----------
    seconds
        Of work between two pictures.

    Examples
    --------
    >>> pace = Pace(0.0)
    >>> pace.due()
    True
    >>> Pace(60.0).due()
    False
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.restart()

    def due(self) -> bool:
        """Return whether so much time has gone by since the last restart."""
        return time.perf_counter() - self._started > self.seconds

    def restart(self) -> None:
        """Count from now: work begins again."""
        self._started = time.perf_counter()
