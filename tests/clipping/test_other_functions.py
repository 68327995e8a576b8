"""By value, tensor, root mean square and unit; rescaled; standardized: formulas in floats."""

import itertools
import math

import numpy as np
import pytest
import torch
from clip_oracle import (
    FLOATS,
    NORM_TYPES,
    about,
    bits,
    gradients_of,
    norm_of,
    normal,
    parameters_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import utils

from gradcourse.clipping import (
    clip_grad_agc_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    rescale_grad_norm_,
    standardize_grad_,
)

foreachs = st.sampled_from([None, True, False])
shape = st.lists(st.integers(1, 5), max_size=4).map(tuple)
shapes = st.lists(shape, min_size=1, max_size=4)
floats = st.sampled_from(FLOATS)
seeds = st.integers(0, 99)
sizes = st.sampled_from([1e-40, 1e-30, 1e-3, 1.0, 1e3, 1e25, 3e37])


def drawn(shapes, seed, dtype=torch.float32, size=1.0):
    """Gradients of these shapes, each of another size."""
    return [
        (size * (place + 1) * normal(*one, seed=seed + place, dtype=torch.float64)).to(dtype)
        for place, one in enumerate(shapes)
    ]


def close(tensor, expected, rtol=2e-6):
    """Compare with float64 numbers: to this tolerance, or the precision of the tensor's dtype."""
    limits = torch.finfo(tensor.dtype)
    tiny = limits.smallest_normal * limits.eps
    torch.testing.assert_close(
        tensor.double(), expected.double(), rtol=max(rtol, limits.eps), atol=2 * tiny
    )


# By value


@settings(deadline=None)
@given(shapes, seeds, floats, foreachs, st.floats(0, 3))
def test_values_are_cut_to_the_bit_as_torch_cuts_them(shapes, seed, dtype, foreach, clip_value):
    gradients = drawn(shapes, seed, dtype)
    ours = parameters_of(*(gradient.clone() for gradient in gradients))
    theirs = parameters_of(*gradients)
    assert clip_grad_value_(ours, clip_value, foreach) is None
    utils.clip_grad_value_(theirs, clip_value, foreach)
    assert [bits(p.grad) for p in ours] == [bits(p.grad) for p in theirs]


@pytest.mark.parametrize("foreach", [None, False])
def test_values_that_are_not_finite_are_cut_as_torch_cuts_them(foreach):
    elements = torch.tensor([math.inf, -math.inf, math.nan, -0.0, 1e-45, 2.0, -2.0])
    ours, theirs = parameters_of(elements.clone(), elements.clone())
    clip_grad_value_(ours, 2.0, foreach)
    utils.clip_grad_value_(theirs, 2.0, foreach)
    assert bits(ours.grad) == bits(theirs.grad)
    assert bits(ours.grad[2:]) == bits(elements[2:])
    assert ours.grad[:2].tolist() == [2, -2]


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("off", [None, math.inf])
def test_values_without_a_limit_stay(foreach, off):
    elements = torch.tensor([math.inf, -math.inf, math.nan, 3.0])
    (parameter,) = parameters_of(elements.clone())
    clip_grad_value_(parameter, off, foreach)
    assert bits(parameter.grad) == bits(elements)


@pytest.mark.parametrize("foreach", [None, False])
def test_a_limit_beyond_the_dtype_cuts_inf_to_its_largest_number(foreach):
    (parameter,) = parameters_of(torch.tensor([math.inf, -math.inf, 5.0], dtype=torch.float16))
    clip_grad_value_(parameter, 1e6, foreach)
    assert parameter.grad.tolist() == [65504, -65504, 5]


def test_each_part_of_a_complex_number_is_cut_on_its_own():
    (parameter,) = parameters_of(torch.tensor([3 + 0.5j, -0.1 - 4j]))
    clip_grad_value_(parameter, 1.0)
    assert parameter.grad.tolist() == [1 + 0.5j, about(-0.1 - 1j)]


# Tensor by tensor


@settings(deadline=None)
@given(shapes, seeds, floats, st.sampled_from(NORM_TYPES), foreachs, st.floats(0.1, 30))
def test_each_tensor_is_clipped_by_its_own_norm(shapes, seed, dtype, norm_type, foreach, limit):
    gradients = drawn(shapes, seed, dtype)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    norms = clip_grad_norm_per_parameter_(parameters, limit, norm_type, foreach=foreach)
    expected = [norm_of([gradient], norm_type) for gradient in gradients]
    assert norms.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    assert norms.tolist() == about(expected, rel=2e-6)
    for parameter, gradient, norm in zip(parameters, gradients, expected, strict=True):
        if norm * (1 + 2e-6) < limit:
            assert bits(parameter.grad) == bits(gradient)
        else:
            close(parameter.grad, gradient.double() * min(1, limit / norm), 4e-6)


@settings(deadline=None)
@given(shapes, seeds, floats, st.floats(0.1, 3))
def test_each_tensor_is_clipped_by_its_root_mean_square(shapes, seed, dtype, limit):
    gradients = drawn(shapes, seed, dtype)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    roots = clip_grad_rms_(parameters, limit)
    expected = [norm_of([gradient]) / math.sqrt(gradient.numel()) for gradient in gradients]
    assert roots.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    assert roots.tolist() == about(expected, rel=2e-6)
    for parameter, gradient, root in zip(parameters, gradients, expected, strict=True):
        if root * (1 + 2e-6) < limit:
            assert bits(parameter.grad) == bits(gradient)
        else:
            close(parameter.grad, gradient.double() * min(1, limit / root), 4e-6)


@pytest.mark.parametrize("clip", [clip_grad_norm_per_parameter_, clip_grad_rms_])
@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e25, 3e38])
@pytest.mark.parametrize("limit", [1e-8, 1.0])
def test_tensor_by_tensor_any_size_is_clipped(clip, size, limit):
    gradients = torch.full((4,), size), torch.full((3, 3), size / 7), torch.ones(2)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    measured = clip(parameters, limit)
    for parameter, gradient, one in zip(parameters, gradients, measured, strict=True):
        share = math.sqrt(gradient.numel()) if clip is clip_grad_rms_ else 1
        before = norm_of([gradient]) / share
        assert float(one) == about(min(before, 3.4028234663852886e38), rel=2e-6, within=1e-45)
        after = norm_of([parameter.grad]) / share
        assert after == about(min(before, limit), rel=2e-6, within=1e-45)


