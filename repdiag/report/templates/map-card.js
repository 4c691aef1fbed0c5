"use strict";
// The card of one image: its small picture, cut from one sheet that is decoded when first needed, and its facts.
if (window.repdiagMap) (() => {
  const map = window.repdiagMap, { state } = map;
  const said = document.getElementById("map-said");

  let sheet = null; // {tile, columns, tiles, image}: a promise, or null before the first need
  function open() {
    const holder = document.getElementById("map-sprite");
    if (!holder) return Promise.resolve(null);
    const packed = JSON.parse(holder.textContent), image = new Image();
    const tiles = packed.tiles && Uint16Array.from(atob(packed.tiles).match(/[^]{2}/g) || [], (c) => c.charCodeAt(0) | (c.charCodeAt(1) << 8));
    image.src = `data:image/jpeg;base64,${packed.jpeg}`;
    return image.decode().then(() => ({ ...packed, tiles, image }), () => null);
  }

  // Draws the picture of image i on `canvas`, which stays hidden where there is none.
  map.picture = (i, canvas) => {
    canvas.dataset.image = i;
    sheet ??= open();
    sheet.then((s) => {
      if (canvas.dataset.image !== String(i)) return; // another image was asked for meanwhile
      const tile = !s ? map.MISSING : s.tiles ? s.tiles[i] : i;
      const x = s && (tile % s.columns) * s.tile, y = s && Math.floor(tile / s.columns) * s.tile;
      canvas.hidden = tile === map.MISSING || y >= s.image.naturalHeight;
      if (canvas.hidden) return;
      canvas.width = canvas.height = s.tile;
      canvas.getContext("2d").drawImage(s.image, x, y, s.tile, s.tile, 0, 0, s.tile, s.tile);
      canvas.dataset.drawn = i;
    });
  };
  map.hasPictures = Boolean(document.getElementById("map-sprite"));

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  map.make = make;

  // At the end of the body: a section that is its own containing block would clip it.
  const card = make("div"), picture = make("canvas"), told = make("div", "map-facts");
  card.id = "map-card";
  card.hidden = picture.hidden = true;
  card.setAttribute("aria-hidden", "true"); // the live region says the same
  card.append(picture, told);
  document.body.append(card);

  function fill(i) {
    const id = make("p", "map-id"), list = make("dl");
    const name = make("bdi");
    map.id(i).split(/(?<=\/)/).forEach((part) => name.append(part, make("wbr")));
    id.append(name);
    for (const [fact, text, error] of map.facts(i)) {
      const value = make("dd", error ? "wrong" : "");
      value.append(make("bdi", "", text));
      list.append(make("dt", "", fact), value);
    }
    told.replaceChildren(id, list);
    if (!map.hasPictures) return;
    picture.hidden = false;
    map.picture(i, picture);
  }

  // Beside the dot and never beyond the window's edge.
  function put(view, i) {
    const box = view.canvas.getBoundingClientRect(), { width, height } = card.getBoundingClientRect();
    const [x, y] = [box.left + view.px(i), box.top + view.py(i)], [wide, tall] = [document.documentElement.clientWidth, window.innerHeight];
    const outward = box.left + box.width / 2 < wide / 2; // away from the other picture, whose mark is to be seen too
    const fitsLeft = x - 16 - width >= 8, right = x + 16 + width <= wide - 8 && !(outward && fitsLeft), left = fitsLeft && !right;
    const beside = right || left;
    const cx = right ? x + 16 : left ? x - 16 - width : Math.max(8, Math.min(wide - width - 8, x - width / 2));
    const cy = beside ? y - height / 2 : y + 20 + height <= tall - 8 ? y + 20 : y - 20 - height;
    card.style.left = `${Math.round(cx)}px`;
    card.style.top = `${Math.round(Math.max(8, Math.min(tall - height - 8, cy)))}px`;
  }

  let saying = 0;
  function say(text, delay) {
    clearTimeout(saying);
    saying = setTimeout(() => { said.textContent = text; }, delay);
  }
  map.say = (text) => say(text, 0);

  // `from` is the view whose dot the card stands beside; without one the card stays away (a list tells it all).
  map.focus = (i, from = null) => {
    if (i === state.focus && (i < 0 || !card.hidden || !from)) return;
    state.focus = i;
    card.hidden = i < 0 || !from;
    if (!card.hidden) {
      fill(i);
      put(from, i);
      // Who runs along the dots hears where they come to rest, not each on the way.
      say([map.id(i), ...map.facts(i).map(([name, text]) => `${name} ${text}`)].join(" · "), 250);
    } else clearTimeout(saying);
    map.tell("focus");
  };
  window.addEventListener("scroll", () => { card.hidden = true; }, { passive: true });
})();
