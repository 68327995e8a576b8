"""Back-propagation through time, truncated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradcourse.checks import at_least
from gradcourse.training.losses import checked_loss

__all__ = ["Chunk", "tbptt"]


@dataclass(frozen=True)
class Chunk:
    """One chunk of a sequence on its way through ``tbptt``.

    Attributes
    ----------
    loss
        ``weight`` times the chunk's mean loss, with its graph: call ``backward`` on it. The losses
        of all chunks add up to the mean loss of the whole sequence.
    weight
        The chunk's share of the steps, so that ``loss / weight`` is the chunk's own mean loss.
    outputs
        The model's outputs at the chunk's steps, detached.
    start, stop
        The chunk's steps are ``start`` to ``stop - 1``.
    state
        The model's state after the chunk, detached: what a stream goes on from.
    """

    loss: Tensor
    weight: float
    outputs: Tensor
    start: int
    stop: int
    state: Any


def tbptt(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    chunk: int,
    overlap: int = 0,
    state: Any = None,
    batch_first: bool = False,
) -> Iterator[Chunk]:
    """Run a recurrent model over a sequence chunk by chunk, and hand out each chunk's loss.

    What is done with a loss stays in your loop: ``backward``, clip, step, log. Each loss reaches
    back to ``overlap`` steps before its chunk and no further; the numbers in the state go on, the
    graph does not. Memory grows with ``chunk + overlap`` and not with the length.

    Chunks of ``k1`` steps through which gradients flow ``k2`` steps back, ``TBPTT(k1, k2)``, are
    ``chunk=k1, overlap=k2 - k1``. With ``overlap`` the steps before the chunk are run again with
    the parameters of now, as a graph from before an update would be stale, so each chunk
    costs ``(chunk + overlap) / chunk`` forward passes, and dropout draws these steps anew.

    Parameters
    ----------
    model
        ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` or any module that is called as ``model(inputs, state)``
        and returns ``(outputs, state)``; its first state is None unless ``state`` is given.
        A state is a tensor or tuples, lists and dicts of tensors.
    inputs
        Shape ``(steps, batch, features)``, or with more dimensions; whole numbers, such as tokens,
        may come as ``(steps, batch)``.
    targets
        Shape ``(steps, batch, ...)``.
    loss_fn
        Called as ``loss_fn(outputs, targets)`` with one chunk of each. It must be a *mean* over the
        chunk, so that each step weighs the same.
    chunk
        Steps between two losses, 1 or more; the last chunk may be shorter. With the whole length,
        or more, this is full back-propagation through time.
    overlap
        Steps before a chunk that its gradient flows through too, 0 or more.
    state
        Where to start, such as the last ``Chunk.state`` of the part of a stream before. No gradient
        flows into it.
    batch_first
        Whether inputs, targets and outputs have shape ``(batch, steps, ...)``. A state never does.

    Yields
    ------
    Chunk
        Its loss, and the state after it. The model runs when the loop asks for the chunk.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit, ``batch_first`` contradicts the model, or the model is
        bidirectional.
    TypeError
        If the model does not return outputs and a state, or a state that cannot be detached.

    Notes
    -----
    Williams & Peng 1990, BPTT(h; h'), with h = ``chunk + overlap`` and h' = ``chunk``; Sutskever
    2013 calls the two numbers k2 and k1. A truncated gradient is biased towards short memory:
    in ``h = a * h + w * x`` with constant ``x`` the last step's ``dh/dw`` keeps a share
    ``(1 - a**k) / (1 - a**T)`` of ``T`` steps, where ``k`` is the last chunk's length plus
    ``overlap``.

    Examples
    --------
    >>> model, inputs = nn.GRU(3, 4), torch.randn(50, 2, 3)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> for piece in tbptt(model, inputs, torch.zeros(50, 2, 4), nn.MSELoss(), chunk=20):
    ...     optimizer.zero_grad()
    ...     piece.loss.backward()
    ...     norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    ...     optimizer.step()
    ...     print(f"steps {piece.start} to {piece.stop - 1}: {piece.weight:.0%}")
    steps 0 to 19: 40%
    steps 20 to 39: 40%
    steps 40 to 49: 20%
    """
    chunk = at_least(1, "chunk", chunk)
    overlap = at_least(0, "overlap", overlap)
    _check_sequence(inputs, targets, batch_first)
    if getattr(model, "batch_first", batch_first) != batch_first:
        raise ValueError(
            f"batch_first is {batch_first}, but the model was made with "
            f"batch_first={not batch_first}"
        )
    if getattr(model, "bidirectional", False):
        raise ValueError("a bidirectional model starts at the end: it cannot run chunk by chunk")
    # Checked here and not in the generator, which would not start before the loop does.
    return _chunks(model, inputs, targets, loss_fn, chunk, overlap, _detached(state), batch_first)


def _chunks(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    chunk: int,
    overlap: int,
    held: Any,
    batch_first: bool,
) -> Iterator[Chunk]:
    time = int(batch_first)
    steps = inputs.shape[time]
    for start in range(0, steps, chunk):
        stop = min(start + chunk, steps)
        window = range(max(0, start - overlap), stop)
        next_window = max(0, stop - overlap)
        outputs, state, held = _run(model, inputs, held, window, start, next_window, time)
        weight = (stop - start) / steps
        loss = checked_loss(loss_fn(outputs, targets.narrow(time, start, stop - start))) * weight
        piece = Chunk(loss, weight, outputs.detach(), start, stop, state)
        # Nothing of a chunk's graph may live on in this frame while the next one is built.
        del outputs, loss
        yield piece
        del piece


def _run(
    model: nn.Module, inputs: Tensor, state: Any, window: range, start: int, kept: int, time: int
) -> tuple[Tensor, Any, Any]:
    """Return outputs from ``start`` on, and the states at the window's end and at step ``kept``."""
    held = state
    outputs = []
    for left, right in itertools.pairwise(sorted({window.start, start, kept, window.stop})):
        output, state = _forward(model, inputs.narrow(time, left, right - left), state, time)
        if left >= start:
            outputs.append(output)
        if right == kept:
            held = _detached(state)
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=time)
    return joined, _detached(state), held


def _forward(model: nn.Module, inputs: Tensor, state: Any, time: int) -> tuple[Tensor, Any]:
    returned = model(inputs, state)
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Tensor)):
        raise TypeError(
            f"the model must return a tuple (outputs, state), got {type(returned).__name__}"
        )
    outputs, state = returned
    steps = inputs.shape[time]
    if outputs.ndim <= time or outputs.shape[time] != steps:
        raise ValueError(
            f"the model must return an output for each of {steps} steps, "
            f"got outputs of shape {tuple(outputs.shape)}"
        )
    return outputs, state


def _detached(state: Any) -> Any:
    if state is None or isinstance(state, int | float):
        return state
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, dict):
        return {key: _detached(value) for key, value in state.items()}
    if isinstance(state, tuple | list):
        parts = [_detached(part) for part in state]
        # A named tuple takes its parts one by one.
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    raise TypeError(
        "a state must be a tensor, or tuples, lists and dicts of tensors, "
        f"got {type(state).__name__}"
    )


def _check_sequence(inputs: Tensor, targets: Tensor, batch_first: bool) -> None:
    layout = "(batch, steps, ...)" if batch_first else "(steps, batch, ...)"
    for name, tensor in (("inputs", inputs), ("targets", targets)):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} must be a tensor of shape {layout}, got {type(tensor).__name__}"
            )
    if inputs.ndim < (3 if inputs.is_floating_point() else 2):
        raise ValueError(
            f"inputs must have shape {layout.replace('...', 'features')}, "
            f"got {tuple(inputs.shape)}; a single sequence needs a batch of one"
        )
    if targets.shape[:2] != inputs.shape[:2]:
        raise ValueError(
            f"targets must have as many steps and sequences as inputs, {layout}: "
            f"got {tuple(targets.shape)} and {tuple(inputs.shape)}"
        )
    if math.prod(inputs.shape[:2]) == 0:
        raise ValueError(
            f"inputs must hold at least one step of one sequence, got {tuple(inputs.shape)}"
        )
