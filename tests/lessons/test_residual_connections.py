"""Lesson 07: its highway, its branches, its trainings, its transformers and its checks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradcourse import theory
from gradcourse.initialization import initialize
from gradcourse.lessons import residual_connections as lesson
from gradcourse.lessons.residual_connections.ingredients import RowTransformer
from gradcourse.lessons.residual_connections.training import TRAINING
from gradcourse.models import ResidualBlock, TransformerBlock, seeded
from gradcourse.signals import residual_signal
from gradcourse.tasks import digits, split_digits


def finish(steps):
    *_, last = steps
    return last


# The highway


@pytest.mark.parametrize("skip", [False, True])
def test_the_highway_is_the_signal_of_its_seeds_beside_theory(skip):
    found = lesson.measure_highway(20, 0.5, skip, 16, seeds=5, first_seed=3)
    signal = residual_signal(digits(8, 3)[0], 16, 20, 0.5, skip, 5, 3)
    assert found.gradient.median == pytest.approx(np.median(signal.log10_gradient[0], axis=0))
    relative = signal.log10_activation[0] - signal.log10_activation[0][:, :1]
    assert found.activation.median == pytest.approx(np.median(relative, axis=0))
    assert np.all(found.gradient.low <= found.gradient.median)
    factor = math.sqrt(0.25 + skip)
    assert 10 ** found.gradient.predicted[0] == pytest.approx(factor**20)
    assert 10 ** found.activation.predicted[-1] == pytest.approx(factor**20)
    assert found.gradient.predicted[-1] == found.activation.predicted[0] == 0
    assert found.blocks == 20
    assert found.per_block == pytest.approx(factor, rel=0.15)


def test_the_highway_says_in_words_where_float32_ends():
    large = lesson.measure_highway(200, 2.0, True)
    assert large.forward_overflow == pytest.approx(2 * 128 / math.log2(5), abs=12)
    assert f"the signal overflows float32 at block {large.forward_overflow}" in large.summary()
    assert f"gradient overflows float32 at block {large.backward_overflow}" in large.summary()
    small = lesson.measure_highway(200, 0.02, False)
    assert f"a gradient of 0 up to block {small.underflow}" in small.summary()
    assert "float32" not in lesson.measure_highway(200, 0.1, True).summary()
    for result in (large, small):
        assert "nan" not in result.summary()


# Branches


def test_branches_hold_both_kinds_of_network_at_every_scale():
    found = lesson.measure_branches(30, 16, seeds=3, first_seed=5)
    scales = 10 ** np.linspace(-2, 0.5, 26)
    for number in (0, 13, 25):
        for skip, row in ((True, found.with_skip), (False, found.plain)):
            one = residual_signal(digits(2, 5)[0], 16, 30, scales[number], skip, 3, 5)
            middle = np.median(one.log10_gradient[0, :, 0])
            assert row[number] == pytest.approx(middle, abs=1e-4)
    assert 100**found.predicted == pytest.approx((1 + scales**2) ** 30)
    assert found.predicted_plain == pytest.approx(30 * np.log10(scales))
    assert found.cap == pytest.approx(30**-0.5)


def test_the_tenfold_scale_lies_where_theory_says_or_nowhere():
    deep = lesson.measure_branches(100)
    assert deep.tenfold == pytest.approx(math.sqrt(10 ** (2 / 100) - 1), rel=0.15)
    shallow = lesson.measure_branches(1)
    assert math.isnan(shallow.tenfold)
    assert "tenfold nowhere shown" in shallow.summary()
    assert "nan" not in shallow.summary()


# Training


def test_networks_are_what_their_names_say():
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    nets = {name: lesson.make(name, 9, seed=4) for name in lesson.NETWORKS}
    for name in ("ReZero", "Fixup"):
        assert torch.equal(nets[name].blocks(x), x)
    skip, scaled, plain = (nets[name] for name in ("skip", "skip / sqrt(L)", "plain"))
    assert all(isinstance(block, ResidualBlock) for block in plain.blocks)
    for one, two, three in zip(skip.blocks, scaled.blocks, plain.blocks, strict=True):
        branch = one.branch(x)
        assert torch.allclose(one(x), x + branch, atol=1e-6)
        assert torch.allclose(two(x), x + branch / 3, atol=1e-6)
        assert torch.allclose(three(x), branch, atol=1e-6)
    first, last = (
        torch.stack([block.branch[n].weight for block in skip.blocks]).var() * 32 for n in (0, 2)
    )
    assert float(first.detach()) == pytest.approx(1, rel=0.1)
    assert float(last.detach()) == pytest.approx(2, rel=0.1)
    assert not torch.equal(nets["plain"].first.weight, lesson.make("plain", 9, 5).first.weight)


def test_making_a_network_leaves_the_global_source_of_random_numbers_alone():
    before = torch.get_rng_state()
    lesson.make("Fixup", 2, 0)
    lesson.last_block_gradients("pre", 1, 123, 2)
    assert torch.equal(before, torch.get_rng_state())


def trained_alone(network, blocks, learning_rate, seed, first_seed):
    """Train one network with torch's own tools; return it, its losses and what is held out."""
    inputs, labels = digits(1797, first_seed)
    net = lesson.make(network, blocks, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9)
    generator = torch.Generator().manual_seed(first_seed)
    losses = []
    for _ in range(60):
        drawn = torch.randint(1400, (64,), generator=generator)
        loss = nn.functional.cross_entropy(net(inputs[drawn]), labels[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses, (inputs[1400:], labels[1400:])


def share_right(outputs, labels):
    return float((outputs.argmax(1) == labels).double().mean())


def test_a_training_is_plain_sgd_on_batches_of_digits():
    done = finish(lesson.measure_training("skip / sqrt(L)", 2, 0.02, seeds=2, first_seed=7))
    net, losses, (inputs, labels) = trained_alone("skip / sqrt(L)", 2, 0.02, 8, 7)
    assert done.loss[1] == pytest.approx(losses, rel=1e-3)
    assert done.accuracy[1, -1] == pytest.approx(share_right(net(inputs), labels), abs=0.01)
    assert done.accuracy.shape == (2, 7)


def test_one_block_at_a_time_is_deleted():
    intact, without = lesson.delete_blocks("plain", 3, 0.01, seeds=2, first_seed=7)
    net, _, (inputs, labels) = trained_alone("plain", 3, 0.01, 8, 7)
    assert intact[1] == pytest.approx(share_right(net(inputs), labels), abs=0.01)
    for number in range(3):
        rest = [block for place, block in enumerate(net.blocks) if place != number]
        outputs = net.last(nn.Sequential(*rest)(net.first(inputs)))
        assert without[1, number] == pytest.approx(share_right(outputs, labels), abs=0.01), number


def test_a_training_goes_on_in_parts_and_counts_what_it_has_done():
    parts = list(lesson.measure_training("plain", 1, 0.01, seeds=2))
    assert [part.progress for part in parts] == pytest.approx(np.arange(1, 7) / 6)
    assert [part.loss.shape[1] for part in parts] == [10, 20, 30, 40, 50, 60]
    assert "10 steps" in parts[0].summary()


def test_a_lost_network_is_said_in_words():
    done = finish(lesson.measure_training("skip", 25, 0.1, seeds=2))
    assert done.lost == 2
    assert done.learned == 0
    assert np.isnan(done.loss[:, done.nan_step - 1]).any()
    assert np.isfinite(done.loss[:, : done.nan_step - 1]).all()
    assert f"2 of 2 lost to NaN, the first at step {done.nan_step}" in done.summary()
    assert (done.accuracy[:, -1] == 0).all()


def test_deleting_a_block_leaves_the_rest_as_it_was():
    intact, without = lesson.delete_blocks("skip / sqrt(L)", 3, seeds=2, first_seed=1)
    done = finish(lesson.measure_training("skip / sqrt(L)", 3, seeds=2, first_seed=1))
    assert intact == pytest.approx(done.accuracy[:, -1])
    assert without.shape == (2, 3)
    assert (without != intact[:, None]).any()
    _, plain = lesson.delete_blocks("plain", 3, seeds=2, first_seed=1)
    assert plain.mean() < 0.4 < without.mean()


# Transformers


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_one_pass_serves_the_last_blocks_of_all_depths(norm):
    gradients, streams = lesson.last_block_gradients(norm, 2, 11, 3)
    assert gradients.shape == streams.shape == (2, 3)
    generator = torch.Generator().manual_seed(12)
    tokens = torch.randn(1, 8, 32, generator=generator)
    probes = torch.randn(8, 32, generator=generator)
    blocks = []
    for _ in range(3):
        blocks.append(TransformerBlock(32, 2, norm, activation="relu"))
        initialize(blocks[-1], "xavier_normal", generator=generator)
    for depth in (1, 2, 3):
        outputs = nn.Sequential(*blocks[:depth])(tokens)
        seen = nn.functional.layer_norm(outputs, (32,)) if norm == "pre" else outputs
        weight = blocks[depth - 1].feed_forward[2].weight
        squares = [
            float(
                torch.autograd.grad(seen[0, token] @ probes[token], weight, retain_graph=True)[0]
                .square()
                .sum()
            )
            for token in range(8)
        ]
        assert gradients[1, depth - 1] == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-4)
        size = float(outputs.detach().square().mean().sqrt())
        assert streams[1, depth - 1] == pytest.approx(size, rel=1e-4)


def test_theory_of_the_last_gradient_is_the_inverse_of_the_stream():
    pre = lesson.measure_transformer(6, "pre", seeds=1)
    stream = theory.pre_norm_stream(6, 8)
    assert pre.predicted_stream == pytest.approx(stream[1:])
    assert pre.predicted * pre.predicted_stream == pytest.approx(stream[1])
    post = lesson.measure_transformer(6, "post", seeds=1)
    assert (post.predicted == 1).all()
    assert post.predicted_slope == pytest.approx(0)
    assert pre.gradient[0] == pytest.approx(1)
    assert pre.blocks == 6


def test_a_recipe_leaves_out_what_its_name_says():
    assert lesson.RECIPES["all four"] == {}
    assert set(lesson.RECIPES) == {"all four", "no skips", "no norm", "sigmoid", "torch's weights"}
    with pytest.raises(ValueError, match="recipe must be one of all four, no skips"):
        lesson.train_transformers("no luck")
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        lesson.train_transformers("no norm", steps=0)
    with pytest.raises(ValueError, match="rate must be a finite number above 0"):
        lesson.train_transformers("no norm", rate=0.0)


@pytest.mark.parametrize(("steps", "rate"), [(6, 0.002), (12, 0.001)])
def test_transformers_train_for_the_steps_and_at_the_rate_they_are_given(steps, rate):
    def make():
        network = RowTransformer(12)
        initialize(network.blocks, "xavier_normal")
        return network

    network = seeded(3, make)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    (inputs, labels), (unseen, answers) = split_digits(TRAINING, 3)
    order = torch.Generator().manual_seed(3)
    for _ in range(steps):
        drawn = torch.randint(len(labels), (32,), generator=order)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[drawn]), labels[drawn]).backward()
        optimizer.step()
    right = (network(unseen).argmax(1) == answers).double().mean().item()
    found = lesson.train_transformers("all four", 1, 3, steps=steps, rate=rate)
    assert found == pytest.approx([right], abs=0.01)


