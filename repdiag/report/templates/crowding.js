"use strict";
// The matrix of classes says each cell in words: where the pointer is, and where the arrow keys have led.
(() => {
  const source = document.getElementById("matrix-data");
  if (!source) return;
  const { classes, nearer, distance, elsewhere } = JSON.parse(source.textContent);
  const figure = document.getElementById("matrix");
  const frame = document.getElementById("matrix-frame");
  const svg = figure.querySelector("svg.cells");
  const cursor = svg.querySelector(".cursor");
  const tip = document.getElementById("matrix-tip");
  const said = document.getElementById("matrix-said");
  const names = [...figure.querySelectorAll(".rows li")];
  const heads = [...figure.querySelectorAll(".columns li")];
  const m = classes.length;
  const unit = svg.viewBox.baseVal.width / m;
  let at = null; // [row, column] of the keyboard's cell

  const name = (i) => `\u2068${classes[i]}\u2069`; // a name keeps its direction of writing to itself
  const percent = (v) => (v === null ? "an unknown share" : v === 0.01 ? "less than 0.1%" : `${v.toFixed(1)}%`);
  const apart = (i, j) => distance[Math.min(i, j)][Math.abs(i - j) - 1];
  const byDistance = () => document.getElementById("matrix-by-distance")?.checked;

  function words(i, j) {
    if (i === j) {
      const rest = elsewhere ? `, and ${percent(elsewhere[i])} to a class that is not shown` : "";
      return `${percent(nearer[i][i])} of ${name(i)}'s images lie nearest to their own center${rest}`;
    }
    if (byDistance()) {
      const d = apart(i, j);
      return `The centers of ${name(i)} and ${name(j)} are ${d === null ? "an unknown distance" : d.toFixed(3)} apart`;
    }
    return `${percent(nearer[i][j])} of ${name(i)}'s images lie nearer to ${name(j)}'s center than to any other (own: ${percent(nearer[i][i])})`;
  }

  function mark(i, j) {
    cursor.setAttribute("x", j * unit);
    cursor.setAttribute("y", i * unit);
    cursor.classList.add("on");
    names.forEach((li, n) => li.classList.toggle("on", n === i));
    heads.forEach((li, n) => li.classList.toggle("on", n === j));
    tip.textContent = words(i, j);
    tip.hidden = false;
    const cell = svg.clientWidth / m;
    const right = (j + 1) * cell + 8;
    // beside the cell, on the side that is seen
    const space = frame.scrollLeft + frame.clientWidth - tip.parentElement.offsetLeft;
    tip.style.left = `${right + tip.offsetWidth < space ? right : Math.max(0, j * cell - 8 - tip.offsetWidth)}px`;
    tip.style.top = `${Math.max(0, Math.min(i * cell, svg.clientHeight - tip.offsetHeight))}px`;
  }

  function clear() {
    tip.hidden = true;
    cursor.classList.remove("on");
    for (const li of names.concat(heads)) li.classList.remove("on");
  }

  function show() { // the keyboard's cell, said aloud as well
    mark(...at);
    said.textContent = words(...at);
  }

  function reveal([i, j]) {
    const cell = svg.clientWidth / m;
    const left = tip.parentElement.offsetLeft;
    const x = left + j * cell;
    if (x - left < frame.scrollLeft) frame.scrollLeft = x - left;
    if (x + cell > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = x + cell - frame.clientWidth;
    const y = svg.getBoundingClientRect().top + i * cell;
    if (y < 60 || y + cell > window.innerHeight) window.scrollBy(0, y - window.innerHeight / 2);
  }

  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -m], End: [0, m] };
  const within = (v) => Math.min(m - 1, Math.max(0, v));

  frame.setAttribute("role", "application");
  frame.setAttribute("aria-roledescription", "heat map");
  frame.setAttribute("aria-describedby", "matrix-said");
  said.hidden = false;
  said.textContent = "Point at a cell, or focus the matrix and move with the arrow keys.";

  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      clear();
      return;
    }
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    at = at ? [within(at[0] + step[0]), within(at[1] + step[1])] : [0, 0];
    reveal(at);
    show();
  });
  frame.addEventListener("blur", clear);

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const j = Math.floor(((event.clientX - box.left) / box.width) * m);
    const i = Math.floor(((event.clientY - box.top) / box.height) * m);
    if (i >= 0 && j >= 0 && i < m && j < m) mark(i, j);
  });
  svg.addEventListener("pointerleave", clear);
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    at = [within(Math.floor(((event.clientY - box.top) / box.height) * m)), within(Math.floor(((event.clientX - box.left) / box.width) * m))];
    show();
  });
  for (const input of figure.querySelectorAll("input[name=matrix-measure]")) {
    input.addEventListener("change", () => {
      if (at) said.textContent = words(...at);
    });
  }
})();
