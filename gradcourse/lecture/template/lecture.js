"use strict";
// The widgets' manager calls these while it loads; the slides are there already.
window.display_cells = window.voila_heartbeat = () => {};

(() => {
  const root = document.documentElement;
  const slides = [...document.querySelectorAll(".slide")];
  const dialog = document.querySelector("dialog");
  const chosen = new Map();
  const CONTROLS = ".noUi-handle, select, input[type=checkbox]";
  let at = 0;

  // --- slides ---------------------------------------------------------------------------------
  function show(place) {
    at = Math.min(Math.max(place, 0), slides.length - 1);
    slides.forEach((slide, k) => { slide.hidden = k !== at; });
    const slide = slides[at];
    document.querySelector(".place").textContent = `${at + 1} / ${slides.length}`;
    document.getElementById("announced").textContent =
      `Slide ${at + 1} of ${slides.length}: ${slide.ariaLabel}`;
    for (const [key, kind] of [["c", "code"], ["w", "words"]])
      document.querySelector(`footer [data-key=${key}]`).disabled = !folded(kind);
    // The address keeps the place for a reload, and does not show the token to the room.
    history.replaceState(null, "", `${location.pathname}#${at + 1}`);
    scrollable();
    if (controls().length) choose(chosen.get(slide) ?? 0);
    else slide.focus();
  }

  function figure(step) {
    let place = at + step;
    while (slides[place] && !slides[place].matches(".figure")) place += step;
    if (slides[place]) show(place);
  }

  // A slide that is too high for the window scrolls, and must then be reached by keyboard.
  function scrollable() {
    slides[at].tabIndex = slides[at].scrollHeight > slides[at].clientHeight + 1 ? 0 : -1;
  }

  // --- controls -------------------------------------------------------------------------------
  function controls() {
    return [...slides[at].querySelectorAll(CONTROLS)].filter(one => one.offsetParent);
  }

  function mark(control) {
    for (const one of slides[at].querySelectorAll(".chosen")) one.classList.remove("chosen");
    control.closest(".widget-inline-hbox, .jupyter-widgets").classList.add("chosen");
    chosen.set(slides[at], controls().indexOf(control));
  }

  function choose(place) {
    const all = controls();
    if (all.length) all[Math.min(Math.max(place, 0), all.length - 1)].focus({ focusVisible: true });
  }

  function move(control, key) {
    const up = key === "ArrowRight" || key === "End";
    const ends = key === "Home" || key === "End";
    if (control.matches("select")) {
      const last = control.options.length - 1;
      const to = ends ? (up ? last : 0) : control.selectedIndex + (up ? 1 : -1);
      if (to < 0 || to > last || to === control.selectedIndex) return;
      control.selectedIndex = to;
      control.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (control.type === "checkbox") {
      if (control.checked !== up) control.click();
    } else {
      control.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    }
  }

  // What the widgets leave without a name gets the name that stands beside it.
  function name(figure) {
    for (const row of figure.querySelectorAll(".widget-inline-hbox")) {
      const label = row.querySelector(".widget-label")?.textContent;
      if (!label) continue;
      const handle = row.querySelector(".noUi-handle");
      const readout = row.querySelector(".widget-readout");
      if (handle) handle.ariaLabel = label;
      if (handle && readout) {
        const say = () => { handle.ariaValueText = readout.textContent; };
        new MutationObserver(say).observe(readout, { childList: true, characterData: true, subtree: true });
        say();
        readout.role = "textbox";
        readout.ariaLabel = `${label}, value`;
      }
      row.querySelector("select, input")?.setAttribute("aria-label", label);
    }
    for (const [selector, label] of [[".widget-play .fa-play", "Play"], [".widget-play .fa-pause", "Pause"], [".widget-play .fa-stop", "Stop playing"], [".widget-play .fa-retweet, .widget-play .fa-repeat", "Repeat"]])
      for (const sign of figure.querySelectorAll(selector)) sign.closest("button").ariaLabel ??= label;
    figure.querySelectorAll("[role=progressbar], .widget-hprogress .progress").forEach(bar => { bar.ariaLabel = "progress"; });
    const image = figure.querySelector("img.widget-image");
    const words = figure.querySelector(".widget-html [role=status]")?.textContent;
    if (image && words && image.alt !== words) image.alt = words;
  }

  // --- what is folded -------------------------------------------------------------------------
  function folded(kind) { return slides[at].querySelector(`template.${kind}`); }

  function unfold(title, template) {
    if (dialog.open) { dialog.close(); return; }
    if (!template) return;
    document.getElementById("folded-name").textContent = title;
    const inside = dialog.querySelector(".folded");
    inside.replaceChildren(template.content.cloneNode(true));
    inside.ariaLabel = title;
    inside.role = "region";
    dialog.showModal();
    inside.focus();
  }

  // --- keys -----------------------------------------------------------------------------------
  function size(step) {
    const now = Number(getComputedStyle(root).getPropertyValue("--type"));
    root.style.setProperty("--type", Math.min(Math.max(now + step, 0.7), 2).toFixed(1));
    scrollable();
  }

  const ACTIONS = {
    PageDown: () => show(at + 1),
    PageUp: () => show(at - 1),
    n: () => figure(1),
    p: () => figure(-1),
    c: () => unfold("Code", folded("code")),
    w: () => unfold("The lesson's words", folded("words")),
    d: () => { root.dataset.scheme = root.dataset.scheme === "dark" ? "light" : "dark"; },
    "+": () => size(0.1),
    "=": () => size(0.1),
    "-": () => size(-0.1),
    "?": () => unfold("Keys", document.getElementById("keys")),
    r: () => press("Reset"),
    s: () => press("Stop", "Pause", "Play"),
    ArrowDown: () => choose((chosen.get(slides[at]) ?? -1) + 1),
    ArrowUp: () => choose((chosen.get(slides[at]) ?? 1) - 1),
  };

  function press(...names) {
    const buttons = [...slides[at].querySelectorAll(".live button")]
      .filter(one => one.offsetParent && getComputedStyle(one).visibility === "visible");
    for (const wanted of names)
      for (const button of buttons)
        if ((button.ariaLabel || button.textContent.trim()) === wanted) { button.click(); return; }
  }

  addEventListener("keydown", event => {
    if (!event.isTrusted || event.ctrlKey || event.altKey || event.metaKey) return;
    const { key, target } = event;
    // A number that is being typed keeps its keys.
    if (target.isContentEditable || target.matches("input:not([type=checkbox]), textarea")) return;
    if (dialog.open && !["c", "w", "?", "d", "+", "=", "-"].includes(key)) return;
    let action = ACTIONS[key];
    if (!action && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key)) {
      const all = controls();
      const control = all.includes(target) ? target : all[chosen.get(slides[at]) ?? 0];
      if (control) action = () => { control.focus(); move(control, key); };
    } else if (action && key.startsWith("Arrow") && !controls().length) action = null;
    if (!action) return;
    // Before the controls see it: a slider would take Page Down and the arrows for itself.
    event.preventDefault();
    event.stopImmediatePropagation();
    action();
  }, true);

  for (const button of document.querySelectorAll("footer button"))
    button.addEventListener("click", () => ACTIONS[button.dataset.key]());
  document.addEventListener("focusin", event => {
    if (event.target.matches(`.live :is(${CONTROLS})`)) mark(event.target);
  });
  addEventListener("resize", scrollable);
  addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1));

  function count() {
    const [all, alive] = [".figure", ".figure:has(img.widget-image)"].map(one => document.querySelectorAll(one).length);
    document.querySelector(".alive").textContent = alive < all ? `${alive} of ${all} figures are live` : "";
  }

  // A figure comes to life some time after its slide is shown.
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      count();
      for (const figure of document.querySelectorAll(".figure:has(img.widget-image)")) {
        name(figure);
        if (figure.dataset.alive) continue;
        figure.dataset.alive = "yes";
        if (figure === slides[at]) {
                if (!document.activeElement?.closest("footer, dialog")) choose(chosen.get(figure) ?? 0);
        }
      }
    });
  }).observe(document.querySelector("main"), { childList: true, subtree: true });

  const dark = matchMedia("(prefers-color-scheme: dark)");
  root.dataset.scheme ??= dark.matches ? "dark" : "light";
  count();
  show(Number(location.hash.slice(1)) - 1);
})();
