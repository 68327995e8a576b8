"""Name the parameters whose gradient is not finite."""

from __future__ import annotations

import math

import torch

from gradcourse.clipping.gradients import Gradients, Parameters
from gradcourse.clipping.norms import Norms, measure

__all__ = ["kind_of", "nonfinite_gradients", "raise_if_nonfinite"]


@torch.no_grad()
def nonfinite_gradients(parameters: Parameters) -> list[str]:
    """Return the names of the parameters whose gradient holds a NaN or an Inf.

    Reads one number for each gradient: the host waits once for each device.

    Parameters
    ----------
    parameters
        A Tensor, a Module, or an iterable of Tensors or of pairs of name and Tensor.

    Raises
    ------
    TypeError
        If something other than tensors is found.
    ValueError
        If a sparse gradient has a layout without values to scale, or that of a ``DTensor`` has not
        been reduced over the processes yet.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Linear(3, 2)
    >>> model.weight.grad = torch.full((2, 3), torch.inf)
    >>> nonfinite_gradients(model)
    ['weight']
    """
    gradients = Gradients.of(parameters)
    norms = measure(gradients, math.inf).each.tolist()
    return [gradients.name_of(place) for place, norm in enumerate(norms) if not math.isfinite(norm)]


def raise_if_nonfinite(gradients: Gradients, norms: Norms) -> None:
    """Raise a RuntimeError that names the parameters whose gradient is not finite."""
    if math.isfinite(norms.value if norms.value is not None else float(norms.total)):
        return
    found = []
    for place, norm in enumerate(norms.each.tolist()):
        if not math.isfinite(norm):
            found.append(f"{gradients.name_of(place)} ({kind_of(norm)})")
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    raise RuntimeError(
        f"the gradient is not finite in {len(found)} of {len(gradients)} parameters: {shown}; "
        "nothing was clipped"
    )


def kind_of(norm: float) -> str:
    """Return which of the two a norm that is not finite is."""
    return "NaN" if math.isnan(norm) else "Inf"
