"""A page of its own: what it holds, which values it offers, and how large it may become."""

import base64
import io
import json
import re
from functools import partial

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from gradcourse.live import live, log, page
from gradcourse.live.page import page_values


class Result:
    def __init__(self, depth, rate, kind):
        self.depth, self.rate, self.kind = depth, rate, kind

    def summary(self):
        return f"</script> {self.kind} {self.depth} at {self.rate:.3g}"


def measure(depth=20, rate=0.5, kind="a"):
    if depth == 13:
        raise ValueError("depth must not be 13, got 13")
    return Result(depth, rate, kind)


def draw(result, axes):
    axes.set(title=result.kind)
    axes.line("line", [0, result.depth], [0, result.rate], label="measured")


@pytest.fixture
def figure():
    return live(measure, draw, size=(300, 200), depth=(1, 100), rate=log(0.1, 10), kind=["a", "b"])


def read(path):
    text = path.read_text(encoding="utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', text)
    return text, json.loads(data)


def pixels(data, place):
    _, _, code = data["pictures"][data["shown"][place]].partition(",")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))


def test_each_combination_has_the_picture_and_the_summary_of_the_figure(figure, tmp_path):
    before, settings = figure._image.value, figure.settings
    figure.save(tmp_path / "demo.html", depth=[1, 50], kind=["a", "b"])
    assert figure._image.value == before
    assert figure.settings == settings
    _, data = read(tmp_path / "demo.html")
    assert [control["label"] for control in data["controls"]] == ["depth", "kind"]
    other = live(partial(measure, depth=1), draw, size=(300, 200), depth=(1, 100), kind=["a", "b"])
    for place, (depth, kind) in enumerate([(1, "a"), (1, "b"), (50, "a"), (50, "b")]):
        figure.set(depth=depth, kind=kind)
        assert data["summaries"][place] == figure.summary
        if depth == 1:
            # Where a drag begins, limits are chosen as for a first picture.
            other.set(kind=kind)
            shown = np.asarray(Image.open(io.BytesIO(other._image.value)).convert("RGB"))
            assert np.abs(pixels(data, place).astype(int) - shown).max() <= 8
    assert len(data["pictures"]) == 4


def test_the_page_asks_nobody_for_anything_and_a_summary_cannot_end_the_script(figure, tmp_path):
    figure.save(tmp_path / "a & b.html", depth=[1, 2])
    text, data = read(tmp_path / "a & b.html")
    assert data["summaries"][0].startswith("</script> a 1")
    assert text.count("</script>") == 2
    assert "<title>a &amp; b</title>" in text
    assert not re.findall(r"https?:", text)
    assert "default-src 'none'" in text


def test_sliders_and_choices_start_where_the_figure_is(figure, tmp_path):
    figure.set(depth=50, kind="b", rate=2.0)
    figure.save(
        tmp_path / "one.html", depth=range(1, 101, 33), rate=[0.1, 1.5, 10], kind=["a", "b"]
    )
    controls = {control["label"]: control for control in read(tmp_path / "one.html")[1]["controls"]}
    assert controls["depth"] == {
        "label": "depth",
        "values": ["1", "34", "67", "100"],
        "start": 1,
        "slides": True,
    }
    assert (controls["rate"]["values"], controls["rate"]["start"]) == (["0.1", "1.5", "10"], 1)
    assert (controls["kind"]["slides"], controls["kind"]["start"]) == (False, 1)


def test_a_setting_that_is_refused_says_so_in_the_picture(figure, tmp_path):
    figure.save(tmp_path / "one.html", depth=[12, 13])
    _, data = read(tmp_path / "one.html")
    assert data["summaries"][1] == "depth must not be 13, got 13"
    assert pixels(data, 1).shape == (300, 450, 3)


def test_an_error_of_the_program_is_raised_and_leaves_no_file(tmp_path):
    def fails(depth=1):
        return 1 / (depth - 3)

    figure = live(fails, lambda _, axes: axes.set(title="one"), depth=(1, 5))
    with pytest.raises(ZeroDivisionError):
        figure.save(tmp_path / "one.html", depth=[2, 3])
    assert not list(tmp_path.iterdir())


