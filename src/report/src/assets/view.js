// The picture: which stretch of time is shown, where the lanes are, and what follows from both.
let from = 0, to = U;
// Pixels: of the plot, and left of it for names.
let W = 1000, LEFT = 132, height = 0;
const TOP = 22, GAP = 12;
const at = u => (u - from) / (to - from) * W;
const axis = $("axis"), over = $("over"), ticks = $("ticks"), rules = [...plot.querySelectorAll(".rule")];
const bad = over.querySelector(".bad"), brush = $("brush"), map = $("map");
const hover = make("line", over, { class: "hover", y1: 14, style: "display:none" });
const hoverText = make("text", over, { class: "sub", style: "display:none" });
const cursor = make("line", over, { class: "cursor", y1: 14, style: "display:none" });
// Who else wants to know when the picture has changed.
const followers = [];

function layout() {
  const width = Math.max(plot.parentElement.clientWidth, 280);
  LEFT = width < 700 ? 78 : 132;
  W = width - LEFT - 8;
  let y = TOP, group = "", seen = new Set();
  for (const lane of lanes) {
    lane.g.style.display = lane.shown ? "" : "none";
    if (!lane.shown) continue;
    if (group && group !== lane.group) {
      y += GAP;
      const rule = rules.find(rule => rule.dataset.group === lane.group);
      if (rule) {
        for (const end of ["y1", "y2"]) rule.setAttribute(end, y - GAP / 2);
        rule.setAttribute("x2", width);
        seen.add(rule);
      }
    }
    group = lane.group;
    lane.y = y;
    lane.g.setAttribute("transform", `translate(0 ${y})`);
    lane.area.setAttribute("x", LEFT);
    lane.area.setAttribute("width", W);
    for (const sub of lane.g.querySelectorAll(":scope > .sub")) {
      // Beside the scale there is no room for an id.
      if (sub.classList.contains("scale")) sub.setAttribute("x", LEFT - 6);
      else sub.style.display = LEFT < 100 ? "none" : "";
    }
    if (lane.series) lane.series.ground.setAttribute("width", W);
    y += lane.height;
  }
  for (const rule of rules) rule.style.display = seen.has(rule) ? "" : "none";
  height = y + 18;
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const part of [axis, over]) {
    part.setAttribute("x", LEFT);
    part.setAttribute("width", W);
    part.setAttribute("height", height);
  }
  hover.setAttribute("y2", height);
  cursor.setAttribute("y2", height);
  hoverText.setAttribute("y", height - 4);
  if (bad) {
    bad.querySelector("line").setAttribute("y2", height - 30);
    bad.querySelector("text").setAttribute("y", height - 20);
  }
}

function drawTicks() {
  const span = ns(to - from), most = Math.max(W / 95, 2);
  let step = 1, i = 0;
  while (span / step > most) { i += 1; step = [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3); }
  const digits = step >= 1e9 ? 0 : Math.min(9, 9 - Math.floor(Math.log10(step)));
  let out = "";
  for (let t = Math.ceil(ns(from) / step) * step; t <= ns(to) + 1; t += step) {
    const x = at(units(t));
    const anchor = x < 20 ? "start" : x > W - 20 ? "end" : "middle";
    out += `<g class="tick"><line x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="16" y2="${height - 16}"/><text x="${x.toFixed(1)}" y="11" text-anchor="${anchor}">${seconds(t, digits)}</text></g>`;
  }
  ticks.innerHTML = out;
}

function drawBand(band, lane) {
  const left = at(band.from), right = at(band.to);
  const gone = band.thing.off || right < -2 || left > W + 2;
  band.g.style.display = gone ? "none" : "";
  if (gone) return;
  const x = Math.max(left, -4), width = Math.max(Math.min(right, W + 4) - x, 1.5);
  band.rect.setAttribute("x", x.toFixed(2));
  band.rect.setAttribute("width", width.toFixed(2));
  const start = Math.max(x, 0), free = Math.min(x + width, W) - start;
  const words = free >= band.room ? band.label : band.sign && free > 9 ? band.sign : "";
  if (words && !band.text) {
    band.text = make("text", band.g, { y: number(band.rect, "y") + number(band.rect, "height") / 2 + (band.size < 6 ? 3.4 : 3.9) });
  }
  if (band.text) {
    band.g.classList.toggle("tight", !words);
    if (words) {
      const pin = left >= 0 ? band.pin : 0;
      band.text.textContent = words;
      band.text.setAttribute("x", (start + pin + (words.length === 1 ? free / 2 - 3 : 4)).toFixed(2));
    }
  }
}

