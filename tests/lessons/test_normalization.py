"""Lesson 06: its projection, its explosion, its training, its trials and its checks."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse import theory
from gradcourse.lessons import normalization as lesson

NORMS = ("BatchNorm, LayerNorm", "RMSNorm")


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(NORMS),
    st.integers(2, 32),
    st.sampled_from(["random", "all up", "stretch"]),
    st.floats(0.1, 10),
    st.integers(0, 1000),
)
def test_the_formula_of_the_gradient_is_what_autograd_finds(norm, together, push, spread, seed):
    result = lesson.measure_projection(norm, together, push, spread, seed)
    assert result.measured == pytest.approx(result.predicted, abs=1e-6 / spread)
    assert "nan" not in result.summary()


@pytest.mark.parametrize(
    ("norm", "push", "kept"),
    [
        (NORMS[0], "all up", 0),
        (NORMS[0], "stretch", 0),
        (NORMS[1], "stretch", 0),
        (NORMS[1], "all up", None),
    ],
)
def test_what_changes_nothing_in_the_output_has_no_gradient(norm, push, kept):
    share = lesson.measure_projection(norm, 8, push).kept
    assert (share > 0.5) if kept is None else share == pytest.approx(kept, abs=1e-9)


def test_the_share_of_random_gradients_is_the_predicted_one():
    for norm in NORMS:
        result = lesson.measure_projection(norm)
        assert result.share == pytest.approx(result.predicted_share, abs=0.06)
        assert (result.low <= result.share).all()
        assert (result.share <= result.high + 1e-9).all()


def test_the_gradient_is_divided_by_the_spread():
    one, ten = (lesson.measure_projection(spread=spread) for spread in (1, 10))
    assert one.measured == pytest.approx(10 * ten.measured)
    assert ten.kept == pytest.approx(one.kept)


def test_the_explosion_is_that_of_torch_modules():
    inputs = lesson.digit_batch(32, 5)
    result = lesson.measure_explosion(batch=32, depth=8, width=16, seeds=1, first_seed=5)
    weights = [w[0].double() for w in lesson_weights(16, 8, 5)]
    hidden = [inputs.double()]
    for weight in weights:
        z = hidden[-1] @ (1.4 * weight / math.sqrt(weight.shape[1])).T
        hidden.append(torch.relu(nn.BatchNorm1d(16).double()(z)).requires_grad_())
    loss = (hidden[-1] * cotangents(16, 5, 32)).sum()
    # The input has no gradient: it is a constant.
    norms = [g.norm().log10().item() for g in torch.autograd.grad(loss, hidden[1:])]
    assert result.median == pytest.approx(np.array(norms) - norms[-1], abs=1e-4)


def lesson_weights(width, depth, seed):
    from gradcourse.signals.weights import base_weights

    kept = base_weights(64, width, seed, 1, torch.device("cpu"))
    return [kept.layer(layer)[0] for layer in range(1, depth + 1)]


def cotangents(width, seed, batch):
    from gradcourse.signals.weights import base_weights

    return base_weights(64, width, seed, 1, torch.device("cpu")).cotangents(batch)[0]


def test_theory_beside_the_explosion_depends_on_batch_and_place():
    before = lesson.measure_explosion(batch=16, depth=20)
    assert before.predicted_factor == pytest.approx(theory.batch_norm_chi("relu", 16) ** 0.5)
    assert before.factors[2] == before.predicted_factor
    assert before.predicted[0] == pytest.approx(19 * math.log10(before.predicted_factor))
    after = lesson.measure_explosion("LayerNorm", "after", "tanh", weight_scale=2, depth=20)
    expected = theory.norm_chi("LayerNorm", "tanh", 4, after=True) ** 0.5
    assert after.predicted_factor == pytest.approx(expected)
    assert (after.factors == after.predicted_factor).all()


def test_overflow_without_a_norm_is_said_in_words():
    wild = lesson.measure_explosion(weight_scale=30.0, depth=60)
    layer = wild.plain.overflow_layer
    assert f"Without a norm: float32 overflows at layer {layer}" in wild.summary()
    assert np.isfinite(wild.median).all()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_projection, {}, {"norm": "RMSNorm"}),
        (lesson.measure_explosion, {"weight_scale": 0.3}, {"norm": "LayerNorm"}),
        (lesson.measure_explosion, {}, {"depth": 40}),
        (lesson.measure_explosion, {}, {"place": "after"}),
        (lesson.measure_explosion, {}, {"activation": "tanh"}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=2).prediction == 2
    assert measure(**{**asked, **other}, prediction=2).prediction is None


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_projection(together=1), "together must be 2 or more, got 1"),
        (lambda: lesson.measure_projection(together=33), "together must be 32 or less, got 33"),
        (lambda: lesson.measure_projection("none"), "norm must be one of .*, got 'none'"),
        (lambda: lesson.measure_projection(push="down"), "push must be one of .*, got 'down'"),
        (lambda: lesson.measure_projection(spread=0), "spread must be .* above 0, got 0"),
        (lambda: lesson.measure_explosion(place="around"), "place must be one of before, after"),
        (lambda: lesson.measure_explosion("none"), "norm must be one of .*, got 'none'"),
        (lambda: lesson.measure_explosion(batch=2), "batch must be 4 or more, got 2"),
        (lambda: next(lesson.measure_training(1)), "depth must be 2 or more, got 1"),
        (lambda: next(lesson.measure_training(weight_scale=0)), "weight_scale must be .* above 0"),
        (lambda: next(lesson.measure_training(prediction=-1)), "prediction must be .* above 0"),
        (lambda: lesson.modes_disagree(1), "batch must be 2 or more, got 1"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


class Plain(nn.Sequential):
    """One network of the stack, out of torch's own modules."""

    def __init__(self, weights, norm):
        layers = []
        for weight in weights[:-1]:
            layers.append(linear(weight))
            if norm == "BatchNorm":
                layers.append(nn.BatchNorm1d(weight.shape[1], affine=False))
            elif norm == "LayerNorm":
                layers.append(nn.LayerNorm(weight.shape[1], elementwise_affine=False))
            layers.append(nn.ReLU())
        super().__init__(*layers, linear(weights[-1]))


