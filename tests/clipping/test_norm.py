"""Clipping by the common norm: torch's function where that is right, Python floats where not."""

import math

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
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.nn import utils

from gradcourse.clipping import clip_grad_norm_, clip_grad_norm_per_parameter_, clip_grad_value_
from gradcourse.clipping.norms import LARGE, ROW, scaled_norm

foreachs = st.sampled_from([None, True, False])
shapes = st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=5)
floats = st.sampled_from(FLOATS)
seeds = st.integers(0, 99)
norm_types = st.sampled_from(NORM_TYPES)
RESOLUTION = {dtype: torch.finfo(dtype).eps for dtype in FLOATS}


def drawn(shapes, seed, dtypes, scale=1.0):
    """Gradients of these shapes, and a second set of parameters that hold the same."""
    gradients = [
        (scale * normal(*shape, seed=seed + place)).to(dtypes[place % len(dtypes)])
        for place, shape in enumerate(shapes)
    ]
    return parameters_of(*gradients), parameters_of(*(g.clone() for g in gradients))


@settings(deadline=None)
@given(shapes, seeds, floats, norm_types, foreachs, st.floats(1e-3, 1e3))
def test_it_clips_what_torch_clips(shapes, seed, dtype, norm_type, foreach, max_norm):
    ours, theirs = drawn(shapes, seed, [dtype])
    norm = clip_grad_norm_(ours, max_norm, norm_type, foreach=foreach)
    expected = utils.clip_grad_norm_(theirs, max_norm, norm_type, foreach=foreach)
    assume(expected.isfinite())  # A norm beyond float16 is torch's own affair, below.
    half = dtype.itemsize == 2
    # torch finds a norm in the gradients' own precision and divides by it plus 1e-6.
    tolerance = 2 * len(shapes) * RESOLUTION[dtype] if half else 2e-6
    assert float(norm) == about(float(expected), rel=tolerance)
    tolerance = 6 * RESOLUTION[dtype] if half else 2e-6 + 2e-6 / min(float(norm), max_norm)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=tolerance, atol=1e-7)


@settings(deadline=None)
@given(shapes, seeds, st.lists(floats, min_size=1, max_size=3), norm_types, foreachs)
def test_the_norm_before_and_after_is_that_of_python_s_floats(
    shapes, seed, dtypes, norm_type, foreach
):
    parameters, _ = drawn(shapes, seed, dtypes, scale=3.0)
    before = gradients_of(parameters)
    true_norm = norm_of(before, norm_type)
    max_norm = true_norm / 4
    norm = clip_grad_norm_(parameters, max_norm, norm_type, foreach=foreach)
    assert float(norm) == about(true_norm, rel=2e-6)
    for parameter, gradient in zip(parameters, before, strict=True):
        # Half an ulp of rounding, and what the norm itself may be off by.
        error = (parameter.grad.double() - gradient.double() / 4).abs()
        ulp = RESOLUTION[gradient.dtype] * gradient.double().abs() / 4
        subnormal = torch.finfo(gradient.dtype).smallest_normal * RESOLUTION[gradient.dtype]
        assert (error <= ulp + 1e-6 * gradient.double().abs() + subnormal).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("shape", [(), (37,), (5, 7)])
