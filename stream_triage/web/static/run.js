// Keys n and p go to the next and the previous evidence; a button copies a run as Markdown. Pages and reports work without it.
(() => {
  "use strict";
  // Asking the browser what it shows would make it lay out all runs of a report.
  const visible = (element) => element.closest("details:not([open])") === null;

  function stepTo(direction) {
    const stops = [...document.querySelectorAll(".line.is-strong")].filter(visible);
    if (!stops.length) return;
    // Where the reader is: at the line with the focus, else at the top of the window.
    const here = document.activeElement && document.activeElement.closest(".line");
    const after = (stop) => here
      ? here.compareDocumentPosition(stop) & Node.DOCUMENT_POSITION_FOLLOWING
      : stop.getBoundingClientRect().top > 0;
    const next = direction > 0
      ? stops.find((stop) => stop !== here && after(stop)) || stops[0]
      : stops.filter((stop) => stop !== here && !after(stop)).pop() || stops[stops.length - 1];
    next.scrollIntoView({ block: "center" });
    next.querySelector(".no").focus({ preventScroll: true });
  }

  function keysOn() {
    const box = document.querySelector("[data-keys-on]");
    return box !== null && box.checked;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keysOn()) return;
    if (event.target.closest && event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
    if (event.key === "n" || event.key === "p") {
      stepTo(event.key === "n" ? 1 : -1);
      event.preventDefault();
    }
  });

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy);
    const said = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(text.value);
      said.textContent = "copied";
    } catch {
      // Without the right to the clipboard, as in some browsers for a file: the reader copies it.
      text.hidden = false;
      text.select();
      said.textContent = "select and copy the text below";
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy) copy(button);
    if (button.dataset.step) stepTo(Number(button.dataset.step));
  });

  // One switch for all runs of a report.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-keys-on]")) return;
    document.querySelectorAll("[data-keys-on]").forEach((box) => { box.checked = event.target.checked; });
  });

  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (target) target.scrollIntoView();
  }

  window.addEventListener("hashchange", openTarget);
  document.querySelectorAll("[data-copy], [data-keys]").forEach((element) => { element.hidden = false; });
  openTarget();
})();
