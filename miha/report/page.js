"use strict";

// Everything that comes from the run is put into the page as text, never as HTML.

const POLL = 400;  // Milliseconds between two questions to `miha watch`.
const POLL_UNSEEN = 3000;  // Where nobody looks at the page.
const RETRY = 2000;  // After `miha watch` had no time for a figure.
const NARROW = 600;  // Pixels of a figure below which it is drawn for a telephone.
const MIDDLE = 900;  // Below which its legend may need the room of its title.
const ON_DEMAND = "importance";  // Takes seconds: `miha watch` makes it when it is asked for.
const ROWS = 100;  // Of the table, put there at once.
const element = (id) => document.getElementById(id);
const sorting = { column: null, ascending: true };
let shown = null;
let version = null;  // What of a watched run is shown: of the run, and of what is at work.
let live = null;  // What it does now, and when it told so.
let missing = [];  // Rows of the table that are not there yet.
let cells = [];  // The columns that a row has, and what kind each is.

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
  const { layout } = place.waiting;
  const data = place.waiting.data.map((trace) => ({ ...trace }));
  place.waiting = null;
  const isNarrow = place.clientWidth < NARROW;
  const styled = { ...layout, font: { ...layout.font, color: ink() }, autosize: true };
  const isParallel = data.some((trace) => trace.type === "parcoords");
  if (isParallel) {
    // Their labels stand on the lines: a shadow of the page's colour keeps them legible.
    const glow = `0 0 3px ${isDark() ? "#14171a" : "#ffffff"}`;
    const font = { color: ink(), size: 12, shadow: `${glow}, ${glow}, ${glow}` };
    data.forEach((trace) => { trace.labelfont = trace.tickfont = font; });
  }
  const options = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "" };
  // Its buttons would lie on the title.
  options.displayModeBar = isNarrow ? false : "hover";
  place.size = sizeOf(place);
  // Then the page has the title above the figure.
  const hasHead = place.clientWidth < MIDDLE;
  place.closest(".figure").querySelector("h3").hidden = !hasHead;
  if (hasHead) styled.title = undefined;
  if (isNarrow) data.filter((trace) => trace.orientation === "h").forEach((trace) => { trace.width = 0.4; });
  Plotly.react(place, data, isNarrow ? narrowed(styled, isParallel) : styled, options)
    .then(() => { place.dataset.drawn = "yes"; });
}

const sizeOf = (place) => [NARROW, MIDDLE].filter((width) => place.clientWidth >= width).length;

// A figure for a telephone: small margins and letters; long names stand on their rows.
// Parallel axes have no rows: the left margin is what the texts of the first one need.
function narrowed(layout, isParallel) {
  const small = {
    ...layout,
    font: { ...layout.font, size: 11 },
    margin: { ...layout.margin, l: isParallel ? layout.margin.l : 46, r: 12, b: 46, t: Math.max(16, layout.margin.t - 60) },
    legend: { ...layout.legend, font: { size: 10 } },
  };
  const names = [];
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^yaxis/.test(name)) continue;
    const texts = axis.ticktext ?? [];
    const longest = Math.max(0, ...texts.map((text) => text.length));
    small[name] = { ...axis, title: { ...axis.title, standoff: 4 } };
    if (longest <= 12) continue;
    // Labels of the axis that stand inside would hide those of the other axis.
    Object.assign(small[name], { showticklabels: false, automargin: false });
    names.push(...texts.map((text, row) => onTheRow(text, name.replace("axis", ""), axis.tickvals[row])));
  }
  small.annotations = [...(layout.annotations ?? []), ...names];
  return small;
}

// A name above what its row shows.
function onTheRow(text, yref, y) {
  const font = { size: 10, color: ink() };
  return { text, font, xref: "paper", x: 0, xanchor: "left", yref, y, yshift: 12, showarrow: false };
}

