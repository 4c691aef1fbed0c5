"use strict";
// How strongly heat maps cover their pictures.
(() => {
  const strength = document.getElementById("strength");
  if (!strength) return;
  const maps = [...document.querySelectorAll(".view .heat")];
  function apply() {
    for (const map of maps) map.style.opacity = String(Number(strength.value) / 100);
    strength.setAttribute("aria-valuetext", `${strength.value}%`);
  }
  strength.addEventListener("input", apply);
  apply(); // a browser may remember the choice
})();
