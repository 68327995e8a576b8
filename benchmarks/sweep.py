"""What a measurement behind a slider, and a whole phase diagram, cost: ours and the usual ways.

    python -m benchmarks.sweep                 everything, some minutes
    python -m benchmarks.sweep --rounds 3      fewer rounds of the phase diagram
    python -m benchmarks.sweep --device cuda   the same on a GPU; NumPy stays where it is

*Profile*: the norms of the gradients at all activations and weights of a deep tanh network.
*Phase diagram*: the gradient at the input of 2,048 networks, 32 weight scales times 1 to 64 layers.
Every way computes the same numbers, which is checked, but for the users' own, which draws networks
of its own each time, as they do. The ways take turns; torch has the threads that it takes by
itself. The floor is torch's matrix products alone, in as few calls as their order allows.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.func import grad, vmap

from benchmarks.report import interleaved, machine, ratios, spread, table
from gradcourse.device import choose_device
from gradcourse.signals import mlp_signal, phase_diagram
from gradcourse.signals.weights import base_weights

Array = NDArray[np.float64]
Way = Callable[[], object]
USERS = "nn.Sequential, made anew, .item()"
OURS = "ours"
FLOOR = "floor: the products alone"


class Setting:
    """A batch, base weights and cotangents that all ways share."""

    def __init__(
        self, width: int, batch: int, depth: int, seeds: int, device: torch.device
    ) -> None:
        self.width, self.batch, self.depth, self.seeds = width, batch, depth, seeds
        self.device = device
        self.inputs = torch.randn(batch, width, generator=torch.Generator().manual_seed(0))
        self.x = self.inputs.to(device)
        base = base_weights(width, width, 0, seeds, device)
        # All of shape (seeds, layers, width, width), ready to be multiplied by a weight scale.
        layers = [base.layer(layer)[0] for layer in range(1, depth + 1)]
        self.weights = torch.stack(layers, dim=1) / math.sqrt(width)
        self.cotangents = base.cotangents(batch)


def new_network(depth: int, width: int, scale: float, device: torch.device) -> nn.Sequential:
    """Return a network made as everybody makes it."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False, device=device)
        nn.init.normal_(linear.weight, std=scale / math.sqrt(width))
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers)


def norms(network: nn.Sequential, x: Tensor, cotangent: Tensor) -> tuple[list[float], list[float]]:
    """Return the norms of all gradients of a network, as everybody reads them."""
    network.zero_grad()
    h, hidden = x.clone().requires_grad_(), []
    hidden.append(h)
    for layer in network:
        h = layer(h)
        if isinstance(layer, nn.Tanh):
            h.retain_grad()
            hidden.append(h)
    (h * cotangent).sum().backward()  # type: ignore[no-untyped-call]
    activations = [h.grad.norm().item() for h in hidden if h.grad is not None]
    weights = [p.grad.norm().item() for p in network.parameters() if p.grad is not None]
    return activations, weights


def log10(norms: ArrayLike) -> Array:
    """Return log10 of norms as float64."""
    return np.asarray(np.log10(norms), dtype=np.float64)


# The profile


