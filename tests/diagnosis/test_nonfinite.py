"""Planted infinities and NaN, whose first operation, module and cause are known."""

import math
from collections import UserDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gradcourse.diagnosis.nonfinite import find_nonfinite
from gradcourse.diagnosis.nonfinite.report import counted

INF, NAN = math.inf, math.nan


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def linear(weight=1.0, size=2, dtype=torch.float32):
    layer = nn.Linear(size, size, dtype=dtype)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return layer


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape, dtype=dtype, requires_grad=True)


def found_in(function, *inputs, loss=torch.sum):
    return find_nonfinite(Apply(function), inputs, loss)


def test_a_finite_step_gives_none():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    assert find_nonfinite(model, torch.randn(5, 3), torch.sum) is None


# Forward


def test_an_overflow_in_half_precision_is_named_with_its_limit():
    model = nn.Sequential(linear(dtype=torch.float16), Apply(torch.exp))
    batch = torch.tensor([[3.0, 3.0], [6.0, 6.0]], dtype=torch.float16)
    found = find_nonfinite(model, batch, torch.sum)
    assert (found.cause, found.phase, found.operation) == ("operation", "forward", "aten.exp")
    assert (found.module, found.node, found.reached) == ("1", "", "the loss")
    assert (found.nans, found.positive_infs, found.negative_infs) == (0, 2, 0)
    assert (found.shape, found.dtype, found.position) == ((2, 2), torch.float16, (1, 0))
    (given,) = found.inputs
    assert (given.name, given.shape, given.dtype) == ("self", (2, 2), torch.float16)
    assert (given.minimum, given.maximum, given.absmax) == (6, 12, 12)
    assert (given.finite, given.value) == (True, 12)
    assert str(found).startswith(
        "forward: aten.exp in module '1' made 2 Inf of 4 from float16 inputs up to 12 "
        "(exp overflows float16 above 11.09), which reached the loss [test_nonfinite.py:"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "inverse"),
    [
        ("exp", math.log),
        ("expm1", math.log1p),
        ("exp2", math.log2),
        ("sinh", math.asinh),
        ("cosh", math.acosh),
    ],
)
def test_the_limit_named_for_an_overflow_is_where_it_begins(name, inverse, dtype):
    limit = inverse(torch.finfo(dtype).max)
    x = torch.tensor([limit * 1.01], dtype=dtype)
    words = str(found_in(getattr(torch, name), x))
    assert f"({name} overflows {str(dtype)[6:]} above {limit:.4g})" in words
    assert found_in(getattr(torch, name), x / 1.02) is None


@pytest.mark.parametrize(
    ("function", "value", "counts", "words"),
    [
        (torch.log, 0.0, (0, 0, 1), "log of 0"),
        (torch.log, -1.0, (1, 0, 0), "log of a negative number"),
        (torch.sqrt, -1.0, (1, 0, 0), "sqrt of a negative number"),
        (torch.rsqrt, 0.0, (0, 1, 0), "rsqrt of 0"),
        (torch.reciprocal, 0.0, (0, 1, 0), "reciprocal of 0"),
        (lambda x: x**-1.5, 0.0, (0, 1, 0), "0 to a negative power"),
        (lambda x: x / (x - x), 1.0, (0, 1, 0), "division by 0"),
        (lambda x: x / x, 0.0, (1, 0, 0), "division by 0"),
        (lambda x: x * 1e30, -1e30, (0, 0, 1), "the largest float32 is 3.40282e+38"),
        (lambda x: x / (x * 0 + 1e-30), 1e30, (0, 1, 0), "the largest float32 is 3.40282e+38"),
        (torch.reciprocal, 1e-40, (0, 1, 0), "the largest float32 is 3.40282e+38"),
        (torch.square, 1e30, (0, 1, 0), "the largest float32 is 3.40282e+38"),
        (lambda x: x.acos(), 2.0, (1, 0, 0), ""),
    ],
)
def test_each_cause_has_its_words(function, value, counts, words):
    found = found_in(function, torch.tensor([[1.0, value]])[:, 1:])
    assert (found.nans, found.positive_infs, found.negative_infs) == counts
    assert (f" ({words}), which" if words else "2, which") in str(found)


def test_values_are_given_at_the_offending_position_where_shapes_broadcast():
    row = torch.tensor([1.0, 0.0, 2.0])
    column = torch.tensor([[3.0], [5.0]])
    found = found_in(torch.div, column, row)
    assert found.position == (0, 1)
    assert [item.value for item in found.inputs] == [3.0, 0.0]
    assert [item.name for item in found.inputs] == ["self", "other"]
    product = found_in(torch.mm, torch.full((2, 2), 1e20), torch.full((2, 2), 1e20))
    assert [item.value for item in product.inputs] == [None, None]
    assert [item.absmax for item in product.inputs] == [pytest.approx(1e20)] * 2


