// The canvas of the timeline.

const canvas = document.getElementById("timeline");
const context = canvas.getContext("2d");
const view = { span: 10, paused: null, chosen: null, hovered: null, drawn: [], colours: {}, height: 380 };
const AXIS = 20;
const LOOP = 26;
const LANE = 17;
// Seconds from one time on the axis to the next, which must not run into each other.
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30];
// Events are a little late.
const DELAY = 0.3;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["card", "ink", "muted", "line", "faint", "run", "wait", "thread", "queue", "held", "stall", "focus"]) {
    view.colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  view.hatch = null;
}

// Stripes, so that colour is not all that tells.
function hatch() {
  if (view.hatch) return view.hatch;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = view.colours.held;
  pen.lineWidth = 3;
  for (const shift of [-8, 0, 8]) {
    pen.beginPath();
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
    pen.stroke();
  }
  return (view.hatch = context.createPattern(tile, "repeat"));
}

function fit(target, pen) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = target.getBoundingClientRect();
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (target.width !== w || target.height !== h) [target.width, target.height] = [w, h];
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}

function range() {
  const end = view.paused ?? serverNow() - DELAY;
  return [end - view.span, end];
}

function drawTimeline() {
  const { width, height } = fit(canvas, context);
  if (width === 0) return;
  const [from, to] = range();
  const scale = width / view.span;
  const x = (at) => (at - from) * scale;
  const c = view.colours;
  view.drawn = [];
  context.clearRect(0, 0, width, height);
  drawAxis(x, from, to, scale, height);
  context.fillStyle = c.faint;
  context.fillRect(0, AXIS, width, LOOP - 6);
  context.fillStyle = c.muted;
  context.fillText("loop", 4, AXIS + 14);
  const lanes = Math.floor((height - AXIS - LOOP) / LANE);
  const visible = [];
  let hidden = 0;
  for (const request of model.requests.values()) {
    if (request.received > to || (request.ended ?? Infinity) < from) continue;
    if (request.lane >= lanes) hidden += 1;
    else visible.push(request);
    drawOnLoop(request, x, from, to);
  }
  for (const stall of model.stalls) if (stall.began <= to && endOf(stall) >= from) drawBand(stall, x, height, to);
  for (const request of visible) drawRequest(request, x, from, to);
  for (const stall of model.stalls) if (stall.began <= to && endOf(stall) >= from) drawStall(stall, x, to);
  tellSample(hidden);
}

function drawAxis(x, from, to, scale, height) {
  const step = STEPS.find((step) => step * scale >= (step < 1 ? 62 : 46)) ?? 60;
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = view.colours.muted;
  context.strokeStyle = view.colours.line;
  context.lineWidth = 1;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const place = Math.round(x(at)) + 0.5;
    context.beginPath();
    context.moveTo(place, AXIS - 4);
    context.lineTo(place, height);
    context.stroke();
    const text = clock(at).slice(3, step < 1 ? 10 : 8);
    context.fillText(text, place + 3, 12);
  }
}

function drawOnLoop(request, x, from, to) {
  context.fillStyle = view.colours.run;
  for (const segment of request.segments) {
    if (segment.kind !== "run") continue;
    const end = segment.to ?? to;
    if (end < from || segment.from > to) continue;
    context.fillRect(x(segment.from), AXIS + 2, Math.max(1, x(end) - x(segment.from)), LOOP - 10);
  }
}

function drawBand(stall, x, height, to) {
  const [left, right] = [x(stall.began), Math.max(x(Math.min(endOf(stall), to)), x(stall.began) + 2)];
  context.fillStyle = view.colours.stall;
  context.globalAlpha = stall.key === view.chosen ? 0.22 : 0.12;
  context.fillRect(left, AXIS, right - left, height - AXIS);
  context.globalAlpha = 1;
  view.drawn.push({ left, right, top: AXIS, bottom: height, key: stall.key, item: stall, isStall: true });
}

function drawStall(stall, x, to) {
  const left = x(stall.began);
  const right = Math.max(x(Math.min(endOf(stall), to)), left + 3);
  context.fillStyle = view.colours.stall;
  context.fillRect(left, AXIS, right - left, LOOP - 6);
  if (stall.key === view.chosen) outline(left, AXIS, right - left, LOOP - 6);
  const text = `${culprit(stall)} ${stall.over ? "" : "has "}blocked ${duration(endOf(stall) - stall.began)}`;
  context.font = "600 11px system-ui, sans-serif";
  if (right - Math.max(left, 0) > 40) {
    context.save();
    context.beginPath();
    context.rect(left, AXIS, right - left, LOOP);
    context.clip();
    context.fillStyle = "#fff";
    context.fillText(text, Math.max(left, 0) + 5, AXIS + 14);
    context.restore();
  }
}

