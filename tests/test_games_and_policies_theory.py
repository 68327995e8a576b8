"""The smallest GAN, the noise of REINFORCE, and the corridor, against independent oracles."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from gradcourse import theory

rates = st.floats(0.01, 3.0)


def by_autograd(place, a, b, loss, penalty, alternating):
    """Take one step of the smallest GAN with torch's own gradients."""
    sample, score = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in place)

    def critic_step():
        if loss == "Wasserstein":
            cost = score * sample - score * 0.0
        else:
            cost = torch.nn.functional.softplus(score * sample)
        (slope,) = torch.autograd.grad(cost + penalty / 2 * score**2, score)
        return score - b * slope

    def generator_step(critic):
        cost = -critic * sample
        if loss == "logistic":
            cost = torch.nn.functional.softplus(cost)
        (slope,) = torch.autograd.grad(cost, sample)
        return sample - a * slope

    moved = critic_step()
    answered = generator_step(moved if alternating else score)
    return [answered.item(), moved.item()]


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize(
    ("loss", "slope", "size"), [("Wasserstein", 1, 1.0), ("logistic", 0.5, 1e-5)]
)
def test_a_step_of_the_smallest_gan_is_what_autograd_takes(loss, slope, size, alternating):
    place = size * np.array([0.7, -0.4])
    predicted = theory.dirac_gan_step(0.3, 0.8, slope, 0.6, alternating) @ place
    taken = by_autograd(place, 0.3, 0.8, loss, 0.6, alternating)
    assert predicted == pytest.approx(taken, rel=1e-5, abs=1e-9 * size)


@given(rates, rates, st.sampled_from([0.5, 1.0]))
def test_without_a_penalty_the_rates_have_closed_forms(a, b, slope):
    product = a * b * slope**2
    assert theory.dirac_gan_rate(a, b, slope) == pytest.approx(math.sqrt(1 + product))
    if product < 3.99:
        # A defective matrix, for tiny products, has eigenvalues good to half the digits.
        assert theory.dirac_gan_rate(a, b, slope, alternating=True) == pytest.approx(1, abs=1e-6)


@given(rates, rates, st.sampled_from([0.5, 1.0]), st.booleans())
def test_the_gan_converges_exactly_between_the_two_penalties(a, b, slope, alternating):
    low, high = theory.dirac_gan_penalties(a, b, slope, alternating)

    def rate(penalty):
        return theory.dirac_gan_rate(a, b, slope, penalty, alternating)

    if low < high:
        assert rate((low + high) / 2) < 1
        if low > 0:
            assert rate(0.99 * low) > 1
        assert rate(high * 1.01 + 0.01) > 1
    else:
        assert min(rate(penalty) for penalty in np.linspace(0, 4 / b, 50)) >= 1 - 1e-9


def test_a_path_is_one_step_after_the_other():
    step = theory.dirac_gan_step(0.4, 0.2, 0.5, 0.3, True)
    path = theory.dirac_gan_path(7, 0.4, 0.2, 0.5, 0.3, True, start=(0.3, -1.0))
    assert path.shape == (8, 2)
    assert path[-1] == pytest.approx(np.linalg.matrix_power(step, 7) @ [0.3, -1.0])


def test_the_mean_distance_in_a_mixture_is_what_samples_have():
    centres = np.array([[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]])
    source = np.random.default_rng(0)
    one, other = (
        centres[source.integers(3, size=400_000)] + 0.3 * source.standard_normal((400_000, 2))
        for _ in range(2)
    )
    lengths = np.linalg.norm(one - other, axis=1)
    error = 4 * lengths.std() / math.sqrt(lengths.size)
    assert theory.mixture_distance(centres, 0.3) == pytest.approx(lengths.mean(), abs=error)


def enumerated(logits, rewards, horizon, baseline, to_go):
    """Return mean and total variance of one episode's gradient, over all episodes there are."""
    policy = softmax(logits)
    mean, square = np.zeros(len(policy)), 0.0
    for arms in itertools.product(range(len(policy)), repeat=horizon):
        chance = np.prod(policy[list(arms)])
        paid = np.array(rewards)[list(arms)] - baseline
        total = np.zeros(len(policy))
        for step, arm in enumerate(arms):
            counted = paid[step:].sum() if to_go else paid.sum()
            total += counted * (np.eye(len(policy))[arm] - policy)
        mean += chance * total
        square += chance * total @ total
    return mean, square - mean @ mean


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-5, 5)), min_size=2, max_size=4),
    st.integers(1, 4),
    st.floats(-5, 5),
    st.booleans(),
)
def test_the_noise_of_reinforce_is_that_of_all_episodes(arms, horizon, baseline, to_go):
    logits, rewards = zip(*arms, strict=True)
    moments = theory.score_moments(logits, rewards)
    mean, variance = enumerated(logits, rewards, horizon, baseline, to_go)
    assert horizon * moments.gradient == pytest.approx(mean, abs=1e-9)
    predicted = theory.reinforce_variance(moments, horizon, baseline, to_go)
    assert predicted == pytest.approx(variance, rel=1e-9, abs=1e-9)


