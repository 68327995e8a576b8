"""A panel draws what was last described, with no more redrawing than the description needs."""

import io
import math

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

from gradcourse.live import Panel, snap_decades, snap_up
from gradcourse.live.canvas import BACKGROUNDS, Canvas, sentence_png
from gradcourse.live.limits import range_to_show
from gradcourse.live.style import styled


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def drawn(canvas):
    """Return what was drawn, before it was encoded."""
    canvas.png()
    return np.asarray(canvas._agg.buffer_rgba()).copy()


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
@example(-5e-324, 9.0)
@example(0.0, 5e-324)
def test_snapped_decades_hold_the_data_in_few_round_steps(low, span):
    start, stop = snap_decades(low, low + span)
    assert start <= low
    assert low + span <= stop
    assert start < stop
    assert start == int(start)
    assert stop == int(stop)
    # No more than one step of slack at either end.
    assert stop - start <= max(4, 2.0 * span + 2)


@pytest.mark.parametrize(
    ("low", "high", "snapped"),
    [
        (-9, 0, (-9, 0)),
        (-9, 1, (-10, 2)),
        (-38, 2, (-40, 5)),
        (3.3, 3.3, (2, 4)),
        (-15, 5e-324, (-16, 2)),
        (-5e-324, 15, (-2, 16)),
    ],
)
def test_snapped_decades_are_at_most_nine_steps_apart(low, high, snapped):
    assert snap_decades(low, high) == snapped


@pytest.mark.parametrize("ends", [(1, 0), (math.nan, 1), (0, math.inf), (-math.inf, 0)])
def test_snapped_decades_refuse_what_has_no_range(ends):
    with pytest.raises(ValueError, match="finite low <= high"):
        snap_decades(*ends)


@given(st.floats(0, 1e9))
def test_snap_up_is_the_next_round_number(value):
    up = snap_up(value)
    assert up >= value
    assert up / 10 ** math.floor(math.log10(up)) in (1, 1.5, 2, 3, 5)
    assert up == 10 or up <= 2 * value


def describe(panel, y, **extra):
    panel.begin()
    panel.set(title="Title", xlim=(0, 2), ylim=(-5, 5))
    panel.line("line", [0, 1, 2], y, color="black", label="line")
    if extra.get("band"):
        panel.band("band", [0, 1, 2], np.subtract(y, 1), np.add(y, 1), color="red", label="band")
    if extra.get("note"):
        panel.note(extra["note"])
    panel.end()


def test_moving_a_line_does_not_redraw_the_axes():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    first = canvas.png()
    describe(panel, [0, -1, -2])
    second = canvas.png()
    assert canvas.full_redraws == 1
    assert first != second
    describe(panel, [0, 1, 2])
    assert canvas.png() == first


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("mosaic", ["A", "AB", [["A", "B"], ["C", "C"]]])
def test_the_fast_picture_equals_a_picture_drawn_from_nothing(mosaic, scale):
    moved, fresh = Canvas(mosaic, (400, 300), scale), Canvas(mosaic, (400, 300), scale)
    for panel in moved.panels.values():
        describe(panel, [0, 1, 2], band=True)
    moved.png()
    for panel in (*moved.panels.values(), *fresh.panels.values()):
        describe(panel, [3, -1, 0], band=True)
    assert np.array_equal(drawn(moved), drawn(fresh))
    assert moved.full_redraws == 1
    shown = pixels(moved.png()).astype(int)
    assert np.abs(shown - drawn(fresh)[..., :3]).max() <= 12


def test_what_is_left_out_disappears_and_comes_back():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    without = pixels(canvas.png())
    describe(panel, [0, 1, 2], note="a note")
    noted = pixels(canvas.png())
    assert not np.array_equal(without, noted)
    describe(panel, [0, 1, 2])
    assert np.array_equal(pixels(canvas.png()), without)
    assert canvas.full_redraws == 1


def test_a_change_of_limits_redraws_the_axes():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    canvas.png()
    panel.set(ylim=(-50, 50))
    canvas.png()
    panel.set(ylim=(-50, 50))
    canvas.png()
    assert canvas.full_redraws == 2


def free(panel, y, *, band=False):
    """Describe a line, and a band around it, on axes whose limits nobody sets."""
    panel.begin()
    panel.line("line", [0, 1], [0, y])
    if band:
        panel.band("band", [0, 1], [0, 0], [y, 2 * y])
    panel.end()


