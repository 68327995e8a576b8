"""Lesson 02: its logs, its faults and guards, its numerical derivatives and its checks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradcourse import theory
from gradcourse.initialization import initialize
from gradcourse.lessons import watching_gradients as lesson
from gradcourse.lessons.watching_gradients import digits_run
from gradcourse.lessons.watching_gradients.derivative import TanhOffBy
from gradcourse.lessons.watching_gradients.digits_run import Rows
from gradcourse.models import MLP
from gradcourse.tasks import digits


def final(results):
    *_, last = results
    return last


# What the runs share


def test_batches_are_digits_with_their_labels():
    inputs, labels = digits()
    drawn, named = next(lesson.batches(3, size=16))
    assert drawn.shape == (16, 64)
    for image, label in zip(drawn, named, strict=True):
        (place,) = (inputs == image).all(dim=1).nonzero()[:1]
        assert labels[place] == label
    assert not torch.equal(drawn, next(lesson.batches(4, size=16))[0])


def test_rows_leave_out_what_is_not_finite():
    values = np.array([[1.0, 10.0, np.nan, 0.0], [100.0, np.inf, np.nan, 0.0]])
    rows = Rows.of(values)
    np.testing.assert_allclose(rows.median, [np.log10(50.5), 1, np.nan, -np.inf])
    np.testing.assert_allclose(rows.low[:2], [0, 1])
    np.testing.assert_allclose(rows.high[:2], [2, 1])
    assert rows.ends() == [0.0, 2.0]
    assert Rows.of(np.full((2, 3), np.nan)).ends() == []


def test_work_in_pieces_is_all_done_once_and_ends_at_the_end(monkeypatch):
    for piece, times in ((0.0, 7), (1e9, 1)):
        monkeypatch.setattr(digits_run, "PIECE", piece)
        done = []
        shown = list(digits_run.in_pieces(done.append, 7))
        assert done == list(range(1, 8))
        assert len(shown) == times
        assert shown[-1] == 7


MEASURES = [
    (lesson.measure_training_log, {"steps": 12, "seeds": 2}),
    (lesson.measure_two_views, {"steps": 6, "depth": 3, "seeds": 2}),
    (lesson.measure_sick_run, {"steps": 12, "step": 5}),
]


@pytest.mark.parametrize(("measure", "settings"), MEASURES)
def test_a_partial_result_is_the_beginning_of_the_whole(measure, settings, monkeypatch):
    monkeypatch.setattr(digits_run, "PIECE", 0.0)
    *parts, whole = measure(**settings)
    assert whole.progress == 1
    assert [part.progress for part in parts] == sorted({part.progress for part in parts})
    for count, part in enumerate(parts, start=1):
        assert "nan" not in part.summary()
        shown = part.loss[..., :count]
        np.testing.assert_array_equal(shown, whole.loss[..., :count])
    assert "nan" not in whole.summary()


@pytest.mark.parametrize(("measure", "settings"), MEASURES)
def test_another_seed_is_another_run(measure, settings):
    name = "seed" if measure is lesson.measure_sick_run else "first_seed"
    first, again, other = (final(measure(**settings, **{name: seed})).loss for seed in (1, 1, 7))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# The training log


def test_a_log_is_that_of_a_plain_loop():
    log = final(lesson.measure_training_log(0.2, 0.8, depth=2, steps=5, seeds=1, first_seed=9))
    reference = final(
        lesson.measure_training_log(0.2, 0.8, depth=2, steps=1, seeds=1, first_seed=9)
    )
    assert reference.loss[0, 0] == log.loss[0, 0]
    torch.manual_seed(0)
    model = MLP(64, 64, 2, out_features=10, activation="relu")
    initialize(model, "xavier_normal", generator=torch.Generator().manual_seed(9))
    drawn = lesson.batches(9)
    for step in range(5):
        inputs, labels = next(drawn)
        loss = nn.functional.cross_entropy(model(inputs), labels)
        model.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
        assert log.loss[0, step] == pytest.approx(loss.item(), rel=1e-5)
        assert log.norm[0, step] == pytest.approx(norm, rel=1e-5)
        assert log.layers_norm[0, step] == pytest.approx(norm, rel=1e-5)
        weights = [model[0].weight, model[4].weight]
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.2 * min(1.0, 0.8 / norm) * p.grad
        for row, (weight, old) in enumerate(zip(weights, before, strict=True)):
            ratio = float((weight.detach() - old).norm() / old.norm())
            assert log.ratio[row, 0, step] == pytest.approx(ratio, rel=1e-4)
            assert log.predicted_ratio[row, 0, step] == pytest.approx(ratio, rel=1e-4)
    assert log.clip_rate == (log.norm > 0.8).mean()


def test_a_log_shows_the_median_and_the_range_of_its_runs():
    log = final(lesson.measure_training_log(steps=8, seeds=3))
    np.testing.assert_allclose(log.shown.norm.median, np.log10(np.median(log.norm, 0)))
    np.testing.assert_allclose(log.shown.loss.high, np.log10(log.loss.max(0)))
    np.testing.assert_allclose(log.shown.ratio[1].low, np.log10(log.ratio[1].min(0)))
    np.testing.assert_allclose(
        log.shown.predicted[0], np.log10(np.median(log.predicted_ratio[0], 0))
    )
    logs = np.log(log.norm)
    expected = theory.lognormal_clip_rate(1.0, math.exp(logs.mean()), logs.std())
    assert log.predicted_clip_rate == pytest.approx(float(expected))


def test_the_summary_of_a_log_names_each_control():
    said = final(lesson.measure_training_log(0.2, 0.8, "he_normal", 3, steps=2, seeds=1)).summary()
    assert "3 layers, he_normal, learning rate 0.2: max_norm 0.8 " in said


def test_a_log_that_overflows_says_so_in_words():
    log = final(lesson.measure_training_log(1e30, 1e30, steps=40, seeds=2))
    assert log.stopped is not None
    assert f"a run is not finite from step {log.stopped} on" in log.summary()
    assert "nan" not in log.summary()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_training_log, {"steps": 2}, {"learning_rate": 0.2}),
        (lesson.measure_training_log, {"steps": 2}, {"scheme": "torch"}),
        (lesson.measure_two_views, {"steps": 1, "seeds": 1}, {"depth": 5}),
        (lesson.measure_sick_run, {"steps": 50}, {"guard": "none"}),
        (lesson.measure_sick_run, {"steps": 50, "step": 3}, {"fault": "0/0"}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert final(measure(**asked, prediction=-3)).prediction is not None
    assert final(measure(**{**asked, **other}, prediction=-3)).prediction is None


def test_the_prediction_of_two_views_counts_from_the_last_layer():
    views = final(lesson.measure_two_views(steps=1, seeds=1, prediction=-2))
    last = np.log10(views.outputs.norms[0, 0, -1])
    assert views.prediction == pytest.approx(last - 2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_training_log(0.0), "learning_rate must be .* above 0, got 0"),
        (lambda: lesson.measure_training_log(max_norm=math.nan), "max_norm must be .*, got nan"),
        (
            lambda: lesson.measure_training_log(scheme="best"),
            "scheme must be one of .*, got 'best'",
        ),
        (lambda: lesson.measure_training_log(depth=0), "depth must be 1 or more, got 0"),
        (lambda: lesson.measure_two_views(depth=0), "depth must be 1 or more, got 0"),
        (lambda: lesson.measure_two_views(weight_scale=-1), "weight_scale must be .*, got -1"),
        (lambda: lesson.measure_sick_run(120), "step must be below steps, 120, got 120"),
        (lambda: lesson.measure_sick_run(fault="1/0"), "fault must be one of .*, got '1/0'"),
        (lambda: lesson.measure_sick_run(guard="all"), "guard must be one of .*, got 'all'"),
    ],
)
def test_bad_runs_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        final(call())


# Weights against outputs


def test_two_views_are_the_gradients_of_autograd():
    views = final(lesson.measure_two_views(4, 1.2, steps=1, seeds=1, first_seed=5))
    model = MLP(64, 64, 4, out_features=10, activation="relu", bias=False)
    initialize(
        model,
        "mean_field",
        weight_variance=1.44,
        bias_variance=0.0,
        generator=torch.Generator().manual_seed(5),
    )
    inputs, labels = next(lesson.batches(5))
    outputs = []
    for module in model:
        inputs = module(inputs)
        if isinstance(module, nn.Linear):
            inputs.retain_grad()
            outputs.append(inputs)
    nn.functional.cross_entropy(inputs, labels).backward()
    for layer in range(4):
        assert views.outputs.norms[0, 0, layer] == pytest.approx(
            float(outputs[layer].grad.norm()), rel=1e-4
        )
        assert views.weights.norms[0, 0, layer] == pytest.approx(
            float(model[2 * layer].weight.grad.norm()), rel=1e-4
        )


@pytest.mark.parametrize("scale", [0.7, 1.0, math.sqrt(2), 1.9])
def test_outputs_change_as_theory_says_and_weights_do_not(scale):
    views = final(lesson.measure_two_views(20, scale, steps=1, seeds=5))
    change = views.outputs.predicted[0] - views.outputs.predicted[-1]
    assert change == pytest.approx(19 * math.log10(scale / math.sqrt(2)))
    assert views.outputs.change == pytest.approx(change, abs=0.5)
    assert views.weights.change == pytest.approx(0, abs=0.7)
    assert np.ptp(views.weights.predicted) == 0
    assert views.layers == (1, 7, 14, 20)


def test_few_layers_are_drawn_once_each():
    assert final(lesson.measure_two_views(1, steps=1, seeds=1)).layers == (1,)
    assert final(lesson.measure_two_views(2, steps=1, seeds=1)).layers == (1, 2)


# Faults and guards

OUTCOMES = {
    "none": ["lost"] * 5,
    "clip at 1": ["lost"] * 4 + ["saved"],
    "NaN only": ["saved"] * 3 + ["lost"] * 2,
    "NaN and Inf": ["saved"] * 3 + ["stopped"] * 2,
    "NaN and Inf, clip at 1": ["saved"] * 3 + ["stopped", "saved"],
}


@pytest.mark.parametrize("guard", lesson.GUARDS)
def test_each_guard_saves_what_it_can_see(guard):
    runs = [final(lesson.measure_sick_run(30, fault, guard, seed=11)) for fault in lesson.FAULTS]
    assert [run.outcome for run in runs] == OUTCOMES[guard]
    for run in runs:
        assert "nan" not in run.summary()
        # Up to the fault both are one run.
        np.testing.assert_array_equal(run.loss[:30], run.healthy_loss[:30])
        np.testing.assert_array_equal(run.norm[:30], run.healthy_norm[:30])


def test_a_skipped_batch_leaves_the_run_as_if_it_had_never_come():
    run = final(lesson.measure_sick_run(20, "0/0", "NaN and Inf", steps=40))
    assert run.skipped == (20,)
    np.testing.assert_array_equal(run.loss[21:], run.healthy_loss[21:])
    assert math.isnan(run.healthy_loss[20])


def test_inf_in_the_model_passes_the_nan_guard_and_is_nan_one_step_later():
    run = final(lesson.measure_sick_run(20, "sqrt(0) in the model", "NaN only", steps=40))
    assert math.isfinite(run.loss[20])
    assert math.isinf(run.norm[20])
    assert run.first_bad == 21
    assert not run.weights_finite
    assert run.skipped == tuple(range(21, 40))


def test_the_guard_stops_a_run_and_names_the_culprit():
    run = final(lesson.measure_sick_run(20, "sqrt(0) in the model", "NaN and Inf", steps=60))
    assert run.stopped == "10 steps in a row were skipped: the gradient of variance (Inf)"
    assert run.stopped in run.summary()
    assert len(run.skipped) == 10
    assert run.weights_finite


@pytest.mark.parametrize(
    ("fault", "born"),
    [
        ("0/0", "NaN came with the batch"),
        ("log(0)", "Inf born in log in the forward pass"),
        ("sqrt(0) in the loss", "Inf born in div in SqrtBackward0"),
        ("sqrt(0) in the model", "Inf born in div in SqrtBackward0"),
        ("outlier", "all finite"),
    ],
)
def test_the_birth_of_each_fault_is_told(fault, born):
    run = final(lesson.measure_sick_run(5, fault, "none", steps=6))
    assert born in run.summary()


def test_looking_for_the_birth_changes_nothing():
    model, batch = lesson.ScaledClassifier(), next(lesson.batches(0))
    assert lesson.where_born(model, batch, "0/0").cause == "batch"
    assert batch[0].isfinite().all()
    assert all(parameter.grad is None for parameter in model.parameters())


# What is heard


def test_a_sum_is_the_same_run_with_a_larger_norm():
    mean, total = (lesson.norms_by_reduction(name, steps=5) for name in ("mean", "sum"))
    np.testing.assert_allclose(total, 256 * mean, rtol=1e-3)
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, got 'none'"):
        lesson.norms_by_reduction("none")


def test_an_explosion_grows_by_the_factor_of_its_sharpest_direction():
    # In the sharpest direction the error grows twofold a step: from 100 to 3.4e38 takes 121 of
    # them, and the loss, which is of second order, overflows half-way.
    warning, growth = lesson.explosion(0)
    assert warning == pytest.approx(math.log2(math.sqrt(3.4e38) / 100), abs=8)
    assert growth == pytest.approx(2, rel=1e-4)
    (early, _), (late, _) = (lesson.explosion(0, limit) for limit in (1e6, 2**10 * 1e6))
    assert early - late == 10


def test_losses_with_torchs_tanh_are_those_of_a_plain_loop():
    assert lesson.losses_with(torch.tanh, steps=60)[-10:].mean() < 0.3
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        lesson.losses_with(torch.tanh, steps=0)


# The numerical derivative


def test_the_planted_mistake_is_the_factor_asked_for():
    x = torch.linspace(-2, 2, 7, dtype=torch.float64, requires_grad=True)
    outputs = TanhOffBy.apply(x, 0.25)
    assert torch.equal(outputs, x.tanh())
    outputs.sum().backward()
    expected = 1.25 / x.detach().cosh() ** 2
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["central", "forward"])
def test_disagreement_follows_theory_over_all_steps(dtype, kind):
    found = lesson.measure_derivative(dtype=dtype, kind=kind, seeds=64)
    assert np.isfinite(found.median).all()
    # A step near the rounding of x itself is lost: there the difference is 0.
    seen = found.log10_steps > math.log10(100 * torch.finfo(getattr(torch, dtype)).eps)
    apart = np.abs(found.median - found.predicted)[seen]
    assert apart.max() < 0.8
    assert np.median(apart) < 0.2
    assert (found.low <= found.median).all()
    assert (found.median <= found.high).all()


def test_a_mistake_is_the_floor_of_the_disagreement():
    for mistake in (1e-1, 1e-3, 1e-6):
        found = lesson.measure_derivative(mistake)
        floor = found.error[:, np.isclose(found.log10_steps, -5)]
        np.testing.assert_allclose(floor, mistake, rtol=0.05)
        assert found.caught == (mistake > 1e-3 * 1.01) or mistake == 1e-3


def test_the_prediction_of_a_derivative_is_shown_at_the_right_backward_only():
    assert lesson.measure_derivative(prediction=-5).prediction == -5
    for other in ({"mistake": 1e-3}, {"dtype": "float32"}, {"kind": "forward"}):
        assert lesson.measure_derivative(**other, prediction=-5).prediction is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mistake": -1.0}, "mistake must be a finite number, 0 or more, got -1"),
        ({"dtype": "int8"}, "dtype must be one of float32, float64, got 'int8'"),
        ({"kind": "both"}, "kind must be one of central, forward, got 'both'"),
        ({"seeds": 0}, "seeds must be 1 or more, got 0"),
    ],
)
def test_bad_derivatives_get_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_derivative(**settings)


# The exercises


def right_guard(loss, gradients):
    return bool(loss.isfinite()) and all(bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (right_guard, True, "agrees on all"),
        (
            lambda loss, g: torch.stack([loss, *(x.abs().max() for x in g)]).isfinite().all(),
            True,
            "",
        ),
        (lambda _loss, _g: ..., False, "returns nothing"),
        (lambda _loss, _g: True, False, "the loss is NaN"),
        (lambda _loss, _g: False, False, "this one is safe"),
        (lambda loss, _g: loss.isfinite(), False, "a finite loss says nothing"),
        (lambda loss, g: loss.isfinite() and g[0].isfinite().all(), False, "look at *all*"),
        (
            lambda loss, g: loss.isfinite() and not any(x.isnan().any() for x in g),
            False,
            "isnan lets Inf pass",
        ),
        (
            lambda loss, g: loss.isfinite() and all((x < math.inf).all() for x in g),
            False,
            "-Inf is below any limit",
        ),
        (lambda _loss, g: all(x.isfinite().all() for x in g), False, "look at the loss as well"),
        (
            lambda loss, g: not loss.isinf() and all(x.isfinite().all() for x in g),
            False,
            "a NaN in the loss is enough",
        ),
        (
            lambda loss, g: loss < 1e10 and all(x.isfinite().all() for x in g),
            False,
            "-Inf is not finite either",
        ),
        (
            lambda loss, g: loss.isfinite() and all(x.max().isfinite() for x in g),
            False,
            "look at every number",
        ),
        (
            lambda loss, g: loss.isfinite() and all(x[-1].isfinite() for x in g),
            False,
            "look at every number",
        ),
        (
            lambda loss, g: right_guard(loss, g) and all(x.norm() < 100 for x in g),
            False,
            "leave that to clipping",
        ),
        (lambda loss, g: right_guard(loss, g) and all(x.all() for x in g), False, "0 is finite"),
        (lambda _loss, g: g[0].isfinite(), False, "must return one True or False"),
        (lambda loss, g: loss.nonsense(g), False, "raised AttributeError"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_guard(function)
    assert bool(verdict) is right, verdict
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda lr, g, w, total, cap: lr * min(1, cap / total) * g / w, True, "right"),
        (lambda _lr, _g, _w, _total, _cap: ..., False, "returns nothing"),
        (lambda lr, g, w, _total, _cap: lr * g / w, False, "what does clipping do"),
        (lambda lr, g, w, _total, cap: lr * min(g, cap) / w, False, "*all* gradients"),
        (lambda lr, g, w, total, cap: lr * g / w * cap / total, False, "left alone"),
        (lambda lr, _g, w, total, cap: lr * min(total, cap) / w, False, "its own share"),
        (lambda _lr, g, w, total, cap: g / w * min(1, cap / total), False, "learning_rate times"),
        (lambda lr, g, w, total, cap: lr * w / g * min(1, cap / total), False, "should be"),
    ],
)
def test_the_second_exercise(function, right, said):
    verdict = lesson.check_update_ratio(function)
    assert bool(verdict) is right, verdict
    assert said in repr(verdict)
