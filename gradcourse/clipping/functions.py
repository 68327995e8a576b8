"""What may be done to gradients between ``backward()`` and ``step()``, one function per idea."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradcourse.checks import at_least_zero
from gradcourse.clipping.gradients import Gradients, Parameters
from gradcourse.clipping.limits import limit_of, order
from gradcourse.clipping.nonfinite import raise_if_nonfinite
from gradcourse.clipping.norms import accumulator, as_returned, each_as_returned, measure
from gradcourse.clipping.scaling import limit, limit_each, rescale

__all__ = [
    "clip_grad_norm_",
    "clip_grad_norm_per_parameter_",
    "clip_grad_rms_",
    "clip_grad_value_",
    "rescale_grad_norm_",
    "standardize_grad_",
]


@torch.no_grad()
def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float | None,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scale all gradients by one factor so that their common norm is at most ``max_norm``.

    .. math:: g \leftarrow g \cdot \min(1, \mathrm{max\_norm} / \lVert g \rVert)

    The direction stays. Takes the place of ``torch.nn.utils.clip_grad_norm_`` and agrees with it on
    ordinary gradients to rounding (torch divides by ``norm + 1e-6``). It differs where torch's
    function goes wrong:

    - gradients with a norm of at most ``max_norm`` are not touched, to the bit;
    - a non-finite norm leaves the gradients as they were (torch makes all of them NaN or 0);
    - finite gradients whose squares leave float32, or whose norm leaves float16, are clipped (torch
      makes them 0), and so are tiny ones, at a tiny ``max_norm``;
    - a parameter that is listed twice is measured and scaled once;
    - a negative or NaN ``max_norm`` and a ``norm_type`` of 0 or less raise (torch reverses the
      gradient, writes NaN, or counts elements);
    - sparse gradients are taken; those of a ``DTensor`` give the norm of the whole tensor.

    On an accelerator nothing here makes the host wait, unless ``error_if_nonfinite`` is set or a
    sparse gradient has to be coalesced.

    Parameters
    ----------
    parameters
        A Tensor, a Module, or an iterable of Tensors or of pairs of name and Tensor.
    max_norm
        The largest norm that is left, 0 or more. ``None`` and ``inf`` only measure.
    norm_type
        The order p > 0 of the norm, or ``inf``.
    error_if_nonfinite
        Whether to raise if the norm is NaN or Inf.
    foreach
        ``False`` handles the tensors one by one; the default and ``True`` handle them in lists.

    Returns
    -------
    Tensor
        The norm before clipping, shape ``()``, on the device of the first gradient, in the widest
        dtype of the gradients and at least float32. It is finite if and only if all gradients are:
        a norm beyond the dtype's range is given as the dtype's largest number.

    Raises
    ------
    ValueError
        If ``max_norm`` or ``norm_type`` is out of range, a sparse gradient has a layout without
        values to scale, or that of a ``DTensor`` has not been reduced over the processes yet.
    TypeError
        If something other than tensors is found, or ``max_norm`` or ``norm_type`` is no number.
    RuntimeError
        If ``error_if_nonfinite`` is set and a gradient is not finite; it names the parameters.

    References
    ----------
    Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
    algorithm 1.

    Examples
    --------
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_grad_norm_(weight, max_norm=1.0)
    tensor(5.)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    cap = limit_of("max_norm", max_norm)
    p = order(norm_type)
    gradients = Gradients.of(parameters)
    norms = measure(gradients, p, foreach)
    if error_if_nonfinite:
        raise_if_nonfinite(gradients, norms)
    if cap < math.inf:
        limit(gradients, norms, cap, foreach)
    return as_returned(gradients, norms)


@torch.no_grad()
def clip_grad_norm_per_parameter_(
    parameters: Parameters,
    max_norm: float | None,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale each gradient tensor on its own so that its norm is at most ``max_norm``.

    Turns the direction of the whole gradient, unlike ``clip_grad_norm_``. A gradient that is not
    finite is left as it was; the others are clipped.

    Parameters
    ----------
    parameters, max_norm, norm_type, error_if_nonfinite, foreach
        As in ``clip_grad_norm_``.

    Returns
    -------
    Tensor
        The norms before clipping, shape ``(parameters with a gradient,)``.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As in ``clip_grad_norm_``.

    Examples
    --------
    >>> first, second = (torch.zeros(2, requires_grad=True) for _ in range(2))
    >>> first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    >>> clip_grad_norm_per_parameter_([first, second], max_norm=1.0)
    tensor([5.0000, 0.5000])
    >>> first.grad, second.grad
    (tensor([0.6000, 0.8000]), tensor([0.3000, 0.4000]))
    """
    cap = limit_of("max_norm", max_norm)
    p = order(norm_type)
    gradients = Gradients.of(parameters)
    norms = measure(gradients, p, foreach)
    if error_if_nonfinite:
        raise_if_nonfinite(gradients, norms)
    if cap < math.inf:
        limit_each(gradients, norms, [cap] * len(gradients))
    return each_as_returned(gradients, norms.each)