def test_limits_that_nobody_set_follow_what_is_visible():
    moved = Canvas("A", (300, 200), 1.0)
    for y, band in ((1, False), (900, False), (50, True)):
        free(moved.panels["A"], y, band=band)
        fresh = Canvas("A", (300, 200), 1.0)
        free(fresh.panels["A"], y, band=band)
        moved.png()
        fresh.png()
        assert moved.panels["A"].axes.get_ylim() == fresh.panels["A"].axes.get_ylim(), y
        assert moved.panels["A"].axes.get_xlim() == fresh.panels["A"].axes.get_xlim(), y
    assert moved.panels["A"].axes.get_ylim()[1] >= 100
    # The ticks were drawn again each time.
    assert moved.full_redraws == 3


def test_limits_that_nobody_set_move_seldom_while_the_data_move_a_little():
    canvas = Canvas("A", (300, 200), 1.0)
    for y in np.linspace(10, 40, 100):
        free(canvas.panels["A"], y)
        canvas.png()
        bottom, top = canvas.panels["A"].axes.get_ylim()
        assert bottom <= 0
        assert top >= y
    assert 2 <= canvas.full_redraws <= 8


@given(
    present=st.none() | st.tuples(st.floats(-50, 0), st.floats(1, 50)),
    low=st.floats(-300, 300),
    span=st.floats(0, 300),
)
def test_what_is_shown_holds_the_data_and_is_not_much_larger(present, low, span):
    shown = range_to_show(present, low, low + span)
    if shown is None:
        assert present[0] <= low
        assert low + span <= present[1]
        assert span >= 0.4 * (present[1] - present[0])
    else:
        assert shown[0] <= low
        assert low + span <= shown[1]
        assert shown[1] - shown[0] <= 1.5 * span + 1e-9


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0, 10, None),
        (3, 7, None),
        (3, 6.9, (3, 6.9)),
        (-2, 6, (-4, 6)),
        (4, 12, (4, 14)),
        (-2, 14, (-6, 18)),
        # A jump to another scale gets no room.
        (-10, 10, (-10, 10)),
    ],
)
def test_only_the_end_that_was_left_gets_room(low, high, shown):
    assert range_to_show((0, 10), low, high) == shown


def test_a_drag_over_forty_decades_redraws_the_axes_a_few_times_and_never_cuts_the_data():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    there_and_back = [*np.linspace(1, 40, 80), *np.linspace(40, 1, 80)]
    for depth in there_and_back:
        panel.begin()
        panel.set(xlim=(0, 1))
        panel.decades("y", -depth, 0)
        panel.line("line", [0, 1], [0, -depth])
        panel.end()
        canvas.png()
        bottom, top = panel.axes.get_ylim()
        assert bottom <= -depth
        assert top >= 0
        # Never lost in a large empty picture either.
        assert top - bottom <= max(5, 2.6 * depth)
    assert canvas.full_redraws <= 14


def test_limits_that_come_back_are_not_drawn_again():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    seen = {}
    for top in (5, 50, 5, 50, 5):
        panel.begin()
        panel.set(xlim=(0, 1), ylim=(0, top), title="Title")
        panel.line("line", [0, 1], [0, top])
        panel.end()
        seen.setdefault(top, []).append(drawn(canvas))
    # The second one needs room for its labels, so the first is placed anew once.
    assert canvas.full_redraws == 3
    fresh = Canvas("A", (300, 200), 1.0)
    fresh.panels["A"].set(xlim=(0, 1), ylim=(0, 50), title="Title")
    fresh.panels["A"].line("line", [0, 1], [0, 50])
    for picture in seen[50]:
        assert np.array_equal(picture, drawn(fresh))
    assert np.array_equal(seen[5][1], seen[5][2])