function figureBox(name) {
  let box = document.querySelector(`.figure[data-name="${name}"]`);
  if (!box) {
    box = make("section", undefined, "figure");
    box.dataset.name = name;
    const place = make("div", undefined, "plot");
    place.hidden = true;
    const frame = make("div", undefined, name === "parallel" ? "wide" : "");
    frame.append(place);
    const head = make("h3");
    head.hidden = true;
    box.append(head, frame, make("p"));
    if (isWatched() && name === ON_DEMAND) box.append(demandButton(box));
    element("figures").append(box);
  }
  return box;
}

function demandButton(box) {
  const button = make("button", "compute");
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "computing …";
    try {
      await fetchFigure(box, "");
    } catch (error) {
      notice(error.message);
    }
    button.disabled = false;
    button.textContent = "compute again";
  });
  return button;
}

function showFigures(figures) {
  const names = figures.map((figure) => figure.name);
  document.querySelectorAll(".figure").forEach((box) => {
    if (!names.includes(box.dataset.name)) box.remove();
  });
  for (const figure of figures) {
    const box = figureBox(figure.name);
    if (figure.figure || figure.message) showFigure(box, figure.others?.[metric()] ?? figure);
    else if (!box.made) box.querySelector("p").textContent = figure.caption;
  }
}

function showFigure(box, figure) {
  const place = box.querySelector(".plot");
  box.querySelector("p").textContent = figure.message ? `${figure.caption} ${figure.message}` : figure.caption;
  place.hidden = !figure.figure;
  if (!figure.figure) return;
  const { height, title } = figure.figure.layout;
  place.style.height = `${height}px`;
  box.querySelector("h3").textContent = withoutTags(title?.text ?? "");
  showLater(place, figure.figure);
}

// Plotly's own texts have tags and entities.
function withoutTags(text) {
  const entities = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
  const plain = text.replaceAll("<br>", ": ").replace(/<[^>]*>/g, "");
  return plain.replace(/&(lt|gt|amp);/g, (name) => entities[name]);
}

function showLater(place, figure) {
  place.source = figure;
  place.waiting = { data: figure.data, layout: figure.layout };
  place.dataset.drawn = "";
  drawing.unobserve(place);
  drawing.observe(place);
}

const places = () => [...document.querySelectorAll(".plot")].filter((place) => place.source);

function recolour() {
  places().forEach((place) => showLater(place, place.source));
}

// One that is made narrow or wide is drawn in another way.
window.addEventListener("resize", () => {
  places().forEach((place) => {
    if (place.size !== sizeOf(place)) showLater(place, place.source);
  });
});

// On paper all figures are there: light, and as wide as the page.
let themeOnScreen;
window.addEventListener("beforeprint", () => {
  themeOnScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  document.body.classList.add("printing");
  places().forEach((place) => {
    place.waiting = place.source;
    draw(place);
    Plotly.Plots.resize(place);
  });
});
window.addEventListener("afterprint", () => {
  if (themeOnScreen) document.documentElement.dataset.theme = themeOnScreen;
  else delete document.documentElement.dataset.theme;
  document.body.classList.remove("printing");
  recolour();
});

// Metrics

const metric = () => element("metric").value;

function showMetrics(names) {
  const select = element("metric");
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => make("option", name)));
  select.value = names.includes(chosen) ? chosen : names[0] ?? "";
  element("metrics").hidden = names.length < 2;
}

