// Saves the overview's filters by name in this browser. Without this script, users can set bookmarks.
"use strict";
(() => {
  const KEY = "driftline.filters";
  const FIELDS = ["q", "verdict", "alarms", "tag", "owner", "sort"];
  const MOST = 20;
  const part = document.getElementById("saved");
  const form = document.getElementById("save-filter");
  if (!part || !form) return;

  const chosen = () => {
    const query = new URLSearchParams(location.search);
    return new URLSearchParams(FIELDS.filter((name) => query.get(name)).map((name) => [name, query.get(name)])).toString();
  };
  const read = () => {
    try {
      const filters = JSON.parse(localStorage.getItem(KEY) || "[]");
      return filters.filter(({ name, query }) => typeof name === "string" && typeof query === "string").slice(0, MOST);
    } catch {
      return []; // no storage, or content of another format
    }
  };
  const write = (filters) => {
    try {
      localStorage.setItem(KEY, JSON.stringify(filters.slice(-MOST)));
    } catch {
      document.getElementById("saved-note").textContent = "This browser does not store filters; set a bookmark instead.";
    }
    draw();
  };

  const link = ({ name, query }, index) => {
    const anchor = document.createElement("a");
    anchor.href = `/?${query}`;
    anchor.textContent = name;
    if (index < 9) anchor.dataset.filterKey = String(index + 1);
    if (query === chosen()) anchor.setAttribute("aria-current", "true");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Delete the saved filter ${name}`);
    remove.addEventListener("click", () => write(read().filter((filter) => filter.name !== name)));
    const item = document.createElement("span");
    item.className = "saved-filter";
    item.append(anchor, remove);
    return item;
  };
  const draw = () => {
    const filters = read();
    document.getElementById("saved-list").replaceChildren(...filters.map(link));
    form.hidden = !chosen() || filters.some(({ query }) => query === chosen());
    part.hidden = form.hidden && !filters.length;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    if (!name || !chosen()) return;
    form.reset();
    write([...read().filter((filter) => filter.name !== name), { name, query: chosen() }]);
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-filter]")) draw(); // live.js has already put the search into the URL
  });
  addEventListener("storage", draw);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target instanceof Element && event.target.matches("input, textarea, select")) return;
    const anchor = document.querySelector(`[data-filter-key="${CSS.escape(event.key)}"]`);
    if (anchor) location.href = anchor.getAttribute("href");
    if (event.key === "s" && !form.hidden) {
      event.preventDefault();
      form.elements.name.focus();
    }
  });
  draw();
})();
