/* Where on a page its reader is: a page begins at its top, but one that is gone back to where it was left. */
(() => {
  "use strict";

  const PATIENCE_MS = 5000, HANDS = ["wheel", "touchstart", "pointerdown", "keydown"];
  const left = new Map();  // by entry of the history
  let path = null, entry = null, y = 0, leaving = false, count = 0;

  window.addEventListener("scroll", () => { y = window.scrollY; }, { passive: true });

  /* Before a link is followed, which scrolls to the top at once. */
  window.addEventListener("click", () => { if (entry && window.location.pathname === path) left.set(entry, window.scrollY); }, true);
  window.addEventListener("_dashprivate_pushstate", () => { leaving = window.location.pathname !== path; });

  /* The browser gives a position back at once, while the page that is left stands there still, which may be shorter. */
  window.addEventListener("popstate", () => { if (entry && !leaving) left.set(entry, y); });

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
    [path, entry, leaving] = [here, window.history.state.entry, false];
    if (moved && !known) window.scrollTo(0, 0);
    if (returned && left.has(entry)) regain(left.get(entry));
  }

  window.lossAtlas = Object.assign(window.lossAtlas || {}, { whereabouts: { enter } });
})();