# What all of them refuse, and where a prediction is shown


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lesson.measure_highway(0), "blocks must be 1 or more, got 0"),
        (lambda: lesson.measure_highway(branch_scale=-1.0), "branch_scale must be between"),
        (lambda: lesson.measure_branches(0), "blocks must be 1 or more, got 0"),
        (lambda: lesson.measure_branches(prediction=0), "prediction must be a branch scale above"),
        (lambda: lesson.measure_transformer(1), "blocks must be 2 or more, got 1"),
        (lambda: lesson.measure_transformer(49), "blocks must be 48 or less, got 49"),
        (lambda: lesson.measure_transformer(norm="mid"), "norm must be one of pre, post, got 'mid"),
        (lambda: lesson.measure_transformer(32, prediction=-1), "prediction must be above 0, got"),
        (lambda: finish(lesson.measure_training("deep")), "network must be one of plain, skip, "),
        (lambda: finish(lesson.measure_training(blocks=0)), "blocks must be 1 or more, got 0"),
        (lambda: finish(lesson.measure_training(learning_rate=0)), "learning_rate must be a fini"),
    ],
)
def test_bad_settings_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}[^\n]*$"):
        call()


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_highway, {"skip": True}, {"branch_scale": 0.3}),
        (lesson.measure_highway, {}, {"blocks": 199}),
        (lesson.measure_branches, {}, {"blocks": 99}),
        (lesson.measure_transformer, {}, {"norm": "post"}),
        (lambda **s: next(lesson.measure_training(**s)), {}, {"network": "skip"}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=0.5).prediction == 0.5
    assert measure(**{**asked, **other}, prediction=0.5).prediction is None


