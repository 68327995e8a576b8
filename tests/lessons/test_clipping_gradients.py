"""Lesson 03: its remedies, its cliff, its training and its checks."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse import theory
from gradcourse.lessons import clipping_gradients as lesson
from gradcourse.lessons.clipping_gradients import order as order_module
from gradcourse.lessons.clipping_gradients import rnn as rnn_module
from gradcourse.lessons.clipping_gradients import starts as starts_module
from gradcourse.lessons.clipping_gradients import turned as turned_module


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 360), st.floats(0.2, 4), st.floats(0.1, 10))
def test_remedies_are_what_their_names_say(angle, length, max_norm):
    found = lesson.measure_remedies(angle, length, max_norm).remedies
    before = found["norm"].before
    assert np.hypot(*before) == pytest.approx(length)
    assert found["norm"].after == pytest.approx(before * min(1, max_norm / length), abs=1e-9)
    assert found["scaling"].after == pytest.approx(before * max_norm / length, abs=1e-9)
    assert found["value"].after == pytest.approx(np.clip(before, -max_norm, max_norm), abs=1e-9)
    caps = max_norm * np.array([1.0, 0.4])
    assert found["AGC"].after == pytest.approx(np.clip(before, -caps, caps), abs=1e-9)
    for remedy in found.values():
        assert remedy.turned == pytest.approx(
            math.degrees(math.acos(np.clip(_cosine(remedy.before, remedy.after), -1, 1))), abs=1e-4
        )
        assert remedy.kept == pytest.approx(np.hypot(*remedy.after) / length)


def _cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


@settings(deadline=None, max_examples=30)
@given(st.floats(1, 359), st.floats(0.2, 4), st.floats(0.1, 10))
def test_what_is_left_lies_within_the_limit_that_is_drawn(angle, length, max_norm):
    for name, remedy in lesson.measure_remedies(angle, length, max_norm).remedies.items():
        reach = np.abs(remedy.limit).max(axis=0)
        if name == "AGC":
            assert reach == pytest.approx([max_norm, 0.4 * max_norm])
        if name in ("value", "AGC"):
            assert (np.abs(remedy.after) <= reach + 1e-9).all()
        elif name != "standardising":
            assert np.hypot(*remedy.after) <= reach.max() + 1e-6
        elif abs(remedy.before[0] - remedy.before[1]) > 1e-6:
            apart = np.linalg.norm(remedy.limit - remedy.after, axis=1).min()
            assert apart == pytest.approx(0, abs=1e-6)


def test_the_percentile_is_the_median_of_the_past_and_the_present():
    found = lesson.measure_remedies(length=4.0, first_seed=5).remedies["percentile"]
    past = np.random.default_rng(5).lognormal(math.log(2.0), 0.4, 99)
    assert np.hypot(*found.after) == pytest.approx(np.median([*past, 4.0]))
    assert np.hypot(*found.limit[7]) == pytest.approx(np.median([*past, 4.0]))


def test_the_angle_of_value_clipping_agrees_with_a_plain_loop():
    found = lesson.measure_turned(50, 0.7, seeds=3, first_seed=4)
    angles, lengths = [], []
    for seed in (4, 5, 6):
        gradient = torch.from_numpy(np.random.default_rng(seed).standard_normal(50))
        parameter = nn.Parameter(gradient.clone())
        parameter.grad = gradient.clone()
        nn.utils.clip_grad_value_(parameter, found.clip_values[15])
        cosine = torch.cosine_similarity(gradient, parameter.grad, dim=0)
        angles.append(math.degrees(math.acos(cosine)))
        lengths.append(float(parameter.grad.norm() / gradient.norm()))
    assert found.angle[0, 15] == pytest.approx(np.median(angles))
    assert found.angle[:, 15] == pytest.approx(np.quantile(angles, [0.5, 0.05, 0.95]))
    assert found.length[0, 15] == pytest.approx(np.median(lengths))
    assert found.predicted_at == pytest.approx(
        math.degrees(math.acos(theory.value_clip_cosine(0.7)))
    )


def test_heavy_tails_have_the_same_variance_and_turn_further():
    heavy = lesson.measure_turned(10_000, 1e3, "heavy tails")
    assert heavy.at == pytest.approx(0, abs=1e-3)
    tails = lesson.measure_turned(10_000, 0.5, "heavy tails")
    assert tails.at > tails.predicted_at + 5
    spread = np.median(turned_module._gradients(10_000, "heavy tails", 32, 0).std(axis=1))
    assert spread == pytest.approx(1, abs=0.1)


def torch_loss(weight, bias):
    state = torch.full_like(weight, 0.5)
    for _ in range(50):
        state = weight * torch.sigmoid(state) + bias
    return (torch.sigmoid(state) - 0.7) ** 2


@settings(deadline=None, max_examples=25)
@given(st.floats(-2, 6.5), st.floats(-5, 2))
def test_the_gradient_of_the_unit_is_what_autograd_says(weight, bias):
    w, b = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (weight, bias))
    loss = torch_loss(w, b)
    by_weight, by_bias = torch.autograd.grad(loss.sum(), (w, b))
    found = lesson.unit_gradient(np.array([weight]), np.array([bias]))
    for one, expected in zip(found, (loss, by_weight, by_bias), strict=True):
        assert one[0] == pytest.approx(expected.item(), rel=1e-6, abs=1e-12)


def test_a_walker_does_what_torch_does():
    w, b = (nn.Parameter(torch.tensor([x], dtype=torch.float64)) for x in (5.0, -2.7))
    optimizer = torch.optim.SGD([w, b], lr=0.3)
    walk = lesson.walk(np.array([5.0]), np.array([-2.7]), 0.3, 0.2, 20)
    for step in range(20):
        assert walk.weight[step, 0] == pytest.approx(w.item(), rel=1e-4)
        assert walk.bias[step, 0] == pytest.approx(b.item(), rel=1e-4)
        optimizer.zero_grad()
        loss = torch_loss(w, b)
        loss.sum().backward()
        norm = nn.utils.get_total_norm([w.grad, b.grad])
        # By hand: torch divides by norm + 1e-6, and the wall makes much of the difference.
        for one in (w, b):
            one.grad *= min(1.0, 0.2 / norm.item())
        assert walk.loss[step, 0] == pytest.approx(loss.item(), rel=1e-3)
        assert walk.norm[step, 0] == pytest.approx(float(norm), rel=1e-3)
        optimizer.step()
    moved = np.hypot(np.diff(walk.weight[:, 0]), np.diff(walk.bias[:, 0]))
    assert walk.length[:, 0] == pytest.approx(moved)


def test_the_walkers_start_below_the_wall_and_the_clipped_one_keeps_its_bound():
    found = lesson.measure_cliff(0.3, 0.5, 5.4)
    wall = theory.cliff_wall(5.4)
    assert found.walk.bias[0] == pytest.approx([wall - 0.1] * 2)
    assert found.longest == pytest.approx(0.15)
    assert found.walk.length[:, 1].max() <= 0.15 * (1 + 1e-9)
    assert found.walk.length[found.jump - 1, 0] == found.walk.length[:, 0].max()
    with pytest.raises(ValueError, match=r"weight must be above 4\.26"):
        lesson.measure_cliff(weight=4.0)


def test_the_ceiling_is_the_distance_to_the_nearest_solved_place():
    weight, bias = np.array([4.5, 5.2, 6.0]), np.array([-2.3, -2.8, -3.2])
    found = starts_module._distance(weight, bias)
    w, b = np.meshgrid(np.linspace(3.4, 4.8, 351), np.linspace(-2.7, -1.4, 351))
    solved = np.abs(starts_module.settled_output(w, b, 1000) - 0.7) <= 0.05
    for place in range(3):
        way = np.hypot(w[solved] - weight[place], b[solved] - bias[place]).min()
        assert found[place] == pytest.approx(way, abs=0.01)


def test_the_ceiling_is_who_can_walk_so_far_in_300_steps():
    found = lesson.measure_starts(0.2, 1.0, first_seed=4)
    distance = starts_module._distance(found.free.weight[0], found.free.bias[0])
    for limit, reach in zip(found.max_norms, found.reach, strict=True):
        assert reach == np.mean(300 * 0.2 * limit >= distance)


def test_the_percentile_clip_per_tensor_agrees_with_a_loop():
    source = np.random.default_rng(2)
    before = source.standard_normal((16, 50)) * np.arange(1, 17)[:, None]
    limit = np.percentile([np.linalg.norm(row) for row in before], 50)
    after = np.stack([row * min(1, limit / np.linalg.norm(row)) for row in before])
    angle, length, _ = lesson.percentile_per_tensor(50, first_seed=2)
    assert length == pytest.approx(np.linalg.norm(after))
    assert angle == pytest.approx(math.degrees(math.acos(_cosine(before.ravel(), after.ravel()))))


def solved(weight, bias):
    # One tiny step: where the walker ends is where it starts.
    return starts_module._solved(lesson.walk(weight, bias, 1e-12, 1.0, 1))


def test_a_walker_that_only_passes_by_the_target_has_not_solved_the_task():
    bias = theory.cliff_wall(5.0) + np.logspace(-6, -2, 2001)
    weight = np.full_like(bias, 5.0)
    passing = np.abs(starts_module.settled_output(weight, bias) - 0.7) <= 0.05
    assert passing.any()
    assert not solved(weight, bias).any()


def test_an_output_solves_the_task_within_0_05_of_the_target():
    targets = [0.64, 0.66, 0.7, 0.74, 0.76]
    bias = np.array([float(theory.cliff_valley(3.8, target)) for target in targets])
    assert solved(np.full(5, 3.8), bias).tolist() == [False, True, True, True, False]


def test_a_step_of_the_networks_is_torchs_own():
    seeds = range(3, 5)
    weights = [weight.requires_grad_() for weight in order_module.first_weights(seeds)]
    symbols = torch.randint(0, 6, (2, 7, 20))
    labels = torch.randint(0, 4, (2, 7))
    losses, right = order_module.network_losses(weights, symbols, labels)
    limits = torch.tensor([0.1, math.inf])
    moved, shares, norms, before = order_module._descend(weights, (symbols, labels), 0.2, limits)
    assert torch.equal(shares, right)
    assert torch.equal(before, losses)
    for net in range(2):
        rnn, head = nn.RNN(6, 50, batch_first=True), nn.Linear(50, 4)
        parameters = [rnn.weight_hh_l0, rnn.weight_ih_l0, rnn.bias_ih_l0, head.weight, head.bias]
        with torch.no_grad():
            rnn.bias_hh_l0.zero_()
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(weight[net].T.reshape(parameter.shape))
        logits = head(rnn(nn.functional.one_hot(symbols[net], 6).float())[0][:, -1])
        loss = nn.functional.cross_entropy(logits, labels[net])
        assert losses[net].item() == pytest.approx(loss.item(), rel=1e-4)
        assert right[net] == (logits.argmax(1) == labels[net]).float().mean()
        loss.backward()
        assert norms[net] == pytest.approx(
            float(nn.utils.clip_grad_norm_(parameters, limits[net].item())), rel=1e-3
        )
        torch.optim.SGD(parameters, lr=0.2).step()
        for parameter, weight in zip(parameters, moved, strict=True):
            expected = parameter.detach().numpy()
            assert weight[net].T.reshape(parameter.shape).numpy() == pytest.approx(
                expected, abs=1e-5
            )


def test_networks_start_at_the_spectral_radius_and_from_their_seed():
    weights = order_module.first_weights(range(2, 4))
    assert torch.linalg.eigvals(weights[0]).abs().amax(1).tolist() == pytest.approx(
        [1.2] * 2, rel=1e-4
    )
    assert torch.equal(order_module.first_weights(range(3, 4))[0][0], weights[0][1])


def test_training_yields_what_there_is_so_far(monkeypatch):
    monkeypatch.setattr(order_module, "PAUSE", 0.0)
    results = list(lesson.measure_order(seeds=2, steps=60))
    assert [round(60 * one.progress) for one in results] == list(range(1, 61))
    assert results[9].accuracy.shape == (2, 2, 10)
    assert np.array_equal(results[9].norm, results[-1].norm[..., :10])
    assert results[-1].curves.shape == (2, 2, 3, 2)
    means = results[-1].accuracy[1, :, 25:50].mean(1)
    expected = [np.median(means), means.min(), means.max()]
    assert results[-1].curves[1, 0, :, 1] == pytest.approx(expected)
    assert "step 60 of 60" in results[-1].summary()
    first = results[0]
    assert first.loss[0] == pytest.approx(first.loss[1])


def test_half_have_learned_when_so_many_were_right_for_fifty_steps():
    (trained,) = list(lesson.measure_order(seeds=1, steps=1))
    accuracy = np.full((2, 4, 120), 0.25)
    # Two of four free networks: from step 20 of 120, and never for long.
    accuracy[0, :2, 20:] = 1
    accuracy[0, 2, 20:40] = 1
    accuracy[1, :, 60:] = 1
    found = dataclasses.replace(trained, accuracy=accuracy)
    by_hand = [
        next(
            (
                step
                for step in range(50, 121)
                if sum(
                    any(row[last - 50 : last].mean() > 0.9 for last in range(50, step + 1))
                    for row in rows
                )
                >= 2
            ),
            None,
        )
        for rows in accuracy
    ]
    assert list(found.half_learned) == by_hand == [64, 104]
    accuracy[1] = 0.9
    assert found.half_learned == (64, None)
    assert dataclasses.replace(trained, accuracy=accuracy[..., :49]).half_learned == (None, None)


def test_a_training_that_breaks_says_so(monkeypatch):
    def broken(seeds):
        weights = whole(seeds)
        weights[3][0, 0, 0] = math.inf
        return weights

    whole = order_module.first_weights
    monkeypatch.setattr(order_module, "first_weights", broken)
    *_, last = lesson.measure_order(seeds=2, steps=50)
    assert last.nonfinite == 100
    assert "100 losses not finite" in last.summary()
    assert "nan" not in last.summary()
    assert np.isfinite(last.loss[:, 1]).all()


def test_the_norm_log_counts_and_fits():
    norms = np.random.default_rng(0).lognormal(0.5, 0.7, 4000)
    found = lesson.measure_norm_log(norms, 2.0)
    assert found.clip_rate == np.mean(norms > 2.0)
    assert found.rate == pytest.approx(found.predicted, abs=0.02)
    low, high = found.band
    assert np.mean((norms > low) & (norms < high)) == pytest.approx(0.9, abs=0.02)
    for bad in ([1.0], [1.0, math.nan], [1.0, 0.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="norms must be 2 or more finite numbers above 0"):
            lesson.measure_norm_log(bad)


def test_a_free_run_that_has_not_started_learns_once_it_is_clipped(monkeypatch):
    monkeypatch.setattr(rnn_module, "EPOCHS", 10)
    done = []

    def clips_late(*setting):
        done.append(setting)
        return solution(*setting[:-1], math.inf if len(done) <= 200 else 1.0)

    losses = lesson.train_rnn(clips_late, 1.0, seed=0).losses
    assert losses[180:200].mean() > 1.2
    assert losses[-20:].mean() < 0.8


@pytest.mark.parametrize("max_norm", [math.inf, 10.0])
def test_adam_after_a_spike_agrees_with_its_formula(max_norm):
    place, mean, square = 1.0, 0.0, 0.0
    for step in range(1, 301):
        gradient = place * (1e4 if step == 21 else 1.0)
        gradient = max(-max_norm, min(max_norm, gradient))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        size = math.sqrt(square / (1 - 0.999**step)) + 1e-8
        place -= 0.05 * mean / (1 - 0.9**step) / size
    assert lesson.distance_after_spike(max_norm) == pytest.approx(abs(place), rel=1e-4, abs=1e-9)


def test_the_angle_after_a_spike_is_that_of_the_vectors():
    good = np.random.default_rng(3).standard_normal(10_000)
    bad = np.array([1000.0, *good[1:]])
    by_norm, by_value = lesson.angle_after_spike("norm", 3), lesson.angle_after_spike("value", 3)
    assert math.cos(math.radians(by_norm)) == pytest.approx(_cosine(good, bad))
    kept = _cosine(good, np.clip(bad, -3, 3))
    assert math.cos(math.radians(by_value)) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.angle_after_spike("x"), "how must be one of norm, value, got 'x'"),
        (lambda: lesson.measure_remedies(length=0), "length must be .* above 0, got 0"),
        (lambda: lesson.measure_remedies(max_norm=-1), "max_norm must be .* above 0, got -1"),
        (lambda: lesson.measure_turned(0), "elements must be 1 or more, got 0"),
        (lambda: lesson.measure_turned(tails="thin"), "tails must be one of .*, got 'thin'"),
        (lambda: lesson.measure_cliff(learning_rate=0), "learning_rate must be .*, got 0"),
        (lambda: lesson.measure_starts(max_norm=math.inf), "max_norm must be .*, got inf"),
        (lambda: next(lesson.measure_order(steps=0)), "steps must be 1 or more, got 0"),
        (lambda: lesson.percentile_per_tensor(101), "percentile must be between 0 and 100"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_remedies, {}, {"angle": 60.0}),
        (lesson.measure_turned, {}, {"tails": "heavy tails"}),
        (lesson.measure_cliff, {}, {"weight": 5.2}),
        (lesson.measure_starts, {}, {"learning_rate": 0.5}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=3).prediction == 3
    assert measure(**other, prediction=3).prediction is None


def solution(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm


def clips_before_backward(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    return norm


def clips_after_step(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def forgets_zero_grad(model, optimizer, inputs, targets, max_norm):
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm


def clips_each_tensor(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norms = [nn.utils.clip_grad_norm_(one, max_norm) for one in model.parameters()]
    optimizer.step()
    return max(norms)


def clips_values(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norm = nn.utils.get_total_norm([one.grad for one in model.parameters()])
    nn.utils.clip_grad_value_(model.parameters(), max_norm)
    optimizer.step()
    return norm


def forgets_the_step(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def clears_after_backward(model, optimizer, inputs, targets, max_norm):
    nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.zero_grad()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm


def always_rescales(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norm = nn.utils.get_total_norm([one.grad for one in model.parameters()])
    for one in model.parameters():
        one.grad *= max_norm / norm
    optimizer.step()
    return norm


def clips_by_hand(model, optimizer, inputs, targets, max_norm):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    norm = math.sqrt(sum(float(one.grad.square().sum()) for one in model.parameters()))
    if norm > max_norm:
        for one in model.parameters():
            one.grad *= max_norm / norm
    optimizer.step()
    return norm


def returns_the_norm_after(model, optimizer, inputs, targets, max_norm):
    solution(model, optimizer, inputs, targets, max_norm)
    return nn.utils.get_total_norm([one.grad for one in model.parameters()])


def returns_the_loss(model, optimizer, inputs, targets, max_norm):
    solution(model, optimizer, inputs, targets, max_norm)
    return 1.4


def returns_nothing(model, optimizer, inputs, targets, max_norm):
    solution(model, optimizer, inputs, targets, max_norm)


@pytest.mark.parametrize(
    ("step", "right", "said"),
    [
        (solution, True, "right"),
        (lambda *_: ..., False, "returns nothing"),
        (clips_before_backward, False, "*between* backward() and step()"),
        (clips_after_step, False, "*between* backward() and step()"),
        (forgets_zero_grad, False, "zero_grad() first"),
        (clips_each_tensor, False, "pass all parameters at once"),
        (clips_values, False, "keeps the direction"),
        (forgets_the_step, False, "is optimizer.step() missing"),
        (clears_after_backward, False, "or zero_grad() after backward()?"),
        (always_rescales, False, "shorter than max_norm was changed"),
        (clips_by_hand, True, "right"),
        (returns_the_norm_after, False, "*before* clipping"),
        (returns_the_loss, False, "the norm should be"),
        (returns_nothing, False, "returns nothing"),
        (lambda *_: "norm", False, "must return one number, got 'norm'"),
        (lambda model: model, False, "raised TypeError"),
    ],
)
def test_the_first_exercise(step, right, said):
    verdict = lesson.check_train_step(step)
    assert bool(verdict) is right
    assert said in repr(verdict)


NORMS = np.random.default_rng(1).lognormal(1, 1, (6, 500))


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (np.quantile(NORMS, 0.9), True, "right"),
        (..., False, "replace the dots"),
        (np.quantile(NORMS, 0.1), False, "*nine* steps in ten"),
        (NORMS.max(), False, "clips nothing"),
        (0.9 * NORMS.max(), False, "a tenth of the *steps*"),
        (NORMS.mean(), False, "that is the mean"),
        (np.median(NORMS), False, "every second step"),
        (np.quantile(NORMS[0], 0.9), False, "that is one run"),
        (1.0, False, "too low"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_cap(answer, NORMS)
    assert bool(verdict) is right
    assert said in repr(verdict)


def test_the_exercise_shows_what_its_solution_says():
    free, clipped = (lesson.train_rnn(solution, cap, seed=0) for cap in (math.inf, 1.0))
    assert free.losses.shape == free.norms.shape == (200,)
    assert clipped.norms.max() > free.norms.max()
    assert clipped.losses[-20:].mean() < 1.0 < 1.2 < free.losses[-20:].mean()
    assert free.roughness < clipped.roughness
    assert "max_norm inf: loss 1.3" in free.summary()
