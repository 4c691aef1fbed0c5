"use strict";
// Narrowing the list of images; groups without a shown image go with it.
(() => {
  const cards = [...document.querySelectorAll(".gallery.review > li")];
  const find = document.getElementById("find");
  const count = document.getElementById("list-count");
  const picks = ["pair", "cluster", "mark"].map((name) => [name, document.getElementById(`pick-${name}`)]);
  const whole = count.textContent;

  function fits(card, wanted) {
    if (wanted && !card.dataset.search.includes(wanted)) return false;
    return picks.every(([name, pick]) => {
      if (!pick || pick.value === "") return true;
      if (name === "mark") return card.dataset.marks.split(" ").includes(pick.value);
      return card.dataset[name] === pick.value;
    });
  }

  function apply() {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const card of cards) {
      card.hidden = !fits(card, wanted);
      shown += card.hidden ? 0 : 1;
    }
    for (const pair of document.querySelectorAll(".pair")) {
      pair.hidden = pair.querySelector(".gallery > li:not([hidden])") === null;
    }
    const narrowed = wanted || picks.some(([, pick]) => pick && pick.value !== "");
    count.textContent = narrowed ? `${shown} of ${cards.length} images` : whole;
  }

  function clear() {
    find.value = "";
    for (const [, pick] of picks) if (pick) pick.value = "";
  }

  find.addEventListener("input", apply);
  for (const [, pick] of picks) pick?.addEventListener("change", apply);
  document.getElementById("show-all").addEventListener("click", () => { clear(); apply(); });
  for (const link of document.querySelectorAll("a[data-pick]")) {
    link.addEventListener("click", () => {
      clear();
      document.getElementById(`pick-${link.dataset.pick}`).value = link.dataset.number;
      apply();
    });
  }
})();
