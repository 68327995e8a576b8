"""The sharpness of stacked networks against the whole Hessian of each."""

import math

import pytest
import torch
from torch import nn

from gradcourse.signals import sharpness
from gradcourse.training import Ensemble


def losses_of(ensemble, inputs, targets):
    return (ensemble(inputs).squeeze(-1) - targets).square().mean(dim=1)


@pytest.mark.parametrize("first_seed", [0, 7])
def test_it_is_the_largest_eigenvalue_of_the_whole_hessian(first_seed):
    networks = []
    for seed in range(first_seed, first_seed + 3):
        torch.manual_seed(seed)
        networks.append(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double())
    inputs, targets = torch.randn(20, 3).double(), torch.randn(20).double()
    ensemble = Ensemble(networks)
    found = sharpness(losses_of(ensemble, inputs, targets), ensemble.parameters(), steps=21)

    for network, value in zip(networks, found, strict=True):
        names = [name for name, _ in network.named_parameters()]
        tensors = tuple(one.detach() for one in network.parameters())

        def loss(*values, network=network, names=names):
            state = dict(zip(names, values, strict=True))
            outputs = torch.func.functional_call(network, state, (inputs,))
            return (outputs.squeeze(-1) - targets).square().mean()

        blocks = torch.autograd.functional.hessian(loss, tensors)
        sizes = [one.numel() for one in tensors]
        rows = [
            torch.cat([block.reshape(a, b) for block, b in zip(row, sizes, strict=True)], dim=1)
            for row, a in zip(blocks, sizes, strict=True)
        ]
        exact = torch.linalg.eigvalsh(torch.cat(rows))[-1]
        assert value.item() == pytest.approx(exact.item(), rel=1e-6)


def test_it_is_the_largest_and_not_the_largest_in_size():
    x = torch.ones(1, 3, requires_grad=True)
    losses = (torch.tensor([-9.0, 2.0, 1.0]) * x.square()).sum(dim=1) / 2
    assert sharpness(losses, [x]).item() == pytest.approx(2, rel=1e-4)
    losses = (torch.tensor([-9.0, -9.0, -9.0]) * x.square()).sum(dim=1) / 2
    assert sharpness(losses, [x]).item() == pytest.approx(-9, rel=1e-4)


def test_a_network_in_nan_leaves_the_others_alone():
    x = torch.tensor([[1.0, 1.0], [math.nan, 1.0]], requires_grad=True)
    found = sharpness((torch.tensor([3.0, 5.0]) * x.pow(4)).sum(dim=1), [x])
    assert found[0].item() == pytest.approx(60, rel=1e-4)
    assert found[1].isnan()


def test_bad_arguments_get_one_sentence():
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="losses must have a graph"):
        sharpness(torch.ones(2), [x])
    with pytest.raises(ValueError, match=r"each parameter must have shape \(2, \.\.\.\)"):
        sharpness(x.square().sum(dim=1), [torch.ones(3, 2, requires_grad=True)])
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        sharpness(x.square().sum(dim=1), [x], steps=0)


def test_frozen_unused_and_straight_parameters_bend_nothing():
    bent, straight, unused, frozen = (torch.ones(2, 1, requires_grad=True) for _ in range(4))
    curvature = torch.tensor([3.0, 5.0])
    losses = curvature * bent[:, 0].square() / 2 + straight[:, 0] + frozen.detach()[:, 0]
    frozen.requires_grad_(False)
    found = sharpness(losses, [bent, straight, unused, frozen])
    torch.testing.assert_close(found, curvature)
    torch.testing.assert_close(sharpness(straight[:, 0] * 1.0, [straight]), torch.zeros(2))
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        sharpness(losses, [frozen])
