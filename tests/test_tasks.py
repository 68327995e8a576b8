"""The digits, and how they are standardised."""

import pytest
import torch
from sklearn.datasets import load_digits

from gradcourse.tasks import digits, large_targets, split_digits


def test_all_digits_are_standardised():
    inputs, labels = digits()
    assert inputs.shape == (1797, 64)
    assert inputs.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(10))
    assert float(inputs.double().square().mean()) == pytest.approx(1, abs=1e-6)
    assert inputs.mean(0).abs().max() < 1e-5
    raw = torch.from_numpy(load_digits().data)
    constant = raw.std(0) == 0
    assert int(constant.sum()) == 3
    assert not inputs[:, constant].any()
    spread = inputs[:, ~constant].double().var(0, correction=0)
    torch.testing.assert_close(spread, torch.full_like(spread, 64 / 61), atol=1e-4, rtol=0)


def test_a_batch_is_a_draw_without_repetition_that_the_seed_chooses():
    everything, all_labels = digits()
    inputs, labels = digits(50, seed=3)
    rows = [int((everything == image).all(1).nonzero()[0]) for image in inputs]
    assert len(set(rows)) == 50
    assert torch.equal(all_labels[rows], labels)
    assert torch.equal(digits(50, seed=3)[0], inputs)
    assert not torch.equal(digits(50, seed=4)[0], inputs)
    assert torch.equal(digits(20, seed=3)[0], inputs[:20])
    assert sorted(digits(1797)[1].tolist()) == sorted(all_labels.tolist())


def test_the_caller_may_change_what_it_got():
    digits()[0].zero_()
    assert digits()[0].any()


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (0, "batch must be 1 or more, got 0"),
        (-1, "batch must be 1 or more, got -1"),
        (1798, "batch must be between 1 and 1797, got 1798"),
        (2.5, "batch must be a whole number, 1 or more, got 2.5"),
    ],
)
def test_impossible_batches_are_refused(batch, sentence):
    with pytest.raises(ValueError, match=sentence):
        digits(batch)


@pytest.mark.parametrize("batch", [3, None])
def test_a_negative_seed_is_refused(batch):
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        digits(batch, seed=-1)


def test_no_digit_is_both_learned_from_and_held_out():
    (inputs, labels), (held_out, held_labels) = split_digits(1500, seed=2)
    assert (len(inputs), len(held_out)) == (1500, 297)
    together = torch.cat([inputs, held_out]), torch.cat([labels, held_labels])
    assert all(torch.equal(one, same) for one, same in zip(together, digits(1797, 2), strict=True))
    assert not torch.equal(split_digits(1500, seed=3)[0][0], inputs)
    assert torch.equal(split_digits(1400, seed=2)[0][1], labels[:1400])


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        (0, "training must be 1 or more, got 0"),
        (1797, "training must be between 1 and 1796, got 1797"),
        (2.5, "training must be a whole number, 1 or more, got 2.5"),
    ],
)
def test_a_split_without_digits_on_both_sides_is_refused(training, sentence):
    with pytest.raises(ValueError, match=sentence):
        split_digits(training)


def test_large_targets_are_linear_but_for_their_noise():
    inputs, targets = large_targets()
    assert inputs.shape == (1000, 20)
    assert targets.shape == (1000,)
    x = torch.cat([inputs, torch.ones(1000, 1)], dim=1).double()
    fit = torch.linalg.lstsq(x, targets.double()).solution
    assert float((x @ fit - targets).std()) == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(targets, large_targets(2)[1])
    assert torch.equal(targets, large_targets(1)[1])