def test_axes_stay_where_they_are_until_their_labels_need_room():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    places = []
    for top in (50, 20, 90, 30_000, 20):
        panel.set(xlim=(0, 1), ylim=(0, top), ylabel="norm", title="Title")
        canvas.png()
        places.append(panel.axes.get_position().bounds)
        labels = panel.axes.yaxis.label.get_window_extent()
        assert labels.x0 >= 0, top
    assert places[0] == places[1] == places[2]
    assert places[3][0] > places[2][0]
    assert places[4] == places[3]
    canvas.forget_limits()
    panel.set(ylim=(0, 50))
    canvas.png()
    assert panel.axes.get_position().bounds == pytest.approx(places[0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ylim": (100, 999)}, {"ylim": (-1, 1)}),
        ({"ylim": (100, 999)}, {"ylim": (-300, -100)}),
        ({"ylim": (0, 1)}, {"ylim": (0, 1e-9)}),
        ({"xlim": (0, 1)}, {"xlim": (0, 1e5)}),
        ({"xlim": (0, 1)}, {"xlim": (0, 1e-3)}),
    ],
)
def test_no_label_leaves_the_picture_during_a_drag(before, after):
    canvas = Canvas("A", (400, 300), 1.0)
    panel = canvas.panels["A"]
    for limits in (before, after):
        panel.set(**{"xlim": (0, 1), "ylim": (0, 1), "ylabel": "y", "title": "Title", **limits})
        canvas.png()
    with styled():
        left, below, right, above = canvas._measure_margins()[0]
    box = panel.axes.bbox
    assert min(box.x0 - left, box.y0 - below) >= 0
    assert box.x1 + right <= 400
    assert box.y1 + above <= 300


def test_the_backgrounds_that_were_used_last_are_kept():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]

    def draw_to(right):
        panel.set(xlim=(0, right), ylim=(0, 1), title="Title", xticks=[])
        canvas.png()
        return canvas.full_redraws

    for count in range(1, BACKGROUNDS + 1):
        assert draw_to(count) == count
    assert draw_to(1) == BACKGROUNDS
    assert draw_to(100) == BACKGROUNDS + 1
    assert draw_to(1) == BACKGROUNDS + 1
    assert draw_to(2) == BACKGROUNDS + 2


def test_only_the_next_picture_is_placed_as_if_it_were_the_first():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    places = []
    for top in (30_000, 50, 30_000, 50):
        if len(places) == 2:
            canvas.forget_limits()
        panel.set(xlim=(0, 1), ylim=(0, top), title="Title")
        canvas.png()
        places.append(panel.axes.get_position().bounds)
    assert places[1] == places[0]
    assert places[3] == places[2]


def test_axes_that_matplotlib_s_own_functions_changed_are_drawn_again_when_asked():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    before = drawn(canvas)
    panel.axes.set_facecolor("#FFEEAA")
    panel.stale = True
    assert not np.array_equal(drawn(canvas), before)
    assert canvas.full_redraws == 2


def heat(panel, values, limits=(-1, 1), x=(1, 2, 3), **style):
    panel.begin()
    panel.set(xlim=(0.5, 3.5), ylim=(-0.5, 1.5))
    panel.heatmap("heat", x, [0, 1], values, limits, "size", **style)
    panel.end()


def test_a_heatmap_puts_each_number_where_it_belongs():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    values = np.array([[-1, -0.5, 0.0], [0.5, 1.0, np.nan]])
    heat(panel, values)
    image = drawn(canvas)
    colours = colormaps["viridis"]
    for row in (0, 1):
        for column in (0, 1, 2):
            x, y = panel.axes.transData.transform((column + 1, row))
            pixel = image[round(300 - y), round(x), :3]
            value = values[row, column]
            wanted = colours((value + 1) / 2)[:3] if np.isfinite(value) else (0.733,) * 3
            assert pixel / 255 == pytest.approx(wanted, abs=0.01)


