"""Closed forms of stability against torch's own optimizer, matrices and autograd."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gradcourse import theory

RATES = st.floats(0.001, 0.5)
CURVATURES = st.floats(0.1, 20)
MOMENTA = st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.99])


def descend(steps, learning_rate, curvature, momentum, start=1.0):
    """Run torch.optim.SGD in float64 and return each iterate."""
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=learning_rate, momentum=momentum)
    path = [x.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature / 2 * x.square()).backward()
        optimizer.step()
        path.append(x.item())
    return np.array(path)


@settings(deadline=None, max_examples=40)
@given(rate=RATES, curvature=CURVATURES, momentum=MOMENTA, start=st.floats(-3, 3))
def test_iterates_are_those_of_torch(rate, curvature, momentum, start):
    exact = theory.heavy_ball_iterates(30, rate, curvature, momentum, start)
    path = descend(30, rate, curvature, momentum, start)
    assert exact == pytest.approx(path, rel=1e-6, abs=1e-9 * max(1, np.abs(path).max()))


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.81])
def test_iterates_are_exact_where_both_roots_are_one(momentum):
    # (1 - sqrt m)**2 is the learning rate of critical damping at curvature 1.
    rate = (1 - math.sqrt(momentum)) ** 2
    path = descend(20, rate, 1.0, momentum)
    assert theory.heavy_ball_iterates(20, rate, 1.0, momentum) == pytest.approx(path, abs=1e-9)


def test_iterates_that_leave_float64_are_infinite():
    assert np.isposinf(theory.heavy_ball_iterates(400, 10.0, 10.0)[-1])


@given(rate=RATES, curvature=CURVATURES, momentum=MOMENTA)
def test_the_rate_is_the_spectral_radius_of_the_companion_matrix(rate, curvature, momentum):
    step = [[1 + momentum - rate * curvature, -momentum], [1, 0]]
    radius = np.abs(np.linalg.eigvals(step)).max()
    assert float(theory.heavy_ball_rate(rate, curvature, momentum)) == pytest.approx(
        radius, abs=1e-7
    )


@given(curvature=CURVATURES, momentum=MOMENTA)
def test_descent_is_stable_exactly_below_the_largest_rate(curvature, momentum):
    edge = theory.largest_stable_learning_rate(curvature, momentum)
    below, on, above = theory.heavy_ball_rate(np.array([0.99, 1, 1.01]) * edge, curvature, momentum)
    assert below < 1 < above
    assert on == pytest.approx(1)


def test_t32_quoted_point():
    assert theory.largest_stable_learning_rate(10, 0.9) == pytest.approx(0.38)


def hessian_at_a_fit(activation, target_std, balance, features=3):
    """Return the largest eigenvalue of the Hessian of the mean squared error, by autograd."""
    grid = np.random.default_rng(0).standard_normal((200, features))
    # Each input beside its mirror image, and white: the population in 400 rows.
    rows = np.concatenate([grid, -grid])
    rows = rows @ np.linalg.inv(np.linalg.cholesky(rows.T @ rows / len(rows))).T
    inputs = torch.from_numpy(rows)
    targets = target_std * inputs[:, 0]
    root = math.sqrt(target_std)
    weight = torch.zeros(2, features, dtype=torch.float64)
    if activation == "linear":
        weight[0, 0], last = root * balance, [root / balance, 0.0]
    else:
        weight[0, 0], weight[1, 0] = root * balance, -root * balance
        last = [root / balance, -root / balance]
    parameters = torch.cat([weight.ravel(), torch.tensor(last, dtype=torch.float64)])

    def loss(flat):
        hidden = inputs @ flat[: 2 * features].view(2, features).T
        hidden = hidden.relu() if activation == "relu" else hidden
        return (hidden @ flat[2 * features :] - targets).square().mean()

    assert float(loss(parameters)) == pytest.approx(0, abs=1e-18)
    hessian = torch.autograd.functional.hessian(loss, parameters)
    return float(torch.linalg.eigvalsh(hessian)[-1]), float(parameters.norm())


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("target_std", [0.5, 20.0])
def test_two_balanced_layers_have_the_least_sharpness_and_norm(activation, target_std):
    sharpness, norm = hessian_at_a_fit(activation, target_std, 1.0)
    assert sharpness == pytest.approx(theory.two_layer_sharpness(target_std, activation))
    assert norm == pytest.approx(theory.two_layer_norm(target_std, activation))
    for balance in (0.8, 1.3):
        sharper, longer = hessian_at_a_fit(activation, target_std, balance)
        assert sharper > 1.02 * sharpness
        assert longer > 1.02 * norm


@pytest.mark.parametrize("delta", [0.3, 1.0, 20.0])
def test_the_huber_gradient_is_that_of_torch(delta):
    # Quantiles are a normal sample without chance.
    grid = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    x = torch.from_numpy(grid)
    for spread in (0.1, 1.0, 50.0):
        weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
        torch.nn.HuberLoss(delta=delta)(weight * x, spread * x).backward()
        assert -weight.grad.item() == pytest.approx(
            float(theory.huber_gradient(spread, delta)), rel=1e-3
        )


def test_the_huber_location_lies_between_median_and_mean():
    places = [theory.huber_location(stats.expon.sf, d, (0, 3)) for d in (0.01, 0.5, 1.0, 50.0)]
    assert places[0] == pytest.approx(math.log(2), abs=1e-3)
    # sinh has the closed form while the location is above delta.
    assert places[1] == pytest.approx(math.log(2 * math.sinh(0.5) / 0.5), abs=1e-9)
    assert places[-1] == pytest.approx(1, abs=1e-6)
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.largest_stable_learning_rate(0), "curvature must be .* above 0, got 0"),
        (lambda: theory.largest_stable_learning_rate(1, 1), "momentum must be .* got 1"),
        (lambda: theory.heavy_ball_rate(-1, 1), "learning_rate must be .* got -1"),
        (lambda: theory.heavy_ball_rate(math.nan, 1), "learning_rate must be .* got nan"),
        (lambda: theory.heavy_ball_iterates(-1, 1, 1), "steps must be 0 or more, got -1"),
        (lambda: theory.two_layer_sharpness(0), "target_std must be .* got 0"),
        (lambda: theory.two_layer_norm(1, "tanh"), "activation must be linear or relu, got 'tanh'"),
        (lambda: theory.huber_gradient(1, 0), "delta must be .* got 0"),
        (lambda: theory.huber_gradient([1, 0]), "residual_std must be finite and above 0, got 0"),
        (lambda: theory.huber_gradient(-1), "residual_std must be finite and above 0, got -1"),
    ],
)
def test_bad_arguments_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
