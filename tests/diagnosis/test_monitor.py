"""A monitor clips by the norms that it records, and leaves the model as it was."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradcourse.clipping import PercentileClip, SpikeClip, clip_grad_norm_
from gradcourse.diagnosis import GradMonitor, activation_statistics, grad_norms
from gradcourse.initialization import mean_field_
from gradcourse.models import MLP


def network(seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP(in_features=6, width=8, depth=3, out_features=2)


def backward(model: nn.Module, scale: float = 1.0, seed: int = 1) -> None:
    model.zero_grad()
    inputs = torch.randn(10, 6, generator=torch.Generator().manual_seed(seed))
    (scale * model(inputs).square().sum()).backward()


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def hooks(model: nn.Module) -> list[int]:
    return [
        len(own)
        for module in model.modules()
        for own in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    ]


# what a step does


@pytest.mark.parametrize("max_norm", [None, 0.0, 1e-3, 1e6])
def test_a_step_clips_and_returns_what_clip_grad_norm_does(max_norm: float | None) -> None:
    ours, theirs = network(), network()
    backward(ours)
    backward(theirs)
    assert torch.equal(GradMonitor(ours).step(max_norm), clip_grad_norm_(theirs, max_norm))
    for mine, its in zip(gradients(ours), gradients(theirs), strict=True):
        assert torch.equal(mine, its)


def test_the_norms_that_are_recorded_are_those_before_clipping() -> None:
    model = network()
    monitor = GradMonitor(model)
    expected = []
    for seed in range(3):
        backward(model, seed=seed)
        expected.append(grad_norms(model))
        norm = monitor.step(0.5)
        assert monitor.history.norm[-1] == pytest.approx(float(norm))
    history = monitor.history
    for name, norms in history.parameters.items():
        assert norms == pytest.approx([step[name] for step in expected], rel=1e-6)
    totals = [math.hypot(*step.values()) for step in expected]
    assert history.norm == pytest.approx(totals, rel=1e-6)
    assert history.max_norm.tolist() == [0.5] * 3
    assert history.steps.tolist() == history.measured.tolist() == [0, 1, 2]


def test_a_limit_that_learns_sees_the_norms_and_its_limit_is_recorded() -> None:
    model, norms = network(), []
    monitor, clip = GradMonitor(model), PercentileClip(50)
    for seed in range(5):
        backward(model, seed=seed)
        norms.append(float(monitor.step(clip)))
        assert float(torch.nn.utils.get_total_norm(gradients(model))) == pytest.approx(
            min(norms[-1], float(np.percentile(norms, 50))), rel=1e-5
        )
    assert clip.norms.tolist() == pytest.approx(norms)
    assert monitor.history.max_norm[-1] == pytest.approx(np.percentile(norms, 50))


@pytest.mark.parametrize("clip", [PercentileClip(), SpikeClip()], ids=["percentile", "spike"])
def test_a_limit_that_learns_is_not_taught_by_a_model_without_gradients(
    clip: PercentileClip | SpikeClip,
) -> None:
    before = copy.deepcopy(clip.state_dict())
    assert GradMonitor(network().requires_grad_(False)).step(clip) == 0
    for name, value in clip.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_a_bad_limit_is_refused_before_anything_happens(bad: float) -> None:
    monitor = GradMonitor(network())
    with pytest.raises(ValueError, match="max_norm must be 0 or more"):
        monitor.step(bad)
    assert len(monitor) == 0


def test_the_share_of_clipped_steps_counts_finite_steps_in_the_window() -> None:
    model = network()
    monitor = GradMonitor(model)
    assert math.isnan(monitor.clip_rate())
    for cap in (None, 1e-6, 1e-6, 1e9):
        backward(model)
        monitor.step(cap)
    backward(model)
    model[0].bias.grad[0] = math.inf  # type: ignore[index]
    monitor.step(1e-6)
    assert monitor.history.clipped.tolist() == [False, True, True, False, False]
    assert monitor.clip_rate() == pytest.approx(0.5)
    assert monitor.clip_rate(window=3) == pytest.approx(0.5)
    assert monitor.clip_rate(window=4) == pytest.approx(2 / 3)
    assert math.isnan(monitor.clip_rate(window=1))
    with pytest.raises(ValueError, match="window must be 1 or more, got 0"):
        monitor.clip_rate(window=0)


def test_a_norm_of_exactly_the_limit_is_not_clipped() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.grad = torch.tensor([[0.5]])
    monitor = GradMonitor(layer)
    monitor.step(0.5)
    assert monitor.clip_rate() == 0


@pytest.mark.parametrize("norm_type", [1.0, math.inf])
def test_norms_of_another_order(norm_type: float) -> None:
    model = network()
    backward(model)
    expected = torch.nn.utils.get_total_norm(gradients(model), norm_type)
    torch.testing.assert_close(GradMonitor(model, norm_type=norm_type).step(), expected)


def test_an_inf_among_frozen_parameters_is_named_too() -> None:
    model = network()
    model[0].requires_grad_(False)
    monitor = GradMonitor(model)
    backward(model)
    model[4].weight.grad[0] = -math.inf  # type: ignore[index]
    assert monitor.step() == math.inf
    assert [tuple(found) for found in monitor.nonfinite()] == [(0, "4.weight", "Inf")]
    assert list(monitor.history.parameters) == [name for name, _ in model.named_parameters()]
    assert np.isnan(monitor.history.parameters["0.weight"]).all()


def test_a_diagnosis_is_of_the_latest_steps() -> None:
    model = network()
    monitor = GradMonitor(model)
    for scale in (math.nan, 1.0, 1.0):
        backward(model, scale)
        monitor.step()
    assert monitor.diagnose().verdict == "non-finite"
    assert monitor.diagnose(window=2).verdict == "healthy"
    backward(model, scale=1e5)
    monitor.step()
    assert monitor.diagnose(window=3).verdict == "exploding"
    backward(model)
    monitor.step()
    assert monitor.diagnose(window=2).verdict == "healthy"


def test_a_gradient_that_is_not_finite_is_named_with_its_step_and_kind() -> None:
    model = network()
    monitor = GradMonitor(model)
    backward(model)
    monitor.step()
    backward(model)
    model[0].weight.grad[0, 0] = math.inf  # type: ignore[index]
    model[4].bias.grad[1] = math.nan  # type: ignore[index]
    before = gradients(model)
    assert math.isnan(monitor.step(1.0))
    assert [tuple(found) for found in monitor.nonfinite()] == [
        (1, "0.weight", "Inf"),
        (1, "4.bias", "NaN"),
    ]
    assert str(monitor.nonfinite()[0]) == "step 1: the gradient of 0.weight holds Inf"
    for old, new in zip(before, gradients(model), strict=True):
        assert torch.equal(old.nan_to_num(5), new.nan_to_num(5))


def test_on_other_steps_than_every_only_the_total_is_kept() -> None:
    model = network()
    with GradMonitor(model, every=3) as monitor:
        for step in range(7):
            backward(model, scale=math.nan if step == 4 else 1.0)
            monitor.step()
    history = monitor.history
    assert len(history) == 7
    # The step that went wrong is recorded in full: on a CPU that costs nothing.
    assert history.measured.tolist() == [0, 3, 4, 6]
    assert all(
        len(norms) == 4 for norms in (*history.parameters.values(), *history.layers.values())
    )
    assert {found.step for found in monitor.nonfinite()} == {4}
    assert len(monitor.nonfinite()) == len(list(model.parameters()))


def test_on_an_accelerator_a_bad_step_between_has_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcourse.clipping.norms.readable", lambda _: False)
    model = network()
    monitor = GradMonitor(model, every=3)
    for step in range(4):
        backward(model, scale=math.nan if step == 1 else 1.0)
        monitor.step()
    assert [tuple(found) for found in monitor.nonfinite()] == [(1, "?", "NaN")]
    assert monitor.history.measured.tolist() == [0, 3]


def test_a_window_without_a_full_record_is_judged_by_the_last_one() -> None:
    torch.manual_seed(0)
    model = MLP(6, 8, 12, 2, activation="sigmoid")
    with GradMonitor(model, every=50) as monitor:
        for _ in range(20):
            backward(model)
            monitor.step()
    assert monitor.diagnose(window=5).verdict == "vanishing"


def test_only_the_latest_steps_are_kept() -> None:
    model = network()
    monitor = GradMonitor(model, keep=3)
    for _ in range(5):
        backward(model)
        monitor.step()
    assert monitor.history.steps.tolist() == [2, 3, 4]
    assert (monitor.steps, len(monitor)) == (5, 3)
    assert repr(monitor) == "GradMonitor(MLP, 5 steps)"


def test_the_latest_step_can_be_logged_by_itself() -> None:
    model = network()
    monitor = GradMonitor(model, every=2)
    assert monitor.latest() == {}
    backward(model)
    norms = grad_norms(model)
    total = float(monitor.step(0.1))
    latest = monitor.latest()
    assert latest.pop("grad_norm") == pytest.approx(total)
    assert (latest.pop("max_norm"), latest.pop("clipped")) == (0.1, 1.0)
    assert latest == {f"grad_norm/{name}": pytest.approx(norm) for name, norm in norms.items()}
    backward(model)
    monitor.step()
    assert set(monitor.latest()) == {"grad_norm", "max_norm", "clipped"}
    assert monitor.latest()["clipped"] == 0


@pytest.mark.parametrize("argument", ["every", "keep"])
def test_numbers_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be 1 or more, got 0"):
        GradMonitor(network(), **{argument: 0})


# with a gradient scaler


def scaled_step(unscale_first: bool) -> tuple[Tensor, Tensor, GradMonitor]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    scaler.scale(model(inputs).square().sum()).backward()  # type: ignore[no-untyped-call]
    if unscale_first:
        scaler.unscale_(optimizer)
    monitor = GradMonitor(model)
    norm = monitor.step(0.25, scaler, optimizer)
    after = torch.nn.utils.get_total_norm(gradients(model))
    scaler.step(optimizer)
    scaler.update()
    return norm, after, monitor


@pytest.mark.parametrize("unscale_first", [False, True])
def test_the_scale_is_taken_out_exactly_once_before_measuring(unscale_first: bool) -> None:
    model = network()
    backward(model)
    norm, after, _ = scaled_step(unscale_first)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm(gradients(model)))
    assert float(after) == pytest.approx(0.25, rel=1e-5)


def test_a_scaler_without_its_optimizer_is_refused() -> None:
    monitor = GradMonitor(network())
    with pytest.raises(ValueError, match="needs the optimizer"):
        monitor.step(scaler=torch.amp.GradScaler("cpu"))


def test_another_complaint_of_the_scaler_is_passed_on() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.ones(1, 6)).sum()).backward()  # type: ignore[no-untyped-call]
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        GradMonitor(model).step(scaler=scaler, optimizer=optimizer)


def test_an_overflow_now_and_then_is_ordinary_under_a_scaler_and_only_there() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for scaler in (torch.amp.GradScaler("cpu"), torch.amp.GradScaler("cpu", enabled=False)):
        monitor = GradMonitor(model)
        for step in range(4):
            model.zero_grad()
            scaler.scale(model(torch.ones(1, 6)).sum()).backward()  # type: ignore[no-untyped-call]
            if step == 0:
                model[0].bias.grad[0] = math.inf  # type: ignore[index]
            monitor.step(scaler=scaler, optimizer=optimizer)
            scaler.step(optimizer)
            scaler.update()
        assert (monitor.diagnose().verdict == "non-finite") != scaler.is_enabled()


# the layers


def test_the_profile_holds_the_gradient_with_respect_to_each_layer_s_output() -> None:
    model = network().double()
    inputs = torch.randn(10, 6, dtype=torch.float64)
    with GradMonitor(model) as monitor:
        model(inputs).square().sum().backward()
        monitor.step()
    hidden, outputs = inputs, {}
    for path, module in model.named_children():
        hidden = module(hidden)
        if isinstance(module, nn.Linear):
            hidden.retain_grad()
            outputs[path] = hidden
    hidden.square().sum().backward()
    layers = monitor.history.layers
    assert list(layers) == list(outputs)
    for path, output in outputs.items():
        assert output.grad is not None
        assert layers[path] == pytest.approx([float(output.grad.norm())])


def test_the_gradients_of_several_backward_passes_before_a_step_are_one_vector() -> None:
    model, parts = network(), []
    with GradMonitor(model) as monitor:
        for seed in (1, 2):
            backward(model, seed=seed)
            monitor.step()
        parts = [norms.copy() for norms in monitor.history.layers.values()]
        for seed in (1, 2):
            backward(model, seed=seed)
        monitor.step()
    for (first, second), whole in zip(parts, monitor.history.layers.values(), strict=True):
        assert whole[-1] == pytest.approx(math.hypot(first, second))


@pytest.mark.parametrize("weight_variance", [0.5, 2.0, 5.0])
def test_the_slope_of_the_profile_is_the_one_that_theory_gives_a_relu_network(
    weight_variance: float,
) -> None:
    torch.manual_seed(0)
    model = mean_field_(MLP(64, 256, 30, activation="relu"), math.sqrt(weight_variance))
    with GradMonitor(model) as monitor:
        output = model(torch.randn(32, 64))
        # A cotangent that does not know of the forward pass.
        output.backward(torch.randn_like(output))
        monitor.step()
    expected = math.log10(math.sqrt(weight_variance / 2))
    assert monitor.diagnose().decades_per_layer == pytest.approx(expected, abs=0.02)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = checkpoint(self.body, inputs, use_reentrant=False)
        return output


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.relu = nn.ReLU(inplace=True)
        self.recurrent = nn.LSTM(6, 6, batch_first=True)
        self.unused = nn.Linear(6, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.relu(self.first(inputs))
        return inputs + self.recurrent(hidden[:, None])[0][:, 0]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Checkpointed, ["body.0", "body.2", "body.4", "body.6"]),
        (Residual, ["first", "recurrent"]),
    ],
    ids=["checkpointed", "in-place, recurrent and unused layers"],
)
def test_layers_of_many_kinds_are_watched(
    make: Callable[[], nn.Module], expected: list[str]
) -> None:
    model = make()
    with GradMonitor(model) as monitor:
        backward(model)
        monitor.step()
    assert list(monitor.history.layers) == expected
    assert all(0 < norms[0] < math.inf for norms in monitor.history.layers.values())


def test_only_modules_with_a_matrix_are_layers() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.PReLU(), nn.Linear(6, 2))
    with GradMonitor(model) as monitor:
        backward(model)
        monitor.step()
    assert list(monitor.history.layers) == ["0", "3"]


def test_dead_and_saturated_units_are_those_of_the_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)
    )
    model[0].bias.data[:3] = -99
    model[0].bias.data[3] = 9
    model[3].weight.data *= 99
    inputs = torch.randn(10, 1, 6)
    with GradMonitor(model) as monitor:
        for _ in range(2):
            model(inputs).sum().backward()
            monitor.step()
    relu, tanh = activation_statistics(model, inputs).records
    assert monitor.history.dead == {"1": pytest.approx([0.75] * 2), "4": pytest.approx([0.0] * 2)}
    assert relu.dead == 0.75
    assert tanh.saturated is not None
    assert tanh.saturated > 0.5
    assert monitor.history.saturated["4"] == pytest.approx([tanh.saturated] * 2)
    assert monitor.history.saturated["1"] == pytest.approx([0.0] * 2)
    assert monitor.diagnose().verdict == "saturated"


def test_the_output_of_a_sure_classifier_is_not_called_saturated() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1), nn.Sigmoid())
    model[2].bias.data[0] = 99
    with GradMonitor(model) as monitor:
        model(torch.zeros(5, 6)).sum().backward()
        monitor.step()
        # Several forward passes before a step, and one that does not go through forward().
        for _ in range(2):
            model(torch.zeros(5, 6)).sum().backward()
        monitor.step()
        hidden = torch.zeros(5, 6)
        for layer in model:
            hidden = layer(hidden)
        monitor.step()
    assert monitor.history.saturated == {"1": pytest.approx([0] * 3), "3": pytest.approx([0] * 3)}


def test_a_forward_pass_without_a_backward_pass_leaves_no_mark() -> None:
    model = network()
    with GradMonitor(model) as monitor:
        model(torch.ones(1, 6))
        monitor.step()
        model(torch.ones(1, 6)).sum().backward()
    with monitor:
        monitor.step()
    assert monitor.history.layers == {}


def test_on_other_steps_than_every_no_output_is_watched() -> None:
    model = network()
    with GradMonitor(model, every=2) as monitor:
        assert model(torch.ones(1, 6))._backward_hooks
        monitor.step()
        assert not model(torch.ones(1, 6))._backward_hooks


def test_evaluation_without_gradients_is_not_noted() -> None:
    model = network()
    with GradMonitor(model) as monitor:
        with torch.no_grad():
            model(torch.ones(1, 6))
        monitor.step()
    assert monitor.history.layers == monitor.history.dead == {}


# leaving the model as it was


def test_no_hook_is_left_behind() -> None:
    model = network()
    before = hooks(model)
    with GradMonitor(model) as monitor:
        assert hooks(model) != before
        inside = hooks(model)
        with monitor:
            pass
        assert hooks(model) == inside
    assert hooks(model) == before
    with pytest.raises(ZeroDivisionError), monitor:
        raise ZeroDivisionError
    assert hooks(model) == before


def test_entering_twice_does_not_note_twice() -> None:
    model = network()
    monitor = GradMonitor(model)
    monitor.__enter__()
    once = hooks(model)
    monitor.__enter__()
    assert hooks(model) == once
    monitor.__exit__(None, None, None)
    assert hooks(model) == once
    monitor.__exit__(None, None, None)
    assert hooks(model) == hooks(network())


def test_without_the_block_no_hook_is_ever_put_there() -> None:
    model = network()
    monitor = GradMonitor(model)
    backward(model)
    monitor.step()
    assert hooks(model) == hooks(network())
    assert monitor.history.layers == {}


def test_a_monitor_survives_pickling_and_goes_on() -> None:
    model = network()
    monitor = GradMonitor(model, every=2)
    for _ in range(3):
        backward(model)
        monitor.step(0.1)
    again = pickle.loads(pickle.dumps(monitor))
    assert again.history.norm.tolist() == monitor.history.norm.tolist()
    assert str(again.diagnose()) == str(monitor.diagnose())
    with again:
        backward(again.model)
        again.step(0.1)
    assert again.history.steps.tolist() == [0, 1, 2, 3]
    assert len(monitor) == 3


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_copy_of_a_watched_model_is_not_watched(
    duplicate: Callable[[nn.Module], nn.Module],
) -> None:
    model = network()
    with GradMonitor(model) as monitor:
        twin = duplicate(model)
        backward(twin)
        monitor.step()
    assert monitor.history.layers == {}


def test_of_a_compiled_model_the_parameters_are_watched_under_their_own_names() -> None:
    model = network()
    compiled = torch.compile(model, backend="eager")
    with GradMonitor(compiled) as monitor:  # type: ignore[arg-type]
        backward(compiled)  # type: ignore[arg-type]
        monitor.step(1.0)
    assert list(monitor.history.parameters) == [name for name, _ in model.named_parameters()]
    assert monitor.history.layers == {}
    assert list(monitor.diagnose().profile) == ["0", "2", "4", "6"]


def test_frozen_and_thawed_parameters_keep_their_places() -> None:
    model = network()
    model[2].requires_grad_(False)
    monitor = GradMonitor(model)
    backward(model)
    expected = [grad_norms(model)]
    monitor.step()
    model[2].requires_grad_(True)
    backward(model)
    expected.append(grad_norms(model))
    monitor.step()
    for name, norms in monitor.history.parameters.items():
        assert norms == pytest.approx([step.get(name, math.nan) for step in expected], nan_ok=True)
    assert monitor.nonfinite() == []


def test_a_tied_weight_is_one_parameter() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    monitor = GradMonitor(model)
    backward(model)
    total = torch.nn.utils.get_total_norm(gradients(model))
    torch.testing.assert_close(monitor.step(float(total) / 2), total)
    assert list(monitor.history.parameters) == ["0.weight", "0.bias", "2.bias"]
    torch.testing.assert_close(torch.nn.utils.get_total_norm(gradients(model)), total / 2)


def test_a_head_that_was_replaced_is_measured_and_clipped() -> None:
    model = network()
    monitor = GradMonitor(model)
    backward(model)
    before = float(monitor.step())
    model[6] = nn.Linear(8, 2)
    model[6].scale = nn.Parameter(torch.ones(1))
    backward(model)
    total = torch.nn.utils.get_total_norm(gradients(model))
    torch.testing.assert_close(monitor.step(0.01), total)
    assert float(torch.nn.utils.get_total_norm(gradients(model))) == pytest.approx(0.01)
    assert monitor.history.norm.tolist() == pytest.approx([before, float(total)])
    assert len(monitor.history.parameters["6.weight"]) == 2
    assert np.isnan(monitor.history.parameters["6.weight"]).sum() == 0


def test_two_optimizers_and_none_forgotten_under_a_scaler() -> None:
    model = network()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    rest = torch.optim.SGD(list(model.parameters())[2:], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    scaler.scale(model(inputs).square().sum()).backward()  # type: ignore[no-untyped-call]
    scaled = gradients(model)
    with pytest.raises(ValueError, match=r"^2\.weight has a scaled gradient, but no optimizer"):
        GradMonitor(model).step(1.0, scaler, first)
    assert all(torch.equal(old, new) for old, new in zip(scaled, gradients(model), strict=True))
    norm = GradMonitor(model).step(None, scaler, [first, rest])
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm(scaled) / 1024)


def test_an_adaptive_limit_that_learns_from_other_norms_is_refused() -> None:
    monitor = GradMonitor(network())
    with pytest.raises(ValueError, match=r"norms of order 2, and the adaptive limit .* order inf"):
        monitor.step(PercentileClip(norm_type=math.inf))


class Prompt(nn.Module):
    """Puts out its own parameter, which stays a leaf of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.ones(3, 6))

    def forward(self) -> Tensor:
        return self.vectors


