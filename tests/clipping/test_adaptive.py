"""The limits that follow a run, against a plain list and the formulas in Python floats."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from clip_oracle import about, bits, gradients_of, norm_of, normal, parameters_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse.clipping import PercentileClip, SpikeClip

positive = st.floats(1e-3, 1e3)
any_norm = st.one_of(positive, positive, positive, st.sampled_from([math.nan, math.inf, 0.0]))


def step(clip, norm, dtype=torch.float64):
    """Clip a gradient of this norm; return the norm that is returned and the one afterwards."""
    parameters = parameters_of(*(torch.tensor([share * norm], dtype=dtype) for share in (0.6, 0.8)))
    returned = clip(parameters)
    assert returned.shape == ()
    assert returned.dtype is dtype
    after = math.hypot(*(parameter.grad.item() for parameter in parameters))
    return float(returned), after


class ListedPercentile:
    """The finite norms above 0 in a list, and NumPy's percentile of the latest."""

    def __init__(self, percentile, history):
        self.percentile, self.history, self.norms = percentile, history, []

    def limit(self, norm):
        if 0 < norm < math.inf:
            self.norms = [*self.norms, norm][-self.history :]
        return np.percentile(self.norms, self.percentile) if self.norms else math.inf


@settings(deadline=None)
@given(st.lists(any_norm, max_size=30), st.floats(0, 100), st.integers(1, 8))
def test_the_limit_is_the_percentile_of_the_latest_norms_this_one_included(
    norms, percentile, history
):
    clip, listed = PercentileClip(percentile, history), ListedPercentile(percentile, history)
    for norm in norms:
        returned, after = step(clip, norm)
        limit = listed.limit(norm)
        if not math.isfinite(norm):
            assert not math.isfinite(returned)
            assert not math.isfinite(after)
            continue
        assert returned == about(norm, rel=1e-12)
        assert after == about(min(norm, limit), rel=1e-9)
    assert clip.norms.tolist() == about(listed.norms, rel=1e-12)


@settings(deadline=None)
@given(
    st.lists(any_norm, max_size=20),
    st.lists(any_norm, max_size=20),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_a_percentile_goes_on_from_a_checkpoint_also_with_another_history(
    before, afterwards, history, other
):
    clip, listed = PercentileClip(50, history), ListedPercentile(50, history)
    for norm in before:
        step(clip, norm)
        listed.limit(norm)
    stream = io.BytesIO()
    torch.save(clip.state_dict(), stream)
    stream.seek(0)
    resumed = PercentileClip(50, other)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    listed.history, listed.norms = other, listed.norms[-other:]
    assert resumed.norms.tolist() == about(listed.norms, rel=1e-12)
    for norm in afterwards:
        _, after = step(resumed, norm)
        limit = listed.limit(norm)
        if math.isfinite(norm):
            assert after == about(min(norm, limit), rel=1e-9)


def test_the_first_step_is_its_own_percentile_and_is_not_clipped():
    for percentile in (0, 10, 100):
        assert step(PercentileClip(percentile), 7.0)[1] == about(7.0)


def test_percentile_100_never_clips_and_0_clips_to_the_least():
    never, always = PercentileClip(100), PercentileClip(0)
    for norm in (3.0, 5.0, 4.0, 2.0, 6.0):
        gradient = normal(4, seed=int(norm))
        gradient *= norm / norm_of([gradient])
        (parameter,) = parameters_of(gradient.clone())
        never(parameter)
        assert bits(parameter.grad) == bits(gradient)
        (parameter,) = parameters_of(gradient.clone())
        always(parameter)
        least = min(always.norms.tolist())
        assert norm_of([parameter.grad]) == about(min(norm, least))


@pytest.mark.parametrize("percentile", [10, 50, 90])
def test_of_stationary_norms_the_share_above_the_percentile_is_clipped(percentile):
    clip, clipped, steps = PercentileClip(percentile), 0, 4000
    norms = np.random.default_rng(0).lognormal(size=steps)
    for norm in torch.from_numpy(norms):
        clipped += bool(norm > clip.observe(norm))
    # Three standard errors of so many independent steps.
    assert clipped / steps == about(1 - percentile / 100, within=0.024)


@pytest.mark.parametrize("clip", [PercentileClip(), SpikeClip(warmup=5)])
def test_gradients_of_zeros_do_not_stop_a_training(clip):
    for _ in range(5):
        assert step(clip, 0.0) == (0, 0)
    for norm in (5.0, 6.0, 5.0, 6.0, 0.0, 5.0, 6.0, 5.5):
        assert step(clip, norm)[1] >= min(norm, 5)


def test_before_any_finite_norm_nothing_is_clipped():
    clip = PercentileClip()
    gradient = torch.tensor([math.inf, 1.0])
    (parameter,) = parameters_of(gradient.clone())
    assert clip(parameter) == math.inf
    assert bits(parameter.grad) == bits(gradient)
    assert len(clip.norms) == 0
    assert len(PercentileClip().norms) == 0


class ListedSpikes:
    """ZClip's formulas: statistics of the warmup, then exponential averages of clipped norms."""

    def __init__(self, z, warmup, alpha):
        self.z, self.warmup, self.alpha = z, warmup, alpha
        self.first, self.mean, self.variance = [], 0.0, 0.0

    def limit(self, norm):
        if not 0 < norm < math.inf:
            return math.inf
        if len(self.first) < self.warmup:
            self.first.append(norm)
            self.mean = math.fsum(self.first) / len(self.first)
            squares = math.fsum((one - self.mean) ** 2 for one in self.first)
            self.variance = squares / len(self.first)
            return math.inf
        limit = math.inf
        std = math.sqrt(self.variance)
        if std > 1e-6 * self.mean and norm - self.mean > self.z * std:
            limit = self.mean + self.z**2 * self.variance / (norm - self.mean)
        taken = min(norm, limit)
        self.mean = self.alpha * self.mean + (1 - self.alpha) * taken
        self.variance = self.alpha * self.variance + (1 - self.alpha) * (taken - self.mean) ** 2
        return limit


@settings(deadline=None)
@given(
    st.lists(any_norm, max_size=60),
    st.floats(0.2, 4),
    st.integers(2, 8),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(0, 500)),
)
def test_a_spike_is_clipped_by_the_formula_and_the_averages_take_in_what_is_left(
    norms, z, warmup, alpha, max_norm
):
    clip, listed = SpikeClip(z, warmup, alpha, max_norm), ListedSpikes(z, warmup, alpha)
    largest = max((norm for norm in norms if math.isfinite(norm)), default=0.0)
    for norm in norms:
        edge = listed.mean + z * math.sqrt(listed.variance)
        if len(listed.first) == warmup and abs(norm - edge) < 1e-6 * largest:
            return  # Rounding decides whether this is a spike.
        if 1e-7 * listed.mean < math.sqrt(listed.variance) < 1e-5 * listed.mean:
            return  # Or whether the norms so far were all alike.
        returned, after = step(clip, norm)
        limit = min(listed.limit(norm), math.inf if max_norm is None else max_norm)
        if not math.isfinite(norm):
            assert not math.isfinite(after)
            continue
        assert returned == about(norm, rel=1e-12)
        assert after == about(min(norm, limit), rel=1e-6, within=1e-6 * largest)
        assert clip.mean == about(listed.mean, rel=0, within=1e-9 * largest)
        std = math.sqrt(listed.variance)
        assert clip.std == about(std, rel=1e-6, within=1e-6 * largest)


