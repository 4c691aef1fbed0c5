"use strict";
// Buttons with data-download="classes.csv" save the file of that name out of the page, wherever they stand.
// The block #enclosed-classes.csv holds it: the name to save it under, and its bytes, gzip in base64.
(() => {
  const block = (name) => document.getElementById(`enclosed-${name}`);
  const able = typeof DecompressionStream === "function";
  const old = document.getElementById("downloads-old");
  const buttons = [...document.querySelectorAll("button[data-download]")].filter((b) => block(b.dataset.download));
  if (!able) {
    if (old) old.hidden = buttons.length === 0;
    return; // the buttons stay hidden
  }
  for (const button of buttons) button.hidden = false;

  async function unpacked(base64, type) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Blob([await new Response(stream).arrayBuffer()], { type });
  }

  function save(blob, name) {
    const link = document.createElement("a"), url = URL.createObjectURL(blob);
    link.href = url;
    link.download = name;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(url), 60000); // a browser may ask where to first
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-download]");
    if (!button || button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    const { name, gzip } = JSON.parse(block(button.dataset.download).textContent);
    try {
      save(await unpacked(gzip, name.endsWith(".json") ? "application/json" : "text/csv;charset=utf-8"), name);
      window.repdiag.say(`Saved ${name}.`);
    } catch {
      window.repdiag.say(`${name} cannot be unpacked here. The file beside the page is the same.`);
      if (old) old.hidden = false;
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
})();
