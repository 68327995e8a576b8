"""Lesson 12: its critics, its games, its policies and its checks."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.parametrizations import spectral_norm

from gradcourse import theory
from gradcourse.lessons import gans_and_policies as lesson
from gradcourse.lessons.gans_and_policies import critic as critics
from gradcourse.lessons.gans_and_policies import noise as noises
from gradcourse.lessons.gans_and_policies import plane
from gradcourse.models import MLP, seeded


def last(generator):
    *_, result = generator
    return result


def net(seed, out=1):
    return seeded(seed, lambda: MLP(2, 8, 2, out, activation="leaky_relu"))


# Spectral normalisation


def test_power_iteration_is_torchs_step_for_step():
    layer = seeded(0, lambda: spectral_norm(nn.Linear(7, 5), n_power_iterations=1))
    inside = layer.parametrizations.weight
    raw = inside.original.detach()
    rough = seeded(3, lambda: torch.randn(5))
    inside[0]._u.copy_(rough / rough.norm())
    inside[0]._v.copy_(torch.nn.functional.normalize(raw.T @ rough, dim=0))
    power = lesson.PowerIteration(raw[None], rough[None])
    before = power.norms(raw[None]).item()
    for _ in range(6):
        power.step(raw[None])
        torch.testing.assert_close(raw / power.norms(raw[None])[0], layer.weight.detach())
    assert power.norms(raw[None]).item() > 1.1 * before


def test_stacked_networks_are_the_networks():
    networks = [net(seed) for seed in range(3)]
    stack = lesson.Stack(networks)
    inputs = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([one(part) for one, part in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(stack(inputs), expected)


def test_stacked_spectral_norm_gives_torchs_outputs_and_gradients():
    networks = [net(seed) for seed in range(2)]
    stack = lesson.Stack(networks, spectral=True)
    for _ in range(300):
        stack.iterate()
    inputs = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(1))
    stack(inputs).sum().backward()
    for row, network in enumerate(networks):
        for place in (0, 2, 4):
            network[place] = spectral_norm(network[place])
        for _ in range(300):
            network(inputs[row])
        torch.testing.assert_close(stack(inputs)[row], network(inputs[row]), atol=1e-5, rtol=1e-4)
        network(inputs[row]).sum().backward()
        for layer, place in enumerate((0, 2, 4)):
            expected = network[place].parametrizations.weight.original.grad
            torch.testing.assert_close(
                stack.weights[layer].grad[row], expected, atol=1e-4, rtol=1e-3
            )
    assert stack.bound().numpy() == pytest.approx(1, abs=1e-3)


# Critics


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("normed", [False, True])
def test_input_gradients_are_those_of_autograd(activation, normed):
    result = lesson.measure_critics(1.7, 16, activation, 50, seeds=2, first_seed=3)
    (first,), hidden, (last_layer,) = critics._stacks(16, 2, 3)[0]
    depth, angles = 4, torch.arange(critics.POINTS) * (2 * math.pi / critics.POINTS)
    function = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[activation]
    found = []
    for seed in range(2):
        matrices = [first[seed], *hidden[1:depth, seed], last_layer[seed]]
        matrices = [
            one / torch.linalg.matrix_norm(one, ord=2) if normed else 1.7 * one for one in matrices
        ]
        places = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)
        value = places.requires_grad_()
        for matrix in matrices[:-1]:
            value = function(value @ matrix.T)
        (value @ matrices[-1].T).sum().backward()
        found.append(places.grad.norm(dim=1).max().item())
    measured = (result.spectral if normed else result.plain).largest[depth - 1]
    assert measured == pytest.approx(np.median(np.log10(found)), abs=2e-3)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "leaky_relu"])
def test_no_input_gradient_exceeds_its_bound(activation):
    result = lesson.measure_critics(activation=activation, first_seed=7)
    assert result.plain.excess < 1e-6
    assert result.spectral.excess < 1e-6


def test_the_bound_is_the_product_of_norms_and_slopes():
    result = lesson.measure_critics(2.0, 32, "gelu", 200)
    hidden_layers = np.arange(1, critics.DEPTH + 1)
    steepest = math.log10(1.1289)
    assert result.spectral.bound == pytest.approx(hidden_layers * steepest, abs=2e-3)
    relu = lesson.measure_critics(2.0, 32, "relu", 200)
    assert result.plain.bound - relu.plain.bound == pytest.approx(
        hidden_layers * steepest, abs=1e-3
    )
    one = lesson.measure_critics(2.0, 32, "relu", 200, seeds=1)
    first, hidden, readout = critics._stacks(32, 1, 0)[0]
    matrices = [2 * first[0, 0], 2 * hidden[1, 0], 2 * readout[0, 0]]
    product = math.prod(torch.linalg.svdvals(matrix)[0].item() for matrix in matrices)
    assert 10 ** one.plain.bound[1] == pytest.approx(product, rel=1e-4)
    # A square matrix of variance 4/n stretches by 4 at most, if it is large.
    wide = lesson.measure_critics(2.0, 128, "relu", 1)
    assert np.diff(wide.plain.bound) == pytest.approx(math.log10(4), abs=0.03)


def test_a_spectral_critic_is_the_plain_one_divided_by_what_its_estimate_says(monkeypatch):
    # An estimate of 1 divides nothing out: weights and bound keep their scale.
    monkeypatch.setattr(critics, "_estimate", lambda stack, *_: torch.ones(stack.shape[:2]))
    result = lesson.measure_critics(3.0, 16)
    assert result.spectral.largest == pytest.approx(result.plain.largest)
    assert result.spectral.bound == pytest.approx(result.plain.bound)


def test_wide_critics_follow_theory():
    for scale, activation in ((1.4, "relu"), (1.0, "tanh")):
        result = lesson.measure_critics(scale, 128, activation)
        for one in (result.plain, result.spectral):
            assert one.usual[1:] == pytest.approx(one.predicted[1:], abs=0.35)
    plain = lesson.measure_critics(1.4, 128, "relu").plain.predicted
    assert plain == pytest.approx(np.log10(1.4) + hidden_gain(1.4) * np.arange(1, 13), abs=1e-9)


def hidden_gain(scale):
    return math.log10(scale**2 / 2) / 2


# The smallest GAN


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("loss", ["Wasserstein", "logistic"])
def test_the_smallest_gan_plays_as_torchs_optimizers_do(loss, alternating):
    cost = {"Wasserstein": lambda x: x, "logistic": softplus}[loss]
    sample, score = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.0, 0.0))
    generator, critic = torch.optim.SGD([sample], lr=0.3), torch.optim.SGD([score], lr=0.7)
    path = lesson.play(20, 0.3, 0.7, 0.4, alternating, loss)
    for place in path[1:]:
        (down,) = torch.autograd.grad(cost(score * sample) + 0.2 * score**2, score)
        if not alternating:
            (sample.grad,) = torch.autograd.grad(cost(-score * sample), sample)
        score.grad = down
        critic.step()
        if alternating:
            (sample.grad,) = torch.autograd.grad(cost(-score * sample), sample)
        generator.step()
        assert place == pytest.approx([sample.item(), score.item()])


def test_clipped_steps_have_one_length_and_go_round():
    path = lesson.play(50, 0.2, 0.2, max_norm=0.5)
    assert np.hypot(*np.diff(path, axis=0).T) == pytest.approx(0.1)
    assert np.hypot(*path.T) ** 2 == pytest.approx(1 + 0.01 * np.arange(51))


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
@pytest.mark.parametrize("loss", list(lesson.LOSSES))
def test_near_the_equilibrium_the_game_is_linear(loss, updates):
    result = lesson.measure_spiral(0.4, 0.8, 0.7, updates, loss)
    assert result.rates == pytest.approx(result.predicted_rates, abs=0.02)
    assert result.here == pytest.approx(result.predicted_here, abs=0.01)
    if loss == "Wasserstein":
        assert result.path == pytest.approx(result.predicted, abs=1e-9)
        assert result.distance == pytest.approx(result.predicted_distance, abs=1e-6)


def test_the_summary_of_a_spiral_names_the_penalties_that_converge():
    assert "penalties from 0.2 to 10.1" in lesson.measure_spiral().summary()


def test_the_summary_of_a_spiral_answers_for_the_step_that_was_asked():
    said = lesson.measure_spiral(0.2, 0.2, 0.0, "simultaneous", "Wasserstein").summary()
    assert f"{1.04**50:.3g} after 100 steps" in said
    assert f"{1.04**75:.3g} after 150 steps" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"updates": "random"}, "updates must be simultaneous or alternating, got 'random'"),
        ({"loss": "hinge"}, "loss must be one of Wasserstein, logistic, got 'hinge'"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"critic_rate": 0}, "critic_rate must be .*, got 0"),
        ({"generator_rate": math.nan}, "generator_rate must be .*, got nan"),
    ],
)
def test_games_that_cannot_be_played_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_spiral(**arguments)


# GANs in the plane


@pytest.mark.parametrize("remedy", lesson.REMEDIES)
def test_a_duel_learns_as_two_torch_networks_do(remedy, monkeypatch):
    monkeypatch.setattr(lesson.Duel, "_noise", lambda _self, count: noise[:, :count])
    monkeypatch.setattr(lesson.Duel, "data", lambda _self, count: data[:, :count])
    source = torch.Generator().manual_seed(5)
    noise, data = torch.randn(2, 2, 64, 2, generator=source)
    duel = lesson.Duel([4, 9], [0.3, 0.1], [0.2, 0.5], remedy, max_norm=0.05)
    make = duel_networks
    for row, seed, rates in ((0, 4, (0.3, 0.2)), (1, 9, (0.1, 0.5))):
        generator, critic = make(seed)
        if remedy == "spectral norm":
            for place in (0, 2, 4):
                critic[place] = spectral_norm(critic[place])
            for _ in range(200):
                critic(data[row])
        for player, which in ((critic, 1), (generator, 0)):
            real, fake = data[row].clone().requires_grad_(), generator(noise[row])
            if which:
                loss = softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()
                if remedy == "gradient penalty":
                    (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
                    loss = loss + 0.15 * slope.square().sum(1).mean()
            else:
                loss = softplus(-critic(fake)).mean()
            player.zero_grad()
            loss.backward()
            if remedy == "clipping":
                clip_grad_norm_(player.parameters(), 0.05)
            torch.optim.SGD(player.parameters(), lr=rates[which]).step()
        if row == 0:
            if remedy == "spectral norm":
                for _ in range(200):
                    duel.critic.iterate()
            duel.step()
        ours = duel.generator.weights[1][row], duel.generator.biases[2][row]
        expected = generator[2].weight, generator[4].bias
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        raw = critic[2].parametrizations.weight.original if remedy == "spectral norm" else None
        expected = critic[2].weight if raw is None else raw
        torch.testing.assert_close(duel.critic.weights[1][row], expected, atol=1e-5, rtol=1e-4)


def duel_networks(seed):
    return [
        seeded(number, lambda out=out: MLP(2, 32, 2, out, activation="leaky_relu"))
        for number, out in ((seed, 2), (seed + 500, 1))
    ]


def test_the_energy_distance_is_that_of_its_definition():
    source = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 1, 5, 2, generator=source)

    def mean(first, second):
        pairs = itertools.product(first[0].tolist(), second[0].tolist())
        return np.mean([math.dist(*pair) for pair in pairs])

    expected = 2 * mean(one, other) - mean(one, one) - mean(other, other)
    assert plane._energy(one, other).item() == pytest.approx(expected, abs=1e-5)
    broken = torch.full_like(one, math.nan)
    assert math.isnan(plane._energy(broken, other).item())


def test_perfect_samples_score_what_theory_says():
    mean, low, high = plane._perfect()
    assert low < mean < high
    same = plane.ring(200 * 400, plane.MODES, plane.SPREAD, 5).view(200, 400, 2)
    scores = plane._energy(same[:100], same[100:])
    error = 4 * scores.std().item() / 10
    assert scores.mean().item() == pytest.approx(10**mean, abs=error)


def test_samples_are_judged_by_the_modes_they_cover():
    class Fake:
        def __init__(self, points):
            self.points = points

        def samples(self, _count):
            return self.points[None]

        data = samples

    perfect, _, _ = plane._judge(Fake(plane.ring(1000, 8, 0.1)))
    assert perfect.covered.tolist() == [8]
    assert perfect.near[0] == pytest.approx(-math.expm1(-4.5), abs=0.015)
    assert perfect.good.all()
    two, _, _ = plane._judge(Fake(plane.ring(1000, 2, 0.1)))
    assert two.covered.tolist() == [2]
    far, _, _ = plane._judge(Fake(3 + plane.ring(1000, 8, 0.1)))
    assert (far.covered.tolist(), far.near.tolist()) == ([0], [0.0])


def test_a_gan_reports_its_progress_and_a_broken_one_stops_early(monkeypatch):
    monkeypatch.setattr(plane, "STEPS", 150)
    monkeypatch.setattr(plane, "PAUSE", 0.0)
    seen = list(lesson.measure_gan(0.1, 0.1, "spectral norm", seeds=2))
    assert [one.progress for one in seen] == [0.5, 1.0]
    assert seen[-1].slope.shape == seen[-1].bound.shape == (3, 2)
    assert (seen[-1].slope <= seen[-1].bound + 1e-6).all()
    assert "of 8" in seen[-1].summary()
    broken = last(lesson.measure_gan(1e4, 1e4, seeds=2))
    assert broken.outcome.broken.all()
    assert broken.progress == 1
    assert "2 of 2 seeds end in NaN" in broken.summary()
    assert "nan" not in broken.summary()
    assert np.isfinite(broken.usual_bound[0])


def test_trainings_of_many_rates_come_back_in_their_places():
    outcome = lesson.train_gans("none", [1e-9, 1e4], seeds=2, steps=60)
    assert outcome.broken.tolist() == [[False, False], [True, True]]


def test_a_remedy_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match=r"remedy must be one of none, .*, got 'luck'"):
        next(lesson.measure_gan(remedy="luck"))
    with pytest.raises(ValueError, match=r"critic_rate must be .*, got 0"):
        next(lesson.measure_gan(critic_rate=0))


# Policies


@pytest.mark.parametrize("settings", [{}, {"offset": -2.0}, {"horizon": 2, "reward_std": 2.0}])
def test_measured_noise_is_the_exact_one(settings):
    result = lesson.measure_noise(**settings, first_seed=40)
    for way, (measured, exact) in result.here.items():
        assert measured == pytest.approx(exact, rel=0.06), way
    assert result.against_baseline[0] == pytest.approx(result.predicted_against_baseline, rel=0.06)
    lowest = noises.BASELINES[result.predicted_against_baseline.argmin()]
    assert result.best == pytest.approx(lowest, abs=0.13)


def test_averaging_over_a_batch_divides_the_noise_by_its_root():
    one, many = (lesson.measure_noise(batch=size) for size in (1, 16))
    for way in one.here:
        assert one.here[way][1] / many.here[way][1] == pytest.approx(4)
        assert many.here[way][0] == pytest.approx(many.here[way][1], rel=0.15)
        assert one.needed[way] == pytest.approx(many.needed[way])


def test_the_gradient_of_an_episode_is_autograds():
    episodes = noises._episodes(3)
    logits = torch.tensor(lesson.LOGITS, requires_grad=True)
    policy = torch.distributions.Categorical(logits=logits)
    arms = torch.from_numpy(episodes.arms[:8, 0, 0])
    paid = torch.from_numpy(lesson.REWARDS[episodes.arms[:8, 0, 0]])
    (policy.log_prob(arms).sum() * paid.sum()).backward()
    expected = paid.sum().item() * episodes.sums[7, 0, 0]
    assert logits.grad.numpy() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"horizon": 3}, "horizon must be one of 1, 2, 4, 8, 16, 32, got 3"),
        ({"batch": 101}, "batch must be at most 100, got 101"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"reward_std": -1}, "reward_std must be .*, got -1"),
    ],
)
def test_noise_that_cannot_be_measured_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_noise(**arguments)


def by_hand(chances, share, estimator, baseline=0.0):
    """Walk one episode of the corridor with autograd; return its gradient and its length."""
    logit = torch.tensor(math.log(share / (1 - share)), dtype=torch.float64, requires_grad=True)
    place, log_probs = 0, []
    for chance in chances:
        right = bool(chance < torch.sigmoid(logit).item())
        probability = torch.sigmoid(logit if right else -logit)
        log_probs.append(probability.log())
        forward = right if place != 1 else not right
        place = place + 1 if forward else max(place - 1, 0)
        if place == 3:
            break
    steps = len(log_probs)
    left = [steps if estimator == "whole return" else steps - step for step in range(steps)]
    total = sum((-cost - baseline) * one for cost, one in zip(left, log_probs, strict=True))
    total.backward()
    return logit.grad.item(), steps


@pytest.mark.parametrize("estimator", ["whole return", "reward to go", "to go, baseline"])
def test_a_walkers_gradients_are_autograds(estimator):
    chances = np.random.default_rng(2).random(4000)
    walker = lesson.Walkers(1, estimator, learning_rate=0.0, share=0.4)
    found, begins = [], [0]
    for step, chance in enumerate(chances):
        walker.step(np.array([chance]))
        if np.isfinite(walker.gradient[0]):
            found.append(walker.gradient[0])
            begins.append(step + 1)
    assert len(found) > 100
    mean = math.nan
    for begin, measured in zip(begins[:20], found[:20], strict=True):
        baseline = 0.0 if math.isnan(mean) or "baseline" not in estimator else -mean
        expected, steps = by_hand(chances[begin:], 0.4, estimator, baseline)
        assert measured == pytest.approx(expected)
        mean = steps if math.isnan(mean) else 0.9 * mean + 0.1 * steps


def test_walkers_estimate_the_exact_slope_without_bias():
    chances = np.random.default_rng(0)
    for estimator in ("whole return", "reward to go"):
        walkers = lesson.Walkers(500, estimator, learning_rate=0.0, share=0.4)
        seen = []
        for _ in range(600):
            walkers.step(chances.random(500))
            seen.append(walkers.gradient)
        found = np.concatenate(seen)
        found = found[np.isfinite(found)]
        error = 4 * found.std() / math.sqrt(found.size)
        assert found.mean() == pytest.approx(theory.corridor_slope(0.4), abs=error + 0.15)


def test_a_walker_moves_by_the_clipped_gradient():
    walker = lesson.Walkers(2, learning_rate=0.1, max_norm=np.array([math.inf, 0.5]), cost=3.0)
    chances = np.random.default_rng(1)
    before = walker.logit.copy()
    while not np.isfinite(walker.gradient[0]):
        walker.step(np.full(2, chances.random()))
    free, clipped = walker.logit - before
    assert free == pytest.approx(0.1 * walker.gradient[0])
    assert abs(clipped) == pytest.approx(0.05)


def test_a_small_rate_follows_the_exact_gradient():
    result = last(lesson.measure_corridor(0.0005, max_norm=1e9, walkers=64))
    free, predicted = result.exits[0, 0], result.predicted
    assert free == pytest.approx(predicted, abs=0.12)
    assert np.array_equal(result.exits[0], result.exits[1])
    assert result.acted == 0
    assert 10 ** result.exits[0, 0, 0] == pytest.approx(-theory.corridor_value(0.05))


def test_the_corridor_reports_its_progress_in_words():
    seen = list(lesson.measure_corridor(1.0, cost=100.0, walkers=8))
    assert [one.progress for one in seen] == [0.25, 0.5, 0.75, 1.0]
    assert "nan" not in seen[-1].summary()
    assert "free 1e+" in seen[-1].summary()
    with pytest.raises(ValueError, match=r"estimator must be one of whole return, .*, got 'guess'"):
        next(lesson.measure_corridor(estimator="guess"))
    with pytest.raises(ValueError, match=r"max_norm must be .*, got 0"):
        next(lesson.measure_corridor(max_norm=0))


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_critics, {"weight_scale": 2.0}, {"width": 32}),
        (lesson.measure_spiral, {}, {"penalty": 0.1}),
        (lesson.measure_spiral, {}, {"loss": "logistic"}),
        (lesson.measure_noise, {}, {"offset": 2.0}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=3).prediction == 3
    assert measure(**{**asked, **other}, prediction=3).prediction is None


# The exercises


def stretch(weight, steps):
    v = torch.ones(weight.shape[1])
    for _ in range(steps):
        v = weight.T @ (weight @ v)
        v = v / v.norm()
    return (weight @ v).norm()


def overflowing(weight, steps):
    v = torch.ones(weight.shape[1])
    for _ in range(steps):
        v = weight.T @ (weight @ v)
    return (weight @ (v / v.norm())).norm()


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (stretch, True, "finds the largest singular value"),
        (lambda _w, _s: ..., False, "returns nothing"),
        (lambda w, _s: w, False, "must return one number"),
        (lambda w, _s: w.norm(), False, "Frobenius"),
        (lambda w, s: stretch(w, s) ** 2, False, "take the root"),
        (lambda w, _s: torch.linalg.eigvals(w).abs().max(), False, "largest *eigenvalue*"),
        (lambda _w, _s: 1.0, False, "measure weight @ v"),
        (overflowing, False, "normalise it in every step"),
        (lambda w, _s: stretch(w, 1), False, "stretches by 6 at most"),
        (lambda w, _s: w @ w, False, "must return one number"),
        (lambda w, _s: w.missing, False, "AttributeError"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_largest_stretch(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def go(rewards):
    return rewards.flip(1).cumsum(1).flip(1)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda p, r, b: -(p * (go(r) - b.detach())).sum(1).mean(), True, "is REINFORCE's"),
        (lambda _p, _r, _b: ..., False, "returns nothing"),
        (lambda p, r, b: -(p * (go(r) - b)).sum(1).mean(), False, "detach"),
        (lambda p, r, b: (p * (go(r) - b.detach())).sum(1).mean(), False, "the sign"),
        (lambda p, r, b: -(p * (go(r) - b.detach())).mean(), False, "mean over steps"),
        (lambda p, r, b: -(p * (go(r) - b.detach())).sum(), False, "sum over episodes"),
        (
            lambda p, r, b: -(p * (r.sum(1, keepdim=True) - b.detach())).sum(1).mean(),
            False,
            "whole return",
        ),
        (lambda p, r, b: -(p * (r.cumsum(1) - b.detach())).sum(1).mean(), False, "*before* it"),
        (lambda p, r, b: -(p * (r - b.detach())).sum(1).mean(), False, "own reward only"),
        (lambda p, r, _b: -(p * go(r)).sum(1).mean(), False, "the baseline is missing"),
        (lambda p, r, b: -(p * (go(r) + b.detach())).sum(1).mean(), False, "do not add it"),
        (lambda p, r, b: -(p * (2 * go(r) - b.detach())).sum(1).mean(), False, "is not REINFORCE"),
        (lambda p, r, _b: (p.detach() * r).sum(), False, "has no gradient"),
        (lambda p, r, _b: p * r, False, "one number"),
        (lambda p, r, _b: p @ r, False, "raised RuntimeError"),
    ],
)
def test_the_second_exercise(function, right, said):
    verdict = lesson.check_policy_loss(function)
    assert bool(verdict) is right
    assert said in repr(verdict)
