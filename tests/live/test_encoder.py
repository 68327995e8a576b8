"""A PNG with a palette shows what was drawn, as far as an eye can tell."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from gradcourse.live.encoder import MOST_PALETTES, Encoder

SOME = np.random.default_rng(0)


def opaque(rgb):
    return np.dstack([rgb, np.full(rgb.shape[:2], 255)]).astype(np.uint8)


def error(encoder, rgba):
    """The largest difference of any channel of any pixel."""
    picture = Image.open(io.BytesIO(encoder.png(rgba))).convert("RGB")
    return int(np.abs(np.asarray(picture).astype(int) - rgba[..., :3]).max())


def has_palette(png):
    return Image.open(io.BytesIO(png)).mode == "P"


def plot(colours, size=(40, 60)):
    """A picture of a few colours in blocks, white elsewhere."""
    rgb = np.full((*size, 3), 255)
    for row, colour in enumerate(colours):
        rgb[row % size[0], : 2 + row % 7] = colour
    return opaque(rgb)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), max_size=20))
def test_few_colours_are_shown_as_they_are(colours):
    encoder = Encoder()
    # Two colours of one place in the table share an entry: they are 3 apart at most.
    assert error(encoder, plot(colours)) <= 5
    assert has_palette(encoder.png(plot(colours)))
    assert error(encoder, plot([])) == 0


def test_the_commonest_colours_are_exact():
    rgb = np.full((50, 50, 3), 255)
    rgb[10, :5] = 254
    rgb[20:40] = (0, 114, 178)
    shown = np.asarray(Image.open(io.BytesIO(Encoder().png(opaque(rgb)))).convert("RGB"))
    assert (shown[0] == 255).all()
    assert (shown[30] == (0, 114, 178)).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
def test_colours_that_come_later_are_shown_too(seeds):
    encoder = Encoder()
    for seed in seeds:
        colours = np.random.default_rng(seed).integers(0, 256, (40, 3))
        assert error(encoder, plot(colours)) <= 40
    assert error(encoder, plot([])) == 0


def test_a_colour_is_shown_the_same_before_and_after_others_have_come():
    encoder = Encoder()
    picture = plot([(200, 10, 10), (0, 90, 170)])
    first = np.asarray(Image.open(io.BytesIO(encoder.png(picture))).convert("RGB"))
    for shade in range(0, 256, 5):
        encoder.png(plot([(shade, shade, 0)]))
    again = np.asarray(Image.open(io.BytesIO(encoder.png(picture))).convert("RGB"))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", ["viridis", "RdBu_r"])
def test_the_256_colours_of_a_heatmap_have_a_palette(name):
    colours = (colormaps[name](np.arange(256))[:, :3] * 255).astype(int)
    rgba = opaque(np.broadcast_to(colours, (30, 256, 3)))
    encoder = Encoder()
    assert error(encoder, rgba) <= 7
    assert has_palette(encoder.png(rgba))


def test_a_photograph_is_encoded_exactly_without_a_palette():
    encoder = Encoder()
    photograph = opaque(SOME.integers(0, 256, (120, 120, 3)))
    assert error(encoder, photograph) == 0
    assert not has_palette(encoder.png(photograph))
    # And a plot that follows has one again.
    assert has_palette(encoder.png(plot([(1, 2, 3)])))


def test_colours_too_many_for_a_palette_leave_nothing_behind():
    encoder = Encoder()
    photograph = opaque(SOME.integers(0, 256, (70, 70, 3)))
    assert not has_palette(encoder.png(photograph))
    assert error(encoder, plot([(1, 2, 3), (9, 99, 199)])) == 0


def test_a_colour_that_comes_later_is_replaced_by_the_nearest():
    encoder = Encoder()
    encoder.png(plot([(98, 3, 0), (101, 3, 0)]))
    assert error(encoder, plot([(100, 4, 0)])) == 1


def test_a_figure_whose_colours_never_settle_gives_up_its_palette():
    encoder = Encoder()
    for corner in range(MOST_PALETTES + 1):
        # Few enough for a palette, and others each time: the next corner of the cube of colours.
        low = 180 * np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        picture = plot(low + SOME.integers(0, 75, (300, 3)), (300, 20))
        assert has_palette(encoder.png(picture))
        assert error(encoder, picture) <= 40
    for _ in range(2):
        assert error(encoder, picture) == 0
        assert not has_palette(encoder.png(picture))
        picture = plot([(1, 2, 3)])


@given(width=st.integers(1, 9), height=st.integers(1, 9))
def test_any_size_is_kept(width, height):
    png = Encoder().png(opaque(np.zeros((height, width, 3))))
    assert Image.open(io.BytesIO(png)).size == (width, height)


def test_areas_keep_their_shades_however_many_colours_there_are_at_edges():
    rgb = np.empty((240, 400, 3), int)
    rgb[:200] = np.linspace(30, 250, 100).repeat(4)[None, :, None]
    # Two thousand colours of a few pixels each, as where lines with soft edges cross a heatmap.
    lines = np.array([(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)])
    share, grey = SOME.random((2, 2000, 1))
    mixed = share * lines[np.arange(2000) % 4] + (1 - share) * 255 * grey
    rgb[200:] = mixed.repeat(8, axis=0).reshape(40, 400, 3)
    png = Encoder().png(opaque(rgb))
    assert has_palette(png)
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert np.abs(shown - rgb)[:200].max() <= 5
    assert np.abs(shown - rgb)[200:].max() <= 35
