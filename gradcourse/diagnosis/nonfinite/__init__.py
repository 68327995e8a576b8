"""Find the operation that made the first Inf or NaN of a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gradcourse.clipping.gradients import plain_name
from gradcourse.diagnosis.nonfinite.report import FirstNonFinite, TensorSummary
from gradcourse.diagnosis.nonfinite.watch import Watch
from gradcourse.diagnosis.untouched import call, copies, local_module, untouched

__all__ = ["FirstNonFinite", "TensorSummary", "find_nonfinite"]


def find_nonfinite(
    model: nn.Module, batch: Any, loss: Callable[[Any], Tensor] | None = None
) -> FirstNonFinite | None:
    """Return the first operation, forward or backward, that made an Inf or NaN of finite numbers.

    Runs forward and backward once, and the backward pass only if the loss is finite. Every
    operation is seen by a ``TorchDispatchMode``, so that Inf is found where
    ``torch.autograd.detect_anomaly`` sees only NaN.

    Only what comes out counts: if the loss and all gradients are finite, the answer is None, and
    an Inf that was absorbed on the way (``exp(-inf)``, a masked softmax, ``torch.where``) is not
    the answer. Non-finite numbers are followed through the storages that hold them, and the
    earliest fault that reached the loss or a gradient is reported:

    - an operation is at fault if it made Inf or NaN where its inputs are finite;
    - so are NaN and Inf that came in with the batch, a buffer or another tensor, and with a
      parameter -Inf too;
    - numbers written on purpose are not: a non-finite constant (``masked_fill(mask, -inf)``), or
      a -Inf in the batch, a buffer or another tensor, which is a mask. An operation that makes the
      first NaN of them *is* at fault, such as the softmax of a row that is masked entirely. They
      are reported themselves only if there is no fault and yet they reach the loss.

    What sees only whole tensors (a matrix product, a softmax) hands on everything that is not
    finite in its inputs; what works element by element is judged element by element.

    Parameters
    ----------
    model
        Run in the mode (train or eval) that it is in, eagerly, even if compiled.
    batch
        A tensor, a tuple or list of arguments, or a dict of keyword arguments. The model gets
        copies.
    loss
        Makes a loss of one element from the model's output; None if the model returns the loss.
        After ``training_step``, whose batch is a pair of inputs and targets:
        ``find_nonfinite(model, inputs, lambda output: mse_loss(output, targets))``.

    Returns
    -------
    FirstNonFinite or None
        ``str()`` of it is one sentence.

    Raises
    ------
    TypeError
        If the model is not a module, the batch none of the above, or the loss not a tensor.
    ValueError
        If the loss has more than one element.

    Notes
    -----
    Whatever forward and backward raise comes through. In any case gradients, buffers, training
    flags and torch's random state are afterwards as before, and no hook is left; hooks that run
    after a gradient is accumulated (an optimizer step in the backward pass) do not run.
    8 bit floats, nested tensors and what happens outside of torch are not looked into.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Softplus(), nn.Linear(2, 1)).half()
    >>> _ = nn.init.ones_(model[0].weight)
    >>> _ = nn.init.constant_(model[2].weight, 60_000.0)
    >>> print(find_nonfinite(model, torch.full((1, 2), 9.0).half(), loss=torch.sum))
    forward: aten.addmm in module '2' made 1 Inf of 1 from float16 inputs up to 6e+04
    (the largest float16 is 65504), which reached the loss
    >>> find_nonfinite(nn.Linear(2, 1), torch.zeros(1, 2), loss=torch.sum) is None
    True
    """
    model = local_module(model)
    # A cast of the weights that autocast has kept would hide how it was made.
    torch.clear_autocast_cache()
    with untouched(model), torch.enable_grad():
        arguments, inputs = copies(batch)
        watch = Watch(model, inputs)

        def forward() -> Tensor:
            output = call(model, arguments)
            watch.places.outside = "loss"
            return _one_number(output if loss is None else loss(output))

        with watch.places.watched():
            total = watch.run(forward)
            found = [(mark, "the loss") for mark in watch.marks_of(total)]
            if not found and total.requires_grad:
                leaves = _leaves(model, inputs, total)
                with _own_gradients(leaves.values()):
                    watch.places.in_backward = True
                    watch.run(total.backward)
                    for name, leaf in leaves.items():
                        reached = f"the gradient of {name!r}"
                        found += [(mark, reached) for mark in watch.marks_of(leaf.grad)]
    if not found:
        return None
    mark, reached = min(found, key=lambda item: (watch.origins[item[0]].meant, item[0]))
    return replace(watch.origins[mark].report, reached=reached)


def _one_number(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"the loss must be a tensor, got {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(f"the loss must be one number, got shape {tuple(loss.shape)}")
    return loss


def _leaves(model: nn.Module, inputs: Mapping[str, Tensor], loss: Tensor) -> dict[str, Tensor]:
    """Return by name all that the backward pass may give a gradient to."""
    leaves: dict[str, Tensor] = {plain_name(name): p for name, p in model.named_parameters()}
    leaves |= {name: tensor for name, tensor in inputs.items() if tensor.requires_grad}
    known = {id(leaf) for leaf in leaves.values()}
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            leaves[f"tensor {len(leaves) - len(known)} of the loss"] = leaf
        nodes += [parent for parent, _ in node.next_functions]
    return leaves


@contextmanager
def _own_gradients(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Let a backward pass make new gradients, and put back those that were there."""
    saved = [(leaf, leaf.grad, leaf._post_accumulate_grad_hooks) for leaf in leaves]
    muted = [(hooks, dict(hooks)) for _, _, hooks in saved if hooks]
    try:
        for leaf, _, _ in saved:
            leaf.grad = None
        for hooks, _ in muted:
            hooks.clear()
        yield
    finally:
        for leaf, gradient, _ in saved:
            leaf.grad = gradient
        for hooks, before in muted:
            hooks.update(before)