def test_no_element_is_off_by_more_than_one_unit_in_the_last_place(dtype, foreach, shape):
    gradient = normal(*shape, seed=3, dtype=dtype) + 1
    (parameter,) = parameters_of(gradient.clone())
    # Two fifths is no number in any of these formats: a factor that is rounded to a half shows.
    norm = clip_grad_norm_(parameter, 0.4 * norm_of([gradient]), foreach=foreach)
    factor = 0.4 * norm_of([gradient]) / float(norm)
    exact = gradient.double() * factor
    step = torch.nextafter(parameter.grad.abs(), parameter.grad.new_tensor(math.inf)).double()
    ulp = step - parameter.grad.abs().double()
    # The factor is a float32 for the first three: rounded itself, and once more the product.
    allowed = 0.501 if dtype.itemsize == 2 else 1.5
    assert ((parameter.grad.double() - exact).abs() <= allowed * ulp).all()


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize(
    ("dtypes", "returned"),
    [
        ([torch.float16], torch.float32),
        ([torch.bfloat16], torch.float32),
        ([torch.float16, torch.bfloat16], torch.float32),
        ([torch.float32], torch.float32),
        ([torch.float16, torch.float64, torch.float32], torch.float64),
        ([torch.complex64], torch.float32),
        ([torch.complex128, torch.float32], torch.float64),
    ],
)
def test_the_norm_is_a_number_in_the_widest_dtype(dtypes, returned, foreach):
    parameters = parameters_of(*(torch.full((2,), 2.0, dtype=dtype) for dtype in dtypes))
    norm = clip_grad_norm_(parameters, 1.0, foreach=foreach)
    assert norm.shape == ()
    assert norm.dtype is returned
    assert norm.device == parameters[0].device
    assert not norm.requires_grad
    assert float(norm) == about(math.sqrt(8 * len(dtypes)))


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_norm_at_or_below_the_limit_leaves_every_bit(dtype, foreach):
    tiny = torch.finfo(dtype).smallest_normal
    gradient = torch.tensor([3.0, -4.0, -0.0, 0.0, tiny / 2, -tiny / 4], dtype=dtype)
    (parameter,) = parameters_of(gradient.clone())
    storage = parameter.grad.data_ptr()
    for max_norm in (5.0, 5.0 + 1e-6, 100, math.inf, None):
        assert float(clip_grad_norm_(parameter, max_norm, foreach=foreach)) == 5
        assert bits(parameter.grad) == bits(gradient)
    assert parameter.grad.data_ptr() == storage
    clip_grad_norm_(parameter, math.nextafter(5.0, 0), foreach=foreach)
    # The next number below the limit may still round to the same factor; one clearly below not.
    clip_grad_norm_(parameter, 4.0, foreach=foreach)
    assert bits(parameter.grad) != bits(gradient)
    # torch scales a norm that is equal to the limit, by 1 - 2e-7.
    (theirs,) = parameters_of(torch.tensor([3.0, -4.0], dtype=torch.float64))
    utils.clip_grad_norm_(theirs, 5.0)
    assert bits(theirs.grad) != bits(torch.tensor([3.0, -4.0], dtype=torch.float64))


@pytest.mark.parametrize("max_norm", [-1.0, -1e-300, math.nan, -math.inf])
def test_a_limit_below_zero_or_nan_is_refused_where_torch_turns_the_gradient_round(max_norm):
    (parameter,) = parameters_of(torch.tensor([3.0, 4.0]))
    with pytest.raises(ValueError, match=r"^max_norm must be 0 or more, or None for no limit, got"):
        clip_grad_norm_(parameter, max_norm)
    with pytest.raises(ValueError, match=r"^clip_value must be 0 or more, or None for no"):
        clip_grad_value_(parameter, max_norm)
    assert parameter.grad.tolist() == [3, 4]
    (theirs,) = parameters_of(torch.tensor([3.0, 4.0]))
    utils.clip_grad_norm_(theirs, max_norm)
    assert not (theirs.grad > 0).any()


@pytest.mark.parametrize("norm_type", [0, 0.0, -1.0, -math.inf, math.nan])
def test_an_order_of_zero_or_less_is_refused_where_torch_counts_elements(norm_type):
    (parameter,) = parameters_of(torch.tensor([3.0, 4.0]))
    with pytest.raises(ValueError, match=r"^norm_type must be above 0, or inf, got"):
        clip_grad_norm_(parameter, 1.0, norm_type)
    assert parameter.grad.tolist() == [3, 4]
    if norm_type == 0:
        (theirs,) = parameters_of(torch.tensor([3.0, 4.0]))
        assert utils.clip_grad_norm_(theirs, 100.0, norm_type) != 5


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("max_norm", lambda p: clip_grad_norm_(p, "a lot")),
        ("max_norm", lambda p: clip_grad_norm_(p, [1.0])),
        ("max_norm", lambda p: clip_grad_norm_(p, 1 + 2j)),
        ("norm_type", lambda p: clip_grad_norm_(p, 1.0, None)),
        ("norm_type", lambda p: clip_grad_norm_(p, 1.0, "two")),
        ("clip_value", lambda p: clip_grad_value_(p, "a bit")),
        ("clip_value", lambda p: clip_grad_value_(p, (-1, 1))),
    ],
)
def test_what_is_no_number_is_refused_by_its_name(name, call):
    (parameter,) = parameters_of(torch.tensor([3.0, 4.0]))
    with pytest.raises(TypeError, match=rf"^{name} must be a number, got .+$"):
        call(parameter)


def test_the_order_may_be_written_as_torch_allows():
    (parameter,) = parameters_of(torch.tensor([3.0, 4.0]))
    assert clip_grad_norm_(parameter, 1, "inf") == 4
    with pytest.raises(TypeError, match=r"^norm_type must be a number, got '2'$"):
        clip_grad_norm_(parameter, 1, "2")


