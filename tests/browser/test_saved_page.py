"""A page of its own, opened from a file with the network off."""

import pytest

from gradcourse.live import live, log

pytestmark = pytest.mark.browser


class Result:
    def __init__(self, depth, rate, kind):
        self.depth, self.rate, self.kind = depth, rate, kind

    def summary(self):
        return f"{self.kind} {self.depth} at {self.rate:.3g}"


def measure(depth=20, rate=1.0, kind="a"):
    return Result(depth, rate, kind)


def draw(result, axes):
    axes.set(title=f"depth {result.depth}", xlim=(0, 100))
    axes.line("line", [0, result.depth], [0, result.rate], label="measured")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "demo.html"
    figure = live(measure, draw, depth=(1, 100), rate=log(0.1, 10), kind=["a", "b"])
    figure.save(path, depth=[1, 10, 20, 50], kind=["a", "b"])
    return path


@pytest.fixture(params=[(1280, 720, "light"), (390, 844, "dark")], ids=["projector", "phone"])
def opened(browser, saved, request):
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.on(
        "request", lambda one: one.url.startswith(("file:", "data:")) or troubles.append(one.url)
    )
    page.goto(saved.as_uri())
    yield page
    assert not troubles
    context.close()


def test_keys_move_the_slider_and_the_picture_and_its_words_follow(opened):
    slider, choice = opened.get_by_label("depth"), opened.get_by_label("kind")
    image, said = opened.locator("img"), opened.get_by_role("status")
    assert said.inner_text() == "a 20 at 1"
    before = image.get_attribute("src")
    opened.keyboard.press("Tab")
    assert slider.evaluate("e => e === document.activeElement")
    opened.keyboard.press("ArrowRight")
    assert said.inner_text() == image.get_attribute("alt") == "a 50 at 1"
    assert slider.get_attribute("aria-valuetext") == "50"
    assert image.get_attribute("src") != before
    opened.keyboard.press("Home")
    assert said.inner_text() == "a 1 at 1"
    choice.select_option("b")
    assert said.inner_text() == "b 1 at 1"
    assert image.evaluate("e => e.complete && e.naturalWidth") == 1350


def test_a_page_in_a_frame_that_may_only_run_scripts_works(browser, saved, tmp_path):
    # As a learning platform shows an uploaded file.
    holder = tmp_path / "course.html"
    holder.write_text(
        f'<iframe sandbox="allow-scripts" src="{saved.as_uri()}" width="600" height="500"></iframe>'
        "<script>addEventListener('message', one => "
        "document.title = one.data.gradcourseHeight)</script>"
    )
    page = browser.new_context(offline=True).new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(holder.as_uri())
    figure = page.frame_locator("iframe")
    figure.get_by_label("depth").focus()
    page.keyboard.press("End")
    assert figure.get_by_role("status").inner_text() == "a 50 at 1"
    page.wait_for_function("Number(document.title) > 250")
    assert not troubles
    page.context.close()


def test_a_finger_drags_the_slider(browser, saved):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, offline=True
    )
    page = context.new_page()
    page.goto(saved.as_uri())
    slider = page.get_by_label("depth")
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    finger = context.new_cdp_session(page)

    def touch(kind, *points):
        places = [{"x": x, "y": middle} for x in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    thumb = box["x"] + box["width"] * 2 / 3
    touch("touchStart", thumb)
    for share in (0.5, 0.3, 0.02):
        touch("touchMove", box["x"] + box["width"] * share)
    touch("touchEnd")
    assert page.get_by_role("status").inner_text() == "a 1 at 1"
    context.close()


def test_it_fits_into_the_window(opened):
    wide = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    ratio = opened.locator("img").evaluate("e => e.clientWidth / e.clientHeight")
    assert ratio == pytest.approx(900 / 420, rel=0.01)