@torch.no_grad()
def clip_grad_rms_(parameters: Parameters, max_rms: float | None) -> Tensor:
    """Scale each gradient tensor so that its root mean square is at most ``max_rms``.

    optax's ``clip_by_block_rms``. Shazeer & Stern 2018 (*Adafactor*) put this cap on the update,
    after the second moments, and not on the gradient. Unlike a norm, a root mean square does not
    grow with the size of a tensor.

    Parameters
    ----------
    parameters
        As in ``clip_grad_norm_``.
    max_rms
        The largest root mean square that is left, 0 or more; ``None`` and ``inf`` only measure.

    Returns
    -------
    Tensor
        The root mean squares before clipping, shape ``(parameters with a gradient,)``.

    Raises
    ------
    ValueError
        If ``max_rms`` is out of range, or for a gradient as in ``clip_grad_norm_``.
    TypeError
        If something other than tensors is found, or ``max_rms`` is no number.

    Examples
    --------
    >>> weight = torch.zeros(4, requires_grad=True)
    >>> weight.grad = torch.full((4,), 3.0)
    >>> clip_grad_rms_(weight, max_rms=1.0)
    tensor([3.])
    >>> weight.grad
    tensor([1., 1., 1., 1.])
    """
    cap = limit_of("max_rms", max_rms)
    gradients = Gradients.of(parameters)
    norms = measure(gradients, 2.0)
    # Of no elements the mean square is 0, as their norm is.
    roots = [math.sqrt(max(parameter.numel(), 1)) for parameter in gradients.parameters]
    if cap < math.inf:
        limit_each(gradients, norms, [cap * root for root in roots])
    sizes = torch.tensor(roots, dtype=norms.each.dtype).to(norms.each.device, non_blocking=True)
    return each_as_returned(gradients, norms.each / sizes)


@torch.no_grad()
def clip_grad_value_(
    parameters: Parameters, clip_value: float | None, foreach: bool | None = None
) -> None:
    """Cut each element of the gradients to ``[-clip_value, clip_value]``.

    Turns the direction (by at most 37.1 degrees for a Gaussian gradient). Inf becomes
    ``clip_value`` and NaN stays, as in ``torch.nn.utils.clip_grad_value_``, with which it agrees to
    the bit. Of a complex gradient the real and the imaginary part are cut, each on its own.

    Parameters
    ----------
    parameters
        As in ``clip_grad_norm_``.
    clip_value
        The largest absolute value that is left, 0 or more; ``None`` and ``inf`` leave all as it is.
    foreach
        As in ``clip_grad_norm_``.

    Raises
    ------
    ValueError
        If ``clip_value`` is negative or NaN (torch would set all elements to that value), or for a
        gradient as in ``clip_grad_norm_``.
    TypeError
        If something other than tensors is found, or ``clip_value`` is no number.

    Examples
    --------
    >>> weight = torch.zeros(3, requires_grad=True)
    >>> weight.grad = torch.tensor([0.7, 1.1, -3.4])
    >>> clip_grad_value_(weight, 1.0)
    >>> weight.grad
    tensor([ 0.7000,  1.0000, -1.0000])
    """
    cap = limit_of("clip_value", clip_value)
    if cap == math.inf:
        return
    for group in Gradients.of(parameters).groups:
        largest = min(cap, torch.finfo(group.dtype).max)
        if foreach is False:
            for tensor in group.tensors:
                tensor.clamp_(-largest, largest)
        else:
            torch._foreach_clamp_min_(group.tensors, -largest)
            torch._foreach_clamp_max_(group.tensors, largest)


