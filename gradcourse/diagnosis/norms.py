"""How large the gradients of a module are, by parameter, by layer, and against the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradcourse.clipping.gradients import (
    Gradients,
    Parameters,
    parameter_names,
    plain_name,
    real_parts,
)
from gradcourse.clipping.limits import order
from gradcourse.clipping.norms import as_returned, measure, scaled_norm

__all__ = ["global_grad_norm", "grad_norms", "layer_grad_norms", "layer_of", "update_ratios"]


@torch.no_grad()
def global_grad_norm(parameters: Parameters, norm_type: float = 2.0) -> Tensor:
    """Return the norm of all gradients together, as if they were one vector.

    What ``clip_grad_norm_`` returns, without clipping, and without making a device's host wait.

    Parameters
    ----------
    parameters
        A Tensor, a Module, or an iterable of Tensors or of pairs of name and Tensor.
    norm_type
        The order p > 0 of the norm, or ``inf``.

    Returns
    -------
    Tensor
        Shape ``()``, at least float32; finite if and only if all gradients are.

    Raises
    ------
    TypeError
        If something other than tensors is found, or ``norm_type`` is no number.
    ValueError
        If ``norm_type`` is not above 0, a sparse gradient has a layout without values to scale, or
        that of a ``DTensor`` has not been reduced over the processes yet.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> layer.weight.grad, layer.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    >>> global_grad_norm(layer)
    tensor(5.)
    """
    gradients = Gradients.of(parameters)
    return as_returned(gradients, measure(gradients, order(norm_type)))


@torch.no_grad()
def grad_norms(module: nn.Module, norm_type: float = 2.0) -> dict[str, float]:
    """Return the norm of each parameter's gradient, by name.

    Parameters without a gradient are left out; a tied one is listed once.

    Parameters
    ----------
    module
        A model after ``backward()``.
    norm_type
        The order p > 0 of the norms, or ``inf``.

    Raises
    ------
    TypeError
        If ``module`` is no module, or ``norm_type`` is no number.
    ValueError
        If ``norm_type`` is not above 0, a sparse gradient has a layout without values to scale, or
        that of a ``DTensor`` has not been reduced over the processes yet.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> layer.weight.grad, layer.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    >>> grad_norms(layer)
    {'weight': 3.0, 'bias': 4.0}
    """
    # An iterable of tensors would have norms too, but no names.
    _refuse_other_than_module(module)
    gradients = Gradients.of(module)
    each = measure(gradients, order(norm_type)).each.tolist()
    names = parameter_names(module)
    return {
        names[id(parameter)]: norm
        for parameter, norm in zip(gradients.parameters, each, strict=True)
    }


def layer_grad_norms(module: nn.Module, norm_type: float = 2.0) -> dict[str, float]:
    """Return the norm of each layer's gradient, by the path of the layer.

    A layer is a module that owns parameters itself: the norm of a ``Linear`` is that of its
    weight's and its bias's gradient together. Mind that weights can hide a vanishing gradient: with
    Xavier's initialisation and ReLU the gradients of all weights have equal norms, while those of
    the layers' outputs shrink towards the input. ``GradMonitor`` as a context manager shows these.

    Parameters
    ----------
    module
        A model after ``backward()``.
    norm_type
        The order p > 0 of the norms, or ``inf``.

    Raises
    ------
    TypeError
        If ``module`` is no module, or ``norm_type`` is no number.
    ValueError
        If ``norm_type`` is not above 0, a sparse gradient has a layout without values to scale, or
        that of a ``DTensor`` has not been reduced over the processes yet.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> model[0].weight.grad, model[0].bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    >>> layer_grad_norms(model)
    {'0': 5.0}
    """
    p = order(norm_type)
    layers: dict[str, list[float]] = {}
    for name, norm in grad_norms(module, p).items():
        layers.setdefault(layer_of(name), []).append(norm)
    return {
        layer: float(scaled_norm(torch.tensor(norms, dtype=torch.float64), p))
        for layer, norms in layers.items()
    }


def layer_of(parameter_name: str) -> str:
    """Return the path of the module that owns a parameter; of the root's own ones, their names."""
    owner = parameter_name.partition(".parametrizations.")[0]
    return (owner if owner != parameter_name else owner.rpartition(".")[0]) or parameter_name


@contextmanager
def update_ratios(module: nn.Module) -> Iterator[dict[str, float]]:
    r"""Measure how far each parameter moves, against its size: ``|change| / |before|``.

    Whatever happens inside of the ``with`` is measured: put ``optimizer.step()`` there. As a rule
    of thumb a ratio near 1e-3 is healthy; at 1e-6 a layer stands still, at 1 it is thrown about.

    Parameters
    ----------
    module
        Its trainable parameters are copied for as long as the block runs.

    Yields
    ------
    dict
        Filled at the end of the block, by parameter name; ``inf`` for a zero parameter that moved,
        0 for one that did not.

    Raises
    ------
    TypeError
        If ``module`` is no :class:`torch.nn.Module`.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> layer.weight.grad = 0.02 * layer.weight.detach()
    >>> with update_ratios(layer) as ratios:
    ...     optimizer.step()
    >>> print(f"{ratios['weight']:.4f}")
    0.0020
    """
    _refuse_other_than_module(module)
    before = {
        plain_name(name): (parameter, parameter.detach().clone())
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    ratios: dict[str, float] = {}
    yield ratios
    with torch.no_grad():
        for name, (parameter, old) in before.items():
            both = (real_parts(value) for value in (parameter - old, old))
            moved, size = (float(scaled_norm(value, 2.0)) for value in both)
            ratios[name] = moved / size if size else (torch.inf if moved else 0.0)


def _refuse_other_than_module(module: object) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
