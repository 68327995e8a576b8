"""The live figure: settings in, picture and summary out, from Python and from the page."""

import base64
import io
import time
from dataclasses import dataclass

import ipywidgets
import matplotlib
import numpy as np
import pytest
import traitlets
from PIL import Image

from gradcourse.live import LiveFigure, live, log
from gradcourse.live.canvas import sentence_png


@dataclass(frozen=True)
class Power:
    depth: int
    rate: float
    kind: str

    @property
    def y(self):
        return np.arange(self.depth + 1) * np.log10(self.rate)

    def summary(self):
        return f"{self.kind}: {self.depth} layers at {self.rate:.3g}"


def measure(depth=20, rate=0.5, kind="a"):
    if depth == 13:
        raise ValueError("depth must not be 13, got 13")
    if depth == 14:
        raise ZeroDivisionError("division by zero")
    return Power(depth, rate, kind)


def draw(result, axes):
    axes.set(xlim=(0, 100), ylabel="norm")
    axes.decades("y", min(result.y.min(), -1), max(result.y.max(), 1))
    axes.line("line", np.arange(result.depth + 1), result.y, label="measured")


def make(**options):
    return live(measure, draw, depth=(1, 100), rate=log(0.1, 10), kind=["a", "b"], **options)


def picture(figure):
    return np.asarray(Image.open(io.BytesIO(figure._image.value)).convert("RGB"))


def drawn(figure):
    """Return what was drawn, before it was encoded."""
    return np.asarray(figure.canvas._agg.buffer_rgba()).copy()


def from_the_page(widget, value):
    """Do what a front end does when a slider moves."""
    if hasattr(widget, "options"):
        widget.set_state({"index": list(widget.options).index(value)})
    else:
        widget.set_state({"value": value})


def test_it_starts_measured_drawn_and_summarised():
    figure = make()
    assert isinstance(figure, LiveFigure)
    assert figure.settings == {"depth": 20, "rate": pytest.approx(0.5), "kind": "a"}
    assert figure.result.depth == 20
    assert figure.summary == "a: 20 layers at 0.5"
    assert "a: 20 layers at 0.5" in figure._text.value


@pytest.mark.parametrize("name", ["depth", "rate", "kind"])
def test_every_control_moved_to_its_ends_changes_picture_and_summary(name):
    figure = make()
    ends = figure.positions(name)
    seen = []
    for value in (ends[0], ends[-1]):
        from_the_page(figure.controls[name], value)
        seen.append((figure.summary, figure.canvas.panels["A"].lines()["line"]))
    assert seen[0][0] != seen[1][0]
    if name != "kind":
        assert not np.array_equal(seen[0][1][1], seen[1][1][1])


def test_set_moves_all_controls_and_measures_once():
    calls = []

    def counted(depth=5, rate=0.5):
        calls.append((depth, rate))
        return Power(depth, rate, "x")

    figure = live(counted, draw, depth=(1, 9), rate=(0.1, 2.0))
    calls.clear()
    figure.set(depth=7, rate=1.5)
    assert calls == [(7, 1.5)]
    assert figure.controls["depth"].value == 7


def test_set_refuses_before_anything_moves():
    figure = make()
    before = figure.settings, figure.summary
    with pytest.raises(ValueError, match="depth must be between 1 and 100, got 500"):
        figure.set(kind="b", depth=500)
    with pytest.raises(ValueError, match="no control 'width'; the controls are depth, rate, kind"):
        figure.set(kind="b", width=3)
    assert (figure.settings, figure.summary) == before


@pytest.mark.parametrize(
    ("depth", "said"),
    [(13, "depth must not be 13, got 13"), (14, "ZeroDivisionError: division by zero")],
)
def test_an_error_is_said_in_place_raised_and_recovered_from(depth, said):
    figure = make()
    good = picture(figure)
    with pytest.raises((ValueError, ZeroDivisionError)):
        figure.set(depth=depth)
    assert figure.summary == said
    assert said in figure._text.value
    assert figure.error is not None
    assert figure.result.depth == 20
    assert picture(figure).shape == good.shape
    assert not np.array_equal(picture(figure), good)
    figure.set(depth=20)
    assert figure.error is None
    assert np.array_equal(picture(figure), good)


def test_an_error_in_draw_is_said_too():
    def bad_draw(result, axes):
        if result.depth > 50:
            raise RuntimeError("no ink")
        draw(result, axes)

    figure = live(measure, bad_draw, depth=(1, 100))
    with pytest.raises(RuntimeError, match="no ink"):
        figure.set(depth=60)
    assert figure.summary == "RuntimeError: no ink"
    figure.set(depth=30)
    assert figure.error is None