def test_tensors_of_a_list_are_inputs_too():
    for order in (1, -1):
        found = found_in(lambda x, step=order: torch.cat([x, x.log()][::step]), torch.zeros(1))
        assert found.operation == "aten.log"
    big = torch.full((1,), 1e5)
    found = found_in(lambda x: torch.stack([x, x]).half(), big)
    assert (found.operation, found.positive_infs) == ("aten._to_copy", 2)


@given(
    st.integers(0, 3),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["Inf", "-Inf", "NaN"]),
    st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_the_layer_position_and_kind_are_found_at_any_depth(layer, dtype, kind, position):
    def plant(h):
        at = torch.zeros_like(h)
        at.view(-1)[position] = 1
        # log(0) is -Inf, log(-1) is NaN.
        made = torch.log(1 - at * (2 if kind == "NaN" else 1))
        return h + (-made if kind == "Inf" else made)

    steps = [nn.Identity(), nn.Identity(), nn.Identity(), nn.Identity()]
    steps[layer] = nn.Sequential(nn.Identity(), Apply(plant))
    found = find_nonfinite(nn.Sequential(*steps), torch.ones(2, 3, dtype=dtype), torch.sum)
    assert (found.module, found.operation) == (f"{layer}.1", "aten.log")
    assert found.position == divmod(position, 3)
    assert (found.nans, found.negative_infs) == ((1, 0) if kind == "NaN" else (0, 1))


def test_the_line_of_the_model_is_named():
    def forward(x):
        y = x + 1
        return y.log()  # the culprit

    found = found_in(forward, -torch.ones(1))
    assert found.source.startswith("test_nonfinite.py:")
    assert found.source.endswith("return y.log()  # the culprit")


def test_a_model_without_lines_of_its_own_names_none():
    assert (
        find_nonfinite(nn.Sequential(linear(1e38)), torch.full((1, 2), 9.0), torch.sum).source == ""
    )


def test_the_loss_is_a_place_too():
    found = find_nonfinite(linear(), torch.zeros(1, 2), lambda out: out.log().sum())
    assert (found.module, found.operation) == ("loss", "aten.log")
    assert "aten.log in the loss made 2 -Inf of 2" in str(found)


def test_the_model_may_return_its_loss():
    found = find_nonfinite(Apply(lambda x, y: (x / y).sum()), {"x": ones(1), "y": torch.zeros(1)})
    assert (found.module, found.operation) == ("", "aten.div")
    assert "aten.div in the model itself" in str(found)


def test_in_place_operations_show_what_went_in():
    found = found_in(lambda x: x.clone().mul_(2).exp_().mul_(3), torch.full((1,), 50.0))
    assert (found.operation, found.inputs[0].value) == ("aten.exp_", 100)


def test_operations_with_out_do_not_read_it():
    out = torch.full((1,), NAN)
    found = found_in(lambda x: torch.exp(x, out=out), torch.full((1,), 100.0))
    assert (found.cause, found.operation) == ("operation", "aten.exp")
    assert [item.name for item in found.inputs] == ["self"]


def test_uninitialised_memory_is_no_culprit():
    def garbage(x):
        out = torch.empty_like(x).detach()
        # Stands for what the memory may hold, unseen.
        out.numpy().fill(NAN)
        return out

    assert found_in(lambda x: garbage(x).copy_(x), ones(2)) is None
    # A product with beta = 0 does not read its first argument.
    assert found_in(lambda x: torch.addmm(garbage(x), x, x, beta=0), ones(2, 2)) is None
    big = torch.full((2, 2), 1e20)
    found = found_in(lambda x: torch.addmm(garbage(x), x, x, beta=0), big)
    assert (found.cause, found.operation) == ("operation", "aten.addmm")
    found = found_in(lambda x: garbage(x).half().copy_(x * 1e30), ones(2))
    assert (found.cause, found.operation) == ("operation", "aten.copy_")

    def filled_one_by_one(x):
        out = garbage(x).index_put_((torch.tensor([0]),), x[:1] * 2)
        return out.index_put_((torch.tensor([1]),), x[1:].log())

    assert found_in(filled_one_by_one, torch.zeros(2)).operation == "aten.log"
    found = found_in(lambda x: x + garbage(x), ones(2))
    assert found.cause == "memory"
    assert "aten.add in the model itself read uninitialised memory with 2 NaN of 2" in str(found)


