"""Lesson 04: its parabola, its edge, its regression, its plane and its checks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse import theory
from gradcourse.lessons import three_causes as lesson
from gradcourse.lessons.three_causes import cures
from gradcourse.lessons.three_causes.recipes import times
from gradcourse.lessons.three_causes.regression import spread
from gradcourse.tasks import large_targets


def last(results):
    """Return the final one of the results that a generator yields."""
    *_, final = results
    return final


# The parabola


@settings(deadline=None, max_examples=20)
@given(
    rate=st.floats(0.01, 0.6),
    momentum=st.sampled_from([0.0, 0.4, 0.95]),
    curvature=st.floats(4, 20),
)
def test_descent_on_a_parabola_is_a_float64_loop(rate, momentum, curvature):
    found = lesson.measure_quadratic(rate, momentum, curvature, steps=20)
    for slope, path in ((curvature, found.steep), (1.0, found.flat)):
        x, velocity = 1.0, 0.0
        for step in range(21):
            assert 10 ** path[step] == pytest.approx(abs(x), rel=1e-6, abs=1e-12)
            velocity = momentum * velocity + slope * x
            x -= rate * velocity


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_the_measured_factor_is_the_spectral_radius_at_every_learning_rate(momentum):
    found = lesson.measure_quadratic(0.1, momentum)
    assert found.measured == pytest.approx(found.predicted, abs=0.01)
    assert found.here == pytest.approx(found.predicted_here, abs=0.01)


def test_a_parabola_says_on_which_side_of_the_edge_it_is():
    assert lesson.measure_quadratic(0.37, 0.9).stable
    assert "unstable" in lesson.measure_quadratic(0.39, 0.9).summary()
    assert lesson.measure_quadratic(0.1, 0.0).steep[1] < -15


# The edge of stability


def test_a_loss_that_has_left_float32_is_said_before_the_sharpness_is_measured_again():
    run = last(lesson.measure_edge(0.3, seeds=2, steps=20))
    losses = run.losses.copy()
    losses[-2:] = math.inf
    said = replace(run, losses=losses).summary()
    assert said == "learning rate 0.3: the loss leaves float32"


def test_full_batch_descent_is_torchs_on_each_network_alone():
    run = last(lesson.measure_edge(0.3, 0.5, seeds=2, first_seed=5, steps=50))
    from gradcourse.models import MLP
    from gradcourse.tasks import digits

    inputs, labels = digits(100, 5)
    targets = nn.functional.one_hot(labels, 10).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        network = MLP(64, 16, 2, 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.5)
    for step in range(51):
        loss = 0.5 * (network(inputs / 8) - targets).square().sum(dim=1).mean()
        assert run.losses[step, 1] == pytest.approx(loss.item(), rel=1e-4), step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert run.limit == pytest.approx(2 * 1.5 / 0.3)
    assert len(run.losses) == 51
    assert run.steps.tolist() == [0, 20, 40]
    assert run.progress == 1


def test_a_small_learning_rate_is_still_on_its_way():
    run = last(lesson.measure_edge(0.1, seeds=2, steps=400))
    assert run.late < 0.5 * run.limit
    assert run.rises < 0.01
    assert (np.diff(run.median) > -0.2).all()


# The regression


def train_one(recipe, seed, data_seed, steps):
    """Train one network with torch's own functions and return its loss at each step."""
    inputs, targets = (each[:500] for each in large_targets(data_seed))
    if recipe.standardise:
        targets = (targets - targets.mean()) / targets.std()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=0.9)
    loss_fn = nn.HuberLoss() if recipe.loss == "Huber" else nn.MSELoss()
    order = torch.Generator().manual_seed(seed)
    done = 0
    while True:
        for rows in torch.randperm(500, generator=order).split(32):
            if done == steps:
                return network
            optimizer.zero_grad()
            loss_fn(network(inputs[rows])[:, 0], targets[rows]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.max_norm)
            nn.utils.clip_grad_value_(network.parameters(), recipe.clip_value)
            optimizer.step()
            done += 1


RECIPES = [
    lesson.Recipe(1e-4),
    lesson.Recipe(max_norm=1.0),
    lesson.Recipe(clip_value=5.0),
    lesson.Recipe(0.05, standardise=True),
    lesson.Recipe(loss="Huber"),
]


def test_recipes_in_one_batch_train_as_torch_trains_each_alone():
    trainer = lesson.Trainer(RECIPES, seeds=2, first_seed=3)
    trainer.train(40)
    parameters = list(trainer.ensemble.parameters())
    for number, recipe in enumerate(RECIPES):
        for seed in range(2):
            alone = train_one(recipe, 3 + seed, 4, 40)
            for stacked, one in zip(parameters, alone.parameters(), strict=True):
                torch.testing.assert_close(
                    stacked[2 * number + seed], one, rtol=1e-2, atol=5e-3, msg=str(recipe)
                )
    assert trainer.norms()[0, 0] == pytest.approx(
        math.sqrt(sum(one[0].square().sum().item() for one in parameters)), rel=1e-5
    )


