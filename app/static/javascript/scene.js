/* From a measured surface and a View to what Plotly draws. Pure: no page, no network, no state. `curves.js` draws curves.
 *
 *   surface (decoded event) ─┐
 *   view (colour, log …)     ├─▶ figure() ─▶ {data, layout}
 *   setting (theme, size)   ─┘
 *
 * Z[j][i] is the loss at (x[i], y[j]). A cell without a finite value stays NaN, and is drawn as a hole.
 */
(() => {
  "use strict";

  const CONFIG = {
    responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: false, scrollZoom: true,
  };
  /** Where the camera stands at first: farther away where the picture is narrow. */
  const home = (narrow) => {
    const far = narrow ? 1.3 : 1;
    return { eye: { x: 1.42 * far, y: 1.54 * far, z: 1.02 * far }, center: { x: 0, y: 0, z: -0.14 }, up: { x: 0, y: 0, z: 1 } };
  };
  const FONT = '"Inter Variable", Inter, system-ui, sans-serif';

  const { cell, colouring, facts, heights, known, span } = window.lossAtlas.values;

  /** The range of what the colours show that several surfaces have together; null while they show the loss, or none shows anything else. */
  function commonColours(parts, view) {
    const ranges = parts.map(({ surface, told }) => colouring(surface, view, told)?.range).filter(Boolean);
    return ranges.length ? { low: Math.min(...ranges.map(({ low }) => low)), high: Math.max(...ranges.map(({ high }) => high)) } : null;
  }

  /** The range of heights that several surfaces have together; null while none has a finite one. */
  const common = (surfaces, view) => span(surfaces.flatMap((surface) => heights(surface.loss, view.log)), view);

  /** A surface without meaning, with which a scene is built before there is one to show. */
  function meaningless(half, at) {
    const axis = Array.from({ length: 2 * half + 1 }, (_, i) => i / half - 1), table = (value) => axis.map((y) => axis.map((x) => value(x, y)));
    return {
      x: axis, y: axis, rows: axis.length, columns: axis.length, range: { x: [-1, 1], y: [-1, 1] }, not_finite: 0, quantities: {},
      loss: table(at), stderr: table(() => 0), accuracy: table(() => NaN), counts: table(() => 0),
    };
  }

  /** A few cells at the centre, of a grid that Plotly leaves as it is: the least that builds a scene. */
  const blank = () => meaningless(60, (x, y) => (Math.max(Math.abs(x), Math.abs(y)) < 1.5 / 60 ? 1 : NaN));

  /** As many cells as a first stage has, with which a browser does once what it does slowly the first time. */
  const bowl = (high) => meaningless(4, (x, y) => 2 + high * (x * x + y * y));

  const inks = (dark) => (dark
    ? { text: "#c7d0e0", faint: "#8592a8", grid: "#2a3446", zero: "#44516a", hover: "#1a2231", mark: "#ffffff", edge: "#0b0f17" }
    : { text: "#2b3547", faint: "#5d6a80", grid: "#dde3ec", zero: "#b4bfcf", hover: "#ffffff", mark: "#0f172a", edge: "#ffffff" });

  /** What every layout has. */
  function basis(ink) {
    return {
      uirevision: "keep", autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: FONT, size: 12, color: ink.text }, showlegend: false, hovermode: "closest",
      hoverlabel: { bgcolor: ink.hover, bordercolor: ink.grid, font: { family: FONT, size: 12, color: ink.text } },
    };
  }

  /** The figure of a surface as it is looked at.
   * setting: {dark, narrow, scales: {name: stops}, titles: {x, y, z, log}, told, camera, pin: {x, y} | null, range: {low, high} of the
   * heights and `painted` of what the colours show, where they are not the surface's own} */
  function figure(whole, view, setting) {
    if (whole.rows < 2 || whole.columns < 2) return window.lossAtlas.scene.curves([{ surface: whole, name: "mean loss", index: 0 }], view, setting);
    const surface = known(whole, view.colour_by);
    const ink = inks(setting.dark), base = basis(ink), z = heights(surface.loss, view.log), own = span(z, view), range = own && (setting.range || own);
    const found = colouring(surface, view, setting.told), by = found && { ...found, range: setting.painted || found.range };
    if (view.projection === "contour") return contour(surface, z, range, by, view, setting, base, ink);
    return landscape(surface, z, range, by, view, setting, base, ink);
  }

  function colourbar(setting, by, view, ink) {
    return {
      thickness: 10, len: setting.narrow ? 0.45 : 0.56, x: 0.012, xanchor: "left", y: 0.5, outlinewidth: 0,
      tickfont: { size: 11, color: ink.faint }, ticks: "", nticks: 6, exponentformat: "power",
      title: { text: by ? by.axis_title : view.log ? setting.titles.log : setting.titles.short, side: "top", font: { size: 11, color: ink.faint } },
    };
  }

  const named = (view) => (view.log ? "log₁₀ loss" : "loss");

  /** What the hand is told of a cell: its place, its loss and what the colour shows; one of them is the trace's z. */
  function hover(by, view, height) {
    const place = "α %{x:.3~g} · β %{y:.3~g}<br>", loss = `<b>${named(view)} %{${height}:.4~g}</b>`;
    return by ? `${place}${loss}<br>${by.title} %{${height === "z" ? "customdata" : "z"}:.4~g}${by.unit && ` ${by.unit}`}<extra></extra>` : `${place}${loss}<extra></extra>`;
  }

  /** Where a cell has a loss but not what the colours show, the patches around it are grey, of the same heights. */
  function unknown(surface, z, by, range, setting) {
    const missing = (j, i) => by && Number.isFinite(z[j]?.[i]) && !Number.isFinite(by.values[j][i]), near = [-1, 0, 1];
    const beside = (j, i) => near.some((dj) => near.some((di) => missing(j + dj, i + di)));
    const patches = by ? z.map((row, j) => row.map((v, i) => (beside(j, i) ? v : NaN))) : z, grey = setting.dark ? "#5b667a" : "#a9b2c0";
    return {
      type: "surface", x: surface.x, y: surface.y, z: patches, visible: Boolean(range) && patches !== z && patches.some((row) => row.some(Number.isFinite)),
      colorscale: [[0, grey], [1, grey]], showscale: false, connectgaps: false, name: "unknown",
      hovertemplate: by ? `α %{x:.3~g} · β %{y:.3~g}<br>${by.title}: unknown<extra></extra>` : "",
    };
  }

  function landscape(surface, z, range, by, view, setting, base, ink) {
    const low = range ? range.low : 0, high = range ? range.high : 1, floor = view.contours ? low - 0.22 * (high - low) : low - 0.02 * (high - low);
    const shown = by ? z.map((row, j) => row.map((v, i) => (Number.isFinite(by.values[j][i]) ? v : NaN))) : z;
    const colours = by ? { surfacecolor: by.values, customdata: by.values, cmin: by.range.low, cmax: by.range.high } : { cmin: low, cmax: high };
    const main = {
      type: "surface", x: surface.x, y: surface.y, z: shown, visible: Boolean(range), ...colours, connectgaps: false,
      colorscale: setting.scales[view.colour] || "Viridis", showscale: !setting.narrow && Boolean(range), colorbar: colourbar(setting, by, view, ink),
      lighting: { ambient: 0.72, diffuse: 0.65, specular: 0.12, roughness: 0.75, fresnel: 0.08 },
      lightposition: { x: -2000, y: -3000, z: 9000 },
      contours: {
        x: { highlight: false }, y: { highlight: false },
        z: {
          highlight: false, show: view.contours, usecolormap: !by, color: ink.faint, width: 2, project: { z: view.contours },
          start: low, end: high, size: (high - low) / 14 || 1,
        },
      },
      hovertemplate: hover(by, view, "z"),
    };
    const axis = (text, extra) => ({
      title: { text, font: { size: setting.narrow ? 11 : 13, color: ink.text } }, tickfont: { size: 10.5, color: ink.faint }, showbackground: false,
      gridcolor: ink.grid, zerolinecolor: ink.zero, linecolor: ink.zero, showspikes: false, nticks: setting.narrow ? 5 : 7, ...extra,
    });
    const wide = surface.range.x[1] - surface.range.x[0], deep = surface.range.y[1] - surface.range.y[0];
    const scale = Math.sqrt(Math.min(4, Math.max(0.25, deep / wide || 1)));
    const whole = Math.SQRT2 / Math.hypot(1 / scale, scale);  // the diagonal of a square, so that a long grid is in sight too
    return {
      data: [main, ...marks(surface, z, range, setting, ink), unknown(surface, z, by, range, setting)],
      layout: {
        ...base, margin: { l: 0, r: 0, t: 0, b: 0 },
        scene: {
          uirevision: "keep", camera: setting.camera, dragmode: "turntable", aspectmode: "manual",
          aspectratio: { x: 1.12 * whole / scale, y: 1.12 * whole * scale, z: 0.74 },
          xaxis: axis(setting.titles.x, { range: surface.range.x }), yaxis: axis(setting.titles.y, { range: surface.range.y }),
          zaxis: axis(view.log ? setting.titles.log : setting.titles.z, { range: [floor, high + 0.005 * (high - low)] }),
        },
      },
    };
  }

  /** The trained network and the chosen cell, as points on the surface. */
  function marks(surface, z, range, setting, ink) {
    const lift = range ? 0.022 * (range.high - range.low) : 0;  // so that the surface does not swallow the marker
    const point = (x, y, name, style) => {
      const c = cell(surface, x, y), height = z[c.j][c.i];
      const shown = Boolean(range) && Number.isFinite(height) && height <= range.high;
      return {
        type: "scatter3d", mode: "markers", x: [c.x], y: [c.y], z: [shown ? height + lift : 0], visible: shown, hoverinfo: "skip", name,
        marker: { ...style, opacity: 1 },
      };
    };
    const known = facts(surface).centre, pin = setting.pin;
    const star = point(0, 0, "trained network", { size: 5, symbol: "diamond", color: ink.mark, line: { color: ink.edge, width: 1 } });
    const chosen = point(pin ? pin.x : 0, pin ? pin.y : 0, "chosen cell", { size: 6, symbol: "circle", color: "#ff4d6d", line: { color: "#ffffff", width: 1 } });
    return [{ ...star, visible: star.visible && Boolean(known) }, { ...chosen, visible: chosen.visible && Boolean(pin) }];
  }

  const flat = (setting, ink, extra) => ({
    tickfont: { size: 11, color: ink.faint }, gridcolor: ink.grid, zerolinecolor: ink.zero, linecolor: ink.grid,
    fixedrange: false, automargin: true, ...extra,
  });

  const label = (text, ink) => ({ text, font: { size: 13, color: ink.text }, standoff: 10 });

  /** A round step that cuts a span into about this many parts. */
  function roundStep(span, parts) {
    const rough = span / parts || 1, power = 10 ** Math.floor(Math.log10(rough)), lead = rough / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
  }

  /** Seen from above: colours, and over them the lines of equal loss. Where the colours show another thing it is a layer of its own. */
  function contour(surface, z, range, by, view, setting, base, ink) {
    const low = range ? range.low : 0, high = range ? range.high : 1, step = roundStep(high - low, 15);
    const frame = { type: "contour", x: surface.x, y: surface.y, visible: Boolean(range), autocontour: false, connectgaps: false };
    const lines = {
      start: step * Math.ceil(low / step), end: high, size: step, showlabels: !setting.narrow,
      labelfont: { size: 10.5, color: "#ffffff", family: FONT }, labelformat: ".2~f",
    };
    const line = { width: 0.9, color: "rgba(255,255,255,0.62)" }, bar = { ...colourbar(setting, by, view, ink), x: 1.01 };
    const painted = { colorscale: setting.scales[view.colour] || "Viridis", showscale: !setting.narrow, colorbar: bar };
    const main = by ? {
      ...frame, ...painted, z: by.values.map((row, j) => row.map((v, i) => (Number.isFinite(z[j][i]) ? v : NaN))), zmin: by.range.low, zmax: by.range.high,
      customdata: z, contours: { coloring: "heatmap", showlines: false, start: by.range.low, end: by.range.high, size: (by.range.high - by.range.low) / 15 },
      line: { width: 0 }, hovertemplate: hover(by, view, "customdata"),
    } : { ...frame, ...painted, z, zmin: low, zmax: high, contours: { ...lines, coloring: "heatmap" }, line, hovertemplate: hover(null, view, "z") };
    const over = { ...frame, z, zmin: low, zmax: high, visible: Boolean(range && by), contours: { ...lines, coloring: "none" }, line, showscale: false, hoverinfo: "skip" };
    const dot = (p, name, marker) => ({
      type: "scatter", mode: "markers", x: [p ? p.x : 0], y: [p ? p.y : 0], visible: Boolean(p), name, hoverinfo: "skip", marker,
    });
    return {
      data: [main,
        dot(facts(surface).centre, "trained network", { size: 11, symbol: "diamond", color: "#ffffff", line: { color: "#0f172a", width: 1.5 } }),
        dot(setting.pin, "chosen cell", { size: 11, color: "#ff4d6d", line: { color: "#ffffff", width: 1.5 } }), over],
      layout: {
        ...base, margin: { l: 58, r: setting.narrow ? 14 : 78, t: 18, b: 52 }, dragmode: "pan",
        xaxis: flat(setting, ink, { title: label(setting.titles.x, ink), range: surface.range.x, constrain: "domain", zeroline: false }),
        yaxis: flat(setting, ink, { title: label(setting.titles.y, ink), range: surface.range.y, scaleanchor: "x", constrain: "domain", zeroline: false }),
      },
    };
  }

  window.lossAtlas = { ...window.lossAtlas, scene: { CONFIG, home, blank, bowl, figure, common, commonColours, basis, inks, named, flat, label } };
})();
