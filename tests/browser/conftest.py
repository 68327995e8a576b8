"""A real JupyterLab, started as a learner starts it, and a headless Chromium."""

import pytest

from benchmarks.browser import KERNEL_IDLE, UnusableError, open_chromium, start_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start ``gradcourse lab`` in a folder of its own."""
    with start_lab(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture(scope="session")
def browser():
    try:
        with open_chromium() as opened:
            yield opened
    except UnusableError as reason:
        pytest.fail(str(reason))


@pytest.fixture
def page(browser, request):
    """Give a page of the size of a projector, or (width, pixels for one CSS pixel) if asked."""
    width, density = getattr(request, "param", (1280, 1))
    context = browser.new_context(
        viewport={"width": width, "height": 720}, device_scale_factor=density
    )
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    yield opened
    context.close()


@pytest.fixture
def open_lesson(lab, page):
    """Return a function that opens a notebook of the course in JupyterLab."""

    def open_(name):
        page.goto(lab.url(name))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(KERNEL_IDLE)
        return page

    return open_