def test_errors_are_in_units_of_the_targets_whatever_the_recipe():
    recipe = lesson.Recipe(0.05, standardise=True)
    trainer = lesson.Trainer([lesson.Recipe(1e-4), recipe], seeds=1, first_seed=3)
    trainer.train(40)
    inputs, targets = large_targets(4)
    std, mean = targets[:500].std(), targets[:500].mean()
    for number, (network, scale, shift) in enumerate(
        [(train_one(lesson.Recipe(1e-4), 3, 4, 40), 1, 0), (train_one(recipe, 3, 4, 40), std, mean)]
    ):
        outputs = network(inputs[500:])[:, 0] * scale + shift
        error = (outputs - targets[500:]).square().mean().sqrt().item()
        assert trainer.errors()[number, 0] == pytest.approx(error, rel=1e-2)


def test_without_a_cure_every_network_is_lost_and_the_run_ends_early():
    run = last(lesson.measure_regression())
    assert run.lost == 5
    assert run.progress == 1
    assert run.steps[-1] < 40
    assert "lost 5 of 5 networks, the first at step" in run.summary()
    assert "nan" not in run.summary()


def test_strain_is_the_learning_rate_times_the_sharpness_over_the_limit():
    run = last(lesson.measure_regression(standardise=True, learning_rate=0.02, steps=30))
    trainer = lesson.Trainer([lesson.Recipe(0.02, standardise=True)])
    trainer.train(30)
    limit = theory.largest_stable_learning_rate(trainer.sharpness()[0, 2], 0.9)
    assert run.strain[-1, 2] == pytest.approx(0.02 / limit, rel=1e-4)


def test_the_median_counts_lost_networks_as_the_worst():
    median, low, high = spread(np.array([[1.0, 2.0, 3.0, np.nan, np.nan], [np.nan] * 5]))
    assert (median[0], low[0], high[0]) == (3, 1, 3)
    assert median[1] == low[1] == np.inf


def test_times_are_steps_in_order_from_none_to_all():
    found = times(1600)
    assert found[:3] == [0, 1, 2]
    assert found[-1] == 1600
    assert found == sorted(set(found))
    assert times(1) == [0, 1]


def test_cures_say_when_they_arrive_and_what_is_left(monkeypatch):
    monkeypatch.setattr(cures, "reference_error", lambda *_: (2.0,))
    run = last(lesson.measure_cures(seeds=1, steps=120))
    medians = dict(zip(run.names, run.errors[:, :, 0].T, strict=True))
    for name, step in run.steps_to(0.5).items():
        below = medians[name] < 0.5 * run.target_std
        assert step == (run.steps[below.argmax()] if below.any() else math.inf)
    assert run.steps_to(0.5)["clip norm 1"] == math.inf
    # Only the speed is new here: the distance is theory's.
    start = lesson.Trainer([lesson.Recipe()], seeds=1).norms().item()
    distance = math.sqrt(4 * run.target_std) - start
    assert run.fewest == pytest.approx(distance / (0.01 * 10))
    assert run.worse["Huber"] == run.final["Huber"] / 2


# The scale of the targets, and the plane


@pytest.mark.parametrize("loss", ["MSE", "Huber"])
@pytest.mark.parametrize("model", ["linear model", "ReLU network"])
def test_the_norm_is_that_of_backward(loss, model):
    found = lesson.measure_scale(model, delta=2.0, offset=0.5, seeds=2, first_seed=4)
    inputs, targets = lesson.white_regression(4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))
    if model == "linear model":
        network = nn.Linear(20, 1, bias=False)
        nn.init.zeros_(network.weight)
    loss_fn = nn.MSELoss() if loss == "MSE" else nn.HuberLoss(delta=2.0)
    for place in (0, 10, 24):
        network.zero_grad()
        scale = 10 ** found.log10_scales[place]
        loss_fn(network(inputs)[:, 0], (scale * (targets + 0.5)).float()).backward()
        norm = math.sqrt(sum(one.grad.square().sum().item() for one in network.parameters()))
        measured = (found.mse if loss == "MSE" else found.huber)[place, -1]
        assert measured == pytest.approx(math.log10(norm), abs=1e-3)


def test_white_inputs_are_white_and_targets_linear_in_them():
    inputs, targets = (each.double() for each in lesson.white_regression(1))
    torch.testing.assert_close(inputs.T @ inputs / 500, torch.eye(20).double(), atol=1e-5, rtol=0)
    assert inputs.mean(0).abs().max() < 1e-6
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.linalg.lstsq(inputs, targets).solution.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_edge_of_a_linear_model_is_where_a_step_turns_back_too_far():
    plane = last(lesson.measure_plane("linear model", 0.5))
    assert plane.predicted == pytest.approx(math.log10(1.5))
    assert plane.slope == pytest.approx(0, abs=1e-6)
    assert plane.apart < 1.4
    lost = np.isnan(plane.errors)
    assert not lost[:, plane.log10_rates < math.log10(1.4)].any()
    assert lost[:, plane.log10_rates > math.log10(2)].all()


