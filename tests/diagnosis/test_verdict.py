"""Each verdict at both sides of its threshold, where the trouble begins, and which comes first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradcourse.diagnosis.history import History, NonFiniteGradient
from gradcourse.diagnosis.verdict import ADVICE, Diagnosis, judge


def history(**changes: Any) -> History:
    """Return five healthy steps of four layers, with changes."""
    steps = np.arange(5)
    fields: dict[str, Any] = {
        "steps": steps,
        "norm": np.ones(5),
        "max_norm": np.full(5, math.inf),
        "clipped": np.zeros(5, dtype=bool),
        "measured": steps,
        "nonfinite": (),
        "parameters": {f"{layer}.weight": np.ones(5) for layer in "abcd"},
        "layers": {},
        "dead": {},
        "saturated": {},
    }
    return History(**fields | changes)


def layers(*decades: float) -> dict[str, np.ndarray[Any, Any]]:
    """Return layers whose gradients have these logarithms, input first."""
    return {chr(97 + k): np.full(5, 10.0**level) for k, level in enumerate(decades)}


def verdict_on(seen: History, scaled: bool = False) -> Diagnosis:
    return judge(seen, np.full(len(seen), scaled))


def test_equal_gradients_are_healthy() -> None:
    found = verdict_on(history())
    assert (found.verdict, found.layer, found.advice) == ("healthy", "", ())
    assert found.decades_per_layer == pytest.approx(0)
    assert "stays within 0.0 decades from d back to a" in found.reason
    assert str(found).startswith("healthy: the gradient of the layers' parameters")
    assert found.reason.endswith("the layers themselves were not watched")
    assert "not watched" not in verdict_on(history(layers=layers(0, 0))).reason


def test_without_a_step_there_is_nothing_to_say() -> None:
    nothing = history(
        steps=np.zeros(0, int), norm=np.zeros(0), measured=np.zeros(0, int), parameters={}
    )
    assert verdict_on(nothing).reason == "no step was recorded yet"


@pytest.mark.parametrize(
    ("sign", "verdict"), [(-1, "vanishing"), (1, "exploding")], ids=["vanishing", "exploding"]
)
def test_a_thousandfold_change_over_the_layers_and_no_less_is_a_disease(
    sign: int, verdict: str
) -> None:
    sick = verdict_on(history(layers=layers(sign * 3.01, sign * 2, 0, 0)))
    assert sick.verdict == verdict
    assert sick.decades_per_layer == pytest.approx(sign * 1.103, abs=1e-3)
    assert sick.quantity == "the gradient of the layers' outputs"
    assert "by 3.0 decades from d back to a" in sick.reason
    assert verdict_on(history(layers=layers(sign * 2.99, sign * 2, 0, 0))).verdict == "healthy"


@pytest.mark.parametrize(
    ("decades", "vanishing", "exploding"),
    [
        ((3.5, 3.4, 3.3, 0.2, 0.1, 0), "c", "c"),
        ((6, 5, 4, 2.5, 1.5, 0), "e", "c"),
        ((3.5, 0.3, 0.3, 0.2, 0.1, 0), "a", "a"),
    ],
)
def test_trouble_begins_where_the_first_decade_is_lost_or_won_on_the_way_back(
    decades: tuple[float, ...], vanishing: str, exploding: str
) -> None:
    fallen = verdict_on(history(layers=layers(*(-level for level in decades))))
    assert (fallen.verdict, fallen.layer) == ("vanishing", vanishing)
    grown = verdict_on(history(layers=layers(*decades)))
    assert (grown.verdict, grown.layer) == ("exploding", exploding)


def test_a_head_with_hardly_a_gradient_is_no_explosion_of_the_others() -> None:
    assert verdict_on(history(layers=layers(0, 0, 0.1, 0, 0, -4))).verdict == "healthy"
    found = verdict_on(history(layers=layers(9, 6, 3, 0, 0, -4)))
    assert (found.verdict, found.layer) == ("exploding", "c")
    assert found.reason.endswith("grows by 9.0 decades from e back to a")


def test_a_first_gradient_of_zero_behind_a_head_of_zeros_does_not_count() -> None:
    profile = layers(0, 0, 0, 0)
    profile["a"][:3] = 0
    assert verdict_on(history(layers=profile)).verdict == "healthy"
    profile["a"][:] = 0
    found = verdict_on(history(layers=profile))
    assert (found.verdict, found.layer) == ("vanishing", "a")
    assert "is exactly zero from a back: dead units" in found.reason


def test_the_median_over_the_steps_decides_and_not_one_step() -> None:
    profile = layers(0, 0, 0, 0)
    profile["a"][0] = 1e-20
    assert verdict_on(history(layers=profile)).verdict == "healthy"
    profile["a"][:3] = 1e-9
    assert verdict_on(history(layers=profile)).verdict == "vanishing"


def test_a_layer_of_weights_counts_by_the_larger_of_its_parameters() -> None:
    parameters = {"a.weight": np.full(5, 1e-9), "a.bias": np.ones(5), "b.weight": np.ones(5)}
    assert verdict_on(history(parameters=parameters)).profile == {"a": 0.0, "b": 0.0}


def test_steps_without_a_gradient_of_a_layer_do_not_count() -> None:
    parameters = {"a.weight": np.array([math.nan, 1, 1, 1, 1]), "b.weight": np.full(5, math.nan)}
    assert verdict_on(history(parameters=parameters)).profile == {"a": 0.0}


def test_gradients_of_exactly_zero_have_vanished() -> None:
    zero = {f"{layer}.weight": np.zeros(5) for layer in "ab"}
    found = verdict_on(history(norm=np.zeros(5), parameters=zero))
    assert (found.verdict, found.reason) == ("vanishing", "every gradient is exactly zero")
    half = verdict_on(history(layers={"a": np.zeros(5), "b": np.ones(5)}))
    assert half.verdict == "vanishing"
    assert math.isfinite(half.decades_per_layer)


@pytest.mark.parametrize(("spike", "verdict"), [(1001.0, "exploding"), (999.0, "healthy")])
def test_a_norm_of_a_thousand_times_its_median_is_an_explosion(spike: float, verdict: str) -> None:
    norm = np.array([1, 1, 1, spike, 1])
    loud = {"a.weight": np.ones(5), "b.weight": norm, "c.weight": np.ones(5)}
    found = verdict_on(history(norm=norm, parameters=loud))
    assert found.verdict == verdict
    if verdict == "exploding":
        assert found.layer == "b"
        assert found.reason == "the norm reaches 1e+03 at step 3, after a median of 1"


def test_a_spike_of_what_rounding_leaves_is_none() -> None:
    for size, verdict in ((0.9e-6, "healthy"), (1.1e-6, "exploding")):
        norm = np.array([1, 1, 1, 1, 2e3]) * size / 2e3
        assert verdict_on(history(norm=norm)).verdict == verdict


def test_a_norm_that_is_endless_all_the_time_is_an_explosion() -> None:
    """As in a recurrent layer, whose steps in time the monitor does not see."""
    sick = verdict_on(history(norm=np.full(5, 1.1e8), parameters={"rnn.weight": np.full(5, 1e8)}))
    assert (sick.verdict, sick.layer) == ("exploding", "rnn")
    assert sick.reason == "the norm is 1.1e+08 (median)"
    assert verdict_on(history(norm=np.full(5, 0.9e8))).verdict == "healthy"


@pytest.mark.parametrize(
    ("limit", "steps", "said"),
    [(0.009, 5, True), (0.011, 5, False), (0.009, 4, False)],
    ids=["a hundredth on all steps", "more is left", "not on every step"],
)
def test_a_healthy_gradient_of_which_clipping_leaves_little_is_said(
    limit: float, steps: int, said: bool
) -> None:
    clipped = np.arange(5) < steps
    max_norm = np.where(clipped, limit, math.inf)
    found = verdict_on(history(max_norm=max_norm, clipped=clipped, norm=np.where(clipped, 1.0, 0)))
    assert found.verdict == "healthy"
    assert ("; clipping leaves 0.009 of it: " in found.reason) == said
    assert ("clipping" in found.reason) == said


def test_a_frozen_parameter_is_not_where_a_spike_began() -> None:
    norm = np.array([1, 1, 1, 5000, 1])
    parameters = {"a.weight": np.full(5, math.nan), "b.weight": norm}
    found = verdict_on(history(norm=norm, parameters=parameters))
    assert (found.verdict, found.layer) == ("exploding", "b")


def test_a_run_that_converges_has_not_exploded() -> None:
    assert verdict_on(history(norm=np.geomspace(1, 1e-16, 5))).verdict == "healthy"


def test_a_model_that_is_one_layer_is_named() -> None:
    assert "not two layers" in verdict_on(history(layers={"": np.ones(5)})).reason
    found = verdict_on(history(saturated={"": np.ones(5)}))
    assert found.reason == "100% of the values of the model are saturated"


def test_a_spike_above_a_median_of_zero_is_no_explosion() -> None:
    norm = np.array([0, 0, 0, 1e-30, 0])
    found = verdict_on(history(norm=norm, parameters={"a.weight": norm, "b.weight": norm}))
    assert found.verdict == "healthy"


@pytest.mark.parametrize(
    ("kind", "share", "found"),
    [
        ("dead", 0.81, True),
        ("dead", 0.8, False),
        ("saturated", 0.51, True),
        ("saturated", 0.5, False),
    ],
)
def test_most_units_dead_or_half_of_them_saturated_is_a_disease(
    kind: str, share: float, found: bool
) -> None:
    units = {"x": np.array([0.1, 0.1, 0.1, 1, 1]), "y": np.full(5, share)}
    diagnosis = verdict_on(history(**{kind: units}))
    assert (diagnosis.verdict == kind) == found
    if found:
        assert diagnosis.layer == "y"
        assert (
            diagnosis.reason
            == f"{share:.0%} of the {'units' if kind == 'dead' else 'values'} of y are {kind}"
        )


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "Inf")])
def test_one_norm_that_is_not_finite_decides(value: float, word: str) -> None:
    norm = np.array([1, 2, 1, 50, value])
    bad = (NonFiniteGradient(4, "b.weight", "NaN"), NonFiniteGradient(4, "c.weight", "NaN"))
    found = verdict_on(history(norm=norm, nonfinite=bad, layers=layers(9, 0)))
    assert (found.verdict, found.layer) == ("non-finite", "c")
    assert found.reason == (
        f"the norm is {word} at step 4, after it grew from 1.5 (median) to 50; "
        "until then it grew by 9.0 decades on its way back"
    )


def test_the_layer_of_the_first_step_that_is_not_finite_is_named() -> None:
    norm = np.array([1, 1, math.nan, math.nan, 1])
    bad = (NonFiniteGradient(2, "a.weight", "Inf"), NonFiniteGradient(3, "d.weight", "NaN"))
    found = verdict_on(history(norm=norm, nonfinite=bad))
    assert (found.layer, found.reason) == ("a", "the norm is NaN at step 2")


def test_under_a_scaler_exactly_half_of_the_steps_may_overflow() -> None:
    norm = np.array([math.inf, 1, math.inf, 1])
    seen = history(
        norm=norm, steps=np.arange(4), nonfinite=(NonFiniteGradient(0, "a.weight", "Inf"),)
    )
    assert verdict_on(seen, scaled=True).verdict == "healthy"


@pytest.mark.parametrize(("overflows", "verdict"), [(2, "healthy"), (3, "non-finite")])
def test_under_a_scaler_half_of_the_steps_may_overflow(overflows: int, verdict: str) -> None:
    norm = np.ones(5)
    norm[:overflows] = math.inf
    bad = tuple(NonFiniteGradient(step, "a.weight", "Inf") for step in range(overflows))
    assert verdict_on(history(norm=norm, nonfinite=bad), scaled=True).verdict == verdict
    assert verdict_on(history(norm=norm, nonfinite=bad)).verdict == "non-finite"


def test_the_most_urgent_verdict_comes_first() -> None:
    sick: dict[str, Any] = {"layers": layers(-9, 0)}
    assert verdict_on(history(**sick)).verdict == "vanishing"
    sick["norm"] = np.array([1, 1, 1, 1, 1e9])
    assert verdict_on(history(**sick)).reason.startswith("the norm reaches")
    sick["saturated"] = {"x": np.ones(5)}
    assert verdict_on(history(**sick)).verdict == "saturated"
    sick["dead"] = {"y": np.ones(5)}
    assert verdict_on(history(**sick)).verdict == "dead"
    sick["layers"] = layers(9, 0)
    assert verdict_on(history(**sick)).verdict == "exploding"
    sick["norm"] = np.array([1, 1, 1, 1, math.nan])
    sick["nonfinite"] = (NonFiniteGradient(4, "?", "NaN"),)
    assert verdict_on(history(**sick)).verdict == "non-finite"


def test_every_verdict_but_health_has_advice_that_names_a_lesson() -> None:
    assert not ADVICE["healthy"]
    for verdict, advice in ADVICE.items():
        assert (verdict == "healthy") == (not advice)
        assert all(0 <= int(item.lesson) <= 13 for item in advice)
    text = str(verdict_on(history(layers=layers(-4, 0))))
    assert text.splitlines()[0].startswith("vanishing, beginning at layer a: ")
    assert "  - let the gradient pass by: residual connections" in text