def test_a_parameter_that_is_put_out_gets_no_hook() -> None:
    prompt = Prompt()
    with GradMonitor(prompt) as monitor:
        prompt().sum().backward()
        monitor.step()
        assert not prompt.vectors._backward_hooks
    assert monitor.history.layers == {}


def test_a_gradient_that_is_part_of_the_loss_is_not_a_layer_s() -> None:
    model = network()
    inputs = torch.randn(10, 6, requires_grad=True)
    with GradMonitor(model) as monitor:
        model(inputs).sum().backward()
        monitor.step()
        model.zero_grad()
        output = model(inputs).sum()
        torch.autograd.grad(output, inputs, create_graph=True)
        output.backward()
        monitor.step()
    for norms in monitor.history.layers.values():
        assert norms[0] == pytest.approx(norms[1])


def test_what_torch_func_wraps_is_not_kept() -> None:
    model = network()
    parameters = dict(model.named_parameters())

    def loss(sample: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(model, parameters, (sample,))
        return output.sum()

    with GradMonitor(model) as monitor:
        torch.func.vmap(torch.func.grad(loss))(torch.randn(3, 6))
        monitor.step()
    assert monitor.history.layers == {}


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_does_not_change_the_order_of_the_layers(reentrant: bool) -> None:
    torch.manual_seed(0)
    blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3))
    hidden = torch.randn(4, 6, requires_grad=True)
    with GradMonitor(blocks) as monitor:
        for block in blocks:
            hidden = checkpoint(block, hidden, use_reentrant=reentrant)
        hidden.sum().backward()
        monitor.step()
    assert list(monitor.history.layers) == ["0.0", "1.0", "2.0"]


