// Runs in the page: notes when keys are pressed and in which frames the picture has changed.
window.sliderBench = (() => {
  "use strict";

  const hash = (numbers) => {
    let code = 0x811c9dc5;
    for (const number of numbers) code = Math.imul(code ^ number, 0x01000193);
    return code;
  };
  const pixels = (canvas, height) =>
    new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, height).data.buffer);
  const drawn = (image) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas;
  };
  const loaded = (image) => image.complete && image.naturalWidth > 0;

  // What changes whenever the picture does, and costs next to nothing to read in every frame; null
  // while a new picture is not there yet. The title stands in the top tenth of a canvas.
  const SIGNATURES = {
    img: (image) => (loaded(image) ? image.getAttribute("src") : null),
    canvas: (canvas) => hash(pixels(canvas, Math.ceil(canvas.height / 10))),
    plotly: (plot) =>
      plot.querySelector(".scatterlayer .js-line")?.getAttribute("d") +
      plot.querySelector(".gtitle")?.textContent,
  };
  // All that is seen, to compare two pictures.
  const ALL = {
    img: (image) => hash(pixels(drawn(image), image.naturalHeight)),
    canvas: (canvas) => hash(pixels(canvas, canvas.height)),
    plotly: (plot) =>
      [...plot.querySelectorAll(".main-svg path, .main-svg text")]
        .map((part) => ["d", "x", "y", "transform"].map((name) => part.getAttribute(name)) +
          part.textContent)
        .join("|"),
  };

  let kind, selector, full, last, height, pending, record, next;
  let running = false;
  const shown = new WeakSet();
  const picture = () => document.querySelector(selector);

  // An image element that has shown a picture shows it until the next one is loaded or has failed.
  const empty = (element, box) => {
    if (!element || box.height < full - 1) return true;
    if (kind !== "img") return false;
    if (loaded(element)) shown.add(element);
    return element.complete ? !loaded(element) : !shown.has(element);
  };

  const look = () => {
    if (!running) return;
    const element = picture();
    const box = element?.getBoundingClientRect();
    record.frames += 1;
    if (empty(element, box)) record.empty += 1;
    const now = box?.height ?? 0;
    if (Math.abs(now - height) >= 1) record.heights += 1;
    height = now;
    const signature = element ? SIGNATURES[kind](element) : null;
    if (signature !== null && signature !== last) {
      last = signature;
      pending = true;
    }
  };

  // A size that changes in every frame lets its observer look after all that the page's own
  // callbacks did to this frame, and before it is painted.
  const probe = document.createElement("div");
  probe.style.cssText = "position:fixed;left:-9px;top:0;width:1px;height:1px;contain:strict";
  new ResizeObserver(look).observe(probe);
  let wide = false;

  const frame = () => {
    // The frame before this one held the new picture, and has been painted by now.
    if (pending) record.changes.push(performance.now());
    pending = false;
    wide = !wide;
    probe.style.width = wide ? "2px" : "1px";
    next = requestAnimationFrame(frame);
  };

  window.addEventListener(
    "keydown",
    (event) => {
      if (!running) return;
      // When the key was pressed, even if the page was too busy to be told at once.
      record.keys.push(event.timeStamp);
    },
    { capture: true },
  );

  return {
    watch(itsKind, itsSelector) {
      [kind, selector] = [itsKind, itsSelector];
      document.body.append(probe);
      const element = picture();
      return element !== null && (kind !== "img" || loaded(element));
    },
    start() {
      record = { keys: [], changes: [], frames: 0, empty: 0, heights: 0 };
      const element = picture();
      last = SIGNATURES[kind](element);
      full = height = element.getBoundingClientRect().height;
      if (kind === "img" && loaded(element)) shown.add(element);
      pending = false;
      running = true;
      next = requestAnimationFrame(frame);
    },
    // Resolves when there is a new picture and none came for a while; stops.
    async settled(quiet, most) {
      const began = performance.now();
      for (;;) {
        await new Promise((done) => setTimeout(done, 20));
        const now = performance.now();
        const latest = Math.max(record.changes.at(-1) ?? Infinity, record.keys.at(-1) ?? Infinity);
        if (now - latest > quiet) break;
        if (now - began > most) break;
      }
      running = false;
      cancelAnimationFrame(next);
      return { ...record, origin: performance.timeOrigin };
    },
    all: () => String(ALL[kind](picture())),
  };
})();
