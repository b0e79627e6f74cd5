// Keeps the page fresh: fetches itself and replaces only what changed. Everything works without it.
"use strict";
(() => {
  const EVERY = 5000;
  const status = document.getElementById("live");
  if (!document.querySelector("[data-live]")) return; // what is read here must not change under the reader
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

  // Takes over text, attributes and children that differ and leaves every other node in place, so
  // that scroll positions, focus, typed text and open details stay as they are.
  const merge = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh) || "own" in (old.dataset ?? {})) return; // data-own: a script fills it
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

  const say = (text, bad) => {
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
      say("live", false);
    } catch {
      failures += 1;
      if (failures > 1) say("The monitor does not respond; this page may be out of date.", true);
    }
  };

  // Keeps the search in the address, so that a reload, a shared link and the back button have it.
  let typed = 0;
  const search = (field) => {
    const address = new URL(location.href);
    address.searchParams.delete("from");
    if (field.value.trim()) address.searchParams.set(field.name, field.value.trim());
    else address.searchParams.delete(field.name);
    history.replaceState(null, "", address);
    clearTimeout(typed);
    typed = setTimeout(refresh, 300); // rows that the page did not have, and links with the search
  };

  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-filter]")) return;
    filter();
    search(event.target);
  });
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, EVERY);
  refresh();
})();
