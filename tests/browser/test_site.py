"""The course as pages: built, and read in a browser with the network off."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
LESSON = "00_start_here"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        ROOT / "tools/build_site.py",
        LESSON,
        "-o",
        folder,
        "--pictures",
        "9",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["projector", "phone"])
def reader(browser, request):
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 720}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.on(
        "request", lambda one: one.url.startswith(("file:", "data:")) or troubles.append(one.url)
    )
    yield page
    assert not troubles
    context.close()


def test_a_figure_answers_its_slider_without_a_kernel(site, reader):
    reader.goto((site / f"{LESSON}.html").as_uri())
    assert reader.locator("iframe").count() == 1
    figure = reader.frame_locator("iframe")
    said = figure.get_by_role("status")
    before = said.inner_text()
    slider = figure.get_by_label("factors")
    slider.focus()
    reader.keyboard.press("End")
    assert "200 factors" in said.inner_text() != before
    frame = reader.locator("iframe")
    needed = figure.locator("html").evaluate("e => e.getBoundingClientRect().height")
    reader.wait_for_function(
        "needed => document.querySelector('iframe').clientHeight >= needed", arg=needed
    )
    assert frame.evaluate("e => e.clientHeight") < needed + 10


def test_formulas_are_mathml_and_claims_stand_below_their_cells(site, reader):
    reader.goto((site / f"{LESSON}.html").as_uri())
    formula = reader.locator("math[display=block]").first.bounding_box()
    assert formula["height"] > 20
    assert "$$" not in reader.locator("main").inner_text()
    assert reader.get_by_text("✓").count() > 1
    assert "pip" not in reader.locator("main").inner_text()


def test_the_front_page_leads_to_every_lesson(site, reader):
    reader.goto((site / "index.html").as_uri())
    for source in sorted((ROOT / "notebooks/source").glob("*.py")):
        assert reader.locator(f"main a[href='{source.stem}.html']").count() == 1
    reader.locator(f"main a[href='{LESSON}.html']").click()
    assert reader.title().startswith("00 · Start here")


def test_pages_fit_into_the_window(site, reader):
    for name in ("index", LESSON):
        reader.goto((site / f"{name}.html").as_uri())
        wide = reader.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
