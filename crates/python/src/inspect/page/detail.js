// What is known of one request or stall.

const detail = document.getElementById("detail");
let opened = null;

function openDetail({ key, item, isStall }) {
  opened = { key, isStall, state: "" };
  showDetail(item, isStall);
  detail.hidden = false;
  detail.focus({ preventScroll: true });
  detail.scrollIntoView({ block: "nearest" });
}

function closeDetail() {
  detail.hidden = true;
  opened = null;
  view.chosen = null;
  canvas.focus();
}

// A stall goes on, a request gets its answer: what is open follows.
function refreshDetail() {
  if (opened === null) return;
  const item = opened.isStall ? model.stalls.find((stall) => stall.key === opened.key) : model.requests.get(opened.key);
  if (item === undefined) return;
  const state = opened.isStall
    ? `${item.looks} ${item.over} ${item.waited} ${item.over ? "" : item.seconds.toFixed(1)}`
    : `${item.segments.length} ${item.status} ${item.ended}`;
  if (state === opened.state) return;
  opened.state = state;
  showDetail(item, opened.isStall);
}

function showDetail(item, isStall) {
  const hadFocus = detail.contains(document.activeElement) && document.activeElement !== detail;
  detail.className = isStall ? "detail stall" : "detail";
  const close = element("button", { type: "button", class: "close", onclick: closeDetail }, "Close");
  detail.replaceChildren(close, ...(isStall ? ofStall(item) : ofRequest(item)));
  if (hadFocus) close.focus();
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value !== null && value !== "") list.append(element("dt", {}, name), element("dd", {}, value));
  }
  return list;
}

function ofStall(stall) {
  const route = routeOf(stall);
  const took = duration(stall.over ? stall.seconds : endOf(stall) - stall.began);
  const waited = stall.waited === 1 ? "1 request" : `${stall.waited} requests`;
  const parts = [
    element("h3", { id: "detail-title" }, `${culprit(stall)} ${stall.over ? "blocked" : "is blocking"} the event loop: ${took}`),
    facts([
      ["since", clock(stall.began)],
      ["endpoint", route === undefined ? "" : `${route.endpoint}, ${route.pattern || "no function"}, ${route.file}:${route.line}`],
      ["started by", stall.started_by],
      ["garbage collector", stall.collected > 0 ? `${duration(stall.collected)} of it` : ""],
      ["who waited", stall.over ? (stall.waited === 0 ? "nobody" : `${waited}, ${duration(stall.delayed)} together at the most`) : "is counted at its end"],
      ["stack seen", stall.looks === 1 ? "once" : `${stall.looks} times`],
    ]),
  ];
  if (stall.stack.length === 0) {
    const why = stall.looks > 0 ? "It was in a C function that the loop called itself." : "It was in C code that kept the GIL: nobody can look at its stack until it lets go.";
    return [...parts, element("p", {}, why)];
  }
  return [...parts, ofSource(stall), ofStack(stall)];
}

function ofSource(stall) {
  const blamed = stall.stack[stall.blamed];
  if (blamed === undefined) return element("p", {}, "None of its lines is the application's.");
  const lines = element("pre", { class: "around", "aria-label": `${blamed.file}, line ${blamed.line} and those around it` });
  for (const [number, text] of stall.around) {
    lines.append(element(number === blamed.line ? "mark" : "span", {}, element("i", {}, `${number}`), text || " "));
  }
  const title = element("p", { class: "code" }, `${blamed.file}:${blamed.line}, in ${blamed.function}`);
  return element("div", {}, title, stall.around.length > 0 ? lines : "");
}

function ofStack(stall) {
  const list = element("ol", { class: "stack code" });
  stall.stack.forEach((line, place) => {
    const source = line.source === "" ? null : element("span", { class: "source" }, line.source);
    list.append(element("li", { class: place === stall.blamed ? "blamed" : null }, `${line.file}:${line.line}, in ${line.function}`, source));
  });
  return element("details", { open: stall.blamed === null }, element("summary", {}, `The stack, innermost first (${stall.stack.length})`), list);
}

const SEGMENTS = { run: "on the loop", wait: "waiting", thread: "in a thread", queue: "queued for a thread" };

function ofRequest(request) {
  const route = routeOf(request);
  const until = request.ended ?? serverNow();
  const held = heldUp(request, request.received, until);
  const spent = { run: 0, wait: 0, thread: 0, queue: 0 };
  for (const segment of request.segments) spent[segment.kind] += (segment.to ?? until) - segment.from;
  const own = model.stalls.filter((stall) => isOf(stall, request));
  const buttons = [...own, ...new Set(held.map(([, , stall]) => stall))].map((stall) =>
    element("button", { type: "button", onclick: () => openDetail({ key: stall.key, item: stall, isStall: true }) },
      `${own.includes(stall) ? "It blocked the loop" : `Held up by ${culprit(stall)}`}: ${duration(endOf(stall) - stall.began)}`));
  const rows = request.segments.map((segment) => element("tr", {}, element("td", {}, SEGMENTS[segment.kind]),
    element("td", { class: "number" }, duration(segment.from - request.received)),
    element("td", { class: "number" }, segment.to === null ? "goes on" : duration(segment.to - segment.from))));
  return [
    element("h3", { id: "detail-title" }, `#${request.number} ${request.line}`),
    facts([
      ["received", clock(request.received)],
      ["endpoint", route === undefined ? "" : `${route.endpoint}, ${route.pattern || "no function"}, ${route.file}:${route.line}`],
      ["answer", request.status === null ? "none yet" : `${request.status}${request.answered === null ? "" : ` after ${duration(request.answered - request.received)}`}`],
      ["spent", Object.entries(spent).filter(([, time]) => time > 0).map(([kind, time]) => `${duration(time)} ${SEGMENTS[kind]}`).join(", ")],
    ]),
    element("p", { class: "bar" }, ...buttons),
    element("details", {}, element("summary", {}, `Its ${rows.length} segments`), element("table", {},
      element("thead", {}, element("tr", {}, element("th", {}, "what"), element("th", { class: "number" }, "after"), element("th", { class: "number" }, "for"))),
      element("tbody", {}, ...rows))),
  ];
}
