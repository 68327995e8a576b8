"""Abbreviations become controls, and every control says what it allows."""

import itertools
import math

import ipywidgets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcourse.live import Log, log
from gradcourse.live.controls import make_controls, words


def one(abbreviation, **default):
    """Make a single control named depth."""
    if default:

        def measure(depth=default["default"]):
            return depth
    else:

        def measure(depth):
            return depth

    return make_controls(measure, {"depth": abbreviation})["depth"]


def positions(control):
    return [control.position(index) for index in range(control.stops())]


@pytest.mark.parametrize(
    ("abbreviation", "kind", "value"),
    [
        ((1, 9), ipywidgets.IntSlider, 5),
        ((0, 100, 10), ipywidgets.IntSlider, 50),
        ((0.0, 1.0), ipywidgets.FloatSlider, 0.5),
        ((0.0, 2.0, 0.25), ipywidgets.FloatSlider, 1.0),
        (["tanh", "relu"], ipywidgets.Dropdown, "tanh"),
        ({"one": 1, "two": 2}, ipywidgets.Dropdown, 1),
        (True, ipywidgets.Checkbox, True),
        ("words", ipywidgets.Text, "words"),
    ],
)
def test_abbreviations_are_those_of_interact(abbreviation, kind, value):
    control = one(abbreviation).widget
    assert type(control) is kind
    assert control.value == value
    if not isinstance(abbreviation, dict):
        theirs = ipywidgets.interactive.widget_from_abbrev(abbreviation)
        assert type(theirs) is kind
        assert theirs.value == value


def test_a_control_starts_at_the_default_of_measure():
    assert one((1, 100), default=7).value == 7
    assert one(["a", "b"], default="b").value == "b"
    assert one(log(0.01, 100), default=3.0).value == pytest.approx(3.0)


def test_a_ready_widget_is_used_as_it_is():
    ready = ipywidgets.ToggleButtons(options=["x", "y"], value="y", description="mine")
    control = one(ready, default="x")
    assert control.widget is ready
    assert control.value == "y"
    assert control.widget.description == "mine"


def test_names_are_shown_with_spaces():
    control = make_controls(lambda weight_scale: weight_scale, {"weight_scale": (0.0, 3.0)})
    assert control["weight_scale"].widget.description == "weight scale"


@given(st.floats(1e-12, 1e12), st.floats(1.001, 1e12))
def test_log_sliders_cover_their_range_evenly(low, ratio):
    slider = one(log(low, low * ratio))
    values = positions(slider)
    assert values[0] == pytest.approx(low, rel=1e-9)
    assert values[-1] == pytest.approx(low * ratio, rel=1e-9)
    steps = [b / a for a, b in itertools.pairwise(values)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
    assert low * (1 - 1e-9) <= slider.value <= low * ratio * (1 + 1e-9)


@given(st.integers(-1000, 1000), st.integers(1, 300), st.integers(1, 7))
def test_positions_of_an_int_slider_are_its_range_and_its_end(low, span, step):
    inside = list(range(low, low + span, step))
    assert positions(one((low, low + span, step))) == [*inside, low + span]


@given(st.floats(-5, 5), st.floats(2, 50), st.floats(0.05, 3), st.integers(0, 10**6))
def test_every_position_is_its_own_nearest_stop(low, span, step, turn):
    control = one((low, low + span, step))
    index = turn % control.stops()
    control.widget.value = control.position(index)
    assert control.nearest_stop() == index


def test_a_very_fine_slider_is_played_in_a_thousand_stops():
    control = one((0, 10**9))
    assert control.stops() == 1000
    assert control.position(999) == 10**9
    control.widget.value = 123_456_789
    assert abs(control.position(control.nearest_stop()) - 123_456_789) < 10**6


@pytest.mark.parametrize(("low", "high"), [(0.3, 7), (0.01, 100), (3e-5, 0.7)])
def test_a_log_slider_never_leaves_its_own_ends(low, high):
    control = one(log(low, high))
    for exponent, end in ((control.widget.min, low), (control.widget.max, high)):
        control.widget.value = 10**exponent
        assert low <= control.value <= high
        assert control.value == pytest.approx(end, rel=1e-12)
    assert control.check(low * (1 - 1e-12)) == low
    assert control.check(high * (1 + 1e-12)) == high


def test_numpy_ends_are_numbers():
    assert one((np.int64(1), np.int64(9))).ends == (1, 9)
    assert one((np.float32(0), np.float32(4))).ends == (0, 4)


def test_a_short_float_slider_has_a_hundred_steps():
    control = one((0.0, 0.05))
    assert len(positions(control)) == 101
    assert control.widget.readout_format == ".3g"


def test_descriptions_are_not_cut():
    assert one((1, 9)).widget.style.description_width == "initial"


def test_positions_of_other_controls():
    assert positions(one(["a", "b", "c"])) == ["a", "b", "c"]
    assert positions(one(True)) == [False, True]
    with pytest.raises(
        ValueError, match="depth cannot be played: the values of a Text have no order"
    ):
        positions(one("words"))


@given(st.integers(-50, 50), st.integers(1, 50), st.integers(-200, 200))
def test_check_allows_exactly_the_range(low, span, value):
    slider = one((low, low + span))
    if low <= value <= low + span:
        assert slider.check(value) == value
    else:
        with pytest.raises(ValueError, match=rf"depth must be between .* got {value}"):
            slider.check(value)


@pytest.mark.parametrize(
    ("abbreviation", "value", "sentence"),
    [
        ((1, 100), 0, "depth must be between 1 and 100, got 0"),
        ((1, 100), 2.5, "depth must be a whole number between 1 and 100, got 2.5"),
        ((1, 100), True, "depth must be between 1 and 100, got True"),
        ((1, 100), "7", "depth must be between 1 and 100, got '7'"),
        ((0.0, 3.0), math.nan, "depth must be between 0 and 3, got nan"),
        ((0.0, 3.0), None, "depth must be a number between 0 and 3, got None"),
        (log(0.01, 100), 0, "depth must be between 0.01 and 100, got 0"),
        (["tanh", "relu"], "swish", "depth must be one of 'tanh', 'relu', got 'swish'"),
        ({"one": 1}, 2, "depth must be one of 1, got 2"),
        (True, 1, "depth must be True or False, got 1"),
    ],
)
def test_a_value_that_is_not_allowed_gets_one_sentence(abbreviation, value, sentence):
    with pytest.raises(ValueError) as error:
        one(abbreviation).check(value)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("abbreviation", "sentence"),
    [
        ((5, 1), r"must be \(min, max\).*min < max, got \(5, 1\)"),
        ((1,), r"must be \(min, max\)"),
        ((1, 2, 3, 4), r"must be \(min, max\)"),
        ((0.0, math.inf), "finite"),
        ((math.nan, 1.0), "finite"),
        (("a", "b"), "finite"),
        ((1, 9, 0), "step for 'depth' must be above 0, got 0"),
        ([], "list for 'depth' is empty"),
        ({}, "list for 'depth' is empty"),
        (object(), "the control for 'depth' must be"),
        (ipywidgets.fixed(3), "the control for 'depth' must be"),
        ([math.nan], "the control for 'depth' must be"),
        ((True, 5), "finite"),
    ],
)
def test_an_abbreviation_that_is_not_understood_gets_one_sentence(abbreviation, sentence):
    with pytest.raises(ValueError, match=sentence):
        one(abbreviation)