@torch.no_grad()
def rescale_grad_norm_(
    parameters: Parameters,
    norm: float = 1.0,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor so that their common norm is ``norm``, whatever it was.

    *Gradient scaling*, or normalised gradient descent: small gradients grow. A gradient of zeros
    stays zero, a non-finite one as it was.

    Parameters
    ----------
    parameters, norm_type, error_if_nonfinite, foreach
        As in ``clip_grad_norm_``.
    norm
        The norm afterwards, 0 or more and finite.

    Returns
    -------
    Tensor
        The norm before scaling, as in ``clip_grad_norm_``.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As in ``clip_grad_norm_``.

    Examples
    --------
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([0.03, 0.04])
    >>> rescale_grad_norm_(weight)
    tensor(0.0500)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    target = at_least_zero("norm", norm)
    p = order(norm_type)
    gradients = Gradients.of(parameters)
    norms = measure(gradients, p, foreach)
    if error_if_nonfinite:
        raise_if_nonfinite(gradients, norms)
    rescale(gradients, norms, target, foreach)
    return as_returned(gradients, norms)


@torch.no_grad()
def standardize_grad_(parameters: Parameters) -> None:
    """Subtract from each gradient tensor its mean and divide it by its standard deviation.

    Some texts name this as a way of *scaling* a gradient. It is here to be measured, not to be
    recommended: it changes the sign of every element that lies between zero and the mean, and a
    vanishing gradient comes out as large as an exploding one.

    The standard deviation is torch's, divided by n - 1; of complex numbers it is that of their
    absolute distance from the mean. A tensor whose elements are all equal becomes zero; one that
    holds a NaN or an Inf is left as it was.

    Parameters
    ----------
    parameters
        As in ``clip_grad_norm_``; neither sparse nor spread over processes.

    Raises
    ------
    ValueError
        If a gradient is sparse (it would become dense) or a ``DTensor``.

    Examples
    --------
    >>> weight = torch.zeros(3, requires_grad=True)
    >>> weight.grad = torch.tensor([0.7, 1.1, 3.4])
    >>> standardize_grad_(weight)
    >>> weight.grad
    tensor([-0.7091, -0.4346,  1.1438])
    """
    gradients = Gradients.of(parameters)
    for place, parameter in enumerate(gradients.parameters):
        assert parameter.grad is not None
        if parameter.grad.layout is not torch.strided or place in gradients.shardings:
            raise ValueError(
                f"the gradient of {gradients.name_of(place)} is sparse or a DTensor, "
                "which cannot be standardised in place"
            )
    for place, tensor in enumerate(gradients.tensors):
        if tensor.numel():
            # In pairs of a real and an imaginary part, or one by one.
            width = 2 if place in gradients.complex_places else 1
            tensor.copy_(_standardized(tensor.reshape(-1, width)).view(tensor.shape))


def _standardized(rows: Tensor) -> Tensor:
    wide = rows.to(accumulator(rows.device))
    largest = torch.linalg.vector_norm(wide, torch.inf)
    # In units of the largest element no square overflows; the result is the same.
    unit = torch.where(largest > 0, largest, 1)
    centred = wide / unit - (wide / unit).mean(0)
    deviation = torch.linalg.vector_norm(centred) / math.sqrt(len(rows) - 1)
    equal = (wide == wide[0]).all()
    standard = torch.where(equal, 0.0, centred / torch.where(equal, 1, deviation))
    return torch.where(largest.isfinite(), standard, wide)
