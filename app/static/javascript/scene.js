/* From a measured surface and a View to what Plotly draws. Pure: no page, no network, no state.
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

  /** The bytes of a base64 string as a typed array (little-endian, as sent). */
  const numbers = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  const cut = (flat, rows, columns) => Array.from({ length: rows }, (_, r) => Array.from(flat.subarray(r * columns, (r + 1) * columns)));

  /** One "surface" event with its arrays unpacked to rows. */
  function decode(event) {
    const { rows, columns } = event;
    return {
      ...event,
      loss: cut(numbers(event.loss, Float32Array), rows, columns),
      stderr: cut(numbers(event.stderr, Float32Array), rows, columns),
      accuracy: cut(numbers(event.accuracy, Float32Array), rows, columns),
      counts: cut(numbers(event.counts, Int32Array), rows, columns),
    };
  }

  /** Index of the coordinate nearest to a value. */
  const nearest = (axis, value) => axis.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(axis[best] - value) ? i : best), 0);

  /** Everything that is known about the cell nearest to (x, y). */
  function cell(surface, x, y) {
    const i = nearest(surface.x, x), j = surface.y ? nearest(surface.y, y) : 0;
    return {
      x: surface.x[i], y: surface.y ? surface.y[j] : null, i, j,
      loss: finite(surface.loss[j][i]), perplexity: surface.perplexity ? finite(Math.exp(surface.loss[j][i])) : null, stderr: finite(surface.stderr[j][i]),
      accuracy: finite(surface.accuracy[j][i]), examples: surface.counts[j][i],
    };
  }

  const finite = (value) => (Number.isFinite(value) ? value : null);

  /** Lowest, highest and centre loss, each with its place. */
  function facts(surface) {
    let low = null, high = null;
    surface.loss.forEach((row, j) => row.forEach((loss, i) => {
      if (!Number.isFinite(loss)) return;
      const here = { loss, x: surface.x[i], y: surface.y ? surface.y[j] : null };
      if (!low || loss < low.loss) low = here;
      if (!high || loss > high.loss) high = here;
    }));
    const middle = cell(surface, 0, 0);
    const centred = Math.abs(middle.x) < 1e-9 && Math.abs(middle.y ?? 0) < 1e-9;
    return {
      low, high, centre: centred ? middle : null, not_finite: surface.not_finite,
      cells: surface.rows * surface.columns, rows: surface.rows, columns: surface.columns,
    };
  }

  /** Heights to draw: the loss, or its logarithm; NaN where there is none. */
  const heights = (rows, log) => rows.map((row) => row.map((v) => (log ? (v > 0 ? Math.log10(v) : NaN) : Number.isFinite(v) ? v : NaN)));

  function span(rows, view) {
    const all = rows.flat().filter(Number.isFinite);
    if (!all.length) return null;
    const limit = view.clip ? (view.log ? Math.log10(view.clip) : view.clip) : Infinity;
    const low = all.reduce((a, b) => Math.min(a, b)), high = Math.min(all.reduce((a, b) => Math.max(a, b)), limit);
    return high > low ? { low, high } : { low: Math.min(low, high) - 0.5, high: high + (limit < low ? 0 : 0.5) };
  }

  const inks = (dark) => (dark
    ? { text: "#c7d0e0", faint: "#8592a8", grid: "#2a3446", zero: "#44516a", hover: "#1a2231", mark: "#ffffff", edge: "#0b0f17" }
    : { text: "#2b3547", faint: "#5d6a80", grid: "#dde3ec", zero: "#b4bfcf", hover: "#ffffff", mark: "#0f172a", edge: "#ffffff" });

  /** The figure of a surface as it is looked at.
   * setting: {dark, narrow, bare, scales: {name: stops}, titles: {x, y, z, log}, camera, pin: {x, y} | null} */
  function figure(surface, view, setting) {
    const ink = inks(setting.dark);
    const base = {
      uirevision: "keep", autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: FONT, size: 12, color: ink.text }, showlegend: false, hovermode: "closest",
      hoverlabel: { bgcolor: ink.hover, bordercolor: ink.grid, font: { family: FONT, size: 12, color: ink.text } },
    };
    if (surface.rows < 2 || surface.columns < 2) return curve(surface, view, setting, base, ink);
    const z = heights(surface.loss, view.log), range = span(z, view);
    if (view.projection === "contour") return contour(surface, z, range, view, setting, base, ink);
    return landscape(surface, z, range, view, setting, base, ink);
  }

  function colourbar(setting, view, ink) {
    return {
      thickness: 10, len: setting.narrow ? 0.45 : 0.56, x: 0.012, xanchor: "left", y: 0.5, outlinewidth: 0,
      tickfont: { size: 11, color: ink.faint }, ticks: "", nticks: 6,
      title: { text: view.log ? setting.titles.log : setting.titles.short, side: "top", font: { size: 11, color: ink.faint } },
    };
  }

  const named = (view) => (view.log ? "log₁₀ loss" : "loss");

  function landscape(surface, z, range, view, setting, base, ink) {
    const low = range ? range.low : 0, high = range ? range.high : 1, floor = view.contours ? low - 0.22 * (high - low) : low - 0.02 * (high - low);
    const main = {
      type: "surface", x: surface.x, y: surface.y, z, visible: Boolean(range), cmin: low, cmax: high, connectgaps: false,
      colorscale: setting.scales[view.colour] || "Viridis", showscale: !setting.narrow && Boolean(range), colorbar: colourbar(setting, view, ink),
      lighting: { ambient: 0.72, diffuse: 0.65, specular: 0.12, roughness: 0.75, fresnel: 0.08 },
      lightposition: { x: -2000, y: -3000, z: 9000 },
      contours: {
        x: { highlight: false }, y: { highlight: false },
        z: {
          highlight: false, show: view.contours, usecolormap: true, width: 2, project: { z: view.contours },
          start: low, end: high, size: (high - low) / 14 || 1,
        },
      },
      hovertemplate: `α %{x:.3~g} · β %{y:.3~g}<br><b>${named(view)} %{z:.4~g}</b><extra></extra>`,
    };
    const axis = (text, extra) => ({
      title: { text, font: { size: setting.narrow ? 11 : 13, color: ink.text } }, tickfont: { size: 10.5, color: ink.faint }, showbackground: false,
      gridcolor: ink.grid, zerolinecolor: ink.zero, linecolor: ink.zero, showspikes: false, nticks: setting.narrow ? 5 : 7, ...extra,
    });
    const wide = surface.range.x[1] - surface.range.x[0], deep = surface.range.y[1] - surface.range.y[0];
    const scale = Math.sqrt(Math.min(4, Math.max(0.25, deep / wide || 1)));
    return {
      data: [main, ...marks(surface, z, range, setting, ink)],
      layout: {
        ...base, margin: { l: 0, r: 0, t: 0, b: 0 },
        scene: {
          uirevision: "keep", camera: setting.camera, dragmode: "turntable", aspectmode: "manual",
          aspectratio: { x: 1.12 / scale, y: 1.12 * scale, z: 0.74 },
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

  function contour(surface, z, range, view, setting, base, ink) {
    const low = range ? range.low : 0, high = range ? range.high : 1, step = roundStep(high - low, 15);
    const main = {
      type: "contour", x: surface.x, y: surface.y, z, visible: Boolean(range), zmin: low, zmax: high, autocontour: false, connectgaps: false,
      colorscale: setting.scales[view.colour] || "Viridis", showscale: !setting.narrow, colorbar: { ...colourbar(setting, view, ink), x: 1.01 },
      contours: {
        coloring: "heatmap", start: step * Math.ceil(low / step), end: high, size: step, showlabels: !setting.narrow,
        labelfont: { size: 10.5, color: "#ffffff", family: FONT }, labelformat: ".2~f",
      },
      line: { width: 0.9, color: "rgba(255,255,255,0.62)" },
      hovertemplate: `α %{x:.3~g} · β %{y:.3~g}<br><b>${named(view)} %{z:.4~g}</b><extra></extra>`,
    };
    const dot = (p, name, marker) => ({
      type: "scatter", mode: "markers", x: [p ? p.x : 0], y: [p ? p.y : 0], visible: Boolean(p), name, hoverinfo: "skip", marker,
    });
    return {
      data: [main,
        dot(facts(surface).centre, "trained network", { size: 11, symbol: "diamond", color: "#ffffff", line: { color: "#0f172a", width: 1.5 } }),
        dot(setting.pin, "chosen cell", { size: 11, color: "#ff4d6d", line: { color: "#ffffff", width: 1.5 } })],
      layout: {
        ...base, margin: { l: 58, r: setting.narrow ? 14 : 78, t: 18, b: 52 }, dragmode: "pan",
        xaxis: flat(setting, ink, { title: label(setting.titles.x, ink), range: surface.range.x, constrain: "domain", zeroline: false }),
        yaxis: flat(setting, ink, { title: label(setting.titles.y, ink), range: surface.range.y, scaleanchor: "x", constrain: "domain", zeroline: false }),
      },
    };
  }

  /** Runs of neighbouring cells that have a value: a band must not bridge a hole. */
  function runs(values) {
    const found = [];
    values.forEach((v, i) => {
      if (!Number.isFinite(v)) return;
      const last = found[found.length - 1];
      if (last && last[last.length - 1] === i - 1) last.push(i); else found.push([i]);
    });
    return found;
  }

  function curve(surface, view, setting, base, ink) {
    const across = surface.columns > 1 || !surface.y;
    const t = across ? surface.x : surface.y;
    const pick = (rows) => (across ? rows[0] : rows.map((row) => row[0]));
    const raw = pick(surface.loss), error = pick(surface.stderr), loss = heights([raw], view.log)[0];
    const colour = setting.dark ? "#8b8dfb" : "#4f46e5", shade = setting.dark ? "rgba(139,141,251,0.24)" : "rgba(79,70,229,0.16)";
    const at = (i, sign) => { const v = raw[i] + sign * 2 * (error[i] || 0); return view.log ? Math.log10(Math.max(v, raw[i] / 100)) : v; };
    const range = span([loss, ...[-1, 1].map((sign) => loss.map((v, i) => (Number.isFinite(v) ? at(i, sign) : NaN)))], view);
    const band = { x: [], y: [] };
    runs(loss).forEach((run) => {
      const back = [...run].reverse();
      band.x.push(...run.map((i) => t[i]), ...back.map((i) => t[i]), null);
      band.y.push(...run.map((i) => at(i, 1)), ...back.map((i) => at(i, -1)), null);
    });
    const spot = (p, name, marker) => {
      const i = p ? nearest(t, across ? p.x : p.y) : 0;
      return { type: "scatter", mode: "markers", x: [t[i]], y: [loss[i]], visible: Boolean(p) && Number.isFinite(loss[i]), name, hoverinfo: "skip", marker };
    };
    const low = range ? range.low : 0, high = range ? range.high : 1, pad = 0.06 * (high - low);
    return {
      data: [
        { type: "scatter", mode: "lines+markers", x: t, y: loss, line: { color: colour, width: 2.5 }, marker: { size: t.length > 80 ? 3 : 6, color: colour },
          connectgaps: false, name: "mean loss", hovertemplate: `${across ? "α" : "β"} %{x:.3~g}<br><b>${named(view)} %{y:.4~g}</b><extra></extra>` },
        { type: "scatter", mode: "lines", ...band, fill: "toself", fillcolor: shade, line: { width: 0 }, hoverinfo: "skip", name: "± 2 standard errors" },
        spot(facts(surface).centre, "trained network", { size: 12, symbol: "diamond", color: ink.mark, line: { color: ink.edge, width: 1.5 } }),
        spot(setting.pin, "chosen cell", { size: 12, color: "#ff4d6d", line: { color: "#ffffff", width: 1.5 } })],
      layout: {
        ...base, margin: { l: 66, r: 22, t: 22, b: 54 }, dragmode: "pan",
        xaxis: flat(setting, ink, { title: label(across ? setting.titles.x : setting.titles.y, ink) }),
        yaxis: flat(setting, ink, { title: label(view.log ? setting.titles.log : setting.titles.z, ink), range: [low - pad, high + (view.clip ? 0 : pad)] }),
      },
    };
  }

  window.lossAtlas = { ...window.lossAtlas, scene: { CONFIG, home, decode, cell, facts, figure } };
})();
