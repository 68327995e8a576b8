"""Each piece of advice, taken: the same sick network with that one change is healthy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcourse.diagnosis import Diagnosis, GradMonitor, find_nonfinite
from gradcourse.diagnosis.verdict import ADVICE
from gradcourse.initialization import initialize, mean_field_
from gradcourse.models import MLP
from gradcourse.training import StepGuard, training_step

SEEDS = (0, 1, 2)
DEPTH = 24
WIDTH = 32


def inputs(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(64, WIDTH)


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def looked_at(model: nn.Module, data: Tensor) -> Diagnosis:
    """Diagnose a network as it is, by a gradient that knows nothing of it."""
    with GradMonitor(model) as monitor:
        output = model(data)
        output.backward(torch.randn_like(output))
        monitor.step()
    return monitor.diagnose()


def trained(
    model: nn.Module,
    data: Tensor,
    targets: Tensor,
    learning_rate: float,
    max_norm: float | None = None,
    steps: int = 30,
) -> Diagnosis:
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    with GradMonitor(model) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            squared_error(model, (data, targets)).backward()
            monitor.step(max_norm)
            optimizer.step()
    return monitor.diagnose()


def blocks(
    activation: type[nn.Module],
    block: Callable[[nn.Module], nn.Module] = lambda inner: inner,
    depth: int = DEPTH,
) -> nn.Module:
    return nn.Sequential(
        *(block(nn.Sequential(nn.Linear(WIDTH, WIDTH), activation())) for _ in range(depth))
    )


def with_layer_norm(activation: type[nn.Module], depth: int = DEPTH) -> nn.Module:
    return nn.Sequential(
        *(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), activation())
            for _ in range(depth)
        )
    )


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, stream: Tensor) -> Tensor:
        return stream + self.branch(stream)


def initialized(model: nn.Module, scheme: str) -> nn.Module:
    initialize(model, scheme)
    return model


def scaled(model: nn.Module, weight_scale: float, bias: float = 0.0) -> nn.Module:
    mean_field_(model, weight_scale)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, bias)
    return model


# The regression whose inputs and targets nobody has standardised.
def raw() -> tuple[Tensor, Tensor]:
    data = 30 * torch.randn(64, WIDTH)
    return data, 10 * data[:, :1]


def regression(standardised: bool = False, **how: Any) -> Diagnosis:
    data, targets = raw()
    if standardised:
        data, targets = data / data.std(), targets / targets.std()
    model = MLP(WIDTH, WIDTH, 2, 1, activation="relu")
    return trained(model, data, targets, **{"learning_rate": 0.01} | how)


def killed(learning_rate: float) -> Diagnosis:
    """Train a network in which one step too large pushes most units below zero for good."""
    model = MLP(WIDTH, WIDTH, 2, 1, activation="relu")
    data = torch.rand(64, WIDTH)
    return trained(model, data, -torch.ones(64, 1), learning_rate, steps=10)


CASES: list[tuple[str, str, Callable[[], Diagnosis], Callable[[], Diagnosis]]] = [
    (
        "vanishing",
        "if the activation is a sigmoid",
        lambda: looked_at(initialized(blocks(nn.Sigmoid), "xavier_normal"), inputs()),
        lambda: looked_at(initialized(blocks(nn.Tanh), "xavier_normal"), inputs()),
    ),
    (
        "vanishing",
        "initialise for the activation",
        lambda: looked_at(blocks(nn.ReLU), inputs()),
        lambda: looked_at(initialized(blocks(nn.ReLU), "he_normal"), inputs()),
    ),
    (
        "vanishing",
        "initialise for the activation",
        lambda: looked_at(blocks(nn.Tanh), inputs()),
        lambda: looked_at(initialized(blocks(nn.Tanh), "xavier_normal"), inputs()),
    ),
    (
        "vanishing",
        "normalise",
        lambda: looked_at(blocks(nn.ReLU), inputs()),
        lambda: looked_at(with_layer_norm(nn.ReLU), inputs()),
    ),
    (
        "vanishing",
        "let the gradient pass by",
        lambda: looked_at(blocks(nn.ReLU), inputs()),
        lambda: looked_at(blocks(nn.ReLU, Residual), inputs()),
    ),
    (
        "exploding",
        "initialise for the activation",
        lambda: looked_at(scaled(blocks(nn.ReLU), 2.2), inputs()),
        lambda: looked_at(initialized(blocks(nn.ReLU), "he_normal"), inputs()),
    ),
    (
        "exploding",
        "normalise",
        lambda: looked_at(scaled(blocks(nn.ReLU), 2.2), inputs()),
        lambda: looked_at(scaled(with_layer_norm(nn.ReLU), 2.2), inputs()),
    ),
    (
        "exploding",
        "clip the norm",
        lambda: regression(steps=3),
        lambda: regression(steps=3, max_norm=10.0),
    ),
    (
        "exploding",
        "lower the learning rate",
        lambda: regression(steps=3),
        lambda: regression(steps=3, learning_rate=1e-6),
    ),
    (
        "exploding",
        "lower the learning rate, standardise",
        lambda: regression(steps=3),
        lambda: regression(steps=3, standardised=True),
    ),
    ("dead", "lower the learning rate", lambda: killed(1.5), lambda: killed(0.01)),
    (
        "dead",
        "start again",
        lambda: looked_at(scaled(blocks(nn.ReLU), 1.4, bias=-9), inputs()),
        lambda: looked_at(initialized(scaled(blocks(nn.ReLU), 1.4, -9), "he_normal"), inputs()),
    ),
    (
        "dead",
        "normalise",
        lambda: looked_at(scaled(blocks(nn.ReLU), 1.4, bias=-9), inputs()),
        lambda: looked_at(scaled(with_layer_norm(nn.ReLU), 1.4, bias=-9), inputs()),
    ),
    (
        "saturated",
        "standardise the inputs",
        lambda: looked_at(initialized(MLP(WIDTH, WIDTH, 2), "xavier_normal"), inputs(20)),
        lambda: looked_at(initialized(MLP(WIDTH, WIDTH, 2), "xavier_normal"), inputs()),
    ),
    (
        "saturated",
        "start with smaller weights",
        lambda: looked_at(scaled(MLP(WIDTH, WIDTH, 2), 20), inputs()),
        lambda: looked_at(initialized(MLP(WIDTH, WIDTH, 2), "xavier_normal"), inputs()),
    ),
    (
        "saturated",
        "normalise",
        lambda: looked_at(scaled(blocks(nn.Tanh, depth=2), 20), inputs()),
        lambda: looked_at(scaled(with_layer_norm(nn.Tanh, depth=2), 20), inputs()),
    ),
    (
        "non-finite",
        "if the norm grew before, clip it",
        lambda: regression(steps=30),
        lambda: regression(steps=30, max_norm=10.0),
    ),
    (
        "non-finite",
        "or lower the learning rate",
        lambda: regression(steps=30),
        lambda: regression(steps=30, learning_rate=1e-6),
    ),
    (
        "non-finite",
        "or lower the learning rate, standardise",
        lambda: regression(steps=30),
        lambda: regression(steps=30, standardised=True),
    ),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_the_network_is_sick_without_and_healthy_with(
    case: tuple[str, str, Callable[[], Diagnosis], Callable[[], Diagnosis]], seed: int
) -> None:
    verdict, text, sick, cured = case
    torch.manual_seed(seed)
    diagnosis = sick()
    assert diagnosis.verdict == verdict
    assert any(advice.text.startswith(text) for advice in diagnosis.advice)
    torch.manual_seed(seed)
    assert cured().verdict == "healthy"


@pytest.mark.parametrize("max_norm", [1.0, 1e-3])
def test_clipping_does_not_help_a_vanished_gradient(max_norm: float) -> None:
    torch.manual_seed(0)
    model = blocks(nn.ReLU)
    diagnosis = trained(model, inputs(), torch.ones(64, WIDTH), 0.1, max_norm, steps=3)
    assert diagnosis.verdict == "vanishing"
    assert any(advice.text.startswith("clipping cannot help") for advice in diagnosis.advice)


class Root(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.sqrt()


def test_the_operation_that_made_a_nan_is_found() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Root())
    assert looked_at(model, inputs()).verdict == "non-finite"
    found = find_nonfinite(model, inputs(), Tensor.sum)
    assert found is not None
    assert "sqrt" in str(found)
    assert "'1'" in str(found)


def test_a_guarded_step_leaves_the_weights_as_they_were() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 1), Root())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    guard = StepGuard()
    batch = (inputs(), torch.ones(64, 1))
    assert training_step(model, optimizer, squared_error, batch, guard=guard).skipped
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_gradient_scaler_finds_a_scale_in_float16() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    batch = (torch.randn(8, 4), torch.randn(8, 1))
    monitor = GradMonitor(model)
    for _ in range(30):
        training_step(
            model,
            optimizer,
            squared_error,
            batch,
            autocast=torch.float16,
            scaler=scaler,
            monitor=monitor,
        )
    assert not math.isfinite(monitor.history.norm[0])
    assert math.isfinite(monitor.history.norm[-1])
    assert scaler.get_scale() < 2.0**24
    assert monitor.diagnose().verdict == "healthy"


def test_no_advice_is_left_untried() -> None:
    tried = {(verdict, text) for verdict, text, _, _ in CASES} | {
        ("vanishing", "clipping cannot help"),
        ("non-finite", "ask find_nonfinite"),
        ("non-finite", "skip such a step"),
        ("non-finite", "in float16"),
    }
    for verdict, advice in ADVICE.items():
        for item in advice:
            assert any(verdict == v and item.text.startswith(text) for v, text in tried), item
