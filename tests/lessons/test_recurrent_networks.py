"""Lesson 08: its matrices, its noise, its gates, its trainings and its checks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from gradcourse import theory
from gradcourse.initialization import chrono_, forget_gate_bias_
from gradcourse.lessons import recurrent_networks as lesson
from gradcourse.lessons.recurrent_networks import adding as adding_module
from gradcourse.lessons.recurrent_networks import chaos as chaos_module
from gradcourse.lessons.recurrent_networks import memory as memory_module
from gradcourse.lessons.recurrent_networks import order as order_module
from gradcourse.lessons.recurrent_networks import reach as reach_module
from gradcourse.lessons.recurrent_networks.readers import Reader, Readers, remembered
from gradcourse.models import seeded
from gradcourse.tasks import adding_problem, first_symbol, temporal_order
from gradcourse.training import learning_curve


def last(results):
    *_, result = results
    return result


@settings(deadline=None, max_examples=30)
@given(st.floats(0.5, 1.2), st.floats(0, 10), st.integers(1, 100))
def test_the_worst_direction_of_a_jordan_block_is_what_theory_says(radius, shear, steps):
    found = lesson.measure_powers(radius, shear, steps=steps)
    assert found.steps == steps
    assert found.largest == pytest.approx(found.predicted, abs=1e-9)
    assert (found.high <= found.largest + 1e-9).all()
    assert (found.low <= found.median).all()
    assert found.end == pytest.approx(np.arange(steps + 1) * math.log10(radius))


@pytest.mark.parametrize("kind", ["Gaussian", "orthogonal"])
def test_large_matrices_are_sent_back_as_autograd_does_it(kind):
    found = lesson.measure_powers(0.9, kind=kind, steps=12, first_seed=5)
    worst = []
    for seed in range(5, 9):
        weights = torch.from_numpy(0.9 * lesson.matrix(kind, seed))
        assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(0.9)
        start = torch.zeros(64, dtype=torch.float64)

        def run(state, weights=weights):
            for _ in range(12):
                state = weights @ state
            return state

        jacobian = torch.autograd.functional.jacobian(run, start)
        worst.append(math.log10(torch.linalg.matrix_norm(jacobian, 2)))
    assert found.largest[-1] == pytest.approx(np.median(worst), abs=1e-9)
    assert found.largest[0] == 0


def test_an_orthogonal_matrix_keeps_every_direction_and_a_gaussian_one_the_mean_square():
    turned = lesson.measure_powers(1.0, kind="orthogonal", steps=100)
    for row in (turned.low, turned.high, turned.largest, turned.predicted):
        assert row == pytest.approx(0, abs=1e-9)
    found = lesson.measure_powers(1.0, kind="Gaussian", steps=5)
    assert found.median[5] == pytest.approx(found.predicted_mean[5], abs=0.25)


def test_the_summary_names_the_peak():
    assert "is 19.4, at step 9 (theory: 19.4)" in lesson.measure_powers().summary()
    assert "is 1, at the start" in lesson.measure_powers(kind="orthogonal").summary()
    # Nothing grows or shrinks here: which step is longest is a matter of rounding.
    kept = lesson.measure_powers(1.0, kind="orthogonal", steps=100)
    assert "is 1, at the start" in kept.summary()


@pytest.mark.parametrize(
    ("gain", "noise"), [(0.5, 0.0), (0.9, 0.5), (1.3, 0.2), (1.5, 1.0), (2.5, 0.0)]
)
def test_noisy_networks_follow_mean_field(gain, noise):
    found = lesson.measure_chaos(gain, noise, first_seed=20)
    q = 1.0
    z = np.random.default_rng(0).standard_normal(200_000)
    for _ in range(200):
        q = gain**2 * np.mean(np.tanh(math.sqrt(q) * z) ** 2) + noise**2
    chi = gain**2 * np.mean((1 - np.tanh(math.sqrt(q) * z) ** 2) ** 2)
    assert found.factor**2 == pytest.approx(chi, rel=0.01)
    assert 2 * np.log(np.median(found.factors)) == pytest.approx(math.log(chi), abs=0.1)
    here = np.interp(gain, found.gains, found.curve)
    assert here == pytest.approx(math.sqrt(chi), abs=0.005)


def test_noise_is_sent_back_as_autograd_does_it():
    weights, state, inputs, cotangent = chaos_module._drawn(3)
    found = lesson.measure_chaos(1.4, 0.3, first_seed=3)
    states = [state.clone()]
    for step in inputs:
        states.append(torch.tanh(1.4 * weights @ states[-1] + 0.3 * step).requires_grad_())
        states[-1].retain_grad()
    states[-1].backward(cotangent)
    for back in (1, 7, 30):
        gradient = states[-1 - back].grad.flatten(1).norm(dim=1) / cotangent.flatten(1).norm(dim=1)
        assert found.log10[:, back] == pytest.approx(gradient.log10().numpy(), abs=1e-3)


def test_noise_moves_the_edge_to_the_right():
    edges = [lesson.measure_chaos(noise=noise).edge for noise in (0.0, 0.5, 1.0)]
    assert edges == pytest.approx([1, 1.5497, 1.8556], abs=1e-3)
    assert "edge of chaos lies at gain 1.55" in lesson.measure_chaos(noise=0.5).summary()


@settings(deadline=None, max_examples=8)
@given(st.integers(3, 100), st.floats(-3, 8))
def test_with_zero_weights_gates_keep_a_power_of_their_sigmoid(steps, bias):
    found = lesson.measure_reach(steps, bias, "zero")
    wanted = np.arange(steps) * math.log10(expit(bias))
    for name in ("LSTM", "GRU"):
        for row in found.log10[name]:
            assert row == pytest.approx(wanted, abs=1e-8)
        assert found.rates(name) == pytest.approx(expit(bias))
    assert np.isneginf(found.median["tanh RNN"][1:]).all()
    assert found.rates("tanh RNN") == pytest.approx(0)
    assert "tanh RNN 0," in found.summary()
    assert "nan" not in found.summary()


@pytest.mark.parametrize("name", ["tanh RNN", "LSTM", "GRU"])
def test_what_reaches_back_is_what_torch_says_of_each_network_alone(name):
    kind = reach_module.NETWORKS[name]
    layers = [seeded(seed, lambda: kind(3, 5).double()) for seed in range(2)]
    inputs = seeded(7, lambda: torch.randn(2, 6, 4, 3, dtype=torch.float64))
    found = lesson.reached_back(layers, inputs, seed=1)
    source = torch.Generator().manual_seed(1)
    cotangents = torch.randn(2, 4, 5, generator=source, dtype=torch.float64)
    for row, layer, own, cotangent in zip(found, layers, inputs, cotangents, strict=True):
        norms = []
        for step in range(6):
            # From the state after a step on; a cell also counts for its own hidden state.
            _, state = layer(own[: step + 1])
            parts = [part.detach().requires_grad_() for part in _parts(state)]
            if name == "LSTM":
                before = layer(own[:step])[1][0][0] if step else torch.zeros(4, 5).double()
                gates = own[step] @ layer.weight_ih_l0.T + layer.bias_ih_l0
                gates = (gates + before @ layer.weight_hh_l0.T + layer.bias_hh_l0).detach()
                hidden = torch.sigmoid(gates[:, 15:]) * torch.tanh(parts[1])
                state = hidden, parts[1]
            else:
                hidden = state = parts[0]
            final = hidden[0] if step == 5 else layer(own[step + 1 :], state)[0][-1]
            (gradient,) = torch.autograd.grad((final * cotangent).sum(), parts[-1])
            norms.append(float(gradient.norm()))
        wanted = np.log10(norms[::-1]) - math.log10(norms[-1])
        assert row == pytest.approx(wanted, abs=1e-8)


def _parts(state):
    return state if isinstance(state, tuple) else (state,)


def test_orthogonal_weights_are_orthogonal_gate_by_gate_and_others_are_torchs():
    for name, gates in (("tanh RNN", 1), ("LSTM", 4), ("GRU", 3)):
        layer = reach_module._layer(name, 2.0, "orthogonal", 3)
        for block in layer.weight_hh_l0.chunk(gates):
            torch.testing.assert_close(block @ block.T, torch.eye(32).double())
        plain = reach_module._layer(name, 2.0, "torch's default", 3)
        assert torch.equal(plain.weight_ih_l0, layer.weight_ih_l0)
        if gates > 1:
            total = plain.bias_ih_l0 + plain.bias_hh_l0
            assert total[32:64].tolist() == [2.0] * 32
            assert total[:32].std() > 0


def test_mean_field_of_the_tanh_network_uses_torchs_variances():
    weights = seeded(0, lambda: nn.RNN(8, 2000))
    variance = float(weights.weight_hh_l0.detach().var())
    assert variance == pytest.approx(1 / (3 * 2000), rel=0.02)
    found = lesson.measure_reach(weights="orthogonal")
    q = theory.length_fixed_point("tanh", 1.0, 10 / 96)
    assert found.mean_field[1] == pytest.approx(math.log10(theory.chi("tanh", q, 1.0)) / 2)
    assert np.median(found.rates("tanh RNN")) == pytest.approx(10 ** found.mean_field[1], abs=0.02)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_readers_that_learn_together_learn_as_each_would_alone(kind):
    def make():
        return Reader(kind(2, 4, batch_first=True), 1)

    inputs, targets = adding_problem(3 * 6, 5)
    limits = [math.inf, 0.1, 1.0]
    together = Readers(
        [seeded(seed, make) for seed in range(3)],
        lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        limits,
    )
    alone = [seeded(seed, make) for seed in range(3)]
    for batch, target in zip(inputs.split(6), targets.split(6), strict=True):
        losses, norms, answers = together.step(batch, lambda a, t=target: mse_loss(a[:, 0], t))
        assert answers.shape == (3, 6, 1)
        for number, (network, limit) in enumerate(zip(alone, limits, strict=True)):
            layer = getattr(network.layer, "layer", network.layer)
            answer = network.output(layer(batch)[0][:, -1])
            loss = mse_loss(answer[:, 0], target)
            network.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= 0.5 * parameter.grad
            assert losses[number] == pytest.approx(float(loss.detach()), rel=1e-4)
            assert norms[number] == pytest.approx(float(norm), rel=1e-4)


def test_a_curve_is_made_of_means_over_steps():
    rows = np.arange(24.0).reshape(3, 8)
    shown = learning_curve(rows, 3)
    assert shown.shape == (3, 2)
    assert shown.tolist() == [[9, 12], [1, 4], [17, 20]]


def test_a_training_is_remembered_once_it_has_ended():
    runs = []

    @remembered
    def train(number):
        runs.append(number)
        yield from range(number)

    assert next(train(3)) == 0
    assert list(train(3)) == [0, 1, 2]
    assert list(train(3)) == [2]
    assert runs == [3, 3]
    for number in range(4, 13):
        list(train(number))
    assert len(list(train(3))) == 3


@pytest.fixture
def short(monkeypatch):
    """Make trainings short enough for tests."""
    monkeypatch.setattr(order_module, "STEPS", 40)
    monkeypatch.setattr(memory_module, "STEPS", 30)
    for module in (adding_module, order_module, memory_module):
        monkeypatch.setattr(module, "PAUSE", 0.0)


@pytest.mark.usefixtures("short")
def test_adding_trains_what_it_says():
    results = list(lesson.measure_adding(12, 0.02, 30, first_seed=41))
    assert [one.progress for one in results] == pytest.approx(np.arange(1, 31) / 30)
    done = results[-1]
    assert done.loss["GRU"].shape == (3, 30)
    assert done.curves["LSTM"].shape == (2, 3, 3)
    inputs, targets = adding_problem(30 * 32, 12, 41)
    network = seeded(42, lambda: Reader(nn.LSTM(2, 16, batch_first=True), 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step, (batch, target) in enumerate(zip(inputs.split(32), targets.split(32), strict=True)):
        loss = mse_loss(network(batch)[:, 0], target)
        assert done.loss["LSTM"][1, step] == pytest.approx(float(loss.detach()), rel=1e-3)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        assert done.norm["LSTM"][1, step] == pytest.approx(float(norm), rel=1e-2)
        optimizer.step()
    assert (
        f"step 30 of 30: error tanh RNN {np.median(done.error('tanh RNN')):.3g}" in done.summary()
    )


@pytest.mark.usefixtures("short")
def test_order_trains_the_same_networks_free_and_clipped():
    done = last(lesson.measure_order(0.05, 0.1, 1.0, first_seed=43))
    symbols, labels = temporal_order(40 * 20, 20, 43)
    code = one_hot(symbols, 6).float()
    for row, limit in enumerate((math.inf, 0.05)):
        (network,) = order_module._readers("LSTM", 1.0, 0.05, 44).networks[:1]
        biases = network.layer.bias_ih_l0 + network.layer.bias_hh_l0
        assert biases[32:64].tolist() == [1.0] * 32
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        for step in range(40):
            batch = slice(20 * step, 20 * step + 20)
            answers = network(code[batch])
            loss = cross_entropy(answers, labels[batch])
            right = (answers.argmax(1) == labels[batch]).float().mean()
            assert done.loss["LSTM"][row, 1, step] == pytest.approx(float(loss.detach()), rel=1e-3)
            assert done.accuracy["LSTM"][row, 1, step] == pytest.approx(float(right))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), limit)
            optimizer.step()
    rnn = order_module._readers("tanh RNN", 0.1, 1.0, 43).networks[2].layer.layer
    radius = torch.linalg.eigvals(rnn.weight_hh_l0.detach()).abs().max()
    assert float(radius) == pytest.approx(1.2, rel=1e-4)
    assert done.nonfinite == 0
    assert "every loss finite" in done.summary()


@pytest.mark.usefixtures("short")
def test_order_says_when_losses_break():
    done = last(lesson.measure_order(1.0, 3e38, 1.0, first_seed=43))
    assert done.nonfinite > 0
    assert f"{done.nonfinite} losses not finite" in done.summary()
    assert "nan" not in done.summary()


@pytest.mark.usefixtures("short")
def test_memory_starts_differ_in_their_biases_only():
    done = last(lesson.measure_memory(20, 0.01, first_seed=45))
    symbols, labels = first_symbol(30 * 16, 20, 45)
    code = one_hot(symbols, 8).float()

    def make(start):
        lstm = nn.LSTM(8, 16, batch_first=True)
        reader = Reader(lstm, 4)
        if start == "bias 1":
            forget_gate_bias_(lstm, 1.0)
        if start == "chrono":
            chrono_(lstm, 20)
        return reader

    for start in ("torch's bias", "bias 1", "chrono"):
        network = seeded(46, lambda start=start: make(start))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for step in range(30):
            batch = slice(16 * step, 16 * step + 16)
            answers = network(code[batch])
            right = (answers.argmax(1) == labels[batch]).float().mean()
            assert done.accuracy[start][1, step] == pytest.approx(float(right), abs=1e-6)
            optimizer.zero_grad()
            cross_entropy(answers, labels[batch]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    assert done.before["chrono"][-1] > done.before["bias 1"][-1] > done.before["torch's bias"][-1]
    assert 10 ** done.predicted["bias 1"] == pytest.approx(expit(1.0) ** np.arange(20))
    assert done.predicted["chrono"] == pytest.approx(
        np.log10(theory.chrono_memory(np.arange(20), 20))
    )


@pytest.mark.usefixtures("short")
def test_counts_are_of_networks_above_the_threshold():
    done = last(lesson.measure_memory(20, 0.01, first_seed=45))
    rows = done.accuracy["chrono"]
    rows[:] = np.linspace(0.2, 0.9, 6)[:, None]
    assert done.learned("chrono") == 3
    added = last(lesson.measure_adding(12, 0.02, 30, first_seed=41))
    added.loss["GRU"][:] = np.array([0.01, 0.029, 0.031])[:, None]
    assert added.learned("GRU") == 2


def test_a_relu_network_with_a_large_radius_breaks_and_a_tanh_one_does_not():
    assert np.isinf(lesson.first_nonfinite_step("tanh", 2.0, seeds=2)).all()
    assert (lesson.first_nonfinite_step("relu", 3.0, seeds=2) <= 5).all()


def test_a_tanh_network_breaks_when_its_gradient_leaves_float32_while_its_loss_is_finite():
    layer = seeded(0, lambda: nn.RNN(2, 32, batch_first=True))
    output = seeded(0, lambda: nn.Linear(32, 1))
    with torch.no_grad():
        layer.weight_hh_l0 *= 5 / torch.linalg.eigvals(layer.weight_hh_l0).abs().max()
    inputs, targets = adding_problem(8, 300, 0)
    loss = mse_loss(output(layer(inputs)[0][:, -1])[:, 0], targets)
    loss.backward()
    assert loss.isfinite()
    assert not layer.weight_hh_l0.grad.isfinite().all()
    assert lesson.first_nonfinite_step("tanh", 5.0, seeds=1, length=300) == 2


def test_larger_weights_are_larger_by_the_factor():
    one, eight = (lesson.measure_grown("GRU", factor, seeds=2) for factor in (1.0, 8.0))
    assert (eight - one > 20).all()
    assert lesson.measure_grown("GRU", 1.0, seeds=1)[0] == pytest.approx(one[0], abs=3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_powers(radius=0.0), "radius must be between 0.001 and 1000, got 0"),
        (lambda: lesson.measure_powers(shear=-1.0), "shear must be a finite number, 0 or more"),
        (lambda: lesson.measure_powers(kind="round"), "kind must be one of Jordan, Gaussian, orth"),
        (lambda: lesson.measure_powers(steps=0), "steps must be 1 or more, got 0"),
        (lambda: lesson.measure_powers(steps=101), "steps must be 100 or fewer, got 101"),
        (lambda: lesson.measure_chaos(gain=3.0), "gain must be between 0.5 and 2.5, got 3"),
        (lambda: lesson.measure_chaos(noise=-1.0), "noise must be between 0 and 2, got -1"),
        (lambda: lesson.measure_reach(steps=2), "steps must be 3 or more, got 2"),
        (lambda: lesson.measure_reach(forget_bias=math.nan), "forget_bias must be between -10"),
        (lambda: lesson.measure_reach(weights="big"), "weights must be one of torch's default, "),
        (lambda: last(lesson.measure_adding(1)), "length must be 2 or more, got 1"),
        (lambda: last(lesson.measure_adding(40, -1.0)), "learning_rate must be a finite number"),
        (lambda: last(lesson.measure_order(0.0)), "max_norm must be a finite number above 0"),
        (lambda: last(lesson.measure_order(1.0, 0.0)), "rnn_rate must be a finite number above"),
        (lambda: last(lesson.measure_memory(2)), "length must be 3 or more, got 2"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_powers, {"steps": 30}, {"shear": 4.5}),
        (lesson.measure_chaos, {"noise": 0.5, "gain": 1.1}, {"noise": 0.4}),
        (lesson.measure_reach, {}, {"forget_bias": 0.5}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=2).prediction == 2
    assert measure(**{**asked, **other}, prediction=2).prediction is None


@pytest.mark.usefixtures("short")
def test_trainings_show_a_prediction_only_where_it_was_asked_for():
    assert last(lesson.measure_adding(12, 0.02, 30, prediction=1, first_seed=41)).prediction is None
    assert last(lesson.measure_order(0.05, first_seed=43, prediction=1)).prediction == 1
    assert last(lesson.measure_order(0.05, lstm_rate=0.5, prediction=1)).prediction is None
    assert last(lesson.measure_memory(20, first_seed=45, prediction=1)).prediction is None


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda steps, share: logit(share ** (1 / steps)), True, "right"),
        (lambda _steps, _share: ..., False, "returns nothing"),
        (lambda steps, share: share ** (1 / steps), False, "which bias opens it"),
        (lambda steps, share: -logit(share ** (1 / steps)), False, "the sign"),
        (lambda _steps, share: logit(share), False, "after *one* step"),
        (lambda steps, share: logit(share) / steps, False, "take the root before"),
        (lambda steps, _share: math.log(steps - 1), False, "keeps about 1/e"),
        (lambda steps, share: math.log(steps / -math.log(share)), False, "limit of many steps"),
        (lambda steps, share: expit(share ** (1 / steps)), False, "need its inverse"),
        (lambda steps, _share: steps, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_forget_bias(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def norms(change=lambda gradient: gradient.norm(dim=(1, 2)), target=lambda outputs: outputs[-1]):
    def reach(layer, inputs):
        leaf = inputs.clone().requires_grad_()
        outputs, _ = layer(leaf)
        (gradient,) = torch.autograd.grad(target(outputs).sum(), leaf)
        return change(gradient)

    return reach


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (norms(), True, "right"),
        (norms(lambda g: g.norm(dim=(1, 2)).tolist()), True, "right"),
        (lambda _layer, _inputs: ..., False, "returns nothing"),
        (norms(lambda g: g), False, "one norm for each step"),
        (norms(target=lambda outputs: outputs), False, "the *last* output only"),
        (norms(lambda g: g.norm(dim=(1, 2)).flip(0)), False, "in the wrong order"),
        (norms(lambda g: g.norm(dim=(0, 1))), False, "steps are dimension 0"),
        (norms(lambda g: g.norm(dim=(0, 2))), False, "steps are dimension 0"),
        (norms(lambda g: g.norm(dim=2)), False, "over batch and features"),
        (norms(lambda g: g.sum(dim=(1, 2))), False, "both signs cancel"),
        (norms(lambda g: g.square().sum(dim=(1, 2))), False, "take its root"),
        (norms(lambda g: g.norm()), False, "6 norms"),
        (norms(lambda g: 2 * g.norm(dim=(1, 2))), False, "should be"),
        (lambda _layer, _inputs: "text", False, "must return numbers"),
        (lambda layer, inputs: layer(inputs)[0].grad.norm(), False, "raised AttributeError"),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_the_second_exercise(function, right, said):
    verdict = lesson.check_reach(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def test_a_right_solution_is_tried_on_a_long_sequence():
    closed, opened = (lesson.try_reach(norms(), bias) for bias in (0.0, logit(0.5**0.01)))
    assert closed.startswith(("10^-20", "10^-21", "10^-22"))
    assert opened.startswith(("10^0", "10^1", "10^-0"))
