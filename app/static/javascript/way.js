/* The way of a training run over a drawn surface: a line with marks that lies on it, its panel, its losses when they come.
 *
 *   surface.trajectory ─┐
 *   scene.figure()     ─┴─▶ figure() ─▶ the same figure with the way on it
 *
 * Between cells a picture is bilinear, and so is the way's height. Where it leaves the grid it is cut off; nothing is moved.
 * What was measured at a checkpoint's exact place is in its words. `landscape_core/drawn_way.py` does the same for files.
 */
(() => {
  "use strict";

  const MOST_ROWS = 60, ASK_EVERY_MS = 2000, MOST_ASKED = 900, RIM = 1e-9;
  const { scene } = window.lossAtlas, bare = scene.figure;

  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const minus = (text) => text.replace("-", "−");
  const short = (v) => (known(v) ? minus(Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : String(Number(v.toPrecision(4)))) : "—");

  /* -- where the way lies -- */

  /** The two indices around a value with their weights; null outside the axis. */
  function around(axis, value) {
    const last = axis.length - 1;
    if (!(value >= axis[0] - RIM && value <= axis[last] + RIM)) return null;
    if (!last) return [[0, 1]];
    let low = 0;
    while (low < last - 1 && axis[low + 1] <= value) low += 1;
    const share = Math.min(1, Math.max(0, (value - axis[low]) / (axis[low + 1] - axis[low])));
    return [[low, 1 - share], [low + 1, share]];
  }

  /** The height of the drawn surface at a place; null outside, NaN over a hole. */
  function height(x, y, z, [a, b]) {
    const columns = around(x, a), rows = around(y, b);
    if (!columns || !rows) return null;
    return rows.reduce((sum, [j, v]) => sum + columns.reduce((part, [i, u]) => part + (u * v > 0 ? u * v * z[j][i] : 0), 0), 0);
  }

  /** The part of a straight piece that lies on the grid, as shares of it; null if none does. */
  function clipped(x, y, from, to) {
    let first = 0, last = 1;
    for (const [axis, at, step] of [[x, from[0], to[0] - from[0]], [y, from[1], to[1] - from[1]]]) {
      const low = axis[0], high = axis[axis.length - 1];
      if (step === 0) {
        if (at < low - RIM || at > high + RIM) return null;
      } else {
        const ends = [(low - at) / step, (high - at) / step].sort((a, b) => a - b);
        first = Math.max(first, ends[0]);
        last = Math.min(last, ends[1]);
      }
    }
    return first > last ? null : [first, last];
  }

  /** Where a piece begins, ends and crosses lines of the grid, and the middles between, as shares of it in order. */
  function corners(x, y, from, to, [first, last]) {
    const crossed = [[x, from[0], to[0] - from[0]], [y, from[1], to[1] - from[1]]].flatMap(([axis, at, step]) => (step ? axis.map((v) => (v - at) / step) : []));
    const ends = [first, ...crossed.filter((share) => share > first && share < last).sort((a, b) => a - b), last];
    return ends.flatMap((share, k) => (k ? [(ends[k - 1] + share) / 2, share] : [share]));
  }

  /** Places of the line, from checkpoint to checkpoint; null parts pieces that do not touch. */
  function line(x, y, places) {
    const points = [];
    for (let k = 0; k + 1 < places.length; k += 1) {
      const [from, to] = [places[k], places[k + 1]], piece = from && to && clipped(x, y, from, to);
      if (piece) {
        for (const share of corners(x, y, from, to, piece)) points.push([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
      }
      if (!piece || piece[1] < 1) points.push(null);
    }
    return points;
  }

  /** The run's places as [α, β]; null where a checkpoint has none. */
  const placesOf = (run, curve) => run.coordinates.map((place) => (place.length === (curve ? 1 : 2) && place.every(known) ? [place[0], curve ? 0 : place[1]] : null));

  /** What the picture is of: axes and heights, as `scene.figure` draws them. */
  function ground(surface, made) {
    const main = made.data[0];
    if (!surface.y) return { x: surface.x, y: [0], z: [main.y] };
    return surface.rows > 1 && surface.columns > 1 ? { x: surface.x, y: surface.y, z: main.z } : null;
  }

  /* -- in words -- */

  const called = (run, k) => `checkpoint ${k + 1} of ${run.coordinates.length}${run.names?.[k] ? `, ${run.names[k]}` : ""}`;

  const words = (run, k) => [
    `<b>${safe(called(run, k))}</b>`,
    `own loss ${known(run.own_loss?.[k]) ? short(run.own_loss[k]) : "not known"}`,
    `the plane’s loss here ${known(run.plane_loss?.[k]) ? short(run.plane_loss[k]) : "not known"}`,
    `distance off the plane ${short(run.off_plane?.[k])}`,
  ].join("<br>");

  /** How many checkpoints have no place on the grid, and how many lie over a hole of the loss. */
  function missing(surface) {
    const curve = !surface.y, y = curve ? [0] : surface.y;
    const heights = placesOf(surface.trajectory, curve).map((place) => (place ? height(surface.x, y, surface.loss, place) : null));
    return { outside: heights.filter((h) => h === null).length, holes: heights.filter((h) => Number.isNaN(h)).length };
  }

  /* -- the traces -- */

  function figure(surface, view, setting) {
    const made = bare(surface, view, setting), run = surface.trajectory, on = run && ground(surface, made);
    return on ? { ...made, data: [...made.data, ...traces(run, surface, made, on, setting)] } : made;
  }

  function traces(run, surface, made, on, setting) {
    const solid = made.data[0].type === "surface", flat = made.data[0].type === "contour";
    const top = solid ? made.layout.scene.zaxis.range : [-Infinity, Infinity], lift = solid ? 0.016 * (top[1] - top[0]) : 0;
    const at = (place) => {
      const h = place ? height(on.x, on.y, on.z, place) : null;
      if (!known(h) || h > top[1]) return { x: null, y: null, z: null };
      return { x: place[0], y: solid || flat ? place[1] : h, z: h + lift };
    };
    const put = (places) => {
      const points = places.map(at);
      return { x: points.map((p) => p.x), y: points.map((p) => p.y), ...(solid ? { z: points.map((p) => p.z) } : {}) };
    };
    const places = placesOf(run, !surface.y), last = places.length - 1, dark = setting.dark;
    const ink = dark ? "#ffffff" : "#0f172a", edge = dark ? "#0b0f17" : "#ffffff", type = solid ? "scatter3d" : "scatter";
    const symbols = places.map((_, k) => (k === last ? "diamond" : k ? "circle" : "square"));
    const sizes = places.map((_, k) => (k && k !== last ? 1 : 1.6) * (solid ? 3.6 : 7));
    return [
      { type, mode: "lines", ...put(line(on.x, on.y, places)), connectgaps: false, line: { color: flat ? "#ffffff" : ink, width: solid ? 6 : 2.5 }, hoverinfo: "skip", name: "training run" },
      { type, mode: "markers", ...put(places), name: "checkpoints", text: places.map((_, k) => words(run, k)), hovertemplate: "%{text}<extra></extra>",
        marker: { symbol: symbols, size: sizes, color: places.map((_, k) => (k ? flat ? "#ffffff" : ink : "#ff9f1c")), line: { color: flat ? "#0f172a" : edge, width: solid ? 1 : 1.5 }, opacity: 1 } },
    ];
  }

  /* -- the panel -- */

  const html = (type, props, ...children) => ({ type, namespace: "dash_html_components", props: { ...props, children: children.flat().filter((c) => c !== null) } });
  const fact = (name, value, title) => html("Div", { className: "fact", title }, html("Dt", {}, name), html("Dd", {}, value));

  function panel() {
    const surface = window.lossAtlas.stream.current()?.surface, run = surface?.trajectory;
    if (!run) return null;
    const count = run.coordinates.length, { outside, holes } = missing(surface);
    const lie = (n, where) => (n ? `${n} of ${count} checkpoints ${n === 1 ? "lies" : "lie"} ${where} and ${n === 1 ? "is" : "are"} not drawn.` : null);
    const shares = ["δ", "η"].map((letter, axis) => [letter, run.explained_variance_ratio?.[axis]]).filter(([, share]) => known(share));
    const key = (shape, text) => html("Span", { className: "way-key" }, html("Span", { className: `way-${shape}` }), text);
    const rows = Array.from({ length: Math.min(count, MOST_ROWS) }, (_, k) => html("Tr", { title: called(run, k) },
      html("Td", {}, String(k + 1)), html("Td", {}, short(run.own_loss?.[k])), html("Td", {}, short(run.plane_loss?.[k])), html("Td", {}, short(run.off_plane?.[k]))));
    return html("Section", { className: "panel" }, html("H2", { className: "panel-title" }, "Training run"),
      html("P", { className: "way-keys" }, key("first", "first"), key("between", "between"), key("last", "last")),
      html("Dl", { className: "facts" }, fact("Checkpoints", String(count)),
        shares.map(([letter, share]) => fact(`Variance along ${letter}`, `${Number((100 * share).toPrecision(3))} %`, "Share of the variance of the run that lies along this direction"))),
      [lie(outside, "outside the range"), lie(holes, "over holes")].filter(Boolean).map((text) => html("P", { className: "holes" }, text)),
      html("Div", { className: "way-table", tabIndex: 0 }, html("Table", {},
        html("Thead", {}, html("Tr", {}, html("Th", {}, "№"), html("Th", { title: "Mean loss of the checkpoint itself" }, "Own loss"),
          html("Th", { title: "Mean loss of the plane where the checkpoint is projected to" }, "Plane’s"), html("Th", { title: "Distance from the plane, in parameter space" }, "Off plane"))),
        html("Tbody", {}, rows))),
      count > MOST_ROWS ? html("P", { className: "dim" }, `The first ${MOST_ROWS} of ${count}; all are in the files.`) : null);
  }

  /* -- what comes after the end: the last touches measure each checkpoint's own loss -- */

  /** Asks for the run's losses until they are there, will not come, or the page is left; gives the run to `done`. */
  function awaitLosses(address, surface, left, done, asked = 0) {
    if (!surface?.trajectory || surface.trajectory.own_loss || asked >= MOST_ASKED) return;
    setTimeout(async () => {
      if (left()) return;
      let info = null;
      try {
        const answer = await (await fetch(address.events.replace(/\/events$/, ""))).json();
        info = answer.surface || answer;
      } catch { /* asked again */ }
      const run = info?.provenance?.trajectory;
      if (run?.own_loss) { if (!left()) done({ ...surface.trajectory, ...run }); }
      else if (!info || info.preview === "wait") awaitLosses(address, surface, left, done, asked + 1);
    }, asked ? ASK_EVERY_MS : ASK_EVERY_MS / 4);
  }

  scene.figure = figure;
  window.lossAtlas.way = { awaitLosses, missing };
  window.dash_clientside = Object.assign({}, window.dash_clientside, { way: { panel } });
})();
