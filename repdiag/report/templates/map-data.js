"use strict";
// The map's numbers, unpacked: places, names, the ways to color, and the nearest dot to a place.
window.repdiagMap = (() => {
  const holder = document.getElementById("map-data");
  if (!holder) return null;
  const data = JSON.parse(holder.textContent);
  const MISSING = 0xffff, STEPS = 0xfffe;
  const n = data.count;

  function unpack(text) {
    const binary = atob(text), out = new Uint16Array(binary.length / 2);
    for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(2 * i) | (binary.charCodeAt(2 * i + 1) << 8);
    return out;
  }

  let ids = null;
  function id(i) {
    if (!ids) {
      const shared = unpack(data.ids.shared);
      let before = "";
      ids = data.ids.rest.map((rest, j) => (before = before.slice(0, shared[j]) + rest));
    }
    return ids[i];
  }

  function count(codes, k) {
    const counts = new Uint32Array(k + 1);  // the last: nothing known
    for (let i = 0; i < n; i++) counts[Math.min(codes[i], k)]++;
    return counts;
  }

  function category(key, title, codes, names, colors) {
    return { key, title, kind: "category", codes, names, colors, counts: count(codes, names.length) };
  }

  // 16 bits of the range: `decimals` keep every step between two codes apart, and promise no more.
  function magnitude(key, title, packed) {
    const codes = unpack(packed.codes), range = packed.high - packed.low;
    const known = Array.from(codes.keys()).filter((i) => codes[i] !== MISSING).sort((a, b) => codes[a] - codes[b]);
    const value = (code) => (code === MISSING ? null
      : packed.low * (1 - code / STEPS) + packed.high * (code / STEPS));
    const decimals = range > 0 ? Math.max(0, Math.min(20, Math.ceil(-Math.log10(range / STEPS)))) : 20;
    // Where a value stands among all: 0 the least, 1 the greatest, equal values in the middle of theirs.
    const rank = new Float32Array(n).fill(-1);
    for (let a = 0; a < known.length;) {
      let b = a;
      while (b < known.length && codes[known[b]] === codes[known[a]]) b++;
      const place = known.length > 1 ? (a + b - 1) / 2 / (known.length - 1) : 0.5;
      for (; a < b; a++) rank[known[a]] = place;
    }
    const quantile = (q) => value(codes[known[Math.round(q * (known.length - 1))]]);
    return { key, title, kind: "magnitude", codes, rank, value, quantile, decimals, known: known.length };
  }

  const label = data.label && unpack(data.label), prediction = data.prediction && unpack(data.prediction);
  const correct = data.correct && unpack(data.correct);
  const modes = [];
  if (label) modes.push(category("class", "class", label, data.names, data.colors));
  if (prediction) modes.push(category("prediction", "prediction", prediction, data.names, data.colors));
  if (correct) modes.push(category("correct", "correctness", correct, ["misclassified", "classified correctly"], null));
  if (data.q_score) modes.push(magnitude("q_score", "Q-Score", data.q_score));
  if (data.risk) modes.push(magnitude("risk", "risk", data.risk));
  if (data.cluster) modes.push(category("cluster", "cluster", unpack(data.cluster.codes), data.cluster.names, data.cluster.colors));
  const mode = Object.fromEntries(modes.map((m) => [m.key, m]));

  // A grid over the square, so that a search looks at a few cells: starts[c]..starts[c + 1] are the dots of cell c.
  const CELLS = 64;
  function grid(x, y) {
    const cell = (v) => Math.min(CELLS - 1, Math.floor((v / (STEPS + 1)) * CELLS));
    const starts = new Uint32Array(CELLS * CELLS + 1), items = new Uint32Array(n);
    for (let i = 0; i < n; i++) starts[cell(y[i]) * CELLS + cell(x[i]) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) starts[c + 1] += starts[c];
    const next = starts.slice();
    for (let i = 0; i < n; i++) items[next[cell(y[i]) * CELLS + cell(x[i])]++] = i;
    return { cell, starts, items };
  }

  // The dot nearest to (px, py) among those `allowed`, at most `reach` away; -1 without one.
  function nearest(plane, px, py, reach, allowed) {
    const { cell, starts, items } = plane.grid, at = (v) => cell(Math.max(0, Math.min(STEPS, v)));
    const [left, right, top, bottom] = [at(px - reach), at(px + reach), at(py - reach), at(py + reach)];
    let best = -1, least = reach * reach;
    for (let row = top; row <= bottom; row++) {
      for (let k = starts[row * CELLS + left]; k < starts[row * CELLS + right + 1]; k++) {
        const i = items[k], dx = plane.x[i] - px, dy = plane.y[i] - py, far = dx * dx + dy * dy;
        if (far <= least && allowed(i)) { least = far; best = i; }
      }
    }
    return best;
  }

  const planes = data.planes.map((p) => {
    const x = unpack(p.x), y = unpack(p.y);
    return { key: p.key, title: p.title, x, y, grid: grid(x, y) };
  });

  // What is shown now, and who wants to know: "look" (colors), "focus" (one image), "chosen" (the selection).
  const state = { mode: modes[0] || null, only: null, focus: -1, chosen: new Uint8Array(n), size: 0, selecting: false };
  const listeners = { look: [], focus: [], chosen: [] };
  const tell = (what, detail) => listeners[what].forEach((f) => f(detail));
  const inPlay = (i) => state.only === null || Math.min(state.mode.codes[i], state.mode.names.length) === state.only;

  // Three digits that count, and no decimals beyond those that 16 bits keep.
  function digits(v, decimals) {
    const wanted = 2 - Math.floor(Math.log10(Math.abs(v) || 1));
    return v.toFixed(Math.max(0, Math.min(decimals, wanted, 20)));
  }
  function shown(m, i) {
    const v = m.value(m.codes[i]);
    return v === null ? null : digits(v, m.decimals);
  }

  // What is known of image i, in words: [name, text, whether it is an error].
  function facts(i) {
    const out = [], named = (m) => (m.codes[i] === MISSING ? "none" : m.names[m.codes[i]]);
    if (mode.class) out.push(["class", named(mode.class), false]);
    if (mode.prediction) {
      const judged = correct && correct[i] !== MISSING ? (correct[i] ? " (right)" : " (wrong)") : "";
      out.push(["predicted", named(mode.prediction) + judged, judged === " (wrong)"]);
    }
    if (mode.risk) out.push(["risk", shown(mode.risk, i) ?? "none", false]);
    if (mode.q_score) out.push(["Q-Score", shown(mode.q_score, i) ?? "none", false]);
    if (mode.cluster) out.push(["cluster", named(mode.cluster), false]);
    return out;
  }

  return { data, n, MISSING, STEPS, id, modes, mode, planes, nearest, state, tell, inPlay, facts, digits, correct,
    on: (what, f) => listeners[what].push(f) };
})();