def test_the_gradient_of_the_mean_reward_is_autograds():
    logits = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([1.0, 4.0, -2.0], dtype=torch.float64)
    (torch.softmax(logits, 0) @ rewards).backward()
    moments = theory.score_moments(logits.detach().numpy(), rewards.numpy())
    assert moments.gradient == pytest.approx(logits.grad.numpy())


def test_noise_in_the_reward_is_one_more_arm_on_either_side():
    # A reward of 3 +- 2 with even odds has the first two moments of one with deviation 2.
    policy = softmax([0.3, -0.4])
    noisy = theory.score_moments([0.3, -0.4], [3.0, 1.0], reward_std=2.0)
    score = np.array([[1, 0], [0, 1]]) - policy
    lengths = (score**2).sum(1)
    outcomes = [
        (policy[arm] / 2, reward + side, lengths[arm])
        for arm, reward in enumerate((3.0, 1.0))
        for side in (-2.0, 2.0)
    ]
    value = sum(p * r for p, r, _ in outcomes)
    assert noisy.value == pytest.approx(value)
    assert noisy.variance == pytest.approx(sum(p * (r - value) ** 2 for p, r, _ in outcomes))
    assert noisy.weighted == pytest.approx(sum(p * (r - value) ** 2 * s for p, r, s in outcomes))
    assert noisy.tilt == pytest.approx(sum(p * (r - value) * s for p, r, s in outcomes))


def test_no_baseline_beats_the_best_one():
    moments = theory.score_moments([1.0, -1.0, 0.0], [0.0, 5.0, 2.0], 0.5)
    found = minimize_scalar(lambda b: theory.reinforce_variance(moments, 1, b)).x
    assert moments.best_baseline == pytest.approx(found, abs=1e-6)
    assert moments.best_baseline != pytest.approx(moments.value, abs=0.1)


@given(st.floats(0.02, 0.98))
def test_the_corridors_value_solves_its_three_equations(p):
    # From place 0 right leads on and left stays; in place 1 the actions are switched.
    move = np.array([[1 - p, p, 0], [p, 0, 1 - p], [0, 1 - p, 0]])
    value = np.linalg.solve(np.eye(3) - move, -np.ones(3))[0]
    assert theory.corridor_value(p) == pytest.approx(value)
    logit, small = math.log(p / (1 - p)), 1e-5
    ends = theory.corridor_value(expit(np.array([logit - small, logit + small])))
    assert theory.corridor_slope(p) == pytest.approx((ends[1] - ends[0]) / (2 * small), abs=1e-4)


def test_the_best_walker_in_the_corridor_goes_right_with_probability_0_586():
    found = minimize_scalar(lambda p: -theory.corridor_value(p), bounds=(0.1, 0.9)).x
    assert pytest.approx(found, abs=1e-5) == theory.CORRIDOR_BEST
    assert theory.corridor_value([0.0, 1.0]).tolist() == [-math.inf, -math.inf]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.dirac_gan_step(-1, 1), "generator_rate must be .*, got -1"),
        (lambda: theory.dirac_gan_step(1, math.nan), "critic_rate must be .*, got nan"),
        (lambda: theory.dirac_gan_step(1, 1, 0), "slope must be .*, got 0"),
        (lambda: theory.dirac_gan_step(1, 1, penalty=-1), "penalty must be .*, got -1"),
        (lambda: theory.dirac_gan_path(-1, 1, 1), "steps must be 0 or more, got -1"),
        (lambda: theory.mixture_distance([[0, 0]], 0), "spread must be .*, got 0"),
        (lambda: theory.mixture_distance([[0, 0, 0]], 1), r"centres must .*, got \(1, 3\)"),
        (lambda: theory.mixture_distance(np.zeros((0, 2)), 1), r"centres must .*, got \(0, 2\)"),
        (lambda: theory.corridor_value(1.5), "right must be between 0 and 1, got 1.5"),
        (lambda: theory.corridor_slope([0.5, -0.5]), "right must be between 0 and 1, got -0.5"),
        (lambda: theory.corridor_slope(math.nan), "right must be between 0 and 1, got nan"),
        (lambda: theory.score_moments([0, 0], [1]), r"one shape \(arms,\), got \(2,\) and \(1,\)"),
        (lambda: theory.score_moments([0], [1], -1), "reward_std must be .*, got -1"),
        (
            lambda: theory.reinforce_variance(theory.score_moments([0], [1]), 0),
            "horizon must be 1 or more, got 0",
        ),
    ],
)
def test_bad_arguments_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
