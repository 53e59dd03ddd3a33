"use strict";

// Reads the page anew every few seconds and shows what is new of it; sorts and filters the table of domains.
// Without this script the page is complete, and only needs to be reloaded.

const EVERY_MS = 5000;
const age = document.getElementById("age");
const pause = document.getElementById("pause");
let sorted = { column: -1, ascending: true };
let wanted = "";

function value(row, column, kind) {
  const cell = row.cells[column];
  return kind === "number" ? Number(cell.dataset.value) : cell.textContent.toLowerCase();
}

function arrange() {
  const table = document.querySelector("table");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const head = heads[sorted.column];
  if (head) {
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sorted.ascending ? "ascending" : "descending");
    const sign = sorted.ascending ? 1 : -1;
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const kind = head.dataset.sort;
    const rows = [...body.rows].sort((a, b) =>
      sign * compare(value(a, sorted.column, kind), value(b, sorted.column, kind)));
    body.append(...rows);
  }
  for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
}

function makeSortable(head, column) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => {
    const again = sorted.column === column;
    sorted = { column, ascending: again ? !sorted.ascending : head.dataset.sort === "text" };
    arrange();
  });
  head.replaceChildren(button);
}

function equip() {
  const filter = document.getElementById("filter");
  if (!filter) return;
  filter.hidden = false;
  filter.querySelector("input").addEventListener("input", (event) => {
    wanted = event.target.value.toLowerCase();
    arrange();
  });
  document.querySelectorAll("thead th").forEach((head, column) => {
    if (head.dataset.sort) makeSortable(head, column);
  });
}

// The rows alone are exchanged where there is a table: whoever types, or tabs through the heads, stays where they are.
function show(fresh) {
  const focused = document.activeElement?.closest("tbody a")?.getAttribute("href");
  const before = document.querySelector("tbody");
  const after = fresh.querySelector("tbody");
  if (!before || !after) {
    document.getElementById("main").replaceWith(document.adoptNode(fresh.getElementById("main")));
    equip();
  } else {
    for (const part of [".summary", ".troubles", ".pressure", ".senses"]) exchange(fresh, part);
    before.replaceWith(document.adoptNode(after));
    const span = "thead [data-sort='']";
    document.querySelector(span).textContent = fresh.querySelector(span).textContent;
  }
  arrange();
  if (focused) document.querySelector(`tbody a[href="${CSS.escape(focused)}"]`)?.focus();
}

function exchange(fresh, part) {
  const before = document.querySelector(`main > ${part}`);
  const after = fresh.querySelector(`main > ${part}`);
  if (before && after) before.replaceWith(document.adoptNode(after));
  else if (before) before.remove();
  else if (after) document.querySelector("main > h1").after(document.adoptNode(after));
}

async function refresh() {
  if (pause.getAttribute("aria-pressed") === "true" || document.hidden) return;
  try {
    const reply = await fetch(location.href, { signal: AbortSignal.timeout(EVERY_MS) });
    show(new DOMParser().parseFromString(await reply.text(), "text/html"));
    age.textContent = `As of ${new Date().toLocaleTimeString()}.`;
  } catch {
    age.textContent = "Ballast does not answer; these figures are old.";
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
});
equip();
setInterval(refresh, EVERY_MS);
