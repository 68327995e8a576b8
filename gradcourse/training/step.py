"""One step of training: forward, backward, unscale, measure, clip, step, in this order."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gradcourse.checks import more_than_zero
from gradcourse.clipping import clip_grad_norm_
from gradcourse.clipping.adaptive import AdaptiveClip
from gradcourse.clipping.gradients import plain_name
from gradcourse.training.guard import StepGuard, describe_gradients, describe_loss, guard_of
from gradcourse.training.losses import checked_loss
from gradcourse.training.processes import anywhere, gradients_stay_here

if TYPE_CHECKING:
    from gradcourse.diagnosis import GradMonitor

__all__ = ["StepRecord", "training_step"]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What happened in one step.

    Attributes
    ----------
    loss
        The loss before the step; with micro-batches their mean.
    norm
        The norm of all gradients, unscaled and before clipping.
    clipped
        Whether the gradients were made smaller.
    skipped
        Whether the parameters stayed as they were, because something was not finite.
    reason
        Why the step was skipped, else an empty string.
    scale
        The loss scale that the step used, 1 without a scaler.
    learning_rate
        The learning rate that the step used, of the first parameter group.
    """

    loss: float
    norm: float
    clipped: bool
    skipped: bool
    reason: str
    scale: float
    learning_rate: float

    def __str__(self) -> str:
        words = [f"loss {self.loss:.4g}", f"norm {self.norm:.3g}{' clipped' * self.clipped}"]
        if self.scale != 1:
            words.append(f"scale {self.scale:g}")
        words.append(f"lr {self.learning_rate:.3g}")
        return ", ".join(words) + (f"; skipped: {self.reason}" if self.skipped else "")