@pytest.mark.parametrize("ends", [(0, 1), (-1, 1), (2, 1), (1, 1), (1, math.inf), (math.nan, 1)])
def test_log_refuses_ends_that_have_no_logarithm(ends):
    with pytest.raises(ValueError, match="needs 0 < min < max"):
        log(*ends)


def test_log_is_a_value():
    assert log(1, 10) == Log(1.0, 10.0)


def test_several_and_free_choices():
    several = one(ipywidgets.SelectMultiple(options=["a", "b", "c"]))
    assert several.check(["a", "c"]) == ("a", "c")
    with pytest.raises(ValueError, match="depth must be one of 'a', 'b', 'c', got 'a'"):
        several.check("a")
    free = one(ipywidgets.Combobox(options=["a"]))
    assert free.check("anything") == "anything"


def test_a_value_that_a_widget_would_change_is_refused():
    with pytest.raises(ValueError, match=r"depth cannot be \(-3, 99\) \(IntRangeSlider\)"):
        one(ipywidgets.IntRangeSlider(min=0, max=9)).assign((-3, 99))
    with pytest.raises(ValueError, match=r"depth cannot be 'x' \(IntText\)"):
        one(ipywidgets.IntText()).assign("x")


def test_a_ready_widget_keeps_its_own_ways():
    slider = ipywidgets.IntSlider(continuous_update=False)
    one(slider).set_continuous(True)
    assert not slider.continuous_update
    ours = one((1, 9))
    ours.set_continuous(False)
    assert not ours.widget.continuous_update


def test_controls_and_arguments_must_match():
    with pytest.raises(ValueError, match="measure must be a function that tells its arguments"):
        make_controls(max, {"depth": (1, 2)})
    with pytest.raises(ValueError, match="measure must be a function"):
        make_controls(3, {})
    with pytest.raises(ValueError, match="takes no argument 'dept'; it takes depth"):
        make_controls(lambda depth: depth, {"dept": (1, 2)})
    with pytest.raises(ValueError, match="measure needs 'width'"):
        make_controls(lambda depth, width: depth + width, {"depth": (1, 2)})
    with pytest.raises(ValueError, match="depth must be between 1 and 9, got 50"):
        one((1, 9), default=50)
    assert set(make_controls(lambda **any_name: any_name, {"depth": (1, 2)})) == {"depth"}


def test_settings_in_words():
    assert words({"depth": 20, "weight_scale": 1.23456, "kind": "tanh"}) == (
        "depth 20, weight scale 1.235, kind tanh"
    )