def test_a_parametrized_layer_is_one_layer() -> None:
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 2)
    )
    with GradMonitor(model) as monitor:
        backward(model)
        monitor.step()
    assert list(monitor.history.layers) == ["0", "2"]
    bare = GradMonitor(model)
    bare.step()
    assert list(bare.diagnose().profile) == ["0", "2"]


def test_under_a_scaler_the_layers_gradients_are_unscaled_as_well() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(10, 6)
    with GradMonitor(model) as monitor:
        model(inputs).sum().backward()
        monitor.step()
        model.zero_grad()
        scaler.scale(model(inputs).sum()).backward()  # type: ignore[no-untyped-call]
        monitor.step(scaler=scaler, optimizer=optimizer)
    for norms in monitor.history.layers.values():
        assert norms[0] == pytest.approx(norms[1])


@pytest.mark.parametrize("dead", [0, 2])
def test_a_shared_activation_counts_by_its_worst_call(dead: int) -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(6, 6), relu, nn.Linear(6, 6), relu, nn.Linear(6, 1))
    for place in (0, 2):
        nn.init.constant_(model[place].bias, -99.0 if place == dead else 9.0)
    with GradMonitor(model) as monitor:
        backward(model)
        monitor.step()
    assert monitor.history.dead == {"1": pytest.approx([1.0])}