def test_a_heatmap_s_numbers_change_without_a_redraw_of_the_axes_and_its_limits_with_one():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    heat(panel, np.zeros((2, 3)))
    first = drawn(canvas)
    heat(panel, [[np.inf, 7.0, 1.0], [-np.inf, -7.0, -1.0]])
    second = drawn(canvas)
    assert canvas.full_redraws == 1
    assert not np.array_equal(first, second)
    heat(panel, [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    # Beyond the limits, and infinite, looks like the limit.
    assert np.array_equal(drawn(canvas), second)
    heat(panel, np.zeros((2, 3)), limits=(-5, 1))
    assert not np.array_equal(drawn(canvas), first)
    assert canvas.full_redraws == 2
    labels = [text.get_text() for text in panel._bars["heat"].ax.get_yticklabels()]
    assert "−5" in labels


def test_a_heatmap_of_other_columns_replaces_the_old_one_and_its_bar():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    heat(panel, np.zeros((2, 3)))
    canvas.png()
    heat(panel, np.ones((2, 2)), x=(1.0, 3.0))
    canvas.png()
    assert len(canvas.figure.axes) == 2
    assert panel._artists["heat"].get_array().shape == (2, 2)
    assert panel._bars["heat"].ax.get_ylabel() == "size"


@pytest.mark.parametrize("shape", [(3, 2), (0, 3), (6,)])
def test_a_heatmap_needs_numbers_for_every_cell(shape):
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    with pytest.raises(ValueError, match=r"heatmap 'heat' needs values of shape \(2, 3\), got"):
        heat(panel, np.zeros(shape))


def test_a_line_of_one_point_is_seen():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    panel.begin()
    panel.set(xlim=(0, 2), ylim=(0, 2))
    panel.end()
    empty = pixels(canvas.png())
    seen = []
    for x in ([1], [1, 1.5], [0.5]):
        panel.begin()
        panel.line("line", x, np.ones(len(x)))
        panel.end()
        seen.append(pixels(canvas.png()))
        assert not np.array_equal(seen[-1], empty)
    assert panel._artists["line"].get_marker() == "o"


def test_a_key_belongs_to_one_kind_of_artist():
    panel = Panel(Figure().subplots())
    panel.line("a", [0], [0])
    for describe_again in (
        lambda: panel.text("a", 0, 0, "words"),
        lambda: panel.band("a", [0], [0], [1]),
        lambda: panel.vline("a", 0),
    ):
        with pytest.raises(ValueError, match=r"'a' is a line already; a .* needs a key of its own"):
            describe_again()


def test_properties_may_be_arrays():
    canvas = Canvas("A", (300, 200), 1.0)
    for _ in range(2):
        canvas.panels["A"].set(xticks=np.array([0, 0.5, 1]))
        canvas.png()
    assert canvas.full_redraws == 1


@pytest.mark.parametrize("place", ["middle", "upper", "center left ", "left upper"])
def test_a_note_needs_a_place_there_is(place):
    with pytest.raises(ValueError, match="place must be center, upper right"):
        Panel(Figure().subplots()).note("words", place)


def test_notes_differ_by_words_and_place():
    seen = set()
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    for words in ("one", "two"):
        for place in ("center", "upper right", "lower left"):
            panel.begin()
            panel.note(words, place)
            panel.end()
            seen.add(canvas.png())
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("mosaic", "size", "scale"),
    [("A", (0, 200), 1.0), ("A", (300, 200), 0.0), ("A", (300,), 1.0), ("", (300, 200), 1.0)],
)
def test_a_canvas_needs_a_size_and_a_panel(mosaic, size, scale):
    with pytest.raises(ValueError, match="must"):
        Canvas(mosaic, size, scale)


def test_snap_up_refuses_what_has_no_next_number():
    with pytest.raises(ValueError, match="finite number, got inf"):
        snap_up(math.inf)


def test_hidden_lines_are_neither_listed_nor_in_the_legend():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    canvas.png()
    panel.begin()
    panel.end()
    canvas.png()
    assert panel.lines() == {}
    assert not canvas.figure.legends


def test_the_legend_shows_its_colours_and_fits_the_picture():
    canvas = Canvas("A", (400, 300), 1.0)
    panel = canvas.panels["A"]
    panel.begin()
    for index in range(8):
        panel.line(f"line {index}", [0, 1], [9, 9], color="#FF0000", label=f"a long label {index}")
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.end()
    image = pixels(canvas.png())
    assert (image == [255, 0, 0]).all(axis=2).any()
    (legend,) = canvas.figure.legends
    assert legend.get_window_extent().width < 400


def test_the_legend_stays_to_the_pixel_when_only_the_axes_are_drawn_again():
    canvas = Canvas("A", (400, 300), 1.0)
    panel = canvas.panels["A"]
    legends = []
    # Labels of 30,000 are longer: there everything is placed anew.
    for top in (50, 20, 90, 30_000, 70):
        panel.begin()
        panel.line("line", [0, 1], [-9, -9], color="#FF0000", label="measured")
        panel.set(xlim=(0, 1), ylim=(0, top), xlabel="layer")
        panel.end()
        image = pixels(canvas.png())
        (legend,) = canvas.figure.legends
        left, below, right, above = np.round(legend.get_window_extent().extents).astype(int)
        shown = image[300 - above : 300 - below, left:right]
        assert (shown == [255, 0, 0]).all(axis=2).any()
        legends.append(shown)
        assert np.array_equal(shown, legends[0]), top
    assert canvas.full_redraws == len(legends)


def test_values_that_are_not_finite_leave_a_gap():
    panel = Panel(Figure().subplots())
    panel.line("line", [0, 1, 2], [0, np.inf, -np.inf])
    _, y = panel.lines()["line"]
    assert y[0] == 0
    assert np.isnan(y[1:]).all()


def test_a_line_needs_as_many_x_as_y():
    panel = Panel(Figure().subplots())
    with pytest.raises(ValueError, match="line 'a' needs as many x as y, got 3 and 2"):
        panel.line("a", [0, 1, 2], [0, 1])


def test_the_legend_lists_visible_labels_once_over_all_panels():
    canvas = Canvas("AB", (400, 200), 1.0)
    for panel in canvas.panels.values():
        describe(panel, [0, 1, 2])
    canvas.png()
    (legend,) = canvas.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["line"]
    describe(canvas.panels["B"], [0, 1, 2], band=True)
    canvas.png()
    (legend,) = canvas.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["line", "band"]


def test_decades_are_labelled_as_powers_of_ten():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    panel.decades("y", -3.2, 0.5)
    canvas.png()
    labels = [text.get_text() for text in panel.axes.get_yticklabels()]
    assert "$10^{-4}$" in labels
    assert "$10^{1}$" in labels


@pytest.mark.parametrize("axis", ["z", "", None])
def test_decades_need_an_axis_there_is(axis):
    with pytest.raises(ValueError, match=f"axis must be x or y, got {axis!r}"):
        Panel(Figure().subplots()).decades(axis, 0, 1)


def test_ghosts_stand_behind_in_grey():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    plain = pixels(canvas.png())
    panel.haunt({"line": ([0, 1, 2], [0, -2, -4]), "unknown": ([0], [0])})
    haunted = pixels(canvas.png())
    assert not np.array_equal(plain, haunted)
    # Only white paper turns grey: what was drawn before still lies above.
    changed = (plain != haunted).any(axis=2)
    assert (haunted[changed].max(axis=1) - haunted[changed].min(axis=1)).max() < 20
    panel.haunt({"line": ([0, 1, 2], [0, 1, 2])})
    assert np.abs(pixels(canvas.png()).astype(int) - plain).max() < 170
    panel.haunt({})
    assert np.array_equal(pixels(canvas.png()), plain)


def test_the_ghost_of_a_rule_crosses_the_panel():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    panel.begin()
    panel.set(xlim=(0, 10), ylim=(-50, 50))
    panel.vline("v", 3)
    panel.end()
    panel.haunt({"v": ([7, 7], [0, 1])})
    canvas.png()
    ghost = panel._ghosts["v"].get_window_extent()
    frame = panel.axes.get_window_extent()
    assert ghost.height == pytest.approx(frame.height, rel=0.05)


def test_rules_move():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    seen = []
    for position in (0.5, 1.5):
        panel.begin()
        panel.set(xlim=(0, 2), ylim=(0, 2))
        panel.vline("v", position)
        panel.hline("h", position)
        panel.end()
        seen.append(pixels(canvas.png()))
    assert not np.array_equal(*seen)
    assert canvas.full_redraws == 1


def test_the_size_is_that_asked_for():
    canvas = Canvas("A", (300, 200), 2.0)
    describe(canvas.panels["A"], [0, 1, 2])
    assert pixels(canvas.png()).shape == (400, 600, 3)
    assert pixels(sentence_png("depth must be 1 or more, got 0", (300, 200), 2.0)).shape == (
        400,
        600,
        3,
    )


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_save_chooses_the_format_and_keeps_moving_lines(tmp_path, ending):
    canvas = Canvas("A", (300, 200), 1.0)
    sizes = []
    for y in ([9, 9, 9], [0, 1, 2]):  # outside the limits, then inside
        describe(canvas.panels["A"], y)
        canvas.png()
        path = tmp_path / f"{y[0]}.{ending}"
        canvas.save(path)
        sizes.append(path.read_bytes())
    assert sizes[0] != sizes[1]


def compared(*steps, size=(400, 300)):
    """Return a canvas that went through all steps, and one drawn from nothing at the last."""
    pictures = []
    for done in (steps, steps[-1:]):
        canvas = Canvas("A", size, 1.0)
        for step in done:
            canvas.forget_limits()
            canvas.describe(lambda step, panel: step(panel), step)
            picture = drawn(canvas)
        pictures.append(picture)
    return pictures


def held(*artists):
    """Return a description at fixed limits."""

    def step(panel):
        panel.set(xlim=(-0.5, 1.5), ylim=(0, 1))
        for kind, *arguments, style in artists:
            getattr(panel, kind)(*arguments, **style)

    return step


RISING = ("line", "rising", [0, 1], [0, 1], {"color": "red", "lw": 9, "label": "one"})
FALLING = ("line", "falling", [0, 1], [1, 0], {"color": "blue", "lw": 9, "label": "two"})
SAME_NAME = ("line", "namesake", [0, 1], [1, 0], {"color": "blue", "lw": 9, "label": "one"})
RENAMED = (*RISING[:4], {**RISING[4], "label": "another"})
POINT = ("line", "rising", [0.5], [0.5], {"color": "red", "lw": 9, "label": "one"})
HEAT = ("heatmap", "heat", [0, 1], [0, 1], np.eye(2), (0, 1), "size", {})
WIDER = ("heatmap", "heat", [0, 0.5, 1], [0, 1], np.zeros((2, 3)), (0, 1), "size", {})
BAND = ("band", "band", [0, 1], [0.2, 0.2], [0.5, 0.5], {"color": "red"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([FALLING], [RISING, FALLING]),
        ([RISING], [SAME_NAME]),
        ([RISING], [RENAMED]),
        ([RISING], [POINT]),
        ([POINT], [RISING]),
        ([("mark", "m", 0.5, 0.5, "star", {})], [("mark", "m", 0.5, 0.5, "guess", {})]),
        ([HEAT], []),
        ([HEAT, BAND], [WIDER, BAND]),
        ([HEAT], [BAND, RISING]),
        ([("set", {"xticks": [0, 0.5], "xticklabels": ["in", "out"]})],
         [("set", {"xticks": [0, 1], "xticklabels": ["in", "out"]})]),
        ([("set", {"ylim": (0, 1e-9), "title": "Title"})], [("set", {"title": "Title"})]),
        ([("set", {"title": "Title"})], [("set", {"ylim": (0, 1e-9), "title": "Title"})]),
        ([("set", {"ylim": (100, 999)})], [("set", {"ylim": (-300, -100)})]),
    ],
)  # fmt: skip
def test_a_picture_is_the_same_whatever_was_described_before(before, after):
    came, fresh = compared(held(*before), held(*after))
    assert np.array_equal(came, fresh)


def test_free_limits_are_the_same_whatever_was_described_before():
    def heat(panel):
        panel.heatmap("heat", [0, 1], [0, 1], np.eye(2), (0, 1))

    # The edges of a heatmap are sticky: limits end there, unless it is gone.
    came, fresh = compared(heat, lambda panel: panel.line("a", [0, 1], [-0.5, 1.5], color="red"))
    assert np.array_equal(came, fresh)


def test_a_list_of_ticks_that_grew_in_place_is_drawn_again():
    ticks = [0.0]

    def grow(panel):
        ticks.append(len(ticks) / 4)
        panel.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks)

    canvas = Canvas("A", (300, 200), 1.0)
    for count in (2, 3):
        canvas.describe(lambda _, panel: grow(panel), None)
        canvas.png()
        assert len(canvas.panels["A"].axes.get_xticks()) == count
    assert canvas.full_redraws == 2


