"""Know which module and which line runs, and which of them made a node of the backward graph."""

from __future__ import annotations

import linecache
import sys
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from gradcourse.clipping.gradients import plain_name
from gradcourse.diagnosis.nonfinite.report import Phase

__all__ = ["Place", "Places"]

_NOT_USER_CODE = tuple(
    f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parents[2])
)


class Place(NamedTuple):
    """A module's path and a line of code, a file's name and a number."""

    module: str
    line: tuple[str, int] | None

    def source(self) -> str:
        """Return the line as ``"file.py:12 y = x.exp()"``, empty if there is none."""
        if self.line is None:
            return ""
        file, number = self.line
        return f"{Path(file).name}:{number} {linecache.getline(file, number).strip()}".rstrip()


class Places:
    """Where in a model each operation runs, in the forward and in the backward pass.

    Torch counts the nodes of the backward graph, thread by thread, and a node takes its number
    before its operation runs: from the count at each operation of the forward pass one can tell,
    later, where a node was made.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parameter_names = {id(tensor): name for name, tensor in model.named_parameters()}
        self.outside = ""
        self.in_backward = False
        self._running: list[str] = []
        self._graph_task = -1
        self._main_thread = threading.get_ident()
        self._made: dict[int, tuple[list[int], list[Place]]] = {}

    @staticmethod
    def run(function: Callable[[], Any]) -> Any:
        """Call a function; frames outside of it do not count as lines of the model."""
        return function()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Know, inside of the context, which module is running."""
        handles = []

        def leave(*_: object) -> None:
            self._running.pop()

        try:
            for name, module in self.model.named_modules():

                def enter(*_: object, path: str = plain_name(name)) -> None:
                    self._running.append(path)

                handles.append(module.register_forward_pre_hook(enter, prepend=True))
                handles.append(module.register_forward_hook(leave, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def note(self) -> None:
        """Note where the nodes are made that torch has counted since the last operation."""
        if self.in_backward and not self._recomputing():
            if self._graph_task < 0:
                self._graph_task = torch._C._current_graph_task_id()
            return
        count = torch._C._autograd._get_sequence_nr()
        counts, places = self._made.setdefault(threading.get_ident(), ([], []))
        if not counts or count > counts[-1]:
            counts.append(count)
            places.append(self.now()[2])

    def now(self) -> tuple[Phase, str, Place]:
        """Return the phase, the node of the backward graph, and the place of what runs now."""
        node: Any = torch._C._current_autograd_node()
        line = _line_of_the_model()
        if node is None:
            module = self._running[-1] if self._running else self.outside
            return "forward", "", Place(module, line)
        made_at = self._made_at(node)
        if self._recomputing():
            module = self._running[-1] if self._running else made_at.module
            return "forward", "", Place(module, line)
        name = node.name().rpartition("::")[2]
        return "backward", name, Place(made_at.module, line or made_at.line)

    def _recomputing(self) -> bool:
        """Return whether checkpointing runs a part of the forward pass again."""
        return self.in_backward and (torch.is_grad_enabled() or bool(self._running))

    def _made_at(self, node: Any) -> Place:
        if hasattr(node, "variable"):
            name = self.parameter_names.get(id(node.variable), "")
            return Place(plain_name(name).rpartition(".")[0], None)
        # On a GPU the nodes run in another thread than the one that made them, except those that
        # were made there by reentrant checkpointing, which has a graph task of its own.
        nested = self.in_backward and torch._C._current_graph_task_id() != self._graph_task
        thread = threading.get_ident() if nested else self._main_thread
        counts, places = self._made.get(thread) or self._made[self._main_thread]
        index = bisect_left(counts, node._sequence_nr() + 1)
        # A write into a view makes nodes after its operation, the last ones perhaps.
        return places[min(index, len(places) - 1)]


def _line_of_the_model() -> tuple[str, int] | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not Places.run.__code__:
        if not frame.f_code.co_filename.startswith(_NOT_USER_CODE):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None
