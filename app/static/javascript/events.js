/* Follows one surface over Server-Sent Events.
 *
 * Every event is whole in itself, so any may be missed: a stream can be closed while the tab is hidden and opened again.
 * What it knows goes into the page's store `address.ids.live`; `heard()` is called when there is something new to paint.
 */
(() => {
  "use strict";

  const RETRY_MS = [1000, 2000, 4000, 8000, 15000], LOOK_AGAIN_MS = 30000, FRAME_WITHIN_MS = 500, WORDS_AFTER_MS = 400, WORDS_WITHIN_MS = 1500;
  const { about, available, decode, facts } = window.lossAtlas.values;
  const tell = (id, data, property = "data") => window.dash_clientside.set_props(id, { [property]: data });

  /** Acts when the next frame is on its way to the screen, which Dash would hold up; where no frame comes, a moment later. */
  function afterFrame(act) {
    let late = null;
    const once = () => { if (late) { clearTimeout(late); late = null; act(); } };
    late = setTimeout(once, FRAME_WITHIN_MS);
    requestAnimationFrame(() => setTimeout(once, 0));
  }

  /** What is called here acts after the next frame; where a processor draws, when no picture came for a moment, or has waited long: what Dash does holds up pictures that follow. */
  function afterPictures(act) {
    let since = null, timer = null;
    const now = () => {
      if (since === null) return;  // another frame has said it
      since = null;
      act();
    };
    return () => {
      since = since ?? performance.now();
      clearTimeout(timer);
      const wait = window.lossAtlas.sharpness.isSlow() ? Math.min(WORDS_AFTER_MS, since + WORDS_WITHIN_MS - performance.now()) : 0;
      timer = setTimeout(() => afterFrame(now), Math.max(0, wait));
    };
  }

  /** The component with this id in a page's content; null if there is none. */
  function part(node, id) {
    if (Array.isArray(node)) return node.reduce((found, child) => found || part(child, id), null);
    if (!node?.props) return null;
    return node.props.id === id ? node : part(node.props.children, id);
  }

  /** address: {events, state, progress, sent, told, ids: {live}} of a surface. */
  function follow(address, heard) {
    const me = { address, surface: null, stages: [], live: { state: address.state, progress: address.progress, sent: address.sent }, ended: false, open, close, again, leave };
    let source = null, failures = 0, reopen = null, left = false, early = address.sent && !address.progress.stage;

    const say = afterPictures(() => { if (!left) tell(address.ids.live, me.live); });

    /** The page's store is told of it a moment later: of events that came soon after each other once; where a processor draws, after the pictures. */
    function report(change) {
      me.live = { ...me.live, ...change };
      say();
    }

    function open() {
      if (source || me.ended || document.hidden) return;
      const mine = source = new EventSource(address.events);
      const on = (name, act) => mine.addEventListener(name, (e) => { if (source === mine) act(JSON.parse(e.data)); });
      mine.onopen = () => { if (source === mine) { failures = 0; report({ connection: "open" }); } };
      mine.onerror = () => { if (source === mine) lost(); };
      on("surface", (event) => {
        me.surface = decode(event);
        me.stages.push(event.stage);
        heard();
        const colours = available(me.surface, address.told).map((name) => about(name, address.told));
        report({ progress: event.progress, state: event.state, facts: facts(me.surface), colours, flatness: event.flatness, examples: event.examples, stage: event.stage, stages: event.stages });
        if (early) learn();
      });
      on("progress", (event) => report({ progress: event.progress, state: event.state }));
      on("end", (event) => { ended(event); report({ state: event.state, problem: event.problem, connection: "ended" }); heard(); measured(); });
    }

    /** A page that was opened before anything had come knows no question. What it would say now is asked of its own address. */
    async function learn() {
      early = false;
      const own = new URL(window.location.href);
      own.pathname = `${own.pathname.replace(/\/+$/, "")}/content`;
      const content = await fetch(own).then((response) => (response.ok ? response.json() : {})).then((body) => body.content).catch(() => null);
      const page = part(content, address.ids.address)?.props.data, fresh = (page?.surfaces || [page]).find((each) => each?.surface === address.surface);
      if (left || !fresh) return;
      Object.assign(address, { told: fresh.told, titles: fresh.titles });
      for (const id of address.ids.said.filter((each) => document.getElementById(each))) tell(id, part(content, id)?.props.children ?? null, "children");
      if (me.surface) report({ colours: available(me.surface, address.told).map((name) => about(name, address.told)) });
      heard();
    }

    /** A surface that is sent from elsewhere may go on although nothing came for long: it is looked at again now and then. */
    function ended(event) {
      close();
      me.ended = !(address.sent && event.state === "cancelled");
      if (!me.ended && !left) reopen = setTimeout(open, LOOK_AGAIN_MS);
    }

    /** The own losses of a run's checkpoints are measured after the end. */
    function measured() {
      window.lossAtlas.way.awaitLosses(address, me.surface, () => left, (trajectory) => {
        me.surface = { ...me.surface, trajectory };
        report({ run: true });
        heard();
      });
    }

    /** The browser reconnects by itself, unless the server refused; then we try again, ever more slowly. */
    function lost() {
      report({ connection: "lost" });
      if (source.readyState !== EventSource.CLOSED) return;
      close();
      reopen = setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    }

    function close() {
      clearTimeout(reopen);
      source?.close();
      source = null;
    }

    /** Opens the stream anew, also after its end: a surface that was cancelled goes on. */
    function again() {
      close();
      me.ended = false;
      open();
    }

    /** Nothing that comes later is told. */
    function leave() {
      close();
      left = true;
    }

    return me;
  }

  window.lossAtlas = { ...window.lossAtlas, events: { afterFrame, afterPictures, follow } };
})();
