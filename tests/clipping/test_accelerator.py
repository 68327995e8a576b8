"""The way without reading a number: on a GPU where there is one, and on a CPU as when compiling."""

import math

import pytest
import torch
from clip_oracle import (
    FLOATS,
    FUNCTIONS,
    NORM_TYPES,
    about,
    every_function,
    filled,
    norm_of,
    parameters_of,
)
from torch import nn

from gradcourse.clipping import (
    PercentileClip,
    SpikeClip,
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    clip_grad_rms_,
    clip_grad_value_,
    nonfinite_gradients,
    rescale_grad_norm_,
    standardize_grad_,
)
from gradcourse.clipping.gradients import Gradients
from gradcourse.clipping.norms import measure

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])
def device(request, monkeypatch):
    """A device whose numbers are not read; on a CPU, the same code as when it is compiled."""
    if request.param == "cpu":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return request.param


def twins(device, *shapes, dtype=torch.float32, size=1.0):
    """The same gradients on the device and on the CPU, where another code handles them."""
    there, here = (filled([nn.Parameter(torch.ones(s, dtype=dtype)) for s in shapes]) for _ in "ab")
    moved = []
    for place, (one, other) in enumerate(zip(there, here, strict=True)):
        other.grad *= size
        moved.append(nn.Parameter(one.detach().to(device)))
        moved[place].grad = (one.grad * size).to(device)
    return moved, here


def on_cpu(monkeypatch, function, parameters):
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: False)
        return function(parameters)


def same(one, other, rtol=None):
    if one is None:
        assert other is None
        return
    tolerance = {"rtol": rtol, "atol": 1e-45} if rtol else {}
    torch.testing.assert_close(one.cpu(), other, equal_nan=True, **tolerance)


@pytest.fixture(autouse=True)
def _nothing_is_read(device):
    """Norms have no value in Python here: what these tests are about."""
    (parameter,) = parameters_of(torch.ones(2, device=device))
    assert measure(Gradients.of(parameter), 2.0).value is None


SHAPES = (3, 2), (4,), (2, 3, 2, 2), (), (0, 3)


@pytest.mark.parametrize("dtype", FLOATS)
@every_function
def test_every_function_does_what_it_does_on_a_cpu(function, dtype, device, monkeypatch):
    there, here = twins(device, *SHAPES, dtype=dtype)
    same(function(there), on_cpu(monkeypatch, function, here))
    for one, other in zip(there, here, strict=True):
        same(one.grad, other.grad)


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("norm_type", [*NORM_TYPES, 12.0, 100.0])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e20, 1e25, 1e30])
def test_norms_of_any_order_and_size_are_clipped(norm_type, size, foreach, device):
    there, here = twins(device, *SHAPES[:3], size=size)
    true_norm = norm_of([parameter.grad for parameter in here], norm_type)
    max_norm = min(size / 4, 1.0)
    norm = clip_grad_norm_(there, max_norm, norm_type, foreach=foreach)
    assert norm.device.type == device
    assert norm.dtype is torch.float32
    assert float(norm) == about(true_norm, rel=2e-6)
    for one, other in zip(there, here, strict=True):
        same(one.grad, other.grad * (max_norm / true_norm), 4e-6)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_float64_gradients_of_any_size_are_clipped(size, device):
    there, here = twins(device, *SHAPES[:3], dtype=torch.float64, size=size)
    true_norm = norm_of([parameter.grad for parameter in here])
    assert float(clip_grad_norm_(there, size)) == about(true_norm, rel=1e-12)
    for one, other in zip(there, here, strict=True):
        same(one.grad, other.grad * (size / true_norm))


@pytest.mark.parametrize("size", [1e-40, 1e-20, 1e20, 3e37])
def test_gradients_of_any_size_are_rescaled(size, device):
    there, _ = twins(device, *SHAPES[:3], size=size)
    rescale_grad_norm_(there, 2.0)
    assert norm_of([p.grad.cpu() for p in there]) == about(2.0, rel=1e-4)


def test_a_gradient_of_zeros_stays(device):
    clips = [
        rescale_grad_norm_,
        lambda p: clip_grad_norm_(p, 0.0),
        lambda p: clip_grad_norm_per_parameter_(p, 0.0),
        lambda p: clip_grad_agc_(p, eps=0.0),
        standardize_grad_,
    ]
    for clip in clips:
        (parameter,) = parameters_of(torch.zeros(2, 2, device=device))
        clip(parameter)
        assert (parameter.grad == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_norm_at_or_below_the_limit_changes_nothing(dtype, device):
    gradient = torch.tensor([3.0, -4.0, -0.0, torch.finfo(dtype).smallest_normal / 2], dtype=dtype)
    clips = [
        lambda p: clip_grad_norm_(p, 5.0),
        lambda p: clip_grad_norm_(p, 5.0, foreach=False),
        lambda p: clip_grad_norm_per_parameter_(p, 5.0),
        lambda p: clip_grad_rms_(p, 2.5),
        PercentileClip(100),
        SpikeClip(),
        lambda p: rescale_grad_norm_(p, 5.0),
    ]
    for clip in clips:
        (parameter,) = parameters_of(gradient.to(device, copy=True))
        clip(parameter)
        assert torch.equal(parameter.grad.cpu(), gradient)
        assert torch.equal(parameter.grad.cpu().signbit(), gradient.signbit())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (37,)])
