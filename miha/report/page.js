"use strict";

// Everything that comes from the run is put into the page as text, never as HTML.

const POLL = 1000;  // Milliseconds between two questions to `miha watch`.
const ROWS = 100;  // Of the table, put there at once.
const element = (id) => document.getElementById(id);
const sorting = { column: null, ascending: true };
let shown = null;
let version = null;
let missing = [];  // Rows of the table that are not there yet.

async function unpacked(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = !text;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const ink = () => (isDark() ? "#d5dae0" : "#333b43");

// Figures

const near = new Set();
const drawing = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) near.add(target);
    else near.delete(target);
  }
  soon();
}, { rootMargin: "400px" });

// What takes long is done piece by piece: a figure that comes near, else some rows of the table.
let isBusy = false;

function soon() {
  if (isBusy || !window.Plotly) return;
  isBusy = true;
  requestAnimationFrame(() => setTimeout(work));  // After the browser has painted.
}

function work() {
  isBusy = false;
  const place = nextPlace();
  if (place) draw(place);
  else if (missing.length) addRows(ROWS);
  else return;
  soon();
}

function nextPlace() {
  const waiting = [...near].filter((place) => place.waiting);
  const top = (place) => place.getBoundingClientRect().top;
  waiting.sort((a, b) => top(a) - top(b));
  // What is seen goes before what is near, above or below.
  return waiting.find((place) => place.getBoundingClientRect().bottom > 0) ?? waiting.at(-1);
}

function draw(place) {
  if (!place.waiting) return;
  const { data, layout } = place.waiting;
  place.waiting = null;
  const styled = { ...layout, font: { ...layout.font, color: ink() }, autosize: true };
  if (data.some((trace) => trace.type === "parcoords")) {
    // Their labels stand on the lines: a shadow of the page's colour keeps them legible.
    const glow = `0 0 3px ${isDark() ? "#14171a" : "#ffffff"}`;
    const font = { color: ink(), size: 12, shadow: `${glow}, ${glow}, ${glow}` };
    data.forEach((trace) => { trace.labelfont = trace.tickfont = font; });
  }
  Plotly.react(place, data, styled, { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "" })
    .then(() => { place.dataset.drawn = "yes"; });
}

function figureBox(name) {
  let box = document.querySelector(`.figure[data-name="${name}"]`);
  if (!box) {
    box = make("section", undefined, "figure");
    box.dataset.name = name;
    box.append(make("div", undefined, "plot"), make("p"));
    element("figures").append(box);
  }
  return box;
}

function showFigures(figures) {
  for (const figure of figures) {
    const box = figureBox(figure.name);
    const [place, caption] = box.children;
    caption.textContent = figure.message ? `${figure.caption} ${figure.message}` : figure.caption;
    place.hidden = !figure.figure;
    if (!figure.figure) continue;
    place.style.height = `${figure.figure.layout.height}px`;
    place.waiting = figure.figure;
    place.dataset.drawn = "";
    drawing.unobserve(place);
    drawing.observe(place);
  }
}

function recolour() {
  document.querySelectorAll(".plot").forEach((place) => {
    if (!place.data) return;
    place.waiting = { data: place.data, layout: place.layout };
    drawing.unobserve(place);
    drawing.observe(place);
  });
}

// Tables

function pairs(id, rows, head) {
  const table = element(id);
  table.replaceChildren();
  if (head) {
    const row = table.createTHead().insertRow();
    head.forEach((text) => row.append(make("th", text)));
  }
  const body = table.createTBody();
  rows.forEach((cells) => {
    const row = body.insertRow();
    if (cells.length === 3 && cells[1] !== cells[2]) row.className = "changed";
    cells.forEach((text) => { row.insertCell().textContent = text; });
  });
}

function shownValue(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return shownNumber(value);
  if (typeof value === "object") return value.text;
  return String(value);
}

function shownNumber(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return value.toPrecision(4).replace(/\.?0+(e|$)/, "$1");
}

