"use strict";
// Every table.sortable sorts by the buttons in its headings: numbers by the exact value in <data value>, texts as a
// person counts (9 before 10), what is missing last whichever way, equal rows in the order they had.
// Every input[data-filter] leaves the rows with its text in any cell, in all tables that its selector finds, and says
// how many in [data-count] of the same selector ("12 of 200" and data-what of the input).
// A table[data-first="200"] shows as many rows until its button[data-all="#id"] is pressed; without scripts, and in
// print, all are there. After each change a table gets the event "rows".
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });
  const wanted = new Map(); // table -> text of its filter, in small letters
  const opened = new Set(); // tables that show all their rows
  const texts = new WeakMap(); // row -> texts of its cells, in small letters

  const all = (selector) => [...document.querySelectorAll(selector)];
  const rowsOf = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);
  const count = (n) => n.toLocaleString("en-US");

  function key(row, column) {
    const cell = row.cells[column];
    if (!cell) return null;
    const data = cell.querySelector("data");
    if (data) return Number(data.value);
    return cell.classList.contains("num") ? null : cell.textContent.trim();
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
  }

  function has(row, text) {
    if (!texts.has(row)) texts.set(row, [...row.cells].map((cell) => cell.textContent.toLocaleLowerCase()));
    return texts.get(row).some((cell) => cell.includes(text));
  }

  // Which rows are seen: those that the filter leaves, of them the first ones. Answers how many the filter leaves.
  function show(table) {
    const text = wanted.get(table) || "";
    const most = opened.has(table) ? Infinity : Number(table.dataset.first) || Infinity;
    let left = 0;
    for (const row of rowsOf(table)) {
      const stays = !text || has(row, text);
      left += stays ? 1 : 0;
      row.hidden = !stays || left > most;
    }
    for (const button of all("button[data-all]")) {
      if (table.matches(button.dataset.all)) button.hidden = left <= most;
    }
    table.dispatchEvent(new CustomEvent("rows", { detail: left }));
    return left;
  }

  function sort(table, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
      const known = rows.filter(([value]) => value !== null);
      const missing = rows.filter(([value]) => value === null);
      known.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
      const order = document.createDocumentFragment();
      for (const [, row] of known.concat(missing)) order.append(row);
      body.append(order);
    }
    show(table);
  }

  for (const table of all("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head));
    }
    if (table.dataset.first) show(table);
  }

  for (const button of all("button[data-all]")) {
    button.addEventListener("click", () => {
      const tables = all(button.dataset.all);
      const next = tables.flatMap(rowsOf).find((row) => row.hidden); // what the reader asked to see
      for (const table of tables) {
        opened.add(table);
        show(table);
      }
      if (next && !next.hidden) {
        next.tabIndex = -1;
        next.focus();
      }
    });
  }

  for (const box of all("input[data-filter]")) {
    const tables = all(box.dataset.filter);
    const said = all("[data-count]").filter((place) => place.dataset.count === box.dataset.filter);
    const whole = said.map((place) => place.textContent);
    const apply = () => {
      const text = box.value.trim().toLocaleLowerCase();
      let left = 0;
      let total = 0;
      for (const table of tables) {
        wanted.set(table, text);
        left += show(table);
        total += rowsOf(table).length;
      }
      said.forEach((place, i) => {
        place.textContent = text ? `${count(left)} of ${count(total)} ${box.dataset.what || "rows"}` : whole[i];
      });
    };
    box.addEventListener("input", apply);
    if (box.value) apply(); // what the browser kept when the page was loaded again
  }
})();