def profile_ways(s: Setting, scale: float) -> dict[str, Way]:
    """Return the ways to one profile; each gives log10 at the activations, (seeds, depth + 1)."""
    kept = [new_network(s.depth, s.width, scale, s.device) for _ in range(s.seeds)]

    def users() -> Array:
        found = []
        for cotangent in s.cotangents:
            network = new_network(s.depth, s.width, scale, s.device)
            found.append(norms(network, s.x, cotangent)[0])
        return log10(found)

    def kept_networks() -> Array:
        found = []
        for network, weights, cotangent in zip(kept, s.weights, s.cotangents, strict=True):
            with torch.no_grad():
                for parameter, weight in zip(network.parameters(), weights, strict=True):
                    torch.mul(weight, scale, out=parameter)
            found.append(norms(network, s.x, cotangent)[0])
        return log10(found)

    def one(added: Tensor, weights: Tensor, cotangent: Tensor) -> Tensor:
        # The gradient at a zero that is added to each activation is the one at the activation.
        h = s.x + added[0]
        for zero, weight in zip(added[1:], weights, strict=True):
            h = torch.tanh(h @ weight.T) + zero
        return (h * cotangent).sum()

    gradients = vmap(grad(one, argnums=(0, 1)), in_dims=(None, 0, 0))

    def by_vmap() -> Array:
        zeros = s.x.new_zeros(s.depth + 1, *s.x.shape)
        at_activations, at_weights = gradients(zeros, s.weights * scale, s.cotangents)
        at_weights.norm(dim=(2, 3)).cpu()
        return log10(at_activations.norm(dim=(2, 3)).cpu().numpy())

    x, numpy_weights = s.inputs.numpy(), s.weights.cpu().numpy()
    numpy_cotangents = s.cotangents.cpu().numpy()

    def by_numpy() -> Array:
        weights = numpy_weights * np.float32(scale)
        h = [np.broadcast_to(x, (s.seeds, *x.shape))]
        for layer in range(s.depth):
            h.append(np.tanh(h[-1] @ weights[:, layer].swapaxes(1, 2)))
        delta, found = numpy_cotangents, []
        found.append(np.linalg.norm(delta, axis=(1, 2)))
        for layer in reversed(range(s.depth)):
            delta = delta * (1 - h[layer + 1] ** 2)
            np.linalg.norm(delta.swapaxes(1, 2) @ h[layer], axis=(1, 2))
            delta = delta @ weights[:, layer]
            found.append(np.linalg.norm(delta, axis=(1, 2)))
        return log10(np.stack(found[::-1], axis=1))

    def ours() -> Array:
        some = (s.inputs, "tanh", s.width, s.depth, scale)
        return mlp_signal(*some, seeds=s.seeds, device=s.device).log10_gradient

    h = s.cotangents

    def floor() -> None:
        for layer in range(s.depth):
            torch.bmm(h, s.weights[:, layer].mT)
            torch.bmm(h, s.weights[:, layer])
            torch.bmm(h.mT, h)
        finish(s.device)

    return {
        USERS: users,
        "nn.Sequential, kept and refilled": kept_networks,
        "torch.func, vmap over networks": by_vmap,
        "NumPy, by hand": by_numpy,
        OURS: ours,
        FLOOR: floor,
    }


# The phase diagram


def phase_ways(s: Setting, scales: Array) -> dict[str, Way]:
    """Return the ways to a phase diagram; each gives log10 at the input, (scales, depth)."""
    cotangent = s.cotangents[0]
    weights = s.weights[0]
    factors = torch.tensor(scales, dtype=torch.float32, device=s.device)

    def users() -> Array:
        found = np.empty((len(scales), s.depth))
        for row, scale in enumerate(scales):
            for depth in range(1, s.depth + 1):
                network = new_network(depth, s.width, scale, s.device)
                x = s.x.clone().requires_grad_()
                (network(x) * cotangent).sum().backward()
                assert x.grad is not None
                found[row, depth - 1] = x.grad.norm().item()
        return log10(found)

    def loss(x: Tensor, scale: Tensor, depth: int) -> Tensor:
        h = x
        for weight in weights[:depth]:
            h = torch.tanh(scale * (h @ weight.T))
        return (h * cotangent).sum()

    over_scales = vmap(grad(loss), in_dims=(None, 0, None))

    def by_vmap() -> Array:
        found = [over_scales(s.x, factors, d).norm(dim=(1, 2)) for d in range(1, s.depth + 1)]
        return log10(torch.stack(found, dim=1).cpu().numpy())

    x, numpy_weights = s.inputs.numpy(), weights.cpu().numpy()
    numpy_factors = scales.astype(np.float32)[:, None, None]
    numpy_cotangent = cotangent.cpu().numpy()

    def by_numpy() -> Array:
        h = np.broadcast_to(x, (len(scales), *x.shape))
        slopes, found = [], []
        for weight in numpy_weights:
            h = np.tanh(numpy_factors * (h @ weight.T))
            slopes.append(numpy_factors * (1 - h**2))
        for depth in range(1, s.depth + 1):
            delta = np.broadcast_to(numpy_cotangent, h.shape)
            for layer in reversed(range(depth)):
                delta = (delta * slopes[layer]) @ numpy_weights[layer]
            found.append(np.linalg.norm(delta, axis=(1, 2)))
        return log10(np.stack(found, axis=1))

    def ours() -> Array:
        some = (s.inputs, "tanh", s.width, s.depth, scales)
        return phase_diagram(*some, device=s.device).log10_gradient

    rows = len(scales) * s.batch
    deltas = s.x.repeat(s.depth * len(scales), 1)
    made = torch.empty_like(deltas)

    def floor() -> None:
        for weight in weights:
            torch.mm(deltas[:rows], weight.T, out=made[:rows])
        for depths, weight in enumerate(weights.flip(0), start=1):
            torch.mm(deltas[: depths * rows], weight, out=made[: depths * rows])
        finish(s.device)

    return {
        USERS: users,
        "torch.func, vmap over scales": by_vmap,
        "NumPy, by hand": by_numpy,
        OURS: ours,
        FLOOR: floor,
    }


