/* Clientside callbacks, by page. Each is a named function of the values it is given; what they draw is Dash components. */
(() => {
  "use strict";

  const { stream, whereabouts } = window.lossAtlas;
  const no = () => window.dash_clientside.no_update;

  /* -- components and words -- */

  const html = (type, props, ...children) => ({ type, namespace: "dash_html_components", props: { ...props, children: children.flat().filter((c) => c !== null) } });
  const badge = (text, color) => ({ type: "Badge", namespace: "dash_mantine_components", props: { children: text, color, variant: "light", radius: "sm", className: "state" } });
  const facts = (rows) => html("Dl", { className: "facts" }, rows.filter(Boolean).map(([name, value, title]) => html("Div", { className: "fact", title }, html("Dt", {}, name), html("Dd", {}, value))));

  const count = (n) => Math.round(n).toLocaleString("en-US");
  const minus = (text) => text.replace("-", "−");
  const short = (v) => (v === null || v === undefined ? "—" : minus(Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : String(Number(v.toPrecision(4)))));
  const perplexity = (p) => (Number.isFinite(p.perplexity) ? ["Perplexity", short(p.perplexity), "exp of the mean loss over the tokens"] : null);
  const place = (v) => minus(String(Number(v.toFixed(4))));
  const at = (p) => (p.y === null || p.y === undefined ? `α ${place(p.x)}` : `α ${place(p.x)}, β ${place(p.y)}`);
  const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

  function size(bytes) {
    const units = ["bytes", "kB", "MB", "GB"];
    let unit = 0;
    while (bytes >= 1000 && unit < 3) { bytes /= 1000; unit += 1; }
    return `${unit ? Number(bytes.toPrecision(3)) : bytes} ${units[unit]}`;
  }

  function duration(seconds) {
    if (seconds < 1) return "under a second";
    if (seconds < 90) return `about ${Math.round(seconds)} s`;
    if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
    return `about ${(seconds / 3600).toFixed(1)} h`;
  }

  /* -- every page -- */

  const shell = {
    /** The page at an address, as the server lays it out; a sentence where it does not. */
    async show(path, search) {
      const asked = new URL(window.location.origin);
      asked.pathname = `${(path || "/").replace(/\/+$/, "")}/content`;
      asked.search = search || "";
      let problem = "The server does not answer; reload the page in a moment.";
      try {
        const response = await fetch(asked);
        problem = `What answered is no page of Loss Atlas (HTTP ${response.status}): a login in front of it may have run out; reload the page.`;
        const answer = await response.json();
        if (answer.content) return [answer.content, answer.title];
        problem = answer.error?.message || problem;
      } catch { /* said below */ }
      return [html("Div", { className: "not-found", role: "alert" }, problem), "Loss Atlas"];
    },
    /** Marks the page in the navigation, and shows its top, or where it was left; a figure that was left closes its stream. */
    arrive(path, title) {
      const here = path || "/";
      whereabouts.enter(here);
      document.querySelectorAll(".top-link").forEach((link) => (link.getAttribute("href") === here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
      if (title) document.title = title;
      if (!here.startsWith("/s/")) document.documentElement.dataset.frame = "whole";
      if (!/^\/(surface|s)\//.test(here) && !(here === "/compare" && new URLSearchParams(window.location.search).has("b"))) stream.leave();
      if (here === "/new") stream.load().catch(() => null);
      return here;
    },
    /** A dialog opens when something is asked, and closes when it is answered. */
    dialog: (asked) => Boolean(asked) && window.dash_clientside.callback_context.triggered_id?.endsWith("-doomed") === true,
    open: (clicks) => Boolean(clicks),
  };

  /* -- uploads -- */

  const PHASES = {
    uploading: "Uploading", retrying: "The connection was lost; trying again", storing: "Arrived; the server stores it",
    inspecting: "Inspecting…", ready: "Ready", cancelled: "Cancelled",
  };

  const upload = {
    show(state) {
      if (!state || !state.phase) return [true, "upload-panel", "", 0, "", true, true];
      const { phase, sent, size: total, speed, left, problem, waiting } = state;
      const share = total ? Math.min(100, (100 * (sent || 0)) / total) : 0;
      const parts = [problem || PHASES[phase]];
      if (phase === "uploading") {
        parts.push(`${share.toFixed(share < 10 ? 1 : 0)} %`, `${size(sent || 0)} of ${size(total)}`);
        if (speed) parts.push(`${size(Math.round(speed))}/s`);
        if (left > 1) parts.push(`${duration(left)} left`);
      }
      if (waiting) parts.push(`${waiting} more waiting`);
      const over = ["ready", "rejected", "cancelled"].includes(phase);
      return [false, `upload-panel upload-${phase}`, state.name, over || phase === "inspecting" ? 100 : share, parts.join(" · "), phase !== "failed", over || phase === "inspecting" || phase === "storing"];
    },
    openSurface(state) {
      if (state?.phase !== "ready") return null;
      const [href, children] = state.other ? [`/compare?a=${state.id}&b=${state.other}`, "Compare the imported train and test surfaces"] : [`/surface/${state.id}`, "Open the imported surface"];
      return { type: "Anchor", namespace: "dash_mantine_components", props: { href, children, className: "link-button", underline: "never" } };
    },
  };

  /* -- the form -- */

  const form = {
    reveal(shape, order, directions, preprocessing, curvature, budget) {
      const own = preprocessing === "custom" ? "preprocessing-custom" : "";
      return ["form", `shape-${shape}`, `order-${order}`, `directions-${directions}`, `curvature-${curvature}`, `budget-${budget}`, own].join(" ");
    },
    preset: (value) => (value === "0" ? [no(), no()] : [Number(value), Number(value)]),
    draw() {
      const [x, y] = crypto.getRandomValues(new Uint32Array(2));
      return [x % 1000000, (y % 1000000) + (x % 1000000 === y % 1000000 ? 1 : 0)];
    },
    explain: (norm, origin) => origin.norms[norm] || "",
    go: (path) => (path ? [path, ""] : [no(), no()]),
    file: (state) => (state?.phase === "ready" ? state.id : no()),
  };

  /* -- the surface -- */

  const STATES = {
    queued: ["Waiting", "gray"], running: ["Computing", "indigo"], finished: ["Finished", "teal"], failed: ["Failed", "red"], cancelled: ["Cancelled", "orange"],
  };
  const HOMES = { queued: true, running: true };

  function sentence({ state, progress, connection, sent }) {
    if (connection === "lost") return "The connection was lost; trying again…";
    if (!HOMES[state]) return "";
    if (sent && !progress?.stage) return "Waiting for its sender's first surface";
    if (!progress || !(progress.stages || sent)) return "Waiting for a worker";
    const parts = [progress.stages ? `Stage ${progress.stage} of ${progress.stages}` : `Stage ${progress.stage}`];
    if (sent) parts.push("sent while it is computed");
    if (progress.measures === "eigenvalues") parts.push("measuring eigenvalues");
    else if (progress.examples) parts.push(plural(progress.examples, "example a cell", "examples a cell"));
    if (progress.seconds_left !== null && progress.seconds_left !== undefined) parts.push(`${duration(progress.seconds_left)} left`);
    return parts.join(" · ");
  }

  function waitingFor(live) {
    if (live.facts?.low) return null;
    if (live.facts) return "No cell of this surface has a finite loss, so there is nothing to draw.";
    if (live.state === "failed") return "The computation failed before there was a surface to show.";
    if (live.state === "cancelled" && live.sent) return "It was left unfinished before there was a surface to show.";
    if (live.state === "cancelled") return "Cancelled before there was a surface to show.";
    return live.state === "queued" ? "Waiting for a worker…" : "The first whole surface is on its way…";
  }

  const eigenvaluesSoFar = ({ rows, columns }) => (rows > 1
    ? `Eigenvalues so far on a grid of ${rows} × ${columns} of its cells; coloured by them, that grid is drawn.`
    : `Eigenvalues so far at ${count(columns)} of its cells.`);

  /** The accuracy of each class at a cell, as bars from 0 to 100 %. */
  function classes(found) {
    if (!found.length) return null;
    const bar = ({ value }) => html("Span", { className: "class-bar", "aria-hidden": "true" }, html("Span", { style: { width: `${value ?? 0}%` } }));
    const row = (q) => html("Div", { className: "class-row", title: q.meaning }, html("Dt", {}, q.called), html("Dd", {}, bar(q), html("Span", { className: "class-value" }, q.value === null ? "—" : `${short(q.value)} %`)));
    return html("Div", { className: "classes" }, html("H3", { className: "classes-title" }, "Accuracy of each class"), html("Dl", { className: "class-rows" }, found.map(row)));
  }

  const surface = {
    /** Begins to follow; the controls say again what they said when the page was left, or what the link says. */
    start(address) {
      if (!address) return [no(), no(), no(), no(), no(), no()];
      document.title = `${address.title} · Loss Atlas`;
      stream.follow(address);
      const view = stream.remembered(address);
      return [view.projection || "surface", view.colour_by || "loss", view.colour || "Viridis", Boolean(view.log ?? address.log), view.clip ?? "", Boolean(view.contours)];
    },
    look(projection, by, colour, log, clip, contours, address) {
      if (!address) return [no(), no()];
      const limit = Number(clip);
      const view = { projection, colour_by: by || "loss", colour, log, clip: clip !== "" && clip !== null && limit > 0 ? limit : null, contours };
      stream.look(view);
      document.querySelector(".toolbar")?.classList.toggle("looks-contour", projection === "contour");
      const scale = address.scales[colour] || [];
      return [view, { background: `linear-gradient(90deg, ${scale.map((stop) => stop[1]).join(", ")})` }];
    },
    /** What the colours may show, as far as the streams have brought it. */
    colours(brought, shown) {
      const known = (brought || []).map((c) => ({ value: c.name, label: c.title }));
      return !known.length || JSON.stringify(known) === JSON.stringify(shown) ? no() : known;
    },
    home(clicks) { if (clicks) stream.resetCamera(); return clicks || 0; },
    picture(clicks, address) {
      if (clicks) stream.picture(`loss-landscape-${address.surface.slice(0, 12)}`);
      return clicks || 0;
    },
    progress(live) {
      if (!live || !live.state) return [no(), no(), no(), no(), no(), no()];
      const left = live.sent && live.state === "cancelled";
      const [word, colour] = left ? ["Unfinished", "orange"] : STATES[live.state], note = waitingFor(live);
      const done = live.state === "finished" ? 100 : 100 * (live.progress?.done || 0);
      const spinner = HOMES[live.state] && note ? html("Div", { className: "stage-spinner" }) : null;
      return [
        badge(word, colour), done, `progress-bar ${HOMES[live.state] ? "" : "progress-over"}`, sentence(live),
        live.problem || null, note ? html("Div", { className: `stage-note-box ${HOMES[live.state] && !live.facts ? "stage-note-early" : ""}` }, spinner, html("Div", {}, note)) : null,
      ];
    },
    buttons(live, told) {
      const shown = (yes) => (yes ? {} : { display: "none" });
      if (!live) return [shown(false), shown(false), no()];
      const over = !HOMES[live.state];
      return [shown(!over && !live.sent), shown(!live.sent && (live.state === "failed" || live.state === "cancelled")), over && told !== live.state ? live.state : no()];
    },
    /** What can be taken away: numbers once there is a whole surface, directions once it is finished. */
    downloads(live) {
      const f = live?.facts;
      const without = { none: !f, unfinished: live?.state !== "finished", curve: f && Math.min(f.rows, f.columns) < 2 };
      return ["downloads", ...Object.keys(without).filter((name) => without[name]).map((name) => `downloads-${name}`)].join(" ");
    },
    facts(live) {
      const f = live?.facts;
      if (!f) return [html("P", { className: "dim" }, "Nothing measured yet."), null];
      const grid = f.rows > 1 ? `${f.columns} × ${f.rows}` : plural(f.columns, "point", "points");
      return [
        facts([
          ["Trained network", short(f.centre?.loss), "Mean loss at the centre, α = β = 0"],
          f.centre && perplexity(f.centre),
          f.low && ["Minimum", [html("Span", {}, short(f.low.loss)), html("Span", { className: "where" }, at(f.low))]],
          f.high && ["Maximum", [html("Span", {}, short(f.high.loss)), html("Span", { className: "where" }, at(f.high))]],
          ["Grid shown", grid], [f.estimate ? "Mean over" : "Examples a cell", f.estimate ? plural(live.examples || 0, "example", "examples") : count(live.examples || 0)],
          ...window.lossAtlas.values.estimateRows(f.estimate, f.cells),
        ]),
        [
          f.not_finite ? html("Div", { className: "holes" }, `${plural(f.not_finite, "cell is", "cells are")} not finite: measured, and shown as ${f.not_finite === 1 ? "a hole" : "holes"}.`) : null,
          f.eigenvalues ? html("Div", { className: "holes" }, eigenvaluesSoFar(f.eigenvalues)) : null,
          f.estimate?.undecided ? html("Div", { className: "holes" }, `${plural(f.estimate.undecided, "cell is", "cells are")} undecided, because beside them a loss is not finite: shown as holes.`) : null,
          ...(live.colours || []).filter((c) => f.unknown[c.name]).map((c) => html("Div", { className: "holes" }, `${c.title}: unknown at ${plural(f.unknown[c.name], "cell that has", "cells that have")} a loss; coloured by it, the surface is grey there, and the contour picture empty.`)),
        ],
      ];
    },
    /** How flat it is around the network, of the grid shown. A lower bound has ≥; the words say why. */
    flatness(live) {
      const f = live?.flatness;
      if (!f) return html("P", { className: "dim" }, "Nothing measured yet.");
      if (f.centre_loss === null) return html("P", { className: "dim" }, "The grid has no loss at the centre, α = β = 0, so there is no basin around it.");
      const told = (m, unit = "") => (m.value === null ? "—" : `${m.is_bound ? "≥ " : ""}${short(m.value)}${unit}`);
      const row = (name, m, text, unit) => m && [name, told(m, unit), `${text}${m.note ? ` ${m.note}` : ""}`];
      const basin = `with a loss of at most ${short(f.level)}: ${f.level_is}.`;
      const barriers = f.barriers.filter((b) => b.above_line !== null).flatMap((b) => {
        const name = f.barriers.length > 1 ? `Barrier along ${b.axis === "x" ? "δ" : "η"}` : "Barrier", bound = b.is_bound ? "≥ " : "";
        const why = `The highest loss between the two checkpoints is ${short(b.peak_loss)}, at ${place(b.peak_at)} between 0 and 1. ${b.note}`;
        return [
          [name, `${bound}${short(b.above_line)}`, `Most that the loss on the way lies above the straight line between both ends' losses. ${why}`],
          ["… over the mean", `${bound}${short(b.above_mean)}`, `Highest loss less the mean of both ends' losses (Frankle et al. 2020). ${why}`],
          ["… over the higher end", `${bound}${short(b.above_higher_end)}`, `Highest loss less the higher end's. ${why}`],
        ];
      });
      const rows = [
        ...barriers,
        row("Basin width, δ", f.width_x, `Length along δ through the centre ${basin} In units of δ.`),
        row("Basin width, η", f.width_y, `Length along η through the centre ${basin} In units of η.`),
        row("Basin area", f.area, `Connected region around the centre ${basin} In units of δ times η.`),
        row("ε-sharpness", f.sharpness, `Highest rise of the loss where |α| and |β| are at most ${place(f.epsilon)}, over 1 + the centre's loss (Keskar et al. 2017), in this plane only.`, " %"),
      ].filter(Boolean);
      const meaning = rows.map(([name, , text]) => html("P", { className: "dim" }, html("B", {}, `${name}. `), text));
      return html("Div", {}, facts(rows), f.note ? html("P", { className: "dim" }, f.note) : null, html("Details", { className: "panel-note" },
        html("Summary", {}, "What these numbers are"), meaning, html("P", { className: "dim" }, "All of them are of this plane alone. “≥”: at least.")));
    },
    cell(point) {
      if (!point) return html("P", { className: "dim" }, "Point at the surface, or click a cell to keep it.");
      const hint = { hover: "under the pointer", pin: "chosen; Escape lets go", centre: "the trained network" }[point.kind];
      const loss = point.loss === null ? "not finite" : [html("Span", {}, short(point.loss)), point.stderr === null ? null : html("Span", { className: "where" }, `± ${short(point.stderr)}`)];
      return html("Div", {}, html("P", { className: "cell-kind" }, hint), facts([
        ["α", place(point.x)], point.y === null ? null : ["β", place(point.y)],
        [point.estimated ? "Mean loss, estimated" : "Mean loss", loss, `± standard error of the mean over the examples${point.estimated ? ", with the estimation error" : ""}`],
        ["Accuracy", point.accuracy === null ? "—" : `${short(point.accuracy)} %`],
        ...point.further.filter((q) => q.class === undefined && (q.name !== "perplexity" || point.perplexity !== null)).map((q) => [q.title, q.value === null ? "—" : `${short(q.value)}${q.unit && ` ${q.unit}`}`, q.meaning]),
        [point.estimated ? "Examples seen here" : "Examples", count(point.examples)],
      ]), classes(point.further.filter((q) => q.class !== undefined)));
    },
    reopen(clicks, address) { if (clicks) stream.follow(address); return clicks || 0; },
    /** What a link shall show: the view as it is at this moment. */
    wish(clicks) {
      const view = clicks ? stream.view() : null;
      if (!view) return no();
      const vector = ({ x, y, z }) => ({ x, y, z }), { eye, center, up } = view.camera;
      return { clicks, view: { ...view, camera: { eye: vector(eye), center: vector(center), up: vector(up) } } };
    },
  };

  /* -- two surfaces -- */

  const compare = {
    /** The switches say what the pictures have in common; a new page has its own switches, and they may speak before it is followed. */
    bind(linked, same, address) {
      if (address) stream.bind(Boolean(linked), Boolean(same), address);
      return no();
    },
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside, { shell, upload, form, surface, compare });

  /* -- functions that Mantine components call by name -- */

  const element = (...parts) => window.React.createElement(...parts);
  window.dashMantineFunctions = Object.assign({}, window.dashMantineFunctions, {
    colourOption: ({ option }, gradients) => element("span", { className: "colour-option" },
      element("span", { className: "swatch", style: { background: gradients[option.value] } }), element("span", null, option.label)),
  });
})();
