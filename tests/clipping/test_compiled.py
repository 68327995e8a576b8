"""The functions inside of a compiled step: the same result, and no break of the graph."""

import math

import pytest
import torch
from clip_oracle import filled
from torch import nn

from gradcourse.clipping import (
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    rescale_grad_norm_,
    standardize_grad_,
)

CLIPS = {
    "norm": lambda p, size: clip_grad_norm_(p, size),
    "norm of order inf": lambda p, size: clip_grad_norm_(p, size, math.inf, foreach=False),
    "value": clip_grad_value_,
    "per parameter": lambda p, size: clip_grad_norm_per_parameter_(p, size),
    "rms": clip_grad_rms_,
    "agc": clip_grad_agc_,
    "rescale": lambda p, size: rescale_grad_norm_(p, size),
    "standardize": lambda p, _: standardize_grad_(p),
}


# The compiler warns of its own affairs, differently in each version.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLIPS)
def test_a_compiled_step_clips_the_same_in_one_graph(name):
    def parameters():
        dtypes = torch.float32, torch.float64, torch.bfloat16
        return filled([nn.Parameter(torch.ones(4, 3, dtype=dtype)) for dtype in dtypes])

    torch.compiler.reset()
    compiled = torch.compile(CLIPS[name], backend="eager", fullgraph=True)
    for size in (0.5, 100.0):
        ours, plain = parameters(), parameters()
        returned, expected = compiled(ours, size), CLIPS[name](plain, size)
        if returned is not None:
            torch.testing.assert_close(returned, expected, rtol=1e-6, atol=0)
        for one, other in zip(ours, plain, strict=True):
            torch.testing.assert_close(one.grad, other.grad)
