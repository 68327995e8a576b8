"""The warmup and cosine schedule against torch's own schedulers in sequence."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from gradcourse.training import warmup_cosine

# Older torch warns of an argument that its own SequentialLR passes on.
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")


def sgd(*peaks):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": peak} for peak in peaks]
    return torch.optim.SGD(groups, lr=1.0)


def advance(optimizer, scheduler):
    optimizer.step()
    scheduler.step()


def rates(optimizer, scheduler, updates):
    """The learning rates that the updates use, a list for each parameter group."""
    used = []
    for _ in range(updates):
        used.append([group["lr"] for group in optimizer.param_groups])
        advance(optimizer, scheduler)
    return [list(group) for group in zip(*used, strict=True)]


def torch_rates(warmup, total, final, peak):
    optimizer = sgd(peak)
    ramp = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    cosine = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=final * peak)
    scheduler = SequentialLR(optimizer, [ramp, cosine], milestones=[warmup])
    # Torch's cosine rises again after T_max, so the comparison ends there.
    (used,) = rates(optimizer, scheduler, total + 1)
    return used


finals = st.floats(0, 1)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), finals, st.floats(1e-4, 10))
def test_it_is_torch_s_ramp_and_cosine_in_sequence(warmup, decay, final, peak):
    total = warmup + decay
    optimizer = sgd(peak)
    (used,) = rates(optimizer, warmup_cosine(optimizer, warmup, total, final), total + 1)
    assert used == pytest.approx(torch_rates(warmup, total, final, peak), rel=0, abs=1e-12 * peak)


def test_it_is_torch_s_over_a_long_run():
    optimizer = sgd(3e-4)
    (used,) = rates(optimizer, warmup_cosine(optimizer, 200, 3000, 0.1), 3001)
    assert used == pytest.approx(torch_rates(200, 3000, 0.1, 3e-4), rel=0, abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 80), st.data(), finals)
def test_it_climbs_then_falls_then_stays_and_no_update_of_the_run_has_rate_0(total, data, final):
    warmup = data.draw(st.integers(0, total))
    optimizer = sgd(2.0)
    (used,) = rates(optimizer, warmup_cosine(optimizer, warmup, total, final), 3 * total)
    ramp, decay, after = used[:warmup], used[warmup:total], used[total:]
    assert ramp == pytest.approx([2.0 * n / warmup for n in range(1, warmup + 1)], rel=1e-15)
    assert decay == sorted(decay, reverse=True)
    assert decay[:1] in ([2.0], [])
    assert min(used[:total]) > 0
    assert after == [2.0 * final] * len(after)


def test_without_a_warmup_it_is_torch_s_cosine_alone():
    ours, theirs = sgd(0.5), sgd(0.5)
    (used,) = rates(ours, warmup_cosine(ours, 0, 20, 0.2), 21)
    (expected,) = rates(theirs, CosineAnnealingLR(theirs, 20, 0.1), 21)
    assert used == pytest.approx(expected, rel=0, abs=1e-12)


def test_a_warmup_as_long_as_the_run_is_a_ramp_alone():
    optimizer = sgd(1.0)
    (used,) = rates(optimizer, warmup_cosine(optimizer, 4, 4, 0.1), 6)
    assert used == [0.25, 0.5, 0.75, 1.0, 0.1, 0.1]


def test_each_group_keeps_its_own_peak():
    optimizer = sgd(1.0, 0.01)
    first, second = rates(optimizer, warmup_cosine(optimizer, 3, 10, 0.05), 12)
    assert second == pytest.approx([rate / 100 for rate in first], rel=1e-14)


@pytest.mark.parametrize("stop", [0, 2, 5, 7, 12])
def test_a_run_goes_on_from_its_state_dict_on_the_same_rates(stop):
    optimizer = sgd(0.3, 0.1)
    whole = rates(optimizer, warmup_cosine(optimizer, 5, 10, 0.1), 15)

    before = sgd(0.3, 0.1)
    scheduler = warmup_cosine(before, 5, 10, 0.1)
    rates(before, scheduler, stop) if stop else None
    after = sgd(0.3, 0.1)
    resumed = warmup_cosine(after, 1, 99)
    after.load_state_dict(before.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(after, resumed, 15 - stop) == [group[stop:] for group in whole]


def test_its_state_dict_holds_plain_numbers_only():
    optimizer = sgd(0.3)
    (shape,) = warmup_cosine(optimizer, 5, 10, 0.1).state_dict()["lr_lambdas"]
    assert shape == {"warmup": 5, "total": 10, "final": 0.1}


def test_a_pickled_scheduler_goes_on_with_the_optimizer_that_was_pickled_with_it():
    optimizer = sgd(0.3)
    scheduler = warmup_cosine(optimizer, 5, 10)
    rates(optimizer, scheduler, 3)
    copied = pickle.loads(pickle.dumps(scheduler))
    assert rates(copied.optimizer, copied, 9) == rates(optimizer, scheduler, 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1, 10), "warmup must be 0 or more, got -1"),
        ((11, 10), "warmup must be at most total, 10, got 11"),
        ((0.5, 10), "warmup must be a whole number, 0 or more, got 0.5"),
        ((0, 0), "total must be 1 or more, got 0"),
        ((0, 10, 1.5), "final must be between 0 and 1, got 1.5"),
        ((0, 10, float("nan")), "final must be between 0 and 1, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused_in_words(arguments, said):
    optimizer = sgd(0.3)
    with pytest.raises(ValueError, match=f"^{said}$"):
        warmup_cosine(optimizer, *arguments)
    assert optimizer.param_groups[0]["lr"] == 0.3