@pytest.mark.parametrize("clip", [clip_grad_norm_per_parameter_, clip_grad_rms_])
def test_tensor_by_tensor_zero_makes_zero_and_no_limit_measures(clip):
    for off in (None, math.inf):
        (parameter,) = parameters_of(torch.tensor([3.0, -4.0]))
        assert clip(parameter, off).item() > 1
        assert parameter.grad.tolist() == [3, -4]
    clip(parameter, 0)
    assert (parameter.grad == 0).all()
    name = "max_rms" if clip is clip_grad_rms_ else "max_norm"
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match=rf"^{name} must be 0 or more, or None for no limit"):
            clip(parameter, wrong)


def test_a_norm_per_parameter_of_order_zero_is_refused():
    with pytest.raises(ValueError, match=r"^norm_type must be above 0, or inf, got 0$"):
        clip_grad_norm_per_parameter_([], 1.0, 0)
    with pytest.raises(ValueError, match=r"^norm_type must be above 0, or inf, got -1$"):
        rescale_grad_norm_([], 1.0, -1)


# Unit by unit


def units(shape):
    """Indices of the elements of each unit: an output for a matrix or filter, else the whole."""
    indices = list(itertools.product(*(range(size) for size in shape)))
    if len(shape) < 2:
        return [indices]
    return [[index for index in indices if index[0] == unit] for unit in range(shape[0])]


def agc(gradient, weight, clip_factor, eps):
    """The formula of Brock et al. in Python's floats, and how many units it clips."""
    after, clipped = gradient.double().clone(), 0
    for unit in units(gradient.shape):
        gradient_norm = norm_of([torch.tensor([gradient[i].item() for i in unit]).double()])
        weight_norm = norm_of([torch.tensor([weight[i].item() for i in unit]).double()])
        largest = clip_factor * max(weight_norm, eps)
        if gradient_norm > largest:
            clipped += 1
            for i in unit:
                after[i] *= largest / gradient_norm
    return after, clipped, len(units(gradient.shape))


@settings(deadline=None)
@given(shapes, seeds, floats, st.floats(1e-3, 2), st.sampled_from([0.0, 1e-3, 0.5]), st.booleans())
def test_each_unit_is_clipped_to_a_share_of_its_weights(
    shapes, seed, dtype, clip_factor, eps, zero
):
    gradients = drawn(shapes, seed, dtype)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    if not zero:
        for place, parameter in enumerate(parameters):
            weight = normal(*parameter.shape, seed=seed + 50 + place, dtype=dtype)
            if weight.ndim:
                # Units of several sizes.
                weight = (weight.transpose(0, -1) * torch.arange(len(weight))).transpose(0, -1)
            parameter.data.copy_(weight)
    share = clip_grad_agc_(parameters, clip_factor, eps)
    clipped = total = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        expected, some, all_ = agc(gradient, parameter.detach(), clip_factor, eps)
        close(parameter.grad, expected)
        clipped, total = clipped + some, total + all_
    assert share.dtype is torch.float32
    assert share.shape == ()
    assert share.item() == about(clipped / total)


