"""Adaptive gradient clipping: each unit's gradient against the size of its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from gradcourse.checks import at_least_zero, more_than_zero
from gradcourse.clipping.gradients import Gradients, Parameters, real_parts
from gradcourse.clipping.norms import accumulator, readable, squares_norm
from gradcourse.clipping.sharding import add_up

__all__ = ["clip_grad_agc_"]


@torch.no_grad()
def clip_grad_agc_(parameters: Parameters, clip_factor: float = 0.01, eps: float = 1e-3) -> Tensor:
    r"""Clip each unit's gradient to a share of the norm of that unit's weights.

    .. math:: G_i \leftarrow G_i \cdot \min\left(1, \mathrm{clip\_factor} \cdot
        \frac{\max(\lVert W_i \rVert, \mathrm{eps})}{\lVert G_i \rVert}\right)

    A unit is one output: a row of a linear layer's weight, a filter of a convolution, an entry of
    an embedding; of a transposed convolution, whose weight begins with its inputs, one input. A
    bias, a gain or a scalar is one unit as a whole. So plain gradient descent changes no unit by
    more than ``lr * clip_factor`` of its size (or of ``eps``, if that is larger). Turns the
    direction of the gradient. The authors leave the last linear layer out: pass the other
    parameters only.

    Parameters
    ----------
    parameters
        As in ``clip_grad_norm_``.
    clip_factor
        The largest ratio of gradient to weight that is left, above 0.
    eps
        The norm that a smaller weight is taken to have, so that zero weights can move.

    Returns
    -------
    Tensor
        The share of units that were clipped, from 0 to 1; shape ``()``, float32. A unit whose
        gradient is not finite is left as it was and not counted as clipped.

    Raises
    ------
    ValueError
        If ``clip_factor`` or ``eps`` is out of range, a sparse gradient is not one of rows, or
        that of a ``DTensor`` has not been reduced over the processes yet.
    TypeError
        If something other than tensors is found, or ``clip_factor`` or ``eps`` is no number.

    References
    ----------
    Brock, De, Smith & Simonyan 2021, *High-performance large-scale image recognition without
    normalization*, equation 3.

    Examples
    --------
    >>> weight = torch.tensor([[3.0, 4.0], [0.6, 0.8]], requires_grad=True)
    >>> weight.grad = torch.tensor([[0.03, 0.03], [0.03, 0.04]])
    >>> clip_grad_agc_(weight, clip_factor=0.01)
    tensor(0.5000)
    >>> weight.grad
    tensor([[0.0300, 0.0300],
            [0.0060, 0.0080]])
    """
    more_than_zero("clip_factor", clip_factor)
    at_least_zero("eps", eps)
    gradients = Gradients.of(parameters)
    clipped: list[Tensor] = []
    units = 0
    for place, tensor in enumerate(gradients.tensors):
        parameter = gradients.parameters[place]
        weight = _matching_weight(gradients, place)
        gradient_norm, weight_norm = (
            _unit_norms(values, gradients, place) for values in (tensor, weight)
        )
        cap = clip_factor * weight_norm.clamp(min=eps)
        over = (gradient_norm > cap) & gradient_norm.isfinite()
        if not readable(tensor.device) or over.any():
            # With a factor in float64, as the norms are: for a huge gradient it is 0 in float32.
            torch.mul(tensor, torch.where(over, cap / gradient_norm, 1.0), out=tensor)
        count = over.sum().to(accumulator(over.device))
        if parameter.ndim > 1 and place in gradients.shardings:
            count = add_up(count[None], 1.0, {0: gradients.shardings[place]}, {0})[0]
        clipped.append(count)
        if parameter.numel():
            units += parameter.shape[0] if parameter.ndim > 1 else 1
    if not units:
        return torch.tensor(0.0)
    device = clipped[0].device
    return (torch.stack([count.to(device) for count in clipped]).sum() / units).float()


def _matching_weight(gradients: Gradients, place: int) -> Tensor:
    """Return the weights that a tensor of gradients belongs to, element by element."""
    parameter = gradients.parameters[place].detach()
    gradient = gradients.parameters[place].grad
    assert gradient is not None
    if place in gradients.shardings:
        parameter = parameter.to_local()  # type: ignore[attr-defined]
    elif gradient.layout is not torch.strided:
        if gradient.layout is not torch.sparse_coo or gradient.sparse_dim() != 1:
            raise ValueError(
                f"the gradient of {gradients.name_of(place)} is sparse, but not in whole rows: "
                "its units cannot be told apart"
            )
        if parameter.ndim > 1:
            parameter = parameter.index_select(0, gradient._indices()[0])
    return real_parts(parameter)


def _unit_norms(values: Tensor, gradients: Gradients, place: int) -> Tensor:
    dimensions = gradients.parameters[place].ndim
    over = tuple(range(min(1, max(dimensions - 1, 0)), values.ndim))
    norms = squares_norm(values, over)
    if place in gradients.shardings:
        norms = add_up(norms[None], 2.0, {0: gradients.shardings[place]}, set(over))[0]
    return norms
