"""Whatever may hold gradients: modules, iterables, tied, strided, empty and scalar tensors."""

import copy
import math

import pytest
import torch
from clip_oracle import about, bits, every_function, filled, norm_of, parameters_of, same
from torch import nn
from torch.nn import utils

from gradcourse.clipping import (
    PercentileClip,
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    nonfinite_gradients,
    rescale_grad_norm_,
)


@every_function
def test_a_tensor_a_module_a_list_pairs_and_a_generator_are_the_same(function):
    one = nn.Linear(4, 4, bias=False)
    forms = [
        lambda m: m.weight,
        lambda m: m,
        lambda m: [m.weight],
        lambda m: (m.weight,),
        lambda m: {"w": m.weight}.values(),
        lambda m: m.named_parameters(),
        lambda m: [("w", m.weight)],
        lambda m: m.parameters(),
        lambda m: nn.ParameterList([m.weight]),
    ]
    results = []
    for form in forms:
        module = copy.deepcopy(one)
        filled(module.parameters())
        results.append((function(form(module)), module.weight.grad))
    for returned, gradient in results[1:]:
        same(returned, results[0][0])
        assert bits(gradient) == bits(results[0][1])


@every_function
def test_nothing_to_do_is_done_quietly(function):
    frozen = nn.Parameter(torch.ones(3))
    results = [function(form) for form in ([], (), [frozen], nn.ReLU())]
    for returned in results:
        if returned is not None:
            assert returned.dtype is torch.float32
            assert returned.numel() == 0 or returned == 0
    assert frozen.grad is None


def test_the_norm_of_nothing_is_zero_in_torch_s_shape():
    for norm in (clip_grad_norm_([], 1.0), rescale_grad_norm_([]), PercentileClip()([])):
        assert norm.shape == ()
        assert norm == utils.clip_grad_norm_([], 1.0) == 0
    assert clip_grad_norm_per_parameter_([], 1.0).shape == (0,)
    assert clip_grad_rms_([], 1.0).shape == (0,)
    assert clip_grad_agc_([]).shape == ()


@every_function
def test_a_parameter_without_a_gradient_is_passed_over(function):
    used = filled([nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))])
    alone = copy.deepcopy(used)
    for one, other in zip(alone, used, strict=True):
        one.grad = other.grad.clone()
    unused = nn.Parameter(torch.ones(5))
    same(function([used[0], unused, used[1]]), function(alone))
    assert unused.grad is None
    assert [bits(p.grad) for p in used] == [bits(p.grad) for p in alone]


USED = {
    "filter": lambda p: filter(lambda _: True, p),
    "map": lambda p: map(torch.nn.Identity(), p),
    "generator": lambda p: (one for one in p),
    "iterator": iter,
}


@every_function
@pytest.mark.parametrize("kind", USED)
def test_an_iterator_that_was_used_before_is_warned_of_where_it_was_passed(function, kind):
    parameters = filled([nn.Parameter(torch.ones(3, 2))])
    used = USED[kind](parameters)
    clip_grad_norm_(used, None)
    with pytest.warns(UserWarning, match="iterator of parameters is empty") as caught:
        function(used)
    assert caught[0].filename == function.__code__.co_filename
    assert len(caught) == 1


def test_an_iterator_is_warned_of_by_the_line_that_names_the_non_finite_ones_too():
    with pytest.warns(UserWarning, match="iterator of parameters is empty") as caught:
        nonfinite_gradients(iter([]))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, r"parameters must be a Tensor, a Module or an iterable of Tensors, got NoneType$"),
        (1.0, r"parameters must be a Tensor, a Module or an iterable of Tensors, got float$"),
        ([1.0], r"parameters\[0\] must be a Tensor, got float$"),
        ({"w": torch.ones(1)}, r"parameters\[0\] must be a Tensor, got str$"),
        ([torch.ones(1), None], r"parameters\[1\] must be a Tensor, got NoneType$"),
        ([("w", 1.0)], r"parameters\[0\] must be a Tensor, got float$"),
        ([(torch.ones(1), torch.ones(1))], r"parameters\[0\] must be a Tensor, got tuple$"),
        ([{"params": [torch.ones(1)]}], r"parameters\[0\] must be a Tensor, got dict$"),
    ],
)
@every_function
def test_what_is_no_tensor_is_named(function, wrong, words):
    with pytest.raises(TypeError, match=words):
        function(wrong)


def test_an_error_in_the_caller_s_own_generator_comes_through():
    def broken():
        yield nn.Parameter(torch.ones(1))
        raise TypeError("my own mistake")

    with pytest.raises(TypeError, match="my own mistake"):
        clip_grad_norm_(broken(), 1.0)


@every_function
def test_a_tied_parameter_that_is_listed_twice_counts_once(function):
    twice, once = (filled([nn.Parameter(torch.ones(3, 2))]) for _ in range(2))
    other, another = (filled([nn.Parameter(torch.ones(2))], seed=9) for _ in range(2))
    same(function([*twice, *other, *twice]), function([*once, *another]))
    assert bits(twice[0].grad) == bits(once[0].grad)
    assert bits(other[0].grad) == bits(another[0].grad)


def test_torch_scales_a_parameter_twice_that_is_listed_twice():
    (theirs,) = parameters_of(torch.tensor([3.0, 4.0]))
    norm = utils.clip_grad_norm_([theirs, theirs], 1.0)
    assert float(norm) == about(math.sqrt(50))
    assert norm_of([theirs.grad]) == about(1 / 10, rel=1e-3)


