"""A lecture in a real browser: keys move its figures, and it asks no other host for anything."""

import json
from pathlib import Path

import jinja2
import nbformat
import pytest
from accessibility import grave_findings

from benchmarks.browser import start_lecture
from gradcourse.cli.course import find_course, list_lessons
from gradcourse.lecture import server
from gradcourse.lecture.slides import make_lecture

pytestmark = pytest.mark.browser

LESSONS = list_lessons(find_course())
# Three figures, the last of which trains.
LESSON = "06_normalization"
FIGURES = 3
LIVE = "n => document.querySelectorAll('.figure img.widget-image').length === n"
# What the page shows of the figure of the present slide: the bytes of its picture and its words.
SHOWN = """async () => {
    const slide = document.querySelector(".slide:not([hidden])");
    const image = slide.querySelector("img.widget-image");
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return {
        picture: String(bytes),
        words: slide.querySelector(".widget-html [role=status]").innerText,
        value: slide.querySelector(".chosen .widget-readout")?.innerText,
        chosen: slide.querySelector(".chosen .widget-label")?.innerText,
    };
}"""


@pytest.fixture(scope="module")
def talk(browser, tmp_path_factory):
    """Open the lecture of a lesson once, and give its page when all figures are live."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.asked, page.troubles = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda socket: page.asked.append(socket.url))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    with start_lecture(tmp_path_factory.mktemp("lecture"), LESSON) as lecture:
        page.goto(lecture.address, wait_until="commit")
        page.wait_for_function(LIVE, arg=FIGURES)
        yield page
    context.close()


@pytest.fixture
def page(talk):
    """Give the page of the lecture on its first figure, with every control where it started."""
    talk.keyboard.press("Escape")
    talk.evaluate("document.documentElement.style.removeProperty('--type')")
    talk.evaluate("location.hash = ''; document.documentElement.dataset.scheme = 'light'")
    talk.wait_for_function("document.querySelector('.title').hidden === false")
    talk.keyboard.press("n")
    talk.keyboard.press("r")
    yield talk
    assert not talk.troubles


def shown(page):
    return page.evaluate(SHOWN)


def settled(page, before):
    """Wait until picture and words differ from what they were, and return what is shown."""
    for _ in range(600):
        now = shown(page)
        if now["picture"] != before["picture"] and now["words"] != before["words"]:
            return now
        page.wait_for_timeout(100)
    raise AssertionError(f"the figure still says: {before['words']}")


def test_the_arrow_keys_move_the_chosen_slider_and_the_figure_follows(page):
    before = shown(page)
    page.keyboard.press("End")
    end = settled(page, before)
    assert end["value"] != before["value"]
    page.keyboard.press("ArrowLeft")
    left = settled(page, end)
    assert left["value"] != end["value"]
    page.keyboard.press("ArrowRight")
    again = settled(page, left)
    assert (again["value"], again["words"]) == (end["value"], end["words"])
    page.keyboard.press("r")
    assert settled(page, again)["words"] == before["words"]


def test_up_and_down_choose_a_control_and_move_none(page):
    before = shown(page)
    labels = [before["chosen"]]
    for _ in range(2):
        page.keyboard.press("ArrowDown")
        labels.append(shown(page)["chosen"])
    assert len(set(labels)) > 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    after = shown(page)
    assert after == before
    assert page.locator(".slide:not([hidden]) .chosen").count() == 1


def test_a_list_is_moved_by_the_same_keys(page):
    page.keyboard.press("n")
    for _ in range(8):
        if page.evaluate("document.activeElement.matches('select')"):
            break
        page.keyboard.press("ArrowDown")
    before = shown(page)
    where = page.evaluate("document.activeElement.selectedIndex")
    page.keyboard.press("End" if where == 0 else "Home")
    after = settled(page, before)
    assert page.evaluate("document.activeElement.selectedIndex") != where
    page.keyboard.press("r")
    settled(page, after)


def test_a_number_that_is_typed_keeps_its_keys(page):
    readout = page.locator(".slide:not([hidden]) .widget-readout").first
    place = page.locator(".place").inner_text()
    readout.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("n")
    page.keyboard.press("d")
    assert page.locator(".place").inner_text() == place
    assert page.evaluate("document.documentElement.dataset.scheme") == "light"
    page.keyboard.press("Escape")
    page.locator(".slide:not([hidden]) .noUi-handle").first.focus()


def test_keys_step_from_slide_to_slide_and_from_figure_to_figure(page):
    heading = page.locator(".slide:not([hidden]) h1")
    first = heading.inner_text()
    for _ in range(FIGURES - 1):
        page.keyboard.press("n")
        assert (
            page.locator(".slide:not([hidden])").get_attribute("class").startswith("slide figure")
        )
    last = heading.inner_text()
    assert first != last
    page.keyboard.press("n")
    assert heading.inner_text() == last
    for _ in range(FIGURES - 1):
        page.keyboard.press("p")
    assert heading.inner_text() == first
    number = int(page.locator(".place").inner_text().split(" / ")[0])
    page.keyboard.press("PageDown")
    assert page.locator(".place").inner_text().startswith(f"{number + 1} / ")
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    assert page.locator(".place").inner_text().startswith(f"{number - 1} / ")
    assert page.locator(".slide:not([hidden])").count() == 1
    assert f"Slide {number - 1} of" in page.locator("#announced").inner_text()


def test_a_training_figure_draws_while_it_trains_and_can_be_stopped(page):
    for _ in range(FIGURES - 1):
        page.keyboard.press("n")
    before = shown(page)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("""() => [...document.querySelectorAll(
        ".slide:not([hidden]) .live button")].some(
        one => one.innerText === "Stop" && getComputedStyle(one).visibility === "visible")""")
    settled(page, before)
    page.keyboard.press("s")
    page.wait_for_function("""() => document.querySelector(
        ".slide:not([hidden]) .widget-html [role=status]").innerText.includes("(stopped)")""")
    page.keyboard.press("r")


def test_light_and_dark_type_size_code_and_keys(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = paper()
    page.keyboard.press("d")
    assert paper() != light
    page.keyboard.press("d")
    assert paper() == light
    body = "parseFloat(getComputedStyle(document.querySelector('.predict')).fontSize)"
    size = page.evaluate(body)
    page.keyboard.press("+")
    assert page.evaluate(body) > size
    page.keyboard.press("-")
    assert page.evaluate(body) == size
    dialog = page.locator("dialog")
    assert not dialog.is_visible()
    for key, said in (("c", "live("), ("?", "next and previous slide")):
        page.keyboard.press(key)
        assert said in dialog.inner_text()
        page.keyboard.press("Escape")
        assert not dialog.is_visible()


def test_type_is_large_and_the_picture_is_the_largest_thing(page):
    for _ in range(FIGURES):
        sizes = page.evaluate("""() => {
            const slide = document.querySelector(".slide:not([hidden])");
            const size = selector => [...slide.querySelectorAll(selector)].map(
                one => parseFloat(getComputedStyle(one).fontSize));
            const image = slide.querySelector("img.widget-image");
            const scale = Math.min(image.clientWidth / image.naturalWidth,
                image.clientHeight / image.naturalHeight);
            return {
                body: Math.min(...size("h1, .predict p, .widget-html [role=status]")),
                labels: Math.min(...size(".widget-label, .widget-readout, select, button")),
                picture: scale * scale * image.naturalWidth * image.naturalHeight / (1280 * 720),
            };
        }""")
        assert sizes["body"] >= 22
        assert sizes["labels"] >= 18
        assert sizes["picture"] > 0.3, sizes
        page.keyboard.press("n")


def test_no_other_host_is_asked(page):
    home = page.evaluate("location.host")
    for address in page.asked:
        assert address.startswith(("data:", "blob:")) or address.split("/")[2] == home, address
    assert any(address.startswith("ws:") for address in page.asked)


def test_the_token_and_the_speaker_s_notes_are_not_on_the_page(page):
    assert "token" not in page.url
    content = page.content()
    notes = Path(server.__file__).parent / "notes" / f"{LESSON}.md"
    lines = [line for line in notes.read_text().splitlines() if line.startswith(("Ask:", "Say:"))]
    assert lines
    for line in lines:
        assert line.partition(": ")[2] not in content


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(page, scheme):
    page.evaluate("scheme => { document.documentElement.dataset.scheme = scheme; }", scheme)
    count = page.locator(".slide").count()
    page.evaluate("location.hash = ''")
    for _ in range(count):
        assert not grave_findings(page), page.locator(".place").inner_text()
        page.keyboard.press("PageDown")
    page.keyboard.press("?")
    assert not grave_findings(page)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Return a function that writes a lecture's page as it is before its kernel has started."""
    folder = tmp_path_factory.mktemp("still")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(server.TEMPLATE))

    def write(lesson):
        lecture = make_lecture(nbformat.read(lesson, as_version=4))
        notebook = nbformat.from_dict(json.loads(json.dumps(server._notebook(lecture, None))))
        path = folder / f"{lesson.stem}.html"
        text = environment.get_template("index.html.j2").render(
            nb=notebook,
            resources={"base_url": "/"},
            page_config={"fullStaticUrl": "."},
            main_js="none.js",
            kernel_start=lambda _: "none",
            cell_generator=lambda *_: [],
        )
        path.write_text(text, encoding="utf-8")
        return path.as_uri()

    return write


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_slide_of_every_lesson_fits(browser, still, lesson):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    page.goto(still(lesson))
    count = page.locator(".slide").count()
    for _ in range(count):
        place = page.locator(".place").inner_text()
        over = page.evaluate("""() => {
            const slide = document.querySelector(".slide:not([hidden])");
            const inside = [...slide.querySelectorAll("p, li, table, math, pre, img")];
            return [
                document.documentElement.scrollWidth - innerWidth,
                document.documentElement.scrollHeight - innerHeight,
                slide.scrollWidth - slide.clientWidth,
                slide.scrollHeight - slide.clientHeight,
                Math.max(0, ...inside.map(one => one.getBoundingClientRect().right - innerWidth)),
                Math.max(0, ...inside.map(one => one.scrollWidth - one.clientWidth)),
            ];
        }""")
        assert over == [0] * len(over), place
        page.keyboard.press("PageDown")
    assert place == f"{count} / {count}"
    context.close()


def test_the_browser_s_preference_chooses_light_or_dark(browser, still):
    address = still(LESSONS[0])
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, offline=True)
        page = context.new_page()
        page.goto(address)
        assert page.evaluate("document.documentElement.dataset.scheme") == scheme
        context.close()