def test_half_precision_is_rounded_once(dtype, shape, device):
    gradient = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 1).to(dtype)
    (parameter,) = parameters_of(gradient.to(device, copy=True))
    clip_grad_norm_(parameter, 0.4 * norm_of([gradient]))
    # Two fifths is no number in any of these formats: a factor that is rounded to a half shows.
    expected = (gradient.float() * 0.4).to(dtype)
    assert torch.equal(parameter.grad.cpu(), expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays(bad, device):
    keeps_all = [
        lambda p: clip_grad_norm_(p, 0.5),
        lambda p: rescale_grad_norm_(p, 0.5),
        PercentileClip(),
        SpikeClip(max_norm=0.5),
    ]
    keeps_its_own = [
        lambda p: clip_grad_norm_per_parameter_(p, 0.5),
        lambda p: clip_grad_rms_(p, 0.1),
        standardize_grad_,
    ]
    for clip in keeps_all + keeps_its_own:
        parameters = parameters_of(
            torch.tensor([3.0, bad], device=device), torch.tensor([3.0, 4.0], device=device)
        )
        clip(parameters)
        same(parameters[0].grad, torch.tensor([3.0, bad]))
        assert (parameters[1].grad.tolist() == [3, 4]) == (clip in keeps_all)
        assert nonfinite_gradients(parameters) == ["parameters[0] of shape (2,)"]
        with pytest.raises(RuntimeError, match=r"1 of 2 parameters: parameters\[0\] of shape \(2"):
            clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)


def test_adaptive_limits_are_those_of_a_cpu_and_take_in_no_norm_that_is_not_finite(
    device, monkeypatch
):
    norms = [3.0, 5, math.nan, 4, math.inf, 3, 40, 5, 2, 3, 60, 4]
    for make in (lambda: PercentileClip(40, history=100), lambda: SpikeClip(z=1, warmup=3)):
        there, here = make(), make()
        for place, norm in enumerate(norms):
            one = there.observe(torch.tensor(norm, dtype=torch.float64, device=device))
            other = on_cpu(monkeypatch, here.observe, torch.tensor(norm, dtype=torch.float64))
            if math.isfinite(norm):
                same(one, other.double())
            if place == 6:
                state = there.state_dict()
                assert all(tensor.device.type == "cpu" for tensor in state.values())
                there = make()
                there.load_state_dict(state)
        assert {k: v.tolist() for k, v in there.state_dict().items()} == {
            k: about(v.tolist()) for k, v in here.state_dict().items()
        }


def test_a_full_history_drops_the_oldest(device):
    clip = PercentileClip(0, history=3)
    limits = [float(clip.observe(torch.tensor(n, device=device))) for n in (1.0, 5, 4, 3, 9, 8, 7)]
    assert limits == [1, 1, 1, 3, 3, 3, 7]
    assert clip.norms.tolist() == [9, 8, 7]


def test_before_any_finite_norm_nothing_is_clipped(device):
    clip = PercentileClip()
    (parameter,) = parameters_of(torch.tensor([math.inf, 1.0], device=device))
    assert clip(parameter) == math.inf
    assert parameter.grad.tolist() == [math.inf, 1]
    assert len(clip.norms) == 0


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtypes", [[torch.float32], [torch.float32, torch.bfloat16], FLOATS])
def test_nothing_makes_the_host_wait(dtypes):
    shapes = [(64, 32), (64,), (200, 200), (8, 3, 3, 3)]
    parameters = []
    for place, shape in enumerate(shapes):
        dtype = dtypes[place % len(dtypes)]
        parameters.append(nn.Parameter(torch.ones(shape, dtype=dtype, device="cuda")))
        parameters[-1].grad = torch.randn(shape, device="cuda").to(dtype)
    adaptive = PercentileClip(), SpikeClip(warmup=2)
    clips = [
        lambda: clip_grad_norm_(parameters, 1.0),
        lambda: clip_grad_norm_(parameters, 1.0, foreach=False),
        lambda: clip_grad_norm_(parameters, 1.0, 1.0),
        lambda: clip_grad_norm_(parameters, 1.0, 3.0),
        lambda: clip_grad_norm_(parameters, 1.0, math.inf),
        lambda: clip_grad_norm_per_parameter_(parameters, 1.0),
        lambda: clip_grad_rms_(parameters, 0.1),
        lambda: clip_grad_value_(parameters, 0.1),
        lambda: clip_grad_agc_(parameters, 0.01),
        lambda: rescale_grad_norm_(parameters, 1.0),
        lambda: standardize_grad_(parameters),
        lambda: adaptive[0](parameters),
        lambda: adaptive[1](parameters),
    ]
    for clip in clips:
        clip()  # The first call may fetch kernels and make histories.
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            for clip in clips:
                clip()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("first", ["cpu", "cuda"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_on_several_devices_are_clipped_together(name, first):
    devices = [first, "cuda" if first == "cpu" else "cpu", first]
    _, here = twins("cpu", (3, 2), (4,), (2, 2))
    there, _ = twins("cpu", (3, 2), (4,), (2, 2))
    there = [nn.Parameter(p.detach().to(d)) for p, d in zip(there, devices, strict=True)]
    for one, other in zip(there, here, strict=True):
        one.grad = other.grad.to(one.device, copy=True)
    returned, expected = FUNCTIONS[name](there), FUNCTIONS[name](here)
    if returned is not None:
        assert returned.device.type == first
    same(returned, expected)
    for one, other in zip(there, here, strict=True):
        assert one.grad.device == one.device
        same(one.grad, other.grad)


@pytest.mark.gpu
@needs_gpu
def test_the_norm_of_fifty_million_elements_is_right_on_a_gpu():
    (parameter,) = parameters_of(torch.full((50_000_000,), 0.01, device="cuda"))
    expected = float(torch.tensor(0.01)) * math.sqrt(5e7)
    assert float(clip_grad_norm_(parameter, None)) == about(expected, rel=1e-6)