@pytest.mark.parametrize("size", [1e-35, 1e25, 3e38])
@pytest.mark.parametrize("weight", [0.0, 1e-25, 1e25, 3e38])
def test_units_of_any_size_are_clipped(size, weight):
    gradient, weights = torch.full((2, 3), size), torch.full((2, 3), weight)
    (parameter,) = parameters_of(gradient.clone())
    parameter.data.copy_(weights)
    share = clip_grad_agc_(parameter)
    expected, clipped, total = agc(gradient, weights, 0.01, 1e-3)
    close(parameter.grad, expected)
    assert share == clipped / total


def test_a_unit_that_is_not_finite_stays_and_is_not_counted():
    gradient = torch.tensor([[math.nan, 1.0], [math.inf, 1.0], [3.0, 4.0], [0.0, 0.0]])
    (parameter,) = parameters_of(gradient.clone())
    share = clip_grad_agc_(parameter, clip_factor=1.0, eps=1.0)
    assert bits(parameter.grad[:2]) == bits(gradient[:2])
    torch.testing.assert_close(parameter.grad[2:], torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert share == 0.25


def test_a_unit_at_or_below_its_limit_is_not_touched():
    gradient = torch.tensor([[3.0, 4.0, -0.0, 1e-45], [0.3, 0.4, -0.0, 1e-45]])
    (parameter,) = parameters_of(gradient.clone())
    assert clip_grad_agc_(parameter, clip_factor=1.0, eps=5.0) == 0
    assert bits(parameter.grad) == bits(gradient)


def test_the_step_of_a_unit_is_at_most_lr_times_the_share_of_its_size():
    torch.manual_seed(0)
    model = nn.Linear(5, 7)
    before = model.weight.detach().clone()
    (1e3 * model(torch.randn(16, 5)).square()).sum().backward()
    assert clip_grad_agc_(model, clip_factor=0.01) == 1
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    step = (model.weight.detach() - before).norm(dim=1) / before.norm(dim=1)
    torch.testing.assert_close(step, torch.full((7,), 0.005), rtol=1e-3, atol=0)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_share_of_nothing_or_less_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^clip_factor must be a finite number above 0, got"):
        clip_grad_agc_([], wrong)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_least_weight_below_zero_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^eps must be a finite number, 0 or more, got"):
        clip_grad_agc_([], 0.01, wrong)


# Rescaled


@settings(deadline=None)
@given(
    shapes, seeds, floats, st.sampled_from(NORM_TYPES), foreachs, st.floats(1e-2, 10), st.booleans()
)
def test_the_norm_is_what_was_asked_for_whatever_it_was(
    shapes, seed, dtype, norm_type, foreach, target, small
):
    gradients = drawn(shapes, seed, dtype, size=0.01 if small else 10)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    norm = rescale_grad_norm_(parameters, target, norm_type, foreach=foreach)
    before = norm_of(gradients, norm_type)
    assert norm.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    assert float(norm) == about(before, rel=2e-6)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        close(parameter.grad, gradient.double() * (target / before), 4e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-315, 1e-300, 1e-44, 1e-40, 1e-20, 1e20, 3e38, 1e300])
@pytest.mark.parametrize("target", [1e-30, 1.0, 1e30, 1e38])
def test_gradients_of_any_size_are_rescaled(size, dtype, target):
    gradients = [torch.tensor(e, dtype=dtype) for e in ([size, -size / 4], [size] * 3)]
    if not 0 < norm_of(gradients) < math.inf:
        return  # Not a number of float32.
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    rescale_grad_norm_(parameters, target)
    assert norm_of(gradients_of(parameters)) == about(target, rel=2e-6)
    before = norm_of(gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        expected = [float(g) / before * target for g in gradient.tolist()]
        assert parameter.grad.tolist() == about(expected, rel=2e-6)


def test_a_gradient_of_zeros_stays_and_a_target_of_zero_makes_zero():
    (parameter,) = parameters_of(torch.tensor([0.0, -0.0]))
    assert rescale_grad_norm_(parameter) == 0
    assert bits(parameter.grad) == bits(torch.tensor([0.0, -0.0]))
    (parameter,) = parameters_of(torch.tensor([3.0, -4.0]))
    assert rescale_grad_norm_(parameter, 0) == 5
    assert (parameter.grad == 0).all()


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_target_below_zero_or_without_end_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^norm must be a finite number, 0 or more, got"):
        rescale_grad_norm_([], wrong)


def test_a_target_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match=r"^norm must be a number, got None$"):
        rescale_grad_norm_([], None)


