// Puts the page together and keeps it fresh.

const OFTEN = 200;
const SELDOM = 1000;
const theme = window.matchMedia("(prefers-color-scheme: dark)");

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  readColours();
  CHARTS.forEach((chart) => chart.drawing !== undefined && drawChart(chart));
}

function remembered() {
  try {
    return localStorage.getItem("overdrive-theme");
  } catch {
    return null;
  }
}

function startTheme() {
  setTheme(remembered() ?? (theme.matches ? "dark" : "light"));
  theme.addEventListener("change", () => remembered() ?? setTheme(theme.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(name);
    try {
      localStorage.setItem("overdrive-theme", name);
    } catch {
      // It is forgotten with the page, then.
    }
  });
}

function startTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const select = (tab) => {
    for (const one of tabs) {
      const isIt = one === tab;
      one.setAttribute("aria-selected", String(isIt));
      one.tabIndex = isIt ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = !isIt;
    }
    seldom();
    showStalls();
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      next.focus();
      select(next);
    });
  });
}

function startWorkers() {
  document.getElementById("worker").addEventListener("change", (event) => {
    model.worker = event.target.value;
    forget();
    setLinks();
  });
}

function setLinks() {
  document.getElementById("report-link").href = link("/report");
  document.getElementById("metrics-link").href = link("/metrics");
}

function tell(kind, text) {
  const state = document.getElementById("state");
  state.className = `state ${kind}`;
  const words = state.querySelector("b");
  if (words.textContent !== text) words.textContent = text;
}

function tellState() {
  const blocking = model.stalls.filter((stall) => !stall.over);
  if (blocking.length === 0) return tell("answers", "the loop answers");
  const stall = blocking[0];
  // Whole seconds, as a reader of screens hears of each change.
  const since = Math.floor(endOf(stall) - stall.began);
  tell("blocked", `blocked by ${culprit(stall)}${since > 0 ? ` for ${since} s` : ""}`);
}

async function often() {
  try {
    await Promise.all([fetchEvents(), fetchStalls()]);
    tellState();
    showStalls();
    refreshDetail();
  } catch (error) {
    const isToken = error.message === "token";
    tell("lost", isToken ? "the token is not valid any more: see the server's log" : "the server does not answer");
  }
  setTimeout(often, document.hidden ? SELDOM : OFTEN);
}

async function seldom() {
  try {
    await Promise.all([fetchNumbers(), fetchRoutes(), showSteps()]);
    showRoutes();
    showCharts();
  } catch {
    // `often` tells of it.
  }
}

async function fetchRoutes() {
  model.routes = await get("/routes");
}

readColours();
startTheme();
startTabs();
startWorkers();
setLinks();
startTimeline(openDetail);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && opened !== null) closeDetail();
});
document.getElementById("step-filter").addEventListener("input", seldom);
often();
seldom();
setInterval(() => document.hidden || seldom(), SELDOM);