def test_a_generator_runs_to_its_end(tmp_path):
    def steps(depth=1):
        for step in range(3):
            yield Result(depth, step, "step")

    figure = live(steps, draw, depth=(1, 5))
    figure.save(tmp_path / "one.html", depth=[1, 2])
    assert [one[-1] for one in read(tmp_path / "one.html")[1]["summaries"]] == ["2", "2"]


def test_a_page_over_the_limit_is_refused_before_it_is_drawn(figure, tmp_path, capsys):
    drawn = []
    figure._draw = lambda result, axes: drawn.append(draw(result, axes))
    figure.save(tmp_path / "one.html", depth=range(20, 60), kind=["a", "b"])
    said = capsys.readouterr().out
    size = (tmp_path / "one.html").stat().st_size / 1e6
    pictures, expected = re.fullmatch(r"drawing (\d+) pictures, about ([\d.]+) MB\n", said).groups()
    assert int(pictures) == 80
    assert float(expected) == pytest.approx(size, rel=0.25, abs=0.06)
    drawn.clear()
    with pytest.raises(ValueError) as refused:
        figure.save(tmp_path / "two.html", megabytes=0.1, depth=range(20, 60), kind=["a", "b"])
    assert len(drawn) == 8
    assert "80 pictures (40 of depth, 2 of kind), and the limit is 0.1 MB: give fewer" in str(
        refused.value
    )
    assert not (tmp_path / "two.html").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"width": [1]}, "no control 'width'; the controls are depth, rate, kind"),
        ({"depth": [1, 101]}, "depth must be between 1 and 100, got 101"),
        ({"depth": 5}, "depth needs several values, such as a list, got 5"),
        ({"kind": "ab"}, "kind needs several values, such as a list, got 'ab'"),
        ({"depth": []}, "depth needs at least one value"),
    ],
)
def test_bad_values_are_answered_in_one_sentence(figure, tmp_path, values, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        figure.save(tmp_path / "one.html", **values)


def test_values_belong_to_a_page(figure, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.html"):
        figure.save(tmp_path / "one.png", depth=[1, 2])


def test_values_given_twice_are_shown_once(figure):
    assert page_values(figure._controls, {"depth": [5, 1, 5]}, 9) == {"depth": [5, 1]}


def test_what_is_tried_to_tell_the_size_is_measured_once(tmp_path):
    asked = []

    def counted(depth=1):
        asked.append(depth)
        return Result(depth, 0.0, "a")

    figure = live(counted, draw, size=(300, 200), depth=(1, 100), remember=0)
    asked.clear()
    figure.save(tmp_path / "one.html", depth=range(1, 41))
    assert sorted(asked) == list(range(1, 41))


def test_controls_that_a_page_does_not_offer_are_named_with_their_values(figure, tmp_path):
    figure.save(tmp_path / "one.html", depth=[1, 2])
    text, _ = read(tmp_path / "one.html")
    assert '<p class="held">Held still on this page: rate 0.5, kind a.</p>' in text
    figure.save(tmp_path / "all.html", depth=[1, 2], rate=[1.0, 2.0], kind=["a"])
    assert '<p class="held"></p>' in read(tmp_path / "all.html")[0]


@pytest.mark.parametrize(
    ("start", "most", "values"),
    [
        (101, 5, [1, 51, 101, 151, 201]),
        (1, 5, [1, 51, 101, 151, 201]),
        (201, 3, [1, 101, 201]),
        (41, 6, [1, 41, 81, 121, 161, 201]),
        (3, 4, [1, 3, 102, 201]),
    ],
)
def test_values_are_even_to_either_side_of_the_present_one(start, most, values):
    def measured(depth=start):
        return Result(depth, 1.0, "a")

    figure = live(measured, draw, size=(300, 200), depth=(1, 201))
    assert page_values(figure._controls, {}, most) == {"depth": values}


def test_the_first_slider_has_twice_as_many_values_as_the_next_and_choices_stay_whole(figure):
    counts = [len(several) for several in page_values(figure._controls, {}, 100).values()]
    assert counts == [10, 5, 2]


@pytest.mark.parametrize(("most", "counts"), [(45, [5, 3, 3]), (44, [11, 4])])
def test_a_third_slider_is_held_still_where_the_first_would_have_fewer_than_five_values(
    most, counts
):
    def three(first=1.0, second=1.0, third=1.0):
        return Result(first, second, third)

    def name(result, axes):
        axes.set(title=result.kind)

    figure = live(three, name, first=(0.0, 1.0), second=(0.0, 1.0), third=(0.0, 1.0))
    offered = page_values(figure._controls, {}, most)
    assert [len(several) for several in offered.values()] == counts
    assert list(offered) == ["first", "second", "third"][: len(counts)]


def test_a_second_slider_is_held_still_before_a_choice(figure):
    assert list(page_values(figure._controls, {}, 17)) == ["depth", "kind"]
    assert list(page_values(figure._controls, {}, 5)) == ["depth"]


def test_a_page_with_room_for_one_picture_shows_the_present_one(figure, tmp_path):
    figure.save(tmp_path / "one.html", pictures=1)
    _, data = read(tmp_path / "one.html")
    assert (data["controls"], data["summaries"]) == ([], [figure.summary])


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({"seconds": 20}, 20),
        ({"seconds": 20, "pictures": 12}, 12),
        ({"seconds": 0.5}, 8),
        ({"seconds": 0.5, "pictures": 3}, 3),
        ({"seconds": float("inf"), "pictures": 60}, 60),
    ],
)
def test_a_page_has_no_more_pictures_than_there_is_time_for(asked, most, tmp_path, monkeypatch):
    busy = [0.0]

    def slow(depth=20, rate=0.5, kind="a"):
        busy[0] += 1.0
        return Result(depth, rate, kind)

    monkeypatch.setattr(page.time, "process_time", lambda: busy[0])
    controls = {"depth": (1, 100), "rate": log(0.1, 10), "kind": ["a", "b"]}
    figure = live(slow, draw, size=(300, 200), **controls)
    figure.save(tmp_path / "page.html", **asked)
    _, data = read(tmp_path / "page.html")
    assert most / 2 <= len(data["shown"]) <= most
    figure.save(tmp_path / "page.html", **asked, depth=range(1, 31))
    _, data = read(tmp_path / "page.html")
    assert len(data["shown"]) == 30


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_is_none_is_refused(figure, seconds, tmp_path):
    with pytest.raises(ValueError, match=f"seconds must be above 0, got {seconds}"):
        figure.save(tmp_path / "page.html", seconds=seconds)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("most", [1, 2, 6, 30, 150, 10_000])
