/* One picture: what Plotly draws of a surface, or of two curves, in an element of the page, and the hand on it.
 *
 * The camera belongs to the hand: each paint passes on the camera that the scene has at this moment.
 *
 *   an event ──▶ paintSoon ── at once after a quiet time, else when the picture before stands on the screen ──▶ paint, of what is newest then
 *   nothing yet ──▶ prepare: the scene is built out of sight while workers still compute
 *   a draft was painted (see sharpness.js), and REST_MS nothing ──▶ paint finely
 */
(() => {
  "use strict";

  const PAINT_EVERY_MS = 100, REST_MS = { running: 2500, over: 300 };
  const { CONFIG, blank, bowl, figure, curves } = window.lossAtlas.scene, { draw, find, isSlow, sceneOf } = window.lossAtlas.sharpness, { afterFrame } = window.lossAtlas.events;
  const dark = () => document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
  const narrow = () => window.innerWidth < 768;

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

  const press = { down: false, moved: false, act: null, at: [0, 0] };
  document.addEventListener("pointerdown", (event) => Object.assign(press, { down: true, moved: false, act: null, at: [event.clientX, event.clientY] }), true);
  document.addEventListener("pointermove", (event) => {
    press.moved = press.moved || Math.hypot(event.clientX - press.at[0], event.clientY - press.at[1]) > 4;
  }, true);
  document.addEventListener("pointerup", () => setTimeout(() => {
    press.down = false;
    if (press.act && !press.moved) press.act();
    press.act = null;
  }, 0), true);
  document.addEventListener("pointercancel", () => Object.assign(press, { down: false, act: null }), true);  // a touch became a scroll, or a link is dragged

  const same = (one, other) => ["eye", "center", "up"].every((part) => ["x", "y", "z"].every((k) => Math.abs(one[part][k] - other[part][k]) < 1e-6));
  const FLAT = /^[xy]axis\.(range|autorange)/, HAND = ["mousemove", "mouseup", "wheel", "touchmove", "touchend"];

  /** Plotly's camera flies on as fast as it was moved last until the next frame, which a slow drawing puts off by a second. Here it stays where the hand left it. */
  function stop(scene) {
    const { view } = scene.camera;
    view.idle(view.lastT());
  }

  /** A picture.
   *
   * selector: of the element that Plotly draws into. It is ours alone: `dcc.Graph` would draw its own figure again after each drag.
   * followed: the surfaces that it shows (see events.js): one, or several curves.
   * page: {look() ─▶ {view, scales, pin, range, painted}, turned(picture, camera), moved(picture, change), hovered(place), chosen(place, surface)}.
   * camera: where it begins.
   */
  function picture(selector, followed, page, camera) {
    const me = { followed, plot: null, paint, paintSoon, look, turn, move, reset, save, leave, element: () => document.querySelector(selector) };
    let seen = camera, timer = null, rest = null, painted = null, heard = null, frame = null, goal = null, led = false, drawing = null, begun = 0, shows = false, late = false;
    const hand = new AbortController();

    /** The camera as it is now, also in the middle of a drag. */
    function look() {
      const scene = painted && sceneOf(me.element());
      seen = (scene ? scene.getCamera() : seen) || seen;
      return seen;
    }

    function drawn(blanks) {
      const { view, scales, pin, range, painted: colours } = page.look();
      const { titles, told } = followed[0].address;
      const setting = { dark: dark(), narrow: narrow(), scales, titles, told, camera: look(), pin, range, painted: colours };
      if (followed.length === 1) return figure(blanks || followed[0].surface, view, setting);
      const lines = followed.map(({ surface, address }, index) => ({ surface, name: address.name, index }));
      return curves(lines.filter(({ surface }) => surface), view, setting);
    }

    const ready = () => page.look().view && followed.some(({ surface }) => surface);

    /** Whether nothing has come yet, and a surface in 3-D will. */
    function isAwaited() {
      const { view } = page.look(), { address, live, surface } = followed[0];
      const computed = ["queued", "running"].includes(live.state) && !live.progress?.stage;
      return followed.length === 1 && view?.projection === "surface" && !address.curve && computed && !surface;
    }

    function paint(finely) {
      clearTimeout(timer);
      clearTimeout(rest);
      timer = rest = null;
      const awaited = isAwaited();
      if (!awaited && !ready()) return;
      const gd = me.element();
      if (!gd || !window.Plotly) {
        load().catch(() => null);
        timer = setTimeout(paint, 60);
        return;
      }
      if (awaited) { prepare(gd); return; }
      const { data, layout } = drawn(), scene = layout.scene ? sceneOf(gd) : null, draft = Boolean(scene) && finely !== true && isSlow();
      if (scene) draw(scene, layout, draft, gd.matches(":hover"));
      if (draft) restSoon();
      painted = performance.now();
      me.plot = gd;
      drawing = window.Plotly.react(gd, data, layout, CONFIG).then(() => gd.parentElement?.classList.add("painted"));
      shows = true;
      late = false;
      const mine = begun += 1;
      drawing.catch(() => null).then(() => afterFrame(() => afterFrame(() => shown(mine))));
      listen(gd);
    }

    /** A picture stands on the screen; what came meanwhile is painted now. Pictures that are begun sooner only wait for each other. */
    function shown(which) {
      if (which !== begun) return;
      shows = false;
      if (late) paintSoon();
    }

    /** Builds the scene out of sight while nothing has come: shaders and letters take longer than the first surface. */
    function prepare(gd) {
      document.fonts.ready.then(() => {  // letters are cut out once, from the font that is there then
        if (me.plot !== gd) rehearse(gd, [blank(), bowl(1), bowl(3)]);
      });
    }

    /** Draws surfaces out of sight, one after the other, for as long as nothing has come. */
    function rehearse(gd, [next, ...others]) {
      if (!next || !isAwaited() || gd !== me.element()) return;
      const { data, layout } = drawn(next), scene = sceneOf(gd);
      if (scene) draw(scene, layout, isSlow(), false);
      me.plot = gd;
      drawing = window.Plotly.react(gd, data, layout, CONFIG);
      drawing.catch(() => null).then(() => afterFrame(() => rehearse(gd, others)));
    }

    /** What was drawn as a draft is drawn finely when nothing has come for a while, and no hand holds it. */
    function restSoon() {
      clearTimeout(rest);
      const wait = followed.every(({ ended }) => ended) ? REST_MS.over : REST_MS.running;
      rest = setTimeout(() => (press.down ? restSoon() : paint(true)), wait);
    }

    function paintSoon() {
      late = shows;
      if (late) return;
      timer = timer || setTimeout(paint, Math.max(0, PAINT_EVERY_MS - (performance.now() - (painted ?? -1e9))));
    }

    /** The surface that the pointer is at, and the place on it; traces that are no measurement come after those that are. */
    function pointed(event) {
      const grey = ({ data }) => data.type === "surface" && data.name === "unknown";  // cells without what the colours show
      const p = event.points.find((point) => point.curveNumber < followed.length || grey(point)), surface = p && followed[grey(p) ? 0 : p.curveNumber].surface;
      return surface ? { surface, place: surface.y ? { x: p.x, y: p.y } : { x: p.x } } : null;
    }

    /** The hand did something, and Plotly has turned the camera for it; of fingers it says nothing itself. */
    function handled(event) {
      const scene = sceneOf(event.currentTarget);
      if (!scene) return;
      stop(scene);
      if (!led && (event.buttons || event.touches || event.type === "wheel")) page.turned(me, look());
    }

    function come({ currentTarget }) {
      const scene = sceneOf(currentTarget);
      if (scene) find(scene);
    }

    function listen(gd) {
      if (heard === gd) return;
      heard = gd;
      gd.on("plotly_hover", (event) => { const at = pointed(event); if (at) page.hovered(at.place); });
      gd.on("plotly_unhover", () => page.hovered(null));
      // A 3-D scene says "click" as soon as a button goes down, also where a drag begins, and says so while it draws.
      gd.on("plotly_click", (event) => {
        const at = pointed(event);
        if (!at) return;
        const act = () => page.chosen(at.place, at.surface);
        if (press.down) press.act = act; else setTimeout(act, 0);
      });
      HAND.forEach((name) => gd.addEventListener(name, handled, { passive: true, signal: hand.signal }));
      ["pointerenter", "pointerdown"].forEach((name) => gd.addEventListener(name, come, { capture: true, passive: true, signal: hand.signal }));
      gd.on("plotly_relayout", (change) => {
        look();
        if (gd.layout.scene) gd.layout.scene.camera = seen;
        if (led) return;
        if (gd._fullLayout?.scene) page.turned(me, seen);
        else if (Object.keys(change).some((name) => FLAT.test(name))) page.moved(me, Object.fromEntries(Object.entries(change).filter(([name]) => FLAT.test(name))));
      });
    }

    /** Changes the layout for another picture's sake, which must not come back to it. */
    function lead(change) {
      led = true;
      window.Plotly.relayout(me.element(), change).finally(() => { led = false; });
    }

    /** Looks from here from now on; at most once a frame, and then from where was said last. */
    function turn(wanted) {
      goal = wanted;
      if (same(look(), wanted)) return;
      seen = wanted;
      if (!me.element()?._fullLayout?.scene || frame) return;
      frame = requestAnimationFrame(() => {
        frame = null;
        if (me.element()?._fullLayout?.scene) lead({ "scene.camera": goal });
      });
    }

    /** Shows the same part of the plane as another flat picture. */
    function move(change) {
      if (me.element()?._fullLayout?.xaxis) lead(change);
    }

    function reset(first) {
      seen = first;
      const gd = me.element();
      if (!gd?._fullLayout) return;
      if (gd._fullLayout.scene) lead({ "scene.camera": first });
      else window.Plotly.relayout(gd, { "xaxis.autorange": true, "yaxis.autorange": true }).then(paint);
    }

    /** Saves what is seen now, on the ground of the page: on a transparent one, dark mode's light words would be lost. */
    function save(name) {
      if (!me.element()?._fullLayout || !ready()) return;
      const { data, layout } = drawn();
      layout.paper_bgcolor = getComputedStyle(document.body).backgroundColor;
      window.Plotly.downloadImage({ data, layout, config: CONFIG }, { format: "png", width: 1600, height: 1000, scale: 1.5, filename: name });
    }

    function leave() {
      hand.abort();
      clearTimeout(timer);
      clearTimeout(rest);
      if (frame) cancelAnimationFrame(frame);
      if (me.plot) drawing.catch(() => null).then(() => window.Plotly.purge(me.plot));  // Plotly cannot bear it in the middle of drawing
    }

    return me;
  }

  window.lossAtlas = { ...window.lossAtlas, picture: { load, narrow, picture } };
})();