def warmed(*norms, **settings):
    clip = SpikeClip(warmup=len(norms), **settings)
    for norm in norms:
        assert step(clip, norm)[1] == about(norm)
    return clip


@pytest.mark.parametrize("norm", [0.1, 3.9, 4.0, 6.4, math.nan])
def test_what_is_no_spike_has_no_limit(norm):
    limit = warmed(3, 5, 3, 5).observe(torch.tensor(norm))
    assert limit.shape == ()
    assert limit == math.inf


def test_a_spike_ends_the_nearer_to_the_mean_the_larger_it_is():
    # Mean 4, standard deviation 1: at 2.5 deviations a norm of 6.5 is the last to pass.
    for norm, expected in [(6.4, 6.4), (6.6, 4 + 6.25 / 2.6), (9, 5.25), (104, 4.0625)]:
        assert step(warmed(3, 5, 3, 5), norm)[1] == about(expected)


def test_the_averages_after_a_spike_are_those_of_the_clipped_norm():
    clip = warmed(3, 5, 3, 5)
    step(clip, 9)
    mean = 0.97 * 4 + 0.03 * 5.25
    assert clip.mean == about(mean)
    assert clip.std == about(math.sqrt(0.97 + 0.03 * (5.25 - mean) ** 2))


def test_after_constant_norms_nothing_is_a_spike_until_one_differs():
    clip = warmed(2, 2, 2, 2)
    assert clip.std == 0
    assert step(clip, 2)[1] == about(2)
    # At 2 for ever the deviation would stay 0, and so would the limit at 2.
    assert step(clip, 3)[1] == about(3)
    assert (clip.mean, clip.std) == about((2.03, math.sqrt(0.03 * 0.97**2)))
    limit = 2.03 + 6.25 * 0.03 * 0.97**2 / (50 - 2.03)
    assert step(clip, 50)[1] == about(limit)
    assert clip.mean == about(0.97 * 2.03 + 0.03 * limit)


def test_a_second_limit_holds_in_the_warmup_and_afterwards_and_stays_out_of_the_averages():
    clip = SpikeClip(warmup=4, max_norm=3.5)
    assert [step(clip, norm)[1] for norm in (3, 5, 3, 5)] == about([3, 3.5, 3, 3.5])
    assert (clip.mean, clip.std) == about((4, 1))
    assert step(clip, 104)[1] == about(3.5)
    assert step(clip, 3.2)[1] == about(3.2)


