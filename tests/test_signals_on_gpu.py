"""The same numbers on a GPU."""

import numpy as np
import pytest
import torch

from gradcourse.signals import mlp_signal, phase_diagram
from gradcourse.tasks import digits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
    ),
]


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", torch.sin])
@pytest.mark.parametrize(("batch", "scale"), [(8, 1.2), (40, 0.1)])
def test_a_gpu_finds_what_the_cpu_finds(activation, batch, scale):
    settings = {"width": 32, "depth": 30, "weight_scale": scale, "bias_scale": 0.1, "seeds": 4}
    here, there = (
        mlp_signal(digits(batch)[0], activation, **settings, device=device)
        for device in ("cpu", "cuda")
    )
    for profile in ("log10_activation", "log10_gradient", "log10_weight_gradient"):
        found, wanted = getattr(there, profile), getattr(here, profile)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_phase_diagram_is_the_same_on_a_gpu():
    scales = [0.1, 0.8, 1.2]
    here, there = (
        phase_diagram(digits(8)[0], "tanh", 32, 20, scales, 0.1, device=device)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there.log10_gradient, here.log10_gradient, atol=2e-3)
