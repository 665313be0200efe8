"use strict";

// What the server knows, as far as the page has asked.

const token = new URLSearchParams(location.search).get("token") ?? "";
const model = {
  worker: "", // the one that is looked at; "": all
  since: 0, // the next event to ask for
  every: 1, // of so many requests one is traced
  missed: 0,
  offset: 0, // the server's clock minus ours, in seconds
  offsets: [],
  requests: new Map(),
  lanes: [], // until when each lane is taken
  stalls: [],
  routes: [],
  series: new Map(),
};
const KEPT_REQUESTS = 6000;
const KEPT_SECONDS = 120;
const KEPT_EVENTS = 20000;

async function get(path, parameters = {}) {
  const query = new URLSearchParams(model.worker === "" ? parameters : { worker: model.worker, ...parameters });
  const response = await fetch(`${path}?${query}`, { headers: { authorization: `Bearer ${token}` }, cache: "no-store" });
  if (!response.ok) throw new Error(response.status === 403 ? "token" : `${response.status}`);
  return response.json();
}

function link(path, parameters = {}) {
  const chosen = model.worker === "" ? {} : { worker: model.worker };
  return `${path}?${new URLSearchParams({ ...chosen, ...parameters, token })}`;
}

function serverNow() {
  return Date.now() / 1000 + model.offset;
}

async function fetchEvents() {
  const asked = Date.now() / 1000;
  const answer = await get("/events", { since: model.since, last: KEPT_EVENTS });
  const received = Date.now() / 1000;
  // The quickest of the last answers knows the other clock best.
  model.offsets = [...model.offsets.slice(-19), { took: received - asked, offset: answer.now - (asked + received) / 2 }];
  model.offset = model.offsets.reduce((best, one) => (one.took < best.took ? one : best)).offset;
  // A server that was started again counts from the beginning.
  if (answer.next < model.since) forget();
  model.since = answer.next;
  model.every = answer.every;
  model.missed = answer.missed;
  answer.events.forEach(take);
  prune();
}

async function fetchStalls() {
  const answer = await get("/stalls");
  model.stalls = answer.stalls;
  for (const stall of model.stalls) {
    stall.key = `stall ${stall.worker} ${stall.began.toFixed(5)}`;
    const request = stall.request === null ? undefined : model.requests.get(`${stall.worker} ${stall.request}`);
    if (request !== undefined) {
      stall.line ||= request.line;
      stall.route ??= request.route;
    }
  }
}

function forget() {
  model.since = 0;
  model.requests.clear();
  model.lanes = [];
  model.series.clear();
}

function take(event) {
  const key = `${event.worker} ${event.request}`;
  if (event.kind === "received") {
    const request = { key, worker: event.worker, number: event.request, line: event.line, route: null, received: event.at,
      segments: [], status: null, answered: null, ended: null, wanted: null, steps: 0 };
    request.lane = lane(request);
    request.segments.push({ kind: "wait", from: event.at, to: null });
    model.requests.set(key, request);
    return;
  }
  const request = model.requests.get(key);
  if (request !== undefined) apply(request, event);
}

function apply(request, event) {
  const at = event.at;
  switch (event.kind) {
    case "found":
      request.route = event.route;
      break;
    case "step-began":
      request.steps += 1;
      follow(request, "run", at);
      break;
    case "step-ended":
      follow(request, request.wanted !== null ? "thread" : "wait", at);
      break;
    case "thread-wanted":
      request.wanted = at;
      break;
    case "thread-ran":
      split(request, event);
      request.wanted = null;
      break;
    case "answers":
      request.status = event.status;
      break;
    case "answered":
      request.answered = at;
      break;
    case "ended": {
      request.ended = at;
      const last = request.segments.at(-1);
      if (last.to === null) last.to = at;
      // Between the end of its last step and its own there is nothing.
      if (request.segments.length > 1 && at - last.from < 1e-4) request.segments.pop();
      // What was answered without a step of its own ran all the same.
      if (request.steps === 0) last.kind = "run";
      model.lanes[request.lane] = at;
      break;
    }
  }
}

// The last segment ends, and one of another kind begins.
function follow(request, kind, at) {
  const last = request.segments.at(-1);
  last.to = at;
  if (at - last.from < 1e-6) request.segments.pop();
  request.segments.push({ kind, from: at, to: null });
}

// Now it is known when the thread began, and when it was done.
function split(request, event) {
  const place = request.segments.findLastIndex((segment) => segment.kind === "thread");
  if (place < 0) return;
  const whole = request.segments[place];
  const to = whole.to ?? event.at;
  const began = Math.min(Math.max(event.began, whole.from), to);
  const ended = Math.min(Math.max(event.ended, began), to);
  request.segments.splice(place, 1,
    { kind: "queue", from: whole.from, to: began }, { kind: "thread", from: began, to: ended }, { kind: "wait", from: ended, to });
}

// The first lane that is free: a gap keeps one request's end and the next one's beginning apart.
function lane(request) {
  let place = model.lanes.findIndex((until) => until + 0.002 < request.received);
  if (place < 0) place = model.lanes.length;
  model.lanes[place] = Infinity;
  return place;
}

function prune() {
  const oldest = serverNow() - KEPT_SECONDS;
  let surplus = model.requests.size - KEPT_REQUESTS;
  for (const [key, request] of model.requests) {
    const isOver = request.ended !== null && request.ended < oldest;
    // One that never ends (its events were missed) must not keep its lane for ever.
    const isLost = request.ended === null && model.missed > 0 && request.received < oldest;
    if (surplus <= 0 && !isOver && !isLost) break;
    if (request.ended === null && !isLost) continue;
    if (isLost) model.lanes[request.lane] = 0;
    model.requests.delete(key);
    surplus -= 1;
  }
}

function endOf(stall) {
  return stall.over ? stall.began + stall.seconds : Math.max(serverNow(), stall.began + stall.seconds);
}

// The route of a request or stall: each worker has them in an order of its own.
function routeOf({ worker, route }) {
  return model.routes.find(({ places }) => places.some(([one, place]) => one === worker && place === route));
}

function culprit(stall) {
  if (stall.line) return stall.line;
  const route = routeOf(stall);
  if (route !== undefined) return `${route.method} ${route.path}`;
  if (stall.request !== null) return `request #${stall.request}`;
  return stall.task ?? "a callback outside of requests";
}

// How long a request was held up by stalls of others, between two points in time.
function heldUp(request, from, to) {
  const parts = [];
  for (const stall of model.stalls) {
    if (stall.worker !== request.worker || stall.request === request.number) continue;
    const [start, end] = [Math.max(from, stall.began), Math.min(to, endOf(stall))];
    if (end > start) parts.push([start, end, stall]);
  }
  return parts;
}

function duration(seconds) {
  if (seconds >= 10) return `${seconds.toFixed(1)} s`;
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  const milliseconds = seconds * 1000;
  if (milliseconds >= 10) return `${milliseconds.toFixed(0)} ms`;
  return milliseconds >= 0.01 ? `${milliseconds.toFixed(2)} ms` : `${(milliseconds * 1000).toFixed(1)} µs`;
}

function clock(at) {
  const date = new Date(at * 1000);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
