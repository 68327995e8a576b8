"""Time and memory of a training step in float32, float16 and bfloat16, on the device there is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradcourse.checks import at_least
from gradcourse.device import choose_device
from gradcourse.models import MLP, seeded

__all__ = ["Speed", "Timing", "measure_speed"]

PRECISIONS = ("float32", "float16", "bfloat16")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Timing:
    """One row of the table.

    Attributes
    ----------
    precision
        ``"float32"``, ``"float16"`` (autocast and a scaler) or ``"bfloat16"`` (autocast).
    milliseconds
        Median time of one step: forward, backward, optimizer.
    kept
        Bytes that the forward pass keeps for the backward pass.
    peak
        Largest number of bytes that the device had in use in a step; None where it does not say.
    """

    precision: str
    milliseconds: float
    kept: int
    peak: int | None


@dataclass(frozen=True)
class Speed:
    """The table, and where it was measured.

    Attributes
    ----------
    device
        In words.
    size
        Of the network and the batch, in words.
    rows
        One for each precision.
    """

    device: str
    size: str
    rows: tuple[Timing, ...]

    def row(self, precision: str) -> Timing:
        """Return one row."""
        return next(row for row in self.rows if row.precision == precision)

    def summary(self) -> str:
        """Return the table in one line."""
        words = ", ".join(f"{row.precision} {row.milliseconds:.3g} ms" for row in self.rows)
        return f"{words} per step on {self.device}"

    def __str__(self) -> str:
        first = self.rows[0]
        lines = [
            f"measured on {self.device}: {self.size}",
            f"{'':10}{'ms a step':>12}{'speed':>8}{'kept MiB':>11}{'peak MiB':>11}",
        ]
        for row in self.rows:
            peak = "-" if row.peak is None else f"{row.peak / MEBIBYTE:.1f}"
            lines.append(
                f"{row.precision:10}{row.milliseconds:12.2f}"
                f"{first.milliseconds / row.milliseconds:7.2f}x"
                f"{row.kept / MEBIBYTE:11.2f}{peak:>11}"
            )
        return "\n".join(lines)


def measure_speed(
    device: str | torch.device | None = None,
    width: int | None = None,
    depth: int = 8,
    batch: int | None = None,
    steps: int = 10,
) -> Speed:
    """Time training steps of a ReLU network in three precisions.

    Parameters
    ----------
    device
        As for ``gradcourse.device.choose_device``. What is neither a CUDA device nor the CPU
        measures on the CPU.
    width, batch
        Units in each layer and rows in a batch; 2048 and 8192 on a CUDA device, 64 and 256
        elsewhere.
    depth
        Hidden layers.
    steps
        How many are timed, after three that are not.
    """
    chosen = choose_device(device)
    if chosen.type != "cuda":
        chosen = torch.device("cpu")
    on_gpu = chosen.type == "cuda"
    width = at_least(1, "width", (2048 if on_gpu else 64) if width is None else width)
    batch = at_least(1, "batch", (8192 if on_gpu else 256) if batch is None else batch)
    depth, steps = at_least(1, "depth", depth), at_least(1, "steps", steps)
    name = torch.cuda.get_device_name(chosen) if on_gpu else "the CPU"
    rows = tuple(_time(precision, chosen, width, depth, batch, steps) for precision in PRECISIONS)
    size = f"{depth} layers of {width} units, batch {batch}"
    return Speed(name, size, rows)


def _time(
    precision: str, device: torch.device, width: int, depth: int, batch: int, steps: int
) -> Timing:
    network = seeded(0, lambda: MLP(width, width, depth, activation="relu")).to(device)
    inputs = torch.randn(batch, width, generator=torch.Generator().manual_seed(0)).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision)

    def forward() -> Tensor:
        cast = contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        with cast:
            outputs: Tensor = network(inputs)
        return outputs.float().square().mean()

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(scaler.scale(forward()))
        scaler.step(optimizer)
        scaler.update()

    kept = _kept(forward, network)
    for _ in range(3):
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times = [_seconds(step, device) for _ in range(steps)]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Timing(precision, 1000 * sorted(times)[len(times) // 2], kept, peak)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    """Return how long work takes until the device has done it, and not until it has been told."""
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    if wait is not None:
        wait(device)
    started = time.perf_counter()
    work()
    if wait is not None:
        wait(device)
    return time.perf_counter() - started


def _kept(forward: Callable[[], Tensor], network: nn.Module) -> int:
    """Return how many bytes a forward pass keeps, the parameters and each storage counted once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Held until the sum is taken: a freed storage's address may be given out again.
        loss = forward()
    total = sum(found.values())
    del loss
    return total
