// Stalls, routes and steps as tables.

const NO_STALLS = "Nothing has blocked the event loop since somebody looks.";

function showStalls() {
  const panel = document.getElementById("stalls");
  const count = document.getElementById("stall-count");
  count.textContent = `${model.stalls.length}`;
  count.classList.toggle("some", model.stalls.length > 0);
  if (panel.hidden) return;
  const rows = [...model.stalls].reverse().map((stall) => {
    const blamed = stall.stack[stall.blamed];
    return {
      key: `${stall.key} ${stall.over} ${stall.looks} ${stall.line} ${stall.over ? "" : stall.seconds.toFixed(1)}`,
      cells: [
        clock(stall.began),
        element("button", { type: "button", class: "row-button", onclick: () => openStall(stall) }, culprit(stall)),
        number(duration(stall.seconds) + (stall.over ? "" : " and goes on")),
        number(stall.over ? `${stall.waited}` : ""),
        blamed === undefined ? "" : element("span", { class: "code" }, `${blamed.file}:${blamed.line} ${blamed.source}`),
      ],
    };
  });
  fill(panel, ["since", "who", "blocked", "who waited", "line"], rows, NO_STALLS, ["blocked", "who waited"]);
}

function openStall(stall) {
  view.chosen = stall.key;
  openDetail({ key: stall.key, item: model.stalls.find((one) => one.key === stall.key) ?? stall, isStall: true });
}

const ROUTE_COLUMNS = [
  ["route", (r) => `${r.method} ${r.path}`],
  ["pattern", (r) => r.pattern],
  ["requests", (r) => r.requests, String],
  ["at once", (r) => r.most_in_flight, String],
  ["median", (r) => quantile(r, 0.5), below],
  ["95 %", (r) => quantile(r, 0.95), below],
  ["longest", (r) => r.longest_latency, time],
  ["on the loop", (r) => (r.requests > 0 ? r.loop_time / r.requests : 0), time],
  ["longest step", (r) => r.longest_step, time],
  ["stalls", (r) => r.stalls, String],
  ["delay to others", (r) => r.delayed_others, time],
  ["verdict", (r) => ["Bad", "Could be better", "OK"].indexOf(r.verdict.word)],
];
const sorting = { column: "verdict", descending: false };
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, Infinity];

function time(seconds) {
  return seconds > 0 ? duration(seconds) : "–";
}

function below(seconds) {
  return seconds === 0 ? "–" : seconds === Infinity ? "> 10 s" : `≤ ${duration(seconds)}`;
}

// The bound of the bucket that it lies in: a histogram knows no better.
function quantile(route, share) {
  const total = route.latency.counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (const [place, count] of route.latency.counts.entries()) {
    seen += count;
    if (total > 0 && seen >= total * share) return BOUNDS[place];
  }
  return 0;
}

function showRoutes() {
  const panel = document.getElementById("routes");
  if (panel.hidden) return;
  const value = ROUTE_COLUMNS.find(([name]) => name === sorting.column)[1];
  const order = (one, other) => (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : other.requests - one.requests);
  const sorted = [...model.routes].sort((one, other) => (sorting.descending ? order(other, one) : order(one, other)));
  const rows = sorted.map((route) => ({
    key: JSON.stringify([route, sorting]),
    cells: ROUTE_COLUMNS.map(([name, value, text]) => {
      if (name === "verdict") return verdict(route.verdict);
      if (name === "route") return element("span", { title: `${route.endpoint} ${route.file}:${route.line}` }, value(route));
      return text === undefined ? value(route) : number(text(value(route)));
    }),
  }));
  const numbers = ROUTE_COLUMNS.filter(([, , text]) => text !== undefined).map(([name]) => name);
  fill(panel, ROUTE_COLUMNS.map(([name]) => name), rows, "No request has come in yet.", numbers, sortable);
}

function sortable(name) {
  const sort = () => {
    sorting.descending = sorting.column === name ? !sorting.descending : name !== "verdict" && name !== "route";
    sorting.column = name;
    document.getElementById("routes").replaceChildren();
    showRoutes();
    document.querySelector(`#routes th[aria-sort="${sorting.descending ? "descending" : "ascending"}"] button`)?.focus();
  };
  const state = sorting.column === name ? (sorting.descending ? "descending" : "ascending") : "none";
  return { sort: state, button: element("button", { type: "button", onclick: sort }, name) };
}

function verdict({ word, line, remedy }) {
  const kind = { OK: "ok", Bad: "bad" }[word] ?? "better";
  const cell = element("td", { class: "wide" }, element("span", { class: `verdict ${kind}` }, word));
  if (line) cell.append(" ", element("span", { class: "code" }, line));
  if (remedy) cell.append(element("div", { class: "remedy" }, `use ${remedy}`));
  return cell;
}

const STEP_COLUMNS = ["at", "request", "handler", "action", "server", "response"];

async function showSteps() {
  const panel = document.getElementById("steps");
  if (panel.hidden) return;
  const filter = document.getElementById("step-filter").value.trim();
  const wanted = { last: 400, ...(filter === "" ? {} : { only: filter }) };
  document.getElementById("steps-csv").href = link("/steps.csv", filter === "" ? {} : { only: filter });
  document.getElementById("steps-json").href = link("/steps", filter === "" ? {} : { only: filter });
  const steps = await get("/steps", wanted);
  let before = null;
  const rows = [...steps].reverse().map((step) => {
    const isNew = before !== null && before !== step.request;
    before = step.request;
    return { key: JSON.stringify(step), group: isNew,
      cells: [element("span", { class: "code" }, clock(step.at)), step.request, step.handler, step.action, step.server, step.response] };
  });
  fill(document.getElementById("step-rows"), STEP_COLUMNS, rows, "No request has come in since somebody looks.");
}

function number(text) {
  return element("td", { class: "number" }, text);
}

// A table that is left alone while nothing in it has changed, so that a click or a selection is not lost.
function fill(panel, columns, rows, empty, numbers = [], head = null) {
  const state = JSON.stringify(rows.map((row) => row.key));
  if (panel.state === state && panel.firstChild !== null) return;
  panel.state = state;
  if (rows.length === 0) {
    panel.replaceChildren(element("p", { class: "empty" }, empty));
    return;
  }
  const headings = columns.map((name) => {
    const made = head?.(name);
    const attributes = { scope: "col", class: numbers.includes(name) ? "number" : null, "aria-sort": made?.sort };
    return element("th", attributes, made?.button ?? name);
  });
  const body = rows.map((row) => element("tr", { class: row.group ? "group" : null },
    ...row.cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : element("td", {}, cell ?? "")))));
  // The focus stays where it was, by its place.
  const focused = [...panel.querySelectorAll("button")].indexOf(document.activeElement);
  panel.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...headings)), element("tbody", {}, ...body)));
  if (focused >= 0) panel.querySelectorAll("button")[focused]?.focus({ preventScroll: true });
}