def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], Tensor],
    batch: Any = None,
    *,
    micro_batches: Iterable[Any] | None = None,
    weights: Sequence[float] | None = None,
    max_norm: float | AdaptiveClip | None = None,
    autocast: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    monitor: GradMonitor | None = None,
    scheduler: LRScheduler | None = None,
    guard: StepGuard | None = None,
) -> StepRecord:
    """Do one step of training, unless its loss or one of its gradients is not finite.

    Gradients are cleared, then come the forward and backward pass, ``scaler.unscale_``, the norm,
    clipping, the optimizer's step, the scaler's update and the scheduler's step. If the loss or any
    gradient is NaN or Inf the step is skipped: parameters, optimizer and scheduler stay as they
    were, to the bit, and the gradients are cleared. What the forward pass itself writes, such as
    the running averages of BatchNorm, is not taken back.

    Only the gradients that the optimizer uses are measured, clipped and guarded.

    Skipped steps are counted by the guard, which raises when there are too many in a row. With a
    scaler, gradients that are not finite at a loss scale above 1 are its ordinary search for a
    scale: the scale backs off and the step is skipped, but does not count towards the guard's
    patience. A loss that is not finite always counts, because the scale has no part in it.

    Processes that train one model together, in a ``DistributedDataParallel`` or after
    ``fully_shard``, skip a step together if the loss of one of them is not finite.

    The host waits for the device once per step, to read loss and norm together. A scaler adds two
    waits of torch's own, and a skipped step those of finding the culprit.

    Parameters
    ----------
    model
        Holds every parameter that the optimizer changes.
    optimizer
        Any of torch's but LBFGS, which needs a closure.
    loss_fn
        Called as ``loss_fn(model, batch)``; returns one number.
    batch
        Handed to ``loss_fn`` as it is, whatever it is.
    micro_batches
        In the place of ``batch``: parts whose gradients are accumulated. The step is that of
        one batch of them all, if ``loss_fn`` takes means.
    weights
        The sizes of the micro-batches if they are not equal; only their ratios matter.
    max_norm
        The largest norm that is left, or an adaptive clipper such as ``PercentileClip``; None only
        measures.
    autocast
        ``torch.float16`` or ``torch.bfloat16`` for the forward pass, on the model's device.
    scaler
        ``torch.amp.GradScaler("cuda")`` or ``("cpu")``, which float16 needs.
    monitor
        A ``GradMonitor`` of the model; it measures and clips in this step's place.
    scheduler
        Stepped after each step that was taken, and only then.
    guard
        Keep one across calls to choose its patience or read its counts; otherwise each optimizer
        has one with a patience of 10.

    Returns
    -------
    StepRecord
        Plain numbers and words.

    Raises
    ------
    NonFiniteError
        If the guard's patience is at an end; it names the loss, or the first parameters.
    ValueError
        If the loss is not one number or depends on no parameter of the optimizer, if there are no
        micro-batches, if ``max_norm`` is negative or NaN, or if the optimizer changes parameters
        that are not the model's, or the monitor watches another model.
    TypeError
        If the optimizer is LBFGS, the scheduler needs a metric, or the loss is no tensor.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> def loss_fn(model, batch):
    ...     inputs, targets = batch
    ...     return nn.functional.mse_loss(model(inputs), targets)
    >>> good = torch.ones(8, 2), torch.zeros(8, 1)
    >>> training_step(model, optimizer, loss_fn, good, max_norm=1.0).skipped
    False
    >>> bad = torch.ones(8, 2), torch.full((8, 1), torch.inf)
    >>> print(training_step(model, optimizer, loss_fn, bad, max_norm=1.0))
    loss inf, norm inf, lr 0.1; skipped: the loss is Inf
    """
    _refuse_unfit(optimizer, scheduler, max_norm)
    parameters = _parameters(model, optimizer, monitor)
    parts, shares = _parts(batch, micro_batches, weights)
    forward = _autocast(next(iter(parameters.values())).device, autocast)
    guard = guard_of(optimizer) if guard is None else guard
    scale = 1.0 if scaler is None else scaler.get_scale()
    learning_rate = float(optimizer.param_groups[0]["lr"])

    model.zero_grad()
    losses = []
    for left, (part, share) in enumerate(zip(parts, shares, strict=True), 1 - len(parts)):
        with gradients_stay_here(model) if left else contextlib.nullcontext():
            with forward:
                loss = _learnable(checked_loss(loss_fn(model, part))) * share
            # A half-precision sum over many micro-batches would lose the last of them.
            losses.append(loss.detach().to(torch.promote_types(loss.dtype, torch.float32)))
            scaled = loss if scaler is None else scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]
    _refuse_untouched(optimizer)

    if monitor is not None:
        _refuse_strays(model, parameters)
    before, after = _measure_and_clip(
        list(parameters.values()), optimizer, max_norm, scaler, monitor
    )
    total = torch.stack(losses).sum()
    # The norm is that of all processes, but each has a loss of its own.
    broken = anywhere(~total.isfinite(), model, parameters.values())
    numbers = torch.stack([number.to(total.device) for number in (total, before, after, broken)])
    mean_loss, norm, norm_left, broken_loss = numbers.tolist()

    taken = not broken_loss and math.isfinite(norm)
    if taken and scaler is None:
        optimizer.step()
    elif taken and scaler is not None:
        scaler.step(optimizer)
    if scaler is not None:
        # An overflow that unscale_ has met makes the scale back off here.
        scaler.update()
    if taken:
        guard.take()
        if scheduler is not None:
            scheduler.step()
        return StepRecord(mean_loss, norm, norm_left < norm, False, "", scale, learning_rate)

    backs_off = scaler is not None and scale > 1 and scaler.get_scale() < scale
    searching = not broken_loss and backs_off
    if searching:
        reason = f"overflow at loss scale {scale:g}, {describe_gradients(parameters)}"
    elif not broken_loss:
        reason = describe_gradients(parameters)
    elif math.isfinite(mean_loss):
        reason = "the loss on another process is not finite"
    else:
        reason = describe_loss(torch.stack(losses).tolist())
    model.zero_grad()
    guard.skip(reason, counts=not searching)
    return StepRecord(mean_loss, norm, False, True, reason, scale, learning_rate)


