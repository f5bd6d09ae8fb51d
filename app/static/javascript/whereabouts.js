/* Where on a page its reader is: a page begins at its top, but one that is gone back to where it was left. */
(() => {
  "use strict";

  const PATIENCE_MS = 5000, HANDS = ["wheel", "touchstart", "pointerdown", "keydown"];
  const KEPT = "lossatlas-left", MOST = 50;
  /* A frame may be kept from its storage: then a reload forgets the places. */
  const stored = (does) => { try { return does(window.sessionStorage); } catch { return null; } };
  const left = new Map(stored((storage) => JSON.parse(storage.getItem(KEPT))) || []);  // by entry of the history
  let path = null, shown = null, entry = null, y = 0, leaving = false, count = 0;
  const address = () => window.location.pathname + window.location.search;

  /* The address has changed: the page there is still to come, or, where it is the same, stands there already. */
  const move = () => {
    leaving ||= address() !== shown;
    if (entry && !leaving) enter(path);
  };

  window.addEventListener("scroll", () => { y = window.scrollY; }, { passive: true });

  /* Before a link is followed, which scrolls to the top at once. */
  window.addEventListener("click", () => { if (entry && !leaving) left.set(entry, window.scrollY); }, true);
  window.addEventListener("_dashprivate_pushstate", move);

  /* The browser gives a position back at once, while the page that is left stands there still, which may be shorter. */
  window.addEventListener("popstate", () => {
    if (entry && !leaving) left.set(entry, y);
    move();
  });

  window.addEventListener("pagehide", () => { stored((storage) => storage.setItem(KEPT, JSON.stringify([...left].slice(-MOST)))); });

  /** Scrolls as soon as the page is long enough, unless its reader acts before. */
  function regain(place) {
    const here = entry, until = performance.now() + PATIENCE_MS, hand = new AbortController();
    for (const act of HANDS) window.addEventListener(act, () => hand.abort(), { signal: hand.signal, passive: true });
    const look = () => {
      const { scrollHeight, clientHeight } = document.documentElement, long = scrollHeight - clientHeight > place - 2;
      if (hand.signal.aborted) return;
      if (!long && here === entry && performance.now() < until) { requestAnimationFrame(look); return; }
      hand.abort();
      if (long && here === entry) window.scrollTo(0, place);
    };
    requestAnimationFrame(look);
  }

  /** Told of a page's path when the page has come. */
  function enter(here) {
    const known = window.history.state?.entry, moved = ![null, here].includes(path), returned = known && entry && known !== entry;
    if (!known) window.history.replaceState({ ...window.history.state, entry: `${performance.timeOrigin} ${(count += 1)}` }, "");
    [path, shown, entry, leaving] = [here, address(), window.history.state.entry, false];
    if (returned && left.has(entry)) regain(left.get(entry));
    else if (moved) window.scrollTo(0, 0);
  }

  window.lossAtlas = Object.assign(window.lossAtlas || {}, { whereabouts: { enter } });
})();