function chooseMetric() {
  // Those of a watched run are asked for, whichever version of the run they show.
  document.querySelectorAll(".figure").forEach((box) => { if (box.metric !== metric()) box.version = ""; });
  showFigures(shown.figures);
  showClones();
  if (isWatched()) refresh();
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
    if (cells.length > 2 && cells.slice(2).some((text) => text !== cells[1])) row.className = "changed";
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

function headCell(name, kind) {
  const cell = make("th", undefined, kind);
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

// Which columns are shown: unless all are, the first ones, and of other metrics the chosen one.
function shownColumns() {
  const { columns, first } = shown.table;
  const others = shown.metrics.slice(1).filter((name) => name !== metric());
  const isShown = (name, place) => element("every").checked || (place < first && !others.includes(name));
  return columns.map((name, place) => place).filter((place) => isShown(columns[place], place));
}

function bodyCell(row, place, kind) {
  const value = row[place];
  const cell = make("td", undefined, kind);
  if (value && typeof value === "object" && value.link) {
    const link = make("a", value.text);
    link.href = value.link;
    link.download = "";
    cell.append(link);
  } else if (shown.table.columns[place] === "selected") {
    cell.textContent = value ? "✓" : "";
  } else if (shown.table.columns[place] === "mutation") {
    cell.append(folded(row, value));
  } else {
    cell.textContent = shownValue(value);
    if (cell.textContent.length > 24) cell.title = cell.textContent;
  }
  return cell;
}

// A long text in one line, which unfolds with all else that is known of the clone.
function folded(row, text) {
  const details = make("details");
  details.append(make("summary", text));
  details.title = text;
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const list = make("dl");
    shown.table.columns.forEach((name, place) => {
      if (name === "mutation" || row[place] === "" || row[place] === null) return;
      const value = make("dd");
      value.append(...bodyCell(row, place, "").childNodes);
      list.append(make("dt", name), value);
    });
    details.append(list);
  });
  return details;
}

function kindOf(place) {
  const { columns, rows } = shown.table;
  if (columns[place] === "selected") return "mark";
  if (columns[place] === "cycle" || columns[place] === "clone") return "number place";
  if (rows.some((row) => typeof row[place] === "number")) return "number";
  const isLong = columns[place] === "mutation" || rows.some((row) => shownValue(row[place]).length > 24);
  return isLong ? "long" : "";
}

function showClones() {
  const { columns, rows } = shown.table;
  const table = element("clones");
  const chosen = sorted(filtered(rows));
  const places = shownColumns();
  const kinds = columns.map((_, place) => kindOf(place));
  table.className = element("every").checked ? "every" : "";
  const focused = document.activeElement.closest("#clones th")?.textContent;
  const head = make("thead");
  const names = make("tr");
  places.forEach((place) => names.append(headCell(columns[place], kinds[place])));
  head.append(names);
  // As many rows again, and at the same place: what is read stays put.
  const [before, box] = [table.tBodies[0]?.rows.length ?? 0, table.parentElement];
  const [top, left] = [box.scrollTop, box.scrollLeft];
  table.replaceChildren(head, make("tbody"));
  element("count").textContent = `${chosen.length} of ${rows.length} clones`;
  missing = chosen;
  cells = places.map((place) => [place, kinds[place]]);
  addRows(Math.max(before, ROWS));
  const again = [...names.cells].find((cell) => cell.textContent === focused);
  if (again) again.firstChild.focus({ preventScroll: true });
  [box.scrollTop, box.scrollLeft] = [top, left];
  soon();
}