# Exercises


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda v, w, a: 1 + a**2 * v * w / 2, True, "right"),
        (lambda _v, _w, _a: ..., False, "returns nothing"),
        (lambda v, w, a: a**2 * v * w / 2, False, "the skip adds 1"),
        (lambda v, w, a: 1 + a**2 * v * w, False, "half of the ReLUs are off"),
        (lambda v, w, a: 1 + a * v * w / 2, False, "squares get scale"),
        (lambda v, w, a: (1 + a * math.sqrt(v * w / 2)) ** 2, False, "uncorrelated"),
        (lambda v, w, a: math.sqrt(1 + a**2 * v * w / 2), False, "leave out the root"),
        (lambda _v, _w, a: 1 + a, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_square_factor(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (math.sqrt((10 ** (2 / 100) - 1) / (1 / 3 * 1 / 3 / 2)), True, "right"),
        (..., False, "replace the dots"),
        ((10 ** (2 / 100) - 1) * 18, False, "take its root"),
        (math.sqrt((10 ** (1 / 100) - 1) * 18), False, "the *norm* grows ten times"),
        (math.sqrt(10 ** (2 / 100) - 1), False, "torch's default has gain 1/18"),
        (math.sqrt((10 ** (2 / 100) - 1) / 18), False, "divide by the gain"),
        (0.1, False, "the rule for a branch of gain 1"),
        (math.nan, False, "NaN"),
        (3.0, False, "too high"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_branch_scale(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)