def test_a_first_setting_that_fails_raises():
    with pytest.raises(ValueError, match="must not be 13"):
        live(lambda depth=13: measure(depth), draw, depth=(1, 100))


def test_markup_in_a_message_is_shown_as_text():
    def hostile(depth=1):
        if depth == 2:
            raise ValueError("<img src=x onerror=alert(1)>")
        return Power(depth, 0.5, "<b>bold</b>")

    figure = live(hostile, draw, depth=(1, 9))
    assert "<b>" not in figure._text.value
    assert '<div role="status"' in figure._text.value
    with pytest.raises(ValueError):
        figure.set(depth=2)
    assert "<img" not in figure._text.value


@pytest.mark.parametrize("where", ["summary", "title", "draw"])
def test_nothing_is_committed_before_everything_has_worked(where):
    class Result:
        def __init__(self, a):
            self.a = a

        def summary(self):
            if where == "summary" and self.a == 2:
                raise ValueError("no words for 2")
            return f"a is {self.a}"

    def draw_result(result, axes):
        bad = result.a == 2
        axes.set(xlim=(0, 100 if bad else 1), ylim=(-10, 10))
        axes.line("line", [0, 1], [0, result.a])
        if where == "title":
            axes.set(title=r"$\foo$" if bad else "")
        if where == "draw" and bad:
            axes.set(ylim=(0, np.nan))

    figure = live(Result, draw_result, a=(1, 9), compare=True)
    figure.set(a=1)
    good = picture(figure)
    with pytest.raises(ValueError):
        figure.set(a=2)
    assert figure.error is not None
    assert figure.result.a == 1
    assert not np.array_equal(picture(figure), good)
    assert "\n" not in figure.summary
    figure.set(a=3)
    fresh = live(Result, draw_result, a=(1, 9), compare=True)
    fresh.set(a=1)
    fresh.set(a=3)
    assert figure.error is None
    assert "grey: a 1" in figure._text.value
    assert np.array_equal(picture(figure), picture(fresh))


def test_a_failed_assignment_moves_nothing_and_leaves_the_figure_alive():
    def twins(depth=3, number=5):
        return Power(depth, 0.5, str(number))

    figure = live(twins, draw, depth=(1, 9), number=ipywidgets.IntText(5))
    with pytest.raises(ValueError, match="number cannot be 'x'"):
        figure.set(depth=7, number="x")
    assert figure.settings == {"depth": 3, "number": 5}
    from_the_page(figure.controls["depth"], 8)
    assert figure.result.depth == 8


def test_two_settings_in_a_row_are_two_gestures():
    figure = make(compare=True)
    figure._clock = lambda: 0.0
    figure.set(depth=30)
    figure.set(depth=40)
    assert "grey: depth 30," in figure._text.value
    figure.set(depth=40)
    assert "grey: depth 30," in figure._text.value


def test_a_page_reads_a_refusal_in_the_picture_and_python_gets_it_raised():
    figure = make()
    from_the_page(figure.controls["depth"], 13)
    assert figure.summary == "depth must not be 13, got 13"
    figure.set(depth=20)
    with pytest.raises(ValueError, match="must not be 13"):
        figure.controls["depth"].value = 13


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(), "ValueError"),
        (AssertionError(), "AssertionError"),
        (ValueError("two\n  lines"), "two lines"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError(r"$\foo$ 폭발"), r"$\foo$ 폭발"),
    ],
)
def test_any_error_is_one_sentence(error, said):
    def fail(depth=1):
        if depth == 2:
            raise error
        return Power(depth, 0.5, "x")

    figure = live(fail, draw, depth=(1, 9))
    with pytest.raises(type(error)):
        figure.set(depth=2)
    assert figure.summary == said
    with pytest.raises(ValueError, match="there is no picture to save"):
        figure.save("never.png")


def test_a_long_message_is_cut_and_different_messages_look_different():
    def fail(depth=1):
        if depth > 1:
            raise ValueError(f"{depth} " + "word " * 1000)
        return Power(depth, 0.5, "x")

    figure = live(fail, draw, depth=(1, 9))
    seen = []
    for depth in (2, 3):
        with pytest.raises(ValueError):
            figure.set(depth=depth)
        assert len(figure.summary) <= 400
        assert figure.summary.endswith(" …")
        seen.append(picture(figure))
    assert not np.array_equal(*seen)


def test_names_of_options_are_refused_as_arguments():
    with pytest.raises(ValueError, match="measure's argument 'size' is the name of an option"):
        live(lambda size=5: size, draw)


