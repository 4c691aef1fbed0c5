"use strict";
// A selection of images: what it is made of, some of its pictures, and its rows to take away.
if (window.repdiagMap) (() => {
  const map = window.repdiagMap, { state, n, mode, make } = map;
  const SHOWN = 60, CLASSES = 6;
  const panel = document.getElementById("map-selection");
  const number = (v) => v.toLocaleString("en-US");
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)}%`;
  const images = (k) => `${number(k)} ${k === 1 ? "image" : "images"}`;

  // Selects `rows`, or adds them to what is selected.
  map.choose = (rows, adding = false) => {
    if (!adding) state.chosen.fill(0);
    for (const i of rows) state.chosen[i] = 1;
    settle();
  };
  map.flip = (i) => { state.chosen[i] ^= 1; settle(); };
  function settle() {
    state.size = state.chosen.reduce((sum, v) => sum + v, 0);
    map.tell("chosen");
    show();
    map.say(state.size ? `${images(state.size)} selected.` : "Nothing selected.");
  }

  // Even-odd rule, on the screen's own coordinates; a path that crosses itself leaves out what it goes around twice.
  map.inside = (view, path) => {
    const found = [];
    for (let i = 0; i < n; i++) {
      if (!map.inPlay(i)) continue;
      const x = view.px(i), y = view.py(i);
      let odd = false;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
        const [ax, ay] = path[a], [bx, by] = path[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found;
  };

  // The `most` images nearest to image i on one picture, itself among them; the first in order where two are as far.
  map.around = (view, i, most) => {
    const { x, y } = view.plane, far = (j) => (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2;
    const rows = Array.from({ length: n }, (_, j) => j).filter(map.inPlay);
    return rows.sort((a, b) => far(a) - far(b) || a - b).slice(0, most);
  };

  function rows() {
    return Array.from({ length: n }, (_, i) => i).filter((i) => state.chosen[i]);
  }

  // A text cell that a spreadsheet would take for a formula gets an apostrophe, as in the report's own CSV files.
  const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/, NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;
  function cell(value) {
    if (value === null) return "";
    if (typeof value !== "string") return String(value);
    const safe = FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value;
    return `"${safe.replaceAll('"', '""')}"`;
  }
  function csv(chosen) {
    const name = (m) => (i) => (m.codes[i] === map.MISSING ? null : m.names[m.codes[i]]);
    const value = (m) => (i) => {
      const v = m.value(m.codes[i]);
      return v === null ? null : Number(v.toFixed(m.decimals));
    };
    const columns = [["id", map.id]];
    if (mode.class) columns.push(["label", name(mode.class)]);
    if (mode.prediction) columns.push(["prediction", name(mode.prediction)]);
    if (map.correct) columns.push(["correct", (i) => (map.correct[i] === map.MISSING ? null : Boolean(map.correct[i]))]);
    if (mode.risk) columns.push(["risk", value(mode.risk)]);
    if (mode.q_score) columns.push(["q_score", value(mode.q_score)]);
    if (mode.cluster) columns.push(["cluster", (i) => (mode.cluster.codes[i] === map.MISSING ? null : Number(mode.cluster.names[mode.cluster.codes[i]]))]);
    const lines = [columns.map(([head]) => cell(head)).join(",")];
    for (const i of chosen) lines.push(columns.map(([, of]) => cell(of(i))).join(","));
    return lines.join("\n") + "\n";
  }

  function download() {
    const link = make("a"), url = URL.createObjectURL(new Blob([csv(rows())], { type: "text/csv" }));
    link.href = url;
    link.download = "selection.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  async function copy() {
    const text = rows().map(map.id).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      map.say(`Copied ${number(state.size)} ids.`);
    } catch {
      // A page from a file may not write to the clipboard: then the ids are laid out, marked, ready for Ctrl+C.
      const box = panel.querySelector("textarea") || make("textarea");
      box.readOnly = true;
      box.value = text;
      box.setAttribute("aria-label", "Ids of the selected images");
      panel.querySelector(".map-sum").after(box);
      box.focus();
      box.select();
      const done = document.execCommand("copy");
      map.say(done ? `Copied ${number(state.size)} ids.` : "The ids are marked: press Ctrl+C to copy them.");
    }
  }

  function button(text, act) {
    const made = make("button", "", text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  function bar(share) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("width", `${(100 * share).toFixed(2)}%`);
    rect.setAttribute("height", "8");
    svg.append(rect);
    return svg;
  }

  // The commonest values of one category among the selected, as shares of them.
  function makeup(of, chosen) {
    const counts = new Map();
    for (const i of chosen) counts.set(of.codes[i], (counts.get(of.codes[i]) || 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const list = make("ul", "map-shares");
    for (const [code, count] of sorted.slice(0, CLASSES)) {
      const item = make("li");
      item.append(make("bdi", "", code === map.MISSING ? "none" : of.names[code]), bar(count / chosen.length),
        make("span", "", `${number(count)} (${percent(count, chosen.length)})`));
      list.append(item);
    }
    const out = [make("p", "", `${of.title === "class" ? "Classes" : "Clusters"}, commonest first:`), list];
    if (sorted.length > CLASSES) {
      out.push(make("p", "fine", `and ${number(sorted.length - CLASSES)} more, ${images(sorted.slice(CLASSES).reduce((s, [, c]) => s + c, 0))} in all.`));
    }
    return out;
  }

  function errors(chosen) {
    const judge = (all) => [all.filter((i) => map.correct[i] === 0).length, all.filter((i) => map.correct[i] !== map.MISSING).length];
    const [wrong, known] = judge(chosen), [wrongAll, knownAll] = judge(Array.from({ length: n }, (_, i) => i));
    if (!known) return "None of them has a label, so nothing tells which are misclassified.";
    return `Misclassified: ${number(wrong)} of ${number(known)} (${percent(wrong, known)}), against ${percent(wrongAll, knownAll)} of all on the map.`;
  }

  function tiles(chosen) {
    const list = make("ul", "map-some");
    for (const i of chosen) {
      const item = make("li"), tile = button("", () => map.views[0] && map.focus(i, map.views[0]));
      const named = (m) => (!m || m.codes[i] === map.MISSING ? null : m.names[m.codes[i]]);
      const wrong = map.correct && map.correct[i] === 0, own = named(mode.class);
      if (map.hasPictures) {
        const canvas = make("canvas");
        canvas.setAttribute("aria-hidden", "true");
        tile.append(canvas);
        map.picture(i, canvas);
      }
      const id = make("bdi", "", map.id(i).split("/").pop());
      tile.title = map.id(i);
      tile.append(id);
      if (own !== null) tile.append(make("bdi", "", own));
      if (wrong) tile.append(make("bdi", "wrong", `seen as ${named(mode.prediction) ?? "another"}`));
      tile.addEventListener("pointerenter", () => map.focus(i));
      tile.addEventListener("pointerleave", () => map.focus(-1));
      tile.addEventListener("focus", () => map.focus(i));
      tile.addEventListener("blur", () => map.focus(-1));
      item.append(tile);
      list.append(item);
    }
    return list;
  }

  function show() {
    panel.hidden = state.size === 0;
    if (panel.hidden) return panel.replaceChildren();
    const chosen = rows(), head = make("div", "map-sum"), acts = make("div", "map-acts");
    acts.append(button("Copy ids", copy), button("Download CSV", download), button("Clear", () => map.choose([])));
    head.append(make("h3", "", `${number(chosen.length)} of ${images(n)} selected`), acts);
    const parts = [head];
    if (map.correct) parts.push(make("p", "", errors(chosen)));
    if (mode.class || mode.cluster) parts.push(...makeup(mode.class || mode.cluster, chosen));
    // The riskiest first: in a long list they are what one came for.
    const ordered = mode.risk ? chosen.slice().sort((a, b) => mode.risk.rank[b] - mode.risk.rank[a] || a - b) : chosen;
    const which = mode.risk ? ", the riskiest first" : "";
    parts.push(make("p", "", chosen.length > SHOWN ? `${SHOWN} of ${number(chosen.length)} shown${which}:` : `All of them${which}:`), tiles(ordered.slice(0, SHOWN)));
    const cuts = [];
    if (map.data.ids.cut) cuts.push("Ids are shortened on this page");
    if (map.data.names_cut) cuts.push("names of classes are shortened on this page");
    if (mode.risk || mode.q_score) cuts.push("risk and Q-Score are kept in 16 bits here");
    if (cuts.length) {
      const text = `${cuts.join("; ")}; samples.csv has them whole.`;
      parts.push(make("p", "fine", text[0].toUpperCase() + text.slice(1)));
    }
    panel.replaceChildren(...parts);
  }
})();
