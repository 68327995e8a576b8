"""What a monitor tells of odd steps: without gradients, with some, of layers made anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradcourse.diagnosis import GradMonitor, global_grad_norm, grad_norms


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("clear_first", [False, True])
def test_a_layer_that_was_deleted_and_made_anew_is_clipped(clear_first: bool) -> None:
    # A new module may get the place in memory of the old one, and with it the id.
    for seed in range(30):
        torch.manual_seed(seed)
        model = nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 1)})
        monitor = GradMonitor(model)
        if clear_first:
            del model["head"]
        model["head"] = nn.Linear(3, 1)
        (1e3 * model["head"](model["body"](torch.randn(5, 3)))).sum().backward()
        expected = global_grad_norm(model)
        assert monitor.step(max_norm=1.0) == pytest.approx(float(expected), rel=1e-6)
        assert global_grad_norm(model) == pytest.approx(1.0, rel=1e-5)


def test_a_logger_gets_no_number_of_a_parameter_without_a_gradient() -> None:
    model = two_layers()
    model[0].requires_grad_(False)
    monitor = GradMonitor(model)
    model(torch.randn(5, 3)).sum().backward()
    monitor.step()
    of_parameters = {f"grad_norm/{name}": norm for name, norm in grad_norms(model).items()}
    assert set(of_parameters) == {"grad_norm/2.weight", "grad_norm/2.bias"}
    logged = monitor.latest()
    assert {name: logged[name] for name in of_parameters} == pytest.approx(of_parameters)
    assert set(logged) - set(of_parameters) == {"grad_norm", "max_norm", "clipped"}
    assert not any(math.isnan(number) for number in logged.values())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    monitor.step()
    assert sum(math.isnan(number) for number in monitor.latest().values()) == 5


def test_no_gradient_at_all_is_told_from_a_gradient_of_zero() -> None:
    model = two_layers()
    monitor = GradMonitor(model)
    monitor.step()
    said = monitor.diagnose()
    assert "no parameter had a gradient: call step() after backward()" in said.summary()
    assert said.verdict == "vanishing"
    assert not said.advice
    monitor = GradMonitor(model)
    (0 * model(torch.randn(5, 3))).sum().backward()
    monitor.step()
    assert "exactly zero" in monitor.diagnose().summary()
    assert monitor.diagnose().advice


def test_an_alarm_does_not_tabulate_the_whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_layers()
    monitor = GradMonitor(model, every=2)
    for step in range(4):
        model.zero_grad()
        model(torch.randn(5, 3)).sum().backward()
        if step in (1, 2):
            model[2].bias.grad.fill_(math.nan)
        monitor.step()
    with monkeypatch.context() as without:
        without.setattr("gradcourse.diagnosis.monitor.read", None)
        found = monitor.nonfinite()
    assert found == list(monitor.history.nonfinite) == monitor.nonfinite()
    # On a CPU a step that went wrong is recorded in full.
    assert [(one.step, one.parameter, one.kind) for one in found] == [
        (1, "2.bias", "NaN"),
        (2, "2.bias", "NaN"),
    ]


def test_the_layers_scale_is_taken_out_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = two_layers(), two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(5, 3)
    with GradMonitor(model) as watched, GradMonitor(plain) as unscaled:
        scaler.scale(model(inputs).sum()).backward()
        plain(inputs).sum().backward()
        with monkeypatch.context() as without:
            without.setattr(scaler, "get_scale", None)
            watched.step(scaler=scaler, optimizer=optimizer)
        unscaled.step()
    for name, norms in unscaled.history.layers.items():
        assert watched.history.layers[name] == pytest.approx(norms, rel=1e-6)
