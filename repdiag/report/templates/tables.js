"use strict";
// Sorting and filtering of the class table.
(() => {
  const table = document.getElementById("class-table");
  const filter = document.getElementById("class-filter");
  const collator = new Intl.Collator(undefined, { numeric: true });

  function key(row, column) {
    const cell = row.cells[column];
    const data = cell.querySelector("data");
    if (data) return Number(data.value);
    return cell.classList.contains("num") ? null : cell.textContent;
  }

  function compare(a, b) {
    return typeof a === "number" ? a - b : collator.compare(a, b);
  }

  function sort(head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    const known = rows.filter(([value]) => value !== null);
    const missing = rows.filter(([value]) => value === null); // last, whichever way
    known.sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
    body.append(...known.concat(missing).map(([, row]) => row));
  }

  if (table) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button").addEventListener("click", () => sort(head));
    }
    const count = document.getElementById("class-count");
    const whole = count.textContent;
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLocaleLowerCase();
      const rows = [...table.tBodies[0].rows];
      let shown = 0;
      for (const row of rows) {
        row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = wanted ? `${shown} of ${rows.length} classes` : whole;
    });
  }
})();
