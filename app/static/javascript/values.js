/* What a surface holds, as numbers: unpacked, looked up cell by cell, and ranked. Pure: no page, no network, no drawing.
 *
 * Z[j][i] is the loss at (x[i], y[j]). A cell without a finite value stays NaN. Beside the loss a cell may have quantities;
 * `told` is what the server says of them: {known: {name: {title, unit, meaning, axis_title}}, of_class, classes, nats}.
 */
(() => {
  "use strict";

  /** The bytes of a base64 string as a typed array (little-endian, as sent). */
  const numbers = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  const cut = (flat, rows, columns) => Array.from({ length: rows }, (_, r) => Array.from(flat.subarray(r * columns, (r + 1) * columns)));

  /** One "surface" event with its arrays unpacked to rows. */
  function decode(event) {
    const { rows, columns } = event;
    const tables = Object.entries(event.quantities || {}).map(([name, text]) => [name, cut(numbers(text, Float32Array), rows, columns)]);
    return {
      ...event,
      loss: cut(numbers(event.loss, Float32Array), rows, columns),
      stderr: cut(numbers(event.stderr, Float32Array), rows, columns),
      accuracy: cut(numbers(event.accuracy, Float32Array), rows, columns),
      counts: cut(numbers(event.counts, Int32Array), rows, columns),
      quantities: Object.fromEntries(tables),
    };
  }

  /* -- what else is known of the cells -- */

  const CLASS = /^class_accuracy_(\d+)$/;

  /** The formulas of what is derived and never sent, as in `landscape_core/quantities.py`. */
  const DERIVED = {
    perplexity: { of: (surface, told) => told.nats, at: (surface, j, i) => Math.exp(surface.loss[j][i]) },
    negative_curvature: {
      of: ({ quantities }) => quantities.min_eig && quantities.max_eig,
      at({ quantities }, j, i) {
        const low = quantities.min_eig[j][i], high = quantities.max_eig[j][i];
        return Number.isFinite(low) && Number.isFinite(high) ? (low < 0 ? Math.abs(low / high) : 0) : NaN;
      },
    },
  };

  /** What is measured after the losses, first on a coarse grid. */
  const EIGENVALUES = new Set(["max_eig", "min_eig", "negative_curvature"]);

  /** The surface on the grid on which a quantity is known: all of it, but for eigenvalues while they are being measured. */
  function known(surface, name) {
    if (!surface.eigenvalues || !EIGENVALUES.has(name)) return surface;
    const { rows, columns } = surface.eigenvalues, cut = (table) => rows.map((j) => columns.map((i) => table[j][i]));
    const tables = Object.fromEntries(["loss", "stderr", "accuracy", "counts"].map((table) => [table, cut(surface[table])]));
    const quantities = Object.fromEntries(Object.entries(surface.quantities).map(([each, table]) => [each, cut(table)]));
    const axes = { x: columns.map((i) => surface.x[i]), y: surface.y && rows.map((j) => surface.y[j]), rows: rows.length, columns: columns.length };
    return { ...surface, ...axes, ...tables, quantities, eigenvalues: null };
  }

  /** Name, title, unit and meaning of a quantity. */
  function about(name, told) {
    const found = CLASS.exec(name);
    if (!found) return { name, ...told.known[name] };
    const called = told.classes?.[found[1]] ?? `class ${found[1]}`;
    const { title, unit, meaning, axis_title } = told.of_class, say = (text) => text.replace("{}", called);
    return { name, title: say(title), unit, meaning: say(meaning), axis_title: say(axis_title), class: Number(found[1]), called };
  }

  /** What the cells of this surface have values of, in the order in which it is listed: the loss first, derived ones last. */
  function available(surface, told) {
    const order = Object.keys(told.known), rank = (name) => (CLASS.test(name) ? order.length + Number(CLASS.exec(name)[1]) : order.indexOf(name));
    const stored = Object.keys(surface.quantities).filter((name) => CLASS.test(name) || told.known[name]).sort((a, b) => rank(a) - rank(b));
    const plain = surface.accuracy.some((row) => row.some(Number.isFinite)) ? ["loss", "accuracy"] : ["loss"];
    return [...plain, ...stored, ...Object.keys(DERIVED).filter((name) => DERIVED[name].of(surface, told))];
  }

  /** The values of one of them, row by row; NaN where there is none. */
  function table(surface, name) {
    if (name === "loss" || name === "accuracy") return surface[name];
    if (!DERIVED[name]) return surface.quantities[name];
    return surface.loss.map((row, j) => row.map((_, i) => { const v = DERIVED[name].at(surface, j, i); return Number.isFinite(v) ? v : NaN; }));
  }

  /** What the colours show: the values and what they are; null if they show the loss. */
  function colouring(surface, view, told) {
    const name = view.colour_by || "loss";
    if (name === "loss" || !available(surface, told).includes(name)) return null;
    const values = table(surface, name);
    const drawn = values.flatMap((row, j) => row.filter((v, i) => Number.isFinite(v) && Number.isFinite(surface.loss[j][i]) && !(view.clip && surface.loss[j][i] > view.clip)));
    const low = drawn.reduce((a, b) => Math.min(a, b), Infinity), high = drawn.reduce((a, b) => Math.max(a, b), -Infinity);
    const range = !drawn.length ? { low: 0, high: 1 } : high > low ? { low, high } : { low: low - 0.5, high: high + 0.5 };
    return { ...about(name, told), values, range };
  }

  /** The quantities of one cell beside its loss and accuracy, with what they are. */
  function further(surface, j, i, told) {
    const names = available(surface, told).filter((name) => name !== "loss" && name !== "accuracy");
    return names.map((name) => ({ ...about(name, told), value: finite(DERIVED[name] ? DERIVED[name].at(surface, j, i) : surface.quantities[name][j][i]) }));
  }

  /** Index of the coordinate nearest to a value. */
  const nearest = (axis, value) => axis.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(axis[best] - value) ? i : best), 0);

  /** Everything that is known about the cell nearest to (x, y); quantities only if they are asked for. */
  function cell(surface, x, y, told) {
    const i = nearest(surface.x, x), j = surface.y ? nearest(surface.y, y) : 0;
    return {
      x: surface.x[i], y: surface.y ? surface.y[j] : null, i, j,
      loss: finite(surface.loss[j][i]), stderr: finite(surface.stderr[j][i]),
      accuracy: finite(surface.accuracy[j][i]), examples: surface.counts[j][i],
      estimated: surface.quantities.estimation_error?.[j][i] > 0,
      perplexity: surface.perplexity ? finite(Math.exp(surface.loss[j][i])) : null,
      ...(told ? { further: further(surface, j, i, told) } : {}),
    };
  }

  const finite = (value) => (Number.isFinite(value) ? value : null);

  /** How many cells have a loss but not this quantity. */
  const unknown = (surface, name) => surface.quantities[name].flatMap((row, j) => row.filter((v, i) => !Number.isFinite(v) && Number.isFinite(surface.loss[j][i]))).length;

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
      low, high, centre: centred ? middle : null, not_finite: surface.not_finite, estimate: surface.estimate || null,
      unknown: Object.fromEntries(Object.keys(surface.quantities).map((name) => [name, unknown(known(surface, name), name)])),
      eigenvalues: surface.eigenvalues ? { rows: surface.eigenvalues.rows.length, columns: surface.eigenvalues.columns.length } : null,
      cells: surface.rows * surface.columns, rows: surface.rows, columns: surface.columns,
    };
  }

  /** How much of a fast surface is estimated, and how well: [name, value, meaning] each. */
  function estimateRows(estimate, cells) {
    const share = (value) => `${(100 * value).toPrecision(2)} %`, known = (value) => value !== null && value !== undefined;
    if (!estimate) return [];
    return [
      ["Estimated cells", `${estimate.cells.toLocaleString("en")} of ${cells.toLocaleString("en")}`, "The others have seen every example"],
      known(estimate.share) && ["Estimated error", `± ${share(estimate.share)}`, "Root mean square error that is expected, of the losses' range"],
      known(estimate.log_share) && ["… of the logarithm", `± ${share(estimate.log_share)}`, "Alike, of the logarithm's range"],
      known(estimate.cost) && ["Cost", share(estimate.cost), "Of what measuring everything costs"],
    ].filter(Boolean);
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

  window.lossAtlas = { ...window.lossAtlas, values: { about, available, cell, colouring, decode, estimateRows, facts, heights, known, nearest, span, table } };
})();
