"""Watch the gradients of a training run, and clip them by the norms that were measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import chain, islice
from operator import methodcaller
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradcourse.checks import at_least
from gradcourse.clipping.adaptive import AdaptiveClip
from gradcourse.clipping.gradients import Gradients, plain_name
from gradcourse.clipping.limits import limit_of, order
from gradcourse.clipping.norms import Norms, as_returned, measure
from gradcourse.clipping.scaling import limit
from gradcourse.diagnosis.history import (
    History,
    NonFiniteGradient,
    Record,
    nonfinite_of,
    read,
    totals,
)
from gradcourse.diagnosis.layers import LayerHooks, Noted
from gradcourse.diagnosis.untouched import plain_module
from gradcourse.diagnosis.verdict import Diagnosis, judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GradMonitor"]

VALUES = methodcaller("values")


class GradMonitor:
    """Measure, record and clip the gradients of a model, once per training step.

    Call ``step`` between ``backward()`` and ``optimizer.step()``, in the place of
    ``clip_grad_norm_``: the norms that it clips by are the norms that it records, so that recording
    them costs nothing extra. Nothing is read from the device until you ask for it.

    As a context manager it also watches the layers: the gradient with respect to each layer's
    output, which shows a vanishing gradient where the weights' gradients hide it, and the dead and
    saturated units of each activation. Its hooks are gone at the end of the block. Backward passes
    since the last step add up, as gradients do. What it cannot see: the layers of a compiled model,
    functions such as ``torch.relu``, and the steps in time inside of a recurrent layer. A copy of
    the model made inside of the block keeps hooks that do nothing.

    Parameters
    ----------
    model
        Its parameters are listed once, and again when a parameter or a module was replaced, added
        or taken away, as by sharding.
    every
        The norms by parameter and the layers are recorded on every such step; the norm of all
        gradients on each.
    keep
        How many of the latest steps are remembered.
    norm_type
        The order p > 0 of the norms, or ``inf``.

    Raises
    ------
    TypeError, ValueError
        If the model is no module, or a number is out of range.

    Examples
    --------
    >>> from gradcourse.models import MLP
    >>> model = MLP(in_features=8, width=16, depth=3, out_features=1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with GradMonitor(model) as monitor:
    ...     for _ in range(5):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(4, 8)).square().sum().backward()
    ...         norm = monitor.step(max_norm=1e-3)
    ...         optimizer.step()
    >>> monitor.clip_rate()
    1.0
    >>> monitor.diagnose().verdict
    'healthy'
    """

    def __init__(
        self, model: nn.Module, every: int = 1, keep: int = 10_000, norm_type: float = 2.0
    ) -> None:
        self.model = model
        self.every = at_least(1, "every", every)
        self.norm_type = order(norm_type)
        self.steps = 0
        self._hooks = LayerHooks(plain_module(model), self._due)
        self._records: deque[Record] = deque(maxlen=at_least(1, "keep", keep))
        self._history: History | None = None
        self._list_parameters()

    @torch.no_grad()
    def step(
        self,
        max_norm: float | AdaptiveClip | None = None,
        scaler: torch.amp.GradScaler | None = None,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
    ) -> Tensor:
        """Unscale, measure, record and clip the gradients as they are now.

        Parameters
        ----------
        max_norm
            The largest norm that is left, or an adaptive limit, such as ``PercentileClip``;
            ``None`` only measures.
        scaler
            A gradient scaler, whose scale is taken out of the gradients first, unless
            ``scaler.unscale_(optimizer)`` has done so since the last update.
        optimizer
            The optimizer of all gradients that the scaler has scaled, or several; needed with a
            scaler.

        Returns
        -------
        Tensor
            The norm before clipping, as ``clip_grad_norm_`` returns it.

        Raises
        ------
        ValueError
            If ``max_norm`` is negative or NaN, a scaler comes without the optimizers of all
            gradients, or an adaptive limit learns from norms of another order.
        """
        learner = max_norm if isinstance(max_norm, AdaptiveClip) else None
        cap: float | Tensor = math.inf
        if not isinstance(max_norm, AdaptiveClip):
            cap = limit_of("max_norm", max_norm)
        elif max_norm.norm_type != self.norm_type:
            raise ValueError(
                f"the monitor measures norms of order {self.norm_type:g}, and the adaptive limit "
                f"learns from those of order {max_norm.norm_type:g}"
            )
        gradients = self._gradients()
        scaled = scaler is not None and scaler.is_enabled()
        noted = self._hooks.take()
        if scaler is not None:
            if scaled and noted.layers:
                # get_scale would make the host wait.
                scale = scaler.scale(noted.norms.new_ones(()))
                noted = noted._replace(norms=noted.norms / scale)
            _unscale(scaler, optimizer, gradients)
        norms = measure(gradients, self.norm_type)
        if learner is not None and len(gradients):
            cap = learner.observe(norms.total)
        self._record(gradients, norms, cap, scaled, noted)
        if learner is not None or cap < math.inf:
            limit(gradients, norms, cap, None)
        return as_returned(gradients, norms)

    @property
    def history(self) -> History:
        """What was recorded, as arrays. Reading it makes an accelerator's host wait."""
        if self._history is None:
            self._history = read(self._records)
        return self._history

    def clip_rate(self, window: int | None = None) -> float:
        """Return the share of steps that were clipped, of the last ``window`` or of all.

        A step whose norm was not finite was not clipped, and is not counted. NaN if there is none.

        Raises
        ------
        ValueError
            If ``window`` is given and not a whole number of 1 or more.
        """
        seen = self._records if window is None else self._latest(window)
        norm, max_norm = totals(seen)
        finite = np.isfinite(norm)
        return float((norm > max_norm)[finite].mean()) if finite.any() else math.nan

    def latest(self) -> dict[str, float]:
        """Return the numbers of the last step, for a logger; only that step is read.

        ``grad_norm``, ``max_norm`` and ``clipped`` (0 or 1), and on steps recorded in full
        ``grad_norm/<parameter>`` of each parameter that had a gradient. Empty before the first
        step.
        """
        if not self._records:
            return {}
        last, present = read(self._latest(1)), self._records[-1].with_gradient()
        numbers = {
            "grad_norm": float(last.norm[0]),
            "max_norm": float(last.max_norm[0]),
            "clipped": float(last.clipped[0]),
        }
        full = {name: last.parameters[name] for name in present if name in last.parameters}
        return numbers | {f"grad_norm/{name}": float(n[0]) for name, n in full.items() if len(n)}

    def nonfinite(self) -> list[NonFiniteGradient]:
        """Return each gradient that was NaN or Inf: its step, its parameter, and which of the two.

        Of a step on which the norms by parameter were not recorded the parameter is given as
        ``"?"``.
        """
        if self._history is not None:
            return list(self._history.nonfinite)
        # Not the whole history: an alarm asks after every step.
        return list(nonfinite_of(self._records, totals(self._records)[0]))

    def diagnose(self, window: int = 100) -> Diagnosis:
        """Return a verdict on the last ``window`` steps, where the trouble begins, and what helps.

        The profile over the layers is that of the gradients with respect to their outputs if the
        monitor was used as a context manager, and of their parameters' gradients if not. Behind a
        head that starts at zero the first steps look like a vanished gradient, and for them it is.

        Raises
        ------
        ValueError
            If ``window`` is not a whole number of 1 or more.
        """
        recent = self._latest(window)
        if all(record.each is None for record in recent):
            # Steps may be recorded in full more rarely than once in a window.
            full = (record for record in reversed(self._records) if record.each is not None)
            recent = [*islice(full, 1), *recent]
        scaled = np.array([record.scaled for record in recent], dtype=bool)
        return judge(read(recent), scaled)

    def plot(self) -> Figure:
        """Draw the norm over the steps and its profile over the layers; return the figure."""
        from gradcourse.diagnosis.picture import draw

        return draw(self.history)

    def __enter__(self) -> Self:
        self._hooks.attach()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hooks.detach()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # The hooks belong to the model here, not to a copy of the monitor.
        state |= dict.fromkeys(("_hooks", "_parameters", "_modules", "_held", "_seen"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hooks = LayerHooks(plain_module(self.model), self._due)
        self._list_parameters()

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"GradMonitor({type(self.model).__name__}, {self.steps} steps)"

    def _latest(self, window: int) -> list[Record]:
        count = min(at_least(1, "window", window), len(self._records))
        return list(islice(reversed(self._records), count))[::-1]

    def _due(self) -> bool:
        return self.steps % self.every == 0

    def _list_parameters(self) -> None:
        named = dict(self.model.named_parameters())
        self._parameters: list[Tensor] = list(named.values())
        self._names = tuple(map(plain_name, named))
        # Kept alive: a module made anew could otherwise get the place in memory of one that is
        # gone, and with it its id.
        self._modules = list(self.model.modules())
        self._held = [
            own for module in self._modules for own in (module._parameters, module._modules)
        ]
        self._seen = self._fingerprint()

    def _fingerprint(self) -> list[int]:
        """Return what changes when a parameter or a module is replaced, added or taken away."""
        return list(map(id, chain.from_iterable(map(VALUES, self._held))))

    def _gradients(self) -> Gradients:
        if self._fingerprint() != self._seen:
            self._list_parameters()
        return Gradients.of_list(self._parameters, self._name_of)

    def _record(
        self, gradients: Gradients, norms: Norms, cap: float | Tensor, scaled: bool, noted: Noted
    ) -> None:
        each = places = None
        # On a CPU the number is known, and a step that went wrong is worth recording in full.
        if self._due() or not math.isfinite(norms.value or 0.0):
            each = norms.each
            if len(gradients) < len(self._parameters):
                number = {id(owner): place for place, owner in enumerate(self._parameters)}
                places = tuple(number[id(owner)] for owner in gradients.parameters)
        self._records.append(
            Record(self.steps, norms.total, cap, scaled, self._names, places, each, noted)
        )
        self._history = None
        self.steps += 1

    def _name_of(self, owner: Tensor) -> str:
        return next(
            name
            for name, parameter in zip(self._names, self._parameters, strict=True)
            if parameter is owner
        )


def _unscale(
    scaler: torch.amp.GradScaler,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    gradients: Gradients,
) -> None:
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ())
    if not optimizers:
        raise ValueError("a scaler needs the optimizer whose gradients it scales: step(optimizer=)")
    groups = [group for one in optimizers for group in one.param_groups]
    reached = {id(parameter) for group in groups for parameter in group["params"]}
    for place, parameter in enumerate(gradients.parameters):
        if id(parameter) not in reached:
            raise ValueError(
                f"{gradients.name_of(place)} has a scaled gradient, but no optimizer given here: "
                "give its optimizer as well, or freeze it with requires_grad_(False)"
            )
    for one in optimizers:
        try:
            scaler.unscale_(one)
        except RuntimeError as error:
            # torch keeps no public record of whether this was done already; its complaint says so.
            if "already been called" not in str(error):
                raise
