// Messages between members as arrows, on demand: they would hide everything else.
const arrows = $("arrows"), messageToggle = $("messages");
const DRAWN_MAX = 400, NAMED_MAX = 40;
const messages = data.messages.rows.map(([sender, receiver, kind, sent, way, text]) => ({
  sender, receiver, kind, lost: way < 0, text,
  from: units(sent * 1e3), to: units((sent + Math.max(way, 0)) * 1e3),
}));

function wanted() {
  const one = $("between").value, other = $("and").value, kind = $("message-kind").value;
  const touches = (message, end) => end === "" || message.sender === +end || message.receiver === +end;
  return messages.filter(message => message.to >= from && message.from <= to
    && touches(message, one) && touches(message, other)
    && (kind === "" || (kind === "lost" ? message.lost : message.kind === +kind)));
}

function drawMessages() {
  arrows.replaceChildren();
  const count = $("message-count");
  if (!messageToggle || !messageToggle.checked) { if (count) count.textContent = ""; return; }
  const members = data.messages.members.map(name => laneOf("member", name));
  const all = wanted().filter(({ sender, receiver }) =>
    members[sender] && members[receiver] && members[sender].shown && members[receiver].shown);
  const step = Math.max(all.length / DRAWN_MAX, 1), drawn = [];
  for (let i = 0; i < all.length; i += step) drawn.push(all[Math.floor(i)]);
  count.textContent = drawn.length < all.length ? `${drawn.length} of ${all.length} in view drawn` : `${all.length} in view`;
  for (const message of drawn) {
    const kind = data.messages.kinds[message.kind];
    const looks = kind.includes("vote") ? " vote" : kind.includes("heartbeat") ? " heartbeat" : kind.includes("snapshot") ? " snapshot" : "";
    const g = make("g", arrows, { class: `l${looks}${message.lost ? " lost" : ""}` });
    const y1 = members[message.sender].y + 13, target = members[message.receiver].y + 13;
    const x1 = at(message.from), x2 = message.lost ? x1 + 14 : at(message.to);
    const y2 = message.lost ? y1 + (target - y1) * 0.55 : target;
    make("title", g, {}).textContent = `${kind} from ${data.messages.members[message.sender]} to ${data.messages.members[message.receiver]}, `
      + `sent ${seconds(ns(message.from))}, ${message.lost ? "never arrived" : "arrived " + seconds(ns(message.to))}${message.text ? ": " + message.text : ""}`;
    make("line", g, { x1: x1.toFixed(1), x2: x2.toFixed(1), y1, y2: y2.toFixed(1) });
    const turn = message.lost ? 0 : Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI;
    make("path", g, { d: message.lost ? "M-4 -4L4 4M4 -4L-4 4" : "M0 0L-7 -3L-7 3Z", class: "head",
      transform: `translate(${x2.toFixed(1)} ${y2.toFixed(1)}) rotate(${turn.toFixed(1)})` });
    if (drawn.length <= NAMED_MAX) {
      make("text", g, { x: ((x1 + x2) / 2 + 4).toFixed(1), y: ((y1 + y2) / 2).toFixed(1) }).textContent = kind;
    }
  }
}
followers.push(drawMessages);

if (messageToggle) {
  messageToggle.addEventListener("change", () => {
    $("message-choice").hidden = !messageToggle.checked;
    drawMessages();
  });
  for (const id of ["between", "and", "message-kind"]) on(id, "change", drawMessages);
}
