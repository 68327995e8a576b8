"""Networks trained together against each of them trained alone."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse.models import MLP
from gradcourse.training import Ensemble


def mlp(seed, depth=2):
    torch.manual_seed(seed)
    return MLP(in_features=5, width=7, depth=depth, out_features=3)


def loss(outputs, targets):
    return (outputs - targets).square().mean(dim=(-1, -2))


def data(seed=0, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 5, generator=generator), torch.randn(*shape, 3, generator=generator)


def slices(ensemble, number):
    return [parameter[number] for parameter in ensemble.parameters()]


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    ],
    ids=["SGD", "Adam"],
)
def test_each_network_is_trained_as_if_it_were_alone(make):
    alone = [mlp(seed) for seed in range(4)]
    together = Ensemble(alone)
    inputs, targets = data(0, 16)
    optimizer = make(together.parameters())
    for _ in range(20):
        optimizer.zero_grad()
        loss(together(inputs), targets).sum().backward()
        norms = together.clip_grad_norm_(0.5)
        optimizer.step()
    for number, network in enumerate(alone):
        optimizer = make(network.parameters())
        for _ in range(20):
            optimizer.zero_grad()
            loss(network(inputs), targets).backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
        assert float(norms[number]) == pytest.approx(float(norm), rel=1e-4)
        for mine, its in zip(slices(together, number), network.parameters(), strict=True):
            assert torch.allclose(mine, its, rtol=1e-4, atol=1e-6)


def test_the_networks_are_copied():
    networks = [mlp(0), mlp(1)]
    before = copy.deepcopy(networks[0].state_dict())
    together = Ensemble(networks)
    with torch.no_grad():
        for parameter in together.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], t) for name, t in networks[0].state_dict().items())


def test_names_are_those_of_one_network_behind_a_word():
    names = [name for name, _ in Ensemble([mlp(0)]).named_parameters()]
    assert names == [f"stacked.{name}" for name, _ in mlp(0).named_parameters()]


def test_each_network_may_have_inputs_of_its_own():
    networks = [mlp(seed) for seed in range(3)]
    inputs, _ = data(0, 3, 4)
    outputs = Ensemble(networks)(inputs, shared=False)
    for number, network in enumerate(networks):
        assert torch.allclose(outputs[number], network(inputs[number]), atol=1e-6)


def test_a_network_that_ends_in_nan_does_not_touch_the_others():
    networks = [mlp(0), mlp(1)]
    with torch.no_grad():
        networks[0][0].weight[0, 0] = torch.nan
    together = Ensemble(networks)
    inputs, targets = data(0, 8)
    loss(together(inputs), targets).sum().backward()
    norms = together.clip_grad_norm_(1.0)
    assert norms.isnan().tolist() == [True, False]
    assert all(torch.isfinite(parameter.grad[1]).all() for parameter in together.parameters())
    assert any(parameter.grad[0].isnan().any() for parameter in together.parameters())


def test_an_infinite_gradient_is_clipped_as_torch_clips_it():
    together, alone = Ensemble([nn.Linear(3, 2)]), nn.Linear(3, 2)
    for parameter, its in zip(together.parameters(), alone.parameters(), strict=True):
        its.grad = torch.ones_like(its)
        its.grad.view(-1)[0] = torch.inf
        parameter.grad = its.grad[None].clone()
    together.clip_grad_norm_(1.0)
    torch.nn.utils.clip_grad_norm_(alone.parameters(), 1.0)
    for parameter, its in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(parameter.grad[0].isnan(), its.grad.isnan())
        assert torch.equal(parameter.grad[0].nan_to_num(), its.grad.nan_to_num())


def test_a_norm_beyond_the_squares_of_float32_is_clipped_rightly():
    together = Ensemble([nn.Linear(2, 1, bias=False)])
    (parameter,) = together.parameters()
    parameter.grad = torch.tensor([[[3e25, 4e25]]])
    assert float(together.clip_grad_norm_(5.0)) == pytest.approx(5e25, rel=1e-6)
    assert torch.allclose(parameter.grad, torch.tensor([[[3.0, 4.0]]]))


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
)
@settings(deadline=None)
def test_limits_and_factors_are_each_networks_own(limits, shape):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.zeros(shape))

        def forward(self, inputs):
            return inputs + self.value

    together = Ensemble([Constant() for _ in limits])
    (parameter,) = together.parameters()
    given_ = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    parameter.grad = given_.clone()
    norms = together.clip_grad_norm_(limits)
    for number, limit in enumerate(limits):
        norm = given_[number].norm()
        assert float(norms[number]) == pytest.approx(float(norm), rel=1e-5)
        expected = given_[number] * min(1.0, limit / (float(norm) + 1e-6))
        assert torch.allclose(parameter.grad[number], expected, rtol=1e-5)
    parameter.grad = given_.clone()
    together.scale_grad_(limits)
    for number, limit in enumerate(limits):
        assert torch.allclose(parameter.grad[number], given_[number] * limit)


def test_infinite_limits_clip_nothing_and_no_gradient_has_norm_zero():
    together = Ensemble([mlp(0), mlp(1)])
    assert together.grad_norms().tolist() == [0.0, 0.0]
    inputs, targets = data(0, 8)
    loss(together(inputs), targets).sum().backward()
    before = [parameter.grad.clone() for parameter in together.parameters()]
    together.clip_grad_norm_([torch.inf, 1e-3])
    for gradient, parameter in zip(before, together.parameters(), strict=True):
        assert torch.equal(gradient[0], parameter.grad[0])
        assert not torch.equal(gradient[1], parameter.grad[1])


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, inputs):
            return self.second(self.first(inputs))

    networks = [Tied(), Tied()]
    together = Ensemble(networks)
    assert len(list(together.parameters())) == 3
    inputs = torch.randn(5, 4)
    together(inputs).sum().backward()
    for number, network in enumerate(networks):
        network(inputs).sum().backward()
        for mine, its in zip(together.parameters(), network.parameters(), strict=True):
            assert torch.allclose(mine.grad[number], its.grad, atol=1e-5)


def test_buffers_and_frozen_parameters_are_kept():
    networks = [nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3).eval()) for _ in range(2)]
    for number, network in enumerate(networks):
        network.eval()
        network[0].bias.requires_grad_(False)
        network[1].running_mean.fill_(number)
    together = Ensemble(networks).eval()
    inputs = torch.randn(4, 3)
    for number, outputs in enumerate(together(inputs)):
        assert torch.allclose(outputs, networks[number](inputs), atol=1e-6)
    assert [parameter.requires_grad for parameter in together.parameters()].count(False) == 1


@pytest.mark.parametrize(
    "networks",
    [
        [],
        [nn.Linear(2, 2), nn.Linear(2, 3)],
        [nn.Linear(2, 2), nn.Linear(2, 2, bias=False)],
        [nn.Linear(2, 2), nn.Linear(2, 2).double()],
        [nn.Sequential(nn.Linear(2, 2)), MLP(2, 2, 1)],
        # Alike in all their tensors, and not in what they do.
        [MLP(4, 4, 2, activation="tanh"), MLP(4, 4, 2, activation="relu")],
        [nn.Dropout(0.0), nn.Dropout(0.9)],
        [nn.LayerNorm(4, eps=1e-5), nn.LayerNorm(4, eps=1.0)],
        [nn.Dropout(0.5), nn.Dropout(0.5).eval()],
    ],
)
def test_networks_that_are_not_alike_are_refused(networks):
    with pytest.raises(ValueError, match="network"):
        Ensemble(networks)


@pytest.mark.parametrize(
    "limit", [-1.0, float("nan"), [1.0, -1.0], torch.tensor([1.0, -1.0]), [1.0], [[1.0, 2.0]]]
)
def test_limits_that_make_no_sense_are_refused(limit):
    together = Ensemble([mlp(0), mlp(1)])
    loss(together(data(0, 8)[0]), data(0, 8)[1]).sum().backward()
    with pytest.raises(ValueError, match="max_norm"):
        together.clip_grad_norm_(limit)


def test_an_infinite_limit_changes_no_gradient_that_is_infinite():
    together = Ensemble([mlp(0), mlp(1)])
    loss(together(data(0, 8)[0]), data(0, 8)[1]).sum().backward()
    first = next(together.parameters()).grad
    first[0, 0] = float("inf")
    before = [one.grad.clone() for one in together.parameters()]
    assert together.clip_grad_norm_(float("inf"))[0] == float("inf")
    assert all(
        torch.equal(one.grad, old) for one, old in zip(together.parameters(), before, strict=True)
    )


def test_complex_networks_are_clipped_each_by_its_own_norm():
    networks = [nn.Linear(3, 2, dtype=torch.complex64) for _ in range(3)]
    inputs = torch.randn(4, 3, dtype=torch.complex64)
    together = Ensemble(networks)
    together(inputs).abs().square().sum().backward()
    norms = together.clip_grad_norm_(0.5)
    for network, norm in zip(networks, norms.tolist(), strict=True):
        network(inputs).abs().square().sum().backward()
        alone = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        assert norm == pytest.approx(float(alone), rel=1e-5)
    for stacked, alone in zip(
        together.parameters(),
        zip(*(one.parameters() for one in networks), strict=True),
        strict=True,
    ):
        expected = torch.stack([one.grad for one in alone])
        torch.testing.assert_close(stacked.grad, expected, rtol=1e-4, atol=1e-6)


def test_sparse_gradients_are_refused_in_a_sentence():
    together = Ensemble([nn.Embedding(5, 2) for _ in range(2)])
    weight = next(together.parameters())
    weight.grad = torch.zeros_like(weight).to_sparse()
    for call in (together.grad_norms, lambda: together.clip_grad_norm_(1.0)):
        with pytest.raises(ValueError, match="must not be sparse"):
            call()
