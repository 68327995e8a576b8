"""Formats, what they lose, and the scaler's rule, against torch, NumPy and drawn numbers."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradcourse import theory

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
every_format = pytest.mark.parametrize("name", DTYPES)


def rounded(value, name):
    """Return what torch makes of a number; the oracle of everything here."""
    return torch.tensor(value, dtype=torch.float64).to(DTYPES[name]).double().item()


@every_format
def test_a_format_has_the_numbers_that_torch_says(name):
    kind, info = theory.float_format(name), torch.finfo(DTYPES[name])
    assert (kind.largest, kind.eps) == (info.max, info.eps)
    assert (kind.smallest_normal, kind.smallest) == (info.tiny, info.smallest_normal * info.eps)


@every_format
def test_what_overflows_and_what_becomes_zero_is_exact(name):
    kind = theory.float_format(name)
    assert rounded(kind.overflow_from, name) == math.inf
    # Torch goes from float64 to 16 bits by way of float32.
    number = np.float64 if name == "float32" else np.float32
    below = np.nextafter(number(kind.overflow_from), number(0))
    assert rounded(below.item(), name) == kind.largest
    assert rounded(kind.flush_to, name) == 0
    above = np.nextafter(number(kind.flush_to), number(1))
    assert rounded(above.item(), name) == kind.smallest


@given(st.floats(2.0**-24, 65472, width=16))
def test_spacing_is_numpy_s(value):
    assert theory.spacing(value) == np.spacing(np.float16(value))
    assert theory.spacing(-value) == theory.spacing(value)


@given(st.floats(2.0**-100, 2.0**100, width=32), st.sampled_from(list(DTYPES)))
def test_spacing_is_the_next_bit_pattern(value, name):
    held = torch.tensor(value).to(DTYPES[name])
    assume(0 < held.item() < torch.finfo(DTYPES[name]).max)
    whole = torch.int32 if name == "float32" else torch.int16
    after = (held.view(whole) + 1).view(DTYPES[name])
    assert theory.spacing(held.item(), name) == after.double().item() - held.double().item()


def test_spacing_ends_with_the_format():
    assert theory.spacing([0.0, 1e-7, 65504.0]).tolist() == [2.0**-24, 2.0**-24, 32.0]
    assert np.isnan(theory.spacing([65505.0, math.inf])).all()


@given(st.floats(2.0**-10, 100, width=16), st.sampled_from(["float16", "bfloat16"]))
def test_an_update_is_swallowed_up_to_half_an_ulp_and_no_further(value, name):
    weight = rounded(value, name)
    edge = float(theory.largest_swallowed(weight, name))
    assert rounded(weight - 0.999 * edge, name) == weight
    assert rounded(weight - 1.001 * edge, name) < weight
    assert theory.largest_swallowed(-weight, name) == edge


def test_below_a_power_of_two_half_as_much_is_swallowed():
    assert theory.largest_swallowed(1.0, "bfloat16") == 2.0**-9
    assert theory.largest_swallowed(1.0078125, "bfloat16") == 2.0**-8
    assert rounded(1 - 2.0**-9, "bfloat16") == 1


@pytest.mark.parametrize(("std", "scale"), [(2.0**-26, 1), (2.0**-26, 4), (1e-6, 0.01), (3e-8, 9)])
def test_the_share_that_becomes_zero_is_that_of_drawn_numbers(std, scale):
    drawn = std * scale * np.random.default_rng(0).standard_normal(10**6)
    lost = (drawn.astype(np.float16) == 0).mean()
    assert lost == pytest.approx(float(theory.flushed_share(std, scale)), abs=2e-3)


@pytest.mark.parametrize(("std", "scale"), [(1.0, 65520.0), (10.0, 4000.0), (100.0, 1000.0)])
def test_the_share_that_overflows_is_that_of_drawn_numbers(std, scale):
    drawn = std * scale * np.random.default_rng(0).standard_normal(10**6)
    with np.errstate(over="ignore"):
        lost = np.isinf(drawn.astype(np.float16)).mean()
    assert lost == pytest.approx(float(theory.overflowing_share(std, scale)), abs=2e-3)


def test_the_quoted_share():
    assert theory.flushed_share(2.0**-26, 4) == pytest.approx(0.3829, abs=5e-5)
    assert theory.flushed_share(2.0**-26, [1, 4]).shape == (2,)
    assert theory.flushed_share(1e-30, name="bfloat16") < 1e-9


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(-10, 40), st.integers(-6, 30), st.integers(1, 12))
def test_scales_are_those_of_torch_s_scaler(steps, first, ceiling, interval):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**first, growth_interval=interval)
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    used = []
    for _ in range(steps):
        used.append(scaler.get_scale())
        scaler.scale(weight.sum())
        weight.grad = torch.tensor(0.0 if used[-1] <= 2.0**ceiling else math.inf)
        scaler.step(optimizer)
        scaler.update()
    predicted = theory.loss_scales(steps, 2.0**first, 2.0**ceiling, interval)
    assert predicted.tolist() == used


@pytest.mark.parametrize("interval", [1, 7, 2000])
def test_the_skipped_share_is_that_of_whole_teeth(interval):
    scales = theory.loss_scales(5 * (interval + 1), 2.0, 1.0, interval)
    assert (scales > 1).sum() == 5
    assert theory.skipped_share(interval) == 1 / (interval + 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.float_format("int8"), "a float format must be one of float16, bfloat16, f"),
        (lambda: theory.spacing(1.0, ["float16"]), "a float format must be one of"),
        (lambda: theory.flushed_share(0.0), "std must be finite and above 0, got 0"),
        (lambda: theory.flushed_share(1.0, -2.0), "scale must be finite and above 0, got -2"),
        (lambda: theory.overflowing_share([1.0, -1.0]), "std must be finite and above 0, got -1"),
        (lambda: theory.flushed_share(math.nan), "std must be finite and above 0, got nan"),
        (lambda: theory.skipped_share(0), "growth_interval must be 1 or more, got 0"),
        (lambda: theory.loss_scales(0, 1, 1, 1), "steps must be 1 or more, got 0"),
        (lambda: theory.loss_scales(1, 0.0, 1, 1), "init_scale must be a finite number above 0"),
        (lambda: theory.loss_scales(1, 1, -1, 1), "largest_scale must be a finite number above 0"),
    ],
)
def test_bad_arguments_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        call()
