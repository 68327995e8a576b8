"""The ring of Gaussians."""

import math

import pytest
import torch

from gradcourse.tasks import ring


def test_points_lie_around_modes_that_are_equally_likely():
    points = ring(20_000, modes=5, spread=0.05, seed=3)
    assert points.shape == (20_000, 2)
    assert points.dtype == torch.float32
    angles = 2 * math.pi / 5 * torch.arange(5)
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    distance, mode = torch.cdist(points, centres).min(dim=1)
    assert distance.square().mean().sqrt().item() == pytest.approx(0.05 * math.sqrt(2), rel=0.02)
    counts = torch.bincount(mode, minlength=5)
    assert (counts - 4000).abs().max() < 4 * math.sqrt(20_000 * 0.2 * 0.8)


def test_a_seed_chooses_the_points():
    assert torch.equal(ring(10, seed=1), ring(10, seed=1))
    assert not torch.equal(ring(10, seed=1), ring(10, seed=2))
    assert ring(4, modes=1, spread=0).tolist() == [[1.0, 0.0]] * 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"points": 0}, "points must be 1 or more, got 0"),
        ({"points": 1, "modes": 0}, "modes must be 1 or more, got 0"),
        ({"points": 1, "spread": -1}, "spread must be .*, got -1"),
        ({"points": 1, "seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_a_ring_that_cannot_be_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ring(**arguments)