@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_a_limit_of_zero_makes_every_gradient_zero(norm_type):
    parameters = parameters_of(torch.tensor([3.0, -4.0]), torch.tensor([1.0], dtype=torch.float16))
    clip_grad_norm_(parameters, 0, norm_type)
    assert all((parameter.grad == 0).all() for parameter in parameters)


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("norm_type", NORM_TYPES)
@pytest.mark.parametrize("size", [1e-45, 1e-42, 1e-38, 1e-30, 1e-20, 1e20, 1e25, 1e30, 3e38])
@pytest.mark.parametrize("max_norm", [1e-8, 1.0])
def test_float32_gradients_of_any_size_are_clipped(size, norm_type, foreach, max_norm):
    gradients = torch.tensor([size, -size / 3, size / 7]), torch.full((2, 2), size)
    true_norm = norm_of(gradients, norm_type)
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    norm = clip_grad_norm_(parameters, max_norm, norm_type, foreach=foreach)
    assert norm.dtype is torch.float32
    # A norm beyond float32 is given as float32's largest number.
    expected = min(true_norm, torch.finfo(torch.float32).max)
    assert float(norm) == about(expected, rel=2e-6, within=1e-45)
    factor = min(1.0, max_norm / true_norm)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(
            parameter.grad.double(), gradient.double() * factor, rtol=2e-6, atol=1e-45
        )


def test_squares_that_lost_their_digits_but_not_their_sum_are_added_up_again():
    (parameter,) = parameters_of(torch.full((65536,), 4.4e-22))
    expected = 256 * parameter.grad[0].item()
    assert float(clip_grad_norm_(parameter, None)) == about(expected, rel=1e-6)


@pytest.mark.parametrize("size", [1e20, 1e25, 3e38])
def test_torch_makes_large_float32_gradients_zero(size):
    (theirs,) = parameters_of(torch.full((3,), size))
    assert utils.clip_grad_norm_(theirs, 1.0) == math.inf
    assert (theirs.grad == 0).all()


def test_torch_loses_tiny_gradients_at_a_tiny_limit():
    (ours,), (theirs,) = (parameters_of(torch.full((4,), 1e-30)) for _ in range(2))
    assert float(clip_grad_norm_(ours, 1e-32)) == about(2e-30)
    assert norm_of([ours.grad]) == about(1e-32)
    assert utils.clip_grad_norm_(theirs, 1e-32) == 0
    (ours,), (theirs,) = (parameters_of(torch.full((4,), 1e-7)) for _ in range(2))
    clip_grad_norm_(ours, 1e-8)
    utils.clip_grad_norm_(theirs, 1e-8)
    assert norm_of([ours.grad]) == about(1e-8, rel=1e-6)
    assert norm_of([theirs.grad]) < 0.9e-8


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1e308])
def test_float64_gradients_of_any_size_are_clipped(size):
    gradient = torch.tensor([size, -size / 3, size / 7], dtype=torch.float64)
    (parameter,) = parameters_of(gradient.clone())
    max_norm = min(size / 8, 1.0)
    norm = clip_grad_norm_(parameter, max_norm)
    assert float(norm) == about(norm_of([gradient]), rel=1e-12)
    assert norm_of([parameter.grad]) == about(max_norm, rel=1e-12)


@pytest.mark.parametrize("norm_type", [0.001, 0.5, 2.0])
def test_the_norm_of_finite_gradients_is_finite(norm_type):
    (parameter,) = parameters_of(torch.full((8,), 1.7e308, dtype=torch.float64))
    norm = clip_grad_norm_(parameter, 1.0, norm_type, error_if_nonfinite=True)
    assert norm == torch.finfo(torch.float64).max
    assert parameter.grad.isfinite().all()
    assert (parameter.grad < 2).all()


@pytest.mark.parametrize("norm_type", [12.0, 100.0, 1000.0])
# The thousandth power of 0.476 is a subnormal number, of few digits.
@pytest.mark.parametrize("size", [1e-30, 0.3, 0.476, 40.0, 1e30])
def test_a_high_order_comes_near_the_largest_element(norm_type, size):
    gradients = torch.tensor([size, -size / 3]), torch.tensor([size / 2, size])
    parameters = parameters_of(*(gradient.clone() for gradient in gradients))
    norm = clip_grad_norm_(parameters, size / 4, norm_type)
    assert float(norm) == about(norm_of(gradients, norm_type), rel=2e-6)
    assert float(norm) == about(size * 2 ** (1 / norm_type), rel=2e-5)
    assert norm_of(gradients_of(parameters), norm_type) == about(size / 4, rel=2e-6)