# Standardized


def standardized(elements):
    """Minus the mean, divided by the deviation of n - 1, in units of the largest element."""
    largest = max(abs(element) for element in elements)
    scaled = [element / largest for element in elements]
    mean = math.fsum(scaled) / len(scaled)
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in scaled) / (len(scaled) - 1))
    return [(one - mean) / deviation for one in scaled]


@settings(deadline=None)
@given(st.integers(2, 60), seeds, floats, sizes)
def test_mean_and_deviation_are_taken_out(count, seed, dtype, size):
    gradient = (size * (normal(count, seed=seed, dtype=torch.float64) + 2)).to(dtype)
    if not gradient.isfinite().all() or (gradient == gradient[0]).all():
        return
    (parameter,) = parameters_of(gradient.clone())
    assert standardize_grad_(parameter) is None
    expected = torch.tensor(standardized(gradient.tolist()), dtype=torch.float64)
    # An element that is the mean leaves a rounding error, and all others are of order 1.
    torch.testing.assert_close(
        parameter.grad.double(),
        expected,
        rtol=max(1e-5, torch.finfo(dtype).eps),
        atol=1e-13 if dtype is torch.float64 else 2e-6,
    )
    if dtype is torch.float64:
        assert parameter.grad.mean().item() == about(0, within=1e-12)
        assert parameter.grad.std().item() == about(1, rel=1e-12)


def test_the_example_of_the_notes_is_standardized_with_n_minus_1():
    (parameter,) = parameters_of(torch.tensor([0.7, 1.1, 3.4]))
    standardize_grad_(parameter)
    # Not [-0.73, -0.45, 1.18], as the notes have it, and divided by n it ends in 1.4008.
    assert parameter.grad.tolist() == about([-0.709139, -0.434634, 1.143773], within=2e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "elements", [[3.0], [0.1] * 7, [-1e-7] * 3, [0.0, 0.0], [60000.0] * 5], ids=str
)
def test_equal_elements_become_zero(elements, dtype):
    (parameter,) = parameters_of(torch.tensor(elements, dtype=dtype))
    standardize_grad_(parameter)
    assert (parameter.grad == 0).all()


def test_elements_that_differ_in_the_last_place_are_told_apart():
    gradient = torch.full((1000,), 1.9)
    gradient[0] = torch.nextafter(gradient[0], torch.tensor(0.0))
    (parameter,) = parameters_of(gradient.clone())
    standardize_grad_(parameter)
    expected = torch.tensor(standardized(gradient.tolist()), dtype=torch.float64)
    close(parameter.grad, expected, 1e-5)


def test_each_tensor_is_standardized_on_its_own_whatever_its_size():
    first, second = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([[1e-30, 2e-30], [4e-30, 9e-30]])
    parameters = parameters_of(first.clone(), second.clone())
    standardize_grad_(parameters)
    once = gradients_of(parameters)
    assert once[1].flatten().tolist() == about(standardized(second.flatten().tolist()))
    parameters = parameters_of(1e30 * first, 1e25 * second)
    standardize_grad_(parameters)
    for one, other in zip(once, gradients_of(parameters), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e307])
def test_float64_gradients_of_any_size_are_standardized(size):
    gradient = size * torch.tensor([1.0, 2.0, 4.0, -9.0], dtype=torch.float64)
    (parameter,) = parameters_of(gradient.clone())
    standardize_grad_(parameter)
    assert parameter.grad.tolist() == about(standardized([1.0, 2.0, 4.0, -9.0]))


def test_the_deviation_of_a_large_tensor_is_right():
    gradient = torch.full((4_000_000,), 0.01)
    gradient[::2] = -0.01
    (parameter,) = parameters_of(gradient)
    standardize_grad_(parameter)
    torch.testing.assert_close(parameter.grad, gradient.sign(), rtol=1e-6, atol=0)


def test_a_complex_gradient_is_standardized_as_complex_numbers():
    gradient = torch.tensor([1 + 2j, 3 - 1j, -2 + 0.5j, 4j])
    (parameter,) = parameters_of(gradient.clone())
    standardize_grad_(parameter)
    numbers = gradient.numpy().astype(np.complex128)
    expected = (numbers - numbers.mean()) / numbers.std(ddof=1)
    np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-6)