function compare(a, b) {
  if (typeof a === "object" && a) a = a.text;
  if (typeof b === "object" && b) b = b.text;
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sorted(rows) {
  if (sorting.column === null) return rows;
  const place = shown.table.columns.indexOf(sorting.column);
  const sign = sorting.ascending ? 1 : -1;
  return [...rows].sort((a, b) => sign * compare(a[place], b[place]));
}

function filtered(rows) {
  const words = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = element("kind").value;
  const only = element("only").checked;
  const columns = shown.table.columns;
  const [kindPlace, selectedPlace] = [columns.indexOf("kind"), columns.indexOf("selected")];
  return rows.filter((row) => {
    if (kind && row[kindPlace] !== kind) return false;
    if (only && !row[selectedPlace]) return false;
    const text = row.map(shownValue).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function headCell(name, isNumber) {
  const cell = make("th", undefined, isNumber ? "number" : "");
  cell.scope = "col";
  if (name === sorting.column) cell.ariaSort = sorting.ascending ? "ascending" : "descending";
  const button = make("button", name);
  button.type = "button";
  button.addEventListener("click", () => {
    sorting.ascending = sorting.column === name ? !sorting.ascending : true;
    sorting.column = name;
    showClones();
  });
  cell.append(button);
  return cell;
}

function bodyCell(value) {
  const cell = make("td", undefined, typeof value === "number" ? "number" : "");
  if (value && typeof value === "object" && value.link) {
    const link = make("a", value.text);
    link.href = value.link;
    link.download = "";
    cell.append(link);
  } else {
    cell.textContent = shownValue(value);
    if (cell.textContent.length > 50) cell.title = cell.textContent;
  }
  return cell;
}

function showClones() {
  const { columns, rows } = shown.table;
  const table = element("clones");
  const chosen = sorted(filtered(rows));
  const isNumber = columns.map((_, place) => rows.some((row) => typeof row[place] === "number"));
  const focused = columns.indexOf(document.activeElement.closest("#clones th")?.textContent);
  const head = make("thead");
  const names = make("tr");
  columns.forEach((name, place) => names.append(headCell(name, isNumber[place])));
  head.append(names);
  // As many rows again, and at the same place: what is read stays put.
  const [before, box] = [table.tBodies[0]?.rows.length ?? 0, table.parentElement];
  const [top, left] = [box.scrollTop, box.scrollLeft];
  table.replaceChildren(head, make("tbody"));
  element("count").textContent = `${chosen.length} of ${rows.length} clones`;
  missing = chosen;
  addRows(Math.max(before, ROWS));
  if (focused >= 0) names.cells[focused].firstChild.focus({ preventScroll: true });
  [box.scrollTop, box.scrollLeft] = [top, left];
  soon();
}

function addRows(count) {
  const table = element("clones");
  const selected = shown.table.columns.indexOf("selected");
  const added = missing.slice(0, count).map((row) => {
    const line = make("tr", undefined, row[selected] ? "selected" : "");
    line.append(...row.map(bodyCell));
    return line;
  });
  missing = missing.slice(count);
  table.tBodies[0].append(...added);
  table.ariaBusy = String(missing.length > 0);
}

function showKinds() {
  const place = shown.table.columns.indexOf("kind");
  const kinds = [...new Set(shown.table.rows.map((row) => row[place]))].sort();
  const select = element("kind");
  const chosen = select.value;
  select.replaceChildren(make("option", "all"));
  select.firstChild.value = "";
  kinds.forEach((kind) => {
    const option = make("option", kind);
    option.value = kind;
    select.append(option);
  });
  select.value = kinds.includes(chosen) ? chosen : "";
}

// The page

// What stands between backticks is code.
function paragraph(text) {
  const made = make("p");
  text.split("`").forEach((part, place) => made.append(place % 2 ? make("code", part) : part));
  return made;
}

function showVerdict({ sentences, commands }) {
  const parts = sentences.map(paragraph);
  for (const [what, line] of Object.entries(commands)) {
    parts.push(make("p", `${what}:`), make("pre", line));
  }
  element("verdict").replaceChildren(...parts);
}

function show(content) {
  shown = content;
  document.title = `${content.title} – MIHA`;
  element("title").textContent = content.title;
  element("state").textContent = content.state;
  element("folder").textContent = `Folder: ${content.folder}`;
  showVerdict(content.verdict);
  element("summary").replaceChildren(...content.summary.map((text) => make("p", text)));
  pairs("genes", content.genes, ["hyperparameter", "started from", content.state === "finished" ? "ended with" : "now"]);
  pairs("arguments", content.arguments);
  pairs("versions", content.versions);
  showKinds();
  showClones();
  showFigures(content.figures);  // Their places: they are drawn when Plotly is there.
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

async function ask() {
  const asked = performance.now();
  try {
    const answer = await fetch(`data.json?since=${encodeURIComponent(version ?? "")}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    if (answer.status !== 204) {
      const update = await answer.json();
      version = update.version;
      show(update.content);
    }
    notice("");
  } catch (error) {
    notice(`No news from miha watch: ${error.message}`);
  }
  // A long run takes its time to read: the run itself shall have most of the processor.
  setTimeout(ask, Math.max(POLL, 2 * (performance.now() - asked)));
}

async function begin() {
  element("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    recolour();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  ["input", "change"].forEach((name) => element("filters").addEventListener(name, showClones));
  if (!("DecompressionStream" in window)) {
    notice("This page needs a browser of 2023 or later.");
    return;
  }
  const packed = element("content").textContent;
  if (packed) show(JSON.parse(await unpacked(packed)));
  (0, eval)(await unpacked(element("plotly").textContent));
  if (packed) soon();
  else ask();
}

begin();
