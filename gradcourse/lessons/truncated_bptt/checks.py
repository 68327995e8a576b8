"""The exercises of lesson 09, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gradcourse import theory
from gradcourse.exercises import Verdict, check_number
from gradcourse.models import seeded
from gradcourse.training import tbptt

__all__ = ["check_chunk_length", "check_truncated"]

Truncated = Callable[[nn.LSTM, Tensor, Tensor, int], Any]

# The last chunk is shorter than the others, so that weights and a lost rest show; the batch is
# larger than a chunk, so that a slice of the batch shows.
STEPS, BATCH, CHUNK = 11, 6, 4
HINT = "Each chunk: run, weight the loss, backward, detach h and c."


def check_truncated(function: Truncated) -> Verdict:
    """Check the first exercise: the gradient of truncated BPTT, left at the layer's weights.

    It is compared with the library's, and with those of typical mistakes.
    """
    name = getattr(function, "__name__", "the function")
    layer, inputs, targets = _data()
    shapes = _shapes_seen(layer)
    said = ""
    try:
        function(layer, inputs, targets, CHUNK)
    except Exception as error:
        said = _say(name, error)
    if any(len(shape) == 3 and shape[1] != BATCH for shape in shapes):
        return Verdict(False, "that cuts the batch: steps come first, inputs[i : i + chunk].")
    if said:
        return Verdict(False, said)
    found = _gradient(layer)
    if found is None:
        return Verdict(False, f"{name} leaves no gradient. {HINT}")
    if _close(found, _right()):
        layer, inputs, targets = _data()
        function(layer, inputs, targets, STEPS)
        full = _gradient(layer)
        if full is None or not _close(full, _right(STEPS)):
            return Verdict(False, "with one chunk of all steps it is not full BPTT.")
        return Verdict(True, f"{name} leaves the gradient that training.tbptt leaves")
    for wrong, why in MISTAKES:
        if _close(found, _mistaken(wrong)):
            return Verdict(False, why)
    ratio = float(found.norm() / _right().norm())
    return Verdict(
        False, f"another gradient was expected; yours has {ratio:.2f} times the length. {HINT}"
    )


def _say(name: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "second time" in said:
        return (
            "a chunk reaches into the graph of the chunk before, which is gone: detach *every* "
            "part of the state after a chunk, h and c."
        )
    if "does not require grad" in said:
        return "the loss has no graph: detach the state after the chunk, not the outputs."
    if "modified by an inplace" in said:
        return f"{name} changes weights between chunks: leave the update to the caller."
    return f"{name} raised {type(error).__name__}: {said[:120]}"


def _data() -> tuple[nn.LSTM, Tensor, Tensor]:
    source = torch.Generator().manual_seed(9)
    layer = seeded(9, lambda: nn.LSTM(3, 5))
    inputs = torch.randn(STEPS, BATCH, 3, generator=source)
    targets = torch.randn(STEPS, BATCH, 5, generator=source)
    return layer, inputs, targets


def _shapes_seen(layer: nn.LSTM) -> list[torch.Size]:
    """Return a list that will hold the shape of each input of the layer."""
    shapes: list[torch.Size] = []

    def note(_layer: nn.Module, given: tuple[Any, ...]) -> None:
        shapes.extend(one.shape for one in given[:1] if isinstance(one, Tensor))

    layer.register_forward_pre_hook(note)
    return shapes


def _gradient(layer: nn.LSTM) -> Tensor | None:
    gradients = [one.grad for one in layer.parameters()]
    if any(one is None for one in gradients):
        return None
    return torch.cat([one.flatten() for one in gradients if one is not None])


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-3 * other.norm())


def _right(chunk: int = CHUNK) -> Tensor:
    layer, inputs, targets = _data()
    for piece in tbptt(layer, inputs, targets, mse_loss, chunk):
        torch.autograd.backward(piece.loss)
    gradient = _gradient(layer)
    assert gradient is not None
    return gradient


def _mistaken(loop: Callable[[nn.LSTM, Tensor, Tensor], None]) -> Tensor:
    layer, inputs, targets = _data()
    loop(layer, inputs, targets)
    gradient = _gradient(layer)
    assert gradient is not None
    return gradient


def _detached(state: Any) -> Any:
    return tuple(part.detach() for part in state)


def _chunks(
    layer: nn.LSTM,
    inputs: Tensor,
    targets: Tensor,
    weigh: Callable[[int], float] = lambda length: length / STEPS,
    steps: int = STEPS,
    carried: bool = True,
    only_last: bool = False,
) -> None:
    """Run a loop that makes one mistake."""
    state = None
    for start in range(0, steps, CHUNK):
        length = min(CHUNK, STEPS - start)
        span = slice(start, start + length)
        if only_last:
            layer.zero_grad()
        outputs, state = layer(inputs[span], state)
        torch.autograd.backward(mse_loss(outputs, targets[span]) * weigh(length))
        state = _detached(state) if carried else None


def _unweighted(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    _chunks(layer, inputs, targets, lambda _length: 1.0)


def _mean_of_means(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    _chunks(layer, inputs, targets, lambda _length: 1 / math.ceil(STEPS / CHUNK))


def _whole_chunks_only(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    _chunks(layer, inputs, targets, steps=STEPS // CHUNK * CHUNK)


def _zero_state(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    _chunks(layer, inputs, targets, carried=False)


def _last_gradient(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    _chunks(layer, inputs, targets, only_last=True)


def _every_step(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    for piece in tbptt(layer, inputs, targets, mse_loss, 1):
        torch.autograd.backward(piece.loss)


def _no_cut(layer: nn.LSTM, inputs: Tensor, targets: Tensor) -> None:
    outputs, _ = layer(inputs)
    torch.autograd.backward(mse_loss(outputs, targets))


MISTAKES: list[tuple[Callable[[nn.LSTM, Tensor, Tensor], None], str]] = [
    (_no_cut, "that is full BPTT: nothing is cut. Detach the state after each chunk."),
    (
        _unweighted,
        "each chunk's *mean* counts whole: multiply it by the chunk's share of the steps.",
    ),
    (
        _mean_of_means,
        "the short last chunk counts as much as the others: weight by steps, not by chunks.",
    ),
    (_whole_chunks_only, "the last, shorter chunk is lost: go on to the end of the sequence."),
    (_zero_state, "every chunk starts from zeros: hand the detached state on to the next one."),
    (_last_gradient, "only the last chunk's gradient is left: clear gradients once, before."),
    (_every_step, "the graph is cut at every step: detach after a chunk, not inside of it."),
]


def check_chunk_length(answer: Any) -> Verdict:
    """Check the second exercise: how many steps hold 95 % of the gradient at memory 0.98."""
    expected = math.ceil(theory.truncation_horizon(0.98, 0.95))
    return check_number(
        answer,
        expected,
        within=1e-6,
        mistakes={
            theory.truncation_horizon(0.98, 0.95): "steps are whole: round up.",
            math.floor(theory.truncation_horizon(0.98, 0.95)): "that is just too few: round up.",
            math.ceil(theory.truncation_horizon(0.98, 0.05)): (
                "that holds 5 %: what is *lost* is memory**k = 0.05."
            ),
            math.ceil(1 / (1 - 0.98)): "one over (1 - memory) steps hold only 63 %.",
        },
        hint="Of a long sequence k steps hold 1 - memory**k.",
    )