def _measure_and_clip(
    parameters: list[Tensor],
    optimizer: Optimizer,
    max_norm: float | AdaptiveClip | None,
    scaler: torch.amp.GradScaler | None,
    monitor: GradMonitor | None,
) -> tuple[Tensor, Tensor]:
    """Return the norm of the unscaled gradients before and after clipping."""
    if monitor is not None:
        norm = monitor.step(max_norm=max_norm, scaler=scaler, optimizer=optimizer)
    else:
        if scaler is not None:
            scaler.unscale_(optimizer)
        if isinstance(max_norm, AdaptiveClip):
            norm = max_norm(parameters)
        else:
            norm = clip_grad_norm_(parameters, max_norm)
    if isinstance(max_norm, AdaptiveClip):
        # An adaptive clipper does not say where its limit was.
        measured = max_norm if monitor is None else monitor
        return norm, clip_grad_norm_(parameters, None, measured.norm_type)
    return norm, norm if max_norm is None else norm.clamp(max=max_norm)


def _parts(
    batch: Any, micro_batches: Iterable[Any] | None, weights: Sequence[float] | None
) -> tuple[Sequence[Any], list[float]]:
    """Return what the loss is computed on, and each part's share of it."""
    if micro_batches is None:
        if weights is not None:
            raise ValueError("weights are those of micro_batches, and there are none")
        return [batch], [1.0]
    if batch is not None:
        raise ValueError("give either a batch or micro_batches, not both")
    micro_batches = list(micro_batches)
    if not micro_batches:
        raise ValueError("micro_batches must hold one or more, got none")
    if weights is None:
        return micro_batches, [1 / len(micro_batches)] * len(micro_batches)
    if len(weights) != len(micro_batches):
        raise ValueError(
            f"weights must be as many as micro_batches, {len(micro_batches)}, got {len(weights)}"
        )
    sizes = [more_than_zero("a weight", weight) for weight in weights]
    return micro_batches, [size / math.fsum(sizes) for size in sizes]


def _autocast(
    device: torch.device, dtype: torch.dtype | None
) -> contextlib.AbstractContextManager[object]:
    if dtype is None:
        # Not a disabled autocast, which would end one that the caller has opened.
        return contextlib.nullcontext()
    if dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(f"autocast must be torch.float16, torch.bfloat16 or None, got {dtype}")
    return torch.autocast(device.type, dtype=dtype)


def _parameters(
    model: nn.Module, optimizer: Optimizer, monitor: GradMonitor | None
) -> dict[str, Tensor]:
    """Return the parameters that the optimizer changes, by name."""
    named = dict(model.named_parameters())
    held = set(map(id, named.values()))
    updated = set(map(id, _updated(optimizer)))
    if not updated <= held:
        raise ValueError(
            "the optimizer changes parameters that are not the model's and would be neither "
            "clipped nor guarded; hand in a module that holds them all"
        )
    if monitor is not None and set(map(id, monitor.model.parameters())) != held:
        raise ValueError("the monitor watches another model")
    return {plain_name(name): p for name, p in named.items() if id(p) in updated}


def _refuse_strays(model: nn.Module, parameters: dict[str, Tensor]) -> None:
    updated = set(map(id, parameters.values()))
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and id(parameter) not in updated:
            raise ValueError(
                f"{plain_name(name)} has a gradient, by which the monitor would clip, but the "
                "optimizer does not change it: freeze it with requires_grad_(False)"
            )


def _updated(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _learnable(loss: Tensor) -> Tensor:
    if not loss.requires_grad:
        raise ValueError(
            "the loss does not depend on any parameter that learns: "
            "all are frozen, or the loss was detached or computed under no_grad"
        )
    return loss


def _refuse_untouched(optimizer: Optimizer) -> None:
    if all(parameter.grad is None for parameter in _updated(optimizer)):
        raise ValueError("the loss does not depend on any parameter of the optimizer")


def _refuse_unfit(optimizer: Optimizer, scheduler: LRScheduler | None, max_norm: object) -> None:
    if isinstance(optimizer, LBFGS):
        raise TypeError(
            "LBFGS needs a closure, because it computes the loss several times in a step; "
            "call its step yourself"
        )
    if isinstance(scheduler, ReduceLROnPlateau):
        raise TypeError("ReduceLROnPlateau needs a metric; step it yourself")
    if isinstance(max_norm, float | int):
        # Refused now, because a scaler that was stopped after unscale_ refuses the next step.
        clip_grad_norm_((), max_norm)