def test_the_readers_style_changes_nothing_and_is_not_changed():
    plain = drawn(make())
    sentence = sentence_png("no", (300, 200))
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        matplotlib.rcParams["lines.linewidth"] = 20
        before = dict(matplotlib.rcParams)
        figure = make()
        figure.set(depth=30)
        figure.set(depth=20)
        assert np.array_equal(drawn(figure), plain)
        assert sentence_png("no", (300, 200)) == sentence
        assert dict(matplotlib.rcParams) == before


def test_saving_as_another_format_leaves_the_picture_alone(tmp_path):
    figure = make()
    before = picture(figure)
    figure.set(depth=30)
    figure.save(tmp_path / "one.svg")
    figure.set(depth=20)
    assert np.array_equal(picture(figure), before)


def test_figures_that_share_a_widget_move_together():
    shared = ipywidgets.IntSlider(3, 1, 9)
    one = live(lambda depth: Power(depth, 0.5, "one"), draw, depth=shared)
    two = live(lambda depth: Power(depth, 0.5, "two"), draw, depth=shared)
    two.set(depth=7)
    assert one.result.depth == two.result.depth == 7


def test_reset_returns_to_the_start_and_forgets_the_ghost():
    figure = make(compare=True)
    first = drawn(figure)
    figure.set(depth=80, kind="b")
    assert "grey: depth 20" in figure._text.value
    button = next(w for w in figure.widget.children[0].children if isinstance(w, ipywidgets.Button))
    button.click()
    assert figure.settings["depth"] == 20
    assert "grey" not in figure._text.value
    assert np.array_equal(drawn(figure), first)


def test_the_ghost_is_the_setting_before_the_drag():
    figure = make(compare=True)
    now = [0.0]
    figure._clock = lambda: now[0]
    for depth in (30, 40, 50):
        now[0] += 0.1
        from_the_page(figure.controls["depth"], depth)
    assert "grey: depth 20," in figure._text.value
    x, _ = figure.canvas.panels["A"]._ghosts["line"].get_data()
    assert len(x) == 21
    now[0] += 5
    from_the_page(figure.controls["depth"], 60)
    assert "grey: depth 50," in figure._text.value
    now[0] += 0.1
    from_the_page(figure.controls["kind"], "b")
    assert "grey: depth 60," in figure._text.value


def test_free_limits_hold_the_ghost_and_forget_it_with_it():
    figure = live(
        lambda a=1.0: a,
        lambda a, axes: axes.line("l", [0, 1], [0, a]),
        a=(0.0, 100.0),
        compare=True,
    )
    start = drawn(figure)
    figure.set(a=100.0)
    figure.set(a=2.0)
    assert figure.canvas.panels["A"].limits()[3] >= 100
    figure.reset()
    assert np.array_equal(drawn(figure), start)


def test_without_compare_there_is_no_ghost():
    figure = make()
    figure.set(depth=80)
    assert "grey" not in figure._text.value
    assert not figure.canvas.panels["A"]._ghosts


def test_the_play_button_steps_through_its_control():
    figure = make(play="depth")
    player = figure.widget.children[0].children[0]
    assert isinstance(player, ipywidgets.Play)
    assert (player.min, player.max) == (0, 99)
    from_the_page(player, 30)
    assert figure.settings["depth"] == 31
    assert figure.result.depth == 31
    figure.set(depth=80)
    assert player.value == 79
    figure.reset()
    assert player.value == 19
    assert 80 <= player.interval <= 100
    with pytest.raises(ValueError, match=r"play must name a control \(depth, rate, kind\)"):
        make(play="width")


def test_sliders_follow_the_drag_only_when_measure_keeps_up(monkeypatch):
    ticks = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: ticks[0])

    def slow(depth=5):
        ticks[0] += 0.5 if depth > 50 else 0.01
        return Power(depth, 0.5, "x")

    figure = live(slow, draw, depth=(1, 100))
    assert figure.controls["depth"].continuous_update is True
    figure.set(depth=80)
    assert figure.controls["depth"].continuous_update is False
    figure.set(depth=8)
    assert figure.controls["depth"].continuous_update is True


def test_the_first_run_is_forgiven_its_cold_caches(monkeypatch):
    ticks, calls = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: ticks[0])

    def cold(depth=5):
        ticks[0] += 0.01 if calls else 0.5
        calls.append(depth)
        return Power(depth, 0.5, "x")

    figure = live(cold, draw, depth=(1, 100))
    assert len(calls) == 2
    assert figure.controls["depth"].continuous_update is True


def counted(**options):
    """A figure whose result is how often it was measured, after a setting of any kind."""
    asked = []

    def count(a=1, b=2.0):
        if a == 9:
            raise ValueError("a must not be 9")
        asked.append((a, b))
        return [a, b]

    def line(result, axes):
        axes.set(xlim=(0, 1), ylim=(0, 10))
        axes.line("line", [0, 1], result)

    figure = live(count, line, **options)
    # A first run that was slow is measured twice.
    del asked[1:]
    return figure, asked