@every_function
def test_two_parameters_with_one_gradient_are_scaled_once(function):
    pair, alone = (filled([nn.Parameter(torch.ones(3, 2)) for _ in range(2)]) for _ in range(2))
    pair[1].grad = pair[0].grad
    same(function(pair), function(alone[:1]))
    assert pair[1].grad is pair[0].grad
    assert bits(pair[0].grad) == bits(alone[0].grad)


def test_the_name_of_a_shared_gradient_is_that_of_the_first_parameter():
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    first.grad = second.grad = torch.full((2,), math.nan)
    assert nonfinite_gradients([("first", first), ("second", second)]) == ["first"]


@every_function
@pytest.mark.parametrize(
    "layout",
    [
        lambda t: t.t().contiguous().t(),
        lambda t: torch.stack([t, t], 2)[..., 0],
        lambda t: torch.cat([t, t], 1)[:, : t.shape[1]],
    ],
    ids=["transposed", "strided", "slice"],
)
def test_a_gradient_that_is_not_contiguous_is_clipped_in_place(function, layout):
    one, other = (filled([nn.Parameter(torch.ones(5, 6))]) for _ in range(2))
    one[0].grad = layout(one[0].grad)
    held = one[0].grad
    assert not held.is_contiguous()
    same(function(one), function(other))
    torch.testing.assert_close(one[0].grad, other[0].grad)
    assert one[0].grad is held


@every_function
def test_channels_last_stays(function):
    one, other = (filled([nn.Parameter(torch.ones(4, 3, 2, 2))]) for _ in range(2))
    one[0].grad = one[0].grad.to(memory_format=torch.channels_last)
    same(function(one), function(other))
    torch.testing.assert_close(one[0].grad, other[0].grad)
    assert one[0].grad.is_contiguous(memory_format=torch.channels_last)


@every_function
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_a_tensor_without_elements_changes_nothing(function, shape):
    several, alone = (filled([nn.Parameter(torch.ones(3, 2))]) for _ in range(2))
    empty = filled([nn.Parameter(torch.ones(shape))])
    returned, expected = function([*several, *empty]), function(alone)
    if expected is not None and expected.ndim:
        assert returned.tolist() == [*expected.tolist(), 0]
    else:
        same(returned, expected)
    assert bits(several[0].grad) == bits(alone[0].grad)
    assert function(empty) is None or (function(empty) == 0).all()


@every_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_scalar_parameter_is_clipped_as_a_vector_of_one(function, dtype):
    scalar, vector = (nn.Parameter(torch.full(s, 0.3, dtype=dtype)) for s in ((), (1,)))
    scalar.grad = torch.tensor(7.0, dtype=dtype)
    vector.grad = torch.tensor([7.0], dtype=dtype)
    same(function(scalar), function(vector))
    assert scalar.grad.shape == ()
    assert bits(scalar.grad) == bits(vector.grad)
    assert scalar.grad != 7


@every_function
def test_gradients_of_several_dtypes_are_clipped_together(function):
    dtypes = torch.float16, torch.float64, torch.float32, torch.bfloat16, torch.float16
    mixed = filled([nn.Parameter(torch.ones(3, 2, dtype=dtype)) for dtype in dtypes])
    wide = [nn.Parameter(parameter.detach().double().clone()) for parameter in mixed]
    for one, other in zip(wide, mixed, strict=True):
        one.grad = other.grad.double().clone()
    returned, expected = function(mixed), function(wide)
    if returned is not None:
        torch.testing.assert_close(returned, expected, rtol=2e-6, atol=0)
    for one, other in zip(mixed, wide, strict=True):
        torch.testing.assert_close(one.grad, other.grad.to(one.dtype), rtol=1e-2, atol=1e-4)


@every_function
def test_a_gradient_of_a_parameter_that_was_frozen_afterwards_is_clipped(function):
    one, other = (filled([nn.Parameter(torch.ones(3, 2))]) for _ in range(2))
    one[0].requires_grad_(False)
    same(function(one), function(other))
    assert bits(one[0].grad) == bits(other[0].grad)


@every_function
def test_no_graph_is_recorded_of_a_gradient_that_has_one(function):
    parameter = nn.Parameter(torch.tensor([1.0, 2.0, -3.0]))
    parameter.grad = torch.autograd.grad((parameter**3).sum(), parameter, create_graph=True)[0]
    assert parameter.grad.requires_grad
    graph = parameter.grad.grad_fn
    returned = function(parameter)
    assert returned is None or not returned.requires_grad
    assert parameter.grad.grad_fn is graph
    plain = nn.Parameter(parameter.detach().clone())
    plain.grad = 3 * plain.detach() ** 2
    function(plain)
    torch.testing.assert_close(parameter.grad.detach(), plain.grad)
    parameter.grad = None  # The graph and the parameter hold each other.


@every_function
def test_it_works_in_inference_mode_and_with_gradients_switched_on(function):
    one, other, third = (filled([nn.Parameter(torch.ones(3, 2))]) for _ in range(3))
    with torch.inference_mode():
        function(one)
    with torch.enable_grad():
        function(other)
    function(third)
    assert bits(one[0].grad) == bits(other[0].grad) == bits(third[0].grad)
