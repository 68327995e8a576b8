"""Lesson 10: its attention, its blocks, its first steps, its trainings, its clip and its checks."""

import copy
import math
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from gradcourse import theory
from gradcourse.lessons import transformers_and_warmup as lesson
from gradcourse.tasks import reversal


def finish(parts):
    """Return the last of what a training yields."""
    (last,) = deque(parts, maxlen=1)
    return last


# Attention


def test_the_median_slope_is_that_of_a_softmax_over_two_keys():
    found = lesson.measure_attention(32, "sqrt(d)", first_seed=5)
    source = np.random.default_rng(0)
    query, first, second = torch.from_numpy(source.standard_normal((3, 4000, 32)))
    scores = torch.stack([(query * key).sum(1) for key in (first, second)], 1) / math.sqrt(32)
    scores.requires_grad_()
    torch.softmax(scores, 1)[:, 0].sum().backward()
    assert found.at == pytest.approx(float(scores.grad[:, 0].median()), rel=0.05)
    assert found.predicted_at == pytest.approx(float(scores.grad[:, 0].median()), rel=0.05)


@pytest.mark.parametrize(("divide", "variance"), [("nothing", 64), ("sqrt(d)", 1), ("d", 1 / 64)])
def test_scores_spread_as_their_variance_says(divide, variance):
    found = lesson.measure_attention(64, divide)
    assert found.spread == pytest.approx(math.sqrt(variance), rel=0.05)
    assert found.predicted_spread == pytest.approx(math.sqrt(variance))
    assert (found.density * np.diff(found.edges)).sum() == pytest.approx(1)
    assert found.predicted_at == pytest.approx(float(theory.attention_slope(variance)))
    assert (found.low <= found.slope).all()
    assert (found.slope <= found.high).all()
    assert f"divided by {divide}" in found.summary()


# Before the first step


def gradients_by_hand(norm, blocks, seed, row, count):
    """Return the norm of each block's gradient of one network, with nothing but torch."""
    net = lesson.make(norm, 32, seed)
    net.blocks = net.blocks[:blocks]
    nn.init.zeros_(net.last.bias)
    inputs, targets = reversal(count, lesson.LENGTH, lesson.SYMBOLS, 20)
    outputs, _ = net(inputs[row : row + 1])
    nn.functional.cross_entropy(outputs[:, 0], targets[row : row + 1, 0]).backward()
    return [
        math.sqrt(sum(float(p.grad.square().sum()) for p in block.parameters()))
        for block in net.blocks
    ]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gradients_at_the_start_are_those_of_whole_networks(norm):
    found = lesson.measure_initial(5, norm, seeds=3, first_seed=20)
    by_hand = np.array([gradients_by_hand(norm, 5, 20 + row, row, 3) for row in range(3)])
    single = np.median([gradients_by_hand(norm, 1, 20 + row, row, 3)[0] for row in range(3)])
    relative = np.log2(by_hand / np.median(by_hand[:, -1]))
    assert found.profile.median == pytest.approx(np.median(relative, axis=0), abs=1e-3)
    last = np.median(np.log2(by_hand[:, -1] / single))
    assert found.last.median[-1] == pytest.approx(last, abs=1e-3)


def test_theory_at_the_start_is_the_size_of_the_stream():
    pre = lesson.measure_initial(6, "pre", seeds=2)
    stream = theory.pre_norm_stream(6, lesson.LENGTH)
    assert 2**pre.profile.predicted == pytest.approx(stream[6] / stream[1:])
    assert 2**pre.last.predicted == pytest.approx(stream[1] / stream[1:])
    post = lesson.measure_initial(6, "post", seeds=2)
    assert not post.profile.predicted.any()
    assert post.predicted_slope == pytest.approx(0)
    assert pre.predicted_slope == pytest.approx(
        np.polyfit(np.log(range(4, 7)), -np.log(stream[4:]), 1)[0]
    )


def test_networks_leave_the_global_source_of_random_numbers_alone():
    before = torch.get_rng_state()
    lesson.make("post", 2, 3)
    finish(lesson.measure_first_steps(steps=1, seeds=1))
    assert torch.equal(before, torch.get_rng_state())


# Trainings