def test_a_norm_that_is_not_finite_is_neither_clipped_nor_taken_in():
    for clip in (warmed(3, 5, 3, 5), SpikeClip(warmup=4)):
        before = clip.state_dict()["averages"].clone()
        for bad in (math.nan, math.inf):
            gradient = torch.tensor([bad, 1.0])
            (parameter,) = parameters_of(gradient.clone())
            assert not clip(parameter).isfinite()
            assert bits(parameter.grad) == bits(gradient)
        assert bits(clip.state_dict()["averages"]) == bits(before)


@pytest.mark.parametrize("stop", [0, 3, 5, 9])
def test_spikes_go_on_from_a_checkpoint(stop):
    norms = [3.0, 5, 3, 4, 5, 30, 3, 4, 90, 4, 6]
    through = SpikeClip(warmup=5)
    expected = [step(through, norm)[1] for norm in norms]
    clip = SpikeClip(warmup=5)
    assert [step(clip, norm)[1] for norm in norms[:stop]] == expected[:stop]
    stream = io.BytesIO()
    torch.save(clip.state_dict(), stream)
    stream.seek(0)
    resumed = SpikeClip(warmup=5)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    assert [step(resumed, norm)[1] for norm in norms[stop:]] == expected[stop:]
    assert (resumed.mean, resumed.std) == (through.mean, through.std)


def make(kind):
    return PercentileClip(40, history=4) if kind == "percentile" else SpikeClip(z=1, warmup=3)


@pytest.mark.parametrize("kind", ["percentile", "spike"])
@pytest.mark.parametrize("via", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy])
def test_a_copy_goes_on_alone(kind, via):
    norms = [3.0, 5, 4, 3, 9, 2, 7]
    clip, through = make(kind), make(kind)
    for norm in norms[:5]:
        step(clip, norm)
    copied = via(clip)
    step(clip, 1000.0)
    expected = [step(through, norm) for norm in norms][5:]
    assert [step(copied, norm) for norm in norms[5:]] == expected


@pytest.mark.parametrize("kind", ["percentile", "spike"])
def test_a_state_that_was_taken_does_not_change_with_the_run(kind):
    clip, other = make(kind), make(kind)
    for norm in (3.0, 5, 4, 3):
        step(clip, norm)
    state = clip.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    other.load_state_dict(state)
    for norm in (50.0, 60, 70):
        step(clip, norm)
        step(other, norm)
    assert all(bits(state[name]) == bits(before[name]) for name in before)


@pytest.mark.parametrize("kind", [PercentileClip, SpikeClip])
@pytest.mark.parametrize("norm_type", [1.0, math.inf])
def test_the_order_of_the_norm_is_that_of_the_limit(kind, norm_type):
    clip = kind(norm_type=norm_type)
    (parameter,) = parameters_of(torch.tensor([3.0, -4.0]))
    assert clip(parameter) == norm_of([torch.tensor([3.0, -4.0])], norm_type)


@pytest.mark.parametrize("kind", [PercentileClip, SpikeClip])
def test_gradients_of_several_dtypes_keep_theirs(kind):
    clip = kind()
    dtypes = torch.float16, torch.float32, torch.bfloat16
    for size in (1.0, 8.0):
        parameters = parameters_of(*(torch.full((2,), size, dtype=dtype) for dtype in dtypes))
        assert clip(parameters).dtype is torch.float32
        assert [parameter.grad.dtype for parameter in parameters] == list(dtypes)
    if kind is PercentileClip:
        limit = np.percentile([math.sqrt(6), 8 * math.sqrt(6)], 10)
        assert norm_of(gradients_of(parameters)) == about(limit, rel=4e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PercentileClip(-1), r"^percentile must be between 0 and 100, got -1$"),
        (lambda: PercentileClip(100.5), r"^percentile must be between 0 and 100, got 100\.5$"),
        (lambda: PercentileClip(math.nan), r"^percentile must be between 0 and 100, got nan$"),
        (lambda: PercentileClip(history=0), r"^history must be 1 or more, got 0$"),
        (lambda: PercentileClip(history=2.5), r"^history must be a whole number, 1 or more, got"),
        (lambda: PercentileClip(norm_type=0), r"^norm_type must be above 0, or inf, got 0$"),
        (lambda: SpikeClip(z=0), r"^z must be a finite number above 0, got 0$"),
        (lambda: SpikeClip(warmup=1), r"^warmup must be 2 or more, got 1$"),
        (lambda: SpikeClip(alpha=1.1), r"^alpha must be between 0 and 1, got 1\.1$"),
        (lambda: SpikeClip(max_norm=-1), r"^max_norm must be 0 or more, or None for no limit, got"),
        (lambda: SpikeClip(norm_type=-2), r"^norm_type must be above 0, or inf, got -2$"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(make, words):
    with pytest.raises(ValueError, match=words):
        make()
