// The page over many runs: rows by words and verdict, scenarios in another order.
let verdict = "";
const words = $("scenario"), count = $("count");
const runs = [...$("runs").tBodies[0].rows], failures = $("failures") ? [...$("failures").tBodies[0].rows] : [];
const low = new Map([...runs, ...failures].map(tr => [tr, `${tr.textContent} ${[...tr.querySelectorAll("[title]")].map(el => el.title).join(" ")}`.toLowerCase()]));

function filter() {
  const wanted = words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  for (const tr of low.keys()) {
    const fits = (verdict === "" || tr.dataset.v.split(" ").includes(verdict)) && wanted.every(word => low.get(tr).includes(word));
    tr.hidden = !fits;
  }
  for (const table of [$("failures"), $("runs")]) {
    if (table) table.closest("section").hidden = ![...table.tBodies[0].rows].some(tr => !tr.hidden);
  }
  const shown = runs.filter(tr => !tr.hidden).length;
  count.textContent = shown < runs.length ? `${shown} of ${runs.length} scenarios` : "";
}
words.addEventListener("input", filter);
for (const button of document.querySelectorAll(".verdict-choice")) {
  button.addEventListener("click", () => {
    verdict = button.dataset.v;
    for (const other of document.querySelectorAll(".verdict-choice")) other.setAttribute("aria-pressed", String(other === button));
    filter();
  });
}
$("sort").addEventListener("change", () => {
  const name = tr => tr.cells[0].textContent, speed = tr => parseFloat(tr.cells[2].textContent) || Infinity;
  const orders = { bad: (a, b) => runs.indexOf(a) - runs.indexOf(b), name: (a, b) => name(a).localeCompare(name(b)),
    speed: (a, b) => speed(a) - speed(b) };
  // The page comes with the failures first.
  $("runs").tBodies[0].append(...[...runs].sort(orders[$("sort").value]));
});
