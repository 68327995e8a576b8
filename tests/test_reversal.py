"""The reversal task."""

import pytest
import torch

from gradcourse.tasks import reversal


def test_targets_are_the_inputs_backwards():
    inputs, targets = reversal(50, 7, 5, seed=2)
    assert inputs.shape == targets.shape == (50, 7)
    assert inputs.dtype is targets.dtype is torch.int64
    for sequence, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        assert wanted == sequence[::-1]


def test_every_symbol_is_as_likely_everywhere():
    inputs, _ = reversal(20_000, 3, 4)
    for place in inputs.T:
        assert torch.bincount(place) / 20_000 == pytest.approx(0.25, abs=0.02)


def test_a_seed_is_a_seed():
    assert torch.equal(reversal(9, seed=1)[0], reversal(9, seed=1)[0])
    assert not torch.equal(reversal(9, seed=1)[0], reversal(9, seed=2)[0])


@pytest.mark.parametrize("name", ["batch", "length", "symbols"])
def test_bad_sizes_get_one_sentence(name):
    with pytest.raises(ValueError, match=f"^{name} must be 1 or more, got 0$"):
        reversal(**{"batch": 2, name: 0})