def test_writes_into_a_part_of_a_tensor_are_followed():
    def forward(x):
        out = torch.zeros(3)
        out[0] = x.log()
        out[1] = 1.0
        return out * 2

    found = found_in(forward, torch.zeros(()))
    assert (found.operation, found.negative_infs) == ("aten.log", 1)


def test_faults_in_two_parts_of_a_tensor_are_told_apart_by_their_time():
    def forward(x):
        out = torch.zeros(2)
        out[0] = x.log()
        out[1] = (x - 1).sqrt()
        return out

    found = found_in(forward, torch.zeros(()))
    assert (found.operation, found.position) == ("aten.log", ())


def test_a_storage_that_was_written_over_has_no_past():
    found = found_in(lambda x: (x + 99).exp_().zero_().add_(x).log_(), torch.zeros(2))
    assert found.operation == "aten.log_"


@pytest.mark.parametrize(
    "convert", [torch.Tensor.half, lambda s: torch.empty_like(s).half().copy_(s)]
)
def test_an_overflow_in_a_conversion_of_masked_numbers_is_found(convert):
    def forward(s):
        return convert(s.masked_fill(torch.eye(2, dtype=torch.bool), -INF))

    found = found_in(forward, torch.tensor([[1.0, 2.0], [1e5, 4.0]]))
    assert (found.cause, found.position) == ("operation", (1, 0))
    # The masked numbers do not count.
    assert (found.positive_infs, found.negative_infs) == (1, 0)
    assert found.operation in {"aten._to_copy", "aten.copy_"}


def test_the_first_of_two_faults_is_named():
    found = found_in(lambda x: (x * 1e30 * 1e30).log() - x.sub(1).log(), ones(1))
    assert found.operation == "aten.mul"


def test_a_fault_that_was_absorbed_is_not_the_culprit():
    def forward(x):
        absorbed = torch.where(x > 0, x, (x - x).log().detach())
        return absorbed + x.sub(1).sqrt().log().exp() + (x - 2).sqrt()

    found = found_in(forward, torch.ones(1))
    assert found.operation == "aten.sqrt"
    assert found.inputs[0].value == -1


# What is meant


@pytest.mark.parametrize(
    "mask",
    [
        lambda s: s.masked_fill(torch.eye(2, dtype=torch.bool), -INF),
        lambda s: s.clone().masked_fill_(torch.eye(2, dtype=torch.bool), -INF),
        lambda s: torch.where(torch.eye(2, dtype=torch.bool), -INF, s),
        lambda s: s + torch.full((2, 2), -INF).triu(1),
        lambda s: s + torch.tensor([[0.0, -INF], [0.0, 0.0]]),
        lambda s: s + torch.eye(2).neg().log().nan_to_num(nan=-INF, neginf=0.0),
    ],
)
def test_a_mask_is_meant_and_a_later_culprit_is_named(mask):
    assert found_in(lambda s: mask(s).softmax(-1), ones(2, 2)) is None
    found = found_in(lambda s: mask(s).softmax(-1) + s.sub(1).log(), ones(2, 2))
    assert (found.cause, found.operation) == ("operation", "aten.log")


def test_a_culprit_among_masked_numbers_is_found():
    def forward(s):
        return s.masked_fill(torch.eye(2, dtype=torch.bool), -INF).exp()

    assert found_in(forward, ones(2, 2)) is None
    found = found_in(forward, torch.tensor([[1.0, 2.0], [99.0, 4.0]]))
    assert (found.operation, found.position, found.positive_infs) == ("aten.exp", (1, 0), 1)
    assert found.inputs[0].value == 99
    assert "float32 inputs up to 99 (exp overflows" in str(found)


def test_a_row_that_is_masked_entirely_is_named_with_its_mask():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.softmax = nn.Softmax(-1)

        def forward(self, scores, mask):
            return self.softmax(scores.masked_fill(mask, -INF))

    mask = torch.tensor([[False, True], [True, True]])
    found = find_nonfinite(Attention(), (ones(2, 2), mask), torch.sum)
    assert (found.operation, found.module, found.nans) == ("aten._softmax", "softmax", 2)
    assert (found.position, found.cause) == ((1, 0), "operation")
    assert (found.came_from.cause, found.came_from.operation) == ("constant", "aten.masked_fill")
    assert (
        "out of an earlier Inf (forward: aten.masked_fill in the model itself wrote 3 -Inf of 4 "
        "as a constant), which reached the loss"
    ) in str(found)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("batch", "the batch holds -Inf: input['mask'] at (0, 0)"),
        ("buffer", "buffer 'mask' holds -Inf: at (0, 0)"),
        ("tensor", "in a tensor that no operation of the model made"),
    ],
)
def test_a_mask_from_elsewhere_is_named_as_such(where, words):
    outside = torch.full((2, 2), -INF)
    model = Apply(lambda s, mask=None: (s + (outside if mask is None else mask)).softmax(-1))
    batch = {"s": ones(2, 2)}
    if where == "batch":
        batch["mask"] = outside
    if where == "buffer":
        model.register_buffer("mask", outside)
        model.function = lambda s: (s + model.mask).softmax(-1)
    found = find_nonfinite(model, batch, torch.sum)
    assert (found.operation, found.came_from.cause) == ("aten._softmax", where)
    assert words in str(found)