def test_settings_that_come_back_are_not_measured_again():
    figure, asked = counted(a=(0, 9), b=(0.0, 4.0))
    start = drawn(figure)
    for a in (2, 3, 2, 1):
        figure.controls["a"].value = a
        assert figure.result == [a, 2.0]
    assert asked == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert np.array_equal(drawn(figure), start)


def test_results_can_be_forgotten():
    figure, asked = counted(a=(0, 9), remember=0)
    figure.set(a=2)
    figure.set(a=2)
    assert len(asked) == 3
    few, asked = counted(a=(0, 9), remember=2)
    for a in (2, 3, 1):
        few.set(a=a)
    assert len(asked) == 4


def test_an_error_is_not_remembered_as_a_result():
    figure, asked = counted(a=(0, 9))
    for _ in range(2):
        with pytest.raises(ValueError, match="a must not be 9"):
            figure.set(a=9)
    figure.set(a=1)
    assert figure.error is None
    assert len(asked) == 1


def test_values_that_cannot_be_looked_up_are_measured_each_time():
    class Levels(ipywidgets.Text):
        value = traitlets.List()

    asked = []

    def measure(levels=(1, 2)):
        asked.append(levels)
        return levels

    def draw(result, axes):
        axes.line("line", [0, 1], result)

    figure = live(measure, draw, levels=Levels(value=[1, 2]))
    del asked[1:]
    for levels in ([2, 3], [1, 2], [2, 3]):
        figure.controls["levels"].value = levels
    assert len(asked) == 4
    assert figure.result == [2, 3]


def test_a_remembered_result_says_nothing_about_how_slow_measuring_is(monkeypatch):
    figure, asked = counted(a=(0, 9))
    # Two looks at the clock for each picture: what was measured took 5 seconds, what was not, none.
    times = iter([0.0, 5.0, *[6.0] * 10])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    figure.set(a=2)
    assert not figure.controls["a"].continuous_update
    figure.set(a=1)
    assert len(asked) == 2
    assert not figure.controls["a"].continuous_update


def test_how_many_to_remember_must_be_a_number():
    with pytest.raises(ValueError, match="remember must be 0 or more, got -1"):
        counted(a=(0, 9), remember=-1)


def test_the_same_setting_from_python_is_the_same_picture_whatever_came_before():
    first, second = make(), make()
    first.set(rate=0.1, depth=90)
    for depth in (100, 50, 3, 90):
        second.controls["depth"].value = depth
    second.set(rate=0.1, depth=90)
    assert np.array_equal(drawn(first), drawn(second))


def test_it_displays_a_widget_a_picture_and_text_at_once():
    figure = make()
    data, metadata = figure._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == figure.widget.model_id
    assert data["text/plain"] == figure.summary
    assert base64.b64decode(data["image/png"]) == figure._image.value
    assert metadata["image/png"] == {"alt": figure.summary, "width": 900, "height": 420}
    assert repr(figure) == "LiveFigure(a: 20 layers at 0.5)"


def test_a_figure_without_controls_is_a_picture():
    figure = live(measure, draw)
    assert figure.settings == {}
    assert figure.summary == "a: 20 layers at 0.5"
    shown = [one for one in figure.widget.children if one.layout.display != "none"]
    assert shown == [figure._image, figure._text]


def test_the_style_sheet_travels_once_and_not_with_each_line_of_words():
    figure = live(measure, draw, depth=(1, 50))
    (sheet,) = (one for one in figure.widget.children if one.layout.display == "none")
    assert sheet.value.startswith("<style>")
    figure.set(depth=30)
    assert "<style>" not in figure._text.value


def test_a_result_without_summary_is_summarised_by_its_settings():
    def plain(depth=5):
        return [depth]

    def draw_plain(result, axes):
        axes.line("line", [0, 1], [0, result[0]])

    figure = live(plain, draw_plain, depth=(1, 9))
    assert figure.summary == "depth 5"


def test_several_panels_are_given_by_name():
    def draw_two(result, axes):
        draw(result, axes["left"])
        draw(result, axes["right"])

    figure = live(measure, draw_two, depth=(1, 100), panels=[["left", "right"]])
    figure.set(depth=33)
    assert len(figure.canvas.panels["right"].lines()["line"][0]) == 34


def test_save_writes_the_present_picture(tmp_path):
    figure = make()
    figure.save(tmp_path / "one.png")
    figure.set(depth=90)
    figure.save(tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_names_and_values_are_visible_beside_the_picture():
    figure = make()
    assert [control.description for control in figure.controls.values()] == [
        "depth",
        "rate",
        "kind",
    ]
    assert figure.controls["depth"].readout
