"""Many small networks trained as one: the seeds and settings that one picture needs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.linalg import vector_norm

from gradcourse.clipping.gradients import real_parts
from gradcourse.clipping.norms import accumulator

__all__ = ["Ensemble"]

PerNetwork = float | Sequence[float] | Tensor


class Ensemble(nn.Module):
    """Networks of one architecture whose parameters are stacked, and run in one batch.

    Each keeps to itself: give every network its own loss, sum these and call ``backward``; the sum
    hands each of them the gradient of its own loss. An optimizer that treats every element by
    itself (SGD with momentum, Adam, ...) then trains all of them as it would train each alone. A
    network that ends in NaN does not touch the others.

    Parameters
    ----------
    networks
        One or more modules, alike but for the values of their parameters and buffers. They are
        copied. ``nn.RNN`` and its like have no rule for ``torch.func.vmap``, nor has a module that
        changes its buffers, such as a BatchNorm that tracks averages.

    Raises
    ------
    ValueError
        If there is no network, or they differ in their modules or what these are made with, or in
        names, shapes, dtypes or devices of their tensors.

    Notes
    -----
    ``parameters()`` are the stacked tensors, of shape (networks, ...); ``named_parameters()`` puts
    ``stacked.`` before the names that they have in one network. What is random inside, as in
    dropout, differs between the networks.

    Examples
    --------
    >>> ensemble = Ensemble([nn.Linear(3, 2) for _ in range(5)])
    >>> optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    >>> inputs, targets = torch.ones(4, 3), torch.zeros(4, 2)
    >>> losses = (ensemble(inputs) - targets).square().mean(dim=(1, 2))
    >>> losses.sum().backward()
    >>> norms = ensemble.clip_grad_norm_(1.0)
    >>> optimizer.step()
    >>> losses.shape, norms.shape
    (torch.Size([5]), torch.Size([5]))
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        networks = list(networks)
        if not networks:
            raise ValueError("an ensemble needs at least one network")
        for number, network in enumerate(networks):
            if _kind(network) != _kind(networks[0]):
                raise ValueError(
                    f"network {number} differs from network 0 in its modules or its tensors"
                )
        self._count = len(networks)
        parameters, buffers = stack_module_state(networks)
        # One network that holds the tensors of all: functional_call puts one's own in their place.
        self.stacked = copy.deepcopy(networks[0])
        stacked = {name: nn.Parameter(tensor.detach()) for name, tensor in parameters.items()}
        _put(self.stacked, stacked, networks[0].named_parameters(remove_duplicate=False))
        _put(self.stacked, buffers, networks[0].named_buffers(remove_duplicate=False))
        for name, parameter in networks[0].named_parameters():
            stacked[name].requires_grad_(parameter.requires_grad)

    def __len__(self) -> int:
        return self._count

    def forward(self, inputs: Any, *, shared: bool = True) -> Any:
        """Run every network.

        Parameters
        ----------
        inputs
            What one network takes; every network gets the same.
        shared
            False if ``inputs`` has shape (networks, ...) and each network gets a part of its own.

        Returns
        -------
        Tensor
            Shape (networks, ...).
        """
        parameters = dict(self.stacked.named_parameters())
        buffers = dict(self.stacked.named_buffers())

        def run(parameters: Any, buffers: Any, inputs: Any) -> Any:
            return functional_call(self.stacked, (parameters, buffers), (inputs,))

        places = (0, 0, None if shared else 0)
        return vmap(run, in_dims=places, randomness="different")(parameters, buffers, inputs)

    def grad_norms(self) -> Tensor:
        """Return the norm of each network's gradient, shape (networks,).

        That of float32 gradients and below cannot overflow.

        Raises
        ------
        ValueError
            If a gradient is sparse.
        """
        gradients = self._gradients()
        if not gradients:
            return torch.zeros(self._count)
        dtype = accumulator(gradients[0].device)
        norms = [
            vector_norm(real_parts(each).reshape(self._count, -1), dim=1, dtype=dtype)
            for each in gradients
        ]
        total: Tensor = vector_norm(torch.stack(norms), dim=0)
        return total

    def clip_grad_norm_(self, max_norm: PerNetwork) -> Tensor:
        """Clip each network's gradient by its own norm, as ``torch.nn.utils.clip_grad_norm_``.

        Parameters
        ----------
        max_norm
            One number, or one for each network, shape (networks,); ``inf`` changes nothing.

        Returns
        -------
        Tensor
            The norms before clipping, shape (networks,).

        Raises
        ------
        ValueError
            If ``max_norm`` has another shape, or is negative or NaN; or if a gradient is sparse.
        """
        norms = self.grad_norms()
        limits = self._per_network("max_norm", max_norm, norms)
        # As it was given: numbers are looked at without asking an accelerator for them.
        if not bool((torch.as_tensor(max_norm) >= 0).all()):
            raise ValueError(f"max_norm must be 0 or more, got {max_norm}")
        # As torch does it: a NaN norm makes NaN of all, an infinite one zeros of what is finite.
        factors = (limits / (norms + 1e-6)).clamp(max=1.0)
        self.scale_grad_(torch.where(limits.isposinf(), 1.0, factors))
        return norms

    @torch.no_grad()
    def scale_grad_(self, factors: PerNetwork) -> None:
        """Multiply each network's gradient by a number of its own: for SGD, a learning rate each.

        Parameters
        ----------
        factors
            One number, or one for each network, shape (networks,).

        Raises
        ------
        ValueError
            If ``factors`` has another shape, or a gradient is sparse.
        """
        for gradient in self._gradients():
            each = self._per_network("factors", factors, gradient)
            gradient.mul_(each.reshape(-1, *[1] * (gradient.dim() - 1)).to(gradient.dtype))

    def _gradients(self) -> list[Tensor]:
        gradients = [one.grad for one in self.parameters() if one.grad is not None]
        if any(gradient.layout is not torch.strided for gradient in gradients):
            raise ValueError("an ensemble's gradients must not be sparse: embed with sparse=False")
        return gradients

    def _per_network(self, name: str, value: PerNetwork, like: Tensor) -> Tensor:
        numbers = torch.as_tensor(value, device=like.device, dtype=accumulator(like.device))
        if numbers.shape not in ((), (self._count,)):
            raise ValueError(
                f"{name} must be one number or {self._count}, got shape {tuple(numbers.shape)}"
            )
        return numbers


def _kind(network: nn.Module) -> tuple[Any, ...]:
    tensors = [*network.named_parameters(), *network.named_buffers()]
    # One network runs for all of them, so what it is made with must be theirs as well.
    modules = [(n, type(m), m.extra_repr(), m.training) for n, m in network.named_modules()]
    return modules, [(n, t.shape, t.dtype, t.device, t.requires_grad) for n, t in tensors]


def _put(
    target: nn.Module, stacked: dict[str, Any], originals: Iterable[tuple[str, Tensor]]
) -> None:
    """Replace tensors of ``target`` by the stacked ones; what was one tensor stays one."""
    first: dict[int, str] = {}
    for path, original in originals:
        name = first.setdefault(id(original), path)
        owner, _, leaf = path.rpartition(".")
        setattr(target.get_submodule(owner), leaf, stacked[name])
