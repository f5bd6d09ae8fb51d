/* Sets the colour scheme before anything is drawn, so that a dark page never flashes white. Mantine takes over from here. */
(() => {
  "use strict";
  let chosen = null;
  try { chosen = localStorage.getItem("mantine-color-scheme-value"); } catch { /* storage is off */ }
  const dark = chosen === "dark" || (chosen !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
  const embedded = location.pathname.startsWith("/s/") && new URLSearchParams(location.search).get("embed") === "1";
  document.documentElement.dataset.frame = embedded ? "embedded" : location.pathname.startsWith("/s/") ? "shared" : "whole";
})();
