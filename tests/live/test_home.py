"""What widgets say may reach the kernel in a second thread; figures still live in one."""

import asyncio
import threading
import time

import pytest

from gradcourse.live import live
from gradcourse.live.home import Home

MAIN = threading.main_thread()


def move(figure, **settings):
    """Do what a front end does when a control moves."""
    for name, value in settings.items():
        figure.controls[name].set_state({"value": value})


def draw(result, axes):
    axes.line("line", [0, 1], [0, result])


def in_a_kernel(story):
    """Run a coroutine function as a kernel would, and return what it returns."""
    return asyncio.run(asyncio.wait_for(story(), 20))


@pytest.fixture
def threads():
    return []


@pytest.fixture
def measure(threads):
    def measure_(rate=1):
        threads.append(threading.current_thread())
        if rate == 9:
            raise ValueError("nine is refused")
        if rate == 8:
            raise ZeroDivisionError("eight divides by zero")
        return rate

    return measure_


def by_button(figure):
    reset = figure.widget.children[0].children[-1]
    assert reset.description == "Reset"
    reset.click()


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda figure: move(figure, rate=3), 3),
        (lambda figure: figure.set(rate=4), 4),
        (lambda figure: figure.reset(), 1),
        (by_button, 1),
    ],
    ids=["page", "set", "reset", "button"],
)
def test_whoever_asks_the_main_thread_measures(measure, threads, ask, expected):
    async def story():
        figure = live(measure, draw, remember=0, rate=(1, 9))
        figure.set(rate=2)
        threads.clear()
        await asyncio.to_thread(ask, figure)
        return figure.result

    assert in_a_kernel(story) == expected
    assert threads == [MAIN]


def test_a_page_waits_while_a_cell_runs(measure, threads):
    async def story():
        figure = live(measure, draw, rate=(1, 9))
        threads.clear()
        asking = asyncio.create_task(asyncio.to_thread(move, figure, rate=3))
        await asyncio.sleep(0.1)
        other = threading.Thread(target=move, args=(figure,), kwargs={"rate": 5})
        other.start()
        # A cell: the event loop stands still.
        time.sleep(0.3)
        during = figure.result
        await asking
        await asyncio.to_thread(other.join)
        return during, figure.result

    assert in_a_kernel(story) == (3, 5)
    assert threads == [MAIN, MAIN]


def test_a_refusal_is_a_sentence_for_the_page_and_an_exception_for_a_caller(measure):
    async def story():
        figure = live(measure, draw, rate=(1, 9))
        await asyncio.to_thread(move, figure, rate=9)
        assert figure.summary == "nine is refused"
        with pytest.raises(ValueError, match="nine is refused"):
            await asyncio.to_thread(figure.set, rate=9)
        with pytest.raises(ZeroDivisionError, match="eight divides"):
            await asyncio.to_thread(figure.set, rate=8)
        figure.set(rate=2)
        return figure.error

    assert in_a_kernel(story) is None


def test_reset_from_a_second_thread_ends_a_run_for_good():
    def train(rate=1):
        for done in range(1, 31):
            time.sleep(0.005 if rate > 1 else 0)
            yield 100 * rate + done

    async def story():
        figure = live(train, draw, rate=(1, 9))
        for rate in range(2, 8):
            await asyncio.to_thread(move, figure, rate=rate)
            await asyncio.sleep(0.003 * rate)
            assert figure.running
            await asyncio.to_thread(by_button, figure)
            assert not figure.running
            assert figure.result == 130
            await asyncio.sleep(0.02)
            assert figure.result == 130
        await asyncio.to_thread(move, figure, rate=9)
        await asyncio.to_thread(figure.stop)
        return figure.running, figure.result < 930

    assert in_a_kernel(story) == (False, True)


def test_one_who_waits_is_let_go_when_the_kernel_ends():
    came = []

    async def ends():
        home = Home()
        waiting = threading.Thread(
            target=lambda: came.append(home.call(lambda: "too late")), daemon=True
        )
        asyncio.get_running_loop().stop()
        waiting.start()
        time.sleep(0.1)
        return waiting

    loop = asyncio.new_event_loop()
    task = loop.create_task(ends())
    loop.run_forever()
    waiting = task.result()
    waiting.join(5)
    assert not waiting.is_alive()
    assert came == [None]
    loop.close()


def test_without_a_kernel_every_thread_works_for_itself(measure, threads):
    figure = live(measure, draw, rate=(1, 9))
    other = threading.Thread(target=figure.set, kwargs={"rate": 3})
    other.start()
    other.join()
    assert figure.result == 3
    assert threads[-1] is other