def test_long_arrays_that_differ_in_the_middle_differ():
    panel = Panel(Figure().subplots())
    ticks = np.arange(2000.0)
    seen = set()
    for middle in (1000.0, 1000.5):
        ticks[1000] = middle
        panel.set(xticks=ticks)
        seen.add(panel.fixed())
    assert len(seen) == 2


def test_lines_stay_on_axes_whose_place_depends_on_their_limits():
    canvas = Canvas("A", (400, 300), 1.0)
    seen = {1: [], 3: []}
    for right in (1, 3, 1, 3, 1):
        panel = canvas.panels["A"]
        panel.set(xlim=(0, right), ylim=(0, 1), aspect="equal")
        panel.line("line", [0, right], [0, 1], color="red")
        seen[right].append(drawn(canvas))
    for first, *again in seen.values():
        assert all(np.array_equal(picture, first) for picture in again)
    assert canvas.full_redraws == 2


def test_a_new_line_does_not_cut_off_what_follows():
    panel = Canvas("A", (300, 200), 1.0).panels["A"]
    for top, both in ((10, False), (5, True), (10, True)):
        panel.begin()
        panel.line("a", [0, 1], [0, top])
        if both:
            panel.line("b", [0, 1], [0, top])
        panel.end()
        assert panel.limits()[2] <= 0
        assert panel.limits()[3] >= 10, top


