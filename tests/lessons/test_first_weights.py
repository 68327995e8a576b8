"""Lesson 05: its first weights, its maps, its lottery, its small races and its checks."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.initialization import initialize
from gradcourse.lessons import first_weights as lesson
from gradcourse.lessons.first_weights import miniature, trained
from gradcourse.live import live
from gradcourse.models import MLP
from gradcourse.signals import mlp_signal
from gradcourse.signals.weights import base_weights
from gradcourse.tasks import digits


@pytest.mark.parametrize("scheme", ["default", "Xavier", "He", "orthogonal"])
def test_first_layers_have_the_spread_that_torch_gives_them(scheme):
    fills = {
        "default": lambda layer: layer.reset_parameters(),
        "Xavier": lambda layer: nn.init.xavier_normal_(layer.weight),
        "He": lambda layer: nn.init.kaiming_normal_(layer.weight, nonlinearity="relu"),
        "orthogonal": lambda layer: nn.init.orthogonal_(layer.weight),
    }
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    fills[scheme](layer)
    weight, bias = lesson.first_layers(scheme, 3)
    assert weight.shape == (8, 64, 64)
    assert weight.std().item() == pytest.approx(layer.weight.std().item(), rel=0.03)
    reach = weight.abs().max().item()
    if scheme == "default":
        assert reach == pytest.approx(1 / 8, rel=1e-3)
        assert bias.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.1)
    else:
        assert reach > 1.5 / 8
        assert not bias.any()
    if scheme == "orthogonal":
        assert torch.allclose(weight @ weight.mT, torch.eye(64).expand(8, -1, -1), atol=1e-5)


@pytest.mark.parametrize("scheme", ["default", "He", "orthogonal, gain 1.41"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_schemes_measure_what_autograd_finds(scheme, activation):
    found = lesson.measure_schemes(6, scheme, activation, first_seed=3)
    h = lesson.digit_batch(16, 3).double().expand(8, -1, -1).clone().requires_grad_()
    hidden = [h]
    for layer in range(1, 7):
        weight, bias = (part.double() for part in lesson.first_layers(scheme, layer, 3))
        hidden.append(getattr(torch, activation)(hidden[-1] @ weight.mT + bias))
    size = [part.square().mean((1, 2)).sqrt().log10() for part in hidden]
    assert pytest.approx(torch.stack(size).detach().numpy(), abs=1e-4) == found.log10_activation.T
    # The loss is the inner product with the toolkit's unit cotangents: its profile ends at 0.
    base = mlp_signal(torch.ones(16, 64), activation, 64, 1, seeds=8, first_seed=3)
    assert base.log10_gradient[:, -1] == pytest.approx(0)
    cotangents = base_weights(64, 64, 3, 8, torch.device("cpu")).cotangents(16).double()
    gradients = torch.autograd.grad((hidden[-1] * cotangents).sum(), hidden)
    norms = torch.stack([part.square().sum((1, 2)).sqrt().log10() for part in gradients])
    assert pytest.approx(norms.numpy(), abs=1e-3) == found.log10_gradient.T


def test_he_is_the_mean_field_signal_at_scale_root_two():
    found = lesson.measure_schemes(40, "He", "relu", first_seed=1)
    inputs = lesson.digit_batch(16, 1)
    known = mlp_signal(inputs, "relu", 64, 40, math.sqrt(2), seeds=8, first_seed=1)
    assert found.log10_gradient == pytest.approx(known.log10_gradient, abs=1e-3)
    assert found.log10_activation == pytest.approx(known.log10_activation, abs=1e-3)


@pytest.mark.parametrize(
    ("scheme", "chi"),
    [("default", 1 / 6), ("Xavier", 1 / 2), ("He", 1), ("orthogonal", 1 / 2)],
)
def test_a_relu_layer_takes_the_root_of_chi(scheme, chi):
    found = lesson.measure_schemes(30, scheme, "relu")
    assert found.predicted_per_layer == pytest.approx(math.sqrt(chi), rel=1e-6)
    assert found.gradient_per_layer == pytest.approx(math.sqrt(chi), rel=0.04)


@pytest.mark.parametrize(
    ("measure", "settings", "sentence"),
    [
        (lesson.measure_schemes, {"depth": 0}, "depth must be 1 or more, got 0"),
        (lesson.measure_schemes, {"depth": 101}, "depth must be 100 or less, got 101"),
        (lesson.measure_schemes, {"scheme": "x"}, "scheme must be one of default, .*, got 'x'"),
        (lesson.measure_schemes, {"activation": "x"}, "activation must be one of .*, got 'x'"),
        (lesson.measure_phase, {"bias_scale": -1.0}, "bias_scale must be between .*, got -1"),
        (lesson.measure_phase, {"width": 0}, "width must be 1 or more, got 0"),
        (lesson.measure_lottery, {"depth": 101}, "depth must be 100 or less, got 101"),
        (lesson.measure_lottery, {"seeds": 1}, "seeds must be 2 or more, got 1"),
        (lesson.measure_isometry, {"depth": 33}, "depth must be 32 or less, got 33"),
        (lesson.measure_isometry, {"weights": "x"}, "weights must be one of .*, got 'x'"),
        (lesson.measure_isometry, {"activation": "gelu"}, "activation must be one of linear"),
    ],
)
def test_bad_settings_get_one_sentence(measure, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(**settings)


@pytest.mark.parametrize(
    ("measure", "settings", "sentence"),
    [
        (lesson.measure_trained, {"bias_scale": 11}, "bias_scale must be between .*, got 11"),
        (
            lambda **at: iter([lesson.train_plain("He", 3, **at)]),
            {"optimizer": "x"},
            "one of SGD, Adam",
        ),
        (lesson.measure_miniature, {"depth": 0}, "depth must be 1 or more, got 0"),
        (lesson.measure_miniature, {"optimizer": "x"}, "optimizer must be one of SGD, Adam"),
    ],
)
def test_bad_races_get_one_sentence(measure, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(measure(**settings))
    with pytest.raises(ValueError, match="scheme must be one of He, Xavier, default, got 'x'"):
        lesson.ready_networks("x", 3)


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_schemes, {}, {"depth": 29}),
        (lesson.measure_schemes, {}, {"scheme": "He"}),
        (lesson.measure_phase, {"bias_scale": 0.5}, {"bias_scale": 0.45}),
        (lesson.measure_phase, {"bias_scale": 0.5}, {"activation": "relu"}),
        (lesson.measure_lottery, {}, {"width": 32}),
        (lesson.measure_isometry, {}, {"weights": "orthogonal"}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=-1).prediction == -1
    assert measure(**{**asked, **other}, prediction=-1).prediction is None


def test_every_cell_of_the_map_is_a_network_and_its_edge_is_where_it_passes_twenty():
    found = lesson.measure_phase(0.3, "tanh", 16, first_seed=2)
    diagram = found.diagram
    scale = float(diagram.weight_scales[40])
    alone = mlp_signal(lesson.digit_batch(4, 2), "tanh", 16, 30, scale, 0.3, 1, first_seed=2)
    assert diagram.log10_gradient[40, 29] == pytest.approx(alone.log10_gradient[0, 0], abs=1e-3)
    edge = found.measured_edge[40]
    sizes = 10 ** np.abs(diagram.log10_gradient[40])
    assert sizes[math.floor(edge) - 1] <= math.e**3 <= sizes[math.ceil(edge) - 1] * 1.001
    profile = theory.mean_field_profile("tanh", 30, scale**2, 0.09)
    assert found.predicted[40, 29] == pytest.approx(profile.log10_gradient[0])
    assert found.critical == pytest.approx(math.sqrt(theory.critical_weight_variance("tanh", 0.09)))


def test_far_from_its_edge_theory_leaves_the_map_after_six_depth_scales():
    found = lesson.measure_phase(0.0, "relu")
    for column in (0, 10, 30, -1):
        variance = found.diagram.weight_scales[column] ** 2
        depth_scale = theory.depth_scale(theory.chi("relu", 1.0, variance))
        assert found.predicted_edge[column] == pytest.approx(6 * depth_scale)
    # At 1.4 the picture is too shallow; the line goes on at the same rate.
    near = theory.depth_scale(theory.chi("relu", 1.0, 1.4**2))
    assert found.predicted_edge[18] == pytest.approx(6 * near, rel=1e-6)
    assert "theory: edge 1.414" in found.summary()
    assert math.isnan(lesson.measure_phase(0.0, "sigmoid").critical)


def test_drawn_gains_have_the_law_of_real_networks():
    drawn = 2 * lesson.lottery_gains(16, 2000)[:, 12]
    one = lesson.digit_batch(1)
    real = mlp_signal(one, "relu", 16, 12, math.sqrt(2), seeds=500).log10_gradient[:, 0] * 2
    assert stats.ks_2samp(drawn[np.isfinite(drawn)], real[np.isfinite(real)]).pvalue > 0.001


def test_the_lottery_knows_its_median_band_and_density():
    found = lesson.measure_lottery(40, 64)
    mean, variance = theory.relu_log_gain(64, 40)
    assert found.predicted[-1] == pytest.approx(mean / 2 / math.log(10))
    reach = 1.645 * math.sqrt(variance) / 2 / math.log(10)
    assert found.predicted_high[-1] - found.predicted[-1] == pytest.approx(reach)
    assert found.median[-1] == pytest.approx(found.predicted[-1], abs=0.1)
    assert np.trapezoid(found.predicted_density, found.grid) == pytest.approx(1, abs=1e-3)
    assert found.density.sum() * np.diff(found.centres)[0] == pytest.approx(1, abs=0.02)
    assert found.ratio == pytest.approx(10 ** (2 * reach), rel=0.3)


@pytest.mark.parametrize("weights", ["Gaussian", "orthogonal"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_spread_is_that_of_the_singular_values(weights, activation):
    found = lesson.measure_isometry(3, weights, activation)
    kept = 10.0 ** (2 * found.log10_values)
    # The median over seeds of each value, so near the median of the spreads.
    spread = kept.var() / kept.mean() ** 2
    assert spread == pytest.approx(np.median(found.spread[:, -1]), rel=0.2)
    assert found.spread[:, -1].mean() == pytest.approx(found.predicted[-1], rel=0.25)


def test_an_isometry_has_one_singular_value_and_no_spread():
    found = lesson.measure_isometry(32, "orthogonal", "linear")
    assert np.abs(found.log10_values).max() < 1e-5
    assert np.abs(found.spread).max() < 1e-4


def test_stacked_networks_train_as_each_alone():
    nets = lesson.ready_networks("He", 3, seeds=3, width=12)
    stack = lesson.StackedMLP(nets, "relu")
    inputs, labels = torch.randn(7, 64), torch.arange(7)
    batches = [(inputs, labels), (inputs.flip(0), labels.flip(0))]
    lesson.train_on(stack, torch.optim.SGD(stack.parameters(), lr=0.1, momentum=0.9), batches)
    shares = lesson.accuracy_on(stack, inputs, labels)
    for number, net in enumerate(nets):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for x, y in batches:
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
        assert torch.allclose(stack(inputs)[number], net(inputs), atol=1e-5)
        right = (net(inputs).argmax(-1) == labels).float().mean().item()
        assert shares[number] == pytest.approx(right)


def test_the_map_of_learning_fills_and_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(trained, "STEPS", 12)
    first, last = lesson.measure_trained(0.2)
    assert (first.step, first.progress, last.progress) == (6, 0.5, 1.0)
    assert last.accuracy.shape == (5, 11)
    scale = 1.08
    q = theory.length_fixed_point("tanh", scale**2, 0.04)
    expected = theory.depth_scale(theory.chi("tanh", q, scale**2))
    assert np.interp(scale, last.grid, last.trains) == pytest.approx(6 * expected)
    assert last.dead == pytest.approx(last.trains * 11 / 6)
    assert last.depth_scales[1, 2] == pytest.approx(10 / expected)
    assert "step 12 of 12" in last.summary()
    with pytest.raises(ValueError, match="side must be one of vanishing, exploding, got 'left'"):
        last.accuracy_by_depth("left")


def test_the_depth_of_half_is_between_the_networks_that_pass_it():
    rows = np.array([[0.9, 0.4, 0.9], [0.6, 0.3, 0.9], [0.4, 0.2, 0.8], [0.1, 0.1, 0.7], [0.1] * 3])
    found = trained._depth_of_half(rows)
    assert found == pytest.approx([13.0, np.nan, 22 + 6 * 0.2 / 0.6], nan_ok=True)


def test_a_race_reports_every_scheme_and_what_theory_expects(monkeypatch):
    monkeypatch.setattr(miniature, "BATCH", 8)
    *_, last = lesson.measure_miniature(4, steps=24)
    assert list(last.accuracy) == ["He", "Xavier", "default"]
    assert last.accuracy["He"].shape == (3, 2)
    assert last.steps.tolist() == [0, 12, 24]
    assert last.progress == 1
    assert last.gradient["He"] == pytest.approx(0)
    assert last.gradient["Xavier"] == pytest.approx(3 * math.log10(0.5) / 2)
    assert last.gradient["default"] == pytest.approx(3 * math.log10(1 / 6) / 2)


@pytest.mark.parametrize(
    ("optimizer", "options", "kind", "given"),
    [
        ("SGD", {}, torch.optim.SGD, {"lr": 0.002, "momentum": 0.9}),
        ("SGD", {"lr": 0.05}, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
        ("Adam", {"eps": 1e-16}, torch.optim.Adam, {"lr": 0.001, "eps": 1e-16}),
    ],
)
def test_plain_training_does_what_a_loop_over_torch_networks_does(optimizer, options, kind, given):
    found, moved = lesson.train_plain(
        "Xavier", 3, optimizer, 4, steps=5, activation="sigmoid", **options
    )
    images, labels = digits()
    order = torch.randint(len(images), (5, 64), generator=torch.Generator().manual_seed(4))
    shares, ways = [], []
    for seed in (4, 5):
        net = MLP(64, 128, 3, 10, "sigmoid")
        initialize(net, "xavier_normal", generator=torch.Generator().manual_seed(seed))
        layers = [layer for layer in net if isinstance(layer, nn.Linear)]
        before = [layer.weight.detach().clone() for layer in layers]
        trainer = kind(net.parameters(), **given)
        for rows in order:
            trainer.zero_grad()
            cross_entropy(net(images[rows]), labels[rows]).backward()
            trainer.step()
        right = net(images[::6]).argmax(-1) == labels[::6]
        shares.append(right.float().mean().item())
        ways.append([(a.weight - b).norm().item() for a, b in zip(layers, before, strict=True)])
    assert found == pytest.approx(np.mean(shares), abs=0.01)
    assert moved == pytest.approx(np.mean(ways, axis=0), rel=0.01)


@pytest.mark.parametrize(("activation", "depth"), [("relu", 20), ("tanh", 30)])
def test_the_wedge_is_where_theory_keeps_the_norm_within_twenty(activation, depth):
    low, high = lesson.wedge(activation, depth, bias_scale=0.2)

    def change(scale):
        profile = theory.mean_field_profile(activation, depth, scale**2, 0.04)
        return abs(profile.log10_gradient[0])

    limit = 3 / math.log(10)
    assert change(low) <= limit < change(low - 0.005)
    assert change(high) <= limit < change(high + 0.005)


def test_no_scale_keeps_a_deep_sigmoid_gradient():
    assert all(map(math.isnan, lesson.wedge("sigmoid", 60)))


def test_the_networks_of_a_race_have_the_weights_of_their_scheme():
    for scheme, variance in {"He": 2.0, "Xavier": 1.0, "default": 1 / 3}.items():
        (net,) = lesson.ready_networks(scheme, 4, seeds=1, first_seed=5)
        assert isinstance(net, MLP)
        found = net[4].weight.var().item() * 128
        assert found == pytest.approx(variance, rel=0.05)
    again = lesson.ready_networks("He", 2, seeds=2, first_seed=5)
    assert not torch.equal(again[0][0].weight, again[1][0].weight)


def test_pairs_of_layers_do_what_fans_say():
    forward = math.prod(theory.fan_factors("lecun", *fans)[0] for fans in ((64, 256), (256, 64)))
    assert lesson.zigzag_factors("lecun_normal")[0] == pytest.approx(forward, rel=0.1)
    backward = math.prod(theory.fan_factors("xavier", *fans)[1] for fans in ((64, 256), (256, 64)))
    assert lesson.zigzag_factors("xavier_normal")[1] == pytest.approx(backward, rel=0.1)


def test_fan_out_makes_the_first_logits_too_large():
    assert lesson.first_loss("fan_out", seeds=4) > 1.5 * lesson.first_loss("fan_in", seeds=4)


def test_dead_seeds_are_said_in_words():
    figure = live(
        lesson.measure_lottery,
        lesson.draw_lottery,
        panels=[["depth", "seeds"]],
        width=[2, 16],
        depth=(1, 100),
    )
    figure.set(width=2, depth=100)
    assert " dead (a layer" in figure.summary
    assert "nan" not in figure.summary


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda a: math.sqrt(2 / (1 + a**2)), True, "right"),
        (lambda _a: ..., False, "returns nothing"),
        (lambda a: 2 / (1 + a**2), False, "weight *variance*"),
        (lambda a: math.sqrt(2 / (1 + a)), False, "*squared* slope"),
        (lambda _a: math.sqrt(2), False, "that is ReLU"),
        (lambda a: 2 / (1 + a), False, "chi has squares"),
        (lambda a: math.sqrt((1 + a**2) / 2), False, "upside down"),
        (lambda a: 3 + a, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_leaky_scale(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


def six_depth_scales(q, variance, times=6):
    return times * theory.depth_scale(theory.chi("tanh", q, variance))


LENGTH = theory.length_fixed_point("tanh", 1.44)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (six_depth_scales(LENGTH, 1.44), True, "right"),
        (round(six_depth_scales(LENGTH, 1.44)), True, "right"),
        (..., False, "replace the dots"),
        (six_depth_scales(LENGTH, 1.44, times=1), False, "one depth scale"),
        (2 * six_depth_scales(LENGTH, 1.44), False, "not its root"),
        (six_depth_scales(theory.length_fixed_point("tanh", 1.2), 1.2), False, "square the scale"),
        (six_depth_scales(LENGTH, 1.2), False, "chi, too"),
        (six_depth_scales(1.0, 1.44), False, "do not keep variance 1"),
        (1.0, False, "too low"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_deepest(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)
