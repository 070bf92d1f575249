// Filters hide lanes, operations and the rows that belong to them.
const boxes = [...document.querySelectorAll("#filters input[type=checkbox]")];

function applyFilters() {
  const refused = {};
  for (const box of boxes) {
    if (box.name && !box.checked) (refused[box.name] ||= new Set()).add(box.value);
  }
  const isRefused = (name, value) => refused[name] !== undefined && refused[name].has(value);
  const key = $("key") ? $("key").value : "";
  const onlyFailed = $("only-failed").checked, onlyEvidence = $("only-evidence") !== null && $("only-evidence").checked;
  let active = Object.values(refused).reduce((sum, values) => sum + values.size, 0);
  active += [key !== "", onlyFailed, onlyEvidence].filter(Boolean).length;

  const ofOperations = key !== "" || onlyFailed || onlyEvidence || refused.kind !== undefined;
  for (const lane of lanes) {
    lane.shown = !(lane.group === "member" && isRefused("member", lane.key))
      && !(lane.group === "client" && isRefused("client", lane.key))
      && !(lane.group === "fault" && isRefused("fault", lane.key));
  }
  for (const row of rowsOf("operations")) {
    const { tr } = row;
    row.off = isRefused("client", tr.cells[1].textContent) || isRefused("kind", tr.dataset.k)
      || (key !== "" && !tr.dataset.key.split("\n").includes(key))
      || (onlyFailed && tr.dataset.f === undefined)
      || (onlyEvidence && !tr.classList.contains("evidence"));
    row.thing.off = row.off;
  }
  for (const lane of lanes.filter(lane => lane.group === "client")) {
    const operations = lane.bands.filter(band => band.op !== undefined);
    for (const band of lane.bands) {
      if (band.op === undefined) band.thing.off = ofOperations;
    }
    // A client of whom nothing is left has no lane.
    if (ofOperations && operations.every(band => band.thing.off)) lane.shown = false;
  }
  for (const id of ["logs", "elections"]) {
    for (const row of rowsOf(id)) row.off = isRefused("member", row.tr.dataset.m);
  }
  $("filter").textContent = active === 0 ? "Filter" : `Filter (${active})`;
  layout();
  draw();
  for (const follow of followers) follow();
}

on("filter", "click", () => {
  const panel = $("filters"), button = $("filter");
  panel.hidden = !panel.hidden;
  button.setAttribute("aria-expanded", String(!panel.hidden));
});
for (const box of boxes) box.addEventListener("change", applyFilters);
on("key", "change", applyFilters);
on("reset", "click", () => {
  for (const box of boxes) box.checked = Boolean(box.name);
  if ($("key")) $("key").value = "";
  applyFilters();
});
// One of many: a double click on a name leaves it alone.
for (const set of document.querySelectorAll("#filters fieldset")) {
  set.querySelector("legend").title = "Double-click a name to see it alone";
  set.addEventListener("dblclick", event => {
    const label = event.target.closest("label");
    if (!label) return;
    for (const box of set.querySelectorAll("input")) box.checked = label.contains(box);
    applyFilters();
  });
}
