"""Signals of networks that normalise: against torch's own modules and autograd."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradcourse.signals import normalized_signal
from gradcourse.signals.weights import base_weights
from gradcourse.tasks import digits

NORMS = {
    "BatchNorm": lambda width: nn.BatchNorm1d(width),
    "LayerNorm": lambda width: nn.LayerNorm(width),
    "RMSNorm": lambda width: nn.RMSNorm(width, eps=1e-5),
}


def by_autograd(inputs, norm, name, width, depth, scale, after, seeds, first_seed):
    """Return log10 of the gradients' norms, network by network, in float64."""
    weights = base_weights(inputs.shape[1], width, first_seed, seeds, torch.device("cpu"))
    rows = []
    for seed in range(seeds):
        hidden = [inputs.double().requires_grad_()]
        for layer in range(1, depth + 1):
            weight = weights.layer(layer)[0][seed].double()
            weight = weight * (scale / math.sqrt(weight.shape[1]))
            z = hidden[-1] @ weight.T
            module = NORMS[norm](width).double()
            hidden.append(getattr(torch, name)(module(z)) if not after else None)
            if after:
                hidden[-1] = module(getattr(torch, name)(z))
        loss = (hidden[-1] * weights.cotangents(len(inputs))[seed]).sum()
        gradients = torch.autograd.grad(loss, hidden)
        rows.append([gradient.norm().log10().item() for gradient in gradients])
    return np.array(rows)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_those_of_torch_modules(norm, name, after):
    inputs, _ = digits(12, seed=1)
    signal = normalized_signal(inputs, norm, name, 20, 6, 1.3, after=after, seeds=3, first_seed=7)
    expected = by_autograd(inputs, norm, name, 20, 6, 1.3, after, 3, 7)
    assert signal.log10_gradient == pytest.approx(expected, abs=2e-4)
    assert signal.median() == pytest.approx(np.median(expected, axis=0), abs=2e-4)


def test_a_deep_network_neither_overflows_nor_underflows_and_says_what_float32_does():
    inputs, _ = digits(16)
    far = normalized_signal(inputs, "BatchNorm", "relu", 16, 500)
    assert np.isfinite(far.log10_gradient).all()
    assert far.overflow_layer is not None
    assert far.median()[far.overflow_layer] > 38.5 > far.median()[far.overflow_layer + 1]
    assert f"plain float32 overflows at layer {far.overflow_layer}" in far.summary()
    gone = normalized_signal(inputs, "LayerNorm", "sigmoid", 16, 150)
    assert np.isfinite(gone.log10_gradient).all()
    assert gone.underflow_layer is not None
    assert gone.median()[gone.underflow_layer] < -45 < gone.median()[gone.underflow_layer + 1]
    assert f"plain float32 has 0 up to layer {gone.underflow_layer}" in gone.summary()


def test_the_factor_of_each_seed_belongs_to_its_profile():
    inputs, _ = digits(16)
    signal = normalized_signal(inputs, depth=30, seeds=5)
    slopes = [np.polyfit(range(24), row[4:28], 1)[0] for row in signal.log10_gradient]
    assert signal.per_layer == pytest.approx(10 ** -np.array(slopes))
    assert signal.gradient_per_layer == pytest.approx(np.median(signal.per_layer))


def test_one_sample_leaves_batch_norm_without_a_gradient():
    inputs, _ = digits(1)
    signal = normalized_signal(inputs, depth=5)
    assert np.isneginf(signal.median()[1])
    assert signal.summary().endswith("the gradient is exactly 0")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"norm": "GroupNorm"}, "norm must be one of BatchNorm, LayerNorm, RMSNorm, got 'Gr"),
        ({"activation": "swish"}, "activation must be one of .*, got 'swish'"),
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"width": 0}, "width must be 1 or more, got 0"),
        ({"seeds": 0}, "seeds must be 1 or more, got 0"),
        ({"first_seed": -1}, "first_seed must be 0 or more, got -1"),
        ({"weight_scale": 0.0}, "weight_scale must be between .*, got 0"),
    ],
)
def test_bad_settings_get_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        normalized_signal(torch.ones(4, 8), **settings)
