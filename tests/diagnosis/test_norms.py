"""Norms by parameter and by layer, and how far a step moves the weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse.diagnosis import global_grad_norm, grad_norms, layer_grad_norms, update_ratios
from gradcourse.models import MLP


def model_with_gradients(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(MLP(4, 8, 2), nn.LayerNorm(8), nn.Linear(8, 3))
    model(torch.randn(5, 4)).square().sum().backward()
    return model


def test_the_norms_by_parameter_are_those_of_each_gradient() -> None:
    model = model_with_gradients()
    norms = grad_norms(model)
    assert list(norms) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert norms[name] == pytest.approx(float(parameter.grad.double().norm()), rel=1e-6)


@settings(deadline=None)
@given(norm_type=st.sampled_from([0.5, 1.0, 2.0, 3.0, math.inf]), seed=st.integers(0, 100))
def test_a_layer_s_norm_is_that_of_its_parameters_as_one_vector(
    norm_type: float, seed: int
) -> None:
    model = model_with_gradients(seed)
    norms = layer_grad_norms(model, norm_type)
    assert list(norms) == ["0.0", "0.2", "1", "2"]
    for path, norm in norms.items():
        own = [p.grad.double().flatten() for p in model.get_submodule(path).parameters()]  # type: ignore[union-attr]
        assert norm == pytest.approx(float(torch.linalg.vector_norm(torch.cat(own), norm_type)))


@settings(deadline=None)
@given(norm_type=st.sampled_from([1.0, 2.0, math.inf]))
def test_the_global_norm_is_torch_s_and_changes_nothing(norm_type: float) -> None:
    model = model_with_gradients()
    gradients = [parameter.grad for parameter in model.parameters()]
    before = [gradient.clone() for gradient in gradients if gradient is not None]
    norm = global_grad_norm(model, norm_type)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm(before, norm_type))
    assert all(torch.equal(old, new) for old, new in zip(before, gradients, strict=True))


def test_a_parameter_of_the_root_is_a_layer_of_its_own() -> None:
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    assert list(layer_grad_norms(model)) == ["weight", "bias"]


def test_frozen_parameters_are_left_out_and_tied_ones_listed_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    model[1].requires_grad_(False)
    model(torch.ones(1, 3)).sum().backward()
    assert list(grad_norms(model)) == ["0.weight", "0.bias", "2.bias"]


def test_a_compiled_model_has_its_own_names() -> None:
    model = model_with_gradients()
    assert list(grad_norms(torch.compile(model, backend="eager"))) == list(grad_norms(model))


def test_an_order_of_zero_is_refused() -> None:
    for function in (global_grad_norm, grad_norms, layer_grad_norms):
        with pytest.raises(ValueError, match="norm_type must be above 0, or inf, got 0"):
            function(model_with_gradients(), 0)


@pytest.mark.parametrize("wrong", [[torch.ones(2)], torch.ones(2), None])
def test_norms_by_name_want_a_module(wrong: object) -> None:
    for function in (grad_norms, layer_grad_norms):
        with pytest.raises(TypeError, match=r"^module must be a torch\.nn\.Module, got \w+$"):
            function(wrong)  # type: ignore[arg-type]
    with (
        pytest.raises(TypeError, match=r"^module must be a torch\.nn\.Module, got \w+$"),
        update_ratios(wrong),  # type: ignore[arg-type]
    ):
        pass


def test_the_update_ratio_of_plain_gradient_descent_has_a_closed_form() -> None:
    model = model_with_gradients()
    expected = {
        name: 0.01 * float(p.grad.double().norm() / p.detach().double().norm())  # type: ignore[union-attr]
        for name, p in model.named_parameters()
        if p.detach().any()
    }
    with update_ratios(model) as ratios:
        torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert {name: ratios[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_a_zero_weight_that_moves_has_an_infinite_ratio_and_one_that_stays_has_zero() -> None:
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    with update_ratios(layer) as ratios, torch.no_grad():
        layer.weight += 1
    assert ratios == {"weight": math.inf, "bias": 0.0}


def test_frozen_parameters_have_no_ratio() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with update_ratios(layer) as ratios:
        pass
    assert ratios == {"weight": 0.0}


def test_the_update_ratio_of_complex_parameters() -> None:
    layer = nn.Linear(2, 2, bias=False, dtype=torch.complex64)
    before = layer.weight.detach().clone()
    with update_ratios(layer) as ratios, torch.no_grad():
        layer.weight.add_(0.1j)
    change = (layer.weight.detach() - before).abs().square().sum().sqrt()
    assert ratios["weight"] == pytest.approx(float(change / before.abs().square().sum().sqrt()))
