"use strict";
// What every page does: light or dark, where the reader is, links into folded parts, Copy buttons, print.
// For other scripts: `repdiag.dark()` says whether the page is dark now, the event `repdiag:theme` on `document` when
// that changes, `repdiag.say(text)` speaks to screen readers.
window.repdiag = window.repdiag || {};
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const paper = window.matchMedia("print");
  let theme = "system"; // kept in memory alone: a page from a file may have no storage

  // ---- theme: style sheets ask for prefers-color-scheme, and the switch answers in the system's place
  const asked = [];
  function collect(rules) {
    for (const rule of rules) {
      if (rule.media && rule.media.mediaText.includes("prefers-color-scheme")) asked.push([rule.media, rule.media.mediaText]);
      if (rule.cssRules) collect(rule.cssRules);
    }
  }
  for (const sheet of document.styleSheets) collect(sheet.cssRules);

  function dress(wanted) {
    for (const [media, written] of asked) {
      media.mediaText = wanted === "system" ? written : written.replace(
        /\(\s*prefers-color-scheme\s*:\s*(\w+)\s*\)/g,
        (_, scheme) => (scheme === wanted ? "(min-width: 0px)" : "(max-width: 0px)"),
      );
    }
    root.style.colorScheme = wanted === "system" ? "" : wanted;
  }

  const told = () => document.dispatchEvent(new CustomEvent("repdiag:theme"));
  window.repdiag.dark = () => (theme === "system" ? system.matches : theme === "dark") && !paper.matches;
  for (const choice of document.querySelectorAll("input[name=theme]")) {
    if (choice.value === "system") choice.checked = true; // a browser may remember a choice that the page does not
    choice.addEventListener("change", () => {
      theme = choice.value;
      dress(theme);
      told();
    });
  }
  system.addEventListener("change", told);

  const status = document.getElementById("page-said");
  window.repdiag.say = (text) => {
    if (status) status.textContent = text;
  };

  // ---- navigation: the section at the upper part of the screen is the current one
  const list = document.querySelector("nav ul");
  const links = new Map();
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    const section = document.getElementById(link.hash.slice(1));
    if (section) links.set(section, link);
  }
  let current = null;
  function here(section) {
    if (section === current) return;
    links.get(current)?.removeAttribute("aria-current");
    current = section;
    const link = links.get(section);
    if (!link) return;
    link.setAttribute("aria-current", "location");
    if (list.contains(document.activeElement)) return; // whoever walks the list by keyboard is not moved about
    const place = link.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
    list.scrollTo({ left: place, behavior: "instant" });
  }
  const crossing = new Set();
  const atEnd = () => window.scrollY > 0 && window.innerHeight + window.scrollY >= root.scrollHeight - 4;
  function look() {
    const all = [...links.keys()];
    if (atEnd()) return here(all[all.length - 1]);
    const found = all.find((section) => crossing.has(section));
    if (found) return here(found);
    if (window.scrollY < window.innerHeight / 4) here(null);
  }
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) crossing.add(entry.target);
      else crossing.delete(entry.target);
    }
    look();
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const section of links.keys()) watch.observe(section);
  window.addEventListener("scroll", look, { passive: true });

  // Each section's title links to itself, so that its address can be copied.
  for (const title of document.querySelectorAll("main > section[id] > h2")) {
    const link = document.createElement("a");
    link.className = "anchor";
    link.href = `#${title.parentElement.id}`;
    link.append(...title.childNodes);
    title.append(link);
  }

  // ---- a link to something folded opens it
  function reveal() {
    let target = null;
    try {
      target = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    } catch {
      return; // not an address that this page gave out
    }
    if (!target) return;
    let moved = false;
    const open = (details) => {
      moved = moved || !details.open || details.hidden;
      details.open = true;
    };
    document.dispatchEvent(new CustomEvent("repdiag:reveal", { detail: target })); // filters let go of it
    for (let parent = target.parentElement; parent; parent = parent.parentElement) {
      if (parent.tagName === "DETAILS") open(parent);
    }
    if (target.tagName === "DETAILS") open(target);
    const own = target.matches("tr, li") ? target.querySelector("details") : null;
    if (own) open(own);
    if (moved) target.scrollIntoView();
    settle(target);
  }

  // What a long way down is laid out only when it comes near may move the target while the page scrolls to it: once
  // the scrolling has ended, and the reader has not taken over, the target is put where it belongs.
  function settle(target) {
    const done = new AbortController();
    const { signal } = done;
    for (const hand of ["wheel", "touchstart", "pointerdown", "keydown"]) {
      window.addEventListener(hand, () => done.abort(), { signal, passive: true });
    }
    window.setTimeout(() => done.abort(), 4000);
    window.addEventListener("scrollend", () => {
      target.scrollIntoView({ behavior: "instant" });
      done.abort();
    }, { signal });
  }
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === window.location.hash) reveal(); // the same place again: no change to hear of
  });
  if (window.location.hash) reveal();

  // ---- Copy
  async function copy(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return "Copied";
    } catch {
      // A page from a file may not be allowed: then the text is selected, and the old command tried.
      window.getSelection().selectAllChildren(code);
      return document.execCommand("copy") ? "Copied" : "Selected";
    }
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const written = button.dataset.copy || button.textContent;
    button.dataset.copy = written;
    button.textContent = await copy(button.parentElement.querySelector("code"));
    window.repdiag.say(button.textContent === "Copied" ? "Copied." : "Selected; press Control C to copy.");
    window.setTimeout(() => { button.textContent = written; }, 2500);
  });

  // ---- print: everything folded is opened, and folded again afterwards; paper is never dark
  let folded = null;
  function unfold() {
    if (folded) return;
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const details of folded) details.open = true;
    dress(theme === "system" ? "system" : "light");
  }
  function fold() {
    if (!folded) return;
    for (const details of folded) details.open = false;
    folded = null;
    dress(theme);
  }
  window.addEventListener("beforeprint", unfold);
  window.addEventListener("afterprint", fold);
  paper.addEventListener("change", () => (paper.matches ? unfold() : fold()));
})();
