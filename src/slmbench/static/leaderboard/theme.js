"use strict";
// Runs before the page is drawn, so that it never flashes in the other colours.
(() => {
  const ORDER = ["automatic", "light", "dark"], KEY = "slmbench-theme";
  let theme = "automatic";
  try {
    theme = localStorage.getItem(KEY);
  } catch {
    // A browser that keeps nothing begins each time with what the system says.
  }
  if (!ORDER.includes(theme)) theme = "automatic";

  function apply() {
    if (theme === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = "Theme: " + theme;
  }

  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // As above.
      }
      apply();
    });
  });
})();