function addRows(count) {
  const table = element("clones");
  const selected = shown.table.columns.indexOf("selected");
  const added = missing.slice(0, count).map((row) => {
    const line = make("tr", undefined, row[selected] ? "selected" : "");
    line.append(...cells.map(([place, kind]) => bodyCell(row, place, kind)));
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
  const { kept } = content.table;
  if (kept) content.table.rows = [...shown.table.rows.slice(0, kept), ...content.table.rows];
  shown = content;
  document.title = `${content.title} – MIHA`;
  element("title").textContent = content.title;
  element("state").textContent = content.state;
  element("folder").textContent = `Folder: ${content.folder}`;
  showVerdict(content.verdict);
  element("summary").replaceChildren(...content.summary.map((text) => make("p", text)));
  const last = content.state === "finished" ? "ended with" : "now";
  pairs("genes", content.genes, content.genes_heads ?? ["hyperparameter", "started from", last]);
  element("genes-title").textContent = content.genes_title ?? "Hyperparameters";
  // Several runs have no table of clones.
  const isOne = !content.genes_heads;
  document.querySelectorAll("#all, .of-one").forEach((part) => { part.hidden = !isOne; });
  pairs("arguments", content.arguments);
  pairs("versions", content.versions);
  showMetrics(content.metrics);
  showKinds();
  showClones();
  showFigures(content.figures);  // Their places: they are drawn when Plotly is there.
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

// A run that is watched

const isWatched = () => !element("content").textContent;

async function ask() {
  try {
    const answer = await fetch(`data.json?since=${encodeURIComponent(version ?? "")}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    if (answer.status !== 204) {
      const update = await answer.json();
      version = update.version;
      if (update.content) show(update.content);
      live = { told: update.live, age: update.age, since: performance.now() };
      showLive();
    }
    refresh();
    notice("");
  } catch (error) {
    notice(`No news from miha watch: ${error.message}`);
  }
  setTimeout(ask, document.hidden ? POLL_UNSEEN : POLL);
}

let isRefreshing = false;

// Ask for figures that are older than the run: first for those that are not there, then for those
// that are seen. One at a time, and not again before there is more news.
async function refresh() {
  if (isRefreshing || !shown) return;
  isRefreshing = true;
  try {
    const asked = new Set();
    for (let box = nextFigure(asked); box; box = nextFigure(asked)) {
      asked.add(box);
      await fetchFigure(box, box.version ?? "");
    }
  } catch (error) {
    notice(`No news from miha watch: ${error.message}`);
  }
  isRefreshing = false;
}

function nextFigure(asked) {
  const boxes = [...document.querySelectorAll(".figure")];
  const waiting = boxes.filter((box) => box.dataset.name !== ON_DEMAND && !asked.has(box));
  const current = version.split("/")[0];
  return waiting.find((box) => !box.version)
    ?? waiting.find((box) => box.version !== current && near.has(box.querySelector(".plot"))
      && performance.now() > (box.retry ?? 0));
}

async function fetchFigure(box, since) {
  const asked = new URLSearchParams({ name: box.dataset.name, metric: metric(), since });
  box.metric = metric();
  const answer = await fetch(`figure.json?${asked}`, { cache: "no-store" });
  if (!answer.ok) throw new Error(await answer.text());
  if (answer.status === 204) {
    box.retry = performance.now() + RETRY;
    return;
  }
  const found = await answer.json();
  // Another metric may have been chosen meanwhile.
  if (box.metric !== metric()) return;
  box.version = found.version;
  box.made = true;
  showFigure(box, found.figure);
}

function showLive() {
  const told = live?.told;
  element("live").hidden = !live || live.age === null;
  if (element("live").hidden) return;
  const passed = (performance.now() - live.since) / 1000;
  element("done").hidden = element("work").hidden = !told;
  const parts = [`updated ${Math.floor(live.age + passed)} s ago`];
  if (told) {
    element("done").max = told.epochs;
    element("done").value = told.done;
    const left = told.left === null ? "" : `about ${duration(told.left - passed)} left`;
    const count = `${told.done} of ${told.is_open ? "at most " : ""}${told.epochs} epochs`;
    parts.unshift(...[count, `${duration(told.elapsed + passed)} so far`, left].filter(Boolean));
    element("work").textContent = told.work.join("\n");
  }
  element("pace").textContent = parts.join(" · ");
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  return `${(whole / 3600).toFixed(1)} h`;
}

async function begin() {
  element("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    recolour();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  ["input", "change"].forEach((name) => element("filters").addEventListener(name, showClones));
  element("metric").addEventListener("change", chooseMetric);
  if (!("DecompressionStream" in window)) {
    notice("This page needs a browser of 2023 or later.");
    return;
  }
  const packed = element("content").textContent;
  if (packed) show(JSON.parse(await unpacked(packed)));
  else {
    ask();
    setInterval(showLive, 1000);
  }
  // Text and table do not wait for it.
  (0, eval)(await unpacked(element("plotly").textContent));
  soon();
}

begin();