def finish(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def check(ways: Mapping[str, Way]) -> None:
    """Stop unless all ways that share their networks find the same numbers."""
    wanted = np.asarray(ways[OURS]())
    for label, way in ways.items():
        if label not in (USERS, OURS, FLOOR):
            away = float(np.abs(np.asarray(way()) - wanted).max())
            # In the chaotic phase two orders of summation part by this much.
            if not away < 0.05:
                sys.exit(f"{label} finds other numbers than ours, by {away:.3g} in log10")


def show(title: str, times: Mapping[str, list[float]]) -> None:
    """Print a table of times and of ratios to ours and to the floor."""
    faster = ratios(times, OURS)
    to_floor = ratios(times, FLOOR)
    rows = [
        [
            label,
            f"{median(seconds) * 1e3:.3g} ms",
            spread(faster[label]),
            f"{median(to_floor[label]):.3g}",
        ]
        for label, seconds in times.items()
    ]
    print(f"\n{title}\n")
    print(table(["way", "median", "of ours (10 to 90 %)", "of the floor"], rows), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the phase diagram")
    parser.add_argument("--profile-rounds", type=int, default=60, help="of the profiles")
    parser.add_argument("--layers", type=int, default=64, help="of the deepest in a phase diagram")
    parser.add_argument("--device", help="a torch device; by default as the course chooses it")
    parser.add_argument("--json", type=Path, help="keep all times in this file")
    chosen = parser.parse_args(arguments)
    device = choose_device(chosen.device)
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    threads = f"{torch.get_num_threads()} threads"
    print(machine(f"torch {torch.__version__}", f"NumPy {np.__version__}", *gpu, threads))
    kept = {}
    for width, batch, seeds in ((128, 64, 1), (64, 32, 8)):
        ways = profile_ways(Setting(width, batch, 50, seeds, device), 1.0)
        check(ways)
        title = f"Profile: 50 tanh layers, width {width}, batch {batch}, {seeds} network(s)"
        kept[title] = interleaved(ways, chosen.profile_rounds, warm_up=5)
        show(title, kept[title])
    layers, scales = chosen.layers, np.linspace(0.5, 2.0, 32)
    ways = phase_ways(Setting(128, 64, layers, 1, device), scales)
    check(ways)
    title = f"Phase diagram: 32 weight scales, 1 to {layers} tanh layers, width 128, batch 64"
    kept[title] = interleaved(ways, chosen.rounds, warm_up=1)
    show(title, kept[title])
    live = phase_ways(Setting(32, 8, layers, 1, device), scales)
    del live[USERS]
    check(live)
    title = f"Behind a slider: the same {32 * layers:,} networks, width 32, batch 8"
    kept[title] = interleaved(live, chosen.profile_rounds, warm_up=2)
    show(title, kept[title])
    if chosen.json:
        chosen.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
