"""What it costs to watch and clip the gradients of a training step: ours, torch's, and by hand.

    python -m benchmarks.monitor              one thread, as a small model is trained
    python -m benchmarks.monitor --rounds 50  faster and rougher

Every way sees the same gradients in turn, a fresh copy each time, in an order drawn anew in each
round; what is compared is the median over the rounds of the ratio to torch's clip in that round.
On a GPU the device's time is measured with the host's, and the synchronisations that each way makes
are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.report import interleaved, machine, ratios, spread, timed
from gradcourse.clipping import PercentileClip, clip_grad_norm_
from gradcourse.device import choose_device
from gradcourse.diagnosis import GradMonitor
from gradcourse.models import MLP

Way = Callable[[], object]


def transformer() -> nn.Module:
    """Return the 58 parameters of a small language model; only their gradients are used."""
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 4, nn.LayerNorm(128), enable_nested_tensor=False)
    head = nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 256))
    return nn.Sequential(nn.Embedding(256, 128), nn.Embedding(64, 128), encoder, head)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "6-layer MLP": lambda: MLP(in_features=64, width=256, depth=5, out_features=10),
    "transformer": transformer,
    "400-tensor MLP": lambda: MLP(in_features=64, width=64, depth=199, out_features=10),
}


def torch_clip(model: nn.Module, max_norm: float) -> Way:
    """Return torch's function, called as everybody calls it."""
    return lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def torch_clip_of_a_list(model: nn.Module, max_norm: float) -> Way:
    """Return torch's function on parameters that were listed once."""
    parameters = list(model.parameters())
    return lambda: torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def naive_loop(model: nn.Module, max_norm: float) -> Way:
    """Return the loop of the tutorials, which logs each norm, and torch's clip after it."""

    def step() -> None:
        norms = {}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                norms[name] = parameter.grad.norm().item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)

    return step


def our_clip(model: nn.Module, max_norm: float) -> Way:
    """Return our function on the module."""
    return lambda: clip_grad_norm_(model, max_norm)


def our_monitor(model: nn.Module, max_norm: float) -> Way:
    """Return the monitor that records every norm by parameter and clips by them."""
    monitor = GradMonitor(model)
    return lambda: monitor.step(max_norm)


def our_percentile_clip(model: nn.Module, _max_norm: float) -> Way:
    """Return the monitor with an adaptive limit."""
    monitor, clip = GradMonitor(model), PercentileClip(50)
    return lambda: monitor.step(clip)


WAYS: dict[str, Callable[[nn.Module, float], Way]] = {
    "torch's clip": torch_clip,
    "torch's clip, list made once": torch_clip_of_a_list,
    "loop with .item(), torch's clip": naive_loop,
    "our clip": our_clip,
    "our monitor + clip": our_monitor,
    "our monitor + percentile": our_percentile_clip,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300, help="measurements of each way")
    parser.add_argument("--device", help="a torch device; by default as the course chooses it")
    chosen = parser.parse_args(arguments)
    device = choose_device(chosen.device)
    torch.set_num_threads(1)
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    print(machine("one thread", f"torch {torch.__version__}", *gpu))
    for name, make in MODELS.items():
        torch.manual_seed(0)
        model = make().to(device)
        for clipped in (True, False):
            table(name, model, clipped, chosen.rounds)
    whole_steps(device, max(chosen.rounds // 3, 10))


def table(name: str, model: nn.Module, clipped: bool, rounds: int) -> None:
    """Print the ratios of all ways on one model to torch's clip."""
    parameters = list(model.parameters())
    gradients = [torch.randn_like(parameter) for parameter in parameters]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    max_norm = norm / 2 if clipped else norm * 2
    ways = {label: make(model, max_norm) for label, make in WAYS.items()}
    on_fresh_gradients = partial(seconds_of_clip, parameters=parameters, gradients=gradients)
    times = interleaved(ways, rounds, max(10, rounds // 10), on_fresh_gradients)
    count = sum(parameter.numel() for parameter in parameters)
    print(
        f"\n{name}: {len(parameters)} tensors, {count:,} parameters, "
        f"{'every step clipped' if clipped else 'no step clipped'}"
    )
    compare(times)
    if parameters[0].is_cuda:
        for label, way in ways.items():
            print(f"  {label:42} {synchronisations(way)} synchronisations")


def compare(times: dict[str, list[float]]) -> None:
    """Print the median time of each way, and of its ratio to torch's clip in the same round."""
    for label, of_torch in ratios(times, "torch's clip").items():
        microseconds = median(times[label]) * 1e6
        print(f"  {label:42} {microseconds:6.0f} us   of torch's (10 to 90 %): {spread(of_torch)}")


def whole_steps(device: torch.device, rounds: int) -> None:
    """Print what a whole forward and backward pass costs with the layers watched as well."""
    make = MODELS["6-layer MLP"]
    inputs = torch.randn(128, 64, device=device)
    ways: dict[str, Way] = {}
    with contextlib.ExitStack() as watched:
        for label, clip in {"torch's clip": torch_clip, "our monitor": our_monitor}.items():
            model = make().to(device)
            ways[label] = partial(training_step, model, inputs, clip(model, 1.0))
        for every in (10, 1):
            model = make().to(device)
            monitor = watched.enter_context(GradMonitor(model, every=every))
            label = f"our monitor, layers watched, every={every}"
            ways[label] = partial(training_step, model, inputs, partial(monitor.step, 1.0))
        times = interleaved(ways, rounds, 10, seconds_of_a_step)
    print("\n6-layer MLP, forward and backward pass of a batch of 128, then the clip")
    compare(times)


def training_step(model: nn.Module, inputs: Tensor, clip: Way) -> None:
    """Do a forward and a backward pass and clip."""
    model.zero_grad()
    model(inputs).square().mean().backward()
    clip()
    if inputs.is_cuda:
        torch.cuda.synchronize()


def seconds_of_a_step(way: Way) -> float:
    """Return the mean seconds of ten steps, one of which is measured in full with every=10."""
    return timed(lambda: [way() for _ in range(10)]) / 10


def seconds_of_clip(way: Way, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Return the seconds that one call takes, on gradients that are the same each time."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    if parameters[0].is_cuda:
        torch.cuda.synchronize()
        return timed(partial(with_its_work_done, way))
    return timed(way)


def with_its_work_done(way: Way) -> None:
    """Call a way, and wait for what it asked of the GPU."""
    way()
    torch.cuda.synchronize()


def synchronisations(way: Way) -> int:
    """Count how often one call makes the host wait for a CUDA device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            way()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


if __name__ == "__main__":
    main()
