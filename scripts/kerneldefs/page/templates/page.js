"use strict";
(() => {
  document.documentElement.classList.add("js");
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const overview = one("#overview");
  const search = one("#search");
  const family = one("#family");
  const config = one("#config");
  const statuses = all("input[name=status]");
  const title = document.title;

  // The rows that match every word of the search and the chosen status, family and config.
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(statuses.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const group of all("tbody[data-family]")) {
      let any = false;
      for (const row of group.querySelectorAll("tr[data-text]")) {
        const cells = [...row.querySelectorAll("td[data-status]")]
          .filter((cell) => !config.value || cell.dataset.config === config.value);
        const found = cells.flatMap((cell) => cell.dataset.status.split(" ").filter(Boolean));
        const matches = words.every((word) => row.dataset.text.includes(word))
          && (!family.value || group.dataset.family === family.value)
          && (found.some((status) => wanted.has(status)) || (!config.value && !found.length));
        row.hidden = !matches;
        any = any || matches;
        shown += matches ? 1 : 0;
      }
      group.hidden = !any;
    }
    for (const cell of all("[data-config]")) {
      cell.hidden = Boolean(config.value) && cell.dataset.config !== config.value;
    }
    for (const head of all("[data-over]")) {
      const over = head.dataset.over.split(" ");
      head.hidden = Boolean(config.value) && !over.includes(config.value);
      head.colSpan = config.value ? 1 : over.length;
    }
    one("#shown").textContent = `${shown} of ${all("tr[data-text]").length} shown`;
  }

  // A definition has a page of its own at #d/family/name; everything else is the overview.
  let left = null;
  function route() {
    const id = decodeURIComponent(location.hash.slice(1));
    const article = id.startsWith("d/") ? document.getElementById(id) : null;
    for (const other of all("article")) other.hidden = other !== article;
    overview.hidden = article !== null;
    if (article) {
      left = id;
      document.title = `${article.dataset.name} - ${title}`;
      scrollTo(0, 0);
      article.querySelector("h1").focus();
    } else {
      document.title = title;
      const link = left && one(`a[data-to="${CSS.escape(left)}"]`);
      if (link) link.focus();
      left = null;
    }
  }

  for (const input of [search, family, config, ...statuses]) input.addEventListener("input", filter);
  one("#clear").addEventListener("click", () => {
    search.value = family.value = config.value = "";
    for (const box of statuses) box.checked = true;
    filter();
    search.focus();
  });
  addEventListener("hashchange", route);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !overview.hidden && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && overview.hidden) {
      location.hash = "#overview";
    }
  });
  filter();
  route();
})();
