"use strict";
// The pictures: dots on one canvas, drawn again only when they change, and marks on another above it.
if (window.repdiagMap) (() => {
  const map = window.repdiagMap, { state, n, MISSING, STEPS } = map;
  const MARGIN = 14, LEVELS = 48, MOST = 64; // pixels around the dots, steps of the ramp, greatest zoom

  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function rgb(color) {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = color;
    probe.fillRect(0, 0, 1, 1);
    return Array.from(probe.getImageData(0, 0, 1, 1).data.slice(0, 3));
  }
  const css = (c) => `rgb(${c.map(Math.round).join(",")})`;
  // Mixing in linear light to the power 1/3, near enough to how lightness is seen.
  const mix = (a, b, t) => a.map((c, k) => 255 * ((1 - t) * (c / 255) ** 0.73 + t * (b[k] / 255) ** 0.73) ** (1 / 0.73));

  let colors;
  function readColors() {
    const style = getComputedStyle(document.getElementById("map"));
    const named = (name) => rgb(style.getPropertyValue(name).trim());
    const [card, accent, ink, soft, other] = ["--card", "--accent", "--ink", "--soft", "--other"].map(named);
    const low = mix(card, accent, 0.2), high = mix(accent, ink, 0.6);
    const level = (t) => css(t < 0.6 ? mix(low, accent, t / 0.6) : mix(accent, high, (t - 0.6) / 0.4));
    colors = { card: css(card), ink: css(ink), accent: css(accent), other: css(other), faded: css(mix(card, soft, 0.2)),
      none: css(mix(card, soft, 0.55)), right: css(mix(card, accent, 0.5)), level,
      ramp: Array.from({ length: LEVELS }, (_, i) => level(i / (LEVELS - 1))) };
  }

  // Look i of the present mode: 0 faded, 1 nothing known, 2.. its categories or levels.
  function looks(mode) {
    const all = [{ color: colors.faded }, { color: colors.none }];
    if (!mode) return all;
    if (mode.kind === "magnitude") return all.concat(colors.ramp.map((color) => ({ color })));
    if (mode.key === "correct") return all.concat([{ color: colors.other, ring: true }, { color: colors.right }]);
    return all.concat(mode.colors.map((color) => ({ color })));
  }
  function lookOf(mode, i) {
    if (!mode || mode.codes[i] === MISSING) return 1;
    return mode.kind === "magnitude" ? 2 + Math.round(mode.rank[i] * (LEVELS - 1)) : 2 + mode.codes[i];
  }

  // Which look each dot has, and the order: what matters is drawn last, on top (errors, the high end of a scale).
  let look = new Uint16Array(n), order = new Uint32Array(n);
  function arrange() {
    const mode = state.mode, key = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const faded = (state.size > 0 && !state.chosen[i]) || !map.inPlay(i);
      look[i] = faded ? 0 : lookOf(mode, i);
      key[i] = faded ? -2 : look[i] === 1 ? -1 : !mode ? 0
        : mode.kind === "magnitude" ? mode.rank[i] : mode.key === "correct" ? 1 - mode.codes[i] : 0;
      order[i] = i;
    }
    order.sort((a, b) => key[a] - key[b] || a - b);
  }

  // Every look drawn once for one radius, then taken apart: for each, where its pixels lie, their colors, how opaque.
  const byte = (r, g, b) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0; // as a little-endian canvas keeps them
  function stamps(list, radius, ratio) {
    const size = 2 * Math.ceil((radius + 1.5) * ratio), canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    return list.map(({ color, ring }) => {
      pen.clearRect(0, 0, size, size);
      pen.beginPath();
      pen.arc(size / 2, size / 2, (ring ? radius + 0.4 : radius) * ratio, 0, 2 * Math.PI);
      pen.fillStyle = ring ? colors.card : color;
      pen.fill();
      pen.strokeStyle = color;
      pen.lineWidth = 1.5 * ratio;
      if (ring) pen.stroke();
      const pixels = pen.getImageData(0, 0, size, size).data, dx = [], dy = [], ink = [], alpha = [];
      for (let k = 0; k < size * size; k++) {
        const at = 4 * k;
        if (pixels[at + 3] < 4) continue;
        dx.push((k % size) - size / 2);
        dy.push(Math.floor(k / size) - size / 2);
        ink.push(byte(pixels[at], pixels[at + 1], pixels[at + 2]));
        alpha.push(pixels[at + 3]);
      }
      return { dx: Int16Array.from(dx), dy: Int16Array.from(dy), ink: Uint32Array.from(ink), alpha: Uint8Array.from(alpha) };
    });
  }

  // Dot on dot into plain pixels, several times faster than drawing each by the canvas's own means.
  function put(out, width, height, x, y, { dx, dy, ink, alpha }) {
    for (let k = 0; k < dx.length; k++) {
      const px = x + dx[k], py = y + dy[k];
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const at = py * width + px, a = alpha[k], top = ink[k];
      if (a > 250) { out[at] = top; continue; }
      const under = out[at], mixed = (shift) => {
        const u = (under >>> shift) & 255;
        return (u + ((((top >>> shift) & 255) - u) * a) / 255) << shift;
      };
      out[at] = (0xff000000 | mixed(0) | mixed(8) | mixed(16)) >>> 0;
    }
  }

  function view(plane, figure) {
    const plot = figure.querySelector(".map-plot"), canvas = plot.querySelector(".map-dots"), over = plot.querySelector(".map-over");
    const own = { plane, figure, plot, canvas, over, zoom: 1, x: STEPS / 2, y: STEPS / 2, path: null };
    let side = 0, ratio = 1, waiting = 0, all = false, image = null;

    const scale = () => (own.zoom * (side - 2 * MARGIN)) / STEPS;
    own.px = (i) => side / 2 + (plane.x[i] - own.x) * scale();
    own.py = (i) => side / 2 + (plane.y[i] - own.y) * scale();
    own.side = () => side;
    own.place = (px, py) => [own.x + (px - side / 2) / scale(), own.y + (py - side / 2) / scale()];
    own.nearest = (px, py, reach) => map.nearest(plane, ...own.place(px, py), reach / scale(), map.inPlay);

    own.look = (zoom, x, y) => {
      own.zoom = Math.max(1, Math.min(MOST, zoom));
      const slack = (STEPS / 2) * (1 - 1 / own.zoom);
      own.x = STEPS / 2 + Math.max(-slack, Math.min(slack, x - STEPS / 2));
      own.y = STEPS / 2 + Math.max(-slack, Math.min(slack, y - STEPS / 2));
      canvas.classList.toggle("zoomed", own.zoom > 1);
      own.draw();
    };
    // Zooms by `factor` so that the place under (px, py) stays there.
    own.zoomAt = (factor, px = side / 2, py = side / 2) => {
      const [x, y] = own.place(px, py), zoom = Math.max(1, Math.min(MOST, own.zoom * factor)), f = own.zoom / zoom;
      own.look(zoom, x + (own.x - x) * f, y + (own.y - y) * f);
    };

    own.draw = () => { all = true; request(); };
    own.mark = request;
    function request() { if (!waiting) waiting = requestAnimationFrame(paint); }
    function paint() {
      if (waiting) cancelAnimationFrame(waiting);
      waiting = 0;
      if (side && all) dots();
      if (side) marks();
      all = false;
    }
    own.paint = () => { all = true; paint(); };

    own.radius = () => Math.min(7, (n > 5000 ? 1.9 : n > 1000 ? 2.5 : 3.4) * Math.min(1, 0.45 + side / 900) * own.zoom ** 0.35);
    function dots() {
      const pen = canvas.getContext("2d"), wide = canvas.width, s = scale() * ratio;
      const list = stamps(looks(state.mode), own.radius(), ratio), reach = own.radius() * ratio + 2 * ratio;
      const left = (side / 2) * ratio - own.x * s, top = (side / 2) * ratio - own.y * s;
      if (!image || image.width !== wide) image = pen.createImageData(wide, wide);
      const out = new Uint32Array(image.data.buffer);
      out.fill(byte(...rgb(colors.card)));
      for (let k = 0; k < n; k++) {
        const i = order[k], x = Math.round(left + plane.x[i] * s), y = Math.round(top + plane.y[i] * s);
        if (x > -reach && y > -reach && x < wide + reach && y < wide + reach) put(out, wide, wide, x, y, list[look[i]]);
      }
      pen.putImageData(image, 0, 0);
    }
    function marks() {
      const pen = over.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, side, side);
      if (state.focus >= 0) {
        for (const [width, color] of [[5, colors.card], [2, colors.ink]]) {
          pen.beginPath();
          pen.arc(own.px(state.focus), own.py(state.focus), own.radius() + 4.5, 0, 2 * Math.PI);
          pen.lineWidth = width;
          pen.strokeStyle = color;
          pen.stroke();
        }
      }
      if (own.path && own.path.length > 1) {
        pen.beginPath();
        own.path.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
        pen.closePath();
        pen.globalAlpha = 0.12;
        pen.fillStyle = colors.accent;
        pen.fill();
        pen.globalAlpha = 1;
        pen.lineWidth = 1.5;
        pen.strokeStyle = colors.accent;
        pen.setLineDash([5, 4]);
        pen.stroke();
        pen.setLineDash([]);
      }
    }
    own.fit = () => {
      const wide = Math.floor(plot.getBoundingClientRect().width), sharp = window.devicePixelRatio || 1;
      if (!wide || (wide === side && sharp === ratio)) return;
      side = wide;
      ratio = sharp;
      for (const c of [canvas, over]) {
        c.width = c.height = Math.round(side * ratio);
        c.style.width = c.style.height = `${side}px`; // whole pixels, or dots would be smeared
      }
      own.paint();
    };
    return own;
  }

  map.views = [];
  map.start = () => {
    readColors();
    arrange();
    for (const plane of map.planes) {
      const figure = document.querySelector(`.map-panel[data-plane="${plane.key}"]`);
      const own = view(plane, figure);
      own.plot.hidden = false;
      map.views.push(own);
      new ResizeObserver(own.fit).observe(own.plot);
      own.fit();
    }
  };
  map.colors = () => colors;
  map.lookOfCategory = (mode, code) => looks(mode)[code >= mode.names.length ? 1 : 2 + code];
  const again = () => { arrange(); map.views.forEach((v) => v.draw()); };
  map.on("look", again);
  map.on("chosen", again);
  map.on("focus", () => map.views.forEach((v) => v.mark()));
  map.recolor = () => { readColors(); arrange(); map.views.forEach((v) => v.paint()); map.tell("look"); };
})();
