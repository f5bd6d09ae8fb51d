/* Follows one surface over Server-Sent Events and paints it.
 *
 *   events ─▶ surface ─┐                       ┌─▶ the figure (Plotly.react, at most every 250 ms)
 *   controls ─▶ view  ─┼─▶ paint ──────────────┤
 *   hand ─▶ camera    ─┘                       └─▶ the page's stores `live` and `point` (set_props)
 *
 * Every event is whole in itself, so any may be missed: a stream can be closed while the tab is hidden and opened again.
 * The camera belongs to the hand: each paint passes on the camera that the scene has at this moment.
 */
(() => {
  "use strict";

  const PAINT_EVERY_MS = 250, RETRY_MS = [1000, 2000, 4000, 8000, 15000];
  const { CONFIG, home, figure } = window.lossAtlas.scene, { about, available, cell, decode, facts } = window.lossAtlas.values;
  let page = null;

  /** The element that Plotly draws into. It is ours alone: `dcc.Graph` would draw its own figure again after each drag. */
  const graph = () => document.querySelector(".surface-plot");

  let plotly = null;

  /** Loads Plotly, once; the form asks for it ahead, so that a first surface need not wait. */
  function load() {
    plotly = plotly || new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = "/_dash-component-suites/plotly/package_data/plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = () => { plotly = null; failed(new Error("Plotly could not be loaded")); };
      document.head.append(script);
    });
    return plotly;
  }

  const dark = () => document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
  const narrow = () => window.innerWidth < 768;
  const tell = (id, data) => window.dash_clientside.set_props(id, { data });

  /** The camera as it is now, also in the middle of a drag. */
  function camera() {
    const scene = page?.painted && graph()?._fullLayout?.scene?._scene;
    return scene?.glplot ? scene.getCamera() : page?.camera;
  }

  /* -- what is remembered of a surface, in this tab -- */

  const key = (address) => `lossatlas-view-${address.surface}`;

  function remembered(address) {
    if (address.token) return address.view || {};
    try { return JSON.parse(sessionStorage.getItem(key(address))) || {}; } catch { return {}; }
  }

  function remember() {
    if (!page || page.address.token) return;
    try { sessionStorage.setItem(key(page.address), JSON.stringify({ ...page.view, camera: page.camera })); } catch { /* storage is off */ }
  }

  /* -- painting -- */

  function setting() {
    const { scales, titles, told } = page.address;
    return { dark: dark(), narrow: narrow(), scales, titles, told, camera: page.camera, pin: page.pin };
  }

  function paint() {
    if (!page) return;
    clearTimeout(page.timer);
    page.timer = null;
    const gd = graph();
    if (!page.surface || !page.view) return;
    if (!gd || !window.Plotly) {
      load().catch(() => null);
      page.timer = setTimeout(paint, 60);
      return;
    }
    page.camera = camera() || page.camera;
    const { data, layout } = figure(page.surface, page.view, setting());
    page.painted = performance.now();
    page.plot = gd;
    window.Plotly.react(gd, data, layout, CONFIG).then(() => gd.parentElement.classList.add("painted"));
    listen(gd);
    showPoint();
  }

  function paintSoon() {
    if (!page || page.timer) return;
    page.timer = setTimeout(paint, Math.max(0, PAINT_EVERY_MS - (performance.now() - (page.painted || -1e9))));
  }

  /* -- the chosen cell -- */

  function showPoint() {
    const { surface, hover, pin, address } = page;
    const place = hover || pin || (facts(surface).centre && { x: 0, y: 0 });
    tell(address.ids.point, place ? { ...cell(surface, place.x, place.y ?? 0, address.told), kind: hover ? "hover" : pin ? "pin" : "centre" } : null);
  }

  function listen(gd) {
    if (page.heard === gd) return;
    page.heard = gd;
    const first = (event) => event.points.find((p) => p.curveNumber === 0 || p.data.name === "unknown");
    let frame = null;
    const hovered = (place) => {
      if (!page?.surface) return;
      page.hover = place;
      frame = frame || requestAnimationFrame(() => { frame = null; if (page?.surface) showPoint(); });
    };
    gd.on("plotly_hover", (event) => { const p = first(event); if (p) hovered(page.surface.y ? { x: p.x, y: p.y } : { x: p.x }); });
    gd.on("plotly_unhover", () => hovered(null));
    // A 3-D scene says "click" as soon as a button goes down, also where a drag begins, and says so while it draws.
    gd.on("plotly_click", (event) => {
      const p = first(event);
      if (!p) return;
      if (press.down) press.place = { x: p.x, y: p.y }; else setTimeout(choose, 0, { x: p.x, y: p.y });
    });
    gd.on("plotly_relayout", () => {
      if (!page) return;
      page.camera = camera();
      if (gd.layout.scene) gd.layout.scene.camera = page.camera;
      remember();
    });
  }

  const press = { down: false, moved: false, place: null, at: [0, 0] };
  document.addEventListener("pointerdown", (event) => Object.assign(press, { down: true, moved: false, place: null, at: [event.clientX, event.clientY] }), true);
  document.addEventListener("pointermove", (event) => {
    press.moved = press.moved || Math.hypot(event.clientX - press.at[0], event.clientY - press.at[1]) > 4;
  }, true);
  document.addEventListener("pointerup", () => setTimeout(() => {
    press.down = false;
    if (press.place && !press.moved) choose(press.place);
    press.place = null;
  }, 0), true);

  function choose(place) {
    if (!page?.surface) return;
    const { surface } = page;
    const c = cell(surface, place.x, surface.y ? place.y : 0);
    page.pin = { x: c.x, y: c.y };
    paint();
  }

  /** Arrow keys walk from cell to cell; Escape lets go. */
  function walk(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!page?.surface || !event.target.classList?.contains("surface-graph") || (!step && event.key !== "Escape")) return;
    event.preventDefault();
    page.hover = null;
    if (!step) { page.pin = null; paint(); return; }
    const { surface } = page, here = cell(surface, page.pin?.x ?? 0, page.pin?.y ?? 0);
    const clamp = (i, n) => Math.min(n - 1, Math.max(0, i));
    const i = page.pin ? clamp(here.i + step[0], surface.columns) : here.i, j = page.pin ? clamp(here.j + step[1], surface.rows) : here.j;
    choose({ x: surface.x[i], y: surface.y ? surface.y[j] : 0 });
  }

  /* -- the stream -- */

  function report(change) {
    page.live = { ...page.live, ...change };
    tell(page.address.ids.live, page.live);
  }

  function open() {
    if (!page || page.source || page.ended || document.hidden) return;
    const mine = page, source = new EventSource(page.address.events);
    page.source = source;
    const on = (name, act) => source.addEventListener(name, (e) => { if (page === mine) act(JSON.parse(e.data)); });
    source.onopen = () => { if (page === mine) { mine.failures = 0; report({ connection: "open" }); } };
    source.onerror = () => { if (page === mine) lost(source); };
    on("surface", (event) => {
      page.surface = decode(event);
      page.stages = [...(page.stages || []), event.stage];
      const colours = available(page.surface, page.address.told).map((name) => about(name, page.address.told));
      report({ progress: event.progress, state: event.state, facts: facts(page.surface), colours, flatness: event.flatness, examples: event.examples, stage: event.stage, stages: event.stages });
      paintSoon();
    });
    on("progress", (event) => report({ progress: event.progress, state: event.state }));
    on("end", (event) => { page.ended = true; close(); report({ state: event.state, problem: event.problem, connection: "ended" }); paintSoon(); measured(mine); });
  }

  /** The own losses of a run's checkpoints are measured after the end. */
  function measured(mine) {
    window.lossAtlas.way.awaitLosses(mine.address, mine.surface, (trajectory) => {
      if (page !== mine) return;
      page.surface = { ...page.surface, trajectory };
      report({ run: true });
      paintSoon();
    });
  }

  /** The browser reconnects by itself, unless the server refused; then we try again, ever more slowly. */
  function lost(source) {
    report({ connection: "lost" });
    if (source.readyState !== EventSource.CLOSED) return;
    close();
    const wait = RETRY_MS[Math.min(page.failures || 0, RETRY_MS.length - 1)];
    page.failures = (page.failures || 0) + 1;
    page.reopen = setTimeout(open, wait);
  }

  function close() {
    if (!page) return;
    clearTimeout(page.reopen);
    page.source?.close();
    page.source = null;
  }

  /** Starts to follow a surface. Called again for the same surface (after a retry), it only opens the stream anew. */
  function follow(address) {
    if (page && page.address.events === address.events && (!page.plot || page.plot === graph())) {
      close();
      page.ended = false;
    } else {
      leave();
      page = { address, view: null, camera: remembered(address).camera || home(narrow()), live: { state: address.state, progress: address.progress, sent: address.sent } };
    }
    load().catch(() => null);
    open();
  }

  function leave() {
    if (!page) return;
    close();
    clearTimeout(page.timer);
    if (page.plot) window.Plotly.purge(page.plot);
    page = null;
  }

  /** Looks at the surface in another way. */
  function look(view) {
    if (!page) return;
    page.view = view;
    remember();
    paint();
  }

  function resetCamera() {
    if (!page) return;
    const first = (page.address.token && page.address.view?.camera) || home(narrow()), gd = graph();
    page.camera = first;
    remember();
    if (!gd?._fullLayout) return;
    if (gd._fullLayout.scene) window.Plotly.relayout(gd, { "scene.camera": first });
    else window.Plotly.relayout(gd, { "xaxis.autorange": true, "yaxis.autorange": true }).then(paint);
  }

  /** The View as it is now, camera included. */
  function view() {
    if (page) page.camera = camera() || page.camera;
    return page ? { ...page.view, camera: page.camera } : null;
  }

  /** Saves what is seen now, on the ground of the page: on a transparent one, dark mode's light words would be lost. */
  function picture(name) {
    const gd = graph();
    if (!gd?._fullLayout || !page) return;
    page.camera = camera() || page.camera;
    const { data, layout } = figure(page.surface, page.view, setting());
    layout.paper_bgcolor = getComputedStyle(document.body).backgroundColor;
    window.Plotly.downloadImage({ data, layout, config: CONFIG }, { format: "png", width: 1600, height: 1000, scale: 1.5, filename: name });
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { remember(); close(); } else open();
  });
  window.addEventListener("pagehide", () => { if (page) { page.camera = camera() || page.camera; remember(); close(); } });
  window.addEventListener("pageshow", () => open());
  window.addEventListener("resize", () => paintSoon());
  document.addEventListener("keydown", walk);
  new MutationObserver(() => paint()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });

  window.lossAtlas.stream = { load, follow, leave, look, remembered, resetCamera, view, picture, current: () => page };
})();
