"""The same gradients clipped by optax, another team's library on another framework.

optax counts the units of a layer by its last dimension, torch by its first: weights are handed over
transposed.
"""

import math

import numpy as np
import pytest
import torch
from clip_oracle import about, normal, parameters_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse.clipping import (
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    rescale_grad_norm_,
)

pytestmark = pytest.mark.slow
optax = pytest.importorskip("optax", reason="optax is no dependency: pip install optax to compare")

# Without dimensions of size 1, which optax leaves out when it looks for units.
shapes = st.lists(
    st.sampled_from([(3,), (4, 2), (2, 5), (3, 2, 2, 3), (6, 3)]), min_size=1, max_size=4
)
seeds = st.integers(0, 999)


def transposed(tensor):
    """A torch layer's weight as the other libraries hold it: outputs in the last dimension."""
    array = tensor.detach().numpy()
    return array.transpose(*range(1, array.ndim), 0) if array.ndim > 1 else array


def compare(ours, referee, shapes, seed, zero=False):
    gradients = [
        (place + 1) * normal(*shape, seed=seed + place) for place, shape in enumerate(shapes)
    ]
    weights = [
        0 * gradient if zero else 0.3 * normal(*gradient.shape, seed=seed + 99)
        for gradient in gradients
    ]
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.data.copy_(weight)
    ours(parameters)
    theirs = [transposed(weight).copy() for weight in weights]
    updates, _ = referee.update(
        [transposed(gradient).copy() for gradient in gradients], referee.init(theirs), theirs
    )
    for parameter, update in zip(parameters, updates, strict=True):
        np.testing.assert_allclose(
            transposed(parameter.grad), np.asarray(update), rtol=4e-6, atol=1e-7
        )


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.floats(0.1, 30))
def test_the_common_norm(shapes, seed, max_norm):
    compare(
        lambda p: clip_grad_norm_(p, max_norm), optax.clip_by_global_norm(max_norm), shapes, seed
    )


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.floats(0.1, 3))
def test_each_element(shapes, seed, value):
    compare(lambda p: clip_grad_value_(p, value), optax.clip(value), shapes, seed)


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.floats(0.1, 3))
def test_the_root_mean_square_of_each_tensor(shapes, seed, max_rms):
    compare(lambda p: clip_grad_rms_(p, max_rms), optax.clip_by_block_rms(max_rms), shapes, seed)


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.floats(0.001, 2), st.sampled_from([1e-3, 0.5]), st.booleans())
def test_each_unit_against_its_weights(shapes, seed, clip_factor, eps, zero):
    compare(
        lambda p: clip_grad_agc_(p, clip_factor, eps),
        optax.adaptive_grad_clip(clip_factor, eps),
        shapes,
        seed,
        zero,
    )


@settings(deadline=None, max_examples=30)
@given(shapes, seeds)
def test_gradients_rescaled_to_norm_one(shapes, seed):
    compare(rescale_grad_norm_, optax.normalize_by_update_norm(), shapes, seed)


@settings(deadline=None, max_examples=30)
@given(shapes, seeds, st.floats(0.1, 30))
def test_the_norm_of_each_tensor(shapes, seed, max_norm):
    # optax clips tensor by tensor for differential privacy: the gradients of each example, here of
    # one, and a limit for all that it shares out evenly.
    gradients = [normal(*shape, seed=seed + place) for place, shape in enumerate(shapes)]
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    clip_grad_norm_per_parameter_(parameters, max_norm)
    clipped, _ = optax.per_example_layer_norm_clip(
        [gradient.numpy()[None] for gradient in gradients],
        global_l2_norm_clip=max_norm * math.sqrt(len(gradients)),
        uniform=True,
    )
    for parameter, update in zip(parameters, clipped, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), np.asarray(update), rtol=4e-6, atol=1e-7)


def test_optax_makes_large_gradients_zero_or_nan_or_has_been_mended():
    large = [np.full(3, 1e25, np.float32)]
    referee = optax.clip_by_global_norm(1.0)
    (update,), _ = referee.update(large, referee.init(large))
    assert not np.abs(np.asarray(update)).sum() > 0
    (parameter,) = parameters_of(torch.from_numpy(large[0]))
    clip_grad_norm_(parameter, 1.0)
    assert parameter.grad.tolist() == about([1 / math.sqrt(3)] * 3)
