"""From pixels to a PNG with a palette, several times faster than to one without."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Encoder"]

# The last entry of a palette stands for "not looked up yet".
UNKNOWN = 255
# How far a colour may be from its entry in the palette, red, green and blue each, of 255.
TOLERANCES = (2, 4, 8, 16, 32)
# A colour of this share of a picture fills an area, where the eye sees bands that edges hide.
AREA = 1e-4
# So many entries of a palette, at most, are kept for these, each as exact as can be.
FINE = 128
# A new palette is left some room for colours to come, unless that would cost more than this.
ROOMY, ROOM_COSTS = 160, 8
# With more colours than this a picture is a photograph, and has no palette; nor has a figure that
# needed a new one so often.
MOST_COLOURS = 6000
MOST_PALETTES = 8


class Encoder:
    """Encode pictures that are alike, as those of one figure are.

    A plot has few colours, and the same ones in each picture. They are collected once into a
    palette; after that a pixel costs one look into a table, and an index compresses several times
    faster than red, green and blue. Colours that come later are added, or replaced by one so near
    that nobody sees it. A picture with too many colours is encoded without a palette.
    """

    def __init__(self) -> None:
        self._palettes = 0
        self._start_again(TOLERANCES[0])

    def png(self, rgba: NDArray[np.uint8]) -> bytes:
        """Return a PNG of opaque pixels of shape (height, width, 4)."""
        if self._palettes > MOST_PALETTES:
            return _without_palette(rgba)
        height, width, _ = rgba.shape
        colours = rgba.view("<u4")[..., 0]
        places, indices = self._look_up(colours)
        unknown = np.flatnonzero(indices == UNKNOWN)
        if unknown.size:
            if len(self._palette) and self._learn(*_by_frequency(colours.ravel()[unknown])[:2]):
                indices.ravel()[unknown] = self._table[places.ravel()[unknown]]
            elif self._learn_anew(*_by_frequency(colours)):
                places, indices = self._look_up(colours)
            else:
                return _without_palette(rgba)
        picture = Image.frombuffer("P", (width, height), indices, "raw", "P", 0, 1)
        picture.putpalette(self._palette.astype(np.uint8).tobytes())
        return _png(picture)

    def _look_up(self, colours: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return where in the table each pixel looks, and what it finds there."""
        places, channel, indices = _work(colours.shape)
        np.right_shift(colours, 2, out=places)
        places &= 63
        for shift, mask in ((4, 0xFC0), (6, 0x3F000)):
            np.right_shift(colours, shift, out=channel)
            channel &= mask
            places |= channel
        # Every place is in the table; any other mode would make a copy first.
        np.take(self._table, places, out=indices, mode="clip")
        return places, indices

    def _start_again(self, tolerance: int) -> None:
        self._tolerance = tolerance
        self._palette = np.zeros((0, 3), np.int16)
        # Six bits of each of red, green and blue point to an entry of the palette.
        self._table = np.full(1 << 18, UNKNOWN, np.uint8)

    def _learn_anew(
        self, places: NDArray[np.intp], colours: NDArray[np.int16], counts: NDArray[np.intp]
    ) -> bool:
        """Make a palette for these colours alone, as exact as its entries allow."""
        self._palettes += 1
        areas = int((counts >= AREA * counts.sum()).sum())
        for tolerance in TOLERANCES:
            self._start_again(tolerance)
            left = self._enter(places[:areas], colours[:areas], TOLERANCES[0], FINE)
            left = np.append(left, np.arange(areas, len(places)))
            known = self._learn(places[left], colours[left])
            if known and (len(self._palette) <= ROOMY or tolerance >= ROOM_COSTS):
                return True
        self._start_again(TOLERANCES[0])
        return False

    def _learn(self, places: NDArray[np.intp], colours: NDArray[np.int16]) -> bool:
        """Enter colours into the table, the first ones first; whether the palette had room."""
        if len(places) > MOST_COLOURS:
            return False
        if len(self._palette):
            away = np.abs(colours[:, None] - self._palette).max(axis=2)
            near = away.min(axis=1) <= self._tolerance
            self._table[places[near]] = away[near].argmin(axis=1)
            places, colours = places[~near], colours[~near]
        return not self._enter(places, colours, self._tolerance, UNKNOWN).size

    def _enter(
        self, places: NDArray[np.intp], colours: NDArray[np.int16], tolerance: int, most: int
    ) -> NDArray[np.intp]:
        """Add colours to the palette, the first ones first, up to a number of entries.

        Return the indices of those that found no room.
        """
        left = np.arange(len(places))
        while left.size and len(self._palette) < most:
            near = np.abs(colours[left] - colours[left[0]]).max(axis=1) <= tolerance
            self._table[places[left[near]]] = len(self._palette)
            self._palette = np.vstack([self._palette, colours[left[:1]]])
            left = left[~near]
        return left


@functools.lru_cache(maxsize=1)
def _work(
    shape: tuple[int, ...],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint8]]:
    # Kept, because fresh memory of this size costs more than what is computed in it; and shared by
    # all figures, which are drawn one after the other.
    return np.empty(shape, np.uint32), np.empty(shape, np.uint32), np.empty(shape, np.uint8)


def _by_frequency(
    colours: NDArray[np.uint32],
) -> tuple[NDArray[np.intp], NDArray[np.int16], NDArray[np.intp]]:
    """Return the places in the table that are wanted, and the commonest colour of each.

    And how many pixels have this colour, most first.
    """
    distinct, counts = np.unique(colours & 0xFFFFFF, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    distinct, counts = distinct[order], counts[order]
    channels = np.stack([distinct & 255, (distinct >> 8) & 255, distinct >> 16], axis=1)
    places = (channels >> 2) @ np.array([1, 1 << 6, 1 << 12], channels.dtype)
    _, first = np.unique(places, return_index=True)
    commonest = np.sort(first)
    chosen = places[commonest], channels[commonest], counts[commonest]
    return chosen[0].astype(np.intp), chosen[1].astype(np.int16), chosen[2]


def _without_palette(rgba: NDArray[np.uint8]) -> bytes:
    return _png(Image.fromarray(rgba[..., :3].copy()))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Runs of one colour are what a plot is made of: fastest of zlib's strategies, and smallest.
    picture.save(buffer, format="png", compress_level=1, compress_type=3)
    return buffer.getvalue()
