"use strict";
// Sorting and filtering of every table that says it can be sorted.
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });

  function key(row, column) {
    const cell = row.cells[column];
    const data = cell.querySelector("data");
    if (data) return Number(data.value);
    return cell.classList.contains("num") ? null : cell.textContent.trim();
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
  }

  function sort(table, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    const known = rows.filter(([value]) => value !== null);
    const missing = rows.filter(([value]) => value === null); // last, whichever way
    known.sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
    body.append(...known.concat(missing).map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head));
    }
  }
  for (const box of document.querySelectorAll("input[data-filters]")) {
    const table = document.getElementById(box.dataset.filters);
    const count = document.getElementById(`${box.dataset.filters}-count`);
    const whole = count.textContent;
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLocaleLowerCase();
      const rows = [...table.tBodies[0].rows];
      let shown = 0;
      for (const row of rows) {
        row.hidden = !row.textContent.toLocaleLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = wanted ? `${shown} of ${rows.length} ${box.dataset.what}` : whole;
    });
  }
})();