function drawCharts() {
  const charts = lanes.filter(lane => lane.shown && lane.series);
  let low = Infinity, high = 0;
  for (const { series } of charts) {
    // The last point before the window counts: an index holds until it changes.
    let first = 0;
    while (first + 1 < series.points.length && series.points[first + 1].x <= from) first += 1;
    series.first = first;
    for (let i = first; i < series.points.length && (i === first || series.points[i].x <= to); i += 1) {
      low = Math.min(low, series.points[i].applied, series.points[i].last);
      high = Math.max(high, series.points[i].last, series.points[i].applied);
    }
  }
  if (high <= low) low = Math.max(high - 1, 0);
  if (high === low) high = low + 1;
  for (const { series } of charts) {
    const y = index => series.y + series.h - 2 - (index - low) / (high - low) * (series.h - 4);
    for (const which of ["last", "applied"]) {
      let path = "", place = series.first;
      for (; place < series.points.length; place += 1) {
        const point = series.points[place], x = Math.max(at(point.x), -2);
        if (x > W + 2) break;
        path += path ? `H${x.toFixed(1)}V${y(point[which]).toFixed(1)}` : `M${x.toFixed(1)} ${y(point[which]).toFixed(1)}`;
      }
      series[which].setAttribute("d", place < series.points.length && path ? path + `H${W}` : path);
    }
    series.hi.textContent = high;
    series.lo.textContent = low;
  }
}

function drawPoint(p) {
  const x = at(p.x);
  p.g.style.display = x < -1 || x > W + 1 ? "none" : "";
  p.g.setAttribute("transform", `translate(${x.toFixed(2)} ${p.y})`);
}

// A line at the beginning of what is picked, down through all lanes: what happened elsewhere at that time?
function drawCursor() {
  const x = picked ? at(picked.from) : -1;
  cursor.style.display = x < 0 || x > W ? "none" : "";
  for (const end of ["x1", "x2"]) cursor.setAttribute(end, x.toFixed(2));
}

let picked = null, later = 0;
function draw() {
  for (const lane of lanes) {
    if (!lane.shown) continue;
    for (const band of lane.bands) drawBand(band, lane);
    for (const p of lane.points) drawPoint(p);
  }
  if (bad) {
    const x = at(number(bad, "data-x")), right = x > W - 130, text = bad.querySelector("text");
    bad.style.display = x < -1 || x > W + 1 ? "none" : "";
    bad.setAttribute("transform", `translate(${x.toFixed(2)} 14)`);
    text.setAttribute("text-anchor", right ? "end" : "start");
    text.setAttribute("x", right ? -9 : 9);
  }
  drawCharts();
  drawTicks();
  drawCursor();
  const whole = to - from > U - 0.001;
  $("span").textContent = whole ? `whole run, ${seconds(data.end, 1)}` : `${seconds(ns(from), 3)} to ${seconds(ns(to), 3)}`;
  brush.setAttribute("x", from);
  brush.setAttribute("width", Math.max(to - from, 2));
  plot.dataset.from = ns(from).toFixed(0);
  plot.dataset.to = ns(to).toFixed(0);
  // Tables and arrows follow once the picture stands still for a moment.
  clearTimeout(later);
  later = setTimeout(() => { for (const follow of followers) follow(); }, 60);
}

// Shows a stretch of time: at least a microsecond, at most the run.
function show(a, b) {
  const least = Math.max(units(1e3), 1e-5);
  const width = Math.min(Math.max(b - a, least), U);
  const middle = (a + b) / 2;
  from = Math.min(Math.max(middle - width / 2, 0), U - width);
  to = from + width;
  draw();
}
const zoom = (factor, center = (from + to) / 2) => show(center - (center - from) / factor, center + (to - center) / factor);
const pan = part => show(from + (to - from) * part, to + (to - from) * part);
const time = x => from + Math.min(Math.max(x, 0), W) / W * (to - from);
// Where a pointer is, in pixels of the plot.
const place = event => {
  const box = plot.getBoundingClientRect();
  return (event.clientX - box.left) * ((LEFT + W + 8) / box.width) - LEFT;
};

const showBad = () => {
  show(units(data.view[0]), units(data.view[1]));
  $("run").scrollIntoView({ block: "start" });
};
on("in", "click", () => zoom(2));
on("out", "click", () => zoom(0.5));
on("left", "click", () => pan(-0.5));
on("right", "click", () => pan(0.5));
on("whole", "click", () => show(0, U));
on("jump", "click", showBad);