function drawRequest(request, x, from, to) {
  const top = AXIS + LOOP + request.lane * LANE;
  const c = view.colours;
  for (const segment of request.segments) {
    const end = Math.min(segment.to ?? to, to);
    if (end < from || segment.from > to) continue;
    const [left, right] = [x(Math.max(segment.from, from)), x(end)];
    const isThin = segment.kind === "wait";
    context.fillStyle = c[segment.kind];
    context.fillRect(left, top + (isThin ? 6 : 2), Math.max(segment.kind === "run" ? 1.5 : 0.5, right - left), isThin ? 3 : 11);
    if (segment.kind === "run") {
      const stall = model.stalls.find((stall) => isOf(stall, request) && stall.began < end && endOf(stall) > segment.from);
      if (stall !== undefined) {
        context.fillStyle = c.stall;
        context.fillRect(left, top + 2, Math.max(2, right - left), 11);
      }
      continue;
    }
    if (segment.kind === "thread" && segment.to !== null) continue;
    for (const [start, stop] of heldUp(request, Math.max(segment.from, from), end)) {
      context.fillStyle = hatch();
      context.fillRect(x(start), top + 2, Math.max(1, x(stop) - x(start)), 11);
    }
  }
  const left = Math.max(0, x(request.received));
  const right = Math.min(x(request.ended ?? to), x(to));
  if (request.key === view.chosen) outline(left, top, Math.max(4, right - left), 15);
  else if (request.key === view.hovered) outline(left, top, Math.max(4, right - left), 15, c.muted);
  view.drawn.push({ left: left - 2, right: Math.max(right, left + 4) + 2, top, bottom: top + LANE - 2, key: request.key, item: request });
  if (right - left > 60) {
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, LANE);
    context.clip();
    context.font = "11px system-ui, sans-serif";
    const text = request.status === null ? request.line : `${request.line} ${request.status}`;
    const under = request.segments.find((segment) => x(segment.to ?? to) > left + 6);
    const isColoured = under !== undefined && (under.kind === "run" || under.kind === "thread");
    const isOnColour = isColoured && x(under.to ?? to) - left > context.measureText(text).width;
    context.lineWidth = 3;
    context.strokeStyle = c.card;
    context.fillStyle = isOnColour ? "#fff" : c.ink;
    if (!isOnColour) context.strokeText(text, left + 6, top + 11.5);
    context.fillText(text, left + 6, top + 11.5);
    context.restore();
  }
}

function isOf(stall, request) {
  return stall.worker === request.worker && stall.request === request.number;
}

function outline(left, top, width, height, colour = view.colours.focus) {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(left - 1, top, width + 2, height);
}

function tellSample(hidden) {
  const sample = model.every > 1 ? `1 of ${model.every} requests is traced and drawn, as there are so many` : "every request is drawn";
  const more = hidden > 0 ? `; ${hidden} more have no room in these lanes` : "";
  const missed = model.missed > 0 ? `; ${model.missed} events were lost` : "";
  const text = `A lane a request: ${sample}${more}${missed}. Stalls are all shown.`;
  const note = document.getElementById("note");
  if (note.textContent !== text) note.textContent = text;
}

// What is drawn at a place; of a stall and a request the request, but in the row of the loop.
function at(event) {
  const box = canvas.getBoundingClientRect();
  const [px, py] = [event.clientX - box.left, event.clientY - box.top];
  const hits = view.drawn.filter((one) => px >= one.left && px <= one.right && py >= one.top && py <= one.bottom);
  return hits.findLast((one) => !one.isStall) ?? hits.at(-1);
}

function choose(step) {
  const items = [...new Map(view.drawn.map((one) => [one.key, one])).values()];
  items.sort((one, other) => one.left - other.left);
  if (items.length === 0) return;
  const place = items.findIndex((one) => one.key === view.chosen);
  const next = place < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(Math.max(place + step, 0), items.length - 1);
  view.chosen = items[next].key;
  document.getElementById("chosen").textContent = describe(items[next]);
}

function describe({ item, isStall }) {
  if (isStall) return `Stall: ${culprit(item)} blocked the loop for ${duration(endOf(item) - item.began)}`;
  const state = item.ended === null ? "not over yet" : `took ${duration(item.ended - item.received)}`;
  return `${item.line} ${item.status ?? ""}\n${state}`;
}

function setPaused(paused) {
  view.paused = paused ? serverNow() - DELAY : null;
  const button = document.getElementById("pause");
  button.setAttribute("aria-pressed", String(paused));
  button.textContent = paused ? "Go on" : "Pause";
}

function setSpan(step) {
  const select = document.getElementById("span");
  select.selectedIndex = Math.min(Math.max(select.selectedIndex + step, 0), select.options.length - 1);
  view.span = Number(select.value);
}

function startTimeline(open) {
  const tip = element("div", { id: "tip", hidden: true });
  document.body.append(tip);
  canvas.addEventListener("click", (event) => {
    const hit = at(event);
    if (hit === undefined) return;
    view.chosen = hit.key;
    open(hit);
  });
  canvas.addEventListener("mousemove", (event) => {
    const hit = at(event);
    view.hovered = hit?.key ?? null;
    tip.hidden = hit === undefined;
    if (hit === undefined) return;
    tip.textContent = describe(hit);
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 18}px`;
  });
  canvas.addEventListener("mouseleave", () => {
    tip.hidden = true;
    view.hovered = null;
  });
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      ArrowRight: () => choose(+1),
      ArrowLeft: () => choose(-1),
      Enter: () => {
        const hit = view.drawn.findLast((one) => one.key === view.chosen);
        if (hit !== undefined) open(hit);
      },
      " ": () => setPaused(view.paused === null),
      "+": () => setSpan(-1),
      "-": () => setSpan(+1),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.getElementById("pause").addEventListener("click", () => setPaused(view.paused === null));
  document.getElementById("span").addEventListener("change", () => setSpan(0));
  const frame = () => {
    drawTimeline();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
