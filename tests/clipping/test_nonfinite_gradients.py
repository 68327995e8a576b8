"""A NaN or an Inf: what stays as it was, and who is named."""

import math

import pytest
import torch
from clip_oracle import FUNCTIONS, bits, filled, parameters_of
from torch import nn
from torch.nn import utils

from gradcourse.clipping import (
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    nonfinite_gradients,
    rescale_grad_norm_,
)

NAN_WITH_PAYLOAD = torch.tensor([0x7FC12345], dtype=torch.int32).view(torch.float32)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, inputs):
        return self.blocks(self.first(inputs))


@pytest.mark.parametrize("bad", [NAN_WITH_PAYLOAD, torch.tensor([math.inf])], ids=["nan", "inf"])
@pytest.mark.parametrize(
    "function",
    [FUNCTIONS[n] for n in FUNCTIONS if "norm_" in n and "per" not in n]
    + [
        FUNCTIONS["PercentileClip"],
        FUNCTIONS["SpikeClip"],
        lambda p: clip_grad_norm_(p, 0.0),
        lambda p: clip_grad_norm_(p, 1.0, 3.0),
        lambda p: rescale_grad_norm_(p, 0.0),
    ],
)
def test_if_the_norm_is_not_finite_every_gradient_stays_to_the_bit(function, bad):
    parameters = filled([nn.Parameter(torch.ones(3, 2)) for _ in range(2)])
    parameters[1].grad[1, 0] = bad
    before = [bits(parameter.grad) for parameter in parameters]
    assert not function(parameters).isfinite()
    assert [bits(parameter.grad) for parameter in parameters] == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_torch_makes_all_gradients_nan_or_zero_if_one_is_not_finite(bad):
    theirs = parameters_of(torch.tensor([1.0, 2.0]), torch.tensor([bad]))
    utils.clip_grad_norm_(theirs, 1.0)
    assert not (theirs[0].grad != 0).logical_and(theirs[0].grad.isfinite()).any()


@pytest.mark.parametrize("bad", [NAN_WITH_PAYLOAD, torch.tensor([math.inf])], ids=["nan", "inf"])
@pytest.mark.parametrize(
    "name", ["clip_grad_norm_per_parameter_", "clip_grad_rms_", "standardize_grad_"]
)
def test_tensor_by_tensor_only_the_one_that_is_not_finite_stays(name, bad):
    parameters = filled([nn.Parameter(torch.ones(3, 2)) for _ in range(3)])
    alone = filled([nn.Parameter(torch.ones(3, 2)) for _ in range(3)])
    parameters[1].grad[1, 0] = bad
    before = bits(parameters[1].grad)
    returned = FUNCTIONS[name](parameters)
    FUNCTIONS[name](alone)
    assert bits(parameters[1].grad) == before
    for place in (0, 2):
        assert bits(parameters[place].grad) == bits(alone[place].grad)
    assert returned is None or returned.isfinite().tolist() == [True, False, True]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of the compiler's own imports.
def test_the_error_names_the_parameters_of_a_module():
    module = Nested()
    filled(module.parameters())
    module.blocks[2].weight.grad[0, 1] = math.nan
    module.first.bias.grad[0] = -math.inf
    before = [bits(parameter.grad) for parameter in module.parameters()]
    clips = [
        lambda p: clip_grad_norm_(p, 1.0, error_if_nonfinite=True),
        lambda p: clip_grad_norm_(p, None, error_if_nonfinite=True),
        lambda p: clip_grad_norm_(p, 1.0, math.inf, error_if_nonfinite=True),
        lambda p: clip_grad_norm_per_parameter_(p, 1.0, error_if_nonfinite=True),
        lambda p: rescale_grad_norm_(p, 1.0, error_if_nonfinite=True),
    ]
    words = (
        r"^the gradient is not finite in 2 of 6 parameters: first\.bias \(Inf\), "
        r"blocks\.2\.weight \(NaN\); nothing was clipped$"
    )
    for clip in clips:
        for form in (module, module.named_parameters(), torch.compile(module)):
            with pytest.raises(RuntimeError, match=words):
                clip(form)
    assert [bits(parameter.grad) for parameter in module.parameters()] == before
    assert nonfinite_gradients(module) == ["first.bias", "blocks.2.weight"]
    assert nonfinite_gradients(torch.compile(module)) == ["first.bias", "blocks.2.weight"]
    module.blocks[2] = torch.compile(module.blocks[2])
    assert nonfinite_gradients(module) == ["first.bias", "blocks.2.weight"]


def test_without_names_the_error_gives_place_and_shape():
    parameters = parameters_of(torch.ones(2), torch.full((3, 1), math.nan))
    with pytest.raises(RuntimeError, match=r"1 of 2 parameters: parameters\[1\] of shape \(3, 1\)"):
        clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    with pytest.raises(RuntimeError, match=r": the parameter of shape \(3, 1\) \(NaN\);"):
        clip_grad_norm_(parameters[1], 1.0, error_if_nonfinite=True)
    assert nonfinite_gradients(parameters) == ["parameters[1] of shape (3, 1)"]
    unused = nn.Parameter(torch.ones(1))
    assert nonfinite_gradients([unused, parameters[1]]) == ["parameters[1] of shape (3, 1)"]


def test_of_many_names_five_are_given():
    parameters = parameters_of(*(torch.tensor([math.nan]) for _ in range(7)))
    with pytest.raises(
        RuntimeError, match=r"7 of 7 .*\[4\] of shape \(1,\) \(NaN\) and 2 more; nothing"
    ):
        clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    with pytest.raises(RuntimeError, match=r"5 of 5 [^;]*parameters\[4\] of shape \(1,\) \(NaN\);"):
        clip_grad_norm_(parameters[:5], 1.0, error_if_nonfinite=True)


def test_finite_gradients_raise_nothing():
    parameters = parameters_of(torch.full((3,), 3e38), torch.ones(2))
    clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    assert nonfinite_gradients(parameters) == []


def test_a_tied_weight_has_the_name_that_torch_gives_it():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    module[0].weight.grad = torch.full((2, 2), math.nan)
    assert nonfinite_gradients(module) == ["0.weight"]
