// Keeps lists up to date while they are looked at, and addresses short. Every page works without it.
(() => {
  "use strict";

  // Live: the server says that something was stored, the page asks for what it shows.
  let stream = null;
  let known = null;

  function refresh() {
    const list = document.querySelector("#found");
    if (list && list.querySelector("[data-live]") && window.htmx) {
      window.htmx.ajax("GET", location.pathname + location.search, { target: list, swap: "innerHTML" });
    } else if (document.querySelector("[data-live=reload]")) {
      location.reload();
    }
  }

  function told(event) {
    if (known !== null && event.data !== known) refresh();
    known = event.data;
  }

  // A browser allows six open connections to one server: tabs that nobody sees give theirs back.
  function listen() {
    if (document.hidden) {
      if (stream) stream.close();
      stream = null;
    } else if (!stream) {
      stream = new EventSource("/events");
      stream.addEventListener("state", told);
      stream.addEventListener("stored", told);
    }
  }

  if (document.querySelector("#found, [data-live]") && window.EventSource) {
    document.addEventListener("visibilitychange", listen);
    listen();
  }

  // Fields that say nothing stay out of the address.
  document.addEventListener("htmx:configRequest", (event) => {
    const form = event.detail.elt;
    if (form.id !== "filters") return;
    for (const [name, value] of Object.entries(event.detail.parameters)) {
      if (value === "") delete event.detail.parameters[name];
    }
  });

  // A list that was brought up to date keeps the focus where it was, and marks what is new.
  let focused = null;
  let shown = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "found") return;
    const element = document.activeElement;
    focused = event.detail.target.contains(element) ? element.getAttribute("href") : null;
    shown = new Set([...event.detail.target.querySelectorAll("tr[id]")].map((row) => row.id));
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "found") return;
    if (focused) {
      const same = [...event.detail.target.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
      if (same) same.focus({ preventScroll: true });
    }
    const live = event.detail.requestConfig.elt === document.body || event.detail.requestConfig.elt.id === "found";
    if (live && shown) {
      event.detail.target.querySelectorAll("tr[id]").forEach((row) => { row.classList.toggle("is-new", !shown.has(row.id)); });
    }
  });

  // What htmx cannot put into the page, such as an error, is shown as a page of its own.
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.target.id === "found") location.reload();
  });
})();
