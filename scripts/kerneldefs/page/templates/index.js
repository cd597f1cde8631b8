"use strict";
(() => {
  const search = document.querySelector("#search");
  const rows = [...document.querySelectorAll("tr[data-text]")];
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.dataset.text.includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    document.querySelector("#shown").textContent = `${shown} of ${rows.length} shown`;
  }
  search.addEventListener("input", filter);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    }
  });
  filter();
})();
