"""The adding problem and the first symbol: what their sequences hold, and that a seed is a seed."""

import pytest
import torch

from gradcourse.tasks import adding_problem, first_symbol


@pytest.mark.parametrize("length", [2, 3, 40, 41])
def test_the_target_is_the_sum_of_two_marked_numbers_one_in_each_half(length):
    inputs, targets = adding_problem(300, length, seed=2)
    assert inputs.shape == (300, length, 2)
    assert inputs.dtype is targets.dtype is torch.float32
    for sequence, target in zip(inputs, targets, strict=True):
        first, second = sequence[:, 1].nonzero().flatten().tolist()
        assert first < length // 2 <= second
        assert sequence[[first, second], 1].tolist() == [1, 1]
        assert target == pytest.approx(float(sequence[first, 0] + sequence[second, 0]))


def test_numbers_are_uniform_and_answering_one_scores_a_sixth():
    inputs, targets = adding_problem(50_000, 10)
    numbers = inputs[..., 0]
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=0.001)
    assert float((targets - 1).square().mean()) == pytest.approx(1 / 6, abs=0.003)
    assert inputs[..., 1].mean(0).tolist() == pytest.approx([0.2] * 10, abs=0.01)


@pytest.mark.parametrize("length", [1, 2, 30])
def test_the_first_symbol_is_the_class_and_no_later_one_is(length):
    symbols, labels = first_symbol(4000, length, seed=1)
    assert symbols.shape == (4000, length)
    assert symbols.dtype is labels.dtype is torch.int64
    assert torch.equal(symbols[:, 0], labels)
    assert torch.bincount(labels) / 4000 == pytest.approx(0.25, abs=0.03)
    rest = symbols[:, 1:]
    assert bool(((rest >= 4) & (rest <= 7)).all())
    if length > 2:
        counts = torch.bincount(rest.flatten(), minlength=8)[4:] / rest.numel()
        assert counts.tolist() == pytest.approx([0.25] * 4, abs=0.01)
        # A distractor beside the first symbol says nothing of it.
        assert torch.corrcoef(torch.stack([labels, rest[:, 0]]).float())[0, 1].abs() < 0.06


@pytest.mark.parametrize("task", [adding_problem, first_symbol])
def test_seeds_differ_and_repeat(task):
    first, again, other = (task(50, 20, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: adding_problem(0), "batch must be 1 or more, got 0"),
        (lambda: adding_problem(5, 1), "length must be 2 or more, got 1"),
        (lambda: adding_problem(5, 10, -1), "seed must be 0 or more, got -1"),
        (lambda: first_symbol(0), "batch must be 1 or more, got 0"),
        (lambda: first_symbol(5, 0), "length must be 1 or more, got 0"),
        (lambda: first_symbol(5, 10, -1), "seed must be 0 or more, got -1"),
    ],
)
def test_bad_numbers_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