def trained_alone(norm, warmup, rate, steps, seed, row, seeds, max_norm=math.inf):
    """Train one network with torch's own tools, and yield it before each update."""
    net = lesson.make(norm, seed=seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    inputs, targets = (part.reshape(steps, seeds, 16, 6) for part in reversal(steps * seeds * 16))
    for number in range(steps):
        outputs, stream = net(inputs[number, row])
        loss = nn.functional.cross_entropy(outputs.flatten(0, 1), targets[number, row].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(net.parameters(), max_norm))
        accuracy = float((outputs.argmax(-1) == targets[number, row]).double().mean())
        yield net, stream.detach(), loss.item(), norm, accuracy
        optimizer.param_groups[0]["lr"] = rate * min(1, (number + 1) / max(warmup, 1))
        optimizer.step()


def test_a_training_is_adam_with_a_linear_warmup_and_a_clip_for_each_network():
    settings = {"norm": "post", "warmup": 3, "learning_rate": 0.002, "max_norm": 0.5, "steps": 5}
    done = finish(lesson.measure_training(**settings, seeds=2))
    alone = list(trained_alone("post", 3, 0.002, 5, 1, 1, 2, 0.5))
    for name, place in (("loss", 2), ("gradient", 3), ("accuracy", 4)):
        expected = [step[place] for step in alone]
        assert getattr(done, name)[1] == pytest.approx(expected, rel=2e-3), name
    assert done.clipped == 1
    assert "clipped to 0.5 at 100% of the steps" in done.summary()


@pytest.mark.parametrize(("norm", "warmup"), [("pre", 0), ("post", 2)])
def test_the_first_steps_are_those_of_a_network_alone(norm, warmup):
    found = finish(lesson.measure_first_steps(norm, warmup, 0.003, steps=3, seeds=1))
    # The data of a run depend on its length, and it takes one step more.
    before = None
    for number, (net, stream, *_) in enumerate(trained_alone(norm, warmup, 0.003, 4, 0, 0, 1)):
        if before is not None:
            squares = [
                (new - old).square().flatten()
                for new, old in zip(net.blocks.parameters(), before.parameters(), strict=True)
            ]
            moved = float(torch.cat(squares).detach().double().mean().sqrt())
            assert found.update[number - 1] == pytest.approx(moved, rel=1e-2)
        if number == 3:
            break
        norms = [
            math.sqrt(sum(float(p.grad.square().sum()) for p in block.parameters()))
            for block in net.blocks
        ]
        assert 10 ** found.gradient[number] == pytest.approx(norms, rel=2e-3)
        tokens = nn.functional.normalize(stream.flatten(0, 1), dim=1)
        cosines = (tokens @ tokens.T)[~torch.eye(len(tokens), dtype=torch.bool)]
        assert found.cosine[number] == pytest.approx(float(cosines.mean()), abs=1e-4)
        before = copy.deepcopy(net.blocks)
    assert found.agree == pytest.approx(0.003 * np.minimum(1, np.arange(1, 4) / max(warmup, 1)))
    assert found.kept[0] == 1
    assert found.lowest == found.kept.min()


def test_a_training_goes_on_in_parts_and_is_not_repeated():
    settings = {"norm": "pre", "steps": 30, "seeds": 1, "first_seed": 3}
    parts = list(lesson.measure_training(**settings))
    assert len(parts) > 1
    assert [part.progress for part in parts] == [part.loss.shape[1] / 30 for part in parts]
    (again,) = lesson.measure_training(**settings)
    assert again.loss is parts[-1].loss
    # One that was stopped half-way starts anew.
    next(lesson.measure_training(**settings, learning_rate=0.001))
    assert finish(lesson.measure_training(**settings, learning_rate=0.001)).progress == 1


def test_networks_are_counted_by_their_last_ten_steps():
    accuracy = np.zeros((4, 25))
    accuracy[0, 15:] = 0.9
    accuracy[1, :15] = 0.9
    accuracy[2] = 0.6
    accuracy[3, -1] = 1.0
    run = lesson.Training("pre", 0, 0.1, math.inf, 25, accuracy, accuracy, accuracy, 1.0)
    assert (run.solved, run.failed) == (1, 2)
    assert "25 steps: 1 of 4 solve it; accuracy 90, 0, 60, 10 %" in run.summary()


def test_an_untrained_network_that_is_blind_to_its_input_cannot_beat_guessing():
    net = lesson.make("post")
    nn.init.zeros_(net.last.weight)
    nn.init.zeros_(net.last.bias)
    inputs, targets = reversal(8)
    loss = nn.functional.cross_entropy(net(inputs)[0].flatten(0, 1), targets.flatten())
    assert loss.item() == pytest.approx(math.log(lesson.SYMBOLS), rel=1e-5)


# Schedule and clip


def noted(step, warmup, total):
    """Return the schedule as it stands in many notes."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


@pytest.mark.parametrize(("warmup", "total"), [(0, 50), (7, 60), (20, 100)])
def test_both_schedules_are_what_they_say(warmup, total):
    found = lesson.measure_schedule(warmup, total, 0.25)
    assert found.rate == pytest.approx(found.predicted, abs=1e-12)
    assert found.rate[-1] == 0.25
    expected = [noted(step, warmup, total) for step in range(len(found.rate))]
    assert found.zero == pytest.approx(expected)
    assert found.mean == pytest.approx(found.predicted[:total].mean())


def test_a_warmup_longer_than_the_run_fills_it():
    assert lesson.measure_schedule(80, 50).warmup == 50


def test_a_clipped_spike_moves_adam_as_theory_says():
    for max_norm, spike in ((0.01, 100), (5, 100), (100, 100), (1, 0.1)):
        found = finish(lesson.measure_clipping(max_norm, spike, "pre-norm"))
        assert found.update == pytest.approx(found.predicted_update, rel=1e-6)
    assert found.update[:999] == pytest.approx(1)


def test_the_share_of_clipped_steps_is_counted_over_the_first_hundred():
    run = finish(lesson.measure_training("pre", steps=100))
    found = finish(lesson.measure_clipping(0.7, 10, "pre-norm"))
    assert found.at == (run.gradient > 0.7).mean()
    for exponent, share in zip(np.linspace(-2, 2, 81), found.share, strict=True):
        assert share == (run.gradient > 10**exponent).mean()
    assert found.predicted_share[0] > 0.9
    assert (np.diff(found.predicted_share) <= 0).all()


# What all of them refuse, and where a prediction is shown


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_attention(63), "dimension must be one of "),
        (lambda: lesson.measure_attention(divide="e"), "divide must be one of nothing, sqrt"),
        (lambda: lesson.measure_initial(1), "blocks must be 2 or more, got 1"),
        (lambda: lesson.measure_initial(33), "blocks must be 32 or less, got 33"),
        (lambda: lesson.measure_initial(norm="none"), "norm must be one of post, pre, got 'none'"),
        (lambda: lesson.measure_initial(prediction=0), "prediction must be above 0, got 0"),
        (lambda: lesson.make("mid"), "norm must be one of post, pre, got 'mid'"),
        (lambda: lesson.make(blocks=0), "blocks must be 1 or more, got 0"),
        (lambda: finish(lesson.measure_first_steps(warmup=-1)), "warmup must be 0 or more, got -1"),
        (lambda: finish(lesson.measure_first_steps(prediction=-1)), "prediction must be above 0"),
        (lambda: finish(lesson.measure_training(learning_rate=0.0)), "learning_rate must be a fin"),
        (lambda: finish(lesson.measure_training(max_norm=-1.0)), "max_norm must be 0 or more"),
        (lambda: finish(lesson.measure_training(steps=0)), "steps must be 1 or more, got 0"),
        (lambda: lesson.measure_schedule(1, 0), "total must be 1 or more, got 0"),
        (lambda: lesson.measure_schedule(final=2.0), "final must be between 0 and 1, got 2"),
        (lambda: finish(lesson.measure_clipping(0.0)), "max_norm must be a finite number above 0"),
        (lambda: finish(lesson.measure_clipping(run="x")), "run must be one of post-norm, warmup"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}[^\n]*$"):
        call()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_attention, {"dimension": 8}, {"divide": "d"}),
        (lesson.measure_initial, {"seeds": 1}, {"norm": "post"}),
        (lesson.measure_schedule, {}, {"total": 99}),
        (lambda **s: next(lesson.measure_first_steps(**s)), {}, {"warmup": 1}),
        (lambda **s: next(lesson.measure_training(**s)), {}, {"norm": "pre"}),
        (lambda **s: next(lesson.measure_clipping(**s)), {}, {"run": "pre-norm"}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=0.5).prediction == 0.5
    assert measure(**{**asked, **other}, prediction=0.5).prediction is None


# Exercises


def shape(start=1, late=0, turn=math.pi, stop=True, floor=True, scale=0.5):
    """Return a schedule with one thing that may be wrong."""

    def factor(step, warmup, total, final):
        if step < warmup:
            return (step + start) / warmup
        progress = (step + late - warmup) / (total - warmup)
        progress = min(1, progress) if stop else progress
        final = final if floor else 0
        return final + (1 - final) * scale * (1 + math.cos(turn * progress))

    return factor


def straight(step, warmup, total, final):
    if step < warmup:
        return (step + 1) / warmup
    return 1 - (1 - final) * min(1, (step - warmup) / (total - warmup))


def above_the_peak(step, warmup, total, final):
    if step < warmup:
        return (step + 1) / warmup
    return final + (1 + math.cos(math.pi * min(1, (step - warmup) / (total - warmup)))) / 2


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (shape(), True, "right"),
        (lambda *_case: ..., False, "returns nothing"),
        (shape(start=0), False, "is lost"),
        (shape(late=1), False, "off by one"),
        (shape(turn=2 * math.pi), False, "comes back up"),
        (shape(turn=math.pi / 2), False, "ends half-way"),
        (shape(turn=180), False, "radians"),
        (shape(turn=1), False, "needs a pi"),
        (shape(stop=False), False, "rises again"),
        (shape(scale=1), False, "halve it"),
        (shape(floor=False), False, "end at final"),
        (above_the_peak, False, "peak must stay 1"),
        (straight, False, "straight line"),
        (lambda *_case: 1.0, False, "should be"),
        (lambda step, *_case: 1 / step, False, "ZeroDivisionError"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_warmup_cosine(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (0.003 * sum(n / 100 for n in range(1, 101)), True, "right"),
        (..., False, "replace the dots"),
        (0.3, False, "without a warmup"),
        (0.15, False, "50.5"),
        (0.1485, False, "not at 0"),
        (50.5, False, "in peaks"),
        (0.003, False, "last update alone"),
        (7.0, False, "too high"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_way(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)
