// Live updates: the server sends the sections of the page that have changed, as it draws them
// itself. Without this script the pages are the same, and are loaded again by hand.
"use strict";
(() => {
  const words = document.querySelector("[data-live]");
  if (!words || !window.EventSource) return;
  let source = null;

  const say = (on) => {
    words.dataset.live = on ? "on" : "off";
    words.textContent = on ? words.dataset.on : words.dataset.off;
  };

  // A section in which somebody writes or has opened a form stays as it is.
  const inUse = (section) =>
    section.querySelector("details[open] form") !== null ||
    (section.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, summary"));

  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old || inUse(old)) return false;
    const opened = [...old.querySelectorAll("details[open][id]")].map((d) => d.id);
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const template = document.createElement("template");
    template.innerHTML = html;
    const section = template.content.firstElementChild;
    if (!section) return false;
    section.classList.add("fresh");
    old.replaceWith(section);
    for (const id of opened) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    if (focused) {
      const link = [...section.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
      if (link) link.focus({ preventScroll: true });
    }
    return true;
  };

  const stop = () => {
    if (source) source.close();
    source = null;
    say(false);
  };

  const start = () => {
    if (source || document.hidden) return;
    const address = new URL(location.href);
    address.searchParams.set("live", "1");
    address.hash = "";
    source = new EventSource(address);
    source.addEventListener("open", () => say(true));
    source.addEventListener("error", () => say(false));
    source.addEventListener("section", (message) => {
      const { id, html } = JSON.parse(message.data);
      replace(id, html);
    });
    // The server has something else to do: ask again later.
    source.addEventListener("end", () => {
      stop();
      setTimeout(start, 5000);
    });
  };

  // A page that nobody sees keeps no connection open.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  window.addEventListener("pagehide", stop);
  start();
})();
