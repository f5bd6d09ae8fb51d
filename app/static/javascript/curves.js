/* From measured curves and a View to what Plotly draws: one line each, with a band of two standard errors. Pure, as scene.js is. */
(() => {
  "use strict";

  const { basis, inks, named, flat, label } = window.lossAtlas.scene, { facts, heights, nearest, span } = window.lossAtlas.values;

  const INKS = {
    light: [["#4f46e5", "rgba(79,70,229,0.16)"], ["#c2570c", "rgba(194,87,12,0.16)"]],
    dark: [["#8b8dfb", "rgba(139,141,251,0.24)"], ["#f5a524", "rgba(245,165,36,0.22)"]],
  };
  const SYMBOLS = ["circle", "diamond-open"];

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

  /** One curve's values: where it lies, its heights, and the band around them. */
  function measured({ surface, name: said, index }, view, setting) {
    const name = said.replace(/[<>&%{}]/g, " ");  // Plotly reads marks in names
    const across = surface.columns > 1 || !surface.y;
    const t = across ? surface.x : surface.y;
    const pick = (rows) => (across ? rows[0] : rows.map((row) => row[0]));
    const raw = pick(surface.loss), error = pick(surface.stderr), loss = heights([raw], view.log)[0];
    const at = (i, sign) => { const v = raw[i] + sign * 2 * (error[i] || 0); return view.log ? Math.log10(Math.max(v, raw[i] / 100)) : v; };
    const edges = [-1, 1].map((sign) => loss.map((v, i) => (Number.isFinite(v) ? at(i, sign) : NaN)));
    const band = { x: [], y: [] };
    runs(loss).forEach((run) => {
      const back = [...run].reverse();
      band.x.push(...run.map((i) => t[i]), ...back.map((i) => t[i]), null);
      band.y.push(...run.map((i) => at(i, 1)), ...back.map((i) => at(i, -1)), null);
    });
    const [colour, shade] = INKS[setting.dark ? "dark" : "light"][index];
    return { surface, name, index, across, t, loss, rows: [loss, ...edges], band, colour, shade };
  }

  /** One picture of curves: lines first, in their order; then bands and marks.
   * lines: [{surface, name, index}], at most two; setting: as for `figure`. */
  function curves(lines, view, setting) {
    const ink = inks(setting.dark), several = lines.length > 1;
    const all = lines.map((line) => measured(line, view, setting));
    const range = span(all.flatMap(({ rows }) => rows), view), low = range ? range.low : 0, high = range ? range.high : 1, pad = 0.06 * (high - low);
    const line = ({ t, loss, colour, name, index, across }) => ({
      type: "scatter", mode: "lines+markers", x: t, y: loss, line: { color: colour, width: 2.5, dash: index ? "dash" : "solid" },
      marker: { size: t.length > 80 ? 3 : 6, color: colour, symbol: SYMBOLS[index] }, connectgaps: false, name,
      hovertemplate: `${several ? `${name}<br>` : ""}${across ? "α" : "β"} %{x:.3~g}<br><b>${named(view)} %{y:.4~g}</b><extra></extra>`,
    });
    const band = ({ band: outline, shade }) => ({
      type: "scatter", mode: "lines", ...outline, fill: "toself", fillcolor: shade, line: { width: 0 }, hoverinfo: "skip", name: "± 2 standard errors", showlegend: false,
    });
    const spot = ({ t, loss, across }, p, name, marker) => {
      const i = p ? nearest(t, across ? p.x : p.y) : 0;
      return { type: "scatter", mode: "markers", x: [t[i]], y: [loss[i]], visible: Boolean(p) && Number.isFinite(loss[i]), name, hoverinfo: "skip", marker, showlegend: false };
    };
    const marks = (m) => [
      spot(m, facts(m.surface).centre, "trained network", { size: 12, symbol: "diamond", color: ink.mark, line: { color: ink.edge, width: 1.5 } }),
      spot(m, setting.pin, "chosen cell", { size: 12, color: "#ff4d6d", line: { color: "#ffffff", width: 1.5 } })];
    const { titles } = setting, across = all.every((m) => m.across);
    return {
      data: [...all.map(line), ...all.map(band), ...all.flatMap(marks)],
      layout: {
        ...basis(ink), margin: { l: 66, r: 22, t: 22, b: 54 }, dragmode: "pan", showlegend: several,
        legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12, color: ink.text } },
        xaxis: flat(setting, ink, { title: label(across ? titles.x : titles.y, ink) }),
        yaxis: flat(setting, ink, { title: label(view.log ? titles.log : titles.z, ink), range: [low - pad, high + (view.clip ? 0 : pad)] }),
      },
    };
  }

  window.lossAtlas.scene = { ...window.lossAtlas.scene, curves };
})();