@pytest.mark.parametrize(
    "mask",
    [
        lambda x: torch.where(x > 0, x.log(), torch.tensor(-INF)),
        lambda x: torch.where(x <= 0, torch.tensor(-INF), x.log()),
        lambda x: x.log().masked_fill(x <= 0, -INF),
        lambda x: x.log().masked_fill_(x <= 0, -INF),
        lambda x: x.log().masked_fill(x <= 0, torch.tensor(-INF)),
    ],
)
def test_what_a_mask_covers_is_not_at_fault(mask):
    found = found_in(lambda x: mask(x).softmax(-1), torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert (found.operation, found.came_from.cause) == ("aten._softmax", "constant")


def test_a_fault_that_is_absorbed_beside_a_new_one_is_not_named():
    found = found_in(lambda x: (x.log() + 99).exp(), torch.tensor([0.0, 1.0]))
    assert (found.operation, found.position) == ("aten.exp", (1,))


def test_an_overflow_and_not_the_nan_that_it_makes_is_named():
    found = found_in(lambda x: (x * 1e30 * 1e30).softmax(-1), ones(2))
    assert found.operation == "aten.mul"
    assert found.came_from is None


def test_a_constant_that_reaches_the_loss_is_named():
    target = torch.tensor([0])
    found = found_in(
        lambda x: x.masked_fill(torch.tensor([True, False]), -INF),
        ones(1, 2),
        loss=lambda out: functional.cross_entropy(out, target),
    )
    assert (found.cause, found.operation) == ("constant", "aten.masked_fill")
    assert "wrote 1 -Inf of 2 as a constant, which reached the loss" in str(found)


@pytest.mark.parametrize(("value", "kinds"), [(NAN, "NaN"), (INF, "Inf"), (-INF, "-Inf")])
def test_what_was_there_before_is_named_first(value, kinds):
    batch = torch.zeros(3, 2)
    batch[2, 1] = value
    found = find_nonfinite(linear(0.0), batch, torch.sum)
    words = f"the batch holds {kinds}: input at (2, 1) (1 {kinds} of 6)"
    if value == -INF:
        # It may be a mask: the product with a weight of 0 is at fault.
        product = "forward: aten.addmm in the model itself made 2 NaN of 6"
        words = f"{product} out of an earlier Inf ({words})"
    assert str(found).startswith(f"{words}, which reached the loss")
    model = linear()
    model.weight.data[0, 1] = value
    found = find_nonfinite(nn.Sequential(model), ones(1, 2), torch.sum)
    assert str(found).startswith(f"parameter '0.weight' holds {kinds}: at (0, 1) (1 {kinds} of 4)")
    assert found.cause == "parameter"


def test_a_minus_inf_of_a_parameter_is_a_fault():
    model = linear()
    model.weight.data[:] = -INF
    found = find_nonfinite(nn.Sequential(model, nn.Softmax(-1)), ones(1, 2), torch.sum)
    assert (found.cause, found.name) == ("parameter", "0.weight")


def test_a_nan_in_the_batch_goes_before_a_later_fault():
    found = found_in(lambda x: x.sum() + (x[:1] - 1).sqrt().sum(), torch.tensor([0.0, NAN]))
    assert (found.cause, found.position) == ("batch", (1,))


def test_parameters_that_share_a_storage_are_told_apart():
    model = Apply(lambda x: x * model.first + model.second)
    flat = torch.tensor([1.0, 1.0, 1.0, NAN])
    model.first, model.second = nn.Parameter(flat[:2]), nn.Parameter(flat[2:])
    found = find_nonfinite(model, ones(2), torch.sum)
    assert (found.name, found.position) == ("second", (1,))


def test_a_sick_buffer_and_a_sick_target_are_named():
    model = nn.BatchNorm1d(2).eval()
    model.running_var[1] = NAN
    found = find_nonfinite(model, ones(3, 2), torch.sum)
    assert (found.cause, found.name, found.position) == ("buffer", "running_var", (1,))
    target = torch.tensor([[1.0, NAN]])
    found = find_nonfinite(linear(), ones(1, 2), lambda out: functional.mse_loss(out, target))
    assert (found.cause, found.module, found.position) == ("tensor", "loss", (0, 1))


def test_the_tensor_in_a_nested_batch_is_named():
    batch = ([ones(1), {"a": torch.tensor([1.0, NAN])}],)
    found = find_nonfinite(Apply(lambda items: items[0] + items[1]["a"]), batch, torch.sum)
    assert (found.name, found.position) == ("input[0][1]['a']", (1,))


def test_a_mapping_that_is_no_dict_holds_keywords_too():
    batch = UserDict(input=torch.tensor([NAN]))
    assert find_nonfinite(nn.Identity(), batch).name == "input['input']"


def test_a_parameter_that_is_not_used_is_not_blamed():
    model = nn.Sequential(linear())
    model.unused = nn.Parameter(torch.tensor(NAN))
    assert find_nonfinite(model, ones(1, 2), torch.sum) is None


# Backward


def test_a_backward_pass_out_of_finite_numbers_is_named_with_its_node_and_module():
    model = nn.Sequential(linear(0.0), Apply(lambda h: h.sqrt()), nn.Identity())
    found = find_nonfinite(model, ones(1, 2), torch.sum)
    assert (found.phase, found.operation, found.node) == ("backward", "aten.div", "SqrtBackward0")
    assert (found.module, found.reached) == ("1", "the gradient of '0.weight'")
    assert found.source.endswith("Apply(lambda h: h.sqrt()), nn.Identity())")
    assert [item.value for item in found.inputs] == [1, 0]
    assert str(found).startswith(
        "backward: aten.div (SqrtBackward0) in module '1' made 2 Inf of 2 from float32 inputs up "
        "to 1 (division by 0), which reached the gradient of '0.weight' ["
    )


def test_where_with_a_nan_in_the_branch_not_taken_is_found():
    found = found_in(lambda x: torch.where(x > 0, x.sqrt(), 0 * x), ones(2) * 0)
    assert (found.phase, found.node) == ("backward", "SqrtBackward0")
    # 0 / 0, from finite numbers.
    assert (found.nans, found.reached) == (2, "the gradient of 'input[0]'")


def test_an_overflow_of_a_sum_of_gradients_is_found():
    model = linear(0.0)
    found = find_nonfinite(model, ones(1, 2), lambda out: (out * 2e38).sum() + (out * 2e38).sum())
    assert (found.phase, found.operation, found.reached) == (
        "backward",
        "aten.add",
        "the gradient of 'weight'",
    )


class Halves(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x * 2

    @staticmethod
    def backward(_ctx, gradient):
        return gradient / torch.zeros_like(gradient)  # planted


def test_a_custom_backward_is_named_with_its_own_line():
    model = nn.Sequential(linear(), Apply(Halves.apply), linear())
    found = find_nonfinite(model, torch.ones(1, 2), torch.sum)
    assert (found.node, found.module) == ("HalvesBackward", "1")
    assert found.source.endswith("return gradient / torch.zeros_like(gradient)  # planted")


def test_numbers_made_outside_of_torch_are_met_by_torch():
    class Outside(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x.clone()

        @staticmethod
        def backward(_ctx, gradient):
            return torch.from_numpy(np.full(gradient.shape, np.inf, dtype=np.float32))

    found = find_nonfinite(
        nn.Sequential(linear(), Apply(Outside.apply)), torch.ones(1, 2), torch.sum
    )
    assert (found.phase, found.node, found.module) == ("backward", "OutsideBackward", "1")
    assert (found.cause, found.positive_infs) == ("constant", 2)


def test_a_write_into_a_view_keeps_its_place_on_the_way_back():
    def forward(h):
        h = h * 1
        h[:, 0] = h[:, 0].sqrt()
        return h.sin()

    found = find_nonfinite(nn.Sequential(linear(0.0), Apply(forward)), ones(1, 2), torch.sum)
    assert (found.node, found.module) == ("SqrtBackward0", "1")
    assert found.source.endswith("h[:, 0] = h[:, 0].sqrt()")


def test_an_operation_in_place_on_a_view_keeps_its_place_on_the_way_back():
    def forward(h):
        h = h * 1
        h[:, 0].sqrt_()
        return h.sin()

    found = find_nonfinite(nn.Sequential(linear(0.0), Apply(forward)), ones(1, 2), torch.sum)
    assert (found.node, found.module) == ("CopySlices", "1")
    assert found.source.endswith("h[:, 0].sqrt_()")


def test_a_write_into_a_view_may_be_the_last_operation():
    def forward(x):
        h = x * 0
        h[:1].sqrt_()
        return h

    found = find_nonfinite(Apply(forward), ones(1))
    assert (found.node, found.reached) == ("CopySlices", "the gradient of 'input'")
    assert found.source


def test_an_overflow_where_gradients_accumulate_is_that_of_the_parameter():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(linear(0.0), Apply(torch.sin))

        def forward(self, x):
            # Reentrant checkpointing runs a backward pass for each of the two uses.
            one, two = (checkpoint(self.block, x, use_reentrant=True) for _ in range(2))
            return (one + two) * 2e38

    found = find_nonfinite(Model(), ones(1, 2), torch.sum)
    assert (found.node, found.module) == ("AccumulateGrad", "block.0")
    assert found.reached == "the gradient of 'block.0.bias'"


def test_the_hooks_of_a_module_belong_to_it():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    model[1].register_forward_pre_hook(lambda _, args: (args[0].log(),))
    assert find_nonfinite(model, torch.zeros(1), torch.sum).module == "1"


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_checkpointed_module_is_seen_in_both_phases(reentrant, phase):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = linear(0.0)
            step = Apply(lambda h: h.sqrt() if phase == "backward" else (h - 1).sqrt())
            self.block = nn.Sequential(linear(0.0), step)
            self.last = linear()

        def forward(self, x):
            return self.last(checkpoint(self.block, self.first(x), use_reentrant=reentrant))

    found = find_nonfinite(Model(), torch.ones(1, 2), torch.sum)
    assert (found.phase, found.module) == (phase, "block.1")
    assert "h.sqrt() if phase" in found.source
    node = "SqrtBackward0" if phase == "backward" else ""
    assert found.node == node


@pytest.mark.parametrize("custom", [False, True])
def test_what_checkpointing_computes_again_is_forward(custom):
    count = iter(range(9))

    def scaled(h):
        # Finite the first time and not the second, as a bad random number might be.
        return h.exp() * (h.detach() if next(count) == 0 else h.detach().log())

    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            ctx.save_for_backward(scaled(h))
            return h.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = Apply(Custom.apply if custom else scaled)

        def forward(self, x):
            return checkpoint(self.step, x, use_reentrant=False)

    found = find_nonfinite(Model(), ones(2) * 0, torch.sum)
    assert (found.phase, found.operation, found.module) == ("forward", "aten.log", "step")
    assert found.node == ""


def test_leaves_that_only_the_loss_knows_are_checked_and_left_alone():
    weight = torch.zeros(3, requires_grad=True)
    weight.grad = torch.ones(3)
    found = find_nonfinite(linear(), ones(1, 2), lambda out: out.sum() + weight.sum().sqrt())
    assert (found.phase, found.module) == ("backward", "loss")
    assert found.reached == "the gradient of 'tensor 0 of the loss'"
    assert torch.equal(weight.grad, torch.ones(3))


def test_a_gradient_that_is_taken_in_the_forward_pass_is_backward():
    def penalty(x):
        y = x.sqrt().sum()
        return torch.autograd.grad(y, x, create_graph=True)[0]

    found = found_in(penalty, ones(2) * 0)
    assert (found.phase, found.node, found.reached) == ("backward", "SqrtBackward0", "the loss")


# Kinds of networks


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_are_seen(kind):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(2, 3)

        def forward(self, x):
            return self.layer(x)[0]

    model = Model()
    assert find_nonfinite(model, torch.randn(4, 1, 2), torch.sum) is None
    model.layer.weight_hh_l0.data[1, 2] = NAN
    found = find_nonfinite(model, torch.randn(4, 1, 2), torch.sum)
    assert (found.cause, found.name, found.position) == ("parameter", "layer.weight_hh_l0", (1, 2))


@pytest.mark.parametrize("sparse", [False, True])
def test_embeddings_dense_and_sparse_are_seen(sparse):
    model = nn.Sequential(nn.Embedding(5, 3, sparse=sparse))
    ids = torch.tensor([1, 2])
    assert find_nonfinite(model, ids, torch.sum) is None
    found = find_nonfinite(model, ids, lambda out: (out * 0).sqrt().sum())
    assert (found.node, found.reached) == ("SqrtBackward0", "the gradient of '0.weight'")
    model[0].weight.data[4, 1] = INF
    assert find_nonfinite(model, ids, torch.sum) is None
    found = find_nonfinite(model, torch.tensor([4]), torch.sum)
    assert (found.cause, found.position) == ("parameter", (4, 1))


def test_attention_normalisation_pooling_and_dropout_are_healthy():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    padding = torch.tensor([[False, False, True]])
    batch = {"src": torch.randn(1, 3, 8), "src_key_padding_mask": padding}
    assert find_nonfinite(layer, batch, torch.sum) is None
    attend = Apply(lambda q: functional.scaled_dot_product_attention(q, q, q, is_causal=True))
    assert find_nonfinite(attend, ones(1, 1, 3, 4), torch.sum) is None
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2, padding=1))
    assert find_nonfinite(images, torch.randn(2, 1, 6, 6), torch.sum) is None
    batch = {"src": torch.full((1, 3, 8), 1e38), "src_key_padding_mask": padding}
    assert find_nonfinite(layer, batch, torch.sum).module.startswith("self_attn")


def test_multi_output_operations_are_seen():
    found = found_in(
        lambda x: functional.layer_norm(x * 1e30, (2,))[0], torch.tensor([[1e9, -1e9]])
    )
    assert found.operation == "aten.mul"
    found = found_in(lambda x: torch.var_mean(x, 0)[0], torch.tensor([1e30, -1e30]))
    assert (found.operation, found.positive_infs) == ("aten.var_mean", 1)
    # The other output is finite.
    assert found_in(lambda x: torch.var_mean(x, 0)[1], torch.tensor([1e30, -1e30])) is None


def test_autocast_shows_the_weight_that_does_not_fit():
    model = linear(7e4)
    with torch.autocast("cpu", torch.float16):
        model(torch.ones(1, 2))
        found = find_nonfinite(model, torch.ones(1, 2), torch.sum)
        again = model(torch.ones(1, 2))
    assert (found.operation, found.positive_infs) == ("aten._to_copy", 4)
    again.sum().backward()


def test_complex_numbers_count_once():
    z = torch.tensor([3e38 + 3e38j, -3e38j, 1 + 1j], requires_grad=True)
    found = found_in(lambda z: torch.add(z, z), z, loss=lambda out: out.abs().sum())
    assert (found.operation, found.dtype) == ("aten.add", torch.complex64)
    assert (found.nans, found.positive_infs, found.negative_infs) == (0, 1, 1)
    assert found.inputs[0].minimum is None
    assert "from complex64 inputs" in str(found)
    assert "the largest" not in str(found)
    assert found_in(torch.conj, z, loss=lambda out: (out / 4).abs().sum()) is None


def test_each_element_of_a_complex_tensor_is_one_kind():
    elements = [complex(NAN, INF), complex(-INF, NAN), complex(INF, -INF), complex(0, INF), 1j]
    assert counted(torch.tensor(elements)) == (2, 1, 1)


def test_the_size_of_negative_inputs_counts():
    (given,) = found_in(torch.log, torch.tensor([-5.0, -1.0])).inputs
    assert (given.minimum, given.maximum, given.absmax) == (-5, -1, 5)


def test_a_sum_that_overflows_of_finite_numbers_is_finite():
    half = torch.full((4,), 60_000.0, dtype=torch.float16)
    assert found_in(lambda x: x + 0, half, loss=lambda out: out[0]) is None


def test_a_frozen_model_runs_forward_only():
    model = linear().requires_grad_(False)
    assert find_nonfinite(model, torch.ones(1, 2), torch.sum) is None
    found = find_nonfinite(model, torch.zeros(1, 2), lambda out: out.log().sum())
    assert found.operation == "aten.log"


def test_the_backward_pass_of_a_loss_that_is_not_finite_does_not_run():
    calls = []

    def forward(x):
        x.register_hook(calls.append)
        return x

    assert found_in(forward, ones(1), loss=lambda out: out.log() / 0) is not None
    assert calls == []
    assert found_in(forward, ones(1)) is None
    assert len(calls) == 1


def test_it_works_where_gradients_are_switched_off():
    with torch.no_grad():
        found = find_nonfinite(linear(0.0), torch.ones(1, 2), lambda out: out.sqrt().sum())
    assert found.phase == "backward"


@pytest.mark.parametrize("how", ["model", "part", "in place"])
def test_compiled_models_are_seen_eagerly(how):
    def refuse(*_):
        raise AssertionError("compiled")

    model = nn.Sequential(linear(), Apply(lambda h: (h - 9).log()))
    if how == "model":
        model = torch.compile(model, backend=refuse)
    elif how == "part":
        model[1] = torch.compile(model[1], backend=refuse)
    else:
        model.compile(backend=refuse)
    found = find_nonfinite(model, torch.ones(1, 2), torch.sum)
    assert (found.operation, found.module) == ("aten.log", "1")


def test_a_shared_module_goes_by_its_first_name():
    act = Apply(lambda h: (h - 3).sqrt())
    model = nn.Sequential(linear(), nn.Sequential(act), act)
    assert find_nonfinite(model, torch.ones(1, 2), torch.sum).module == "1.0"


# What is left behind


def snapshot(model):
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._forward_hooks_always_called))
        for m in model.modules()
    ]
    return hooks, [m.training for m in model.modules()]


