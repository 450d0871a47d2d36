"use strict";
// Filters hide rows; a node's link opens its detail; long tables show their first rows until asked
// for all, or searched. Without scripts the page shows everything.
(() => {
  const root = document.documentElement;
  const form = document.querySelector(".filters");
  const rows = [...document.querySelectorAll("main [data-task]")];
  root.classList.add("scripted");

  const filter = () => {
    const { level, task, find } = form.elements;
    root.dataset.level = level.value;
    root.classList.toggle("searched", Boolean(task.value || find.value));
    const wanted = find.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden =
        (task.value && row.dataset.task !== task.value) || !row.dataset.find.includes(wanted);
    }
    const ranked = `[data-for="${level.value}"] .ranking tbody tr`;
    const all = document.querySelectorAll(ranked).length;
    const left = document.querySelectorAll(`${ranked}:not([hidden])`).length;
    // The newest days first: on a phone the heatmap is wider than the screen.
    for (const each of document.querySelectorAll(".scroll")) each.scrollLeft = each.scrollWidth;
    form.elements.count.value = left < all ? `${left} of ${all} nodes` : `${all} nodes`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());

  for (const button of document.querySelectorAll("button.all")) {
    button.addEventListener("click", () => button.closest("section").classList.add("whole"));
  }

  const open = () => {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    const wanted = /^#n\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (wanted) wanted.showModal();
  };
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("close", () => {
      if (location.hash === `#${dialog.id}`) history.replaceState(null, "", location.pathname);
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
  }
  addEventListener("hashchange", open);
  filter();
  open();
})();
