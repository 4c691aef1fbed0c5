"use strict";
// The UMAP map: dots on a canvas, colored by what is chosen, each told by pointer or arrow keys.
(() => {
  const holder = document.getElementById("map-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const MISSING = 0xffff;
  const MARGIN = 18;
  const LEGEND = 24; // more swatches than that tell nobody anything
  const byId = (id) => document.getElementById(id);
  const canvas = byId("map-canvas"), tip = byId("map-tip"), legend = byId("map-legend"), said = byId("map-said");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true));
  }

  const x = unpack(data.x), y = unpack(data.y);
  const label = data.label && unpack(data.label);
  const prediction = data.prediction && unpack(data.prediction);
  const correct = data.correct && unpack(data.correct);
  const MODES = [
    ["class", "class", label && data.names.length > 0],
    ["correct", "correct", Boolean(correct)],
    ["risk", "risk", Boolean(data.risk)],
    ["q_score", "Q-Score", Boolean(data.q_score)],
  ].filter(([, , present]) => present);
  let mode = MODES.length ? MODES[0][0] : null;
  let only = MISSING, selected = -1, scale = 1, left = MARGIN;

  // Light and dark pages need ramps that start near their own paper and end far from it.
  const ramp = () => dark.matches
    ? [[62, 70, 82], [214, 120, 60], [255, 222, 184]]
    : [[205, 211, 218], [213, 94, 0], [94, 26, 0]];
  const blank = () => (dark.matches ? "#4a525c" : "#c4c9cf");

  function mix(share) {
    const stops = ramp(), place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
    const i = Math.floor(place), t = place - i;
    return `rgb(${stops[i].map((c, j) => Math.round(c + t * (stops[i + 1][j] - c))).join(",")})`;
  }

  const limits = {};
  for (const name of ["risk", "q_score"]) {
    if (!data[name]) continue;
    const known = data[name].filter((v) => v !== null).sort((a, b) => a - b);
    const at = (q) => known[Math.round(q * (known.length - 1))];
    limits[name] = [at(0.01), at(0.99)];
  }

  function color(i) {
    if (mode === "class") return label[i] === MISSING ? blank() : data.colors[label[i]];
    if (mode === "correct") return correct[i] === MISSING ? blank() : correct[i] ? (dark.matches ? "#56b4e9" : "#7db7dd") : (dark.matches ? "#ff9a52" : "#c2500a");
    if (mode === null || data[mode][i] === null) return blank();
    const [low, high] = limits[mode];
    return mix(high > low ? (data[mode][i] - low) / (high - low) : 0.5);
  }

  function visible(i) {
    return only === MISSING || label[i] === only;
  }

  // What matters is drawn last, on top: errors, and the high end of a scale.
  function order() {
    const rows = Array.from({ length: data.count }, (_, i) => i);
    const rank = mode === "correct" ? (i) => (correct[i] === MISSING ? -1 : 1 - correct[i])
      : mode === "risk" || mode === "q_score" ? (i) => (data[mode][i] === null ? -Infinity : data[mode][i])
        : () => 0;
    return rows.sort((a, b) => (visible(a) - visible(b)) || rank(a) - rank(b) || 0);
  }

  const px = (i) => left + x[i] * scale;
  const py = (i) => MARGIN + y[i] * scale;

  function draw() {
    const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    const wanted = (width - 2 * MARGIN) * data.aspect + 2 * MARGIN;
    const height = Math.round(Math.min(Math.max(wanted, 260), 640));
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const wide = data.aspect <= 1 ? 65534 : 65534 / data.aspect;
    const tall = data.aspect <= 1 ? 65534 * data.aspect : 65534;
    scale = Math.min((width - 2 * MARGIN) / wide, (height - 2 * MARGIN) / tall);
    left = (width - wide * scale) / 2;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const radius = data.count > 5000 ? 1.9 : data.count > 1000 ? 2.6 : 3.6;
    for (const i of order()) {
      pen.globalAlpha = visible(i) ? 0.85 : 0.12;
      pen.fillStyle = visible(i) ? color(i) : blank();
      pen.beginPath();
      pen.arc(px(i), py(i), radius, 0, 2 * Math.PI);
      pen.fill();
    }
    if (selected >= 0) {
      pen.globalAlpha = 1;
      pen.lineWidth = 2;
      pen.strokeStyle = dark.matches ? "#fff" : "#000";
      pen.beginPath();
      pen.arc(px(selected), py(selected), radius + 3.5, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  function words(i) {
    const name = (codes) => (codes[i] === MISSING ? "none" : data.names[codes[i]]);
    const lines = [data.ids[i]];
    if (label) lines.push(`label: ${name(label)}`);
    if (prediction) lines.push(`prediction: ${name(prediction)}${correct && correct[i] !== MISSING ? (correct[i] ? " (correct)" : " (wrong)") : ""}`);
    if (data.risk) lines.push(`risk: ${data.risk[i] ?? "none"}`);
    if (data.q_score) lines.push(`Q-Score: ${data.q_score[i] ?? "none"}`);
    return lines;
  }

  function select(i) {
    if (i === selected) return;
    selected = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      const lines = words(i);
      tip.textContent = lines.join("\n");
      said.textContent = lines.join(" · ");
      const right = px(i) > canvas.clientWidth / 2;
      tip.style.left = right ? "auto" : `${px(i) + 12}px`;
      tip.style.right = right ? `${canvas.clientWidth - px(i) + 12}px` : "auto";
      tip.style.top = `${Math.max(0, py(i) - 24)}px`;
    }
    draw();
  }

  function nearest(ox, oy, reach, allowed) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < data.count; i++) {
      if (!visible(i)) continue;
      const dx = px(i) - ox, dy = py(i) - oy;
      if (allowed && !allowed(dx, dy, i)) continue;
      const distance = dx * dx + dy * dy;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  }

  const KEYS = {
    ArrowLeft: (dx, dy) => dx < 0 && Math.abs(dy) <= -dx,
    ArrowRight: (dx, dy) => dx > 0 && Math.abs(dy) <= dx,
    ArrowUp: (dx, dy) => dy < 0 && Math.abs(dx) <= -dy,
    ArrowDown: (dx, dy) => dy > 0 && Math.abs(dx) <= dy,
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    select(nearest(event.clientX - box.left, event.clientY - box.top, 14));
  });
  canvas.addEventListener("pointerleave", () => select(-1));
  canvas.addEventListener("blur", () => select(-1));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return select(-1);
    const allowed = KEYS[event.key];
    if (!allowed) return;
    event.preventDefault();
    if (selected < 0) return select(nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e9));
    const next = nearest(px(selected), py(selected), 1e9, (dx, dy, i) => i !== selected && allowed(dx, dy));
    if (next >= 0) select(next);
  });

  function swatch(fill, text) {
    const item = document.createElement("span");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", 11);
    svg.setAttribute("height", 11);
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ cx: 5.5, cy: 5.5, r: 5, fill })) dot.setAttribute(key, value);
    svg.append(dot);
    const name = document.createElement("bdi");
    name.textContent = text;
    item.append(svg, name);
    return item;
  }

  function explain() {
    const items = [];
    if (mode === "class") {
      if (data.names.length <= LEGEND) items.push(...data.names.map((name, i) => swatch(data.colors[i], name)));
      if (data.even) {
        const note = document.createElement("span");
        note.className = "fine";
        note.textContent = `${data.names.length} classes: their colors are spread evenly around the color circle and some look alike; highlight a class to tell.`;
        items.push(note);
      }
    } else if (mode === "correct") {
      const sample = (value) => color(correct.findIndex((v) => v === value));
      if (correct.includes(0)) items.push(swatch(sample(0), "misclassified"));
      if (correct.includes(1)) items.push(swatch(sample(1), "classified correctly"));
      if (correct.includes(MISSING)) items.push(swatch(blank(), "no label"));
    } else if (mode) {
      const [low, high] = limits[mode];
      for (const share of [0, 0.25, 0.5, 0.75, 1]) {
        const value = (low + share * (high - low)).toPrecision(3);
        items.push(swatch(mix(share), share === 0 ? `${value} or less` : share === 1 ? `${value} or more` : value));
      }
      if (data[mode].includes(null)) items.push(swatch(blank(), "none"));
    }
    legend.replaceChildren(...items);
  }

  function refresh() { explain(); draw(); }

  byId("map-controls").hidden = false;
  for (const [name, title] of MODES) {
    const item = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span");
    Object.assign(input, { type: "radio", name: "map-mode", value: name, checked: name === mode });
    input.addEventListener("change", () => { mode = name; refresh(); });
    text.textContent = title;
    item.append(input, text);
    byId("map-modes").append(item);
  }
  if (label && data.names.length > 1) {
    const pick = byId("map-class");
    pick.add(new Option("all classes", MISSING));
    data.names.forEach((name, i) => pick.add(new Option(name, i)));
    pick.addEventListener("change", () => { only = Number(pick.value); refresh(); });
    byId("map-pick").hidden = false;
  }
  if (!MODES.length) byId("map-controls").hidden = true;
  dark.addEventListener("change", refresh);
  new ResizeObserver(draw).observe(canvas.parentElement);
  refresh();
})();