@pytest.mark.parametrize("outcome", ["finite", "forward", "backward", "error", "backward error"])
def test_model_batch_gradients_and_random_state_are_left_as_they_were(outcome):
    class Angry(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x.clone()

        @staticmethod
        def backward(_ctx, _gradient):
            raise RuntimeError("planted")

    def forward(h):
        cases = {
            "finite": lambda: h,
            "forward": lambda: h * INF,
            "backward": lambda: (h * 0).sqrt(),
            "backward error": lambda: Angry.apply(h),
        }
        if outcome == "error":
            raise RuntimeError("planted")
        return cases[outcome]()

    model = nn.Sequential(
        nn.ReLU(inplace=True), nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(), Apply(forward)
    )
    model[0].eval()
    model[1].weight.grad = torch.full((2, 2), 7.0)
    gradient = model[1].weight.grad
    state = {name: value.clone() for name, value in model.state_dict().items()}
    versions = [buffer._version for buffer in model.buffers()]
    buffers = [id(buffer) for buffer in model.buffers()]
    steps = []
    model[1].bias.register_post_accumulate_grad_hook(steps.append)
    before = snapshot(model)
    torch.manual_seed(3)
    batch = torch.randn(4, 2)
    rng = torch.get_rng_state()
    kept = batch.clone()
    if "error" in outcome:
        with pytest.raises(RuntimeError, match="planted"):
            find_nonfinite(model, batch, torch.sum)
    else:
        found = find_nonfinite(model, batch, torch.sum)
        assert (found is None) == (outcome == "finite")
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(batch, kept)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [buffer._version for buffer in model.buffers()] == versions
    assert [id(buffer) for buffer in model.buffers()] == buffers
    assert snapshot(model) == before
    assert model[1].weight.grad is gradient
    assert torch.equal(gradient, torch.full((2, 2), 7.0))
    assert model[1].bias.grad is None
    assert steps == []
    model[1](kept).sum().backward()
    assert len(steps) == 1


def test_flags_and_buffers_that_the_forward_pass_sets_are_put_back():
    class Cache(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))
            self.register_buffer("nothing", None)

        def forward(self, x):
            self.mean = self.mean + 1
            self.register_buffer("cache", x)
            self.eval()
            return x

    model = Cache()
    find_nonfinite(model, ones(1), torch.sum)
    assert (model.mean.item(), model.training) == (0, True)
    assert set(model._buffers) == {"mean", "nothing"}


