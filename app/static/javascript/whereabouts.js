/* Where on a page its reader is: a page begins at its top, but one that is gone back to where it was left. */
(() => {
  "use strict";

  const PATIENCE_MS = 5000, HANDS = ["wheel", "touchstart", "pointerdown", "keydown"];
  const left = new Map();
  let former = null, back = false;

  /* Before a link is followed, which scrolls to the top at once. */
  window.addEventListener("click", () => { if (window.location.pathname === former) left.set(former, window.scrollY); }, true);

  /* The browser gives a position back at once, while the page that is left stands there still, which may be shorter. */
  window.addEventListener("popstate", () => { back = true; if (former !== null) left.set(former, window.scrollY); });

  /** Scrolls as soon as the page is long enough, unless its reader acts before. */
  function regain(y) {
    const here = former, until = performance.now() + PATIENCE_MS, hand = new AbortController();
    for (const act of HANDS) window.addEventListener(act, () => hand.abort(), { signal: hand.signal, passive: true });
    const look = () => {
      if (hand.signal.aborted || former !== here) { hand.abort(); return; }
      const short = document.documentElement.scrollHeight - window.innerHeight < y;
      if (short && performance.now() < until) { requestAnimationFrame(look); return; }
      hand.abort();
      window.scrollTo(0, y);
    };
    requestAnimationFrame(look);
  }

  /** Told of a page's path when the page has come. */
  function enter(here) {
    const moved = ![null, here].includes(former), returned = back;
    [former, back] = [here, false];
    if (moved && !returned) window.scrollTo(0, 0);
    if (moved && returned && left.has(here)) regain(left.get(here));
  }

  window.lossAtlas = Object.assign(window.lossAtlas || {}, { whereabouts: { enter } });
})();