def linear(weight):
    layer = nn.Linear(*weight.shape, bias=False)
    layer.weight.data = weight.detach().T.clone()
    return layer


@pytest.mark.parametrize("norm", ["no norm", "BatchNorm", "LayerNorm"])
def test_a_stack_trains_as_each_network_would_alone(norm):
    rates = [0.05, 0.2]
    stack = lesson.Stack(norm, 3, 1.2, rates, width=12, batch=16, seeds=2, first_seed=4)
    alone = [Plain([w[n] for w in stack.weights], norm) for n in range(4)]
    order = torch.Generator().manual_seed(4)
    for _ in range(3):
        norms = stack.step()
        chosen = torch.randint(1500, (16,), generator=order)
        for number, net in enumerate(alone):
            net.zero_grad()
            inputs, labels = stack.data.inputs[chosen], stack.data.labels[chosen]
            nn.functional.cross_entropy(net(inputs), labels).backward()
            gradients = [p.grad.norm().item() for p in net.parameters()]
            assert norms[number].numpy() == pytest.approx(np.array(gradients[:-1]), rel=1e-3)
            torch.optim.SGD(net.parameters(), lr=rates[number // 2]).step()
    outputs = stack.outputs(stack.data.test_inputs)
    for number, net in enumerate(alone):
        scores = net(stack.data.test_inputs)
        assert outputs[number].detach().numpy() == pytest.approx(scores.detach().numpy(), abs=2e-3)
        right = (scores.argmax(1) == stack.data.test_labels).float().mean().item()
        assert stack.accuracy()[number // 2, number % 2].item() == pytest.approx(right, abs=0.01)


def test_weights_have_the_scale_and_belong_to_their_seed():
    stack = lesson.Stack("no norm", 2, 3.0, [0.1, 1.0], width=400, seeds=2, first_seed=9)
    for weight, scale in zip(stack.weights, (3, 3, 1), strict=True):
        spread = weight.detach().std().item() * math.sqrt(weight.shape[1])
        assert spread == pytest.approx(scale, rel=0.03)
    assert torch.equal(stack.weights[1][0], stack.weights[1][2])
    assert not torch.equal(stack.weights[1][0], stack.weights[1][1])
    other = lesson.Stack("no norm", 2, 3.0, [0.1], width=400, seeds=1, first_seed=10)
    assert torch.equal(stack.weights[1][1], other.weights[1][0])


def test_equal_steps_move_every_layer_by_the_same_share():
    stack = lesson.Stack("BatchNorm", 4, 1.4, [0.1], seeds=1, equal_steps=True)
    before = [w.detach().clone() for w in stack.weights]
    stack.step()
    for old, new in zip(before, stack.weights, strict=True):
        assert ((new - old).norm() / old.norm()).item() == pytest.approx(0.1, rel=1e-3)


def test_shifts_spoil_each_step_anew_and_no_test():
    make = partial(lesson.Stack, "BatchNorm", 2, 1.4, [0.1], seeds=1)
    stack, again, steady = make(shifted=True), make(shifted=True), make()
    norms = [one.step() for one in (stack, again, steady)]
    assert torch.equal(norms[0], norms[1])
    assert not torch.allclose(norms[0], norms[2])
    inputs, labels = stack.data.test_inputs, stack.data.test_labels
    net = Plain([w[0] for w in stack.weights], "BatchNorm")
    right = (net(inputs).argmax(1) == labels).float().mean().item()
    assert stack.accuracy().item() == pytest.approx(right, abs=0.01)
    shifts = torch.Generator().manual_seed(1)
    first, second = (stack.outputs(inputs, shifts) for _ in range(2))
    assert not torch.allclose(first, second)


def test_training_yields_what_there_is_so_far():
    parts = list(lesson.measure_training(2, seeds=1))
    progress = [part.progress for part in parts]
    assert len(parts) > 1
    assert progress == sorted(progress)
    assert progress[-1] == 1
    last = parts[-1]
    assert last.accuracy.shape == last.broken.shape == (3, 6, 1)
    assert last.ratio.shape == (6, 150)
    # The first ratio is that of layer 2 and the last, which are the same layer here.
    assert last.ratio == pytest.approx(0)
    assert last.predicted_ratio == 0
    assert last.largest_rate("BatchNorm") == 3
    assert "BatchNorm: learns up to rate 3" in last.summary()


def test_networks_that_break_are_counted_in_words():
    last = list(lesson.measure_training(8, weight_scale=6.0, seeds=1))[-1]
    assert last.broken[0].any()
    assert not last.broken[1].any()
    assert last.largest_rate("no norm") == 0
    assert "no norm: learns at no rate" in last.summary()
    assert f"{int(last.broken[0].sum())} of 6 end in NaN" in last.summary()


def test_larger_weights_need_the_square_of_the_learning_rate():
    losses = [lesson.loss_after(factor, rate, 5) for factor, rate in ((1, 0.1), (3, 0.9), (3, 0.3))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-8)
    assert abs(losses[0] - losses[2]) > 0.01


def test_a_trial_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = lesson.modes_disagree(8, steps=3)
    assert torch.rand(1) == expected
    assert lesson.modes_disagree(8, steps=3) == first


def test_deep_batch_norm_loses_the_picture():
    assert lesson.same_neighbours("no norm", 1) > 0.8
    assert lesson.same_neighbours("BatchNorm", 30) < 0.2


def moments(a):
    return (1 + a**2) / 2, (1 - a) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0, -1.0])
def test_the_exercise_asks_for_what_theory_says(a):
    square, mean = moments(a)
    chi = theory.norm_chi("BatchNorm", lambda x: np.where(x > 0, x, a * x))
    assert chi == pytest.approx(square / (square - mean**2), rel=1e-3)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda a: moments(a)[0] / (moments(a)[0] - moments(a)[1] ** 2), True, "right"),
        (lambda _a: ..., False, "returns nothing"),
        (lambda _a: 1.0, False, "BatchNorm subtracts the mean"),
        (
            lambda a: math.sqrt(moments(a)[0] / (moments(a)[0] - moments(a)[1] ** 2)),
            False,
            "the factor of its square",
        ),
        (lambda _a: math.pi / (math.pi - 1), False, "plain ReLU"),
        (lambda a: (moments(a)[0] - moments(a)[1] ** 2) / moments(a)[0], False, "upside down"),
        (lambda a: moments(a)[0] / (moments(a)[0] - moments(a)[1]), False, "*square* of the mean"),
        (lambda a: 1 / (moments(a)[0] - moments(a)[1] ** 2), False, "slope**2"),
        (lambda a: a, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_leaky_factor(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (100, True, "right"),
        (..., False, "replace the dots"),
        (10, False, "10 times larger"),
        (0.1, False, "the other way round"),
        (0.01, False, "the other way round"),
        (1, False, "its gradient is not"),
        (50, False, "too low"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_learning_rate_factor(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)