def test_limits_set_by_matplotlib_s_own_functions_stay():
    panel = Canvas("A", (300, 200), 1.0).panels["A"]
    for top in (1, 9):
        panel.begin()
        panel.axes.set_ylim(-1, 3)
        panel.line("a", [0, 1], [0, top])
        panel.end()
        assert panel.limits()[2:] == (-1, 3)


def test_free_limits_of_an_inverted_axis_move_seldom_too():
    panel = Canvas("A", (300, 200), 1.0).panels["A"]
    panel.axes.invert_yaxis()
    seen = set()
    for top in (10, 9, 8):
        panel.begin()
        panel.line("a", [0, 1], [0, top])
        panel.line(f"new {top}", [0, 1], [0, top])
        panel.end()
        seen.add(panel.limits()[2:])
    ((bottom, top),) = seen
    assert bottom > 10
    assert top < 0


def test_free_limits_of_a_logarithmic_axis_follow_the_data():
    panel = Canvas("A", (300, 200), 1.0).panels["A"]
    for low in (1e-20, 0.1):
        panel.begin()
        panel.set(yscale="log")
        panel.line("a", [0, 1], [1, low])
        panel.end()
    assert panel.limits()[2] > 0.05


def test_the_readers_style_changes_no_limits_and_no_ticks():
    def free(panel):
        panel.line("a", [0, 1.03], [0, 1.7], color="red")

    plain, _ = compared(free, free)
    with matplotlib.rc_context():
        matplotlib.style.use("classic")
        assert np.array_equal(compared(free, free)[0], plain)


