// Search: words find operations, faults, roles and log lines; Enter goes from hit to hit in order of time.
const search = $("search"), found = $("found");
let hits = [], hit = -1;

const isShown = thing => !thing.off && !(thing.lane && !thing.lane.shown) && !(thing.row && thing.row.off);
function find() {
  const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  for (const thing of hits) thing.el.classList.remove("hit");
  hits = words.length === 0 ? [] : things.filter(thing => isShown(thing) && words.every(word => thing.low.includes(word)));
  hit = -1;
  plot.classList.toggle("searching", words.length > 0);
  for (const thing of hits) thing.el.classList.add("hit");
  found.textContent = words.length === 0 ? "" : hits.length === 0 ? "nothing found" : `${hits.length} found`;
}
function step(by) {
  if (hits.length === 0) return;
  if (hit < 0) {
    // The first one that is in the picture or later; backwards, the one before it.
    const next = hits.findIndex(thing => thing.to >= from);
    hit = by > 0 ? Math.max(next, 0) : (next < 0 ? hits.length : next) - 1;
  } else {
    hit += by;
  }
  hit = (hit + hits.length) % hits.length;
  reveal(hits[hit]);
  found.textContent = `${hit + 1} of ${hits.length}`;
}
search.addEventListener("input", find);
search.addEventListener("keydown", event => {
  if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); }
  if (event.key === "Escape") { search.value = ""; find(); plot.focus(); }
});
on("next", "click", () => step(1));
on("back", "click", () => step(-1));