def test_forward_passes_without_a_step_do_not_pile_up() -> None:
    model = network()
    with GradMonitor(model) as monitor:
        for _ in range(5):
            model(torch.ones(1, 6)).sum().backward()
        held = monitor._hooks
        assert all(norm.dim() == 0 for norm in held._gradients.values())
        assert all(shares.shape == (2,) for shares in held._shares.values())


def test_parameters_that_were_put_in_the_place_of_the_old_ones_are_found() -> None:
    model = network()
    monitor = GradMonitor(model)
    for module in model:
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().clone())
            module.bias = nn.Parameter(module.bias.detach().clone())
    backward(model)
    assert monitor.step() > 0


@pytest.mark.parametrize("steps", ["none", "healthy", "limited", "not finite", "unwatched"])
def test_the_picture_says_what_it_shows(steps: str) -> None:
    from matplotlib import pyplot as plt

    model = network()
    monitor = GradMonitor(model)
    if steps != "none":
        if steps != "unwatched":
            monitor.__enter__()
        for step in range(4):
            backward(model, scale=math.nan if steps == "not finite" and step > 1 else 1.0)
            monitor.step(1.0 if steps == "limited" else None)
        monitor.__exit__(None, None, None)
    figure = monitor.plot()
    figure.canvas.draw()
    left, right = figure.axes
    assert left.get_title(loc="left") == "gradient norm"
    watched = steps in ("healthy", "limited", "not finite")
    assert ("output" in right.get_title(loc="left")) == watched
    labels = " ".join(str(line.get_label()) for line in left.lines)
    assert ("max_norm (100% clipped)" in labels) == (steps == "limited")
    assert ("NaN or Inf" in labels) == (steps == "not finite")
    plt.close(figure)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_does_not_make_the_host_wait() -> None:
    model = network().cuda()
    inputs = torch.randn(10, 6, device="cuda")
    clips: list[float | PercentileClip | SpikeClip | None] = [
        None,
        1.0,
        PercentileClip(),
        SpikeClip(),
    ]
    with GradMonitor(model) as monitor:
        for clip in clips * 2:
            model.zero_grad()
            model(inputs).square().sum().backward()
            torch.cuda.set_sync_debug_mode("error" if monitor.steps >= len(clips) else "default")
            try:
                monitor.step(clip)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    assert len(monitor.history) == 2 * len(clips)