def test_without_values_each_control_gets_some_and_its_start_is_among_them(figure, most):
    values = page_values(figure._controls, {}, most)
    assert np.prod([len(several) for several in values.values()]) <= most
    for name, several in values.items():
        if name != "kind":
            assert several == sorted(several)
            low, high = figure._controls[name].ends
            assert (several[0], several[-1]) == pytest.approx((low, high))
            assert figure.settings[name] in several
    if most >= 150:
        assert values["kind"] == ["a", "b"]
        assert list(values) == ["depth", "rate", "kind"]


def test_a_figure_without_ordered_values_has_no_page(tmp_path):
    def said(text="a"):
        return text

    figure = live(said, lambda result, axes: axes.set(title=result), text=ipywidgets.Text("a"))
    with pytest.raises(ValueError, match="no control with values that a page could offer"):
        figure.save(tmp_path / "one.html")


def test_choices_are_named_as_in_the_widget(tmp_path):
    def measure(kind=2, fast=False):
        return f"{kind}, {fast}"

    def name(result, axes):
        axes.set(title=result)

    figure = live(measure, name, kind={"two": 2, "three": 3}, fast=False)
    figure.save(tmp_path / "one.html")
    kind, fast = read(tmp_path / "one.html")[1]["controls"]
    assert (kind["values"], kind["start"]) == (["two", "three"], 0)
    assert (fast["values"], fast["start"], fast["slides"]) == (["off", "on"], 0, False)
