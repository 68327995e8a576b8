"""A measurement that goes on: seen from Python, and from a page that keeps moving its controls."""

import asyncio
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest

from gradcourse.live import live

STEPS = 5


@dataclass(frozen=True)
class Training:
    rate: int
    done: int

    @property
    def progress(self):
        return self.done / STEPS

    def summary(self):
        return f"rate {self.rate}: {self.done} of {STEPS}"


def train(rate=1, fail_at=9):
    """Yield what there is after each step."""
    closed.append(False)
    try:
        for done in range(1, STEPS + 1):
            if done == fail_at:
                raise ValueError(f"no step {done}")
            yield Training(rate, done)
    finally:
        closed[-1] = True


def draw(result, axes):
    axes.set(xlim=(0, STEPS), ylim=(0, 10))
    axes.line("line", np.arange(result.done), [result.rate] * result.done, label="loss")


closed = []


def make(**options):
    closed.clear()
    return live(train, draw, rate=(1, 9), fail_at=(1, 9), **options)


def shown_by(figure):
    """Note every summary that the page gets to see."""
    seen = []
    figure._text.observe(lambda _change: seen.append(figure.summary), names="value")
    return seen


def move(figure, **settings):
    """Do what a front end does when a control moves."""
    for name, value in settings.items():
        figure.controls[name].set_state({"value": value})


def on_a_page(story):
    """Run a coroutine function as the kernel's event loop would, and wait for what it began."""

    async def all_of_it():
        await story()
        for _ in range(200):
            await asyncio.sleep(0.002)

    asyncio.run(all_of_it())


def visible(figure):
    return figure._progress.widget.layout.visibility == "visible"


def test_from_python_only_the_last_result_is_drawn():
    figure = make()
    assert figure.result == Training(1, STEPS)
    seen = shown_by(figure)
    figure.set(rate=3)
    assert figure.result == Training(3, STEPS)
    assert seen == ["rate 3: 5 of 5"]
    assert not figure.running
    assert not visible(figure)


def test_a_page_sees_every_step_and_gets_on_with_other_things():
    figure = make()
    seen = shown_by(figure)
    others = []

    async def story():
        move(figure, rate=2)
        assert figure.result == Training(2, 1)
        assert figure.running
        assert visible(figure)
        assert figure._progress._bar.value == pytest.approx(1 / STEPS)
        while figure.running:
            others.append((figure.result.done, figure._progress._bar.value))
            await asyncio.sleep(0.001)

    on_a_page(story)
    assert seen == [f"rate 2: {done} of 5" for done in range(1, STEPS + 1)]
    assert set(others) == {(done, done / STEPS) for done in range(1, STEPS + 1)}
    assert figure.result == Training(2, STEPS)
    assert not visible(figure)
    assert closed == [True, True]


def test_the_last_picture_of_a_run_is_that_of_python():
    figure, other = make(), make()

    async def story():
        move(figure, rate=2)

    on_a_page(story)
    other.set(rate=2)
    pixels = [np.asarray(one.canvas._agg.buffer_rgba()) for one in (figure, other)]
    assert np.array_equal(*pixels)


def test_a_control_that_moves_meanwhile_starts_anew():
    figure = make()
    seen = shown_by(figure)

    async def story():
        move(figure, rate=2)
        await asyncio.sleep(0)
        move(figure, rate=7)

    on_a_page(story)
    assert seen == ["rate 2: 1 of 5", *(f"rate 7: {done} of 5" for done in range(1, 6))]
    assert closed == [True, True, True]


def test_what_was_finished_is_remembered_and_what_was_not_is_not():
    figure = make()

    async def story():
        move(figure, rate=2)
        move(figure, rate=3)

    on_a_page(story)
    begun = len(closed)
    figure.set(rate=3)
    assert len(closed) == begun
    figure.set(rate=2)
    assert len(closed) == begun + 1

    async def again():
        move(figure, rate=3)
        assert not figure.running
        assert figure.result == Training(3, STEPS)

    on_a_page(again)


def test_stop_keeps_what_there_is():
    figure = make()

    async def story():
        move(figure, rate=2)
        figure.stop()

    on_a_page(story)
    assert figure.result == Training(2, 1)
    assert figure.summary == "rate 2: 1 of 5 (stopped)"
    assert "(stopped)" in figure._text.value
    assert closed == [True, True]
    assert not visible(figure)
    figure.stop()
    assert figure.summary.count("(stopped)") == 1
    figure.set(rate=4)
    figure.set(rate=2)
    assert figure.result == Training(2, STEPS)