@pytest.mark.parametrize("foreach", [None, False])
def test_float16_gradients_with_a_norm_beyond_float16_are_clipped(foreach):
    gradient = torch.full((4,), 60000.0, dtype=torch.float16)
    (ours,), (theirs,) = (parameters_of(gradient.clone()) for _ in range(2))
    assert clip_grad_norm_(ours, 1.0, foreach=foreach) == 120000
    assert ours.grad.tolist() == [0.5] * 4
    assert utils.clip_grad_norm_(theirs, 1.0) == math.inf
    assert theirs.grad.tolist() == [0.0] * 4


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0])
def test_norms_of_half_precision_are_added_up_in_float32(dtype, norm_type, foreach):
    # 1.0 and 5000 times 1/64: in bfloat16 the sum stops growing, in float16 it is coarse.
    gradients = [torch.full((5000,), 1 / 64, dtype=dtype), torch.ones(1, dtype=dtype)]
    parameters = parameters_of(*gradients)
    norm = clip_grad_norm_(parameters, None, norm_type, foreach=foreach)
    expected = (1 + 5000 * 64**-norm_type) ** (1 / norm_type)
    assert float(norm) == about(expected, rel=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("norm_type", NORM_TYPES)
@pytest.mark.parametrize("extra", [-1, 0, 1, ROW - 1, ROW])
def test_the_norm_of_a_large_tensor_is_right_wherever_its_rows_end(dtype, norm_type, extra):
    count = LARGE + extra
    # No number of few digits: of those a sum in float32 would be exact.
    gradient = torch.full((1, count), 0.3, dtype=dtype)
    gradient[0, 0], gradient[0, -1] = 0, 40
    small = torch.ones(3, dtype=dtype)
    element = gradient[0, 1].item()
    large = 40.0
    if norm_type != math.inf:
        large = ((count - 2) * element**norm_type + 40**norm_type) ** (1 / norm_type)
    parameters = parameters_of(small, gradient, small.clone())
    norms = clip_grad_norm_per_parameter_(parameters, None, norm_type)
    expected = [norm_of([small], norm_type), large, norm_of([small], norm_type)]
    in_one_go = norm_type == 2 and extra <= 0
    precision = 1e-11 if dtype is torch.float64 else 1e-4 if in_one_go else 2e-6
    assert norms.tolist() == about(expected, rel=precision)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["equal", "random"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0])
def test_the_norm_of_fifty_million_elements_is_right(what, norm_type):
    count = 50_000_000
    gradient = torch.empty(count)
    if what == "equal":
        gradient.fill_(0.01)
        expected = float(gradient[0]) * count ** (1 / norm_type)
    else:
        gradient.normal_(generator=torch.Generator().manual_seed(0))
        powers = (
            part.double().abs().pow(norm_type).sum().item() for part in gradient.split(1_000_000)
        )
        expected = math.fsum(powers) ** (1 / norm_type)
    (parameter,) = parameters_of(gradient)
    assert float(clip_grad_norm_(parameter, None, norm_type)) == about(expected, rel=1e-5)


@pytest.mark.slow
def test_torch_is_off_on_fifty_million_equal_elements_or_has_been_mended():
    (theirs,) = parameters_of(torch.full((50_000_000,), 0.01))
    error = abs(float(utils.clip_grad_norm_(theirs, 1e9)) / (0.01 * math.sqrt(5e7)) - 1)
    assert error > 1e-5, "torch's norm is right now: _norm_in_rows can go"


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.floats(1e-30, 1e30),
)
@example([1.401298464324817e-45], 1e30)
@example([0.0, 1e-30], 1e-40)
@example([-1e-30, 0.0], 1e-40)
@example([3.4028234663852886e38] * 20, 1e-30)
def test_whatever_the_elements_the_norm_afterwards_is_at_most_the_limit(elements, max_norm):
    (parameter,) = parameters_of(torch.tensor(elements))
    before = norm_of([parameter.grad])
    norm = clip_grad_norm_(parameter, max_norm)
    assert float(norm) == about(min(before, 3.4028234663852886e38), rel=2e-6, within=1e-45)
    expected = min(before, max_norm)
    assert norm_of([parameter.grad]) == about(expected, rel=4e-6, within=1e-44)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), seeds, floats, norm_types)
def test_a_scaled_norm_over_some_dimensions_is_that_of_each_slice(shape, seed, dtype, norm_type):
    tensor = normal(*shape, seed=seed, dtype=dtype)
    whole = scaled_norm(tensor, norm_type)
    assert float(whole) == about(norm_of([tensor], norm_type), rel=1e-6)
    dim = tuple(range(1, len(shape)))
    if dim:
        each = scaled_norm(tensor, norm_type, dim)
        assert each.shape == (shape[0], *[1] * len(dim))
        expected = [norm_of([row], norm_type) for row in tensor]
        assert each.flatten().tolist() == about(expected, rel=1e-6)


def test_clipping_twice_is_clipping_once_to_rounding():
    (parameter,) = parameters_of(normal(1000, seed=1))
    clip_grad_norm_(parameter, 1.0)
    once = parameter.grad.clone()
    clip_grad_norm_(parameter, 1.0)
    torch.testing.assert_close(parameter.grad, once, rtol=1e-6, atol=0)
