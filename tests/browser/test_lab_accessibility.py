"""A live figure in JupyterLab, for a reader without a mouse, with a screen reader, at the back."""

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from notebook_pages import figure_of, run_all, wait_for_words
from notebook_pages import write as write_notebook

pytestmark = pytest.mark.browser

FIGURE = """
from types import SimpleNamespace
from gradcourse.live import live, log

def measure(depth=30, rate=1.0, kind="a", clip=True):
    said = f"one: depth {depth}, rate {rate:.3g}, {kind}, clip {clip}"
    return SimpleNamespace(depth=depth, summary=lambda: said)

def draw(result, axes):
    axes.set(xlim=(0, 1), ylim=(0, 100), title="one", xlabel="x", ylabel="y")
    axes.line("line", [0, 1], [0, result.depth], label="depth")

one = live(measure, draw, depth=(1, 100), rate=log(0.1, 10), kind=["a", "b"], clip=True)
one
"""

# What ipywidgets leaves out, and lets nobody add: a slider's handle has no name of its own, only
# words beside it, and a picture no alternative text. The live region below says what is in it.
NOT_OURS = {"aria-input-field-name", "image-alt"}


@pytest.fixture(params=["JupyterLab Light", "JupyterLab Dark"])
def figure(lab, open_lesson, request):
    plugin = lab.settings / "@jupyterlab" / "apputils-extension"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "themes.jupyterlab-settings").write_text(json.dumps({"theme": request.param}))
    write_notebook(lab, "access.ipynb", FIGURE)
    page = open_lesson("access.ipynb")
    run_all(page)
    wait_for_words(page, "one: depth 30")
    yield figure_of(page, "one")
    lab.end_kernels()


def test_axe_finds_nothing_but_what_ipywidgets_leaves_out(figure):
    found = Axe().run(figure.page, context=".gradcourse-live").response["violations"]
    grave = {one["id"] for one in found if one["impact"] in ("serious", "critical")}
    assert grave <= NOT_OURS


def focused(page):
    """Return what has the keyboard: its tag, its role, and the name that stands beside it."""
    return page.evaluate(
        """() => {
            const e = document.activeElement;
            const control = e.closest('.jupyter-widgets:not(.widget-box)');
            const beside = control?.innerText.replaceAll('\\u200b', '').trim();
            return [e.tagName, e.getAttribute('role'), beside?.split(/\\s/)[0]];
        }"""
    )


def test_tab_goes_through_the_controls_in_their_order_and_keys_move_a_slider(figure):
    page = figure.page
    figure.locator("[role=slider]").first.focus()
    order = []
    for _ in range(6):
        order.append(focused(page))
        page.keyboard.press("Tab")
    # After each slider comes its number, which can be typed over.
    assert order == [
        ["DIV", "slider", "depth"],
        ["DIV", None, "depth"],
        ["DIV", "slider", "rate"],
        ["DIV", None, "rate"],
        ["SELECT", None, "kind"],
        ["INPUT", None, "clip"],
    ]
    assert focused(page) == ["BUTTON", None, "Reset"]

    depth = figure.locator("[role=slider]").first
    depth.focus()
    page.keyboard.press("ArrowRight")
    wait_for_words(page, "one: depth 31,")
    assert depth.get_attribute("aria-valuetext") == "31"
    assert figure.locator(".widget-readout").first.inner_text() == "31"
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("47")
    page.keyboard.press("Enter")
    wait_for_words(page, "one: depth 47,")


def test_a_list_a_tick_and_reset_work_by_keyboard(figure):
    page = figure.page
    figure.locator("select").focus()
    # ArrowDown alone is JupyterLab's: it leads to the next cell.
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for_words(page, "b, clip True")
    page.keyboard.press("Home")
    wait_for_words(page, "a, clip True")
    page.keyboard.press("End")
    wait_for_words(page, "b, clip True")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_words(page, "b, clip False")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_words(page, "one: depth 30, rate 1, a, clip True")
    assert page.locator(".jp-Cell").count() == 1


RING = """element => {
    const style = getComputedStyle(element);
    const colour = c => c.match(/[\\d.]+/g).slice(0, 3)
        .map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => .2126 * r + .7152 * g + .0722 * b;
    const seen = e => getComputedStyle(e).backgroundColor;
    let back = element.closest('.gradcourse-live');
    while (back && /rgba\\(.*, 0\\)|transparent/.test(seen(back))) back = back.parentElement;
    const [a, b] = [style.outlineColor, seen(back)].map(colour).map(light);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    return [style.outlineStyle, parseFloat(style.outlineWidth), ratio];
}"""


def test_one_sees_which_slider_has_the_keyboard(figure):
    handle = figure.locator("[role=slider]").first
    assert handle.evaluate(RING)[0] == "none"
    figure.locator(".widget-readout").first.focus()
    figure.page.keyboard.press("Shift+Tab")
    style, width, contrast = handle.evaluate(RING)
    assert style == "solid"
    assert width >= 2
    # WCAG 2.2, 1.4.11: what tells the state of a control has a contrast of 3.
    assert contrast >= 3


def test_the_words_are_read_out_when_they_change_and_nothing_is_smaller_than_on_the_page(figure):
    assert figure.get_by_role("status").count() == 1
    sizes = figure.evaluate(
        """figure => [...figure.querySelectorAll('*')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
            .filter(e => e.tagName !== 'STYLE')
            .map(e => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) >= 6
    assert min(sizes) >= 13
