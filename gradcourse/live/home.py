"""The one thread in which figures measure and draw, whichever thread a page's message comes to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

__all__ = ["Home", "running_loop"]

T = TypeVar("T")

# How often a thread that waits looks whether the event loop still runs.
LOOK = 0.5


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, as in a kernel, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Home:
    """The main thread of the kernel in which it is made; elsewhere, any thread that calls.

    JupyterLab 4.4 and later sends what widgets say to a *subshell* of the kernel, a second thread,
    so that a slider could answer while a cell runs. Then two threads would share torch's random
    numbers, matplotlib's settings and the figure itself. Here the second one waits its turn.
    """

    def __init__(self) -> None:
        # Never another thread: the main one must not wait for one that waits for it.
        at_home = threading.current_thread() is threading.main_thread()
        self._loop = running_loop() if at_home else None

    def call(self, function: Callable[[], T]) -> T | None:
        """Call a function at home, between two cells, and return what it returns.

        Returns None if the kernel ends first.

        Raises
        ------
        BaseException
            Whatever ``function`` raises, in the thread that called.
        """
        loop = self._loop
        at_home = threading.current_thread() is threading.main_thread()
        if at_home or loop is None or not loop.is_running():
            return function()
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                # An exception in a callback would end in the log of the loop, an interrupt end it.
                future.set_exception(error)

        loop.call_soon_threadsafe(work)
        while not wait([future], LOOK).done:
            if not loop.is_running():
                return None
        return future.result()
