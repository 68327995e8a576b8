"""A measurement that goes on while the page stays alive, and the bar that shows how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets

from gradcourse.live.results import Steps

__all__ = ["ProgressBar", "Run"]

# Between two steps the kernel takes in what the page has sent: several turns of its event loop.
BREATH = 0.005


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt raise, as in a cell; between its messages a kernel ignores it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Run:
    """The rest of a generator, taken step by step between the kernel's other messages.

    Parameters
    ----------
    steps
        What is left to do. A step blocks the kernel while it lasts.
    take
        Called with what each step yields.
    done
        Called when there are no more steps.
    fail
        Called with what a step, or ``take``, raised; nothing is called after it.
    """

    def __init__(
        self,
        steps: Steps,
        take: Callable[[Any], None],
        done: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._steps = steps
        self._take = take
        self._done = done
        self._fail = fail
        # The event loop itself holds a task only weakly.
        self._task = asyncio.get_running_loop().create_task(self._go())

    async def _go(self) -> None:
        try:
            nothing = object()
            await asyncio.sleep(BREATH)
            while True:
                with _interruptible():
                    result = next(self._steps, nothing)
                if result is nothing:
                    break
                self._take(result)
                await asyncio.sleep(BREATH)
        except asyncio.CancelledError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            self._fail(error)
        else:
            self._done()

    def end(self) -> None:
        """Stop after the present step; nothing more is called."""
        self._task.cancel()
        # A generator whose own clean-up fails has nobody left to tell.
        with contextlib.suppress(Exception):
            self._steps.close()


class ProgressBar:
    """A bar and a Stop button, which keep their place while there is nothing to show."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout={"width": "16em"})
        button = ipywidgets.Button(description="Stop", tooltip="Keep what there is so far")
        button.layout.width = "5.5em"
        button.on_click(lambda _button: stop())
        self.widget = ipywidgets.HBox([self._bar, button])
        self.hide()

    def show(self, result: Any) -> None:
        """Show the bar at ``result.progress``, or without an amount if there is none."""
        self._bar.value = float(getattr(result, "progress", 0.0))
        self.widget.layout.visibility = "visible"

    def hide(self) -> None:
        """Hide bar and button."""
        self.widget.layout.visibility = "hidden"
