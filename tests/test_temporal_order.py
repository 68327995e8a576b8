"""The temporal order task: what its sequences hold, and that a seed is a seed."""

import pytest
import torch

from gradcourse.tasks import temporal_order


@pytest.mark.parametrize("length", [10, 20, 57])
def test_two_marks_stand_early_and_the_label_is_their_order(length):
    symbols, labels = temporal_order(500, length, seed=3)
    assert symbols.shape == (500, length)
    assert symbols.dtype is labels.dtype is torch.int64
    assert symbols.min() == 0
    assert symbols.max() == 5
    for sequence, label in zip(symbols, labels, strict=True):
        places = (sequence < 2).nonzero().flatten().tolist()
        first, second = places
        assert length // 10 <= first <= 2 * length // 10
        assert 4 * length // 10 <= second <= 5 * length // 10
        assert label == 2 * sequence[first] + sequence[second]


def test_every_class_place_and_distractor_occurs_about_equally_often():
    symbols, labels = temporal_order(20_000, 20)
    assert torch.bincount(labels) / 20_000 == pytest.approx(0.25, abs=0.02)
    marked = (symbols < 2).float().mean(0)
    expected = [0.0] * 20
    for place in (2, 3, 4, 8, 9, 10):
        expected[place] = 1 / 3
    assert marked.tolist() == pytest.approx(expected, abs=0.02)
    counts = torch.bincount(symbols.flatten(), minlength=6)[2:] / symbols.numel()
    assert counts.tolist() == pytest.approx([0.225] * 4, abs=0.01)


def test_seeds_differ_and_repeat():
    first, again, other = (temporal_order(50, 20, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 20), "batch must be 1 or more, got 0"),
        ((5, 9), "length must be 10 or more, got 9"),
        ((5, 20, -1), "seed must be 0 or more, got -1"),
    ],
)
def test_bad_numbers_get_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        temporal_order(*arguments)
