// Refreshes the page: fetches it again and replaces only changed parts. The page works without it.
"use strict";
(() => {
  const INTERVAL_MS = 5000;
  const status = document.getElementById("live");
  if (!document.querySelector("[data-live]")) return; // pages without it must not change while they are read
  let tag = null;
  let failures = 0;

  const filter = () => {
    const field = document.querySelector("[data-filter]");
    if (!field) return;
    const query = field.value.trim().toLowerCase();
    for (const row of document.querySelectorAll(`${field.dataset.filter} > [data-text]`)) {
      row.hidden = !row.dataset.text.includes(query);
    }
  };

  // Copies text, attributes and children that differ, and leaves all other nodes in place, so that
  // scroll positions, focus, typed text and open details stay unchanged.
  const merge = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh) || "own" in (old.dataset ?? {})) return; // a script fills elements with data-own
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !["open", "hidden", "tabindex"].includes(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    after.forEach((node, index) => {
      if (index < before.length) merge(before[index], node);
      else old.append(document.importNode(node, true));
    });
    before.slice(after.length).forEach((node) => node.remove());
  };

  const showStatus = (text, bad) => {
    status.textContent = text;
    status.classList.toggle("bad", bad);
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const headers = tag ? { "if-none-match": tag } : {};
      const reply = await fetch(location.href, { headers, cache: "no-store" });
      if (reply.status !== 304) {
        if (!reply.ok) throw new Error(String(reply.status));
        tag = reply.headers.get("etag");
        const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
        merge(document.querySelector("[data-live]"), fresh.querySelector("[data-live]"));
        document.title = fresh.title;
        filter();
      }
      failures = 0;
      showStatus("live", false);
    } catch {
      failures += 1;
      if (failures > 1) showStatus("The monitor does not respond; this page may be out of date.", true);
    }
  };

  // Puts the search into the URL, so that a reload, a shared link and the back button keep it.
  let timer = 0;
  const search = (field) => {
    const url = new URL(location.href);
    url.searchParams.delete("from");
    if (field.value.trim()) url.searchParams.set(field.name, field.value.trim());
    else url.searchParams.delete(field.name);
    history.replaceState(null, "", url);
    clearTimeout(timer);
    timer = setTimeout(refresh, 300); // loads missing rows, and links that contain the search
  };

  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-filter]")) return;
    filter();
    search(event.target);
  });
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, INTERVAL_MS);
  refresh();
})();
