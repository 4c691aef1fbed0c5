"use strict";
// The metrics' families: a filter opens those that still have a row and hides the others; all fold at once.
(() => {
  const families = [...document.querySelectorAll("#metrics details.family")];
  const filter = document.getElementById("metric-filter");
  const fold = document.getElementById("metric-fold");
  if (!filter || !fold) return;
  let before = null; // which families were open when filtering began

  filter.addEventListener("input", () => {
    const filtering = filter.value.trim() !== "";
    if (filtering && !before) before = families.map((family) => family.open);
    if (filtering) for (const family of families) family.open = true;
    else if (before) {
      families.forEach((family, i) => { family.open = before[i]; });
      before = null;
    }
  });
  for (const family of families) {
    family.querySelector("table.metrics").addEventListener("rows", (event) => {
      family.hidden = event.detail === 0;
    });
  }

  function press(folded) {
    for (const family of families) family.open = !folded;
    fold.textContent = folded ? "Open all" : "Fold all";
  }
  fold.addEventListener("click", () => press(families.some((family) => family.open)));
  for (const family of families) {
    family.addEventListener("toggle", () => {
      fold.textContent = families.some((other) => other.open) ? "Fold all" : "Open all";
    });
  }

  // A link to a metric that the filter hides lets go of the filter.
  document.addEventListener("repdiag:reveal", (event) => {
    if (filter.value && event.detail.closest("#metrics")?.querySelector("#metrics [hidden]")) {
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    }
  });
})();