def test_buffers_that_modules_share_stay_shared():
    class Shared(nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, x):
            self.mask.sub_(1)
            return x + self.mask.sqrt()

    mask = torch.ones(1)
    model = nn.Sequential(Shared(mask), Shared(mask))
    assert find_nonfinite(model, ones(1), torch.sum).module == "1"
    assert model[0].mask is model[1].mask is mask
    assert mask.item() == 1


def test_a_batch_with_a_graph_of_its_own_keeps_it():
    leaf = ones(2)
    batch = leaf * 2
    model = nn.Sequential(nn.ReLU(inplace=True), Apply(lambda x: (x - 2).sqrt()))
    found = find_nonfinite(model, batch, torch.sum)
    assert (found.phase, found.reached) == ("backward", "the gradient of 'input'")
    batch.sum().backward()
    assert torch.equal(leaf.grad, torch.full((2,), 2.0))


def test_the_random_numbers_are_those_of_the_step_that_follows():
    seen = []
    model = nn.Sequential(nn.Dropout(), Apply(lambda x: seen.append(x.detach().clone()) or x))
    find_nonfinite(model, ones(20), torch.sum)
    model(ones(20))
    assert torch.equal(*seen)


# Bad input


@pytest.mark.parametrize(
    ("model", "batch", "loss", "error", "words"),
    [
        (torch.sum, ones(1), None, TypeError, "model must be a torch.nn.Module, got builtin"),
        (nn.Identity(), "text", None, TypeError, "batch must be a tensor, .* got str"),
        (
            nn.Identity(),
            ones(3),
            None,
            ValueError,
            r"the loss must be one number, got shape \(3,\)",
        ),
        (nn.Identity(), ones(1), lambda _: 3.0, TypeError, "the loss must be a tensor, got float"),
    ],
)
def test_bad_input_is_answered_in_words(model, batch, loss, error, words):
    with pytest.raises(error, match=words):
        find_nonfinite(model, batch, loss)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_model_is_refused():
    with pytest.raises(TypeError, match="must not be scripted"):
        find_nonfinite(nn.Sequential(torch.jit.script(nn.ReLU())), ones(1), torch.sum)