@pytest.mark.parametrize(("x", "y"), [([3], [0, 1]), ([0, 1], [2]), ([3], [4])])
def test_a_heatmap_of_one_row_or_column_is_seen(x, y):
    canvas = Canvas("A", (400, 300), 1.0)
    panel = canvas.panels["A"]
    panel.begin()
    panel.heatmap("heat", x, y, np.ones((len(y), len(x))), (0, 1))
    panel.end()
    image = drawn(canvas)
    assert panel.limits() == (x[0] - 0.5, x[-1] + 0.5, y[0] - 0.5, y[-1] + 0.5)
    for column, row in ((x[0], y[0]), (x[-1], y[-1])):
        across, up = panel.axes.transData.transform((column, row))
        assert image[round(300 - up), round(across), :3] / 255 == pytest.approx(
            colormaps["viridis"](1.0)[:3], abs=0.01
        )


def test_cells_of_a_heatmap_meet_half_way_between_their_middles():
    panel = Canvas("A", (400, 300), 1.0).panels["A"]
    panel.heatmap("heat", [0, 1, 3], [0, 1], np.zeros((2, 3)), (0, 1))
    corners = panel._artists["heat"].get_coordinates()
    assert corners[0, :, 0].tolist() == [-0.5, 0.5, 2, 4]
    assert corners[:, 0, 1].tolist() == [-0.5, 0.5, 1.5]


@pytest.mark.parametrize("x", [[2, 1, 0], [0, 2, 1], [0, 1, 1], [0, 1, math.nan]])
def test_the_columns_of_a_heatmap_ascend(x):
    panel = Canvas("A", (400, 300), 1.0).panels["A"]
    with pytest.raises(ValueError, match="heatmap 'heat' needs x and y that ascend, got"):
        panel.heatmap("heat", x, [0, 1], np.zeros((2, 3)), (0, 1))
    assert not panel._bars


