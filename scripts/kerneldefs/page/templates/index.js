"use strict";
(() => {
  const search = document.querySelector("#search");
  const verdicts = [...document.querySelectorAll("input[name=verdict]")];
  const rows = [...document.querySelectorAll("tr[data-text]")];
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(verdicts.filter((box) => box.checked).map((box) => box.value));
    for (const row of rows) {
      row.hidden = !wanted.has(row.dataset.verdict)
        || !words.every((word) => row.dataset.text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    document.querySelector("#shown").textContent = `${shown} of ${rows.length} shown`;
  }
  for (const input of [search, ...verdicts]) input.addEventListener("input", filter);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    }
  });
  filter();
})();
