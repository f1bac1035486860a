"use strict";
// The page is complete without this script, which renders nothing: it fetches the
// page again, every few seconds and instead of following a link, and takes over
// what differs. So focus, scroll position and what is half typed stay.
(() => {
  const every = 5000;
  const patience = 15000;
  const longPatience = 60000; // of a change: a key's test waits for its upstream
  const live = document.getElementById("live");
  const liveText = document.getElementById("live-text");
  const pause = document.getElementById("pause");
  const app = document.getElementById("app");
  const hovers = matchMedia("(hover: hover)");
  let paused = false;
  let busy = null; // what is being fetched
  let downSince = null;
  let timer = 0;
  let typing = 0;

  const clock = (time) => time.toLocaleTimeString([], { hourCycle: "h23" });

  function say(text, kind) {
    live.className = kind;
    // The seconds change all the time: only what a screen reader should say is a
    // status.
    liveText.setAttribute("aria-live", kind === "down" ? "polite" : "off");
    if (liveText.textContent !== text) liveText.textContent = text;
  }

  // kept are attributes that the reader changes, not the server.
  const kept = new Set(["open", "tabindex"]);

  function morph(from, to) {
    if (from.isEqualNode(to)) return;
    if (from.nodeType !== Node.ELEMENT_NODE) {
      from.nodeValue = to.nodeValue;
      return;
    }
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !kept.has(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value && !kept.has(name)) from.setAttribute(name, value);
    morphChildren(from, to);
  }

  function morphChildren(from, to) {
    const wanted = new Set([...to.children].map((child) => child.id));
    const named = new Map();
    for (const child of [...from.children]) {
      if (!child.id) continue;
      if (wanted.has(child.id)) named.set(child.id, child);
      else child.remove();
    }
    let at = from.firstChild;
    for (const child of [...to.childNodes]) {
      const match = child.id ? named.get(child.id) : at && alike(at, child) ? at : null;
      if (match && match === at) at = at.nextSibling;
      else from.insertBefore(match || child, at);
      if (match) morph(match, child);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // alike tells whether one may become the other. A button never becomes another
  // one: it might be pressed in that moment.
  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && !a.id && (a.nodeName !== "BUTTON" || a.value === b.value);
  }

  // swap takes over the page. One that the reader has asked for brings its notice
  // and its filter; a refresh leaves them as they are.
  function swap(next, asked) {
    if (next.documentElement.dataset.build !== document.documentElement.dataset.build) {
      location.reload();
      return;
    }
    const active = document.activeElement;
    const row = active.closest("tbody tr");
    const fresh = next.getElementById("app");
    if (!asked) fresh.querySelector("#notice").replaceWith(document.getElementById("notice").cloneNode(true));
    morph(app, fresh);
    document.title = next.title;
    const filter = document.getElementById("filter");
    if (asked && filter && !filter.contains(active)) filter.reset();
    const question = asked && app.querySelector("#notice form a");
    if (question) question.focus();
    else refocus(active, row);
  }

  // refocus brings the focus back to what was moved, and else near to what is gone.
  function refocus(active, row) {
    if (document.activeElement === active) return;
    const near = active.isConnected ? active : row && row.isConnected ? row : document.getElementById("keys");
    if (!near) return;
    if (near !== active) near.tabIndex = -1;
    near.focus({ preventScroll: true });
  }

  async function read(url, options, signal) {
    const response = await fetch(url, { ...options, mode: "same-origin", cache: "no-store", signal: AbortSignal.any([signal, AbortSignal.timeout(options.method ? longPatience : patience)]) });
    const next = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!next.getElementById("app")) throw new Error(`Gateway answers ${response.status}`, { cause: response });
    return next;
  }

  // load fetches a page and shows it. What the reader asks for comes before a
  // refresh that is under way, and before a filter that was typed a moment ago;
  // nothing comes before a change.
  async function load(url, asked, options = {}) {
    if (asked) clearTimeout(typing);
    if (busy && (!asked || busy.changes)) return false;
    if (busy) busy.abort();
    const mine = new AbortController();
    mine.changes = options.method === "POST";
    busy = mine;
    if (mine.changes) say("Working…", "held");
    try {
      const next = await read(url, options, mine.signal);
      if (busy !== mine) return false;
      swap(next, asked);
      downSince = null;
      say(paused ? "Paused" : `Updated ${clock(new Date())}`, paused ? "held" : "");
      return true;
    } catch (error) {
      if (busy !== mine) return false;
      downSince ||= new Date();
      say(`${error.cause ? error.message : "Gateway not reachable"} since ${clock(downSince)}`, "down");
      return false;
    } finally {
      if (busy === mine) busy = null;
      schedule();
    }
  }

  function schedule() {
    clearTimeout(timer);
    timer = setTimeout(refresh, every);
  }

  // refresh waits while nobody looks, and while a row that moved away would make
  // the reader press the wrong button or lose what is selected.
  function refresh() {
    const aims = hovers.matches && app.querySelector("#keys td:last-child:hover");
    const selects = !getSelection().isCollapsed && app.contains(getSelection().anchorNode);
    if (paused || document.hidden || aims || selects) {
      if (!downSince && !document.hidden) say(paused ? "Paused" : "Held while you point or select", "held");
      schedule();
      return;
    }
    load(location.href, false);
  }

  // visit shows a page that the reader has asked for, and makes its address the
  // tab's. The address says nothing of what was done: to load it again must not
  // tell it again.
  async function visit(url, options) {
    if (!(await load(url, true, options))) return false;
    const address = new URL(app.dataset.self, location.href);
    if (address.search !== location.search) history.pushState(null, "", address.pathname + address.search);
    return true;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#app a[href^='?']");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const far = !link.closest("#keys, #usage, #notice");
    visit(link.href).then(() => far && document.getElementById("keys").scrollIntoView({ block: "nearest" }));
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const data = new FormData(form, event.submitter);
    event.preventDefault();
    if (form.method === "get") {
      visit("?" + new URLSearchParams([...data].filter(([, value]) => value)));
      return;
    }
    const menu = form.closest("details");
    const adds = menu && menu.id === "add";
    if (menu && !adds) menu.open = false;
    const action = (event.submitter && event.submitter.getAttribute("formaction")) || form.getAttribute("action");
    visit(action, { method: "POST", body: new URLSearchParams(data) }).then((shown) => {
      // Keys that were not added can be corrected; others must not stay in the page.
      if (!adds || !shown || document.querySelector("#notice.failed")) return;
      form.reset();
      menu.open = false;
    });
  });

  // The filter applies while it is typed.
  document.addEventListener("input", (event) => {
    const form = event.target.closest("#filter");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => form.checkValidity() && form.requestSubmit(), 250);
  });

  addEventListener("popstate", () => load(location.href, true));
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Resume" : "Pause";
    refresh();
  });

  // Between refreshes, durations of seconds go on.
  setInterval(() => {
    if (paused || downSince) return;
    for (const span of app.querySelectorAll("[data-seconds]")) {
      const left = Math.max(0, span.dataset.seconds - 1);
      span.dataset.seconds = left;
      span.textContent = `${left} s`;
    }
  }, 1000);

  if (new URLSearchParams(location.search).has("did")) history.replaceState(null, "", app.dataset.self);
  live.hidden = false;
  say(`Updated ${clock(new Date())}`, "");
  schedule();
})();