@pytest.mark.parametrize("limits", [(1, 0), (math.nan, 1), (0, math.inf), (-math.inf, 0)])
def test_the_limits_of_a_heatmap_are_numbers_in_order(limits):
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    with pytest.raises(ValueError, match="heatmap 'heat' needs finite limits low <= high, got"):
        heat(panel, np.zeros((2, 3)), limits)


def test_a_heatmap_of_equal_limits_has_one_colour():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    heat(panel, [[0, 1, 2], [3, 4, 5]], (2, 2))
    canvas.png()
    assert np.ptp(panel._artists["heat"].get_array()) == 0


def test_a_mesh_is_kept_for_new_numbers():
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    heat(panel, np.zeros((2, 3)))
    mesh = panel._artists["heat"]
    heat(panel, np.ones((2, 3)))
    assert panel._artists["heat"] is mesh
    assert mesh.get_rasterized()


def test_a_heatmap_comes_back_with_other_columns():
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    for columns in (3, 0, 2):
        panel.begin()
        if columns:
            panel.heatmap("heat", np.arange(columns), [0], np.ones((1, columns)), (0, 1))
        panel.end()
    assert len(panel._artists) == len(panel._bars) == 1


def test_the_readers_style_adds_no_ticks_to_a_colour_bar():
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    heat(panel, np.zeros((2, 3)))
    with matplotlib.rc_context({"ytick.minor.visible": True}):
        heat(panel, np.zeros((2, 3)), (-7, 7))
    assert len(panel._bars["heat"].ax.yaxis.get_minorticklocs()) == 0


def test_a_heatmap_takes_the_styles_of_pcolormesh():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    style = {"cmap": colormaps["magma"], "norm": LogNorm(), "alpha": 0.5}
    heat(panel, np.ones((2, 3)), (0.01, 1), **style)
    canvas.png()
    assert panel._artists["heat"].get_cmap()(0.5) == colormaps["magma"](0.5)
    assert panel._bars["heat"].alpha == 0.5
    labels = [text.get_text() for text in panel._bars["heat"].ax.get_yticklabels()]
    assert any("10^{-2}" in label for label in labels)


def test_a_new_mesh_has_the_old_bar_in_its_place():
    canvas = Canvas("A", (500, 300), 1.0)
    panel = canvas.panels["A"]
    for columns in (2, 3, 4):
        heat(panel, np.ones((2, columns)), x=np.arange(columns))
        canvas.png()
    assert canvas.full_redraws == 1
    heat(panel, np.ones((2, 4)), (-9, 9), x=np.arange(4))
    assert panel._artists["heat"].get_clim() == (-9, 9)
    assert panel._bars["heat"].mappable.get_clim() == (-9, 9)


def test_a_key_of_a_line_is_refused_for_every_heatmap():
    panel = Canvas("A", (500, 300), 1.0).panels["A"]
    panel.line("heat", [0], [0])
    for columns in (2, 3):
        with pytest.raises(ValueError, match="'heat' is a line already"):
            heat(panel, np.zeros((2, columns)), x=np.arange(columns))


def test_words_outside_the_axes_do_not_move_them():
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    canvas.png()
    place = panel.axes.get_position().bounds
    panel.text("far", 2, 5, "words that reach far beyond the axes")
    panel.stale = True
    canvas.png()
    assert panel.axes.get_position().bounds == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_a_picture_survives_a_file_that_cannot_be_written(tmp_path, ending):
    canvas = Canvas("A", (300, 200), 1.0)
    panel = canvas.panels["A"]
    describe(panel, [0, 1, 2])
    before = drawn(canvas)
    with pytest.raises(FileNotFoundError):
        canvas.save(tmp_path / "missing" / f"one.{ending}")
    describe(panel, [0, 1, 2])
    assert np.array_equal(drawn(canvas), before)


def test_a_panel_may_be_invisible():
    canvas = Canvas("AB", (400, 200), 1.0)
    for panel in canvas.panels.values():
        describe(panel, [0, 1, 2])
    canvas.panels["B"].set(visible=False)
    canvas.png()
    canvas.forget_limits()
    canvas.png()
    assert canvas.full_redraws == 1
