"""What the tests of clipping share: the functions, their input, and norms in Python's floats."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from gradcourse.clipping import (
    PercentileClip,
    SpikeClip,
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    rescale_grad_norm_,
    standardize_grad_,
)

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
NORM_TYPES = [1.0, 2.0, 3.0, math.inf, 0.5]


def parameters_of(*gradients: Tensor) -> list[nn.Parameter]:
    """Return one parameter for each gradient, which it holds."""
    parameters = []
    for gradient in gradients:
        zeros = torch.zeros(gradient.shape, dtype=gradient.dtype, device=gradient.device)
        parameters.append(nn.Parameter(zeros))
        parameters[-1].grad = gradient
    return parameters


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return a copy of each gradient, dense."""
    return [parameter.grad.detach().to_dense().clone() for parameter in parameters]


def absolute(tensor: Tensor) -> list[float]:
    """Return the absolute value of each element as a Python float, whatever its size."""
    tensor = tensor.detach().to_dense()
    if tensor.is_complex():
        pairs = torch.view_as_real(tensor.resolve_conj().resolve_neg()).double().reshape(-1, 2)
        return [math.hypot(*pair) for pair in pairs.tolist()]
    return tensor.double().abs().flatten().tolist()


def norm_of(gradients: Iterable[Tensor], p: float = 2.0) -> float:
    """Return the p-norm of all elements together: a loop over scaled Python floats."""
    sizes = [size for gradient in gradients for size in absolute(gradient)]
    largest = max(sizes, default=0.0)
    if p == math.inf or largest in (0.0, math.inf):
        return largest
    return largest * math.fsum((size / largest) ** p for size in sizes) ** (1 / p)


def about(expected: object, rel: float = 1e-6, within: float = 0.0) -> object:
    """Compare relatively: pytest's own absolute tolerance of 1e-12 takes tiny numbers for equal."""
    return pytest.approx(expected, rel=rel, abs=within)


def bits(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor's elements: -0.0 and 0.0 differ, and so do two kinds of NaN."""
    dense = tensor.detach().resolve_conj().resolve_neg().contiguous().cpu()
    return dense.reshape(-1).view(torch.uint8).numpy().tobytes()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return normal numbers of a seed of their own."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def same(one, other):
    assert type(one) is type(other)
    if one is not None:
        torch.testing.assert_close(one, other)


def filled(parameters, weights=0.2, seed=0):
    """Give parameters weights, and gradients of normal numbers."""
    for place, parameter in enumerate(parameters):
        with torch.no_grad():
            parameter.copy_(
                weights * normal(*parameter.shape, seed=seed + place + 50, dtype=parameter.dtype)
            )
        parameter.grad = normal(*parameter.shape, seed=seed + place, dtype=parameter.dtype)
    return parameters


# Each clips at about half of what the gradients below have.
FUNCTIONS = {
    "clip_grad_norm_": lambda p: clip_grad_norm_(p, 1.0),
    "clip_grad_norm_ of order 1": lambda p: clip_grad_norm_(p, 1.0, 1.0),
    "clip_grad_norm_ of order inf": lambda p: clip_grad_norm_(p, 0.5, math.inf),
    "clip_grad_norm_ one by one": lambda p: clip_grad_norm_(p, 1.0, foreach=False),
    "clip_grad_norm_per_parameter_": lambda p: clip_grad_norm_per_parameter_(p, 1.0),
    "clip_grad_rms_": lambda p: clip_grad_rms_(p, 0.5),
    "clip_grad_value_": lambda p: clip_grad_value_(p, 0.5),
    "clip_grad_value_ one by one": lambda p: clip_grad_value_(p, 0.5, foreach=False),
    "clip_grad_agc_": lambda p: clip_grad_agc_(p, 0.5),
    "rescale_grad_norm_": lambda p: rescale_grad_norm_(p, 1.0),
    "standardize_grad_": lambda p: standardize_grad_(p),
    "PercentileClip": lambda p: percentile_of_two(p),
    "SpikeClip": lambda p: SpikeClip(max_norm=1.0)(p),
}


def percentile_of_two(parameters):
    clip = PercentileClip(percentile=0)
    clip.load_state_dict({"norms": torch.ones(1, dtype=torch.float64)})
    return clip(parameters)


every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
