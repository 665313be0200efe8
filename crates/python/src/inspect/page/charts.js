// Numbers over time.

const CHARTS = [
  { name: "lag", title: "Loop lag", text: time, more: Math.max, colour: "stall" },
  { name: "busy", title: "Loop busy with requests", text: percent, more: Math.max, colour: "run", top: 1 },
  { name: "requests", title: "Requests a second", text: whole, more: sum, colour: "run" },
  { name: "in_flight", title: "Requests in flight", text: whole, more: sum, colour: "run" },
  { name: "threads_busy", second: "threads_queued", title: "Threads: busy, and calls queued", text: whole, more: sum, colour: "thread" },
  { name: "connections", title: "Connections", text: whole, more: sum, colour: "run" },
  { name: "memory", title: "Memory", text: megabytes, more: sum, colour: "muted" },
  { name: "processor", title: "Processor", text: percent, more: sum, colour: "muted" },
  { name: "collecting", title: "Garbage collection, of each second", text: time, more: sum, colour: "held" },
];
const MINUTES = 5;

function percent(value) {
  return `${(value * 100).toFixed(0)} %`;
}

function whole(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

function megabytes(value) {
  return `${(value / 1e6).toFixed(1)} MB`;
}

function sum(one, other) {
  return one + other;
}

async function fetchNumbers() {
  const latest = Math.max(0, ...[...model.series.values()].map((seconds) => seconds.at(-1)?.at ?? 0));
  const workers = await get("/numbers", { since: latest === 0 ? 0 : latest - 3 });
  const known = new Map();
  for (const { worker, process, seconds } of workers) {
    const before = model.series.get(worker) ?? [];
    const last = before.at(-1)?.at ?? 0;
    known.set(worker, [...before, ...seconds.filter((second) => second.at > last)].slice(-600));
    known.get(worker).process = process;
  }
  model.series = known;
  if (model.worker === "") listWorkers(workers);
  showSummary();
}

function listWorkers(workers) {
  const select = document.getElementById("worker");
  document.getElementById("worker-choice").hidden = workers.length < 2;
  const state = workers.map(({ worker, process }) => `${worker} ${process}`).join();
  if (select.dataset.state === state) return;
  select.dataset.state = state;
  const options = workers.map(({ worker, process }) => element("option", { value: `${worker}` }, process === 0 ? `${worker} (starts)` : `${worker} (process ${process})`));
  select.replaceChildren(element("option", { value: "" }, `all ${workers.length}`), ...options);
}

// One number a second, of all workers together.
function together(name, more) {
  const bySecond = new Map();
  for (const seconds of model.series.values()) {
    for (const second of seconds) {
      const at = Math.round(second.at);
      const value = second[name];
      bySecond.set(at, bySecond.has(at) ? more(bySecond.get(at), value) : value);
    }
  }
  const points = [...bySecond].sort(([one], [other]) => one - other);
  // Seconds of several workers do not begin together: the last one is whole only when all have told of theirs.
  return model.series.size > 1 ? points.slice(0, -1) : points;
}

function showSummary() {
  const last = (name, more) => together(name, more).at(-1)?.[1];
  for (const place of document.querySelectorAll("[data-number]")) {
    const name = place.dataset.number;
    const chart = CHARTS.find((chart) => chart.name === name);
    if (name === "threads") {
      const [busy, limit, queued] = ["threads_busy", "threads_limit", "threads_queued"].map((part) => last(part, sum) ?? 0);
      place.textContent = `${busy}${limit > 0 ? `/${limit}` : ""}${queued > 0 ? ` +${queued} queued` : ""}`;
    } else {
      const value = last(name, chart.more);
      place.textContent = value === undefined ? "–" : chart.text(value);
    }
  }
}

function showCharts() {
  const panel = document.getElementById("charts");
  if (panel.hidden) return;
  if (panel.firstChild === null) {
    for (const chart of CHARTS) {
      const drawing = element("canvas", { role: "img" });
      const value = element("b");
      panel.append(element("figure", {}, element("figcaption", {}, chart.title, value), drawing));
      Object.assign(chart, { drawing, value });
      drawing.addEventListener("mousemove", (event) => {
        chart.cursor = event.clientX - drawing.getBoundingClientRect().left;
        drawChart(chart);
      });
      drawing.addEventListener("mouseleave", () => {
        chart.cursor = undefined;
        drawChart(chart);
      });
    }
  }
  CHARTS.forEach(drawChart);
}

function drawChart(chart) {
  const pen = chart.drawing.getContext("2d");
  const { width, height } = fit(chart.drawing, pen);
  const c = view.colours;
  const end = serverNow();
  const from = end - MINUTES * 60;
  const points = together(chart.name, chart.more).filter(([at]) => at >= from);
  const second = chart.second === undefined ? [] : together(chart.second, chart.more).filter(([at]) => at >= from);
  const most = Math.max(chart.top ?? 0, ...points.map(([, value]) => value), ...second.map(([, value]) => value)) || 1;
  const [bottom, top] = [height - 16, 16];
  const x = (at) => ((at - from) / (end - from)) * width;
  const y = (value) => bottom - (value / most) * (bottom - top);
  pen.clearRect(0, 0, width, height);
  pen.font = "10px system-ui, sans-serif";
  pen.fillStyle = c.muted;
  pen.strokeStyle = c.line;
  pen.lineWidth = 1;
  for (const level of [0, 0.5, 1]) {
    const place = Math.round(y(most * level)) + 0.5;
    pen.beginPath();
    pen.moveTo(0, place);
    pen.lineTo(width, place);
    pen.stroke();
  }
  pen.fillText(chart.text(most), 2, top - 4);
  for (let minute = 1; minute < MINUTES; minute++) pen.fillText(`-${MINUTES - minute} min`, (minute / MINUTES) * width - 14, height - 3);
  curve(pen, points, x, y, c[chart.colour], bottom);
  if (second.length > 0) curve(pen, second, x, y, c.stall, null);
  let shown = points.at(-1);
  if (chart.cursor !== undefined && points.length > 0) {
    shown = points.reduce((best, one) => (Math.abs(x(one[0]) - chart.cursor) < Math.abs(x(best[0]) - chart.cursor) ? one : best));
    pen.fillStyle = c.ink;
    pen.fillRect(Math.round(x(shown[0])), top, 1, bottom - top);
  }
  const text = shown === undefined ? "–" : chart.text(shown[1]) + (chart.cursor === undefined ? "" : ` at ${clock(shown[0]).slice(0, 8)}`);
  chart.value.textContent = text;
  chart.drawing.setAttribute("aria-label", `${chart.title} over ${MINUTES} minutes: now ${text}, at the most ${chart.text(most)}`);
}

function curve(pen, points, x, y, colour, bottom) {
  if (points.length === 0) return;
  pen.beginPath();
  points.forEach(([at, value], place) => pen[place === 0 ? "moveTo" : "lineTo"](x(at), y(value)));
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.stroke();
  if (bottom === null) return;
  pen.lineTo(x(points.at(-1)[0]), bottom);
  pen.lineTo(x(points[0][0]), bottom);
  pen.globalAlpha = 0.12;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
}
