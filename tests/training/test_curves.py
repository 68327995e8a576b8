"""What a picture shows of several trainings, against a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcourse.training import learning_curve


@given(
    st.integers(1, 2), st.integers(1, 5), st.integers(0, 13), st.integers(1, 4), st.integers(0, 99)
)
def test_each_point_is_the_middle_and_the_ends_of_the_networks_means(
    ways, networks, steps, every, seed
):
    values = np.random.default_rng(seed).normal(size=(ways, networks, steps))
    found = learning_curve(values, every)
    assert found.shape == (ways, 3, steps // every)
    for way in range(ways):
        for point in range(steps // every):
            window = range(point * every, (point + 1) * every)
            means = sorted(sum(values[way, n, k] for k in window) / every for n in range(networks))
            middle = (means[(networks - 1) // 2] + means[networks // 2]) / 2
            assert found[way, :, point] == pytest.approx([middle, means[0], means[-1]])


def test_a_mean_over_no_step_is_refused():
    with pytest.raises(ValueError, match="every must be 1 or more, got 0"):
        learning_curve(np.zeros((2, 3)), 0)
