"""Fixup and ReZero: the identity at first, and steps that do not grow with depth."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gradcourse.initialization import ReZero, fixup_, initialize

WIDTH = 64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Residual(nn.Module):
    def __init__(self, blocks, layers, width=WIDTH, bias=True):
        super().__init__()
        self.branches = nn.ModuleList()
        for _ in range(blocks):
            steps = [nn.Linear(width, width, bias)]
            for _ in range(layers - 1):
                steps += [nn.ReLU(), nn.Linear(width, width, bias)]
            self.branches.append(nn.Sequential(*steps))
        self.head = nn.Linear(width, 1)

    def features(self, x):
        for branch in self.branches:
            x = x + branch(x)
        return x

    def forward(self, x):
        return self.head(self.features(x))


def change_after_one_step(net, x, lr):
    """The change of the output in one step of gradient descent on the output itself, over lr."""
    before = net(x)
    parameters = list(net.branches.parameters())
    gradients = torch.autograd.grad(before.sum(), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= lr * gradient
        return float(before - net(x)) / lr


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_fixup_network_is_the_identity_at_first(layers):
    net = Residual(8, layers)
    initialize(net, "he_normal", generator=seeded())
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bias" in name:
                parameter.fill_(0.3)
    assert fixup_(net.branches, net.head) == list(net.branches)
    x = torch.randn(5, WIDTH, generator=seeded(1))
    assert torch.equal(net.features(x), x)
    assert not net(x).any()


@pytest.mark.parametrize(("blocks", "layers"), [(16, 2), (16, 3), (81, 5), (9, 1)])
def test_fixup_scales_all_weights_of_a_branch_but_the_last(blocks, layers):
    net = Residual(blocks, layers, width=4)
    before = copy.deepcopy(net)
    fixup_(net.branches)
    # 16 ** (-1/2) = 1/4 for 2 layers, 16 ** (-1/4) = 1/2 for 3, 81 ** (-1/8) = 3 ** (-1/2) for 5.
    factor = {(16, 2): 0.25, (16, 3): 0.5, (81, 5): 3**-0.5, (9, 1): None}[blocks, layers]
    for old, new in zip(before.branches, net.branches, strict=True):
        assert not new[-1].weight.any()
        assert not new[-1].bias.any()
        for one, two in zip(list(old)[:-1:2], list(new)[:-1:2], strict=True):
            torch.testing.assert_close(two.weight, one.weight * factor)
            assert torch.equal(two.bias, one.bias)
    assert torch.equal(net.head.weight, before.head.weight)


def fixup_change(blocks, layers, seed, bias=False):
    """The change in one step, over the squared norms of head and input."""
    net = Residual(blocks, layers, bias=bias).double()
    initialize(net, "he_normal", generator=seeded(seed))
    fixup_(net.branches)
    x = torch.randn(1, WIDTH, generator=seeded(seed + 50), dtype=torch.float64)
    head = net.head.weight.detach()
    return change_after_one_step(net, x, 1e-6) / float(head.square().sum() * x.square().sum())


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("blocks", [2, 4, 8, 16, 32, 64])
def test_one_step_changes_the_output_of_a_fixup_network_alike_at_any_depth(blocks, layers):
    # Only the last layers move at first: L of them, each with activations of |x|**2 / L.
    change = sum(fixup_change(blocks, layers, seed) for seed in range(6)) / 6
    assert change == pytest.approx(1, rel=0.15)


def test_a_bias_of_the_last_layer_moves_the_output_more_in_a_deeper_network():
    # L biases, each of which moves by the same.
    extra = [fixup_change(n, 2, 0, bias=True) - fixup_change(n, 2, 0) for n in (2, 32)]
    assert extra[1] / extra[0] == pytest.approx(16, rel=0.05)


def test_without_the_scale_one_step_grows_with_depth():
    changes = []
    for blocks in (2, 32):
        net = Residual(blocks, 2, bias=False).double()
        initialize(net, "he_normal", generator=seeded())
        with torch.no_grad():
            for branch in net.branches:
                branch[-1].weight.zero_()
        x = torch.randn(1, WIDTH, generator=seeded(50), dtype=torch.float64)
        changes.append(change_after_one_step(net, x, 1e-6))
    assert changes[1] / changes[0] == pytest.approx(16, rel=0.3)


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        return x * self.factor


def test_fixup_keeps_scalars_and_knows_convolutions():
    branch = nn.Sequential(nn.Conv2d(2, 2, 3), Scalar(), nn.PReLU(), nn.ConvTranspose2d(2, 2, 3))
    other = copy.deepcopy(branch)
    before = branch[0].weight.detach().clone()
    fixup_(iter([branch, other]), nn.Linear(2, 2, bias=False))
    torch.testing.assert_close(branch[0].weight.detach(), before / 2**0.5)
    assert float(branch[1].factor.detach()) == 3
    assert not branch[3].weight.any()


def linear():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


def normed_bias():
    return parametrizations.weight_norm(nn.Linear(4, 4), "bias", dim=None)


SHARED = linear()


@pytest.mark.parametrize(
    ("branches", "sentence"),
    [
        ([], "branches must hold at least one residual branch, got none"),
        ([linear(), nn.ReLU()], r"^branch 2 .ReLU. has no weight layer"),
        ([SHARED, linear(), SHARED], "^the branches hold a weight twice"),
        ([nn.Sequential(SHARED[0], SHARED[0])], "^the branches hold a weight twice"),
        ([nn.Sequential(linear(), nn.LayerNorm(4))], r"^branch 0: 1 .LayerNorm. is no linear lay"),
        ([nn.LSTM(4, 4)], r"^branch 0: the model itself .LSTM. is no linear layer"),
        ([nn.MultiheadAttention(4, 2)], r"^branch 0: the model itself .MultiheadAttention. is no"),
        ([nn.LazyLinear(4)], "has no shape yet"),
        ([parametrizations.weight_norm(nn.Linear(4, 4))], "^weight is parametrized: set it before"),
        ([normed_bias()], "^bias is parametrized: set it before"),
    ],
)
def test_branches_that_fixup_does_not_fit_are_refused_and_nothing_is_changed(branches, sentence):
    first = linear()
    before = first[0].weight.detach().clone()
    with pytest.raises(ValueError, match=sentence):
        fixup_([first, *branches] if branches and "branch 0" not in sentence else branches)
    assert torch.equal(before, first[0].weight)


def test_a_head_must_be_one_layer():
    with pytest.raises(TypeError, match="head must be a linear layer or a convolution, got Seque"):
        fixup_([linear()], linear())
    with pytest.raises(ValueError, match=r"^head.weight is on the meta device"):
        fixup_([linear()], nn.Linear(4, 2, device="meta"))


def test_a_rezero_network_is_the_identity_and_learns_alpha_first():
    net = nn.Sequential(*(ReZero(linear()) for _ in range(64)))
    initialize(net, "he_normal", generator=seeded())
    x = torch.randn(3, 4, generator=seeded(1), requires_grad=True)
    y = net(x)
    assert torch.equal(y, x)
    cotangent = torch.randn(y.shape, generator=seeded(2))
    y.backward(cotangent)
    assert torch.equal(x.grad, cotangent)
    for block in net:
        expected = (block.branch(x.detach()).detach() * cotangent).sum()
        torch.testing.assert_close(block.alpha.grad, expected)
        assert not any(parameter.grad.any() for parameter in block.branch.parameters())


def test_rezero_adds_alpha_times_its_branch():
    block = ReZero(linear())
    with torch.no_grad():
        block.alpha.fill_(0.5)
    x = torch.randn(3, 4, generator=seeded())
    torch.testing.assert_close(block(x), x + block.branch(x) / 2)
    block.reset_parameters()
    assert torch.equal(block(x), x)


def test_rezero_refuses_a_branch_of_another_shape():
    with pytest.raises(ValueError, match=r"shape of its inputs, got \(3, 1\) from \(3, 4\)"):
        ReZero(nn.Linear(4, 1))(torch.zeros(3, 4))