def test_a_cell_of_the_plane_is_one_network_trained_alone():
    plane = last(lesson.measure_plane("ReLU network", 0.5, first_seed=2, steps=60))
    inputs, targets = lesson.white_regression(2, 100)
    row, column = 8, 8
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = nn.Sequential(
            nn.Linear(20, 25, bias=False), nn.ReLU(), nn.Linear(25, 1, bias=False)
        )
    rate, scale = 10 ** plane.log10_rates[column], 10 ** plane.log10_scales[row]
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.5)
    for _ in range(61):
        loss = nn.functional.mse_loss(network(inputs)[:, 0], (scale * targets).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = math.log10(math.sqrt(loss.item()) / scale)
    assert plane.errors[row, column] == pytest.approx(expected, abs=0.01)


# What every measure promises


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_quadratic, {"momentum": 0.9}, {"momentum": 0.85}),
        (lesson.measure_quadratic, {"momentum": 0.9}, {"curvature": 11.0}),
        (lesson.measure_scale, {}, {"model": "linear model"}),
        (lesson.measure_scale, {}, {"offset": 1.0}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=0.5).prediction == 0.5
    assert measure(**{**asked, **other}, prediction=0.5).prediction is None


def test_a_prediction_of_a_training_is_shown_only_where_it_was_asked_for():
    assert next(lesson.measure_regression(steps=3, prediction=9)).prediction == 9
    other = lesson.measure_regression("norm 1", steps=3, prediction=9)
    assert next(other).prediction is None


@pytest.mark.parametrize(
    ("measure", "settings", "sentence"),
    [
        (lesson.measure_quadratic, {"steps": 0}, "steps must be 1 or more, got 0"),
        (lesson.measure_quadratic, {"momentum": 1.0}, "momentum must be .* got 1"),
        (lesson.measure_quadratic, {"curvature": 0.0}, "curvature must be .* got 0"),
        (lesson.measure_edge, {"learning_rate": 0.0}, "learning_rate must be .* got 0"),
        (lesson.measure_edge, {"seeds": 0}, "seeds must be 1 or more, got 0"),
        (lesson.measure_regression, {"clipping": "norm 2"}, "clipping must be one of none, norm 1"),
        (lesson.measure_regression, {"loss": "L1"}, "loss must be one of MSE, Huber, got 'L1'"),
        (lesson.measure_regression, {"learning_rate": -1.0}, "learning_rate must be .* got -1"),
        (lesson.measure_regression, {"first_seed": -1}, "first_seed must be 0 or more, got -1"),
        (lesson.measure_cures, {"momentum": -0.1}, "momentum must be .* got -0.1"),
        (lesson.measure_cures, {"seeds": 0}, "seeds must be 1 or more, got 0"),
        (lesson.measure_scale, {"model": "tanh"}, "model must be one of linear model, ReLU"),
        (lesson.measure_scale, {"delta": 0.0}, "delta must be .* got 0"),
        (lesson.measure_plane, {"model": "tanh"}, "model must be one of .*, got 'tanh'"),
    ],
)
def test_bad_settings_get_one_sentence(measure, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(measure(**settings)) if measure is not lesson.measure_quadratic else measure(
            **settings
        )


# The exercises


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda s, m: 2 * (1 + m) / (4 * s), True, "right"),
        (lambda _s, _m: ..., False, "returns nothing"),
        (lambda s, _m: 1 / (2 * s), False, "without momentum"),
        (lambda s, m: (1 - m) / (2 * s), False, "not 1 - momentum"),
        (lambda s, m: (1 + m) / (4 * s), False, "the numerator is"),
        (lambda s, m: (1 + m) / s, False, "ReLU units"),
        (lambda _s, m: 1 + m, False, "a linear model"),
        (lambda s, m: (1 + m) / (2 * s**2), False, "not like the variance"),
        (lambda s, m: s + m, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_largest_rate(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda d, r, c, m: d * (1 - m) / (r * c), True, "right"),
        (lambda d, r, c, m: math.ceil(d * (1 - m) / (r * c) - 1e-9), True, "right"),
        (lambda _d, _r, _c, _m: ..., False, "returns nothing"),
        (lambda d, r, c, _m: d / (r * c), False, "momentum adds up"),
        (lambda d, r, c, m: d / (r * c * (1 + m)), False, "more than 1 + m"),
        (lambda d, r, c, m: d / (r * c * (1 - m)), False, "so fewer are needed"),
        (lambda d, _r, c, m: d * (1 - m) / c, False, "learning_rate times that"),
        (lambda d, r, _c, m: d * (1 - m) / r, False, "max_norm is missing"),
        (lambda d, _r, _c, _m: d, False, "should be"),
    ],
)
def test_the_second_exercise(function, right, said):
    verdict = lesson.check_fewest_steps(function)
    assert bool(verdict) is right
    assert said in repr(verdict)
