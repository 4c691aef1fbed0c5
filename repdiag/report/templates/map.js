"use strict";
// The map's controls: how it is colored, the legend, pointer, fingers and keys.
if (window.repdiagMap) (() => {
  const map = window.repdiagMap, { state, make } = map;
  const BUTTONS = 24, NEAR = 50, REACH = 14, FINGER = 26; // legend entries, images that N selects, pixels around a pointer
  const byId = (id) => document.getElementById(id);
  const legend = byId("map-legend"), pick = byId("map-class"), lasso = byId("map-lasso"), section = byId("map");
  const number = (v) => v.toLocaleString("en-US");

  function svg(tag, values, ...inner) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
    made.append(...inner);
    return made;
  }

  function entry(mode, code) {
    const { color, ring } = map.lookOfCategory(mode, code), item = make("li"), button = make("button");
    button.type = "button";
    button.dataset.code = code;
    button.setAttribute("aria-pressed", String(state.only === code));
    const shape = ring ? { r: 4.2, fill: "none", stroke: color, "stroke-width": 1.8 } : { r: 5, fill: color };
    button.append(svg("svg", { width: 12, height: 12, "aria-hidden": "true" }, svg("circle", { cx: 6, cy: 6, ...shape })));
    button.append(make("bdi", "", code < mode.names.length ? mode.names[code] : mode.key === "cluster" ? "no cluster" : mode.key === "prediction" ? "no prediction" : "no label"));
    button.append(make("span", "n", number(mode.counts[code])));
    button.addEventListener("click", () => highlight(state.only === code ? null : code));
    item.append(button);
    return item;
  }

  function categories(mode) {
    const k = mode.names.length, used = [];
    for (let code = 0; code < k; code++) if (mode.counts[code]) used.push(code);
    let listed = used;
    if (used.length > BUTTONS) {
      listed = used.slice().sort((a, b) => mode.counts[b] - mode.counts[a] || a - b).slice(0, BUTTONS);
      if (state.only !== null && state.only < k && !listed.includes(state.only)) listed[BUTTONS - 1] = state.only;
      listed.sort((a, b) => a - b);
    }
    if (mode.counts[k]) listed = listed.concat(k);
    const list = make("ul", "map-entries");
    list.append(...listed.map((code) => entry(mode, code)));
    const notes = [], what = mode.key === "cluster" ? "clusters" : "classes";
    if (used.length > BUTTONS) notes.push(`${BUTTONS} of ${number(used.length)} ${what} have a button, the largest; the list above has all.`);
    if (mode.colors && used.length > 8) notes.push("Some colors look alike: highlight one to be sure.");
    return notes.length ? [list, make("p", "map-note", notes.join(" "))] : [list];
  }

  function ramp(mode) {
    const { ramp: colors } = map.colors(), box = make("div", "map-ramp"), ends = make("ol");
    box.append(svg("svg", { viewBox: `0 0 ${colors.length} 1`, preserveAspectRatio: "none", "shape-rendering": "crispEdges", "aria-hidden": "true" },
      ...colors.map((fill, i) => svg("rect", { x: i, width: 1.05, height: 1, fill }))));
    for (const [q, name] of [[0, "least"], [0.25, "25%"], [0.5, "median"], [0.75, "75%"], [1, "greatest"]]) {
      const item = make("li", "", map.digits(mode.quantile(q), mode.decimals));
      item.append(make("small", "", name));
      ends.append(item);
    }
    box.append(ends);
    const missing = map.n - mode.known;
    return [box, make("p", "map-note", `Colors follow the rank: each quarter of the scale holds a quarter of the images.${missing ? ` ${number(missing)} without a ${mode.title} are gray.` : ""}`)];
  }

  function explain() {
    const { mode } = state;
    const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.code : undefined;
    legend.replaceChildren(...(!mode ? [] : mode.kind === "category" ? categories(mode) : ramp(mode)));
    if (focused !== undefined) legend.querySelector(`[data-code="${focused}"]`)?.focus();
  }

  function highlight(code) {
    state.only = code;
    pick.value = code === null ? "" : String(code);
    map.focus(-1);
    map.tell("look");
  }

  function colorBy(mode) {
    state.mode = mode;
    const listed = mode && mode.kind === "category" && mode.key !== "correct" && mode.names.length > 1;
    byId("map-pick").hidden = !listed;
    if (listed) {
      const all = new Option(mode.key === "cluster" ? "all clusters" : "all classes", "");
      pick.replaceChildren(all, ...mode.names.map((name, code) => new Option(name, code)));
    }
    highlight(null);
  }

  function chooser() {
    byId("map-controls").hidden = byId("map-help").hidden = false;
    byId("map-modes").hidden = !map.modes.length;
    for (const mode of map.modes) {
      const item = make("label"), input = make("input");
      Object.assign(input, { type: "radio", name: "map-mode", value: mode.key, checked: mode === state.mode });
      input.addEventListener("change", () => colorBy(mode));
      item.append(input, make("span", "", mode.title));
      byId("map-modes").append(item);
    }
    pick.addEventListener("change", () => highlight(pick.value === "" ? null : Number(pick.value)));
    lasso.addEventListener("click", () => {
      state.selecting = !state.selecting;
      lasso.setAttribute("aria-pressed", String(state.selecting));
      section.classList.toggle("selecting", state.selecting);
      map.say(state.selecting ? "Draw around dots to select them." : "");
    });
  }

  function clear(view) {
    if (view.path) view.path = null;
    else if (state.size) map.choose([]);
    map.focus(-1);
    view.mark();
  }

  // One pointer moves the picture, draws or points; two fingers zoom.
  function pointers(view) {
    const { canvas } = view, down = new Map();
    let start = null, adding = false, fading = 0;
    function hint(text) {
      const note = view.plot.querySelector(".map-hint");
      note.textContent = text;
      note.hidden = !text;
      clearTimeout(fading);
      fading = setTimeout(() => { note.hidden = true; }, 1500);
    }
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    const spread = () => { const [a, b] = [...down.values()]; return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2]; };

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      down.set(event.pointerId, at(event));
      canvas.setPointerCapture(event.pointerId);
      if (down.size > 1) { view.path = start = null; view.mark(); return; }
      start = at(event);
      adding = event.shiftKey;
      if (state.selecting || adding) { view.path = [start]; canvas.classList.add("drawing"); }
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = at(event), before = down.get(event.pointerId);
      if (!before) {
        if (event.pointerType !== "touch") map.focus(view.nearest(...now, REACH), view);
        return;
      }
      const was = down.size === 2 ? spread() : null;
      down.set(event.pointerId, now);
      if (was) {
        const [far, x, y] = spread();
        if (was[0] > 0) view.zoomAt(far / was[0], x, y);
      } else if (view.path) {
        const last = view.path[view.path.length - 1];
        if (Math.hypot(now[0] - last[0], now[1] - last[1]) >= 2) view.path.push(now);
        map.focus(-1);
        view.mark();
      } else if (start && view.zoom > 1) {
        const [x, y] = [view.place(...before), view.place(...now)].reduce((a, b) => [a[0] - b[0], a[1] - b[1]]);
        canvas.classList.add("dragging");
        map.focus(-1);
        view.look(view.zoom, view.x + x, view.y + y);
      } else if (start && event.pointerType === "mouse" && Math.hypot(now[0] - start[0], now[1] - start[1]) > 20) {
        hint("Press Select to draw around dots");
      }
    });
    function up(event) {
      if (!down.delete(event.pointerId)) return;
      canvas.classList.remove("dragging", "drawing");
      const { path } = view, now = at(event);
      view.path = null;
      if (event.type === "pointercancel" || down.size) return view.mark();
      if (path && path.length > 2) map.choose(map.inside(view, path), adding);
      else if (start && Math.hypot(now[0] - start[0], now[1] - start[1]) < 8) {
        const i = view.nearest(...now, event.pointerType === "touch" ? FINGER : REACH);
        if (adding && i >= 0) map.flip(i);
        map.focus(i, view);
      }
      start = null;
      view.mark();
    }
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch" && !down.size) map.focus(-1); });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return hint("Hold Ctrl to zoom"); // and the page scrolls on
      event.preventDefault();
      hint("");
      view.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0025)), ...at(event));
    }, { passive: false });
  }

  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // The nearest dot in the quarter that the arrow points to.
  function beyond(view, [wx, wy]) {
    const { x, y } = view.plane, i = state.focus;
    let best = -1, least = Infinity;
    for (let j = 0; j < map.n; j++) {
      if (j === i || !map.inPlay(j)) continue;
      const dx = x[j] - x[i], dy = y[j] - y[i], along = dx * wx + dy * wy, aside = Math.abs(dx * wy + dy * wx);
      const far = dx * dx + dy * dy;
      if (along > 0 && aside <= along && far < least) { least = far; best = j; }
    }
    return best;
  }

  function walk(view, way) {
    const next = state.focus < 0 ? view.nearest(view.side() / 2, view.side() / 2, 1e6) : beyond(view, way);
    if (next < 0) return;
    const [x, y] = [view.px(next), view.py(next)], edge = 24, side = view.side();
    if (Math.min(x, y) < edge && view.zoom > 1 || Math.max(x, y) > side - edge && view.zoom > 1) view.look(view.zoom, view.plane.x[next], view.plane.y[next]);
    map.focus(next, view);
  }

  function keys(view) {
    view.canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const way = WAYS[event.key], step = map.STEPS / 8 / view.zoom;
      if (way && event.shiftKey) view.look(view.zoom, view.x + way[0] * step, view.y + way[1] * step);
      else if (way) walk(view, way);
      else if (event.key === "+" || event.key === "=") view.zoomAt(1.5);
      else if (event.key === "-") view.zoomAt(1 / 1.5);
      else if (event.key === "0") view.look(1, 0, 0);
      else if (event.key.toLowerCase() === "n" && state.focus >= 0) map.choose(map.around(view, state.focus, NEAR), event.shiftKey);
      else if ((event.key === "Enter" || event.key === " ") && state.focus >= 0) map.flip(state.focus);
      else if (event.key === "Escape") clear(view);
      else return;
      event.preventDefault();
    });
    view.canvas.addEventListener("blur", () => map.focus(-1));
    const group = view.figure.querySelector(".map-zoom");
    group.hidden = false;
    for (const [name, act] of [["in", () => view.zoomAt(1.5)], ["out", () => view.zoomAt(1 / 1.5)], ["all", () => view.look(1, 0, 0)]]) {
      group.querySelector(`[data-zoom="${name}"]`).addEventListener("click", act);
    }
  }

  map.on("look", explain);
  map.start();
  chooser();
  colorBy(state.mode);
  for (const view of map.views) { pointers(view); keys(view); }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) window.matchMedia(query).addEventListener("change", map.recolor);
  document.addEventListener("repdiag:theme", map.recolor);
})();
