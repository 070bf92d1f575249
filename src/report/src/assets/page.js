(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const plot = document.getElementById("plot");
  const $ = id => document.getElementById(id);
  const copy = $("copy");
  if (copy) copy.addEventListener("click", () => {
    const text = $("replay").textContent;
    const done = () => { copy.textContent = "Copied"; setTimeout(() => { copy.textContent = "Copy"; }, 1500); };
    const select = () => {
      const range = document.createRange();
      range.selectNodeContents($("replay"));
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      document.execCommand("copy");
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
  });
  for (const input of document.querySelectorAll("input[data-table]")) {
    const rows = [...$(input.dataset.table).tBodies[0].rows].map(row => [row, row.textContent.toLowerCase()]);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const [row, text] of rows) row.classList.toggle("hidden", !text.includes(wanted));
    });
  }
  if (!plot) return;

  const W = 1000, number = (el, name) => parseFloat(el.getAttribute(name));
  const NS = plot.namespaceURI;
  const make = (name, parent, attributes) => {
    const el = document.createElementNS(NS, name);
    for (const key in attributes) el.setAttribute(key, attributes[key]);
    parent.append(el);
    return el;
  };
  const bands = [...plot.querySelectorAll(".b")].map(g => {
    const rect = g.querySelector("rect"), text = g.querySelector("text"), op = g.classList.contains("op");
    const title = g.querySelector("title").textContent;
    const label = text ? text.textContent : op ? title.slice(title.indexOf(": ") + 2, title.lastIndexOf(" \u2192 ")) : "";
    const short = label.length > 34 ? label.slice(0, 33) + "\u2026" : label;
    return { g, rect, text, op, label: short, x: number(rect, "x"), w: number(rect, "width"), least: 1.2,
      room: short.length * (op ? 5.2 : 6.1) + 8 };
  });
  const points = [...plot.querySelectorAll(".p")].map(g => ({ g, x: parseFloat(g.dataset.x), y: parseFloat(g.dataset.y) }));
  const lines = [];
  const series = [...plot.querySelectorAll(".s")];
  const ticks = $("ticks"), hover = $("hover"), hoverText = $("hover-text");
  let from = 0, to = W;
  const at = x => (x - from) / (to - from) * W;

  const steps = [1, 2, 5];
  function drawTicks() {
    const span = (to - from) / W * data.end;
    let step = 1, i = 0;
    while (span / step > 11) { i += 1; step = steps[i % 3] * 10 ** Math.floor(i / 3); }
    const digits = step >= 1e9 ? 0 : Math.min(9, 9 - Math.floor(Math.log10(step)));
    const first = Math.ceil(from / W * data.end / step) * step;
    let out = "";
    for (let t = first; t <= to / W * data.end + 1; t += step) {
      const x = at(t / data.end * W).toFixed(1);
      const anchor = x < 12 ? "start" : x > W - 12 ? "end" : "middle";
      out += `<g class="tick"><line x1="${x}" x2="${x}" y1="16" y2="${data.height}"/><text x="${x}" y="11" text-anchor="${anchor}">${(t / 1e9).toFixed(digits)} s</text></g>`;
    }
    ticks.innerHTML = out;
  }
  function place_line(l) {
    const x1 = at(l.x1), x2 = at(l.x2);
    l.g.style.display = x2 < 0 || x1 > W ? "none" : "";
    l.line.setAttribute("x1", x1.toFixed(2));
    l.line.setAttribute("x2", x2.toFixed(2));
    const turn = l.lost ? 0 : Math.atan2(l.y2 - l.y1, x2 - x1) * 180 / Math.PI;
    l.path.setAttribute("transform", `translate(${x2.toFixed(2)} ${l.y2}) rotate(${turn.toFixed(1)})`);
  }
  function draw() {
    const k = W / (to - from);
    for (const b of bands) {
      const left = at(b.x), right = at(b.x + b.w);
      const gone = right < 0 || left > W;
      b.g.style.display = gone ? "none" : "";
      if (gone) continue;
      const x = Math.max(left, -4), width = Math.max(Math.min(right, W + 4) - x, b.least);
      b.rect.setAttribute("x", x.toFixed(2));
      b.rect.setAttribute("width", width.toFixed(2));
      const start = Math.max(x, 0), tight = Math.min(x + width, W) - start < b.room;
      if (!b.text && b.op && !tight) {
        b.text = make("text", b.g, { y: number(b.rect, "y") + 9.2 });
        b.text.textContent = b.label;
      }
      if (b.text) {
        b.text.setAttribute("x", (start + 4).toFixed(2));
        b.g.classList.toggle("tight", tight);
      }
    }
    for (const p of points) {
      const x = at(p.x);
      p.g.style.display = x < -1 || x > W + 1 ? "none" : "";
      p.g.setAttribute("transform", `translate(${x.toFixed(2)} ${p.y})`);
    }
    for (const l of lines) place_line(l);
    for (const s of series) s.setAttribute("transform", `matrix(${k} 0 0 1 ${-from * k} 0)`);
    drawTicks();
    const whole = to - from > W - 0.01;
    $("span").textContent = whole ? "whole run" : `${(from / W * data.end / 1e9).toFixed(3)} s to ${(to / W * data.end / 1e9).toFixed(3)} s`;
  }
  function show(a, b) {
    const least = Math.max(W * 1e3 / data.end, 1e-4);
    const width = Math.min(Math.max(b - a, least), W);
    from = Math.min(Math.max(a + (b - a - width) / 2, 0), W - width);
    to = from + width;
    draw();
  }
  const zoom = (factor, center) => {
    const c = center === undefined ? (from + to) / 2 : center;
    show(c - (c - from) / factor, c + (to - c) / factor);
  };
  const place = event => {
    const box = plot.getBoundingClientRect();
    return (event.clientX - box.left) * (data.width / box.width) - data.left;
  };
  const time = x => from + Math.min(Math.max(x, 0), W) / W * (to - from);

  $("in").onclick = () => zoom(2);
  $("out").onclick = () => zoom(0.5);
  $("reset").onclick = () => show(0, W);
  const jump = $("jump");
  if (jump) jump.onclick = () => {
    const x = data.bad / data.end * W;
    show(x - W / 30, x + W / 30);
    plot.scrollIntoView({ block: "nearest" });
  };
  plot.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    event.preventDefault();
    const delta = event.deltaY || event.deltaX;
    zoom(delta < 0 ? 1.25 : 0.8, time(place(event)));
  }, { passive: false });
  let drag = null, moved = false;
  plot.addEventListener("pointerdown", event => {
    if (event.button !== 0 || place(event) < 0) return;
    drag = { x: place(event), from, to };
    moved = false;
  });
  addEventListener("pointermove", event => {
    const x = place(event);
    if (drag) {
      const shift = (drag.x - x) / W * (drag.to - drag.from);
      if (Math.abs(drag.x - x) > 3) moved = true;
      if (moved) show(drag.from + shift, drag.to + shift);
    }
    const inside = x >= 0 && x <= W && plot.matches(":hover");
    hover.style.display = hoverText.style.display = inside ? "" : "none";
    if (inside) {
      hover.setAttribute("x1", x); hover.setAttribute("x2", x);
      hoverText.setAttribute("x", x > W - 90 ? x - 5 : x + 5);
      hoverText.setAttribute("text-anchor", x > W - 90 ? "end" : "start");
      hoverText.textContent = `${(time(x) / W * data.end / 1e9).toFixed(4)} s`;
    }
  });
  addEventListener("pointerup", () => { drag = null; });
  plot.addEventListener("dblclick", event => zoom(3, time(place(event))));
  plot.addEventListener("keydown", event => {
    const width = to - from;
    const moves = { "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => show(0, W),
      ArrowLeft: () => show(from - width / 8, to - width / 8), ArrowRight: () => show(from + width / 8, to + width / 8) };
    if (moves[event.key]) { event.preventDefault(); moves[event.key](); }
  });

  const detail = $("detail");
  let picked = null;
  plot.addEventListener("click", event => {
    if (moved) return;
    const g = event.target.closest(".b,.p,.l");
    if (picked) picked.classList.remove("picked");
    picked = g;
    if (!g) { detail.textContent = detail.dataset.hint; return; }
    g.classList.add("picked");
    const title = g.querySelector("title");
    detail.textContent = title ? title.textContent : "";
  });

  const messages = $("messages"), toggle = $("toggle-messages"), kinds = $("message-kind");
  function build() {
    for (const [kind, x1, x2, y1, y2, lost, text] of data.arrows) {
      const g = make("g", messages, { class: lost ? "l dropped" : "l" });
      g.dataset.k = kind;
      make("title", g, {}).textContent = text;
      const line = make("line", g, { y1, y2 });
      const path = make("path", g, lost ? { d: "M-3.4 -3.4L3.4 3.4M3.4 -3.4L-3.4 3.4" } : { d: "M0 0L-6 -2.6L-6 2.6Z", class: "head" });
      const l = { g, line, path, x1, x2, y1, y2, lost };
      lines.push(l);
      all.push([g, text.toLowerCase()]);
      place_line(l);
    }
  }
  if (toggle) toggle.onchange = () => {
    if (lines.length === 0) build();
    messages.classList.toggle("on", toggle.checked);
    if (search.value) search.dispatchEvent(new Event("input"));
  };
  if (kinds) kinds.onchange = () => {
    if (!toggle.checked) { toggle.checked = true; toggle.onchange(); }
    const wanted = kinds.value;
    for (const l of lines) {
      const keep = wanted === "" || (wanted === "-dropped" ? l.lost : l.g.dataset.k === wanted);
      l.g.classList.toggle("off", !keep);
    }
  };
  const search = $("search"), found = $("found");
  const all = bands.map(item => [item.g, (item.g.querySelector("title") || { textContent: "" }).textContent.toLowerCase()]);
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    plot.classList.toggle("searching", wanted !== "");
    let count = 0;
    for (const [g, text] of all) {
      const hit = wanted !== "" && text.includes(wanted);
      g.classList.toggle("hit", hit);
      count += hit ? 1 : 0;
    }
    found.textContent = wanted === "" ? "" : `${count} found`;
  });
  draw();
})();
