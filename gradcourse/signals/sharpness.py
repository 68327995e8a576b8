"""The sharpness of many networks at once: the largest eigenvalue of the Hessian of their loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from gradcourse.checks import at_least

__all__ = ["sharpness"]


def sharpness(
    losses: Tensor, parameters: Iterable[Tensor], steps: int = 12, seed: int = 0
) -> Tensor:
    """Return the largest eigenvalue of the Hessian of each network's loss, by Lanczos' method.

    Each step takes one Hessian-vector product, which costs a backward pass and never builds the
    Hessian. The largest Ritz value approaches the eigenvalue from below: a dozen steps suffice
    where it stands apart from the others, as in trained networks.

    Parameters
    ----------
    losses
        One loss for each network, shape (networks,), with its graph. Network ``i`` alone
        may decide ``losses[i]``.
    parameters
        Stacked parameters, each of shape (networks, ...), as ``Ensemble.parameters()``.
    steps
        The size of the Krylov space; no larger than the number of a network's parameters is used.
    seed
        Of the random vectors to start from.

    Returns
    -------
    Tensor of shape (networks,)
        Detached, in the parameters' dtype; NaN for a network whose gradient is not finite.

    Raises
    ------
    ValueError
        If ``steps`` is not a whole number of 1 or more, ``losses`` has no graph, no parameter
        requires a gradient, or one does not hold one slice for each network.

    Notes
    -----
    Lanczos 1950, with all vectors orthogonalised twice; Pearlmutter 1994 for the product.

    Examples
    --------
    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> losses = (torch.tensor([3.0, 5.0]) * x.square()).sum(dim=1) / 2
    >>> float(sharpness(losses, [x]).round(decimals=3))
    5.0
    """
    tensors = [one for one in parameters if one.requires_grad]
    networks = len(losses)
    at_least(1, "steps", steps)
    if not losses.requires_grad:
        raise ValueError("losses must have a graph: compute them with gradients enabled")
    if not tensors:
        raise ValueError("no parameter requires a gradient")
    if any(one.dim() < 1 or len(one) != networks for one in tensors):
        raise ValueError(f"each parameter must have shape ({networks}, ...), one slice per network")
    with torch.enable_grad():
        gradients = torch.autograd.grad(
            losses.sum(), tensors, create_graph=True, materialize_grads=True
        )
    # Of a loss that is linear in a parameter the gradient has no graph: it bends nowhere.
    bent = [place for place, gradient in enumerate(gradients) if gradient.requires_grad]
    if not bent:
        return torch.zeros_like(losses.detach())

    def product(vector: Tensor) -> Tensor:
        """Multiply each network's vector, shape (networks, parameters), by its Hessian."""
        parts = torch.split(vector, [one[0].numel() for one in tensors], dim=1)
        shaped = [part.view_as(one) for part, one in zip(parts, tensors, strict=True)]
        products = torch.autograd.grad(
            [gradients[place] for place in bent],
            tensors,
            [shaped[place] for place in bent],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([each.reshape(networks, -1) for each in products], dim=1)

    size = sum(one[0].numel() for one in tensors)
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(networks, size, generator=generator).to(losses)
    return _largest_eigenvalue(product, vector, min(steps, size))


def _largest_eigenvalue(product: Callable[[Tensor], Tensor], vector: Tensor, steps: int) -> Tensor:
    """Return the largest Ritz value of each network, from a vector of shape (networks, size)."""
    basis = torch.zeros(len(vector), steps, vector.shape[1]).to(vector)
    diagonal = torch.zeros(len(vector), steps).to(vector)
    beside = torch.zeros(len(vector), max(steps - 1, 0)).to(vector)
    vector = vector / vector.norm(dim=1, keepdim=True)
    alive = torch.ones(len(vector), dtype=torch.bool, device=vector.device)
    for step in range(steps):
        basis[:, step] = vector
        following = product(vector)
        quotient = (vector * following).sum(dim=1)
        # Where the Krylov space has ended, an old quotient leaves the largest eigenvalue as it is.
        diagonal[:, step] = torch.where(alive, quotient, diagonal[:, 0])
        if step == steps - 1:
            break
        size = following.norm(dim=1)
        for _ in range(2):
            known = torch.einsum("nsp,np->ns", basis, following)
            following = following - torch.einsum("ns,nsp->np", known, basis)
        left = following.norm(dim=1)
        alive = alive & (left > 10 * torch.finfo(vector.dtype).eps * size)
        beside[:, step] = torch.where(alive, left, 0.0)
        vector = torch.where(alive, 1 / left, 0.0)[:, None] * following
    matrix = torch.diag_embed(diagonal)
    matrix += torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    finite = matrix.isfinite().all(dim=2).all(dim=1)
    matrix = torch.where(finite[:, None, None], matrix, 0.0)
    largest = torch.linalg.eigvalsh(matrix)[:, -1]
    return torch.where(finite, largest, torch.nan)
