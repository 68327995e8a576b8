"""Theory of normalisation: against closed forms, sampled spheres and torch's own backward pass."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse import theory
from gradcourse.theory import batch_norm_chi, norm_chi, surviving_share

SMOOTH = ["tanh", "gelu", "sigmoid", "silu", "erf"]


def relu_rate_of_yang(batch):
    """Return the closed form of Yang et al. 2019 for ReLU."""
    c = -1 / (batch - 1)
    kernel = (math.sqrt(1 - c**2) + c * (math.pi - math.acos(c))) / math.pi
    slope = (math.pi - math.acos(c)) / math.pi
    return ((batch - 1 + slope) / (1 - kernel) - 1) / (batch - 3)


@settings(deadline=None)
@given(st.integers(4, 1000))
def test_relu_agrees_with_the_published_closed_form(batch):
    assert batch_norm_chi("relu", batch) == pytest.approx(relu_rate_of_yang(batch), rel=1e-9)


@settings(deadline=None)
@given(st.integers(4, 1000))
def test_a_linear_layer_has_a_closed_form(batch):
    assert batch_norm_chi("linear", batch) == pytest.approx((batch - 2) / (batch - 3), rel=1e-9)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", *SMOOTH])
def test_large_batches_tend_to_the_limit(name):
    limit = batch_norm_chi(name)
    assert limit == norm_chi("BatchNorm", name)
    far, near = (abs(batch_norm_chi(name, size) - limit) for size in (500, 1000))
    assert near == pytest.approx(far / 2, rel=0.05)


def one_layer(name, batch, units, seed):
    """Return the factor of the squared gradient of one wide layer, by autograd in float64."""
    source = np.random.default_rng(seed)
    raw = source.standard_normal((units, batch))
    # What the layer below hands on: pre-activations are Gaussian, with the covariance of phi(z).
    phi = theory.activation(name)
    sample = torch.nn.functional.batch_norm(
        torch.from_numpy(source.standard_normal((400_000, batch))).T, None, None, training=True
    )
    values = phi.function(sample.numpy())
    spread = (np.square(values).mean() - (values[0] * values[1]).mean()) ** 0.5
    z = torch.from_numpy(spread * raw.T).requires_grad_()
    gradient = source.standard_normal((batch, units))
    gradient -= gradient.mean(0)
    hat = torch.nn.functional.batch_norm(z, None, None, training=True, eps=1e-12)
    slope = torch.from_numpy(phi.derivative(hat.detach().numpy()))
    (back,) = torch.autograd.grad(hat, z, slope * torch.from_numpy(gradient))
    return float(back.square().sum()) / float(np.square(gradient).sum())


@pytest.mark.parametrize("batch", [8, 16])
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "sigmoid"])
def test_the_formula_for_a_batch_is_what_autograd_does_to_one_wide_layer(name, batch):
    measured = one_layer(name, batch, 100_000, seed=batch)
    assert measured == pytest.approx(batch_norm_chi(name, batch), rel=0.02)


@pytest.mark.parametrize("norm", theory.NORMS)
@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "gelu", "sigmoid"])
@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("after", [False, True])
def test_wide_layers_of_torch_have_the_rate(norm, name, scale, after):
    source = torch.Generator().manual_seed(3)
    size, batch = 1500, 150
    phi = theory.activation(name)
    # Independent inputs of the size that the layer below hands on, and of mean 0 in the batch if
    # the norm gives them this.
    spread = 1.0
    if not after:
        spread = (theory.gaussian_mean(lambda x: phi.function(x) ** 2, 1.0)) ** 0.5
        if norm == "BatchNorm":
            mean = theory.gaussian_mean(phi.function, 1.0)
            spread = (spread**2 - mean**2) ** 0.5
    x = torch.randn(batch, size, generator=source, dtype=torch.float64) * spread
    x.requires_grad_()
    weight = torch.randn(size, size, generator=source, dtype=torch.float64) * scale / size**0.5

    def normalise(z):
        if norm == "BatchNorm":
            return torch.nn.functional.batch_norm(z, None, None, training=True)
        if norm == "LayerNorm":
            return torch.nn.functional.layer_norm(z, (size,))
        return torch.nn.functional.rms_norm(z, (size,))

    act = {"linear": lambda z: z, "gelu": torch.nn.functional.gelu}.get(
        name, getattr(torch, name, None)
    )
    z = x @ weight.T
    out = normalise(act(z)) if after else act(normalise(z))
    back = torch.randn(batch, size, generator=source, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(out, x, back)
    measured = float(gradient.square().sum() / back.square().sum())
    assert measured == pytest.approx(norm_chi(norm, name, scale**2, after=after), rel=0.035)


@settings(deadline=None)
@given(st.sampled_from(SMOOTH), st.floats(0.1, 5.0))
def test_subtracting_a_mean_never_shrinks_a_gradient(name, variance):
    assert norm_chi("BatchNorm", name) > 1
    assert norm_chi("LayerNorm", name, variance, after=True) > 1


@settings(deadline=None)
@given(st.floats(0.01, 100.0))
def test_relu_rates_do_not_depend_on_the_weights(variance):
    limit = math.pi / (math.pi - 1)
    assert norm_chi("BatchNorm", "relu", variance) == pytest.approx(limit)
    assert norm_chi("BatchNorm", "relu", variance, after=True) == pytest.approx(limit)
    assert norm_chi("LayerNorm", "relu", variance) == pytest.approx(1)
    assert norm_chi("LayerNorm", "relu", variance, after=True) == pytest.approx(limit)
    assert norm_chi("RMSNorm", "relu", variance, after=True) == pytest.approx(1)


@pytest.mark.parametrize("norm", theory.NORMS)
@pytest.mark.parametrize("size", [2, 3, 10])
def test_the_surviving_share_is_the_trace_of_the_jacobian_of_a_norm(norm, size):
    x = torch.randn(size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)

    def normalise(x):
        centred = x if norm == "RMSNorm" else x - x.mean()
        return centred / centred.square().mean().sqrt()

    jacobian = torch.autograd.functional.jacobian(normalise, x)
    deviation = (x if norm == "RMSNorm" else x - x.mean()).square().mean().sqrt()
    share = torch.trace(jacobian * deviation) / size
    assert float(share) == pytest.approx(surviving_share(norm, size), abs=1e-12)


def test_nothing_survives_a_batch_of_one():
    assert surviving_share("BatchNorm", 1) == 0
    assert surviving_share("RMSNorm", 1) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: batch_norm_chi("relu", 3), "batch must be 4 or more, got 3"),
        (lambda: batch_norm_chi("relu", 4.5), "batch must be a whole number, 4 or more, got 4.5"),
        (lambda: batch_norm_chi("relu", -math.inf), "batch must be a whole number.* got -inf"),
        (lambda: batch_norm_chi("relu", math.nan), "batch must be a whole number.* got nan"),
        (lambda: batch_norm_chi("swish"), "activation must be one of .*, got 'swish'"),
        (lambda: norm_chi("GroupNorm", "relu"), "norm must be one of .*, got 'GroupNorm'"),
        (lambda: norm_chi("RMSNorm", "relu", 0.0), "weight_variance must be .* above 0, got 0"),
        (lambda: surviving_share("none", 3), "norm must be one of .*, got 'none'"),
        (lambda: surviving_share("RMSNorm", 0), "size must be 1 or more, got 0"),
    ],
)
def test_bad_arguments_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
