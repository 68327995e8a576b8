"""Lesson 11: number lines, gradients in float16, the scaler, swallowed updates and its checks."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.special import erfinv
from torch import nn
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.lessons import mixed_precision as lesson


def last(runs):
    """Return the final result of a training."""
    *_, final = runs
    return final


def test_a_number_line_holds_every_number_of_its_window():
    row = lesson.measure_numbers(0, 3).rows[0]
    every = np.arange(0x0000, 0x7C00, dtype=np.uint16).view(np.float16).astype(float)
    inside = every[(every >= 0.875) & (every <= 1.125)]
    assert row.name == "float16"
    assert row.count == inside.size == 385
    near = lesson.measure_numbers(0, 6).rows[0]
    inside = every[(every >= 1 - 2.0**-6) & (every <= 1 + 2.0**-6)]
    assert np.array_equal(near.numbers, inside)


@pytest.mark.parametrize("power", [-25, -24, -20, -15, -14, -1, 0, 9, 15, 16, 17])
def test_theory_draws_the_same_numbers_and_bits(power):
    for zoom in (1, 4, 6, 10):
        for row in lesson.measure_numbers(power, zoom).rows:
            if row.predicted.size:
                assert np.allclose(row.numbers, row.predicted, rtol=0, atol=1e-12), row.name
            assert np.array_equal(row.bits, row.predicted_bits, equal_nan=True)


def test_the_ends_of_float16_are_said_in_words():
    assert "float16 has 0" in lesson.measure_numbers(-25).summary()
    assert "float16 has inf" in lesson.measure_numbers(16).summary()
    assert lesson.bits_left(2.0**-24, "float16") == 0
    assert math.isnan(lesson.bits_left(2.0**-25, "float16"))
    assert lesson.bits_left(2.0**15, "float16") == 10


def test_hidden_gradients_are_those_of_retain_grad():
    found = lesson.hidden_gradients("sigmoid, fresh", seeds=2, first_seed=5)
    assert found.shape == (2, 6, 256 * 64)
    from gradcourse.lessons.mixed_precision.gradients import _network
    from gradcourse.tasks import split_digits

    (inputs, labels), _ = split_digits(1500, 5)
    hidden, sums = inputs[:256], []
    for module in _network("sigmoid", 6):
        hidden = module(hidden)
        if isinstance(module, nn.Linear):
            hidden.retain_grad()
            sums.append(hidden)
    cross_entropy(hidden, labels[:256]).backward()
    for layer in range(6):
        expected = sums[layer].grad.double().flatten().numpy()
        assert np.allclose(found[1, layer], expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_what_is_lost_is_what_a_cast_by_torch_loses():
    result = lesson.measure_gradients(3, "sigmoid, fresh")
    gradients = torch.from_numpy(lesson.hidden_gradients("sigmoid, fresh"))
    half = (8 * gradients).half()
    lost = (half == 0).double().mean(dim=(1, 2))
    assert result.flushed[:, result.here] == pytest.approx(lost.numpy())
    assert result.layers == pytest.approx((half == 0).double().mean(dim=2).numpy())
    stds = gradients.square().mean(dim=2).sqrt().numpy()
    predicted = theory.flushed_share(stds, 8.0).mean()
    assert result.by_layers[result.here] == pytest.approx(predicted)
    assert result.density.sum() == pytest.approx(1, abs=1e-3)
    assert result.predicted_density.sum() == pytest.approx(1, abs=1e-3)


def test_a_larger_scale_loses_less_to_zero_and_more_to_infinity():
    result = lesson.measure_gradients(0, "sigmoid, fresh")
    assert (np.diff(result.flushed, axis=1) <= 0).all()
    assert (np.diff(result.overflowed, axis=1) >= 0).all()


def test_the_histogram_moves_with_the_scale():
    low, high = (lesson.measure_gradients(power, "sigmoid, fresh") for power in (0, 7))
    assert np.allclose(high.log2_size - low.log2_size, 7)
    assert np.array_equal(low.density, high.density)


def test_the_sawtooth_is_torch_s_scaler_on_known_gradients():
    saw = lesson.measure_sawtooth(3, log2_init=21, log2_gradient=-3, steps=10)
    assert saw.log2_scale.tolist() == [21, 20, 19, 18, 18, 18, 19, 18, 18, 18]
    assert np.flatnonzero(saw.skipped).tolist() == [0, 1, 2, 6]
    assert saw.first == 3
    assert math.isnan(saw.share)
    assert "fewer than two teeth yet" in saw.summary()


@pytest.mark.parametrize(("interval", "gradient"), [(1, 0), (5, -8), (10, 4), (50, -3)])
def test_constant_gradients_skip_one_step_in_interval_plus_one(interval, gradient):
    saw = lesson.measure_sawtooth(interval, log2_gradient=gradient)
    assert saw.share == pytest.approx(1 / (interval + 1))
    assert np.array_equal(saw.log2_scale, saw.predicted)


@pytest.mark.parametrize("seed", range(4))
def test_skips_and_doublings_balance_whatever_the_gradients(seed):
    saw = lesson.measure_sawtooth(4, spread=1.5, seed=seed, steps=300)
    moves = np.diff(saw.log2_scale)
    assert (moves == -1).sum() == saw.skipped[:-1].sum()
    assert saw.log2_scale[-1] - saw.log2_scale[0] == (moves == 1).sum() - (moves == -1).sum()
    above = saw.log2_scale >= saw.log2_ceiling
    assert np.array_equal(above, saw.skipped)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_clipping_first_is_clipping_at_max_norm_over_scale(optimizer):
    run = last(lesson.measure_order(8, 0.5, optimizer, seeds=2, steps=20))
    assert run.apart < 1e-4
    assert run.limit == 0.5 / 256
    assert run.norms[:, 1] == pytest.approx(run.limit, rel=1e-4)
    assert run.norms[:, 0] == pytest.approx(np.minimum(run.free, 0.5), rel=1e-4)
    assert run.progress == 1


def test_at_scale_one_both_orders_are_one():
    run = last(lesson.measure_order(0, 0.3, seeds=2, steps=10))
    assert np.array_equal(run.losses[:, 0], run.losses[:, 1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(("rate", "target"), [(0.01, 0.5), (0.1, 0.1), (0.02, 0.9), (0.003, 0.5)])
def test_a_weight_stops_where_theory_says(rate, target, dtype):
    run = lesson.measure_swallowed(rate, dtype, target, steps=int(20 / rate))
    ulp = 2 * float(run.swallowed[-1])
    assert run.pure[-1] == pytest.approx(run.stop, abs=1.01 * ulp)
    still = np.diff(run.pure) == 0
    assert (run.update[still] <= run.swallowed[still] * (1 + 1e-9)).all()
    assert (run.update[~still] >= run.swallowed[~still] * (1 - 1e-9)).all()


def test_a_weight_in_bfloat16_is_torch_s_own_sgd():
    weight = nn.Parameter(torch.tensor(1.0, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    path = []
    for _ in range(100):
        path.append(weight.item())
        weight.grad = weight.detach() - 0.5
        optimizer.step()
    assert lesson.measure_swallowed(0.01, steps=99).pure.tolist() == path


def test_a_master_weight_comes_within_half_an_ulp_of_its_copy():
    run = lesson.measure_swallowed(0.1, "bfloat16", 0.5, steps=1000)
    assert run.master[-1] == pytest.approx(0.5, abs=2.0**-9)
    assert run.exact[-1] == pytest.approx(0.5)
    # Its gradient comes from the copy, which is 0.5 before the master weight is.
    assert run.master[-1] == run.master[-100] > 0.501


def test_a_loss_weight_leaves_float32_and_bfloat16_alone():
    plain, tiny = (last(lesson.measure_training(power, seeds=1, steps=20)) for power in (0, -24))
    for way in (0, 3, 4):
        assert np.array_equal(plain.losses[:, way], tiny.losses[:, way]), way
    assert not np.array_equal(plain.losses[:, 1], tiny.losses[:, 1])


def test_each_way_computes_in_its_own_precision():
    from gradcourse.lessons.mixed_precision.training import WAYS, _Run

    inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    runs = {way: _Run(way, 0, 0.1) for way in WAYS}
    outputs = {way: run.forward(inputs) for way, run in runs.items()}
    assert torch.equal(outputs["float16"], outputs["float16 + scaler"])
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.equal(outputs["float16"], runs["float32"].network(inputs).float())
    apart = {way: (outputs[way] - outputs["float32"]).abs().max().item() for way in outputs}
    assert 0 == apart["float32"] < apart["float16"] < apart["bfloat16"] <= 1e-1
    assert [way for way, run in runs.items() if run.scaler.is_enabled()] == ["float16 + scaler"]
    kept = {way: next(run.network.parameters()).dtype for way, run in runs.items()}
    assert [way for way in kept if kept[way] != torch.float32] == ["bfloat16 weights"]


def test_the_float32_way_is_the_loop_that_people_write():
    run = last(lesson.measure_training(0, 0.2, seeds=1, first_seed=3, steps=10))
    from gradcourse.models import MLP, seeded
    from gradcourse.tasks import split_digits

    (inputs, labels), _ = split_digits(1500, 3)
    network = seeded(3, lambda: MLP(64, 32, 2, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    generator = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(10):
        rows = torch.randint(0, 1500, (64,), generator=generator)
        loss = cross_entropy(network(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert run.losses[0, 0, 0] == pytest.approx(np.mean(losses), rel=1e-5)


def test_trainings_show_what_there_is_so_far():
    results = list(lesson.measure_training(seeds=1, steps=30))
    assert results[-1].progress == 1
    assert np.isfinite(results[-1].accuracy).all()
    assert [result.progress for result in results] == sorted(r.progress for r in results)
    assert all("nan" not in result.summary() for result in results)


def test_the_table_says_where_it_was_measured():
    speed = lesson.measure_speed("cpu", width=32, depth=2, batch=64, steps=2)
    table = str(speed)
    assert table.startswith("measured on the CPU: 2 layers of 32 units, batch 64\n")
    assert [line.split()[0] for line in table.splitlines()[2:]] == [
        "float32",
        "float16",
        "bfloat16",
    ]
    assert speed.summary().endswith("on the CPU")
    assert all(row.milliseconds > 0 and row.peak is None for row in speed.rows)
    # The inputs and the activations: a ReLU's output is the next layer's input.
    batch, weights = 64 * 32, 2 * 32 * 32
    least = 4 * batch * 3
    assert speed.row("float32").kept == least
    halves = 2 * batch * 3 + 2 * weights
    assert halves <= speed.row("bfloat16").kept <= halves + 4 * batch + 1000
    assert speed.row("float16").kept == speed.row("bfloat16").kept


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_on_a_gpu_the_table_names_it_and_knows_the_peak():
    speed = lesson.measure_speed("cuda", width=256, depth=2, batch=512, steps=2)
    assert speed.device == torch.cuda.get_device_name()
    assert all(row.peak >= row.kept > 0 for row in speed.rows)
    assert speed.row("float16").kept < speed.row("float32").kept


@pytest.mark.filterwarnings("default")
def test_the_scaler_of_old_notes_is_deprecated():
    with pytest.warns(FutureWarning, match=r"torch\.cuda\.amp\.GradScaler.*deprecated"):
        torch.cuda.amp.GradScaler(enabled=False)


@pytest.mark.parametrize(
    ("measure", "settings", "sentence"),
    [
        (lesson.measure_numbers, {"log2_value": 40}, "log2_value must be between -30 and 17"),
        (lesson.measure_numbers, {"zoom": 0}, "zoom must be between 1 and 10, got 0"),
        (lesson.measure_gradients, {"network": "lstm"}, "network must be one of tanh, fresh"),
        (lesson.measure_gradients, {"log2_scale": 41}, "log2_scale must be between -8 and 40"),
        (lesson.measure_sawtooth, {"growth_interval": 0}, "growth_interval must be 1 or more"),
        (lesson.measure_sawtooth, {"spread": -1.0}, "spread must be a finite number, 0 or more"),
        (lesson.measure_order, {"optimizer": "LBFGS"}, "optimizer must be one of SGD, Adam, got"),
        (lesson.measure_order, {"max_norm": 0.0}, "max_norm must be a finite number above 0"),
        (lesson.measure_swallowed, {"dtype": "int8"}, "dtype must be one of bfloat16, float16, fl"),
        (lesson.measure_swallowed, {"target": 2.0}, "target must be between 0.000976562 and 0.99"),
        (lesson.measure_swallowed, {"learning_rate": 0}, "learning_rate must be a finite number"),
        (lesson.measure_training, {"learning_rate": -1}, "learning_rate must be a finite number"),
        (lesson.measure_training, {"steps": 5}, "steps must be 10 or more, got 5"),
        (lesson.measure_speed, {"width": 0}, "width must be 1 or more, got 0"),
    ],
)
def test_bad_settings_get_one_sentence(measure, settings, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        next(iter(measure(**settings)))


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (lambda: lesson.measure_gradients(0, "tanh, trained", 1, prediction=9), True),
        (lambda: lesson.measure_gradients(0, "sigmoid, fresh", prediction=9), False),
        (lambda: last(lesson.measure_order(10, seeds=1, steps=2, prediction=9)), True),
        (lambda: last(lesson.measure_order(9, seeds=1, steps=2, prediction=9)), False),
        (lambda: lesson.measure_swallowed(0.01, prediction=9), True),
        (lambda: lesson.measure_swallowed(0.02, prediction=9), False),
        (lambda: last(lesson.measure_training(-20, seeds=1, steps=10, prediction=9)), True),
        (lambda: last(lesson.measure_training(0, seeds=1, steps=10, prediction=9)), False),
    ],
)
def test_a_prediction_is_shown_where_it_was_asked_for(result, shown):
    assert (result().prediction == 9) is shown


def loss_of(model, inputs, labels):
    with torch.autocast("cpu", dtype=torch.float16):
        return cross_entropy(model(inputs), labels)


def step_of(*lines):
    """Return a step that does what the lines say, in their order."""

    def amp_step(model, optimizer, scaler, inputs, labels, max_norm):
        optimizer.zero_grad()
        loss = loss_of(model, inputs, labels)
        doing = {
            "backward": lambda: scaler.scale(loss).backward(),
            "bare backward": loss.backward,
            "scale only": lambda: scaler.scale(loss),
            "unscale": lambda: scaler.unscale_(optimizer),
            "clip": lambda: nn.utils.clip_grad_norm_(model.parameters(), max_norm),
            "clip at 1": lambda: nn.utils.clip_grad_norm_(model.parameters(), 1.0),
            "step": lambda: scaler.step(optimizer),
            "bare step": optimizer.step,
            "update": scaler.update,
        }
        for line in lines:
            doing[line]()
        return loss

    return amp_step


@pytest.mark.parametrize(
    ("lines", "right", "said"),
    [
        (("backward", "unscale", "clip", "step", "update"), True, "skips, clips and steps"),
        ((), False, "the weights did not move: replace the dots"),
        (("backward", "clip", "unscale", "step", "update"), False, "while they were still scaled"),
        (("backward", "clip", "step", "update"), False, "while they were still scaled"),
        (("backward", "unscale", "clip", "step"), False, "update() is missing"),
        (("backward", "step"), False, "update() is missing"),
        (("backward", "unscale", "clip", "update", "step"), False, "not the last line"),
        (("backward", "unscale", "unscale", "clip", "step", "update"), False, "once a step"),
        (("backward", "unscale", "clip", "bare step", "update"), False, "takes every step"),
        (("backward", "bare step", "update"), False, "call scaler.step(optimizer)"),
        (("bare backward", "unscale", "clip", "step", "update"), False, "was not scaled"),
        (
            ("scale only", "bare backward", "unscale", "clip", "step", "update"),
            False,
            "through the unscaled loss",
        ),
        (("backward", "unscale", "step", "update"), False, "was not clipped"),
        (("backward", "unscale", "step", "clip", "update"), False, "was not clipped"),
        (("backward", "unscale", "clip at 1", "step", "update"), False, "end elsewhere"),
        (("backwards",), False, "raised KeyError"),
    ],
)
def test_the_first_exercise_knows_the_order_of_five_lines(lines, right, said):
    verdict = lesson.check_amp_step(step_of(*lines))
    assert bool(verdict) is right
    assert said in repr(verdict)


RIGHT = 2**-25 / (1e-7 * math.sqrt(2) * erfinv(0.01))


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (RIGHT, True, "right"),
        (..., False, "replace the dots"),
        (2 * RIGHT, False, "*half* of it"),
        (math.sqrt(2) * RIGHT, False, "root of 2"),
        (1 / RIGHT, False, "upside down"),
        (2**-25 / 1e-7, False, "68 %"),
        (2**-25 / (1e-7 * math.sqrt(2) * erfinv(0.99)), False, "*keeps* 1 %"),
        (2048 * RIGHT, False, "lose digits"),
        (1e9, False, "too high"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_loss_scale(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)


def test_the_second_answer_loses_one_percent():
    assert theory.flushed_share(1e-7, RIGHT) == pytest.approx(0.01)


def test_torch_s_growth_interval_is_2000():
    assert torch.amp.GradScaler("cpu").get_growth_interval() == 2000