// The wheel zooms with Ctrl, or once the picture has the focus; otherwise it scrolls the page as everywhere.
plot.addEventListener("wheel", event => {
  const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (!event.ctrlKey && !event.metaKey && !sideways && document.activeElement !== plot) return;
  event.preventDefault();
  if (sideways && !event.ctrlKey) pan(Math.sign(event.deltaX || event.deltaY) * 0.1);
  else zoom(event.deltaY < 0 ? 1.25 : 0.8, time(place(event)));
}, { passive: false });

// One pointer drags, two pinch.
const pointers = new Map();
let drag = null, moved = false;
plot.addEventListener("pointerdown", event => {
  if (event.button !== 0 || place(event) < 0) return;
  pointers.set(event.pointerId, place(event));
  drag = { x: place(event), from, to };
  moved = false;
});
addEventListener("pointermove", event => {
  const x = place(event);
  if (pointers.size === 2 && pointers.has(event.pointerId)) {
    const [a, b] = [...pointers.values()];
    pointers.set(event.pointerId, x);
    const [c, d] = [...pointers.values()];
    moved = true;
    zoom(Math.min(Math.max(Math.abs(d - c), 8) / Math.max(Math.abs(b - a), 8), 4), time((c + d) / 2));
  } else if (drag) {
    if (Math.abs(drag.x - x) > 3) moved = true;
    const shift = (drag.x - x) / W * (drag.to - drag.from);
    if (moved) show(drag.from + shift, drag.to + shift);
  }
  const inside = x >= 0 && x <= W && plot.matches(":hover");
  hover.style.display = hoverText.style.display = inside ? "" : "none";
  if (inside) {
    for (const end of ["x1", "x2"]) hover.setAttribute(end, x);
    hoverText.setAttribute("x", x > W - 90 ? x - 5 : x + 5);
    hoverText.setAttribute("text-anchor", x > W - 90 ? "end" : "start");
    hoverText.textContent = seconds(ns(time(x)));
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(name, event => { pointers.delete(event.pointerId); drag = null; });
}
plot.addEventListener("dblclick", event => zoom(3, time(place(event))));

// The strip with the whole run: a click or drag moves the picture there.
const goTo = event => {
  const box = map.getBoundingClientRect(), half = (to - from) / 2;
  const x = (event.clientX - box.left) / box.width * U;
  show(x - half, x + half);
};
map.addEventListener("pointerdown", event => { map.setPointerCapture(event.pointerId); goTo(event); });
map.addEventListener("pointermove", event => { if (event.buttons & 1) goTo(event); });

// What is picked is told below the picture and marked in it.
const detail = $("detail");
function pick(thing, text) {
  for (const el of document.querySelectorAll(".picked")) el.classList.remove("picked");
  picked = thing;
  drawCursor();
  detail.textContent = text || (thing ? thing.text : detail.dataset.hint);
  if (!thing) return;
  thing.el.classList.add("picked");
  if (thing.row) {
    thing.row.tr.classList.add("picked");
  }
}
// Moves the picture to a thing and brings its lane and its row into view.
function reveal(thing) {
  const wide = thing.to - thing.from, span = to - from;
  if (thing.from < from || thing.to > to || wide < span / 400) {
    const width = Math.min(Math.max(Math.min(span, wide * 200 || span), wide * 1.5), U);
    const middle = wide > width ? thing.from : (thing.from + thing.to) / 2;
    show(middle - width / 2, middle + width / 2);
  }
  pick(thing);
  for (const follow of followers) follow();
  if (thing.row) {
    const box = thing.row.tr.closest(".scroll");
    box.scrollTop = thing.row.tr.offsetTop - box.clientHeight / 2;
  }
  if (!thing.lane || !thing.lane.shown) return;
  // The bar above the picture stays where it is and covers what lies below it.
  const { top, bottom } = thing.lane.g.getBoundingClientRect();
  if (top < 64) scrollBy(0, top - 90);
  else if (bottom > innerHeight - 20) scrollBy(0, bottom - innerHeight + 50);
}
plot.addEventListener("click", event => {
  if (moved) return;
  const g = event.target.closest(".b,.p,.l");
  const thing = g && things.find(thing => thing.el === g);
  if (thing) return pick(thing);
  const title = g && g.querySelector("title");
  pick(null, title ? title.textContent : "");
});

new ResizeObserver(() => { layout(); draw(); }).observe(plot.parentElement);
layout();
show(units(data.view[0]), units(data.view[1]));