def test_the_stop_button_stops():
    figure = make()

    async def story():
        move(figure, rate=2)
        figure._progress.widget.children[1].click()

    on_a_page(story)
    assert figure.result == Training(2, 1)


def test_a_run_that_fails_says_so_in_the_pictures_place():
    figure = make()

    async def story():
        move(figure, fail_at=3)

    on_a_page(story)
    assert figure.summary == "no step 3"
    assert isinstance(figure.error, ValueError)
    assert figure.result == Training(1, 2)
    assert not visible(figure)
    figure.set(fail_at=9)
    assert figure.error is None


@pytest.mark.skipif(os.name != "posix", reason="an interrupt is no signal there")
def test_an_interrupt_ends_a_run_although_the_kernel_ignores_it_between_cells():
    def interrupted(rate=1):
        yield Training(rate, 1)
        if rate > 1:
            os.kill(os.getpid(), signal.SIGINT)
        yield Training(rate, 2)

    figure = live(interrupted, draw, rate=(1, 9))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:

        async def story():
            move(figure, rate=2)

        on_a_page(story)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert figure.summary == "KeyboardInterrupt"
    assert figure.result == Training(2, 1)
    assert not visible(figure)
    figure.set(rate=1)
    assert figure.error is None


def test_a_picture_that_cannot_be_drawn_ends_the_run():
    def fragile(result, axes):
        if result.rate == 2 and result.done == 2:
            raise ZeroDivisionError("division by zero")
        draw(result, axes)

    closed.clear()
    figure = live(train, fragile, rate=(1, 9))

    async def story():
        move(figure, rate=2)

    on_a_page(story)
    assert figure.summary == "ZeroDivisionError: division by zero"
    assert closed == [True, True]


def test_reset_from_the_page_goes_on_in_the_background():
    figure = make(remember=0)
    figure.set(rate=5)
    reset = figure.widget.children[0].children[-1]
    assert reset.description == "Reset"

    async def story():
        reset.click()
        assert figure.running

    on_a_page(story)
    assert figure.result == Training(1, STEPS)


def test_the_ghost_of_a_run_is_what_was_there_before_it():
    figure = make(compare=True)

    async def story():
        move(figure, rate=2)

    on_a_page(story)
    (ghost,) = [one for one in figure.canvas.panels["A"]._ghosts.values() if one.get_visible()]
    assert ghost.get_ydata().tolist() == [1] * STEPS


def test_a_play_button_starts_runs_in_the_background():
    figure = make(play="rate")

    async def story():
        figure._player.set_state({"value": 4})
        assert figure.running

    on_a_page(story)
    assert figure.result == Training(5, STEPS)


def test_without_an_event_loop_a_page_gets_the_last_result():
    figure = make()
    move(figure, rate=2)
    assert figure.result == Training(2, STEPS)
    assert not figure.running


def test_a_result_without_progress_has_an_empty_bar():
    def count(n=3):
        yield list(range(n))
        yield list(range(n + 1))

    figure = live(count, lambda result, axes: axes.line("line", result, result), n=(1, 9))

    async def story():
        move(figure, n=5)
        assert visible(figure)
        assert figure._progress._bar.value == 0

    on_a_page(story)
    assert figure.result == [0, 1, 2, 3, 4, 5]


def test_a_generator_without_results_is_refused():
    def nothing(n=0):
        yield from range(n)

    with pytest.raises(RuntimeError, match="yielded no result"):
        live(nothing, draw, n=(0, 9))


def test_sliders_follow_a_drag_if_the_first_step_keeps_up(monkeypatch):
    # A busy machine may be slow with any picture.
    monkeypatch.setattr("gradcourse.live.figure.KEEPS_UP", 1e9)
    figure = make()
    assert figure.controls["rate"].continuous_update
    monkeypatch.setattr("gradcourse.live.figure.KEEPS_UP", 0.0)

    async def story():
        move(figure, rate=2)

    on_a_page(story)
    assert not figure.controls["rate"].continuous_update


def test_a_figure_that_does_not_go_on_has_no_bar():
    figure = live(lambda n=3: [n], lambda result, axes: axes.line("l", [0], result), n=(1, 9))
    assert figure._progress.widget not in figure.widget.children
    other = make()
    assert other._progress.widget in other.widget.children
