/* The surfaces of a page: one, or two side by side, or two curves in one picture.
 *
 *   events ─▶ surfaces ─┐                       ┌─▶ the pictures (Plotly.react, one at a time)
 *   controls ─▶ view   ─┼─▶ paint ──────────────┤
 *   hand ─▶ camera     ─┘                       └─▶ the page's stores `live` and `point` (set_props)
 *
 * `events.js` follows one surface, `picture.js` draws one picture; here is what they have in common: the View, the chosen
 * cell, the range of heights, and, where they are linked, the camera.
 */
(() => {
  "use strict";

  const { home, common, commonColours } = window.lossAtlas.scene, { cell, facts } = window.lossAtlas.values;
  const { load, narrow, picture } = window.lossAtlas.picture, { afterPictures } = window.lossAtlas.events;
  const tell = (id, data) => window.dash_clientside.set_props(id, { data });
  let page = null;

  /* -- what is remembered of a view, in this tab -- */

  const key = (address) => `lossatlas-view-${address.surface}`;

  function remembered(address) {
    if (address.token) return address.view || {};
    try { return JSON.parse(sessionStorage.getItem(key(address))) || {}; } catch { return {}; }
  }

  function remember() {
    if (!page || page.address.token) return;
    try { sessionStorage.setItem(key(page.address), JSON.stringify(view())); } catch { /* storage is off */ }
  }

  /* -- what the pictures have in common -- */

  /** The range of heights of all, and of what their colours show, if they are drawn on one scale. */
  function ranges() {
    if (!page.same || page.pictures.length < 2) return {};
    const parts = page.followed.filter(({ surface }) => surface).map(({ surface, address }) => ({ surface, told: address.told }));
    return { range: common(parts.map(({ surface }) => surface), page.view), painted: commonColours(parts, page.view) };
  }

  const looked = (mine) => () => (page === mine ? { view: page.view, scales: page.address.scales, pin: page.pin, ...(page.view ? ranges() : {}) } : {});

  /** The quantities that all surfaces have, as the first names them. */
  const shared = ([first, ...others]) => first.filter((c) => others.every((other) => other.some(({ name }) => name === c.name)));

  function paint() {
    if (!page) return;
    page.pictures.forEach((p) => p.paint());
    showPoint();
  }

  /** Something new came: the pictures, and then what is said in words, which takes Dash longer (see `afterPictures`). */
  function heard(mine) {
    if (page !== mine) return;
    if (page.followed.every(({ surface }) => surface)) {  // a live one was not known to be a curve before
      document.querySelector(".toolbar")?.classList.toggle("toolbar-curve", page.followed.every(({ surface }) => !surface.y));
    }
    page.pictures.forEach((p) => p.paintSoon());
    say();
  }

  const say = afterPictures(() => {
    if (!page) return;
    tell(page.address.ids.colours, shared(page.followed.map((f) => f.live.colours || [])));
    showPoint();
  });

  function turned(from, camera) {
    if (page?.linked) page.pictures.forEach((p) => { if (p !== from) p.turn(camera); });
    remember();
  }

  function moved(from, change) {
    if (page?.linked) page.pictures.forEach((p) => { if (p !== from) p.move(change); });
  }

  /* -- the chosen cell -- */

  function showPoint() {
    page.followed.forEach(({ surface, address }) => {
      if (!surface) return;
      const place = page.hover || page.pin || (facts(surface).centre && { x: 0, y: 0 });
      tell(address.ids.point, place ? { ...cell(surface, place.x, place.y ?? 0, address.told), kind: page.hover ? "hover" : page.pin ? "pin" : "centre" } : null);
    });
  }

  let frame = null;
  function hovered(place) {
    if (!page) return;
    page.hover = place;
    frame = frame || requestAnimationFrame(() => { frame = null; if (page) showPoint(); });
  }

  function choose(place, surface) {
    if (!page || !surface) return;
    const c = cell(surface, place.x, surface.y ? place.y : 0);
    page.pin = { x: c.x, y: c.y };
    paint();
  }

  /** Arrow keys walk from cell to cell; Escape lets go. */
  function walk(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!page || !event.target.classList?.contains("surface-graph") || (!step && event.key !== "Escape")) return;
    const at = page.pictures.find((p) => p.element()?.parentElement === event.target), surface = at?.followed.find((f) => f.surface)?.surface;
    if (!surface) return;
    event.preventDefault();
    page.hover = null;
    if (!step) { page.pin = null; paint(); return; }
    const here = cell(surface, page.pin?.x ?? 0, page.pin?.y ?? 0);
    const clamp = (i, n) => Math.min(n - 1, Math.max(0, i));
    const i = page.pin ? clamp(here.i + step[0], surface.columns) : here.i, j = page.pin ? clamp(here.j + step[1], surface.rows) : here.j;
    choose({ x: surface.x[i], y: surface.y ? surface.y[j] : 0 }, surface);
  }

  /* -- the page -- */

  const open = () => page?.followed.forEach((f) => f.open());
  const close = () => page?.followed.forEach((f) => f.close());
  const parts = (address) => address.surfaces || [address];
  const selectors = (address) => address.plots || [".surface-plot"];
  const events = (address) => parts(address).map((part) => part.events).join(" ");

  /** Starts to follow. Called again for the same surfaces (after a retry), it only opens the streams anew.
   *
   * address: of a surface, or {surface, surfaces: [address …], plots: [selector …], same, log} of several: as many plots as surfaces, or
   * one for all. */
  function follow(address) {
    if (page && events(page.address) === events(address) && page.pictures.every((p) => !p.plot || p.plot === p.element())) {
      page.followed.forEach((f) => f.again());
    } else {
      leave();
      begin(address);
      open();
    }
    load().catch(() => null);
  }

  function begin(address) {
    const mine = page = { address, view: null, pin: null, hover: null, linked: true, same: address.same !== false, followed: [], pictures: [] };
    const plots = selectors(address), camera = remembered(address).camera || home(narrow());
    mine.followed = parts(address).map((part) => window.lossAtlas.events.follow(part, () => heard(mine)));
    const ours = { look: looked(mine), turned, moved, hovered, chosen: choose };
    mine.pictures = plots.map((selector, i) => picture(selector, plots.length > 1 ? [mine.followed[i]] : mine.followed, ours, camera));
  }

  function leave() {
    if (!page) return;
    page.followed.forEach((f) => f.leave());
    page.pictures.forEach((p) => p.leave());
    page = null;
  }

  /** Looks at the surfaces in another way. */
  function look(wanted) {
    if (!page) return;
    page.view = wanted;
    remember();
    paint();
  }

  /** Whether one hand turns all pictures, and whether all have one range of heights. */
  function bind(linked, same, address) {
    if (!page || events(page.address) !== events(address)) return;  // what is followed is still the page before
    if (linked && !page.linked) page.pictures.slice(1).forEach((p) => p.turn(page.pictures[0].look()));
    Object.assign(page, { linked, same });
    paint();
  }

  function resetCamera() {
    if (!page) return;
    const first = (page.address.token && page.address.view?.camera) || home(narrow());
    page.pictures.forEach((p) => p.reset(first));
    remember();
  }

  /** The View as it is now, camera included: that of the first picture. */
  const view = () => (page ? { ...page.view, camera: page.pictures[0].look() } : null);

  const save = (name) => page?.pictures[0].save(name);

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { remember(); close(); } else open();
  });
  window.addEventListener("pagehide", () => { remember(); close(); });
  window.addEventListener("pageshow", () => open());
  window.addEventListener("resize", () => page?.pictures.forEach((p) => p.paintSoon()));
  document.addEventListener("keydown", walk);
  new MutationObserver(() => paint()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });

  /** What is followed now: the view, the chosen cell, and of the first surface its address, its values and the stages that came. */
  function current() {
    if (!page) return null;
    const { address, surface, stages } = page.followed[0];
    return { view: page.view, pin: page.pin, address, surface, stages };
  }

  window.lossAtlas.stream = { load, follow, leave, look, bind, remembered, resetCamera, view, picture: save, current };
})();
