"""Closed forms of the transformer lesson: Adam's steps, a softmax's slope, letters, schedules."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcourse import theory


def torch_adam(gradients, betas=(0.9, 0.999)):
    """Return torch's own updates, in learning rates, of weights that get these gradients."""
    weight = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1.0, betas=betas, eps=0.0)
    updates = []
    for gradient in gradients:
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimizer.step()
        updates.append(before - weight.detach())
    return torch.stack(updates)


def test_coin_flips_move_a_weight_of_torchs_adam_as_predicted():
    flips = torch.randint(2, (40, 20_000), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    measured = torch_adam(flips.double()).square().mean(1).sqrt()
    assert theory.adam_noise_update(range(1, 41)) == pytest.approx(measured.numpy(), rel=0.02)
    assert theory.adam_noise_update(1, beta1=0.5) == 1
    assert theory.adam_noise_update(10**6, 0.5) == pytest.approx(math.sqrt(1 / 3))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
@given(spike_at=st.integers(1, 30), size=st.one_of(st.floats(1e-3, 1e4), st.floats(-1e4, -1e-3)))
def test_a_spike_moves_a_weight_of_torchs_adam_as_predicted(betas, spike_at, size):
    gradients = torch.ones(40, 1, dtype=torch.float64)
    gradients[spike_at - 1 : spike_at] = size
    measured = torch_adam(gradients, betas)[:, 0].numpy()
    predicted = theory.adam_spike_update(40, spike_at, size, betas)
    assert predicted == pytest.approx(measured, rel=1e-6, abs=1e-9)


def test_two_normal_scores_have_the_predicted_slopes():
    source = np.random.default_rng(0)
    for variance in (0.3, 1.0, 30.0):
        scores = source.normal(0, math.sqrt(variance), (2, 200_000))
        weight = torch.softmax(torch.from_numpy(scores), 0)[0].numpy()
        slopes = weight * (1 - weight)
        for share in (0.05, 0.5, 0.95):
            predicted = theory.attention_slope(variance, share)
            assert (slopes < predicted).mean() == pytest.approx(share, abs=0.005)
    assert theory.attention_slope(0.0) == 0.25
    assert theory.attention_slope([1e6])[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("length", "symbols"), [(1, 3), (3, 1), (3, 2), (4, 3), (6, 4)])
def test_letters_only_is_the_mean_over_all_sequences(length, symbols):
    losses, right = [], []
    for sequence in itertools.product(range(symbols), repeat=length):
        counts = np.bincount(sequence, minlength=symbols)
        losses.append(-np.log(counts[list(sequence)] / length).mean())
        right.append(counts.max() / length)
    assert theory.letters_only(length, symbols) == pytest.approx((np.mean(losses), np.mean(right)))


@given(data=st.data(), total=st.integers(2, 60), final=st.floats(0, 1))
def test_the_schedule_is_torchs_own_from_two_parts(data, total, final):
    warmup = data.draw(st.integers(1, total - 1))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedulers = torch.optim.lr_scheduler
    first = schedulers.LinearLR(optimizer, 1 / warmup, total_iters=max(warmup - 1, 1))
    if warmup == 1:
        first = schedulers.ConstantLR(optimizer, 1.0, total_iters=0)
    then = schedulers.CosineAnnealingLR(optimizer, total - warmup, eta_min=final)
    both = schedulers.SequentialLR(optimizer, [first, then], [warmup])
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    predicted = theory.warmup_cosine_factor(np.arange(1, total + 1), warmup, total, final)
    assert predicted == pytest.approx(rates, abs=1e-9)


def test_a_schedule_starts_above_0_and_stays_at_its_end():
    assert theory.warmup_cosine_factor([1, 2], 0, 10)[0] == 1
    assert theory.warmup_cosine_factor([1, 10, 11, 99], 10, 10, 0.1).tolist() == [0.1, 1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        (theory.adam_noise_update, (0,), "step must be finite, 1 or more, got 0"),
        (theory.adam_noise_update, (1, 1.0), "beta1 must be 0 or more and below 1, got 1"),
        (theory.adam_spike_update, (0, 1, 2.0), "steps must be 1 or more, got 0"),
        (theory.adam_spike_update, (5, 0, 2.0), "spike_at must be 1 or more, got 0"),
        (theory.adam_spike_update, (5, 1, 2.0, (0.9, -1)), "beta2 must be .*, got -1"),
        (theory.attention_slope, (-1.0,), "score_variance must be finite, 0 or more, got -1"),
        (theory.attention_slope, (1.0, 2.0), "share must be between 0 and 1, got 2"),
        (theory.letters_only, (0, 3), "length must be 1 or more, got 0"),
        (theory.letters_only, (3, 0), "symbols must be 1 or more, got 0"),
        (theory.warmup_cosine_factor, (0, 1, 2), "update must be finite, 1 or more, got 0"),
        (theory.warmup_cosine_factor, (1, 3, 2), "warmup must be at most total, 2, got 3"),
        (theory.warmup_cosine_factor, (1, 0, 2, 1.5), "final must be between 0 and 1, got 1.5"),
    ],
)
def test_bad_arguments_get_one_sentence(function, arguments, sentence):
    with pytest.raises(ValueError, match=rf"^{sentence}$"):
        function(*arguments)
