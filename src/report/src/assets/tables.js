// Tables follow the picture: they show the rows of its stretch of time, unless told otherwise.
function followTables() {
  for (const table of tables.values()) {
    let shown = 0;
    for (const row of table.rows) {
      const outside = table.follow && (row.to < from || row.from > to);
      const hidden = outside || row.off || (table.words !== "" && !row.text.includes(table.words));
      row.tr.hidden = hidden;
      shown += hidden ? 0 : 1;
    }
    $(`${table.id}-shown`).textContent = shown < table.rows.length ? `, ${shown} shown` : "";
  }
}
followers.push(followTables);

for (const input of document.querySelectorAll("input[data-table]")) {
  const table = tables.get(input.dataset.table);
  input.addEventListener("input", () => {
    if (input.type === "checkbox") table.follow = input.checked; else table.words = input.value.trim().toLowerCase();
    followTables();
  });
}

// A row's time is a button: it moves the picture there.
function goButton(tr, thing) {
  const cell = tr.querySelector(".at"), button = document.createElement("button");
  button.type = "button";
  button.className = "go";
  button.textContent = cell.textContent;
  button.title = "Show in the picture";
  button.addEventListener("click", () => reveal(thing));
  cell.replaceChildren(button);
}
for (const table of tables.values()) {
  for (const row of table.rows) goButton(row.tr, row.thing);
}
for (const tr of document.querySelectorAll("#evidence tr[data-o]")) {
  if (operationRows.has(tr.dataset.o)) goButton(tr, operationRows.get(tr.dataset.o).thing);
}
