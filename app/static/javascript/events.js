/* Follows one surface over Server-Sent Events.
 *
 * Every event is whole in itself, so any may be missed: a stream can be closed while the tab is hidden and opened again.
 * What it knows goes into the page's store `address.ids.live`; `heard()` is called when there is something new to paint.
 */
(() => {
  "use strict";

  const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
  const { decode, facts } = window.lossAtlas.scene;
  const tell = (id, data) => window.dash_clientside.set_props(id, { data });

  /** address: {events, state, progress, ids: {live}} of a surface. */
  function follow(address, heard) {
    const me = { address, surface: null, stages: [], live: { state: address.state, progress: address.progress }, ended: false, open, close, again };
    let source = null, failures = 0, reopen = null;

    function report(change) {
      me.live = { ...me.live, ...change };
      tell(address.ids.live, me.live);
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
        report({ progress: event.progress, state: event.state, facts: facts(me.surface), examples: event.examples, stage: event.stage, stages: event.stages });
        heard();
      });
      on("progress", (event) => report({ progress: event.progress, state: event.state }));
      on("end", (event) => { me.ended = true; close(); report({ state: event.state, problem: event.problem, connection: "ended" }); heard(); });
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

    return me;
  }

  window.lossAtlas = { ...window.lossAtlas, events: { follow } };
})();
