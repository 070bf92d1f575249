// Keys: all that the buttons do.
const KEYS = "+ zoom in · − zoom out · 0 whole run · ← → move · n p next and previous thing · b first bad event · "
  + "m messages · f filter · / search (Enter, Shift+Enter: next, previous hit) · Esc nothing picked";

// Things of the picture in order of time, from the one that is picked or from the left edge.
function neighbour(by) {
  const list = things.filter(thing => isShown(thing) && thing.kind !== "log" && thing.kind !== "phase" && thing.lane);
  if (list.length === 0) return;
  let next = picked ? list.indexOf(picked) + by : list.findIndex(thing => thing.from >= from);
  if (next < 0 || next >= list.length) next = by > 0 ? 0 : list.length - 1;
  reveal(list[next]);
}
const ACTS = {
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => show(0, U),
  ArrowLeft: () => pan(-0.125), ArrowRight: () => pan(0.125),
  n: () => neighbour(1), p: () => neighbour(-1), b: showBad,
  m: () => { if (messageToggle) messageToggle.click(); }, f: () => $("filter").click(),
  "?": () => pick(null, KEYS), Escape: () => pick(null),
};
plot.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = ACTS[event.key];
  if (act) { event.preventDefault(); act(); }
});
// The slash works everywhere but where one writes.
addEventListener("keydown", event => {
  if (event.key !== "/" || event.target.closest("input,select,textarea")) return;
  event.preventDefault();
  search.focus();
});

applyFilters();
