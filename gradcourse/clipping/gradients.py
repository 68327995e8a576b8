"""The gradients behind a Tensor, an iterable or a Module, as plain tensors to measure and scale."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradcourse.clipping.sharding import Sharding, local_shard

__all__ = [
    "Gradients",
    "Parameters",
    "original_module",
    "parameter_names",
    "plain_name",
    "real_parts",
]

Parameters = Tensor | nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
"""What the functions take: one tensor, a model, or tensors with or without names."""


@dataclass(frozen=True, slots=True)
class Group:
    """Gradients on one device and of one dtype, and their places in the whole list."""

    device: torch.device
    dtype: torch.dtype
    tensors: list[Tensor]
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Gradients:
    """What one call of a clipping function works on.

    Attributes
    ----------
    parameters
        The parameters that have a gradient, each once, in their order.
    tensors
        For each of them a dense real tensor that shares memory with its gradient: the gradient, the
        values of a sparse one, the real view of a complex one, the local shard of a ``DTensor``.
    shardings
        By place, how a ``DTensor`` gradient is spread over processes; empty without such gradients.
    complex_places
        The places of complex gradients.
    name_of
        Gives the name of the parameter at a place.
    groups
        The tensors, those of one device and dtype together.
    """

    parameters: list[Tensor]
    tensors: list[Tensor]
    shardings: dict[int, Sharding]
    complex_places: frozenset[int]
    name_of: Callable[[int], str]
    groups: list[Group]

    def __len__(self) -> int:
        return len(self.tensors)

    @classmethod
    def of(cls, parameters: Parameters) -> Gradients:
        """Collect the gradients of a Tensor, an iterable or a Module.

        Raises
        ------
        TypeError
            If something other than tensors is found.
        ValueError
            If a sparse gradient has a layout without values to scale.
        """
        listed, name_of = _listed(parameters)
        return cls.of_list(listed, name_of)

    @classmethod
    def of_list(cls, parameters: list[Tensor], name_of: Callable[[Tensor], str]) -> Gradients:
        """Collect the gradients of parameters that are known to be tensors."""
        owners = parameters
        found = [owner.grad for owner in owners]
        tensors = [tensor for tensor in found if tensor is not None]
        if len(tensors) < len(owners):
            owners = [
                owner for owner, tensor in zip(owners, found, strict=True) if tensor is not None
            ]
        # By the gradient and not by the parameter: a tied weight may be listed twice, and two
        # parameters may have been given one gradient.
        if len(set(map(id, tensors))) < len(tensors):
            once: dict[int, Tensor] = {}
            for owner, tensor in zip(owners, tensors, strict=True):
                once.setdefault(id(tensor), owner)
            gradients = cls.of_list(list(once.values()), name_of)
            # A gradient that could not be worked on in place was replaced: for all that share it.
            for owner, tensor in zip(owners, tensors, strict=True):
                owner.grad = once[id(tensor)].grad
            return gradients
        shardings: dict[int, Sharding] = {}
        complex_places: list[int] = []
        # Most models have plain gradients of one kind, and then nothing is looked at one by one.
        kinds = {(tensor.layout, tensor.dtype, tensor.device) for tensor in tensors}
        plain = set(map(type, tensors)) <= {Tensor}
        if not plain or any(
            layout is not torch.strided or dtype.is_complex for layout, dtype, _ in kinds
        ):
            for place, owner in enumerate(owners):
                tensor, sharding = local_shard(tensors[place])
                if sharding is not None:
                    shardings[place] = sharding
                if tensor.layout is not torch.strided:
                    tensor = _values(owner, tensor, name_of)
                if tensor.is_complex():
                    tensor = _real_view(owner, tensor)
                    complex_places.append(place)
                tensors[place] = tensor
            kinds = {(tensor.layout, tensor.dtype, tensor.device) for tensor in tensors}
        return cls(
            owners,
            tensors,
            shardings,
            frozenset(complex_places),
            lambda place: name_of(owners[place]),
            _grouped(tensors, kinds),
        )


def _grouped(
    tensors: list[Tensor], kinds: set[tuple[torch.layout, torch.dtype, torch.device]]
) -> list[Group]:
    if len(kinds) == 1:
        ((_, dtype, device),) = kinds
        return [Group(device, dtype, tensors, range(len(tensors)))]
    places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(tensors):
        places.setdefault((tensor.device, tensor.dtype), []).append(place)
    return [
        Group(device, dtype, [tensors[place] for place in members], members)
        for (device, dtype), members in places.items()
    ]


def _values(owner: Tensor, gradient: Tensor, name_of: Callable[[Tensor], str]) -> Tensor:
    """Return the values of a sparse gradient, each element of the matrix once."""
    if gradient.layout is torch.sparse_coo:
        if not gradient.is_coalesced():
            # Repeated entries stand for their sum: a norm or a limit of them means nothing.
            gradient = gradient.coalesce()
            owner.grad = gradient
        return gradient._values()
    if gradient.layout in (
        torch.sparse_csr,
        torch.sparse_csc,
        torch.sparse_bsr,
        torch.sparse_bsc,
    ):
        return gradient.values()
    raise ValueError(
        f"the gradient of {name_of(owner)} has the layout {gradient.layout}, which cannot be scaled"
    )


def _real_view(owner: Tensor, gradient: Tensor) -> Tensor:
    if gradient.is_conj() or gradient.is_neg():
        gradient = gradient.resolve_conj().resolve_neg()
        owner.grad = gradient
    return torch.view_as_real(gradient)


def _listed(parameters: Parameters) -> tuple[list[Tensor], Callable[[Tensor], str]]:
    if isinstance(parameters, Tensor):
        return [parameters], lambda _: f"the parameter of shape {tuple(parameters.shape)}"
    if isinstance(parameters, nn.Module):
        module = parameters
        return list(module.parameters()), lambda owner: parameter_names(module)[id(owner)]
    if not isinstance(parameters, Iterable):
        raise TypeError(
            "parameters must be a Tensor, a Module or an iterable of Tensors, "
            f"got {type(parameters).__name__}"
        )
    items = list(parameters)
    if not items and isinstance(parameters, Iterator):
        warnings.warn(
            "the iterator of parameters is empty, perhaps because it was used before: "
            "no gradient was touched",
            stacklevel=5,  # The caller of a public function, past no_grad around it.
        )
    named = {
        place: item
        for place, item in enumerate(items)
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
    }
    tensors = (
        [item[1] if place in named else item for place, item in enumerate(items)]
        if named
        else items
    )
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"parameters[{place}] must be a Tensor, got {type(tensor).__name__}")

    def name_of(owner: Tensor) -> str:
        place = next(place for place, tensor in enumerate(tensors) if tensor is owner)
        return (
            named[place][0]
            if place in named
            else f"parameters[{place}] of shape {tuple(owner.shape)}"
        )

    return tensors, name_of


def parameter_names(module: nn.Module) -> dict[int, str]:
    """Return the name of each parameter of a module by its ``id``; the first of a tied one's."""
    return {id(parameter): plain_name(name) for name, parameter in module.named_parameters()}


def plain_name(name: str) -> str:
    """Return a name without what ``torch.compile`` puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def original_module(model: nn.Module) -> nn.Module:
    """Return the module behind ``torch.compile``, or the module itself."""
    original = getattr(model, "_orig_mod", model)
    return original if isinstance(original, nn.Module) else model


def real_parts(tensor: Tensor) -> Tensor:
    """Return a complex tensor as its two parts, shape ``(..., 2)``, and others as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
