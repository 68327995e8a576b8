"""The gradient check against planted errors whose derivatives are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from gradcourse.diagnosis.numerical import check_gradients


def function(forward, backward):
    """An autograd function of a forward and a backward pass."""

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, gradient):
            return backward(gradient, *ctx.saved_tensors)

    return Planted.apply


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def product(backward):
    apply = function(lambda x, w: x @ w.T, backward)

    def planted(x, weight):
        return apply(x, weight)

    return planted


@pytest.mark.parametrize("factor", [0.5, 2.0, -1.0])
def test_a_wrong_factor_is_found_in_the_right_input_and_named(factor):
    x, weight = random(2, 4), random(3, 4)
    fn = product(lambda g, x, w: (g @ w, factor * g.T @ x))
    check = check_gradients(fn, (x, weight))
    assert not check
    found = check.mismatch
    assert (found.input, found.shape) == ("input 1 (weight)", (3, 4))
    assert (found.wrong, found.total, found.kink) == (12, 12, False)
    assert found.factor == pytest.approx(factor, rel=1e-4)
    # The derivative of output (b, o) by weight (o, i) is x (b, i).
    row, column = found.element
    assert found.output_element[1] == row
    expected = x[found.output_element[0], column].item()
    assert found.numerical == pytest.approx(expected, rel=1e-6)
    assert found.backward == pytest.approx(factor * expected, rel=1e-6)
    assert f"all by the factor {factor:.4g}" in str(check)


def test_the_sentence_names_input_element_and_both_derivatives():
    fn = function(lambda x, w: x * w, lambda g, _x, w: (g * w, g * 0.5))
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    check = check_gradients(fn, (torch.ones(1), weight))
    assert str(check) == (
        "input 1 of shape (1,), element (0,): backward says 0.5, the numerical derivative is 1 "
        "(output element (0,)); 1 of its 1 elements disagree, all by the factor 0.5"
    )


def test_a_missing_transpose_is_found():
    fn = product(lambda g, x, w: (g @ w.T, g.T @ x))
    check = check_gradients(fn, (random(2, 3), random(3, 3)))
    assert check.mismatch.input == "input 0 (x)"
    assert check.mismatch.factor is None


def test_a_forgotten_sum_over_the_batch_is_found():
    fn = function(lambda x, b: x + b, lambda g, _x, _b: (g, g[0]))
    check = check_gradients(fn, (random(3, 2), random(2)))
    assert check.mismatch.input == "input 1"
    assert check.mismatch.output_element[0] > 0
    assert (check.mismatch.backward, check.mismatch.numerical) == (0, pytest.approx(1))


def test_one_wrong_element_is_told_from_the_right_ones():
    def backward(g, x):
        slope = 2 * x
        slope[1, 2] += 0.25
        return g * slope

    x = random(2, 3)
    found = check_gradients(function(torch.square, backward), x).mismatch
    assert (found.element, found.output_element, found.wrong) == ((1, 2), (1, 2), 1)
    assert found.backward - found.numerical == pytest.approx(0.25, abs=1e-6)


@given(st.lists(st.integers(1, 3), min_size=0, max_size=3), st.data())
@settings(max_examples=25, deadline=None)
def test_the_wrong_element_is_found_in_any_shape(shape, data):
    wrong = tuple(data.draw(st.integers(0, length - 1)) for length in shape)

    def backward(g, x):
        slope = torch.cos(x)
        slope[wrong] += 1
        return g * slope

    found = check_gradients(function(torch.sin, backward), random(*shape)).mismatch
    assert (found.element, found.output_element, found.shape) == (wrong, wrong, tuple(shape))


def test_the_worst_element_is_reported():
    def backward(g, x):
        return g * (2 * x + torch.tensor([0.1, 0.3, 0.2]))

    found = check_gradients(function(torch.square, backward), random(3)).mismatch
    assert (found.element, found.wrong) == ((1,), 3)


def test_an_element_within_the_relative_tolerance_is_not_counted():
    def backward(g, x):
        return g * (2 * x + torch.tensor([0.5, 5.0]))

    x = torch.tensor([1.0, 5000.0], dtype=torch.float64, requires_grad=True)
    found = check_gradients(function(torch.square, backward), x).mismatch
    assert (found.element, found.wrong) == ((0,), 1)


def test_the_difference_is_central_and_one_element_moves_at_a_time():
    # Both are exact for a square times a straight line, whatever the step.
    fn = function(lambda x: x[0] ** 2 * x[1], lambda g, x: g * x * 9)
    x = torch.tensor([3.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = check_gradients(fn, x, eps=0.1).mismatch
    assert (found.element, found.numerical) == ((0,), pytest.approx(12, rel=1e-9))
    # The curvature is no kink.
    assert (found.left, found.right) == (pytest.approx(11.8), pytest.approx(12.2))
    assert not found.kink
    fn = function(
        lambda x: x[0] ** 2 * x[1], lambda g, x: g * torch.stack([2 * x[0] * x[1], -x[0]])
    )
    found = check_gradients(fn, x, eps=0.1).mismatch
    assert (found.element, found.numerical) == ((1,), pytest.approx(9, rel=1e-9))


def test_an_input_without_influence_is_right():
    wrong = function(torch.exp, lambda g, x: g * x.exp() * 2)
    found = check_gradients(lambda a, b: wrong(b), (random(2), random(2))).mismatch  # noqa: ARG005
    assert found.input == "input 1 (b)"


def test_the_output_is_named_too():
    def fn(x):
        wrong = function(torch.exp, lambda g, x: g * x.exp() * 2)
        return x.sum(), torch.arange(2), wrong(x).reshape(1, 2)

    found = check_gradients(fn, random(2)).mismatch
    assert (found.output, found.output_element) in [(1, (0, 0)), (1, (0, 1))]
    assert found.output_element[1] == found.element[0]
    assert "(output 1, element (0, " in str(found)


@pytest.mark.parametrize(
    ("fn", "inputs"),
    [
        (torch.tanh, random(2, 3)),
        (functional.linear, (random(2, 4), random(3, 4), random(3))),
        (lambda x, scale: x / x.norm() * scale, {"scale": random(3), "x": random(2, 3)}),
        (torch.abs, torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)),
        (lambda z: (z * z.conj() * z).abs(), random(3, dtype=torch.complex128)),
        (lambda z: z * z, random(2, dtype=torch.complex64)),
        (lambda x, i: x[i], (random(4), torch.tensor([2, 2]))),
    ],
)
def test_a_right_backward_passes(fn, inputs):
    check = check_gradients(fn, inputs)
    assert check
    assert check.mismatch is None
    assert str(check).startswith("backward agrees with the numerical derivative in all")


@pytest.mark.parametrize("conjugate", [False, True])
def test_a_forgotten_conjugate_is_found(conjugate):
    def backward(g, z):
        return g * 2 * (z.conj() if conjugate else z)

    z = torch.tensor([1 + 2j, 3 + 0j], requires_grad=True)
    check = check_gradients(function(torch.square, backward), z)
    assert bool(check) is conjugate
    if not conjugate:
        # Only the number with an imaginary part is wrong, and only off the diagonal.
        found = check.mismatch
        assert (found.element, found.output_element, found.wrong) == ((0,), (0,), 1)
        assert found.backward == pytest.approx(-found.numerical, rel=1e-5)
        assert found.part in {"imaginary part by real part", "real part by imaginary part"}
        expected = 4.0 if found.part.startswith("imaginary") else -4.0
        assert found.numerical == pytest.approx(expected, rel=1e-5)


def test_a_module_is_checked_with_its_parameters_by_name():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor([2.0, 3.0]))
            self.apply_to = function(lambda x, g: x * g, lambda d, _x, g: (d * g, d))

        def forward(self, inputs):
            return self.apply_to(inputs, self.gain)

    model = Scale()
    check = check_gradients(model, torch.tensor([5.0, 7.0]))
    assert check.inputs == check.copied == ("parameter 'gain'",)
    assert check.mismatch.input == "parameter 'gain'"
    assert (check.mismatch.element, check.mismatch.numerical) == ((1,), pytest.approx(7))
    assert model.gain.dtype == torch.float32


def test_modules_with_buffers_and_states_pass_and_stay_as_they_were():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Tanh())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check = check_gradients(model, {"input": random(4, 3)})
    assert check
    assert check.elements == 12 + 6 + 2 + 2 + 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert check_gradients(nn.LSTM(2, 2), torch.randn(2, 1, 2))


def test_a_module_that_counts_its_calls_is_no_random_function():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, inputs):
            self.calls.add_(1)
            return inputs.sin() + self.calls

    model = Counting()
    assert check_gradients(model, random(2))
    assert model.calls == 0


def test_a_compiled_module_goes_by_its_own_names():
    check = check_gradients(torch.compile(nn.Linear(2, 1), backend="eager"), torch.ones(1, 2))
    assert check.inputs == ("parameter 'weight'", "parameter 'bias'")


def test_frozen_parameters_are_not_checked():
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    assert check_gradients(model, torch.ones(1, 2)).inputs == ("parameter 'weight'",)


def test_inputs_are_copied_and_said_to_be():
    x = torch.randn(3, requires_grad=True)
    y = random(3)
    before = x.detach().clone()
    check = check_gradients(torch.mul, (x, y))
    assert check.copied == ("input 0",)
    assert str(check).endswith("(checked as float64 copies: input 0)")
    assert torch.equal(x, before)
    assert x.grad is None
    assert check_gradients(torch.mul, (y, y)).copied == ()


def test_a_kink_is_told_from_a_wrong_backward():
    x = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    found = check_gradients(functional.relu, x).mismatch
    assert found.kink
    assert (found.element, found.left, found.right) == ((1,), 0, pytest.approx(1))
    assert "the slopes on either side are 0 and 1: this is a kink" in str(found)


def test_a_kink_within_a_step_of_the_point_counts():
    x = torch.tensor([0.7e-6], dtype=torch.float64, requires_grad=True)
    assert check_gradients(functional.relu, x).mismatch.kink
    x = torch.tensor([1.1e-6], dtype=torch.float64, requires_grad=True)
    assert check_gradients(functional.relu, x)


def test_a_wrong_element_goes_before_a_kink():
    fn = function(functional.relu, lambda g, x: g * (x > 0) * 1.5)
    x = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    found = check_gradients(fn, x).mismatch
    assert not found.kink
    assert (found.element, found.factor) == ((1,), pytest.approx(1.5))
    both = check_gradients(
        lambda a, b: functional.relu(a) + fn(b), (x, x.detach()[1:].requires_grad_())
    )
    assert both.mismatch.input == "input 1 (b)"


def test_a_backward_of_another_result_each_time_is_refused_by_gradcheck():
    count = iter(range(1000))
    check = check_gradients(function(torch.clone, lambda g, _: g + 1e-9 * next(count)), random(2))
    assert not check
    assert check.mismatch is None
    assert "not reentrant" in str(check)


def test_a_wrong_nan_is_a_mismatch():
    check = check_gradients(function(torch.clone, lambda g, _: g * float("nan")), random(2))
    assert not check
    assert check.mismatch.backward != check.mismatch.backward


def test_tolerances_and_step_are_those_of_gradcheck():
    fn = function(torch.clone, lambda g, _: g * 1.01)
    assert not check_gradients(fn, random(2))
    assert check_gradients(fn, random(2), rtol=0.02)
    assert check_gradients(fn, random(2), atol=0.02)
    # At this step the cubic term of sin shows.
    assert not check_gradients(torch.sin, random(2), eps=0.5, rtol=1e-3)


def test_a_random_function_is_refused_even_if_its_results_often_agree():
    model = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.1))
    for _ in range(5):
        with pytest.raises(ValueError, match=r"not deterministic.*model\.eval"):
            check_gradients(model, torch.ones(1, 2))
    assert check_gradients(model.eval(), torch.ones(1, 2))


@pytest.mark.parametrize(
    ("fn", "inputs", "error", "words"),
    [
        (torch.sum, torch.arange(3), ValueError, "no input requires a gradient .*int64"),
        (torch.sum, torch.ones(3), ValueError, "no input requires a gradient .*float32"),
        (lambda x: x.detach(), random(2), ValueError, "no output of fn depends on an input"),
        (lambda x: x.float(), random(2), ValueError, "fn returns float32 of float64 inputs"),
        (torch.sum, [3.0], TypeError, r"input 0 .*must be a tensor, got float"),
    ],
)
def test_bad_input_is_answered_in_words(fn, inputs, error, words):
    with pytest.raises(error, match=words):
        check_gradients(fn, inputs)


@pytest.mark.parametrize("name", ["eps", "atol", "rtol"])
def test_negative_tolerances_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        check_gradients(torch.sin, random(1), **{name: -1.0})


def test_what_the_function_raises_comes_through():
    fn = product(lambda g, x, w: (g @ w, x.T @ g))
    with pytest.raises(RuntimeError, match="invalid gradient at index 1"):
        check_gradients(fn, (random(2, 4), random(3, 4)))
