"""The course as pages: built, read in a browser with the network off, and by axe-core."""

import functools
import http.server
import importlib
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from accessibility import grave_findings
from bs4 import BeautifulSoup

from tools.api_pages import public_modules

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
LESSON = "00_start_here"
LESSONS = sorted(source.stem for source in (ROOT / "notebooks/source").glob("*.py"))


def build(folder, *parts):
    command = [sys.executable, "-m", "tools.build_site", *parts, "-o", folder, "--pictures", "9"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, LESSON, "api")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Serve the site: a browser takes each file for a host of its own."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["projector", "phone"])
def reader(browser, request):
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 720}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console", lambda one: one.type in ("log", "info") or troubles.append(f"says: {one.text}")
    )
    page.on(
        "request", lambda one: one.url.startswith(("file:", "data:")) or troubles.append(one.url)
    )
    yield page
    assert not troubles
    context.close()


def test_a_figure_answers_its_slider_without_a_kernel(site, reader):
    reader.goto((site / f"{LESSON}.html").as_uri())
    assert reader.locator("iframe").count() == 1
    reader.locator("iframe").scroll_into_view_if_needed()
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
        "needed => document.querySelector('iframe').clientHeight < needed + 10", arg=needed
    )
    assert frame.evaluate("e => e.clientHeight") >= needed


def test_formulas_are_mathml_and_claims_stand_below_their_cells(site, reader):
    reader.goto((site / f"{LESSON}.html").as_uri())
    formula = reader.locator("math[display=block]").first.bounding_box()
    assert formula["height"] > 20
    assert "$$" not in reader.locator("main").inner_text()
    assert reader.get_by_text("✓").count() > 1
    assert "pip" not in reader.locator("main").inner_text()


def test_the_front_page_leads_to_every_lesson_and_to_the_library(site, reader):
    reader.goto((site / "index.html").as_uri())
    for lesson in LESSONS:
        assert reader.locator(f"main a[href='{lesson}.html']").count() >= 1
        assert reader.locator(f"nav a[href='{lesson}.html']").count() == 2
    reader.locator(f"main a[href='{LESSON}.html']").first.click()
    assert reader.title().startswith("00 · Start here")
    reader.locator("nav a", has_text="library").first.click()
    reader.locator("main a", has_text="gradcourse.clipping").click()
    reader.locator("nav a", has_text="00").click()
    assert reader.url.endswith(f"/{LESSON}.html")


@pytest.mark.parametrize(
    "name", ["index", LESSON, "api/index", "api/gradcourse/clipping", "api/gradcourse/theory"]
)
def test_pages_fit_into_the_window(site, reader, name):
    reader.goto((site / f"{name}.html").as_uri())
    wide = reader.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]


def test_a_search_finds_a_function_of_the_library(site, reader):
    reader.goto((site / "api/index.html").as_uri())
    box = reader.get_by_label("Search all names")
    box.press_sequentially("percentile")
    reader.locator(".search-result a", has_text="PercentileClip").first.click()
    assert "clipping.html#PercentileClip" in reader.url


def test_a_page_of_the_library_shows_types_as_written_and_formulas_drawn(site, reader):
    reader.goto((site / "api/gradcourse/theory.html").as_uri())
    shown = reader.locator("#value_clip_cosine")
    assert "value_clip_cosine(clip_value: ArrayLike) -> Array" in shown.inner_text()
    assert shown.locator("math mfrac").count() >= 1
    assert "numpy._typing" not in reader.locator("main").inner_text()
    reader.goto((site / "api/gradcourse/clipping.html").as_uri())
    reader.locator("#clip_grad_agc_ a", has_text="Parameters").first.click()
    assert reader.url.endswith("#Parameters")


def test_the_library_s_pages_have_every_public_name_and_no_other(site):
    names = public_modules()
    assert {"gradcourse.clipping", "gradcourse.claims", "gradcourse.live"} < set(names)
    for module in names:
        page = BeautifulSoup(
            (site / f"api/{module.replace('.', '/')}.html").read_text("utf-8"), "html.parser"
        )
        listed = {link["href"] for link in page.select("nav .names a")}
        public = importlib.import_module(module).__all__
        assert listed == {f"#{name}" for name in public}
        assert {one["id"] for one in page.select("main > section[id]")} == set(public)


def test_no_file_asks_another_host_for_anything_and_every_link_inside_leads_somewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 12
    lacking = {f"{lesson}.html" for lesson in LESSONS} - {f"{LESSON}.html"}
    for page in pages:
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        for one in soup.select("[src], link[href]"):
            address = one.get("src") or one.get("href")
            assert not re.match(r"\w+:(?!image/|,)|//", address), (page.name, address)
        assert "default-src 'none'" in soup.select_one("meta[http-equiv]")["content"]
        for link in soup.select("a[href], iframe[src], img[src], script[src]"):
            target = (link.get("href") or link.get("src")).partition("#")[0]
            if target and not re.match(r"https?:|data:", target):
                path = (page.parent / target).resolve()
                assert path.is_relative_to(site)
                assert path.exists() or path.name in lacking, (page.name, target)
    assert (site / ".nojekyll").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", LESSON, "api/index", "api/gradcourse/clipping"])
def test_axe_core_finds_nothing_serious(address, browser, scheme, name):
    context = browser.new_context(
        viewport={"width": 1280, "height": 720}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{address}/{name}.html")
    for frame in page.locator("iframe").all():
        frame.scroll_into_view_if_needed()
        frame.content_frame.locator("select, input").first.wait_for()
    assert grave_findings(page) == []
    context.close()


def test_axe_core_sees_into_a_figure_s_frame(address, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto(f"{address}/{LESSON}.html")
    page.locator("iframe").scroll_into_view_if_needed()
    figure = page.frame_locator("iframe")
    figure.locator("label").first.wait_for()
    figure.locator("html").evaluate("e => e.querySelectorAll('label').forEach(one => one.remove())")
    assert any(finding.startswith("label (critical)") for finding in grave_findings(page))
    context.close()


def test_an_unknown_part_is_answered_in_one_sentence(tmp_path):
    done = build(tmp_path, "99_nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("there is no part '99_nothing'; there are 00_start_here, ")
    assert not list(tmp_path.iterdir())
