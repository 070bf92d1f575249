// The page read back: lanes, bands and marks of the picture, rows of the tables.
const data = JSON.parse($("data").textContent);
const plot = $("plot"), NS = plot.namespaceURI;
// The whole run in the units of the markup.
const U = 1000;
const units = ns => ns / data.end * U;
const ns = u => u / U * data.end;
const number = (el, name) => parseFloat(el.getAttribute(name));
const make = (name, parent, attributes) => {
  const el = document.createElementNS(NS, name);
  for (const key in attributes) el.setAttribute(key, attributes[key]);
  parent.append(el);
  return el;
};
const seconds = (time, digits = 4) => `${(time / 1e9).toFixed(digits)} s`;
const cut = (text, most) => text.length > most ? text.slice(0, most - 1) + "\u2026" : text;

// Everything that can be picked and found: `from` and `to` in units, `off` where a filter hides it.
const things = [];
const lanes = [...plot.querySelectorAll(".lane")].map(g => ({
  g, group: g.dataset.group, key: g.dataset.key, height: number(g, "data-h"), y: 0, shown: true,
  area: g.querySelector(".t"), bands: [], points: [], series: null,
}));
const laneOf = (group, key) => lanes.find(lane => lane.group === group && lane.key === key);

// Tables by their names; each row with its time in units.
const tables = new Map();
for (const table of document.querySelectorAll("table.rows")) {
  const rows = [...table.tBodies[0].rows].map(tr => {
    const [from, to] = (tr.dataset.t || "").split(" ").map(us => units(us * 1e3));
    return { tr, from, to, text: tr.textContent.toLowerCase(), thing: null };
  });
  tables.set(table.id, { id: table.id, table, rows: rows.filter(row => row.tr.dataset.t), words: "", follow: true,
    box: table.closest(".scroll") });
}
const rowsOf = id => tables.has(id) ? tables.get(id).rows : [];
const operationRows = new Map(rowsOf("operations").map(row => [row.tr.dataset.o, row]));

function addThing(kind, from, to, text, lane, el, row) {
  const thing = { kind, from, to, text, low: text.toLowerCase(), lane, el, row, off: false };
  things.push(thing);
  if (row) row.thing = thing;
  return thing;
}

const SIGNS = { failed: "\u2715 ", unknown: "? " };
for (const lane of lanes) {
  for (const g of lane.area.querySelectorAll(".b")) {
    const rect = g.querySelector("rect");
    const band = { g, rect, text: g.querySelector("text"), from: number(rect, "x"), label: "", room: 0, thing: null };
    band.to = band.from + number(rect, "width");
    band.op = g.dataset.o;
    let row = null, title = g.querySelector("title"), words = title ? title.textContent : "";
    if (band.op !== undefined) {
      row = operationRows.get(band.op);
      const cells = [...row.tr.cells].map(cell => cell.textContent);
      words = `#${cells[0]} client ${cells[1]}${cells[2] ? " at " + cells[2] : ""}: ${cells[3]} \u2192 ${cells[4]} (${cells[5]} to ${cells[6]})`;
      make("title", g, {}).textContent = words;
      const sign = g.classList.contains("failed") ? SIGNS.failed : g.classList.contains("unknown") ? SIGNS.unknown : "";
      band.sign = sign.trim();
      band.label = cut(sign + cells[3], 34);
    } else if (band.text) {
      band.label = cut(band.text.textContent, 60);
    }
    band.size = band.op !== undefined || g.classList.contains("span") ? 5.3 : 6.2;
    // A mark covers the beginning of evidence and outages.
    band.pin = g.classList.contains("evidence") || g.classList.contains("outage") ? 8 : 0;
    band.room = band.label.length * band.size + 8 + band.pin;
    const kind = band.op !== undefined ? "operation" : lane.group;
    band.thing = addThing(kind, band.from, band.to, words, lane, g, row);
    lane.bands.push(band);
  }
  for (const g of lane.area.querySelectorAll(".p")) {
    lane.points.push({ g, x: number(g, "data-x"), y: number(g, "data-y") });
  }
}
// Clients beyond those with a lane have rows all the same.
for (const row of operationRows.values()) {
  if (row.thing) continue;
  const cells = [...row.tr.cells].map(cell => cell.textContent);
  addThing("operation", row.from, row.to, `#${cells[0]} client ${cells[1]}: ${cells[3]} \u2192 ${cells[4]}`, null, row.tr, row);
}
for (const row of rowsOf("logs")) {
  const cells = [...row.tr.cells].map(cell => cell.textContent);
  addThing("log", row.from, row.to, `${cells[1]} at ${cells[0]}, ${cells[2]}: ${cells[3]}`,
    laneOf("member", row.tr.dataset.m), row.tr, row);
}
for (const id of ["faults", "elections"]) {
  for (const row of rowsOf(id)) {
    const cells = [...row.tr.cells].map(cell => cell.textContent), words = cells.join(" ");
    const lane = id === "faults" ? laneOf("fault", cells[2]) || laneOf("member", cells[3]) : laneOf("member", cells[3]);
    row.thing = { kind: id, from: row.from, to: row.to, text: words, low: words.toLowerCase(), lane, el: row.tr, row, off: false };
  }
}
things.sort((a, b) => a.from - b.from || a.to - b.to);

// Charts: differences in the data, values here.
for (const [member, differences] of data.progress) {
  const lane = laneOf("member", member), chart = lane && lane.area.querySelector(".chart");
  if (!chart || differences.length === 0) continue;
  const points = [];
  let at = 0, last = 0, applied = 0;
  for (let i = 0; i < differences.length; i += 3) {
    at += differences[i]; last += differences[i + 1]; applied += differences[i + 2];
    points.push({ x: units(at * 1e3), last, applied });
  }
  lane.series = { points, y: number(chart, "data-y"), h: number(chart, "data-h"), ground: chart.querySelector(".ground"),
    last: chart.querySelector(".last"), applied: chart.querySelector(".applied"),
    hi: lane.g.querySelector(".hi"), lo: lane.g.querySelector(".lo") };
}
