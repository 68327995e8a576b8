"""A training shows what there is after some seconds of its own work."""

import pytest

from gradcourse.training import Pace


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_a_picture_is_due_once_the_seconds_are_over(clock):
    pace = Pace(0.25)
    assert not pace.due()
    clock[0] += 0.2
    assert not pace.due()
    clock[0] += 0.1
    assert pace.due()
    assert pace.due()


def test_what_happens_before_a_restart_does_not_count(clock):
    pace = Pace(0.25)
    clock[0] += 10
    pace.restart()
    assert not pace.due()
    clock[0] += 0.3
    assert pace.due()
