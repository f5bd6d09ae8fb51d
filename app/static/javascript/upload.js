/* Uploads by tus: drop zones and file pickers anywhere on a page, one file after another, resumable.
 *
 * A zone is an element with class `dropzone` and the attributes data-kind (checkpoint, dataset, directions, surface) and
 * data-store (id of the dcc.Store that is told how far it is). Buttons with data-upload="cancel" or "resume" act on their kind.
 * The uploads live as long as the tab: they go on while other pages of the app are looked at.
 *
 *   waiting ─▶ uploading ─▶ storing ─▶ inspecting ─▶ ready | rejected        (failed: can be resumed)
 */
(() => {
  "use strict";

  const CHUNK = 8 << 20, POLL_MS = 500, TELL_EVERY_MS = 150, API = "/api/v1";
  // A connection that broke unnoticed holds its upload for a minute: the server answers 409 until then.
  const RETRIES_MS = [0, 500, 1000, 3000, 5000, 10000, 20000, 40000], LOST_AFTER = 5, BUSY = new Set([408, 409, 423]);
  const COLLECTION = { checkpoint: "checkpoints", dataset: "datasets", directions: "directions", surface: "surfaces" };
  const jobs = {};

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  function tell(job, change) {
    job.state = { ...job.state, ...change, waiting: job.queue.length };
    window.dash_clientside.set_props(job.store, { data: job.state });
  }

  /** The server's own sentence, if it gave one. */
  function sentence(error) {
    const response = error.originalResponse;
    if (!response) return "The connection was lost. What has arrived is kept: press Resume to go on.";
    try {
      const body = JSON.parse(response.getBody());
      const message = body.error?.message ?? body.detail;
      if (typeof message === "string" && message) return message;
    } catch { /* no JSON */ }
    return `The server refused the file (status ${response.getStatus()}).`;
  }

  function accept(zone, files) {
    const { kind, store } = zone.dataset;
    const job = (jobs[kind] = jobs[kind] || { kind, store, queue: [], state: {}, busy: false });
    job.queue.push(...files);
    if (job.busy) tell(job, {}); else next(job);
  }

  function next(job) {
    const file = job.queue.shift();
    job.busy = Boolean(file);
    if (file) begin(job, file);
  }

  function begin(job, file) {
    const clock = { at: performance.now(), sent: 0, speed: null, told: 0, first: true };
    job.state = {};
    tell(job, { phase: "uploading", name: file.name, size: file.size, sent: 0 });
    if (file.size === 0) { tell(job, { phase: "rejected", problem: "The file is empty." }); next(job); return; }
    const upload = (job.upload = new window.tus.Upload(file, {
      endpoint: `${API}/uploads/`, chunkSize: CHUNK, retryDelays: RETRIES_MS, removeFingerprintOnSuccess: true,
      metadata: { filename: file.name, filetype: file.type || "application/octet-stream", kind: job.kind },
      onProgress: (sent) => progress(job, clock, sent, file.size),
      onShouldRetry: (error, attempt) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const again = status === 0 ? attempt < LOST_AFTER : BUSY.has(status) || status >= 500;
        if (again) tell(job, { phase: "retrying" });
        return again;
      },
      onError: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const refused = status >= 400 && status < 500 && !BUSY.has(status);
        tell(job, { phase: refused ? "rejected" : "failed", problem: sentence(error) });
        if (refused) next(job);
      },
      onSuccess: () => inspect(job, upload),
    }));
    upload.findPreviousUploads().then((earlier) => {
      if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
      upload.start();
    });
  }

  function progress(job, clock, sent, size) {
    const now = performance.now(), seconds = (now - clock.at) / 1000;
    if (clock.first) { clock.first = false; clock.sent = sent; clock.at = now; }
    if (seconds > 0.4 && sent >= clock.sent) {
      const speed = (sent - clock.sent) / seconds;
      clock.speed = clock.speed === null ? speed : 0.7 * clock.speed + 0.3 * speed;
      clock.at = now;
      clock.sent = sent;
    }
    if (now - clock.told < TELL_EVERY_MS && sent < size) return;
    clock.told = now;
    tell(job, { phase: sent < size ? "uploading" : "storing", sent, speed: clock.speed, left: clock.speed ? (size - sent) / clock.speed : null });
  }

  async function answer(url) {
    try {
      const response = await fetch(url);
      if (response.status === 404) return null;
      const body = await response.json();
      return response.ok ? body : { state: "rejected", problem: body.error?.message ?? "The server could not store the file." };
    } catch { return null; }
  }

  /** After the last byte: learn the id, then wait for the verdict. */
  async function inspect(job, upload) {
    tell(job, { phase: "storing", sent: upload.file.size });
    const uid = upload.url.split("/").filter(Boolean).pop();
    let result = null;
    for (let i = 0; !result && i < 2400; i += 1) {
      result = await answer(`${API}/uploads/${uid}/result`);
      if (!result) await sleep(POLL_MS);
    }
    if (!result) { tell(job, { phase: "rejected", problem: "The server did not say what became of the file; upload it again." }); next(job); return; }
    const id = result.id;
    if (result.state === "inspecting") tell(job, { phase: "inspecting", id });
    while (result.state === "inspecting" || (job.kind === "surface" && result.state === "queued")) {
      await sleep(POLL_MS);
      result = (await answer(`${API}/${COLLECTION[job.kind]}/${id}`)) || result;
    }
    const half = result.test_half ?? result.provenance?.splits?.test, other = /^[0-9a-f]{64}$/.test(half ?? "") ? half : null;
    tell(job, { phase: result.state === "rejected" || result.state === "failed" ? "rejected" : "ready", id, other, problem: result.problem ?? null });
    next(job);
  }

  function act(kind, action) {
    const job = jobs[kind];
    if (!job) return;
    if (action === "resume") { tell(job, { phase: "uploading", problem: null }); job.upload.start(); return; }
    job.upload?.abort(true).catch(() => { /* the server keeps the part for two days at most */ });
    tell(job, { phase: "cancelled" });
    next(job);
  }

  function pick(zone) {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = zone.dataset.accept || "";
    input.multiple = zone.dataset.multiple === "true";
    input.addEventListener("change", () => accept(zone, [...input.files]));
    input.click();
  }

  const zoneOf = (event) => (event.target instanceof Element ? event.target.closest(".dropzone") : null);

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-upload]") : null;
    if (button) { act(button.dataset.kind, button.dataset.upload); return; }
    const zone = zoneOf(event);
    if (zone) pick(zone);
  });

  let depth = 0;
  const mark = (zone) => document.querySelectorAll(".dropzone").forEach((z) => z.classList.toggle("over", z === zone));
  document.addEventListener("dragenter", (event) => { depth += 1; mark(zoneOf(event)); document.documentElement.classList.add("dragging"); });
  document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; mark(null); document.documentElement.classList.remove("dragging"); } });
  document.addEventListener("dragover", (event) => { event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark(null);
    document.documentElement.classList.remove("dragging");
    const zone = zoneOf(event), files = [...(event.dataTransfer?.files || [])];
    if (zone && files.length) accept(zone, zone.dataset.multiple === "true" ? files : files.slice(0, 1));
  });

  window.lossAtlas = { ...window.lossAtlas, upload: { jobs } };
})();
