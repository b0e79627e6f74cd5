// Shows the values of a chart at the pointer or by keys, and keyboard shortcuts between pages.
// Without this script, each mark of a chart still has a title and a link.
"use strict";
(() => {
  const MARKS = ".target, .cell";
  const readout = document.createElement("div");
  readout.className = "readout";
  readout.hidden = true;
  readout.setAttribute("role", "status");
  document.body.append(readout);
  let shown = null; // the mark whose title is shown; the title is empty, so that no tooltip appears
  let words = ""; // the title of the shown mark

  const hide = () => {
    const title = shown && shown.querySelector("title");
    if (title && !title.textContent) title.textContent = words;
    if (shown) shown.classList.remove("at");
    shown = null;
    readout.hidden = true;
  };

  const show = (mark) => {
    if (mark === shown) return;
    hide();
    const title = mark.querySelector("title");
    if (!title || !title.textContent) return;
    shown = mark;
    words = title.textContent;
    title.textContent = "";
    mark.classList.add("at");
    readout.textContent = words;
    readout.hidden = false;
    const at = mark.getBoundingClientRect();
    const box = readout.getBoundingClientRect();
    const left = Math.min(Math.max(at.left + at.width / 2 - box.width / 2, 8), innerWidth - box.width - 8);
    readout.style.left = `${Math.max(left, 8)}px`;
    readout.style.top = `${at.top - box.height - 6 > 0 ? at.top - box.height - 6 : at.bottom + 6}px`;
  };

  const markOf = (node) => (node instanceof Element ? node.closest(MARKS) : null);
  document.addEventListener("pointerover", (event) => {
    const mark = markOf(event.target);
    if (mark) show(mark);
    else hide();
  });
  addEventListener("scroll", hide, { passive: true, capture: true });

  // Tab focuses a chart as a whole; the arrow keys move between its marks.
  const visible = (chart) => chart.getClientRects().length > 0;
  const focusable = () => {
    for (const chart of document.querySelectorAll("svg.chart")) {
      if (chart.querySelector(MARKS) && visible(chart) && !chart.hasAttribute("tabindex")) chart.setAttribute("tabindex", "0");
    }
  };
  focusable();
  document.addEventListener("focusin", (event) => {
    if (!(event.target instanceof SVGElement) || !event.target.matches("svg.chart")) return;
    const marks = [...event.target.querySelectorAll(MARKS)];
    if (!marks.includes(shown)) show(marks[marks.length - 1]);
  });
  document.addEventListener("focusout", hide);

  const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
  const inChart = (event) => {
    const marks = [...event.target.querySelectorAll(MARKS)];
    const row = marks.filter((mark) => mark.getAttribute("y") === marks[0].getAttribute("y")).length;
    const steps = { ...STEPS, ...(row < marks.length ? { ArrowUp: -row, ArrowDown: row } : {}) };
    if (event.key === "Escape") hide();
    if (event.key === "Enter" && shown && shown.closest("a")) {
      location.href = shown.closest("a").getAttribute("href");
    } else if (event.key in steps) {
      event.preventDefault();
      const index = marks.includes(shown) ? marks.indexOf(shown) + steps[event.key] : marks.length - 1;
      if (index >= 0 && index < marks.length) show(marks[index]);
    }
  };

  const help = document.getElementById("keys");
  const button = document.getElementById("show-keys");
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
  const links = {
    p: () => document.querySelector('a[rel="prev"]'),
    n: () => document.querySelector('a[rel="next"]'),
    u: () => [...document.querySelectorAll(".top nav a")].pop(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const target = event.target;
    if (target instanceof Element && target.matches("input, textarea, select")) return;
    if (target instanceof SVGElement && target.matches("svg.chart")) inChart(event);
    if (event.key === "?") {
      event.preventDefault();
      help.showModal();
    } else if (event.key === "/") {
      const field = document.querySelector('input[type="search"]');
      if (!field) return;
      event.preventDefault();
      field.focus();
    } else if (event.key in links && !document.querySelector("[data-key]")) {
      const link = links[event.key]();
      if (link) location.href = link.getAttribute("href");
    }
  });

  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zone = document.querySelector('input[name="tz"]');
  const choose = document.getElementById("own-zone");
  if (own && zone && zone.value !== own) {
    choose.hidden = false;
    choose.addEventListener("click", () => {
      zone.value = own;
      zone.form.submit();
    });
  }
})();
