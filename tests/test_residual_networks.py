"""Residual networks: closed forms against Monte Carlo, measurements against autograd, modules."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import nn

from gradcourse import theory
from gradcourse.initialization import ReZero, fixup_, initialize
from gradcourse.models import ResidualBlock, ResidualMLP, TransformerBlock
from gradcourse.signals import residual_signal
from gradcourse.signals.weights import base_weights

# Theory


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(("first", "second"), [(1.0, 2.0), (2.0, 2.0), (1 / 3, 1 / 3)])
@pytest.mark.parametrize("skip", [1.0, 0.9, 0.0])
def test_two_blocks_multiply_both_mean_squares_as_theory_says_at_any_width(
    scale, first, second, skip
):
    generator = torch.Generator().manual_seed(0)
    count, width = 20_000, 4
    x = torch.randn(count, width, 1, generator=generator).double()
    start, jacobian = x, torch.eye(width).double()
    for _ in range(2):
        one = torch.randn(count, width, width, generator=generator).double()
        two = torch.randn(count, width, width, generator=generator).double()
        one, two = one * math.sqrt(first / width), two * math.sqrt(second / width)
        inside = one @ x
        jacobian = (skip * torch.eye(width) + scale * two @ ((inside > 0) * one)) @ jacobian
        x = skip * x + scale * two @ inside.relu()
    cotangent = torch.randn(count, width, 1, generator=generator).double()
    gain = theory.relu_branch_gain(first, second)
    predicted = 100 ** float(theory.log10_residual_norm(2, scale, gain, skip))
    forward = x.square().sum() / start.square().sum()
    backward = (jacobian.mT @ cotangent).square().sum() / cotangent.square().sum()
    assert float(forward) == pytest.approx(predicted, rel=0.06, abs=1e-12)
    assert float(backward) == pytest.approx(predicted, rel=0.06, abs=1e-12)


def test_the_quoted_growths():
    assert 100 ** theory.log10_residual_norm(10) == pytest.approx(2**10)
    growths = [100 ** float(theory.log10_residual_norm(n, n**-0.5)) for n in (1, 10, 10**6)]
    assert growths == pytest.approx([2, 1.1**10, math.e], rel=1e-5)
    assert theory.log10_residual_norm(3, 0.0, skip_scale=0.0) == -math.inf
    assert theory.log10_residual_norm(0, 0.0, skip_scale=0.0) == 0


@settings(deadline=None, max_examples=200)
@given(cosine=st.floats(-1, 1))
def test_relu_cosine_is_the_integral_it_stands_for(cosine):
    # relu(u) relu(v) in polar coordinates, where both are positive: E[r**2] = 2.
    turn = math.acos(cosine)

    def product(angle):
        return math.cos(angle) * math.cos(angle - turn) * 2 / (2 * math.pi)

    mean = integrate.quad(product, turn - math.pi / 2, math.pi / 2)[0]
    assert float(theory.relu_cosine(cosine)) == pytest.approx(mean / 0.5, abs=1e-9)


def test_the_stream_of_a_wide_transformer_grows_as_theory_says():
    torch.manual_seed(0)
    width, tokens, depth = 256, 6, 8
    x = torch.randn(8, tokens, width)
    sizes = [1.0]
    for _ in range(depth):
        block = TransformerBlock(width, heads=2, activation="relu")
        initialize(block, "xavier_normal")
        with torch.no_grad():
            block.attention.in_proj_weight[:width] = 0
            x = block(x)
        sizes.append(float(x.square().mean().sqrt()))
    assert theory.pre_norm_stream(depth, tokens) == pytest.approx(sizes, rel=0.04)


def test_a_stream_of_one_token_adds_its_gains_and_a_long_one_grows_like_the_root():
    one = theory.pre_norm_stream(5, 1, 0.5, 0.25)
    assert one**2 == pytest.approx(1 + 0.75 * np.arange(6))
    long = theory.pre_norm_stream(4096, 8)
    assert long[4096] / long[1024] == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.log10_residual_norm(-1), "blocks must be finite, 0 or more, got -1"),
        (lambda: theory.log10_residual_norm(1, 1, -2), "branch_gain must be .* got -2"),
        (lambda: theory.relu_branch_gain(-1, 1), "first_variance must be .* got -1"),
        (lambda: theory.relu_branch_gain(1, math.inf), "second_variance must be .* got inf"),
        (lambda: theory.pre_norm_stream(-1, 2), "depth must be 0 or more, got -1"),
        (lambda: theory.pre_norm_stream(1, 0), "tokens must be 1 or more, got 0"),
        (
            lambda: residual_signal(torch.ones(2, 3), blocks=0),
            "blocks must be 1 or more, got 0",
        ),
        (lambda: residual_signal(torch.ones(2, 3), branch_scale=0.0), "branch_scale must be betw"),
        (lambda: residual_signal(torch.ones(2, 3), branch_scale=[]), "branch_scale must hold at l"),
        (lambda: residual_signal(torch.ones(3)), r"inputs must be a tensor of shape \(batch"),
        (lambda: ResidualMLP(4, 4, 0, 2), "blocks must be 1 or more, got 0"),
        (lambda: ResidualBlock(0), "width must be 1 or more, got 0"),
        (lambda: TransformerBlock(8, norm="mid"), "norm must be one of pre, post, none, got 'mid'"),
        (lambda: TransformerBlock(8, heads=3), "heads must divide the width 8, got 3"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}[^\n]*$"):
        call()


# Measurement


def plain_run(inputs, width, blocks, scale, skip, seed, dtype):
    """Run one network with autograd and return what lies behind each block, and its gradient."""
    weights = base_weights(inputs.shape[1], width, seed, 1, torch.device("cpu"))
    first = weights.layer(1)[0][0].to(dtype) / math.sqrt(inputs.shape[1])
    stream = [(inputs.to(dtype) @ first.mT).requires_grad_()]
    for block in range(1, blocks + 1):
        one = weights.layer(2 * block)[0][0].to(dtype) / math.sqrt(width)
        two = weights.layer(2 * block + 1)[0][0].to(dtype) * math.sqrt(2 / width)
        change = scale * torch.relu(stream[-1] @ one.mT) @ two.mT
        stream.append(stream[-1] + change if skip else change)
        stream[-1].retain_grad()
    stream[-1].backward(weights.cotangents(len(inputs))[0].to(dtype))
    return [one.detach() for one in stream], [one.grad for one in stream]


@settings(deadline=None, max_examples=25)
@given(
    width=st.integers(2, 12),
    blocks=st.integers(1, 30),
    scale=st.floats(0.05, 20),
    skip=st.booleans(),
    size=st.sampled_from([1e-12, 1.0, 1e15]),
    seed=st.integers(0, 5),
)
def test_sizes_are_those_of_a_float64_run_with_autograd(width, blocks, scale, skip, size, seed):
    inputs = size * torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    signal = residual_signal(inputs, width, blocks, [0.3, scale], skip, seeds=2, first_seed=seed)
    for row, one in enumerate((0.3, scale)):
        stream, grads = plain_run(inputs, width, blocks, one, skip, seed + 1, torch.float64)
        for block in range(blocks + 1):
            rms = float(stream[block].square().mean().sqrt())
            found = signal.log10_activation[row, 1, block]
            assert found == pytest.approx(math.log10(rms) if rms else -math.inf, abs=1e-3)
            norm = float(grads[block].norm())
            found = signal.log10_gradient[row, 1, block]
            assert found == pytest.approx(math.log10(norm) if norm else -math.inf, abs=1e-3)


@pytest.mark.parametrize(
    ("scale", "skip", "events"),
    [(3.0, True, "both overflow"), (0.05, False, "underflow"), (0.5, True, "none")],
)
def test_events_are_where_a_plain_float32_run_has_them(scale, skip, events):
    inputs = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    signal = residual_signal(inputs, 16, 150, scale, skip, seeds=1, first_seed=4)
    over, _ = plain_run(inputs, 16, 150, scale, skip, 4, torch.float32)
    broken = [block for block, one in enumerate(over) if not bool(one.isfinite().all())]
    assert signal.forward_overflow == [min(broken, default=None)]
    # Autograd's own float32 sums may overflow a block sooner; exact gradients do not depend on how.
    _, exact = plain_run(inputs, 16, 150, scale, skip, 4, torch.float64)
    largest = [float(one.abs().max()) for one in exact]
    over = [block for block, one in enumerate(largest) if one >= 2.0**128]
    under = [block for block, one in enumerate(largest) if one <= 2.0**-150]
    assert signal.backward_overflow == [max(over, default=None)]
    assert signal.underflow == [max(under, default=None)]
    assert (
        events
        == {
            (True, True, False): "both overflow",
            (False, False, True): "underflow",
            (False, False, False): "none",
        }[bool(broken), bool(over), bool(under)]
    )


def test_seeds_and_scales_do_not_depend_on_their_neighbours():
    inputs = torch.ones(2, 3)
    many = residual_signal(inputs, 8, 20, [0.1, 0.7, 2.0], seeds=5, first_seed=3)
    one = residual_signal(inputs, 8, 20, 0.7, seeds=1, first_seed=5)
    assert many.log10_gradient[1, 2] == pytest.approx(one.log10_gradient[0, 0], abs=1e-5)
    assert many.branch_scales.tolist() == [0.1, 0.7, 2.0]
    assert np.all(many.log10_gradient[..., -1] == pytest.approx(0, abs=1e-6))


# Modules


def test_a_residual_block_adds_its_scaled_branch():
    torch.manual_seed(0)
    block = ResidualBlock(6, scale=0.3)
    x = torch.randn(4, 6)
    by_hand = block.branch[2](torch.relu(block.branch[0](x)))
    assert torch.allclose(block(x), x + 0.3 * by_hand)
    block.skip = False
    assert torch.allclose(block(x), 0.3 * by_hand)


def test_a_residual_mlp_hands_its_options_to_its_blocks():
    net = ResidualMLP(5, 7, 3, 2, scale=0.5, skip=False, activation="tanh", bias=False)
    assert net(torch.zeros(4, 5)).shape == (4, 2)
    assert len(net.blocks) == 3
    assert all(block.scale == 0.5 and not block.skip for block in net.blocks)
    assert all(isinstance(block.branch[1], nn.Tanh) for block in net.blocks)
    assert not any(name.endswith("bias") for name, _ in net.named_parameters())
    weights = [one for one in net.modules() if isinstance(one, nn.Linear)]
    assert len(weights) == 2 * 3 + 2


def test_rezero_and_fixup_make_the_blocks_of_a_residual_mlp_the_identity():
    net = ResidualMLP(5, 7, 3, 2, bias=False)
    x = torch.randn(4, 7)
    assert not torch.allclose(net.blocks(x), x)
    rezero = nn.Sequential(*(ReZero(block.branch) for block in net.blocks))
    assert torch.equal(rezero(x), x)
    fixup_([block.branch for block in net.blocks])
    assert torch.equal(net.blocks(x), x)


def test_transformer_blocks_put_the_norm_where_they_say():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8)
    for norm in ("pre", "post", "none"):
        for skip in (True, False):
            block = TransformerBlock(8, heads=2, norm=norm, skip=skip, activation="tanh")
            with torch.no_grad():
                for one in (block.norm1, block.norm2):
                    if norm != "none":
                        one.weight.uniform_(0.5, 2)
                attend = lambda t, b=block: b.attention(t, t, t, need_weights=False)[0]  # noqa: E731
                y = x
                for one, branch in ((block.norm1, attend), (block.norm2, block.feed_forward)):
                    change = branch(one(y) if norm == "pre" else y)
                    y = y + change if skip else change
                    y = one(y) if norm == "post" else y
                assert torch.allclose(block(x), y, atol=1e-6), (norm, skip)
